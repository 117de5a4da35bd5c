"""One user, organization or membership is taken in now, and what is done to a user at Clerk has its effect at once."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from clerkmap import Change, Reconciler, Resolver, Verifier
from clerkmap.clerk import AsyncClerkApi, Budget, ClerkApi
from clerkmap.errors import ApiNotFound, ApiUnavailable, ConfigurationError, UserBanned, UserDeleted
from clerkmap.repositories import MemoryRepository
from clerkmap.repositories.threaded import threaded
from clerkmap.sync import (
    aban_user,
    adelete_user,
    arefresh,
    aunban_user,
    ban_user,
    delete_user,
    refresh,
    unban_user,
)
from clerkmap.testing import FakeClerk
from clerkmap.testing.contract_hooks import what

Call = Callable[..., list[Change]]


def in_async_code(function: Callable[..., Any]) -> Call:
    """The async twin, as a sync function of the same arguments."""

    def call(api: ClerkApi, repository: Any, **options: Any) -> list[Change]:
        async def main() -> list[Change]:
            own = AsyncClerkApi(api.instance, transport=TRANSPORTS[api.instance.name], patience=0, budget=api.budget)
            changes: list[Change] = await function(own, threaded(repository), **options)
            return changes

        return asyncio.run(main())

    return call


TRANSPORTS: dict[str, Any] = {}  # the transports, whose checks of the secret key are kept
COLOURS = pytest.mark.parametrize(
    ("read", "ban", "unban", "delete"),
    [
        (refresh, ban_user, unban_user, delete_user),
        tuple(map(in_async_code, (arefresh, aban_user, aunban_user, adelete_user))),
    ],
    ids=["sync", "async"],
)


class World:
    """A Clerk without webhooks so far, a repository, and the functions on them."""

    def __init__(self) -> None:
        self.clerk = FakeClerk()
        TRANSPORTS[self.clerk.instance.name] = transport = self.clerk.transport()
        self.repository = MemoryRepository()
        budget = Budget(1_000, time.monotonic)
        self.api = ClerkApi(self.clerk.instance, transport=transport, patience=0, budget=budget)
        self.reconciler = Reconciler(self.clerk.instance, self.repository, clock=self.clerk.clock)
        verifier = Verifier(self.clerk.instance, clock=self.clerk.clock)
        self.resolver = Resolver(self.clerk.instance, self.repository, verifier=verifier)

    def call(self, function: Call, **ids: str) -> list[str]:
        self.clerk.clock.advance(1)
        changes = function(self.api, self.repository, clock=self.clerk.clock, **ids)
        return [what(change) for change in changes]

    def hear(self) -> set[str]:
        """Deliver the webhooks, and return the outcomes."""
        self.clerk.clock.advance(1)
        return {self.reconciler.receive(each.headers, each.body).kind for each in self.clerk.deliveries()}


@COLOURS
def test_one_object_is_taken_in(read: Call, ban: Call, unban: Call, delete: Call) -> None:
    """A user, an organization and their membership by their ids; the webhooks that come late change nothing."""
    world = World()
    ada, acme = world.clerk.create_user("ada@example.com"), world.clerk.create_organization("Acme")
    assert world.call(read, user_id=ada.id) == ["user made"]
    assert world.call(read, organization_id=acme.id) == ["organization made"]
    world.clerk.add_member(acme, ada, role="org:admin")
    made = world.call(read, user_id=ada.id, organization_id=acme.id)
    assert made[-1] == "membership made"
    assert world.call(read, user_id=ada.id) == []
    assert world.hear() <= {"nothing_new", "ignored"}
    with world.clerk.silence():
        world.clerk.update_user(ada, first_name="Ada")
    assert world.call(read, user_id=ada.id) == ["user altered"]


@COLOURS
def test_what_is_gone_at_clerk_is_gone_here(read: Call, ban: Call, unban: Call, delete: Call) -> None:
    """A membership that has ended, a deleted user and a deleted organization; and what nobody knows is an error."""
    world = World()
    ada, bob = world.clerk.create_user(), world.clerk.create_user()
    acme = world.clerk.create_organization("Acme")
    world.clerk.add_member(acme, ada)
    world.clerk.add_member(acme, bob)
    world.hear()
    with world.clerk.silence():
        world.clerk.remove_member(acme, ada)
        world.clerk.delete_user(bob)
    ids = {"user_id": ada.id, "organization_id": acme.id}
    assert world.call(read, **ids) == ["membership deleted"]
    assert world.call(read, **ids) == []
    assert world.call(read, user_id="user_unknown", organization_id=acme.id) == []
    assert world.call(read, user_id="user_unknown", organization_id="org_unknown") == []
    assert world.call(read, user_id=bob.id) == ["membership deleted", "user deleted"]
    assert world.call(read, user_id=bob.id) == []
    with world.clerk.silence():
        world.clerk.delete_organization(acme)
    assert world.call(read, organization_id=acme.id) == ["organization deleted"]
    for unknown in ({"user_id": "user_unknown"}, {"organization_id": "org_unknown"}):
        with pytest.raises(ApiNotFound):
            world.call(read, **unknown)
    with pytest.raises(ConfigurationError, match="user_id"):
        world.call(read)


@COLOURS
def test_a_ban_takes_effect_at_once(read: Call, ban: Call, unban: Call, delete: Call) -> None:
    """The next request is refused, before the webhook, which then changes nothing; and so is the end of the ban."""
    world = World()
    ada = world.clerk.create_user()
    world.hear()
    token = world.clerk.token(ada)
    assert world.resolver.resolve(token).user.clerk_id == ada.id

    assert world.call(ban, user_id=ada.id) == ["user altered"]
    assert ada.banned
    with pytest.raises(UserBanned):
        world.resolver.resolve(token)
    assert "applied" not in world.hear()  # the ended sessions had no record
    assert world.call(ban, user_id=ada.id) == []
    assert world.call(unban, user_id=ada.id) == ["user altered"]
    assert world.resolver.resolve(token).user.clerk_id == ada.id


@COLOURS
def test_a_deletion_takes_effect_at_once(read: Call, ban: Call, unban: Call, delete: Call) -> None:
    """The user is refused; the webhook changes nothing; and a deletion that was interrupted is completed."""
    world = World()
    ada, bob = world.clerk.create_user(), world.clerk.create_user()
    world.hear()
    token = world.clerk.token(ada)
    assert world.call(delete, user_id=ada.id) == ["user deleted"]
    with pytest.raises(UserDeleted):
        world.resolver.resolve(token)
    assert world.hear() == {"nothing_new"}
    world.clerk.faults.cut_after = 1.0
    with pytest.raises(ApiUnavailable):
        world.call(delete, user_id=bob.id)
    world.clerk.faults.cut_after = 0.0
    assert bob.id not in world.clerk.users
    assert world.call(delete, user_id=bob.id) == ["user deleted"]
    with pytest.raises(ApiNotFound):
        world.call(delete, user_id="user_unknown")


def test_an_answer_is_later_than_a_wrong_date() -> None:
    """If Clerk's clock was ahead when it wrote the stored record, the answer is stored all the same."""
    world = World()
    ada = world.clerk.create_user()
    world.hear()
    ahead = world.clerk.shape(ada) | {"first_name": "Adele", "updated_at": ada.updated_at + 500}
    world.clerk.say("user.updated", ahead)
    assert world.hear() == {"applied"}
    assert world.call(refresh, user_id=ada.id) == ["user altered"]
    assert world.call(ban_user, user_id=ada.id) == ["user altered"]
