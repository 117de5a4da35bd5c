"""The API of memberships: of one organization, of one person, and of the whole instance."""

from collections.abc import Callable, Iterable

from .api_lists import Condition, Order, Rank, asked_for, by_birth, one_of, page, user_conditions, user_rank
from .api_requests import Call, Json, Route, Routes, missing
from .api_users import metadata_in
from .objects import ClerkRefuses, FakeMembership, FakeOrganization, FakeUser

ORDERS = ("created_at", "email_address", "phone_number", "first_name", "last_name", "username")
METADATA = ("public_metadata", "private_metadata")


def list_all(call: Call) -> Json:
    """A page of every membership there is."""
    return _page(call, "memberships", call.clerk.memberships.values)


def list_members(call: Call) -> Json:
    """A page of the members of an organization, whom the same can be asked of as of people in general."""
    organization = call.organization()

    def some() -> Iterable[FakeMembership]:
        conditions = [*user_conditions(call.query), *_named(call)]
        roles = call.query.all("role")
        for each in call.clerk.members_of(organization):
            user = call.clerk.users[each.user_id]
            if (not roles or each.role in roles) and all(true_of(user) for true_of in conditions):
                yield each

    return _page(call, organization.id, some)


def list_places(call: Call) -> Json:
    """A page of one person's memberships."""
    user = call.user()
    return _page(call, user.id, lambda: call.clerk.memberships_of(user))


def _page(call: Call, name: str, rows_of: Callable[[], Iterable[FakeMembership]]) -> Json:
    order = Order(call.query, ORDERS)
    rank = _rank(call, order.name)
    rows = call.lists.get(asked_for(call.query, name), lambda: sorted(rows_of(), key=rank))
    return {"data": [call.clerk.shape(each) for each in page(call.query, rows, order)], "total_count": len(rows)}


def _rank(call: Call, name: str) -> Callable[[FakeMembership], Rank]:
    if name == "created_at":
        return by_birth
    rank, users = user_rank(name), call.clerk.users
    return lambda each: (*rank(users[each.user_id]), each.id)


def _named(call: Call) -> list[Condition]:
    """That they are one of those who are named, in each of the ways in which somebody is."""
    conditions: list[Condition] = []
    if ids := call.query.all("user_id"):
        conditions.append(one_of(set(ids)))
    if emails := call.query.all("email_address"):
        conditions.append(one_of({call.clerk.owner("email_address", each) for each in emails}))
    if names := call.query.all("username"):
        conditions.append(one_of({call.clerk.owner("username", each) for each in names}))
    return conditions


def add_member(call: Call) -> Json:
    """A new membership. At Clerk, who is in already is not taken in again."""
    organization = call.organization()
    said = call.said("user_id", "role", *METADATA)
    user, role = call.user(said.needed("user_id")), known_role(call, said.needed("role"))
    refuse_members(call, organization, user)
    most = organization.max_allowed_memberships
    if most and len(call.clerk.members_of(organization)) >= most:
        raise ClerkRefuses(403, "organization_membership_quota_exceeded", f"There can be {most} members at most")
    metadata = {name: said.metadata(name) for name in METADATA}
    return call.clerk.shape(call.clerk.add_member(organization, user, role=role, **metadata))


def update_member(call: Call) -> Json:
    """A membership with another role."""
    membership = call.membership()
    role = known_role(call, call.said("role").needed("role"))
    organization, user = call.organization(), call.user(membership.user_id)
    return call.clerk.shape(call.clerk.add_member(organization, user, role=role))


def remove_member(call: Call) -> Json:
    """The membership as it was, in full."""
    membership = call.membership()
    shape = call.clerk.shape(membership)
    call.clerk.remove_member(call.organization(), call.user(membership.user_id))
    return shape


def merge_metadata(call: Call) -> Json:
    """Metadata merged into those that are there, at every level."""
    membership = call.membership()
    call.clerk.merge_metadata(membership, **metadata_in(call.said(*METADATA)))
    return call.clerk.shape(membership)


def known_role(call: Call, key: str) -> str:
    """The role, if the instance has it."""
    if key not in call.clerk.roles:
        raise missing("Organization role")
    return key


def refuse_members(call: Call, organization: FakeOrganization, user: FakeUser) -> None:
    """Who is in an organization cannot be taken into it, nor invited."""
    if call.clerk.membership(organization, user) is not None:
        said = "The user is a member of the organization already"
        raise ClerkRefuses(400, "already_a_member_in_organization", said, "user_id")


ROUTES: Routes = [
    Route("GET", "/organization_memberships", list_all, "list"),
    Route("GET", "/users/{}/organization_memberships", list_places, "list"),
    Route("GET", "/organizations/{}/memberships", list_members, "list"),
    Route("POST", "/organizations/{}/memberships", add_member),
    Route("PATCH", "/organizations/{}/memberships/{}", update_member, "change"),
    Route("DELETE", "/organizations/{}/memberships/{}", remove_member),
    Route("PATCH", "/organizations/{}/memberships/{}/metadata", merge_metadata, "change"),
]
