"""A backfill ends with what Clerk has, whatever happens meanwhile, and deletes only what Clerk says is not there."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backfill_world import FULL, World, doctored, empty_lists, no_members, plenty, short_lists
from clerkmap import Reconciler, threaded
from clerkmap.auth.resolver import Resolver
from clerkmap.clerk.api import ClerkApi
from clerkmap.errors import ApiUnavailable, ConfigurationError, UserDeleted, WrongInstance
from clerkmap.repositories import SqliteRepository
from clerkmap.sync.backfill import abackfill, backfill
from clerkmap.sync.drift import diff
from clerkmap.sync.job import Progress
from clerkmap.testing import FakeClerk


def test_everything_is_copied_in_pages() -> None:
    """More people than two pages hold; and once more, nothing changes."""
    world = World.of(1, people=1_100)
    report = backfill(world.api, world.repository)
    assert world.stored() == world.said()
    assert report.to_dict() == FULL | {
        "listed": {"users": 1_100, "organizations": 3, "memberships": 1_100},
        "changed": {"users": 1_100, "organizations": 3, "memberships": 1_100},
        "resumed": False,
    }
    again = backfill(world.api, world.repository)
    assert again.changed == {"users": 0, "organizations": 0, "memberships": 0}


def test_in_async_code_on_a_file(tmp_path: Path) -> None:
    """The same."""
    world = World.of(2, people=60, repository=SqliteRepository.open(tmp_path / "app.db"))

    async def run() -> None:
        async with world.async_api as api:
            report = await abackfill(api, threaded(world.repository))
            assert report.complete

    asyncio.run(run())
    assert world.stored() == world.said()
    world.repository.close()


def test_progress_is_told() -> None:
    """List by list, up to what Clerk says there is."""
    world, told = World.of(3, people=600), list[Progress]()
    backfill(world.api, world.repository, progress=told.append)
    assert [(each.stage, each.done, each.total) for each in told] == [
        ("users", 500, 600),
        ("users", 600, 600),
        ("organizations", 3, 3),
        ("memberships", 500, 600),
        ("memberships", 600, 600),
    ]


def test_what_was_never_told_is_found() -> None:
    """Changes and deletions of every kind, of which no webhook came."""
    world = World.of(4, people=60)
    clerk = world.clerk
    backfill(world.api, world.repository)
    with clerk.silence():
        clerk.update_user(world.person(3), first_name="Bea")
        clerk.ban(world.person(5))
        clerk.add_member(world.company(0), world.person(9), role="org:admin")
        clerk.create_user("new@example.com")
        clerk.remove_member(world.company(0), world.person(6))
        clerk.delete_user(world.person(4))
        clerk.delete_organization(world.company(2))
    assert world.stored() != world.said()
    report = backfill(world.api, world.repository, most_departures=1)
    assert world.stored() == world.said()
    assert report.departed == 3  # with the organization went its members: their memberships do not count
    assert not diff(world.api, world.repository)


def test_who_has_gone_is_locked_out() -> None:
    """The tombstone is like any other."""
    world = World.of(5, people=20)
    gone = world.person(3)
    token = world.clerk.token(gone)
    backfill(world.api, world.repository)
    resolver = Resolver(world.clerk.instance, world.repository)
    resolver.resolve(token)
    with world.clerk.silence():
        world.clerk.delete_user(gone)
    backfill(world.api, world.repository)
    with pytest.raises(UserDeleted):
        resolver.resolve(token)


@pytest.mark.parametrize("change", [empty_lists, short_lists, no_members])
@pytest.mark.parametrize("most", [0.1, 1])
def test_nothing_is_deleted_because_a_list_was_cut(change: Callable[[str, Any], Any], most: float) -> None:
    """However many may go: what is not listed is asked for, and it is there."""
    world = World.of(6, people=40)
    backfill(world.api, world.repository)
    report = backfill(doctored(world, change), world.repository, most_departures=most)
    assert world.stored() == world.said()
    assert report.departed == 0
    assert (report.held_back > 0) == (most < 1 and change is not short_lists)


def test_a_page_that_is_too_short_is_not_the_end() -> None:
    """The list is read on, up to the number that Clerk counts."""
    world = World.of(7, people=45)
    report = backfill(doctored(world, short_lists), world.repository)
    assert world.stored() == world.said()
    assert report.complete
    assert report.listed == {"users": 45, "organizations": 3, "memberships": 45}


def test_a_list_that_is_cut_is_told() -> None:
    """The report does not claim to have seen everything; and the next run does not rely on it."""

    def ends_early(path: str, said: Any) -> Any:
        return list(filter(early.__contains__, said)) if isinstance(said, list) else said

    world = World.of(7, people=40)
    early = [world.clerk.shape(world.person(number)) for number in range(30)]
    report = backfill(doctored(world, ends_early), world.repository)
    assert (report.complete, report.resumed) == (False, False)
    report = backfill(world.api, world.repository, newest_only=True)
    assert report.complete
    assert world.stored() == world.said()


def test_the_key_of_another_instance_writes_nothing() -> None:
    """Nobody would be found with it, and everybody would seem to be gone."""
    world, other = World.of(8, people=20), FakeClerk(9)
    backfill(world.api, world.repository)
    before = world.stored()
    wrong = world.clerk.make_instance(secret_key=other.secret_key)
    api = ClerkApi(wrong, transport=other.transport(), budget=plenty())
    with pytest.raises(WrongInstance):
        backfill(api, world.repository, most_departures=1)
    with pytest.raises(WrongInstance):
        diff(api, world.repository)
    assert world.stored() == before


def test_too_many_departures_are_held_back() -> None:
    """More than is likely is asked about only if you say so."""
    world = World.of(10, people=60)
    backfill(world.api, world.repository)
    with world.clerk.silence():
        for person in list(world.clerk.users.values())[:30]:
            world.clerk.delete_user(person)
    held = backfill(world.api, world.repository)
    assert (held.departed, held.held_back) == (0, 30)
    assert len([kind for kind, _ in world.stored() if kind == "user"]) == 60
    backfill(world.api, world.repository, most_departures=1)
    assert world.stored() == world.said()
    for nonsense in (-0.1, 1.1, "all", True):
        with pytest.raises(ConfigurationError):
            backfill(world.api, world.repository, most_departures=nonsense)  # type: ignore[arg-type]  # that is the test


def test_who_was_erased_here_stays_erased() -> None:
    """Though Clerk still has them."""
    world = World.of(11, people=10)
    backfill(world.api, world.repository)
    standing = world.repository.find(world.clerk.instance.name, world.person(2).id)
    assert standing is not None
    world.repository.erase(standing.user.id)
    backfill(world.api, world.repository)
    assert ("user", world.person(2).id) not in world.stored()
    assert not diff(world.api, world.repository)


def test_with_everything_against_it() -> None:
    """People come, change and go between pages, webhooks arrive shuffled and twice, and a third of all answers fail."""
    world = World.of(12, people=1_300)
    clerk, reconciler = world.clerk, Reconciler(world.clerk.instance, world.repository)

    def meanwhile(request: object) -> None:
        clerk.create_user()
        clerk.delete_user(world.person(7))
        clerk.update_user(world.person(100), first_name="Bea")
        clerk.remove_member(world.company(0), clerk.users[clerk.members_of(world.company(0))[0].user_id])
        for delivery in clerk.deliveries(shuffle=True, duplicate=0.3):
            reconciler.receive(delivery.headers, delivery.body)

    clerk.faults.between_pages = meanwhile
    clerk.faults.cut_before = clerk.faults.cut_after = clerk.faults.server_error = clerk.faults.too_many = 0.1
    report = backfill(world.api, world.repository, most_departures=1)
    assert world.stored() == world.said()
    assert report.complete


@pytest.mark.slow
def test_the_person_at_the_cursor_goes() -> None:
    """The next page begins a moment before where they stood. That they have gone since, the next run will find."""
    world = World.of(13, people=1_100)
    asked = list[str]()

    def meanwhile(request: Any) -> None:
        asked.append(request.query)
        if len(asked) == 2:  # the second page begins after this person
            world.clerk.delete_user(world.person(499))

    world.clerk.faults.between_pages = meanwhile
    gone = world.person(499).id
    report = backfill(world.api, world.repository)
    assert (report.complete, gone in world.clerk.users) == (True, False)
    assert {what for what in world.stored().items() if what not in world.said().items()} == {
        (("user", gone), ("P499", "p499@example.com", False))
    }
    backfill(world.api, world.repository)
    assert world.stored() == world.said()


def test_clerk_is_away() -> None:
    """The error is one of clerkmap's, and what was copied stays."""
    world = World.of(17, people=10)
    world.clerk.faults.cut_before = 1
    api = ClerkApi(world.clerk.instance, transport=world.clerk.transport(), budget=plenty(), patience=0)
    with pytest.raises(ApiUnavailable):
        backfill(api, world.repository)
    assert world.stored() == {}
