"""The cheap look: a handful of questions tells whether anything differs, and claims no more than it has seen."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from backfill_crowd import Crowd, api_of
from backfill_world import World, doctored, empty_lists
from clerkmap import Reconciler, Resolver, threaded
from clerkmap.errors import WrongInstance
from clerkmap.repositories import MemoryRepository
from clerkmap.sync.backfill import backfill
from clerkmap.sync.drift import adiff, diff
from clerkmap.testing import FakeClerk
from file_world import export, taken


@pytest.fixture
def world() -> World:
    """A world that was copied, and has no drift; with more people than there are newest ones."""
    world = World.of(61, people=150)
    backfill(world.api, world.repository)
    return world


def seen(world: World) -> dict[str, int]:
    """What a cheap look finds. What it finds differs."""
    drift = diff(world.api, world.repository, cheap=True)
    assert drift.cheap
    assert bool(drift) <= bool(diff(world.api, world.repository))
    return dict(drift.counts)


def test_where_nothing_differs_it_is_five_questions(world: World) -> None:
    """Whose key it is, the counts and the newest, of any number of people; and nothing is written."""
    before = world.stored()
    world.clerk.api.requests.clear()
    assert seen(world) == {}
    assert world.stored() == before
    world.clerk.api.requests.clear()
    diff(world.api, world.repository, cheap=True)
    assert len(world.clerk.api.requests) == 5


Change = Callable[[World], object]


def come_and_go(world: World) -> None:
    """Somebody new, and somebody gone with their membership."""
    world.clerk.create_user("new@example.com")
    world.clerk.delete_user(world.person(3))


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (lambda world: world.clerk.create_user(), {"missing": 1}),
        (lambda world: [world.clerk.create_user() for _ in range(120)], {"missing": 120}),
        (lambda world: world.clerk.update_user(world.person(0), first_name="Bea"), {"stale": 1}),
        (lambda world: world.clerk.ban(world.person(0)), {"stale": 1}),
        (lambda world: world.clerk.delete_user(world.person(3)), {"extra": 2}),
        (lambda world: world.clerk.create_organization("New", created_by=world.person(0)), {"missing": 2}),
        (lambda world: world.clerk.delete_organization(world.company(0)), {"extra": 51}),
        (lambda world: world.clerk.remove_member(world.company(0), world.person(0)), {"extra": 1}),
        (come_and_go, {"missing": 1, "extra": 1}),
    ],
    ids=["new", "many new", "changed", "banned", "gone", "founded", "dissolved", "left", "come and go"],
)
def test_what_it_finds(world: World, change: Change, counts: dict[str, int]) -> None:
    """How many differ at least, of each sort; and after a run nothing does."""
    with world.clerk.silence():
        change(world)
    assert seen(world) == counts
    backfill(world.api, world.repository, most_departures=1)
    assert seen(world) == {}


def test_what_it_cannot_see(world: World) -> None:
    """An old membership's role; and a name that many others have changed since, who were told of."""
    reconciler = Reconciler(world.clerk.instance, world.repository)
    with world.clerk.silence():
        world.clerk.add_member(world.company(0), world.person(3), role="org:admin")
        world.clerk.update_user(world.person(0), first_name="Lost")
    world.clerk.clock.advance(1)
    for number in range(1, 120):
        world.clerk.update_user(world.person(number), first_name="Told")
    for delivery in world.clerk.deliveries():
        reconciler.receive(delivery.headers, delivery.body)
    assert seen(world) == {}
    assert diff(world.api, world.repository)


def test_what_has_ended_with_one_of_its_ends_does_not_count(world: World) -> None:
    """Memberships of whom we were told that they are gone are stored still, and are no drift."""
    reconciler = Reconciler(world.clerk.instance, world.repository)
    world.clerk.delete_organization(world.company(1))
    world.clerk.delete_user(world.person(0))
    for delivery in world.clerk.deliveries():
        if delivery.message.type != "organizationMembership.deleted":
            reconciler.receive(delivery.headers, delivery.body)
    assert seen(world) == {}


def test_whom_only_tokens_or_an_export_have_named(world: World) -> None:
    """They are missing, and if they are gone they are extra."""
    with world.clerk.silence():
        stays, goes = world.clerk.create_user(), world.clerk.create_user()
    Resolver(world.clerk.instance, world.repository).resolve(world.clerk.token(stays))
    taken(world, export(goes))
    assert seen(world) == {"missing": 2}
    with world.clerk.silence():
        world.clerk.delete_user(goes)
    assert seen(world) == {"missing": 1, "extra": 1}


def test_what_happens_meanwhile_is_no_drift(world: World) -> None:
    """People come and go between two questions, and their webhooks arrive."""
    clerk, reconciler = world.clerk, Reconciler(world.clerk.instance, world.repository)

    def meanwhile(request: object) -> None:
        clerk.add_member(world.company(1), clerk.create_user())
        clerk.delete_user(world.person(12))
        for delivery in clerk.deliveries():
            reconciler.receive(delivery.headers, delivery.body)

    clerk.faults.between_pages = meanwhile
    assert dict(diff(world.api, world.repository, cheap=True).counts) == {}


def test_who_was_erased_here_counts_as_missing(world: World) -> None:
    """Counts alone do not tell them apart from who is lost; a whole diff does."""
    standing = world.repository.find(world.clerk.instance.name, world.person(3).id)
    assert standing is not None
    world.repository.erase(standing.user.id)
    assert dict(diff(world.api, world.repository, cheap=True).counts) == {"missing": 2}
    assert not diff(world.api, world.repository)


def test_empty_lists_and_the_key_of_another_instance(world: World) -> None:
    """The one makes everything look like too much, the other is refused; nothing is written by either."""
    before = world.stored()
    drift = diff(doctored(world, empty_lists), world.repository, cheap=True)
    assert dict(drift.counts) == {"extra": 303}
    other = FakeClerk(62)
    world.clerk.faults.keys_of = other
    with pytest.raises(WrongInstance):
        diff(world.api, world.repository, cheap=True)
    assert world.stored() == before


def test_in_async_code(world: World) -> None:
    """The same."""
    with world.clerk.silence():
        world.clerk.create_user()

    async def run() -> dict[str, Any]:
        async with world.async_api as api:
            return (await adiff(api, threaded(world.repository), cheap=True)).to_dict()

    told = asyncio.run(run())
    assert (told["cheap"], told["drift"], told["counts"]) == (True, True, {"missing": 1})
    assert told["compared"] == {"users": 100, "organizations": 3, "memberships": 100}


def test_a_first_look_at_very_many() -> None:
    """Nothing is stored: all are missing, and it still takes seven questions or eight."""
    drift = diff(api_of(Crowd(20_000), FakeClerk(63)), MemoryRepository(), cheap=True)
    assert dict(drift.counts) == {"missing": 20_000}
