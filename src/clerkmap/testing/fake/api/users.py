"""The endpoints of users, of their email addresses, and of their sessions."""

from collections.abc import Callable

from ..objects import ClerkRefuses, FakeAddress, FakeSession, FakeUser
from ..shapes import Shape, address_shape, deleted_shape, session_shape, user_shape
from ..users import METADATA
from .calls import ApiCall, Route, Routes
from .lists import Order, cache_key, choose, page, page_after, user_conditions, user_rank
from .requests import BodyParameters, Json, Query, invalid, missing

ORDERS = (
    *("created_at", "updated_at", "email_address", "web3wallet", "first_name", "last_name", "phone_number"),
    *("username", "last_active_at", "last_sign_in_at"),
)
METADATA_ENDPOINTS = "2026-05-12"  # from this version on, metadata is changed at separate endpoints only

# Parameters that Clerk accepts and the fake Clerk ignores.
_IGNORED = (
    *("locale", "password", "password_digest", "password_hasher", "skip_password_checks", "totp_secret"),
    *("backup_codes", "delete_self_enabled", "legal_accepted_at", "skip_legal_checks", "create_organization_enabled"),
    *("create_organizations_limit", "bypass_client_trust"),
)
_IGNORED_ON_CREATE = (
    *("email_address_identification_status", "phone_number", "phone_number_identification_status", "web3_wallet"),
    *("skip_password_requirement", "skip_user_requirement"),
)
_IGNORED_ON_UPDATE = (
    *("notify_primary_email_address_changed", "primary_phone_number_id", "primary_web3_wallet_id"),
    *("profile_image_id", "sign_out_of_other_sessions"),
)
_NAMES = ("first_name", "last_name", "username", "external_id")


def list_users(call: ApiCall) -> Json:
    """Return a page of users. The cursor needs the order of creation."""
    order = Order(call.query, ORDERS)
    rows = _listed(call, order.name)
    cursor = call.query.one("starting_after")
    if cursor is None:
        return [user_shape(each) for each in page(call.query, rows, order)]
    found = page_after(call.query, rows, order, user_rank(order.name), call.store.users.get(cursor))
    return [user_shape(each) for each in found]


def count_users(call: ApiCall) -> Json:
    """Return the number of users in a list."""
    return {"object": "total_count", "total_count": len(_listed(call, "created_at"))}


def _listed(call: ApiCall, order: str) -> list[FakeUser]:
    """Return the requested users in ascending order."""
    rank = user_rank(order)

    def all_users() -> list[FakeUser]:
        return sorted(call.store.users.values(), key=rank)

    def filtered() -> list[FakeUser]:
        wanted, unwanted = _chosen(call)
        conditions = user_conditions(call.query)
        if wanted is None:
            rows = call.lists.get(("users", order), all_users)
        else:
            rows = sorted((call.store.users[each] for each in wanted if each in call.store.users), key=rank)
        return [each for each in rows if each.id not in unwanted and all(true_of(each) for true_of in conditions)]

    filters = [pair for pair in cache_key(call.query, "users")[1:] if pair != ("order_by", order)]
    if not filters:
        return call.lists.get(("users", order), all_users)
    return call.lists.get(("users", order, *filters), filtered)


def _chosen(call: ApiCall) -> tuple[set[str] | None, set[str]]:
    """Return the ids to include, or None for all users; and the ids to exclude."""
    wanted: set[str] | None = None
    unwanted: set[str] = set()
    for name in ("user_id", "external_id", "organization_id", "email_address", "username"):
        values = call.query.all(name)
        plain = name in ("email_address", "username")
        good, bad = (set(values), set[str]()) if plain else choose(values)
        unwanted |= _ids(call, name, bad)
        if good:
            found = _ids(call, name, good)
            wanted = found if wanted is None else wanted & found
    if call.query.all("provider_user_id"):
        wanted = set()
    return wanted, unwanted


def _ids(call: ApiCall, name: str, values: set[str]) -> set[str]:
    if name == "user_id":
        return values
    if name == "organization_id":
        organizations = [call.store.organizations[each] for each in values if each in call.store.organizations]
        return {member.user_id for each in organizations for member in call.store.members_of(each)}
    return {owner for each in values if (owner := call.store.owner(name, each))}


def get_user(call: ApiCall) -> Json:
    """Return one user."""
    return user_shape(call.user())


def create_user(call: ApiCall) -> Json:
    """Create a user. The addresses count as verified, and the first one is primary."""
    own = ("email_address", "created_at", "banned", "locked")
    body = call.body(*_NAMES, *METADATA, *own, *_IGNORED, *_IGNORED_ON_CREATE)
    emails = [address_in(each) for each in body.texts("email_address")]
    if not (emails or body.text("username") or body.values.get("skip_user_requirement")):
        raise ClerkRefuses(422, "form_data_missing", "email_address or username must be included", "email_address")
    values: Shape = {name: body.text(name) or None for name in _NAMES}
    values |= {name: body.metadata(name) for name in METADATA}
    values |= {name: bool(body.flag(name)) for name in ("banned", "locked")}
    created_at = body.moment("created_at")
    return user_shape(call.users.create(FakeUser("", **values), emails, created_at=created_at))


