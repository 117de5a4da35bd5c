"""A repair mends what differs, writes nothing else, and deletes only what Clerk says it does not know."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from backfill_world import FULL, World, doctored, empty_lists, ended_before, no_members, short_lists
from clerkmap import Reconciler, threaded
from clerkmap.core.records import AnyRecord
from clerkmap.errors import ConfigurationError, WrongInstance
from clerkmap.repositories import MemoryRepository
from clerkmap.sync.backfill import backfill
from clerkmap.sync.drift import diff
from clerkmap.sync.repair import arepair, repair
from clerkmap.testing import FakeClerk


class Watched(MemoryRepository):
    """A repository that remembers what was put into it."""

    def __init__(self) -> None:
        super().__init__()
        self.puts: list[AnyRecord] = []

    def put(self, records: Iterable[AnyRecord]) -> list[Any]:
        """As ever."""
        records = list(records)
        self.puts += records
        return super().put(records)


@pytest.fixture
def world() -> World:
    """A world that was copied, and has no drift."""
    world = World.of(71, people=60, repository=Watched())
    backfill(world.api, world.repository)
    put(world).clear()
    return world


def put(world: World) -> list[AnyRecord]:
    """What was put."""
    assert isinstance(world.repository, Watched)
    return world.repository.puts


def lose_a_day(world: World) -> None:
    """Everything happens that can, and nobody is told."""
    clerk, people = world.clerk, [world.person(number) for number in range(6)]
    with clerk.silence():
        clerk.update_user(people[0], first_name="Bea")
        clerk.ban(people[1])
        clerk.add_member(world.company(1), clerk.create_user("new@example.com"))
        clerk.add_member(world.company(2), people[2], role="org:editor")
        clerk.remove_member(world.company(0), people[3])
        clerk.update_organization(world.company(1), name="Acme")
        clerk.delete_user(people[4])
        clerk.create_organization("New", created_by=people[5])


@pytest.mark.parametrize("way", ["repair", "backfill"])
def test_a_lost_day_is_found_and_mended(world: World, way: str) -> None:
    """By the whole diff and by the cheap one; by a repair and by a whole run; and then nothing differs."""
    lose_a_day(world)
    drift = diff(world.api, world.repository)
    assert drift.counts == {"missing": 4, "extra": 3, "stale": 3, "role": 1}
    assert diff(world.api, world.repository, cheap=True)
    if way == "repair":
        report = repair(world.api, world.repository)
        assert report.found == drift.counts
        assert report.to_dict() == report.to_dict() | FULL | {"departed": 2}
    else:
        backfill(world.api, world.repository)
    assert world.stored() == world.said()
    assert not diff(world.api, world.repository)
    assert not diff(world.api, world.repository, cheap=True)


def test_it_writes_what_differs_and_nothing_else(world: World) -> None:
    """And where nothing does, it writes nothing, and asks nothing that a diff does not ask."""
    requests = world.clerk.api.requests
    requests.clear()
    diff(world.api, world.repository)
    asked = len(requests)
    requests.clear()
    assert repair(world.api, world.repository).found == {}
    assert (len(requests), put(world)) == (asked, [])
    with world.clerk.silence():
        world.clerk.update_user(world.person(7), first_name="Bea")
        world.clerk.delete_user(world.person(8))
    requests.clear()
    report = repair(world.api, world.repository)
    assert (len(put(world)), len(requests)) == (2, asked + 1)
    assert report.changed == {"users": 1, "organizations": 0, "memberships": 0}


def test_an_organization_goes_with_all_its_members(world: World) -> None:
    """That is one departure, and none of the members is asked about."""
    with world.clerk.silence():
        world.clerk.delete_organization(world.company(1))
    report = repair(world.api, world.repository)
    assert (report.departed, report.held_back, report.found) == (1, 0, {"extra": 21})
    assert not diff(world.api, world.repository)


@pytest.mark.parametrize("change", [short_lists, empty_lists, no_members])
def test_lists_that_are_cut_delete_nobody(world: World, change: Any) -> None:
    """A short page, or an empty list: who seems to be gone is too many, or is asked for and found."""
    before = world.stored()
    for most in (0.1, 1):
        report = repair(doctored(world, change), world.repository, most_departures=most)
        assert report.departed == 0
        assert bool(report.held_back) == (change is not short_lists and most < 1)
        assert world.stored() == before


def test_the_key_of_another_instance_reads_and_writes_nothing(world: World) -> None:
    """It would find nobody."""
    world.clerk.faults.keys_of = FakeClerk(72)
    before = world.stored()
    with pytest.raises(WrongInstance):
        repair(world.api, world.repository, most_departures=1)
    assert (world.stored(), put(world)) == (before, [])


def test_too_many_departures_are_held_back(world: World) -> None:
    """Until they are allowed."""
    with world.clerk.silence():
        for person in list(world.clerk.users.values())[:20]:
            world.clerk.delete_user(person)
    report = repair(world.api, world.repository)
    assert (report.departed, report.held_back) == (0, 20)
    assert repair(world.api, world.repository, most_departures=0.5).departed == 20
    assert not diff(world.api, world.repository)


def test_what_happens_meanwhile_outranks_it(world: World) -> None:
    """Webhooks arrive while it reads; the end is what Clerk has."""
    clerk, reconciler = world.clerk, Reconciler(world.clerk.instance, world.repository)
    lose_a_day(world)

    def meanwhile(request: object) -> None:
        clerk.update_user(world.person(3), first_name=f"P{clerk.store.changes}")
        clerk.add_member(world.company(1), clerk.create_user())
        clerk.delete_user(world.person(12))
        for delivery in clerk.deliveries(shuffle=True, duplicate=0.3):
            reconciler.receive(delivery.headers, delivery.body)

    clerk.faults.between_pages = meanwhile
    repair(world.api, world.repository)
    clerk.faults.between_pages = None
    repair(world.api, world.repository)
    assert world.stored() == world.said()


def test_one_that_was_interrupted_can_be_begun_again(world: World) -> None:
    """At any of its questions."""
    lose_a_day(world)
    for question in range(6):
        with pytest.raises(KeyboardInterrupt):
            repair(ended_before(world, question), world.repository, most_departures=1)
    repair(world.api, world.repository, most_departures=1)
    assert world.stored() == world.said()


def test_in_async_code(world: World) -> None:
    """The same, with progress."""
    lose_a_day(world)
    stages: list[str] = []

    async def run() -> int:
        async with world.async_api as api:
            repository = threaded(world.repository)
            return (await arepair(api, repository, progress=lambda each: stages.append(each.stage))).departed

    assert asyncio.run(run()) == 2
    assert list(dict.fromkeys(stages)) == ["users", "organizations", "memberships", "departures"]
    assert world.stored() == world.said()


def test_a_part_that_is_none(world: World) -> None:
    """As for a backfill."""
    with pytest.raises(ConfigurationError, match="most_departures"):
        repair(world.api, world.repository, most_departures=2)


def test_rows_that_say_too_little_are_counted(world: World) -> None:
    """And change nothing."""

    def nameless(path: str, said: Any) -> Any:
        return [row | {"id": None} for row in said] if path == "/users" and isinstance(said, list) else said

    before = world.stored()
    report = repair(doctored(world, nameless), world.repository)
    assert report.unreadable > 0
    assert report.departed == 0
    assert world.stored() == before
