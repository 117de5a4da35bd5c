"""What Clerk says in a file ends in the same state as what it says in a webhook, and counts for no more than it is."""

import asyncio
import io
import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from backfill_world import DAY, World
from clerkmap import Instance, Reconciler, Resolver, threaded
from clerkmap.core.records import key_of
from clerkmap.core.times import to_datetime
from clerkmap.errors import ConfigurationError, UserBanned
from clerkmap.sync.backfill import backfill
from clerkmap.sync.drift import diff
from clerkmap.sync.import_file import abackfill_file, backfill_file
from clerkmap.sync.job import Progress
from file_world import export, heard, lines, objects, taken

FULL, FROM_TOKEN = "2", "0"


@pytest.fixture
def world() -> World:
    """Some people of yesterday, of whom nobody has been told."""
    return World.of(51, people=30)


def at(seconds: float) -> datetime:
    return to_datetime(int(seconds * 1000))


def stored(world: World, clerk_id: str) -> Any:
    """What is stored of a person."""
    return world.repository.record("user", world.clerk.instance.name, key_of(clerk_id))


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("is_list", [True, False])
def test_everything_as_the_api_shows_it(world: World, is_list: bool, indent: int | None) -> None:
    """A list in JSON, in one line or in many, and JSON lines: the state is Clerk's. A second time changes nothing."""
    file = json.dumps(objects(world), indent=indent).encode() if is_list else lines(objects(world))
    report = taken(world, file)
    assert report.listed == {"users": 30, "organizations": 3, "memberships": 30}
    assert (report.unreadable, report.partial, report.unreadable_lines) == (0, 0, [])
    assert world.stored() == world.said()
    assert not diff(world.api, world.repository)
    assert sum(taken(world, file).changed.values()) == 0


def test_pages_one_behind_the_other(world: World) -> None:
    """As one saves them, each a list."""
    everything = objects(world)
    pages = [everything[:20], [], everything[20:]]
    report = taken(world, "\ufeff\n\n".encode() + b"\n".join(json.dumps(page).encode() for page in pages))
    assert (sum(report.listed.values()), report.unreadable) == (63, 0)
    assert world.stored() == world.said()


@pytest.mark.parametrize("is_heard", [True, False])
def test_events(world: World, is_heard: bool) -> None:
    """As they are, and as `clerk webhooks listen --json` writes them, in any order: deletions too."""
    clerk = world.clerk
    taken(world, lines(objects(world)))
    clerk.update_user(world.person(0), first_name="Bea")
    clerk.delete_user(world.person(1))
    clerk.remove_member(world.company(2), world.person(4))
    deliveries = list(clerk.deliveries(shuffle=True, duplicate=0.5))
    written = [heard(each) if is_heard else json.loads(each.body) for each in deliveries]
    report = taken(world, lines(written))
    assert (report.unreadable, report.elsewhere) == (0, 0)
    assert world.stored() == world.said()
    assert sum(taken(world, lines(written)).changed.values()) == 0


def test_events_of_no_use(world: World) -> None:
    """About nothing that is kept here; of another instance; and no event at all. Each is counted as what it is."""
    event = {"object": "event", "type": "email.created", "timestamp": 1_790_000_000_000, "data": {"id": "ema_1"}}
    person = world.clerk.shape(world.person(0))
    theirs = {**event, "type": "user.created", "data": person, "instance_id": "ins_elsewhere"}
    broken = [{"body_b64": "a"}, {"body_b64": 7}, {"body_b64": "e30="}, {"type": 7, "data": {}}]
    unsaid = {**event, "type": "user.created"}  # its data are no person's
    report = taken(world, lines([event, theirs, *broken, unsaid]))
    assert (report.ignored, report.elsewhere) == (1, 1)
    assert report.unreadable_lines == [3, 4, 5, 6, 7]
    assert (report.listed, world.stored()) == ({}, {})


