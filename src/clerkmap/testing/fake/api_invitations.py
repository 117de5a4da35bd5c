"""The API of invitations into organizations."""

from collections.abc import Callable, Iterable
from typing import Any

from .api_lists import Order, asked_for, page
from .api_memberships import METADATA, known_role, refuse_members
from .api_requests import Call, Json, Route, Routes, Said, missing
from .api_users import address_in
from .objects import ClerkRefuses, FakeInvitation, FakeOrganization
from .organizations import MONTH
from .shapes import Shape, public_organization_shape

MOST_AT_ONCE = 10
_DAY = 86_400_000
_FIELDS = (
    *("email_address", "role", "inviter_user_id", *METADATA),
    *("redirect_url", "expires_in_days", "notify"),
)


def list_all(call: Call) -> Json:
    """A page of every invitation there is."""
    return _page(call, "invitations", call.clerk.invitations.values(), _with_organization(call))


def list_of_organization(call: Call) -> Json:
    """A page of the invitations into one organization."""
    organization = call.organization()
    return _page(call, organization.id, call.clerk.invitations_to(organization), call.clerk.shape)


def list_of_user(call: Call) -> Json:
    """A page of the invitations that one person has got."""
    user = call.user()
    emails = {each.address.lower() for each in user.addresses}
    rows = [each for each in call.clerk.invitations.values() if each.email.lower() in emails or each.user_id == user.id]
    return _page(call, user.id, rows, _with_organization(call))


def _with_organization(call: Call) -> Callable[[FakeInvitation], Shape]:
    """How an invitation is written in a list that is not of one organization."""
    return lambda each: (
        call.clerk.shape(each) | public_organization_shape(call.clerk.organizations[each.organization_id])
    )


def _page(
    call: Call, name: str, everything: Iterable[FakeInvitation], shape: Callable[[FakeInvitation], Shape]
) -> Json:
    order = Order(call.query, ("created_at", "email_address"))
    statuses = call.query.all("status")
    exact, text = (call.query.one("email_address") or "").lower(), (call.query.one("query") or "").lower()

    def some() -> list[FakeInvitation]:
        found = [each for each in everything if not statuses or each.status in statuses]
        found = [each for each in found if exact in ("", each.email.lower()) and text in each.email.lower()]
        return sorted(found, key=_rank(order.name))

    rows = call.lists.get(asked_for(call.query, f"invitations of {name}"), some)
    return {"data": [shape(each) for each in page(call.query, rows, order)], "total_count": len(rows)}


def _rank(order: str) -> Callable[[FakeInvitation], tuple[Any, str]]:
    if order == "email_address":
        return lambda each: (each.email, each.id)
    return lambda each: (each.created_at, each.id)


def get_invitation(call: Call) -> Json:
    """One invitation."""
    return call.clerk.shape(_found(call))


def invite(call: Call) -> Json:
    """A new invitation."""
    organization = call.organization()
    return call.clerk.shape(call.clerk.invite(organization, **_wanted(call, organization, call.said(*_FIELDS))))


def invite_many(call: Call) -> Json:
    """Ten new invitations at most. If one of them cannot be, none is made."""
    organization, all_said = call.organization(), call.said_in_list(*_FIELDS)
    if not 1 <= len(all_said) <= MOST_AT_ONCE:
        raise ClerkRefuses(422, "form_param_value_invalid", f"Between 1 and {MOST_AT_ONCE} people can be invited")
    wanted = [_wanted(call, organization, said) for said in all_said]
    shapes = [call.clerk.shape(call.clerk.invite(organization, **each)) for each in wanted]
    return {"data": shapes, "total_count": len(shapes)}


def _wanted(call: Call, organization: FakeOrganization, said: Said) -> Shape:
    """What an invitation is to be, if it can be."""
    email = address_in(said.needed("email_address"))
    if owner := call.clerk.owner("email_address", email):
        refuse_members(call, organization, call.user(owner))
    inviter, days = said.text("inviter_user_id"), said.number("expires_in_days", 1, 365)
    return {
        "email": email,
        "role": known_role(call, said.needed("role")),
        "inviter": call.user(inviter) if inviter else None,
        "expires_in": MONTH if days is None else days * _DAY,
        **{name: said.metadata(name) for name in METADATA},
    }


def revoke_invitation(call: Call) -> Json:
    """An invitation that was taken back."""
    call.said("requesting_user_id")
    return call.clerk.shape(call.clerk.revoke_invitation(_found(call)))


def _found(call: Call) -> FakeInvitation:
    invitation = call.clerk.invitations.get(call.ids[1])
    if invitation is None or invitation.organization_id != call.organization().id:
        raise missing("Organization invitation")
    return invitation


ROUTES: Routes = [
    Route("GET", "/organization_invitations", list_all, "list"),
    Route("GET", "/users/{}/organization_invitations", list_of_user, "list"),
    Route("GET", "/organizations/{}/invitations", list_of_organization, "list"),
    Route("POST", "/organizations/{}/invitations", invite),
    Route("POST", "/organizations/{}/invitations/bulk", invite_many),
    Route("GET", "/organizations/{}/invitations/{}", get_invitation),
    Route("POST", "/organizations/{}/invitations/{}/revoke", revoke_invitation),
]
