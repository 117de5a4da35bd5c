"""Only what is newer than the last run that came to its end: quick, and without a gap."""

import pytest

from backfill_world import World, doctored, empty_lists, ended_before
from clerkmap import Reconciler
from clerkmap.core.records import key_of
from clerkmap.sync.backfill import backfill
from clerkmap.sync.drift import diff


def test_only_the_newest() -> None:
    """Reading stops where the last run began: one page of each list instead of four."""
    world = World.of(31, people=1_600)
    backfill(world.api, world.repository)
    with world.clerk.silence():
        world.clerk.update_user(world.person(3), first_name="Bea")
        world.clerk.add_member(world.company(1), world.clerk.create_user("new@example.com"))
    world.clerk.api.requests.clear()
    report = backfill(world.api, world.repository, newest_only=True)
    assert report.changed == {"users": 2, "organizations": 0, "memberships": 1}
    assert len(world.clerk.api.requests) == 4
    assert world.stored() == world.said()


@pytest.mark.slow
def test_what_is_known_does_not_end_it() -> None:
    """A day was lost, and since then more has been told than a page holds. The day is found behind it."""
    world = World.of(32, people=1_600)
    reconciler = Reconciler(world.clerk.instance, world.repository)
    backfill(world.api, world.repository)
    with world.clerk.silence():
        for number in range(20):
            world.clerk.update_user(world.person(number), first_name="Lost")
            world.clerk.add_member(world.company(1), world.clerk.create_user())
    for number in range(700, 1_400):
        world.clerk.update_user(world.person(number), first_name="Told")
    for delivery in world.clerk.deliveries():
        reconciler.receive(delivery.headers, delivery.body)
    report = backfill(world.api, world.repository, newest_only=True)
    assert report.changed == {"users": 40, "organizations": 0, "memberships": 20}
    assert world.stored() == world.said()


def test_without_a_run_before_it_is_everything() -> None:
    """Also where the note of it cannot be read, or where the run before did not see everything."""
    world = World.of(33, people=40)
    assert backfill(world.api, world.repository, newest_only=True).listed["users"] == 40
    assert world.stored() == world.said()
    world.repository.set_checkpoint(f"backfill done {key_of(world.clerk.instance.name)}", "soon")
    with world.clerk.silence():
        world.clerk.delete_user(world.person(3))
    assert backfill(world.api, world.repository, newest_only=True).departed == 1


def test_each_begins_where_the_one_before_began() -> None:
    """A chain of them misses nothing, and one that was ended does not count."""
    world = World.of(34, people=30)
    backfill(world.api, world.repository)
    for number in range(6):
        with world.clerk.silence():
            world.clerk.update_user(world.person(number), first_name=f"Changed {number}")
        with pytest.raises(KeyboardInterrupt):
            backfill(ended_before(world, number % 4), world.repository, newest_only=True)
        world.clerk.clock.advance(3_600)
        backfill(world.api, world.repository, newest_only=True)
        assert world.stored() == world.said()


@pytest.mark.slow
def test_rows_that_shift_meanwhile() -> None:
    """People change, come and go between the pages. What is still there and was not changed meanwhile is all read."""
    world = World.of(35, people=1_800)
    backfill(world.api, world.repository)
    with world.clerk.silence():
        for number in range(1_700):
            world.clerk.update_user(world.person(number), last_name="Lost")
    people = list(world.clerk.users.values())
    left = list(range(1_690, 1_000, -1))

    def meanwhile(request: object) -> None:
        with world.clerk.silence():
            for _ in range(30):
                world.clerk.delete_user(people[left.pop()])  # the newest: all that are behind them move up

    world.clerk.faults.between_pages = meanwhile
    backfill(world.api, world.repository, newest_only=True)
    world.clerk.faults.between_pages = None
    said, stored = world.said(), world.stored()
    assert said.items() <= stored.items()
    backfill(world.api, world.repository, most_departures=1)
    assert not diff(world.api, world.repository)


def test_an_empty_list_ends_it_and_deletes_nobody() -> None:
    """There is nothing new then."""
    world = World.of(36, people=20)
    backfill(world.api, world.repository)
    report = backfill(doctored(world, empty_lists), world.repository, newest_only=True)
    assert (report.departed, report.held_back) == (0, 0)
    assert world.stored() == world.said()
