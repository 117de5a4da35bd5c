"""The API of people: listing, counting, making, changing, banning and deleting them."""

from .api_lists import Order, asked_for, choose, page, page_after, user_conditions, user_rank
from .api_requests import Call, Json, Route, Routes, Said, invalid
from .objects import ClerkRefuses, FakeUser
from .shapes import Shape, deleted_shape, user_shape

ORDERS = (
    *("created_at", "updated_at", "email_address", "web3wallet", "first_name", "last_name", "phone_number"),
    *("username", "last_active_at", "last_sign_in_at"),
)
METADATA = ("public_metadata", "private_metadata", "unsafe_metadata")
WITHOUT_METADATA = "2026-05-12"  # from this version on, metadata have endpoints of their own

# Clerk takes these, too. They change nothing here.
_IDLE = (
    *("locale", "password", "password_digest", "password_hasher", "skip_password_checks", "totp_secret"),
    *("backup_codes", "delete_self_enabled", "legal_accepted_at", "skip_legal_checks", "create_organization_enabled"),
    *("create_organizations_limit", "bypass_client_trust"),
)
_IDLE_AT_FIRST = (
    *("email_address_identification_status", "phone_number", "phone_number_identification_status", "web3_wallet"),
    *("skip_password_requirement", "skip_user_requirement"),
)
_IDLE_LATER = (
    *("notify_primary_email_address_changed", "primary_phone_number_id", "primary_web3_wallet_id"),
    *("profile_image_id", "sign_out_of_other_sessions"),
)
_NAMES = ("first_name", "last_name", "username", "external_id")


def list_users(call: Call) -> Json:
    """A page of people. The cursor works in the order of their creation only."""
    order = Order(call.query, ORDERS)
    rows = _listed(call, order.name)
    cursor = call.query.one("starting_after")
    if cursor is None:
        return [user_shape(each) for each in page(call.query, rows, order)]
    found = page_after(call.query, rows, order, user_rank(order.name), call.clerk.users.get(cursor))
    return [user_shape(each) for each in found]


def count_users(call: Call) -> Json:
    """How many there are to list."""
    return {"object": "total_count", "total_count": len(_listed(call, "created_at"))}


def _listed(call: Call, order: str) -> list[FakeUser]:
    """Everybody who is asked for, in ascending order."""
    rank = user_rank(order)

    def everybody() -> list[FakeUser]:
        return sorted(call.clerk.users.values(), key=rank)

    def some() -> list[FakeUser]:
        wanted, unwanted = _chosen(call)
        conditions = user_conditions(call.query)
        if wanted is None:
            rows = call.lists.get(("users", order), everybody)
        else:
            rows = sorted((call.clerk.users[each] for each in wanted if each in call.clerk.users), key=rank)
        return [each for each in rows if each.id not in unwanted and all(true_of(each) for true_of in conditions)]

    filters = [pair for pair in asked_for(call.query, "users")[1:] if pair != ("order_by", order)]
    if not filters:
        return call.lists.get(("users", order), everybody)
    return call.lists.get(("users", order, *filters), some)


def _chosen(call: Call) -> tuple[set[str] | None, set[str]]:
    """The ids of those who are asked for by name, and of those who are not wanted. None: anybody."""
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


def _ids(call: Call, name: str, values: set[str]) -> set[str]:
    if name == "user_id":
        return values
    if name == "organization_id":
        organizations = [call.clerk.organizations[each] for each in values if each in call.clerk.organizations]
        return {member.user_id for each in organizations for member in call.clerk.members_of(each)}
    return {owner for each in values if (owner := call.clerk.owner(name, each))}


def get_user(call: Call) -> Json:
    """One person."""
    return user_shape(call.user())


def create_user(call: Call) -> Json:
    """A new person. Their addresses count as verified, and the first is the primary one."""
    own = ("email_address", "created_at", "banned", "locked")
    said = call.said(*_NAMES, *METADATA, *own, *_IDLE, *_IDLE_AT_FIRST)
    emails = [address_in(each) for each in said.texts("email_address")]
    if not (emails or said.text("username") or said.values.get("skip_user_requirement")):
        raise ClerkRefuses(422, "form_data_missing", "email_address or username must be included", "email_address")
    values: Shape = {name: said.text(name) or None for name in _NAMES}
    values |= {name: said.metadata(name) for name in METADATA}
    values |= {name: bool(said.flag(name)) for name in ("banned", "locked")}
    values["created_at"] = said.moment("created_at")
    return user_shape(call.clerk.create_user(emails[0] if emails else None, *emails[1:], **values))


