"""What the made-up Clerk refuses, as Clerk does: nothing has changed then, and nothing was said."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from clerkmap.testing import ClerkRefuses, Clock, FakeClerk, FakeOrganization, FakeUser
from fake_world import World

Act = Callable[[World], object]

# What is done, and the status and code of the refusal.
REFUSED: dict[str, tuple[Act, int, str]] = {
    "an address that is taken": (
        lambda w: w.clerk.create_user("ADA@example.com", username="new"),
        422,
        "form_identifier_exists",
    ),
    "a username that is taken": (lambda w: w.clerk.create_user(username="Ada"), 422, "form_identifier_exists"),
    "an external id that is taken": (lambda w: w.clerk.create_user(external_id="x1"), 422, "form_identifier_exists"),
    "an id that is taken": (lambda w: w.clerk.create_user(id=w.ada.id), 422, "form_identifier_exists"),
    "an organization's id that is taken": (
        lambda w: w.clerk.create_organization(id=w.acme.id),
        422,
        "form_identifier_exists",
    ),
    "a slug that is taken": (lambda w: w.clerk.create_organization(slug="acme"), 422, "form_identifier_exists"),
    "another's username": (lambda w: w.clerk.update_user(w.bea, username="ada"), 422, "form_identifier_exists"),
    "a good name and another's": (
        lambda w: w.clerk.update_user(w.bea, username="new", external_id="x1"),
        422,
        "form_identifier_exists",
    ),
    "another's address": (lambda w: w.clerk.add_address(w.bea, "ada@example.com"), 422, "form_identifier_exists"),
    "one's own address again": (lambda w: w.clerk.add_address(w.bea, "Bea@example.com"), 422, "form_identifier_exists"),
    "another's slug": (
        lambda w: w.clerk.update_organization(w.other, slug="acme"),
        422,
        "form_identifier_exists",
    ),
    "no parameter": (lambda w: w.clerk.update_user(w.ada, first_name="A", shoe_size=9), 422, "form_param_unknown"),
    "no parameter of an organization": (
        lambda w: w.clerk.update_organization(w.acme, name="A", size=9),
        422,
        "form_param_unknown",
    ),
    "no metadata of an organization": (
        lambda w: w.clerk.merge_metadata(w.acme, public_metadata={"a": 1}, unsafe_metadata={}),
        422,
        "form_param_unknown",
    ),
    "somebody else's address as primary": (
        lambda w: w.clerk.update_user(w.bea, primary_address_id=w.ada.primary_address_id),
        422,
        "form_param_value_invalid",
    ),
    "somebody else's address to remove": (
        lambda w: w.clerk.remove_address(w.bea, w.ada.addresses[0]),
        404,
        "resource_not_found",
    ),
    "a stranger to remove": (lambda w: w.clerk.remove_member(w.acme, w.bea), 404, "resource_not_found"),
    "an invitation accepted twice": (
        lambda w: w.clerk.accept_invitation(w.accepted),
        400,
        "organization_invitation_not_pending",
    ),
    "an accepted invitation to revoke": (
        lambda w: w.clerk.revoke_invitation(w.accepted),
        400,
        "organization_invitation_not_pending",
    ),
    "an invitation of an organization that is gone": (
        lambda w: w.clerk.accept_invitation(w.void),
        404,
        "resource_not_found",
    ),
    "a session of somebody who is gone": (lambda w: w.clerk.end_session(w.lost), 404, "resource_not_found"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_clerk_refuses_is_refused_and_changes_nothing(name: str) -> None:
    """With Clerk's status and code, before anything has changed or was said."""
    act, status, code = REFUSED[name]
    world = World()
    before = world.state()
    with pytest.raises(ClerkRefuses) as refused:
        act(world)
    assert (refused.value.status, refused.value.code) == (status, code)
    assert world.state() == before


