"""What differs between Clerk and the repository is found, told by its kind, and left as it is."""

import asyncio
from typing import Any

import pytest

from backfill_crowd import Crowd, api_of
from backfill_world import World, doctored, empty_lists, no_members, short_lists
from clerkmap import Reconciler, Resolver, threaded
from clerkmap.clerk.api import ClerkApi
from clerkmap.repositories import MemoryRepository
from clerkmap.sync.backfill import backfill
from clerkmap.sync.drift import MOST_TOLD, adiff, diff
from clerkmap.sync.repair import repair
from clerkmap.testing import FakeClerk


@pytest.fixture
def world() -> World:
    """A world that was copied, and has no drift."""
    world = World.of(21, people=30)
    backfill(world.api, world.repository)
    assert not diff(world.api, world.repository)
    return world


def told(world: World) -> dict[str, Any]:
    """What differs, by what it is about."""
    drift = diff(world.api, world.repository)
    assert sum(drift.counts.values()) == len(drift.differences)
    return {each.clerk_id: (each.how, each.kind, each.fields) for each in drift.differences}


def test_a_lost_day(world: World) -> None:
    """Each thing that was missed, and what to call it; nothing is written; and a backfill mends it."""
    clerk, people = world.clerk, [world.person(number) for number in range(6)]
    (place,) = clerk.memberships_of(people[4])
    before = world.stored()
    with clerk.silence():
        clerk.update_user(people[0], first_name="Bea", last_name="B")
        clerk.ban(people[1])
        new = clerk.create_user("new@example.com")
        joined = clerk.add_member(world.company(1), new)
        promoted = clerk.add_member(world.company(2), people[2], role="org:editor")
        left = clerk.remove_member(world.company(0), people[3])
        clerk.update_organization(world.company(1), name="Acme")
        clerk.delete_user(people[4])
    assert told(world) == {
        people[0].id: ("stale", "user", ("first_name", "last_name")),
        people[1].id: ("stale", "user", ("banned",)),
        new.id: ("missing", "user", ()),
        joined.id: ("missing", "membership", ()),
        promoted.id: ("role", "membership", ("role",)),
        left.id: ("extra", "membership", ()),
        world.company(1).id: ("stale", "organization", ("name",)),
        people[4].id: ("extra", "user", ()),
        place.id: ("extra", "membership", ()),
    }
    assert world.stored() == before
    backfill(world.api, world.repository, most_departures=1)
    assert told(world) == {}


def test_somebody_known_from_a_token_alone_is_missing(world: World) -> None:
    """Their row is there, and nothing that Clerk says of them."""
    with world.clerk.silence():
        person = world.clerk.create_user("eve@example.com")
    Resolver(world.clerk.instance, world.repository).resolve(world.clerk.token(person))
    assert told(world) == {person.id: ("missing", "user", ())}


def changed_behind_the_list(world: World, **said: Any) -> ClerkApi:
    """Change a person, and deliver the webhook. The list of this API shows them as they were before."""
    person = world.person(3)
    row = world.clerk.shape(person)
    world.clerk.update_user(person, **said)
    for delivery in world.clerk.deliveries():
        Reconciler(world.clerk.instance, world.repository).receive(delivery.headers, delivery.body)
    lists = [0]

    def stale(path: str, said: Any) -> Any:
        lists[0] += isinstance(said, list)
        is_first = isinstance(said, list) and lists[0] == 1
        return [row if each["id"] == person.id else each for each in said] if is_first else said

    return doctored(world, stale)


@pytest.mark.parametrize("job", [diff, backfill, repair])
def test_a_webhook_that_was_faster_than_the_list_is_no_drift(world: World, job: Any) -> None:
    """The row of the list is asked for again, and nothing is found or changed."""
    api = changed_behind_the_list(world, first_name="Bea")
    job(api, world.repository)
    assert world.stored() == world.said()
    assert not diff(changed_behind_the_list(world, first_name="Cea"), world.repository)
    assert not diff(changed_behind_the_list(world, first_name="Dea"), world.repository, cheap=True)


def test_as_json(world: World) -> None:
    """For a script."""
    with world.clerk.silence():
        world.clerk.delete_user(world.person(7))
    drift = diff(world.api, world.repository)
    assert drift.to_dict() == {
        "drift": True,
        "complete": True,
        "cheap": False,
        "counts": {"extra": 2},
        "compared": {"users": 29, "organizations": 3, "memberships": 29},
        "differences": [
            {"how": each.how, "kind": each.kind, "clerk_id": each.clerk_id, "fields": ()} for each in drift.differences
        ],
    }