def update_user(call: ApiCall) -> Json:
    """Change a user. Before `METADATA_ENDPOINTS`, metadata given here replaces the old metadata."""
    user = call.user()
    metadata = METADATA if call.version < METADATA_ENDPOINTS else ()
    body = call.body(*_NAMES, "primary_email_address_id", "created_at", *metadata, *_IGNORED, *_IGNORED_ON_UPDATE)
    changed: Shape = {name: body.text(name) or None for name in body.given(*_NAMES)}
    if primary := body.text("primary_email_address_id"):
        address = next((each for each in user.addresses if each.id == primary), None)
        if address is None or not address.verified:
            raise invalid("primary_email_address_id", "must be a verified address of this user")
        changed["primary_address_id"] = primary
    if (created_at := body.moment("created_at")) is not None:
        changed["created_at"] = created_at
    replaced = {name: body.metadata(name) or {} for name in body.given(*metadata)}
    call.users.update(user, **changed)
    if replaced:
        call.users.replace_metadata(user, replaced)
    return user_shape(user)


def delete_user(call: ApiCall) -> Json:
    """Delete a user."""
    user = call.user()
    call.users.delete(user)
    return deleted_shape("user", user.id, external_id=user.external_id)


def metadata_in(body: BodyParameters) -> dict[str, dict[str, object] | None]:
    """Return the given kinds of metadata."""
    return {name: body.metadata(name) for name in body.values}


def changing(change: Callable[[ApiCall, FakeUser], object]) -> Callable[[ApiCall], Json]:
    """Return the endpoint that changes one user in this way, and returns the user."""

    def endpoint(call: ApiCall) -> Json:
        user = call.user()
        change(call, user)
        return user_shape(user)

    return endpoint


def changing_many(change: Callable[[ApiCall, FakeUser], object]) -> Callable[[ApiCall], Json]:
    """Return the endpoint that changes several users in this way, or none if one of them does not exist."""

    def endpoint(call: ApiCall) -> Json:
        users = [call.user(each) for each in call.body("user_ids").texts("user_ids")]
        for user in users:
            change(call, user)
        return [user_shape(user) for user in users]

    return endpoint


def _ban(call: ApiCall, user: FakeUser) -> None:
    call.users.ban(user)


def _unban(call: ApiCall, user: FakeUser) -> None:
    call.users.unban(user)


def address_in(text: str) -> str:
    """Return an email address, or refuse a text that is not one."""
    if text.count("@") != 1 or text.startswith("@") or text.endswith("@") or not text.isprintable() or " " in text:
        message = "email_address must be a valid email address"
        raise ClerkRefuses(422, "form_param_format_invalid", message, "email_address")
    return text


# Email addresses

_ADDRESS_FIELDS = ("verified", "primary", "notify_primary_email_address_changed")


def create_address(call: ApiCall) -> Json:
    """Add an address to a user, unverified by default. The first address of a user is primary."""
    body = call.body("user_id", "email_address", *_ADDRESS_FIELDS)
    user, verified = call.user(body.required("user_id")), bool(body.flag("verified"))
    primary = _primary(body.flag("primary"), verified)
    text = address_in(body.required("email_address"))
    return address_shape(call.users.add_address(user, text, verified=verified, primary=primary or not user.addresses))


def get_address(call: ApiCall) -> Json:
    """Return one address."""
    return address_shape(_address_of(call)[1])


def update_address(call: ApiCall) -> Json:
    """Change whether an address is verified or primary."""
    user, address = _address_of(call)
    body = call.body(*_ADDRESS_FIELDS)
    verified = body.flag("verified")
    verified = address.verified if verified is None else verified
    primary = _primary(body.flag("primary"), verified)
    address.verified, address.updated_at = verified, call.store.moment()
    call.users.update(user, **({"primary_address_id": address.id} if primary else {}))
    return address_shape(address)


def delete_address(call: ApiCall) -> Json:
    """Delete an address."""
    user, address = _address_of(call)
    call.users.remove_address(user, address)
    return deleted_shape("email_address", address.id)


def _primary(asked: bool | None, verified: bool) -> bool:
    if asked and not verified:
        raise invalid("primary", "needs an address that is verified")
    return bool(asked)


def _address_of(call: ApiCall) -> tuple[FakeUser, FakeAddress]:
    for user in call.store.users.values():
        for address in user.addresses:
            if address.id == call.ids[0]:
                return user, address
    raise missing("Email address")


