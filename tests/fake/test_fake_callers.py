"""`FakeClerk.auth`: whose request it is where a test does not say, and what the made-up Clerk then knows of them."""

import pytest

from clerkmap import Principal, Reconciler, Resolver
from clerkmap.errors import SessionEnded, UserBanned, UserDeleted
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk


class World:
    """A Clerk, and an application that hears of it."""

    def __init__(self) -> None:
        self.clerk = FakeClerk()
        repository = MemoryRepository()
        self.resolver = Resolver(self.clerk.instance, repository)
        self.reconciler = Reconciler(self.clerk.instance, repository)

    def who(self, headers: dict[str, str]) -> Principal:
        """The caller of a request with these headers."""
        return self.resolver.resolve(headers["Authorization"].removeprefix("Bearer "))

    def deliver(self) -> None:
        """Everything that Clerk has to say arrives."""
        for delivery in self.clerk.deliveries():
            self.reconciler.receive(delivery.headers, delivery.body)


@pytest.fixture
def world() -> World:
    return World()


def test_nobody_in_particular_is_always_the_same(world: World) -> None:
    """Two requests of nobody in particular are of one person, in one session, in no organization."""
    first, second = (world.who(world.clerk.auth()) for _ in range(2))
    assert first.user.id == second.user.id
    assert first.user.clerk_id == world.clerk.somebody().id
    assert first.claims.session_id == second.claims.session_id
    assert first.organization is None
    assert len(world.clerk.users) == 1


def test_each_header_has_a_token_of_its_own(world: World) -> None:
    """Tokens are fresh, not kept."""
    assert world.clerk.auth() != world.clerk.auth()


def test_a_role_brings_an_organization(world: World) -> None:
    """Who is to have a role has it, in the first organization there is."""
    principal = world.who(world.clerk.auth(role="org:admin"))
    assert principal.membership is not None
    assert principal.membership.role == "org:admin"
    assert principal.organization is not None
    assert principal.organization.slug == "acme"


def test_permissions_bring_an_organization(world: World) -> None:
    """A permission counts in an organization only, so one is there."""
    assert world.who(world.clerk.auth(permissions=["org:invoices:read"])).claims.has(permission="org:invoices:read")


def test_roles_one_after_the_other_are_those_of_several_people(world: World) -> None:
    """Within one second, too, an administrator is one and a member is none: they are not the same person."""
    roles = ["org:member", "org:admin", "org:member", "org:guest", "org:admin"]
    found = [world.who(world.clerk.auth(role=role)) for role in roles]
    assert [each.membership and each.membership.role for each in found] == roles
    assert len({each.user.id for each in found}) == 3
    assert len({each.organization and each.organization.id for each in found}) == 1


def test_a_role_that_was_given_stays(world: World) -> None:
    """Who was named in a role once has it in the next token, too."""
    clerk = world.clerk
    ada, acme = clerk.create_user(), clerk.create_organization()
    world.who(clerk.auth(ada, acme, role="org:admin"))
    again = world.who(clerk.auth(ada, acme))
    assert again.membership is not None
    assert again.membership.role == "org:admin"


def test_who_is_shown_in_an_organization_is_a_member_of_it(world: World) -> None:
    """Tokens and webhooks tell the same: there is no token of a place that Clerk knows nothing of."""
    ada, acme = world.clerk.create_user(), world.clerk.create_organization()
    world.clerk.auth(ada, acme)
    held = world.clerk.membership(acme, ada)
    assert held is not None
    assert held.role == "org:member"


def test_a_caller_that_is_set_is_meant_where_nobody_is_named(world: World) -> None:
    """The person, the organization and what else is in the tokens; another person has nothing of it."""
    clerk = world.clerk
    bob, ada, acme = clerk.create_user(), clerk.create_user(), clerk.create_organization()
    clerk.set_caller(ada, acme, role="org:admin", permissions=["org:invoices:read"])
    meant = world.who(clerk.auth())
    assert (meant.user.clerk_id, meant.claims.has(organization_role="admin")) == (ada.id, True)
    assert meant.claims.has(permission="org:invoices:read")
    assert world.who(clerk.auth(pending=False, plan="o:pro")).claims.has(permission="org:invoices:read")
    member = world.who(clerk.auth(role="org:member"))
    assert member.user.clerk_id not in (ada.id, bob.id)
    assert not member.claims.has(permission="org:invoices:read")
    assert world.who(clerk.auth(bob)).organization is None


def test_a_session_that_is_ended_is_over(world: World) -> None:
    """Signed-in requests belong to a session that Clerk knows: it can be revoked, and there can be a new one."""
    clerk = world.clerk
    ada = clerk.create_user()
    world.who(clerk.auth(ada))
    for session in clerk.sessions_of(ada):
        clerk.end_session(session, "revoked")
    world.deliver()
    with pytest.raises(SessionEnded):
        world.who(clerk.auth(ada))
    clerk.sign_in(ada)
    assert world.who(clerk.auth(ada)).user.clerk_id == ada.id
    assert world.who(clerk.auth(ada, session="sess_b")).claims.session_id == "sess_b"


def test_who_is_banned_or_deleted_can_still_show_a_token(world: World) -> None:
    """A token outlives the welcome for a minute. Making one neither fails nor makes news of who is gone."""
    clerk = world.clerk
    banned, gone = clerk.create_user(), clerk.create_user()
    acme = clerk.create_organization()
    clerk.ban(banned)
    clerk.delete_user(gone)
    world.deliver()
    with pytest.raises(UserBanned):
        world.who(clerk.auth(banned))
    with pytest.raises(UserDeleted):
        world.who(clerk.auth(gone, acme, role="org:admin"))
    assert list(clerk.deliveries()) == []


def test_ids_of_another_text_are_of_other_people_in_the_same_world() -> None:
    """The key, the secrets and the instance stay; no person or message has an id that was there before."""
    one, same, other = FakeClerk(ids="one"), FakeClerk(ids="one"), FakeClerk(ids="other")
    ada, twin, eve = (clerk.create_user("ada@example.com") for clerk in (one, same, other))
    assert ada.id == twin.id != eve.id
    assert one.environment() == other.environment() == FakeClerk().environment()
    assert one.instance_id == other.instance_id
    assert not {*one.wire.messages} & {*other.wire.messages}
    assert Resolver(one.instance, MemoryRepository()).resolve(other.token(eve)).user.clerk_id == eve.id