def test_an_export_makes_rows(world: World) -> None:
    """With names and addresses, verified where the export says so; and no more is known than that."""
    clerk, ada, bob = world.clerk, world.person(0), world.person(1)
    unverified = {"id": "user_eve", "primary_email_address": "eve@example.com", "first_name": 'E\n"ve", ü'}
    both = {**unverified, "id": "user_both", "verified_email_addresses": "eve@example.com"}
    file = export(ada, bob, unverified, {**both, "unverified_email_addresses": "eve@example.com"})
    report = taken(world, file, observed_at=at(clerk.clock() - 60))
    assert (report.partial, report.unreadable, report.listed) == (4, 0, {"users": 4})
    found = stored(world, ada.id)
    assert (found.email, found.email_verified, found.first_name) == (ada.email, True, "P0")
    assert (found.grade, found.updated_at) == (FROM_TOKEN, None)
    assert (stored(world, "user_eve").first_name, stored(world, "user_eve").email_verified) == ('E\n"ve", ü', False)
    assert stored(world, "user_both").email_verified is False
    assert "c4n4ry" not in json.dumps(world.repository.export(world.repository.users(ada.id).items[0].id))
    drift = diff(world.api, world.repository)
    assert {each.how for each in drift.differences if each.clerk_id == ada.id} == {"missing"}
    backfill(world.api, world.repository, most_departures=1)
    assert world.stored() == world.said()


def test_an_export_erases_nothing(world: World) -> None:
    """Not a picture, not a ban, and nothing that Clerk has told in any other way, however new the export is."""
    clerk, known, glimpsed = world.clerk, world.person(0), world.person(1)
    with clerk.silence():
        clerk.ban(known)
        clerk.ban(glimpsed)
    member = clerk.shape(clerk.memberships_of(glimpsed)[0])
    member["public_user_data"]["banned"] = True
    taken(world, lines([clerk.shape(known), member]))
    before = [stored(world, each.id) for each in (known, glimpsed)]
    assert [each.grade for each in before] == [FULL, "1"]
    report = taken(world, export(known, glimpsed), observed_at=at(clerk.clock()))
    assert sum(report.changed.values()) == 0
    assert [stored(world, each.id) for each in (known, glimpsed)] == before
    with pytest.raises(UserBanned):
        Resolver(clerk.instance, world.repository).resolve(clerk.token(glimpsed))


def test_a_later_export_replaces_an_earlier_one(world: World) -> None:
    """Whichever is read first; and a token takes nothing from either."""
    person = {"id": world.person(0).id, "first_name": "Old"}
    now = world.clerk.clock()
    Resolver(world.clerk.instance, world.repository).resolve(world.clerk.token(world.person(1)))
    taken(world, export(person | {"first_name": "New"}), observed_at=at(now - DAY))
    taken(world, export(person), observed_at=at(now - 2 * DAY))
    Resolver(world.clerk.instance, world.repository).resolve(world.clerk.token(world.person(0), world.company(0)))
    assert stored(world, world.person(0).id).first_name == "New"


def test_an_export_in_json_is_one_too(world: World) -> None:
    """Whatever says less of a person than the API, in whatever form: a ban counts, and no absence of one does."""
    exported = {
        "id": "user_ann",
        "primary_email_address": "ann@example.com",
        "banned": True,
        "created_at": "2026-01-01",
    }
    listed = exported | {"id": "user_bea", "verified_email_addresses": ["ann@example.com"], "public_metadata": {"a": 1}}
    whole = world.clerk.shape(world.person(0))
    parts = [{name: value for name, value in whole.items() if name != left} for left in ("banned", "updated_at")]
    report = taken(world, json.dumps([exported, listed, *parts, whole | {"updated_at": "2026"}]).encode())
    assert (report.partial, report.unreadable) == (5, 0)
    ann, bea, other = (stored(world, each) for each in ("user_ann", "user_bea", whole["id"]))
    assert (ann.email, ann.email_verified, ann.banned) == ("ann@example.com", False, True)
    assert (bea.email_verified, bea.public_metadata) == (True, '{"a":1}')
    assert (other.grade, other.email, other.updated_at) == (
        FROM_TOKEN,
        whole["email_addresses"][0]["email_address"],
        None,
    )


def test_what_cannot_be_taken_for_what_it_is(world: World) -> None:
    """A deletion without a moment; half an organization; things of another kind. Nothing of them is put."""
    clerk = world.clerk
    taken(world, lines(objects(world)))
    before = world.stored()
    member = clerk.shape(next(iter(clerk.memberships.values())))
    half = {"object": "organization", "id": world.company(0).id, "name": None}
    rows: list[dict[str, Any]] = [
        {"object": "user", "id": world.person(0).id, "deleted": True},
        half,
        member | {"organization": half},
        {"object": ["user"], "id": "user_x"},
        {"object": "session", "id": "sess_x"},
        {"id": "org_x", "name": "no user"},
        {},
    ]
    report = taken(world, lines(rows))
    assert report.unreadable_lines == [1, 2, 3, 4, 5, 6, 7]
    assert world.stored() == before