def test_in_async_code(world: World) -> None:
    """The same."""
    with world.clerk.silence():
        world.clerk.create_user()

    async def run() -> dict[str, int]:
        async with world.async_api as api:
            return dict((await adiff(api, threaded(world.repository))).counts)

    assert asyncio.run(run()) == {"missing": 1}


def test_who_was_erased_here_is_no_drift_in_new_organizations_either(world: World) -> None:
    """Clerk still has them, and they go on joining there: nothing of that is missing here."""
    person = world.person(3)
    standing = world.repository.find(world.clerk.instance.name, person.id)
    assert standing is not None
    world.repository.erase(standing.user.id)
    with world.clerk.silence():
        world.clerk.add_member(world.company(1), person)
        world.clerk.update_user(person, first_name="Bea")
    assert told(world) == {}
    backfill(world.api, world.repository)
    assert told(world) == {}


def test_what_happens_meanwhile_is_no_drift(world: World) -> None:
    """Its webhook arrives while the lists are read, which then say something newer than what had been looked up."""
    clerk, reconciler = world.clerk, Reconciler(world.clerk.instance, world.repository)

    def meanwhile(request: object) -> None:
        clerk.update_user(world.person(3), first_name=f"P{clerk.store.changes}")
        clerk.add_member(world.company(1), clerk.create_user())
        clerk.add_member(
            world.company(0), world.person(0), role="org:admin" if clerk.store.changes % 2 else "org:member"
        )
        clerk.delete_user(world.person(12))
        for delivery in clerk.deliveries():
            reconciler.receive(delivery.headers, delivery.body)

    clerk.faults.between_pages = meanwhile
    assert told(world) == {}
    clerk.faults.between_pages = None
    assert told(world) == {}


@pytest.mark.parametrize("change", [short_lists, empty_lists, no_members])
def test_lists_that_are_cut(world: World, change: Any) -> None:
    """A short page is read on. An empty list makes everything look like too much, and nothing is written."""
    before = world.stored()
    drift = diff(doctored(world, change), world.repository)
    assert set(drift.counts) == (set() if change is short_lists else {"extra"})
    assert world.stored() == before


def test_no_more_than_ten_thousand_are_told() -> None:
    """All are counted."""
    drift = diff(api_of(Crowd(MOST_TOLD + 5), FakeClerk(22)), MemoryRepository())
    assert (len(drift.differences), drift.counts["missing"]) == (10_000, 10_005)


def test_who_is_tied_to_another_user_than_clerk_names(world: World) -> None:
    """By an id of yours that Clerk keeps, whichever way you say. Whom Clerk names nobody for is as they are."""
    clerk, repository = world.clerk, world.repository
    people, instance = [world.person(number) for number in range(4)], world.clerk.instance.name
    ids = [str(standing.user.id) for each in people if (standing := repository.find(instance, each.id))]
    with clerk.silence():
        clerk.update_user(people[0], external_id=ids[0])
        clerk.update_user(people[1], external_id=ids[2])
        clerk.update_user(people[2], external_id="nobody's")
    backfill(world.api, repository)
    drift = diff(world.api, repository, own_id=lambda user: user.external_id)
    assert [(each.how, each.kind, each.clerk_id) for each in drift.differences] == [
        ("link", "user", people[1].id),
        ("link", "user", people[2].id),
    ]
    assert dict(drift.counts) == {"link": 2}
    assert dict(diff(world.api, repository, own_id=lambda user: user.external_id, cheap=True).counts) == {"link": 2}
    assert not diff(world.api, repository)
    repository.relink(instance, people[1].id, ids[1], to=ids[2])
    repository.erase(repository.users(people[2].id).items[0].id)
    assert not diff(world.api, repository, own_id=lambda user: user.external_id)


def test_an_id_that_was_written_back_just_now_is_no_wrong_link(world: World) -> None:
    """Its webhook was faster than the list, which names another still."""
    person = world.person(3)
    with world.clerk.silence():
        world.clerk.update_user(person, external_id="old")
    api = changed_behind_the_list(world, external_id=None)
    assert not diff(api, world.repository, own_id=lambda user: user.external_id)


def test_who_is_missing_has_no_link(world: World) -> None:
    """One thing is told of them, and not two."""
    with world.clerk.silence():
        world.clerk.create_user(external_id="7")
    drift = diff(world.api, world.repository, own_id=lambda user: user.external_id)
    assert dict(drift.counts) == {"missing": 1}
