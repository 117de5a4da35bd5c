"""The endpoints of organizations, memberships and invitations."""

from collections.abc import Callable, Iterable
from typing import Any

from ..objects import ClerkRefuses, FakeInvitation, FakeMembership, FakeOrganization, FakeUser
from ..organizations import METADATA, MONTH
from ..shapes import Shape, deleted_shape, organization_shape, public_organization_shape
from .calls import ApiCall, Route, Routes
from .lists import Condition, Order, Rank, by_creation, cache_key, choose, one_of, page, user_conditions, user_rank
from .requests import BodyParameters, Json, missing
from .users import METADATA_ENDPOINTS, address_in, metadata_in

ORDERS = ("created_at", "name", "members_count")
MAX_NAME = 256


def list_organizations(call: ApiCall) -> Json:
    """Return a page of organizations, and the total."""
    order = Order(call.query, ORDERS)
    rows = call.lists.get(cache_key(call.query, "organizations"), lambda: _listed(call, order.name))
    return {"data": [_shape(call, each) for each in page(call.query, rows, order)], "total_count": len(rows)}


def _listed(call: ApiCall, order: str) -> list[FakeOrganization]:
    all_organizations = call.store.organizations
    found = set(all_organizations)
    wanted, unwanted = choose(call.query.all("organization_id"))
    found = (found & wanted if wanted else found) - unwanted
    members, others = choose(call.query.all("user_id"))
    found = (found & _organizations_of(call, members) if members else found) - _organizations_of(call, others)
    rows = [all_organizations[each] for each in found]
    if text := (call.query.one("query") or "").lower():
        rows = [each for each in rows if each.id.lower() == text or text in f"{each.name}\n{each.slug}".lower()]
    return sorted(rows, key=_rank(call, order))


def _organizations_of(call: ApiCall, user_ids: set[str]) -> set[str]:
    users = [call.store.users[each] for each in user_ids if each in call.store.users]
    return {place.organization_id for user in users for place in call.store.memberships_of(user)}


def _rank(call: ApiCall, order: str) -> Callable[[FakeOrganization], tuple[Any, str]]:
    if order == "members_count":
        return lambda each: (len(call.store.members_of(each)), each.id)
    return lambda each: (getattr(each, order), each.id)


def _shape(call: ApiCall, organization: FakeOrganization) -> Shape:
    """Return an organization, with the number of members if requested."""
    if call.query.flag("include_members_count"):
        return call.store.counted_shape(organization)
    return organization_shape(organization)


def get_organization(call: ApiCall) -> Json:
    """Return one organization, by id or slug."""
    return _shape(call, call.organization())


def create_organization(call: ApiCall) -> Json:
    """Create an organization. The user in `created_by` becomes an admin; without one it has no members."""
    body = call.body("name", "created_by", "slug", "max_allowed_memberships", "created_at", *METADATA, "role_set_key")
    created_by = body.text("created_by")
    most = body.number("max_allowed_memberships")
    metadata: Shape = {name: body.metadata(name) for name in METADATA}
    organization = FakeOrganization("", _name(body.required("name")), body.text("slug") or "", **metadata)
    organization.max_allowed_memberships = 5 if most is None else most
    creator = call.user(created_by) if created_by else None
    return organization_shape(call.organizations.create(organization, creator, created_at=body.moment("created_at")))


def update_organization(call: ApiCall) -> Json:
    """Change an organization. Before `METADATA_ENDPOINTS`, metadata given here replaces the old metadata."""
    organization = call.organization()
    metadata = METADATA if call.version < METADATA_ENDPOINTS else ()
    own = ("name", "slug", "max_allowed_memberships", "admin_delete_enabled", "created_at")
    body = call.body(*own, "role_set_key", *metadata)
    changed: Shape = {
        "name": _name(body.text("name") or "") or None,
        "slug": body.text("slug"),
        "max_allowed_memberships": body.number("max_allowed_memberships"),
        "admin_delete_enabled": body.flag("admin_delete_enabled"),
        "created_at": body.moment("created_at"),
    }
    replaced = {name: body.metadata(name) or {} for name in body.given(*metadata)}
    given = {name: value for name, value in changed.items() if value is not None}
    call.organizations.update(organization, **given)
    if replaced:
        call.organizations.replace_metadata(organization, replaced)
    return organization_shape(organization)


def _name(name: str) -> str:
    if len(name) > MAX_NAME:
        message = f"name has at most {MAX_NAME} characters"
        raise ClerkRefuses(422, "form_param_max_length_exceeded", message, "name")
    return name


def delete_organization(call: ApiCall) -> Json:
    """Delete an organization."""
    organization = call.organization()
    call.organizations.delete(organization)
    return deleted_shape("organization", organization.id, slug=organization.slug)


def merge_metadata(call: ApiCall) -> Json:
    """Merge metadata at every level."""
    organization = call.organization()
    call.organizations.merge_metadata(organization, metadata_in(call.body(*METADATA)))
    return organization_shape(organization)


def replace_metadata(call: ApiCall) -> Json:
    """Replace each given kind of metadata."""
    organization = call.organization()
    call.organizations.replace_metadata(organization, metadata_in(call.body(*METADATA)))
    return organization_shape(organization)