# Sessions

MIN_LIFETIME, MAX_LIFETIME = 30, 315_360_000  # seconds of a token
DEFAULT_LIFETIME = 60


def list_sessions(call: ApiCall) -> Json:
    """Return the sessions of a user or a client; with their total if `paginated` is true."""
    user, client = call.query.one("user_id"), call.query.one("client_id")
    if not (user or client):
        raise ClerkRefuses(422, "form_param_missing", "user_id or client_id must be included", "user_id")
    status = call.query.one("status")

    def filtered() -> list[FakeSession]:
        found = call.store.sessions.values()
        theirs = [each for each in found if user in (None, each.user_id) and client in (None, each.client_id)]
        return sorted((each for each in theirs if status in (None, each.status)), key=lambda each: each.created_at)

    rows = call.lists.get(cache_key(call.query, "sessions"), filtered)
    shapes = [session_shape(each) for each in page(call.query, rows, Order(Query(""), ("created_at",)))]
    return {"data": shapes, "total_count": len(rows)} if call.query.flag("paginated") else shapes


def get_session(call: ApiCall) -> Json:
    """Return one session."""
    return session_shape(_session_of(call))


def create_session(call: ApiCall) -> Json:
    """Create a session, as development instances allow."""
    body = call.body("user_id", "active_organization_id")
    organization = body.text("active_organization_id")
    user = call.user(body.required("user_id"))
    return session_shape(call.users.sign_in(user, call.organization(organization) if organization else None))


def revoke_session(call: ApiCall) -> Json:
    """Revoke a session."""
    session = _session_of(call)
    call.users.end_session(session, "revoked")
    return session_shape(session)


def create_token(call: ApiCall) -> Json:
    """Create a session token, like that of a browser."""
    session, seconds = _active_session(call), _seconds(call)
    user = call.user(session.user_id)
    jwt = call.tokens.token(
        user,
        call.store.organizations.get(session.organization_id or ""),
        session=session,
        party=None,
        pending=session.status == "pending",
        expires_in=seconds,
        claims={"act": session.actor} if session.actor else None,
    )
    return {"object": "token", "jwt": jwt}


def create_template_token(call: ApiCall) -> Json:
    """Create a token of a JWT template. Any template name is valid, and adds no claims."""
    user = call.user(_active_session(call).user_id)
    return {"object": "token", "jwt": call.tokens.template_token(user, expires_in=_seconds(call))}


def _seconds(call: ApiCall) -> int:
    seconds = call.body("expires_in_seconds").number("expires_in_seconds", MIN_LIFETIME, MAX_LIFETIME)
    return DEFAULT_LIFETIME if seconds is None else seconds


def _session_of(call: ApiCall) -> FakeSession:
    session = call.store.sessions.get(call.ids[0])
    if session is None:
        raise missing("Session")
    return session


def _active_session(call: ApiCall) -> FakeSession:
    session = _session_of(call)
    if session.status not in ("active", "pending"):
        raise missing("An active session")
    return session


ROUTES: Routes = [
    Route("GET", "/users", list_users, "list"),
    Route("POST", "/users", create_user),
    Route("GET", "/users/count", count_users),
    Route("POST", "/users/ban", changing_many(_ban)),
    Route("POST", "/users/unban", changing_many(_unban)),
    Route("GET", "/users/{}", get_user),
    Route("PATCH", "/users/{}", update_user, "change"),
    Route("DELETE", "/users/{}", delete_user),
    Route(
        "PATCH",
        "/users/{}/metadata",
        changing(lambda call, user: call.users.merge_metadata(user, metadata_in(call.body(*METADATA)))),
        "change",
    ),
    Route(
        "PUT",
        "/users/{}/metadata",
        changing(lambda call, user: call.users.replace_metadata(user, metadata_in(call.body(*METADATA)))),
        "change",
    ),
    Route("POST", "/users/{}/ban", changing(_ban)),
    Route("POST", "/users/{}/unban", changing(_unban)),
    Route("POST", "/users/{}/lock", changing(lambda call, user: call.users.lock(user, True))),
    Route("POST", "/users/{}/unlock", changing(lambda call, user: call.users.lock(user, False))),
    Route("POST", "/email_addresses", create_address),
    Route("GET", "/email_addresses/{}", get_address),
    Route("PATCH", "/email_addresses/{}", update_address),
    Route("DELETE", "/email_addresses/{}", delete_address),
    Route("GET", "/sessions", list_sessions, "list"),
    Route("POST", "/sessions", create_session),
    Route("GET", "/sessions/{}", get_session),
    Route("POST", "/sessions/{}/revoke", revoke_session),
    Route("POST", "/sessions/{}/tokens", create_token),
    Route("POST", "/sessions/{}/tokens/{}", create_template_token),
]
