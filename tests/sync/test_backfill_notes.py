"""A backfill that was ended goes on where it was, at whichever step that happened; and does not trust just any note."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from backfill_world import DAY, Ending, World, doctored, ended_before
from clerkmap.core.records import key_of
from clerkmap.sync.backfill import backfill
from clerkmap.sync.drift import diff


def note_of(world: World) -> str:
    """The name of the note of where a run has come to."""
    return f"backfill under way {key_of(world.clerk.instance.name)}"


def ticking() -> Callable[[], float]:
    """A clock that goes on by three seconds whenever it is looked at, so that every page is noted."""
    moment = [time.time() - 7_200]

    def look() -> float:
        moment[0] += 3
        return moment[0]

    return look


@pytest.mark.slow
@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("afterwards", [False, True], ids=["undone", "done"])
def test_at_every_step(kind: type[BaseException], afterwards: bool) -> None:
    """Ended at each question and at each call of the repository, before it was done or after, it comes to its end."""
    step = resumed = 0
    while True:
        world = World.of(14, people=12)
        backfill(world.api, world.repository, clock=lambda: time.time() - DAY / 2)
        with world.clerk.silence():
            world.clerk.update_user(world.person(3), first_name="Bea")
            world.clerk.remove_member(world.company(0), world.person(6))
            world.clerk.delete_user(world.person(4))
            world.clerk.delete_organization(world.company(2))
            world.clerk.create_user()
        ending = Ending(step, kind, afterwards)
        try:
            backfill(ending.api(world), ending.repository(world), clock=ticking())
        except kind:
            report = backfill(world.api, world.repository)
            resumed += report.resumed
        else:
            break
        assert world.stored() == world.said(), step
        assert not diff(world.api, world.repository)
        step += 1
    assert step > 35
    assert resumed > 15


@pytest.mark.slow
def test_what_was_read_is_not_read_again() -> None:
    """Whichever page it was, the next run goes on behind the last one that was noted."""
    people, before = 1_050, 0
    for page in range(1, 8):
        world = World.of(15, people=people)
        with pytest.raises(KeyboardInterrupt):
            backfill(ended_before(world, page), world.repository, clock=ticking())
        report = backfill(world.api, world.repository)
        assert world.stored() == world.said()
        assert report.complete
        read = sum(report.listed.values())
        assert read <= people * 2 + 3 - before
        before = people * 2 + 3 - read
    assert before > 1_500


SOUND = {"started": 0, "stage": "users", "last": "", "moment": 0, "seen": 0}


@pytest.mark.parametrize(
    "checkpoint",
    [
        *("", "{", "[]", "null", "1", '"users"', "[" * 60_000, "1" * 6_000, "\x7f"),
        *(json.dumps({name: value for name, value in SOUND.items() if name != "started"}), json.dumps({"stage": "x"})),
    ],
)
def test_a_note_that_cannot_be_read_is_none(checkpoint: str) -> None:
    """It is another version's, or somebody's who tried something: begin at the beginning."""
    world = World.of(15, people=20)
    world.repository.set_checkpoint(note_of(world), checkpoint)
    report = backfill(world.api, world.repository)
    assert (report.resumed, report.complete) == (False, True)
    assert world.stored() == world.said()
    assert world.repository.checkpoint(note_of(world)) is None


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            {"stage": "sessions"},
            {"stage": ["users"]},
            {"last": "a b"},
            {"last": "\ud800"},
            {"last": 1},
            {"last": None},
        ),
        *({"seen": -1}, {"seen": 10**300}, {"seen": 1.5}, {"seen": True}, {"moment": -5}, {"moment": 10**18}),
        *({"more": 1}, {"started": -DAY * 1001}, {"started": DAY * 1000}, {"started": "now"}),
    ],
    ids=str,
)
def test_a_note_that_says_what_cannot_be_is_none(wrong: dict[str, Any]) -> None:
    """Nothing of it is used; nor of one that is older than a day, or from the future."""
    world, now = World.of(15, people=20), int(time.time() * 1000)
    place = SOUND | {"started": now, "stage": "memberships", "seen": 5} | wrong
    if type(wrong.get("started")) is int:
        place["started"] = now + wrong["started"]
    world.repository.set_checkpoint(note_of(world), json.dumps(place))
    report = backfill(world.api, world.repository)
    assert (report.resumed, report.complete) == (False, True)
    assert world.stored() == world.said()


@pytest.mark.parametrize("stage", ["users", "organizations", "memberships"])
@pytest.mark.parametrize("seen", [1, 19, 700])
def test_a_place_that_is_no_longer_there(stage: str, seen: int) -> None:
    """The row it stands on is unknown, or its number is beyond the end: what is behind its date is read."""
    world = World.of(16, people=20)
    place = SOUND | {"started": int(time.time() * 1000), "stage": stage, "last": "user_gone", "seen": seen}
    moment = min(each.created_at for each in world.clerk.users.values())
    world.repository.set_checkpoint(note_of(world), json.dumps(place | {"moment": moment}))
    report = backfill(world.api, world.repository)
    assert report.resumed
    kinds = ("users", "organizations", "memberships")
    wanted = {kind.rstrip("s") for kind in kinds[kinds.index(stage) :]}
    assert {key for key in world.said() if key[0] in wanted} <= set(world.stored())


def test_a_note_of_one_instance_is_none_of_anothers() -> None:
    """Two of them in one database, and each has its own place."""
    one, other = World.of(17, people=20), World.of(18, people=20)
    with pytest.raises(KeyboardInterrupt):
        backfill(ended_before(one, 4), one.repository, clock=ticking())
    assert one.repository.checkpoint(note_of(one)) is not None
    report = backfill(other.api, one.repository)
    assert not report.resumed
    assert one.repository.checkpoint(note_of(one)) is not None
    assert backfill(one.api, one.repository).resumed


def test_anew() -> None:
    """On request the note is not looked at."""
    world = World.of(19, people=20)
    with pytest.raises(KeyboardInterrupt):
        backfill(ended_before(world, 4), world.repository, clock=ticking())
    report = backfill(world.api, world.repository, anew=True)
    assert (report.resumed, report.listed["users"]) == (False, 20)
    assert world.repository.checkpoint(note_of(world)) is None


def test_two_at_once() -> None:
    """Two runs that take turns, page by page: each comes to its end, and nobody is lost or deleted."""
    world = World.of(20, people=30)
    backfill(world.api, world.repository)
    with world.clerk.silence():
        world.clerk.delete_user(world.person(4))
        world.clerk.create_user()
    inner = list[Any]()

    def another(path: str, said: Any) -> Any:
        if path.startswith(("/users", "/organization")) and len(inner) < 5:
            inner.append(path)
            inner.append(backfill(world.api, world.repository))
        return said

    outer = backfill(doctored(world, another), world.repository)
    assert outer.complete
    assert all(report.complete for report in inner[1::2])
    assert world.stored() == world.said()
    assert not diff(world.api, world.repository)