# Memberships

MEMBERSHIP_ORDERS = ("created_at", "email_address", "phone_number", "first_name", "last_name", "username")


def list_memberships(call: ApiCall) -> Json:
    """Return a page of all memberships of the instance."""
    return _membership_page(call, "memberships", call.store.memberships.values)


def list_members(call: ApiCall) -> Json:
    """Return a page of the members of an organization, with the filters of a list of users."""
    organization = call.organization()

    def filtered() -> Iterable[FakeMembership]:
        conditions = [*user_conditions(call.query), *_named(call)]
        roles = call.query.all("role")
        for each in call.store.members_of(organization):
            user = call.store.users[each.user_id]
            if (not roles or each.role in roles) and all(true_of(user) for true_of in conditions):
                yield each

    return _membership_page(call, organization.id, filtered)


def list_memberships_of_user(call: ApiCall) -> Json:
    """Return a page of the memberships of a user."""
    user = call.user()
    return _membership_page(call, user.id, lambda: call.store.memberships_of(user))


def _membership_page(call: ApiCall, name: str, rows_of: Callable[[], Iterable[FakeMembership]]) -> Json:
    order = Order(call.query, MEMBERSHIP_ORDERS)
    rank = _membership_rank(call, order.name)
    rows = call.lists.get(cache_key(call.query, name), lambda: sorted(rows_of(), key=rank))
    return {"data": [call.store.shape(each) for each in page(call.query, rows, order)], "total_count": len(rows)}


def _membership_rank(call: ApiCall, name: str) -> Callable[[FakeMembership], Rank]:
    if name == "created_at":
        return by_creation
    rank, users = user_rank(name), call.store.users
    return lambda each: (*rank(users[each.user_id]), each.id)


def _named(call: ApiCall) -> list[Condition]:
    """Return the conditions on ids, addresses and usernames."""
    conditions: list[Condition] = []
    if ids := call.query.all("user_id"):
        conditions.append(one_of(set(ids)))
    if emails := call.query.all("email_address"):
        conditions.append(one_of({call.store.owner("email_address", each) for each in emails}))
    if names := call.query.all("username"):
        conditions.append(one_of({call.store.owner("username", each) for each in names}))
    return conditions


def add_member(call: ApiCall) -> Json:
    """Add a member. A user that is a member already is refused."""
    organization = call.organization()
    body = call.body("user_id", "role", *METADATA)
    user, role = call.user(body.required("user_id")), known_role(call, body.required("role"))
    refuse_members(call, organization, user)
    most = organization.max_allowed_memberships
    if most and len(call.store.members_of(organization)) >= most:
        raise ClerkRefuses(403, "organization_membership_quota_exceeded", f"There can be {most} members at most")
    metadata = {name: body.metadata(name) for name in METADATA}
    return call.store.shape(call.organizations.add_member(organization, user, role=role, **metadata))


def update_member(call: ApiCall) -> Json:
    """Change the role of a member."""
    membership = call.membership()
    role = known_role(call, call.body("role").required("role"))
    organization, user = call.organization(), call.user(membership.user_id)
    return call.store.shape(call.organizations.add_member(organization, user, role=role))


def remove_member(call: ApiCall) -> Json:
    """Remove a member, and return the membership."""
    membership = call.membership()
    shape = call.store.shape(membership)
    call.organizations.remove_member(call.organization(), call.user(membership.user_id))
    return shape


def merge_membership_metadata(call: ApiCall) -> Json:
    """Merge metadata at every level."""
    membership = call.membership()
    call.organizations.merge_metadata(membership, metadata_in(call.body(*METADATA)))
    return call.store.shape(membership)


def known_role(call: ApiCall, key: str) -> str:
    """Return the key of a role that exists."""
    if key not in call.store.roles:
        raise missing("Organization role")
    return key


def refuse_members(call: ApiCall, organization: FakeOrganization, user: FakeUser) -> None:
    """Refuse a user that is a member of the organization."""
    if call.store.membership(organization, user) is not None:
        message = "The user is a member of the organization already"
        raise ClerkRefuses(400, "already_a_member_in_organization", message, "user_id")


# Invitations

MAX_INVITATIONS = 10
_DAY = 86_400  # seconds
_INVITATION_FIELDS = (
    *("email_address", "role", "inviter_user_id", *METADATA),
    *("redirect_url", "expires_in_days", "notify"),
)


def list_invitations(call: ApiCall) -> Json:
    """Return a page of all invitations of the instance."""
    return _invitation_page(call, "invitations", call.store.invitations.values(), _with_organization(call))


def list_of_organization(call: ApiCall) -> Json:
    """Return a page of the invitations to an organization."""
    organization = call.organization()
    return _invitation_page(call, organization.id, call.store.invitations_to(organization), call.store.shape)


def list_of_user(call: ApiCall) -> Json:
    """Return a page of the invitations to a user."""
    user = call.user()
    emails = {each.address.lower() for each in user.addresses}
    rows = [each for each in call.store.invitations.values() if each.email.lower() in emails or each.user_id == user.id]
    return _invitation_page(call, user.id, rows, _with_organization(call))