# Everything that is done to a person or an organization who must be there.
OF_A_USER: dict[str, Callable[[FakeClerk, FakeUser, FakeOrganization], object]] = {
    "update": lambda clerk, user, acme: clerk.update_user(user, first_name="A"),
    "add an address": lambda clerk, user, acme: clerk.add_address(user, "new@example.com"),
    "remove an address": lambda clerk, user, acme: clerk.remove_address(user, user.addresses[0]),
    "ban": lambda clerk, user, acme: clerk.ban(user),
    "unban": lambda clerk, user, acme: clerk.unban(user),
    "lock": lambda clerk, user, acme: clerk.lock(user),
    "deprovision": lambda clerk, user, acme: clerk.deprovision(user),
    "delete": lambda clerk, user, acme: clerk.delete_user(user),
    "merge metadata": lambda clerk, user, acme: clerk.merge_metadata(user, public_metadata={"a": 1}),
    "replace metadata": lambda clerk, user, acme: clerk.replace_metadata(user, public_metadata={"a": 1}),
    "sign in": lambda clerk, user, acme: clerk.sign_in(user),
    "found an organization": lambda clerk, user, acme: clerk.create_organization("New", created_by=user),
    "join": lambda clerk, user, acme: clerk.add_member(acme, user),
    "remove a member": lambda clerk, user, acme: clerk.remove_member(acme, user),
    "invite": lambda clerk, user, acme: clerk.invite(acme, "new@example.com", inviter=user),
    "make an API key": lambda clerk, user, acme: clerk.create_api_key(user),
    "make an OAuth token": lambda clerk, user, acme: clerk.create_oauth_token(user),
}
OF_AN_ORGANIZATION: dict[str, Callable[[FakeClerk, FakeOrganization, FakeUser], object]] = {
    "update": lambda clerk, acme, user: clerk.update_organization(acme, name="A"),
    "delete": lambda clerk, acme, user: clerk.delete_organization(acme),
    "merge metadata": lambda clerk, acme, user: clerk.merge_metadata(acme, public_metadata={"a": 1}),
    "replace metadata": lambda clerk, acme, user: clerk.replace_metadata(acme, public_metadata={"a": 1}),
    "sign in": lambda clerk, acme, user: clerk.sign_in(user, acme),
    "join": lambda clerk, acme, user: clerk.add_member(acme, user),
    "remove a member": lambda clerk, acme, user: clerk.remove_member(acme, user),
    "invite": lambda clerk, acme, user: clerk.invite(acme, "new@example.com"),
    "make an API key": lambda clerk, acme, user: clerk.create_api_key(acme),
}


@pytest.mark.parametrize("whose", ["gone", "another Clerk's"])
@pytest.mark.parametrize("act", OF_A_USER)
def test_nothing_happens_to_people_who_are_not_there(act: str, whose: str) -> None:
    """Deleted before, or somebody of another Clerk, even one of the same seed and so of the same id."""
    world = World()
    user = world.gone if whose == "gone" else World().ada
    before = world.state()
    with pytest.raises(ClerkRefuses, match="No user was found") as refused:
        OF_A_USER[act](world.clerk, user, world.acme)
    assert (refused.value.status, refused.value.code) == (404, "resource_not_found")
    assert world.state() == before


@pytest.mark.parametrize("whose", ["gone", "another Clerk's"])
@pytest.mark.parametrize("act", OF_AN_ORGANIZATION)
def test_nothing_happens_to_organizations_that_are_not_there(act: str, whose: str) -> None:
    """Likewise."""
    world = World()
    organization = world.closed if whose == "gone" else World().acme
    before = world.state()
    with pytest.raises(ClerkRefuses, match="No organization was found"):
        OF_AN_ORGANIZATION[act](world.clerk, organization, world.ada)
    assert world.state() == before


def test_nothing_happens_to_what_else_is_another_clerks() -> None:
    """Sessions, invitations, memberships and opaque tokens."""
    world, other = World(), World()
    membership = other.clerk.membership(other.acme, other.ada)
    assert membership is not None
    key = other.clerk.create_api_key(other.ada)
    acts: list[Callable[[], object]] = [
        lambda: world.clerk.end_session(other.session),
        lambda: world.clerk.accept_invitation(other.invitation),
        lambda: world.clerk.accept_invitation(world.invitation, other.ada),
        lambda: world.clerk.revoke_invitation(other.invitation),
        lambda: world.clerk.merge_metadata(membership, public_metadata={}),
        lambda: world.clerk.revoke_machine_token(key),
    ]
    before = world.state()
    for act in acts:
        with pytest.raises(ClerkRefuses) as refused:
            act()
        assert refused.value.status == 404
    assert world.state() == before


def test_a_role_without_its_prefix_is_refused() -> None:
    """Each role of Clerk begins with `org:`, also in an invitation."""
    clerk = FakeClerk(1)
    ada = clerk.create_user()
    acme = clerk.create_organization(created_by=ada)
    for refused in (
        lambda: clerk.add_member(acme, ada, role="admin"),
        lambda: clerk.invite(acme, "bea@example.com", role="admin"),
        lambda: clerk.create_role("admin"),
    ):
        with pytest.raises(ClerkRefuses, match="org:admin"):
            refused()


def test_a_token_is_for_a_user_and_not_for_an_address() -> None:
    """The error names the function that returns the user, and not the address."""
    clerk, address = FakeClerk(1), cast(Any, "ada@example.com")
    for make in (clerk.token, clerk.template_token, clerk.auth, clerk.set_caller):
        with pytest.raises(TypeError, match=r"create_user.*not str"):
            make(address)


def test_the_clock_advances_by_a_timedelta() -> None:
    """Seconds and a `timedelta` move it alike."""
    clock = Clock(1000)
    clock.advance(timedelta(minutes=1))
    clock.advance(-30)
    assert clock() == 1030
