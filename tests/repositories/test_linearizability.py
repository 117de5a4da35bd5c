"""The search finds an order where there is one, and none where there is none; and models say what methods do."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from clerkmap import OutboxEntry
from clerkmap.core.times import to_datetime
from clerkmap.repositories import MemoryRepository
from clerkmap.testing.samples import HERE
from linearizability import MODELS, NEVER, Call, is_linearizable
from nemesis_worker import PROCESSES, History
from nemesis_writes import METHODS, Writer, broken, last_calls, read_calls


def call(began: float, ended: float, does: str, *args: object, gives: object = None) -> Call:
    return Call("p", began, ended, does, args, gives)


def roles(*calls: Call) -> list[Call]:
    """The same after Ann has become user a."""
    return [call(0, 0.5, "link", "x", "a", False, gives=["a", None, False]), *calls]


ANN = ["a", "admin", False]
# A kind, and the calls. In each but for the unknown ones it is told what came back.
RIGHT = {
    "a note that is read": ("checkpoint", [call(1, 2, "set_checkpoint", "A"), call(3, 4, "checkpoint", gives="A")]),
    "two at once, either order": (
        "checkpoint",
        [call(1, 9, "set_checkpoint", "A"), call(2, 8, "set_checkpoint", "B"), call(10, 11, "checkpoint", gives="A")],
    ),
    "a swap that meets another": (
        "checkpoint",
        [
            call(1, 9, "swap_checkpoint", None, "A", gives=True),
            call(1, 9, "swap_checkpoint", None, "B", gives=False),
            call(10, 11, "checkpoint", gives="A"),
        ],
    ),
    "an unknown one that comes late": (
        "checkpoint",
        [
            call(1, NEVER, "set_checkpoint", "A"),
            call(2, 3, "checkpoint", gives=None),
            call(4, 5, "set_checkpoint", "B"),
            call(6, 7, "checkpoint", gives="A"),
        ],
    ),
    "an unknown one that never came": (
        "checkpoint",
        [call(1, NEVER, "set_checkpoint", "A"), call(2, 3, "checkpoint", gives=None)],
    ),
    "an entry that is swapped": (
        "outbox_entry",
        [
            call(1, 2, "swap_outbox_entry", None, [7, 1, 0, None], gives=True),
            call(3, 4, "swap_outbox_entry", [7, 1, 0, None], [9, 2, 1, "late"], gives=True),
            call(5, 6, "outbox_entry", gives=[7, 2, 1, "late"]),
            call(7, 8, "swap_outbox_entry", [7, 1, 0, None], None, gives=False),
            call(9, 10, "swap_outbox_entry", [7, 2, 1, None], None, gives=True),
            call(11, 12, "outbox_entry", gives=None),
        ],
    ),
    "a role that is taken back": (
        "people",
        roles(
            call(1, 2, "set_role", "a", "admin", gives=["a", "admin"]),
            call(3, 4, "set_role", "a", None, gives=["a", None]),
            call(5, 6, "find", "x", gives=["a", None, False]),
        ),
    ),
    "a link and its end": (
        "people",
        roles(
            call(1, 2, "link", "x", "b", False, gives="LinkRefused"),
            call(1, 2, "link", "y", "a", False, gives="UserTaken"),
            call(3, 4, "unlink", "x", "a", gives=["new", None, False]),
            call(5, 6, "set_role", "a", "admin", gives="UserUnknown"),
            call(7, 8, "relink", "x", "new", "a", gives=["a", None, False]),
            call(9, 10, "relink", "x", "a", "b", gives="UserUnknown"),
            call(11, 12, "erase", "a", gives=["a", None]),
            call(13, 14, "find", "x", gives=["a", None, True]),
        ),
    ),
    "an unknown end of a link, which is seen later": (
        "people",
        roles(
            call(1, NEVER, "unlink", "x", "a"),
            call(3, 4, "find", "x", gives=["new", None, False]),
            call(5, 6, "set_role", "new", "admin", gives=["new", "admin"]),
            call(7, 8, "find", "x", gives=["new", "admin", False]),
        ),
    ),
}

WRONG = {
    "a note that is gone": ("checkpoint", [call(1, 2, "set_checkpoint", "A"), call(3, 4, "checkpoint", gives=None)]),
    "a note that came back: a repeated write": (
        "checkpoint",
        [
            call(1, 20, "set_checkpoint", "A"),
            call(2, 3, "checkpoint", gives="A"),
            call(4, 5, "set_checkpoint", "B"),
            call(6, 7, "checkpoint", gives="B"),
            call(21, 22, "checkpoint", gives="A"),
        ],
    ),
    "two that both won": (
        "checkpoint",
        [call(1, 9, "swap_checkpoint", None, "A", gives=True), call(1, 9, "swap_checkpoint", None, "B", gives=True)],
    ),
    "an entry that was taken twice": (
        "outbox_entry",
        [
            call(1, 2, "swap_outbox_entry", None, [7, 1, 0, None], gives=True),
            call(3, 9, "swap_outbox_entry", [7, 1, 0, None], [7, 2, 1, None], gives=True),
            call(3, 9, "swap_outbox_entry", [7, 1, 0, None], [7, 2, 1, None], gives=True),
        ],
    ),
    "a role that came back: a repeated write": (
        "people",
        roles(
            call(1, 20, "set_role", "a", "admin", gives=["a", "admin"]),
            call(2, 3, "find", "x", gives=ANN),
            call(4, 5, "set_role", "a", "member", gives=["a", "member"]),
            call(21, 22, "find", "x", gives=ANN),
        ),
    ),
    "an unknown role that came twice": (
        "people",
        roles(
            call(1, NEVER, "set_role", "a", "admin"),
            call(2, 3, "find", "x", gives=ANN),
            call(4, 5, "set_role", "a", "member", gives=["a", "member"]),
            call(6, 7, "find", "x", gives=ANN),
        ),
    ),
    "a link that is refused to the one that made it": (
        "people",
        [
            call(1, 2, "find", "x", gives=None),
            call(3, 20, "link", "x", "a", False, gives="LinkRefused"),
            call(4, 5, "find", "x", gives=["a", None, False]),
        ],
    ),
    "an erasure that took a later identity with it": (
        "people",
        roles(
            call(1, 20, "erase", "a", gives=["a", None]),
            call(2, 3, "find", "x", gives=["a", None, True]),
            call(4, 5, "link", "y", "a", True, gives=["a", None, False]),
            call(21, 22, "find", "y", gives=["a", None, True]),
        ),
    ),
    "one user with two ids": (
        "people",
        roles(
            call(1, NEVER, "unlink", "x", "a"),
            call(3, 4, "find", "x", gives=["new", None, False]),
            call(5, 6, "find", "x", gives=["newer", None, False]),
        ),
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_an_order_explains_is_right(name: str) -> None:
    """An order is found, also with everything later and in another order of lines."""
    kind, calls = RIGHT[name]
    assert is_linearizable(calls, *MODELS[kind])
    assert is_linearizable(
        [replace(each, began=each.began + 9, ended=each.ended + 9) for each in calls[::-1]], *MODELS[kind]
    )


@pytest.mark.parametrize("name", WRONG)
def test_what_no_order_explains_is_wrong(name: str) -> None:
    """No order is found, and the history is shown."""
    kind, calls = WRONG[name]
    assert not is_linearizable(calls, *MODELS[kind])
    thing = f"{kind} 1"
    (told,) = broken({thing: calls, f"{kind} 2": calls[:1]})
    assert told.startswith(f"no order explains {thing}:")


def test_what_processes_write_down_is_read(tmp_path: Path) -> None:
    """Processes that take turns on a repository in memory: every method is called, and an order explains it all."""
    repository = MemoryRepository()
    histories = [History(tmp_path / f"writes-{number}") for number in range(PROCESSES)]
    writers = [Writer(repository, history.write, "a", number) for number, history in enumerate(histories)]
    for _ in range(150):
        for writer in writers:
            writer.step()
    for history in histories:
        history.close()

    calls: dict[str, list[Call]] = {}
    for number in range(PROCESSES):
        more, wrong = read_calls(tmp_path / f"writes-{number}")
        assert wrong == []
        for thing, several in more.items():
            calls.setdefault(thing, []).extend(several)
    for thing, last in last_calls(
        repository, list(calls), max(each.ended for several in calls.values() for each in several) + 1
    ):
        calls[thing].append(last)

    assert broken(calls) == []
    assert {each.does for several in calls.values() for each in several} >= set(METHODS)


def test_what_is_unknown_and_what_has_written_nothing(tmp_path: Path) -> None:
    """A call without an end is unknown, one that has written nothing is left out, and a failure is told."""
    lines = [
        {"call": 1, "thing": "note 1", "does": "set_checkpoint", "args": ["A"], "at": 1},
        {"call": 2, "thing": "note 1", "does": "set_checkpoint", "args": ["B"], "at": 1},
        {"call": 2, "outcome": "unknown", "why": "", "at": 2},
        {"call": 3, "thing": "note 1", "does": "set_checkpoint", "args": ["C"], "at": 1},
        {"call": 3, "outcome": "nothing", "why": "", "at": 2},
        {"call": 4, "thing": "note 1", "does": "set_checkpoint", "args": ["D"], "at": 1},
        {"call": 4, "outcome": "fail", "why": "ValueError", "at": 2},
    ]
    path = tmp_path / "writes-0"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")

    calls, wrong = read_calls(path)

    assert [(each.args, each.ended) for each in calls["note 1"]] == [(("A",), NEVER), (("B",), NEVER)]
    assert wrong == ["writes-0 4 set_checkpoint failed: ValueError"]


def test_an_entry_is_shown_in_full() -> None:
    """What a model knows of an entry is what the repository keeps of it."""
    repository = MemoryRepository()
    entry = OutboxEntry(HERE, "user", "k", since=to_datetime(7), due_at=to_datetime(1))
    assert repository.swap_outbox_entry(None, entry)
    assert repository.swap_outbox_entry(
        entry, replace(entry, since=to_datetime(9), due_at=to_datetime(2), tries=1, error="late")
    )
    assert repository.outbox_entry(HERE, "user", "k") == replace(entry, due_at=to_datetime(2), tries=1, error="late")