def _with_organization(call: ApiCall) -> Callable[[FakeInvitation], Shape]:
    """Return the shape of invitations in lists across organizations."""
    return lambda each: (
        call.store.shape(each) | public_organization_shape(call.store.organizations[each.organization_id])
    )


def _invitation_page(
    call: ApiCall, name: str, invitations: Iterable[FakeInvitation], shape: Callable[[FakeInvitation], Shape]
) -> Json:
    order = Order(call.query, ("created_at", "email_address"))
    statuses = call.query.all("status")
    exact, text = (call.query.one("email_address") or "").lower(), (call.query.one("query") or "").lower()

    def filtered() -> list[FakeInvitation]:
        found = [each for each in invitations if not statuses or each.status in statuses]
        found = [each for each in found if exact in ("", each.email.lower()) and text in each.email.lower()]
        return sorted(found, key=_invitation_rank(order.name))

    rows = call.lists.get(cache_key(call.query, f"invitations of {name}"), filtered)
    return {"data": [shape(each) for each in page(call.query, rows, order)], "total_count": len(rows)}


def _invitation_rank(order: str) -> Callable[[FakeInvitation], tuple[Any, str]]:
    if order == "email_address":
        return lambda each: (each.email, each.id)
    return lambda each: (each.created_at, each.id)


def get_invitation(call: ApiCall) -> Json:
    """Return one invitation."""
    return call.store.shape(_invitation_of(call))


def invite(call: ApiCall) -> Json:
    """Create an invitation."""
    organization = call.organization()
    return call.store.shape(
        call.organizations.invite(organization, **_wanted(call, organization, call.body(*_INVITATION_FIELDS)))
    )


def invite_many(call: ApiCall) -> Json:
    """Create up to `MAX_INVITATIONS` invitations, or none if one of them is refused."""
    organization, bodies = call.organization(), call.bodies(*_INVITATION_FIELDS)
    if not 1 <= len(bodies) <= MAX_INVITATIONS:
        raise ClerkRefuses(422, "form_param_value_invalid", f"Between 1 and {MAX_INVITATIONS} people can be invited")
    wanted = [_wanted(call, organization, body) for body in bodies]
    shapes = [call.store.shape(call.organizations.invite(organization, **each)) for each in wanted]
    return {"data": shapes, "total_count": len(shapes)}


def _wanted(call: ApiCall, organization: FakeOrganization, body: BodyParameters) -> Shape:
    """Return the arguments of an invitation, or refuse it."""
    email = address_in(body.required("email_address"))
    if owner := call.store.owner("email_address", email):
        refuse_members(call, organization, call.user(owner))
    inviter, days = body.text("inviter_user_id"), body.number("expires_in_days", 1, 365)
    return {
        "email": email,
        "role": known_role(call, body.required("role")),
        "inviter": call.user(inviter) if inviter else None,
        "expires_in": MONTH if days is None else days * _DAY,
        **{name: body.metadata(name) for name in METADATA},
    }


def revoke_invitation(call: ApiCall) -> Json:
    """Revoke an invitation."""
    call.body("requesting_user_id")
    return call.store.shape(call.organizations.revoke_invitation(_invitation_of(call)))


def _invitation_of(call: ApiCall) -> FakeInvitation:
    invitation = call.store.invitations.get(call.ids[1])
    if invitation is None or invitation.organization_id != call.organization().id:
        raise missing("Organization invitation")
    return invitation


ROUTES: Routes = [
    Route("GET", "/organizations", list_organizations, "list"),
    Route("POST", "/organizations", create_organization),
    Route("GET", "/organizations/{}", get_organization),
    Route("PATCH", "/organizations/{}", update_organization, "change"),
    Route("DELETE", "/organizations/{}", delete_organization),
    Route("PATCH", "/organizations/{}/metadata", merge_metadata, "change"),
    Route("PUT", "/organizations/{}/metadata", replace_metadata, "change"),
    Route("GET", "/organization_memberships", list_memberships, "list"),
    Route("GET", "/users/{}/organization_memberships", list_memberships_of_user, "list"),
    Route("GET", "/organizations/{}/memberships", list_members, "list"),
    Route("POST", "/organizations/{}/memberships", add_member),
    Route("PATCH", "/organizations/{}/memberships/{}", update_member, "change"),
    Route("DELETE", "/organizations/{}/memberships/{}", remove_member),
    Route("PATCH", "/organizations/{}/memberships/{}/metadata", merge_membership_metadata, "change"),
    Route("GET", "/organization_invitations", list_invitations, "list"),
    Route("GET", "/users/{}/organization_invitations", list_of_user, "list"),
    Route("GET", "/organizations/{}/invitations", list_of_organization, "list"),
    Route("POST", "/organizations/{}/invitations", invite),
    Route("POST", "/organizations/{}/invitations/bulk", invite_many),
    Route("GET", "/organizations/{}/invitations/{}", get_invitation),
    Route("POST", "/organizations/{}/invitations/{}/revoke", revoke_invitation),
]