def update_user(call: Call) -> Json:
    """A person with other names. Metadata were taken here up to 2025, and replaced what was there."""
    user = call.user()
    metadata = METADATA if call.version < WITHOUT_METADATA else ()
    said = call.said(*_NAMES, "primary_email_address_id", "created_at", *metadata, *_IDLE, *_IDLE_LATER)
    changed: Shape = {name: said.text(name) or None for name in said.given(*_NAMES)}
    if primary := said.text("primary_email_address_id"):
        address = next((each for each in user.addresses if each.id == primary), None)
        if address is None or not address.verified:
            raise invalid("primary_email_address_id", "must be a verified address of this person")
        changed["primary_address_id"] = primary
    if (created_at := said.moment("created_at")) is not None:
        changed["created_at"] = created_at
    replaced = {name: said.metadata(name) or {} for name in said.given(*metadata)}
    call.clerk.update_user(user, **changed)
    if replaced:
        call.clerk.replace_metadata(user, **replaced)
    return user_shape(user)


def delete_user(call: Call) -> Json:
    """What is left of a person."""
    user = call.user()
    call.clerk.delete_user(user)
    return deleted_shape("user", user.id, external_id=user.external_id)


def merge_metadata(call: Call) -> Json:
    """Metadata merged into those that are there, at every level."""
    user = call.user()
    call.clerk.merge_metadata(user, **metadata_in(call.said(*METADATA)))
    return user_shape(user)


def replace_metadata(call: Call) -> Json:
    """Each kind of metadata that is given, in place of what was there."""
    user = call.user()
    call.clerk.replace_metadata(user, **metadata_in(call.said(*METADATA)))
    return user_shape(user)


def metadata_in(said: Said) -> dict[str, dict[str, object] | None]:
    """The kinds of metadata that were given."""
    return {name: said.metadata(name) for name in said.values}


def ban(call: Call) -> Json:
    """A person who is banned, and whose sessions are revoked."""
    user = call.user()
    call.clerk.ban(user)
    return user_shape(user)


def unban(call: Call) -> Json:
    """A person who may come in again."""
    user = call.user()
    call.clerk.unban(user)
    return user_shape(user)


def lock(call: Call) -> Json:
    """A person who is locked out for a while."""
    user = call.user()
    call.clerk.lock(user)
    return user_shape(user)


def unlock(call: Call) -> Json:
    """A person who is not, any more."""
    user = call.user()
    call.clerk.lock(user, locked=False)
    return user_shape(user)


def ban_many(call: Call) -> Json:
    """Several people, banned at once. If one of them is not there, nobody is."""
    users = [call.user(each) for each in call.said("user_ids").texts("user_ids")]
    for user in users:
        call.clerk.ban(user)
    return [user_shape(user) for user in users]


def unban_many(call: Call) -> Json:
    """Several people who may come in again."""
    users = [call.user(each) for each in call.said("user_ids").texts("user_ids")]
    for user in users:
        call.clerk.unban(user)
    return [user_shape(user) for user in users]


def address_in(text: str) -> str:
    """An address that looks like one."""
    if text.count("@") != 1 or text.startswith("@") or text.endswith("@") or not text.isprintable() or " " in text:
        said = "email_address must be a valid email address"
        raise ClerkRefuses(422, "form_param_format_invalid", said, "email_address")
    return text


ROUTES: Routes = [
    Route("GET", "/users", list_users, "list"),
    Route("POST", "/users", create_user),
    Route("GET", "/users/count", count_users),
    Route("POST", "/users/ban", ban_many),
    Route("POST", "/users/unban", unban_many),
    Route("GET", "/users/{}", get_user),
    Route("PATCH", "/users/{}", update_user, "change"),
    Route("DELETE", "/users/{}", delete_user),
    Route("PATCH", "/users/{}/metadata", merge_metadata, "change"),
    Route("PUT", "/users/{}/metadata", replace_metadata, "change"),
    Route("POST", "/users/{}/ban", ban),
    Route("POST", "/users/{}/unban", unban),
    Route("POST", "/users/{}/lock", lock),
    Route("POST", "/users/{}/unlock", unlock),
]