def test_nothing_is_deleted_because_it_is_not_there(world: World) -> None:
    """A file with one person in it, or with nobody, is not everybody."""
    taken(world, lines(objects(world)))
    for file in (b"", b"\n", b"[]", export(), export(world.person(0)), lines(objects(world)[:1])):
        assert taken(world, file).departed == 0
        assert world.stored() == world.said()


def test_a_file_of_yesterday_outranks_nothing_of_today(world: World, tmp_path: Path) -> None:
    """Also where an object's own date is the same: it counts as of when the file was last changed, if it is one."""
    clerk, person = world.clerk, world.person(0)
    path = tmp_path / "users.json"
    path.write_bytes(lines([clerk.shape(person)]))
    os.utime(path, (clerk.clock() - DAY,) * 2)
    now = clerk.shape(person) | {"banned": True}  # of the same moment, and said today
    clerk.say("user.updated", now)
    for delivery in clerk.deliveries():
        Reconciler(clerk.instance, world.repository).receive(delivery.headers, delivery.body)
    for file in (path, str(path), path.read_bytes().splitlines(keepends=True)):
        backfill_file(file, world.repository, instance=clerk.instance)
        assert stored(world, person.id).banned
    backfill_file(
        path, world.repository, instance=clerk.instance, observed_at=at(clerk.clock() + 1), clock=lambda: 10**10
    )
    assert not stored(world, person.id).banned


def test_the_moment_of_a_file(world: World, tmp_path: Path) -> None:
    """When it was last changed, and never in the future; of a pipe nobody knows it."""
    path = tmp_path / "users.csv"
    path.write_bytes(export(world.person(0)))
    for changed, moment in ((5, 5_000), (2**33, 1_790_000_000_000)):
        os.utime(path, (changed, changed))
        repository = type(world.repository)()
        backfill_file(path, repository, instance=world.clerk.instance, clock=lambda: 1_790_000_000)
        (record,) = repository.records("user", world.clerk.instance.name)
        assert record.observed_at == moment
    reading, writing = os.pipe()
    os.write(writing, export(world.person(1)))
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        backfill_file(pipe, world.repository, instance=world.clerk.instance)
    assert stored(world, world.person(1).id).observed_at == 0


@pytest.mark.parametrize("moment", [-1, "now", True, datetime(2026, 1, 1), at(-1), at(2e11)])
def test_a_moment_that_is_none(world: World, moment: Any) -> None:
    """Neither what is no time, nor one in the future."""
    with pytest.raises(ConfigurationError, match="observed_at"):
        taken(world, b"", observed_at=moment)


def test_what_is_no_file(world: World, tmp_path: Path) -> None:
    """One error, that says what is wrong and quotes nothing."""
    rows = b"name,address\nc4n4ry,c4n4ry@example.com\n"
    for file in (tmp_path / "c4n4ry", tmp_path, "\x00", io.BytesIO(rows), io.StringIO("{}"), ["{}"]):
        with pytest.raises(ConfigurationError) as caught:
            backfill_file(file, world.repository, instance=world.clerk.instance)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert "c4n4ry" not in str(caught.value)


def test_in_async_code_and_with_progress(world: World) -> None:
    """The same, and how far it is."""
    told: list[Progress] = []
    repository, instance, file = threaded(world.repository), world.clerk.instance, io.BytesIO(lines(objects(world)))
    report = asyncio.run(abackfill_file(file, repository, instance=instance, progress=told.append))
    assert world.stored() == world.said()
    assert told == [Progress("file", 63, None)]
    assert report.to_dict() == {
        "listed": {"users": 30, "organizations": 3, "memberships": 30},
        "changed": {"users": 30, "organizations": 3, "memberships": 30},
        "departed": 0,
        "held_back": 0,
        "unreadable": 0,
        "resumed": False,
        "complete": True,
        "partial": 0,
        "ignored": 0,
        "elsewhere": 0,
        "unreadable_lines": [],
    }


def test_an_instance_without_an_id_takes_events_of_any(world: World) -> None:
    """As its webhooks are taken."""
    instance: Instance = world.clerk.make_instance(instance_id=None)
    world.clerk.update_user(world.person(0), first_name="Bea")
    file = io.BytesIO(lines(heard(each) for each in world.clerk.deliveries()))
    assert backfill_file(file, world.repository, instance=instance).changed == {"users": 1}
