"""The checker of the nemesis test finds what it is to find, in small histories, and nothing in those that are right."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from clerkmap.repositories import MemoryRepository
from nemesis_checker import NEVER, Operation, Seen, Thing, read, violations
from nemesis_worker import PROCESSES, History, attempt, steps

ANN: Thing = ("user", "ann")
BEA: Thing = ("user", "bea")
FIRST, SECOND, GONE = "2.1", "2.2", "3.0"


def put(rank: str, began: float, ended: float, outcome: str = "ok", *, thing: Thing = ANN) -> Operation:
    return Operation(f"put {rank} at {began}", began, [(thing, rank)], ended, outcome)


def find(
    rank: str, began: float, ended: float, *, id: str | None = "a", thing: Thing = ANN, gone: bool | None = None
) -> Operation:
    is_gone = rank.startswith("3") if gone is None else gone
    seen = Seen(thing, rank, id if rank else None, is_gone)
    return Operation(f"find {rank} at {began}", began, [], ended, "ok", [seen])


RIGHT = {
    "one after the other": [put(FIRST, 1, 2), find(FIRST, 3, 4), put(SECOND, 5, 6), find(SECOND, 7, 8)],
    "nothing was there before": [find("", 1, 2), put(FIRST, 3, 4), find(FIRST, 5, 6)],
    "a find at the time of a put sees what was, or what comes": [
        put(FIRST, 1, 2),
        put(SECOND, 3, 9),
        find(FIRST, 4, 5),
        find(SECOND, 6, 7),
        find(SECOND, 8, 9),
    ],
    "two finds at one time, in either order": [
        put(FIRST, 1, 2),
        put(SECOND, 3, 9),
        find(SECOND, 4, 6),
        find(FIRST, 5, 7),
    ],
    "what was late stays out": [put(SECOND, 1, 2), put(FIRST, 3, 4), find(SECOND, 5, 6)],
    "what was unknown came to nothing": [put(FIRST, 1, 2), put(SECOND, 3, 4, "unknown"), find(FIRST, 5, 6)],
    "what was unknown comes later": [
        put(FIRST, 1, 2),
        put(SECOND, 3, 4, "unknown"),
        find(FIRST, 5, 6),
        find(SECOND, 7, 8),
    ],
    "what never ended comes later": [put(FIRST, 1, NEVER, "unknown"), find("", 2, 3), find(FIRST, 4, 5)],
    "a deletion that lasts": [put(SECOND, 1, 2), put(GONE, 3, 4), put(FIRST, 5, 6), find(GONE, 7, 8)],
    "two people": [
        put(FIRST, 1, 2),
        put(SECOND, 1, 2, thing=BEA),
        find(FIRST, 3, 4),
        find(SECOND, 3, 4, thing=BEA, id="b"),
    ],
    "at the end": [put(FIRST, 1, 2), find(FIRST, NEVER, NEVER)],
}

WRONG = {
    "lost: an acknowledged put is not seen": (
        [put(FIRST, 1, 2), put(SECOND, 3, 4), find(FIRST, 5, 6)],
        "lost: 2.2 of ('user', 'ann') was acknowledged to put 2.2 at 3, then find 2.1 at 5 saw 2.1",
    ),
    "lost: there is nothing": ([put(FIRST, 1, 2), find("", 3, 4)], "lost: 2.1"),
    "lost: not in the tables at the end": ([put(FIRST, 1, 2), find("", NEVER, NEVER)], "lost: 2.1"),
    "lost: behind an earlier one that was acknowledged later": (
        [put(SECOND, 1, 2), put(FIRST, 3, 4), find(FIRST, 5, 6)],
        "lost: 2.2",
    ),
    "backwards: seen, and then not": (
        [put(FIRST, 1, 2), put(SECOND, 3, 4, "unknown"), find(SECOND, 5, 6), find(FIRST, 7, 8)],
        "backwards: 2.2",
    ),
    "backwards: seen by a put": (
        [
            put(FIRST, 1, 2),
            Operation("put", 3, [(ANN, FIRST)], 4, "ok", [Seen(ANN, FIRST, "a")]),
            put(SECOND, 1, NEVER, "unknown"),
            find(SECOND, 1, 2),
        ],
        "backwards: 2.2",
    ),
    "resurrected: after a deletion was acknowledged": (
        [put(SECOND, 1, 2), put(GONE, 3, 4), find(SECOND, 5, 6)],
        "resurrected: 3.0",
    ),
    "resurrected: after a deletion was seen": (
        [put(SECOND, 1, 2), put(GONE, 3, 4, "unknown"), find(GONE, 5, 6), find(SECOND, 7, 8)],
        "resurrected: 3.0",
    ),
    "second id": ([put(FIRST, 1, 2), find(FIRST, 3, 4), find(FIRST, 3, 4, id="b")], "second id: ('user', 'ann')"),
    "shared id": (
        [put(FIRST, 1, 2), put(FIRST, 1, 2, thing=BEA), find(FIRST, 3, 4), find(FIRST, 3, 4, thing=BEA)],
        "shared id: ('user', 'a')",
    ),
    "made up: nobody put it": ([put(FIRST, 1, 2), find(SECOND, 3, 4)], "made up: find 2.2"),
    "made up: nobody had put it yet": ([find(FIRST, 1, 2), put(FIRST, 3, 4)], "made up: find 2.1"),
    "made up: at the end": ([put(FIRST, 1, 2), find(SECOND, NEVER, NEVER)], "made up: find 2.2"),
    "half deleted: the row does not know": ([put(GONE, 1, 2), find(GONE, 3, 4, gone=False)], "half deleted: find"),
    "half deleted: the row alone": ([put(FIRST, 1, 2), find(FIRST, 3, 4, gone=True)], "half deleted: find"),
    "failed": ([put(FIRST, 1, 2, "fail")], "put 2.1 at 1 failed"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_nothing_is_found_in_what_is_right(name: str) -> None:
    """What a repository may do is no violation."""
    assert violations(RIGHT[name]) == []


@pytest.mark.parametrize("name", WRONG)
def test_each_wrong_is_found(name: str) -> None:
    """One wrong is found, and called what it is."""
    history, expected = WRONG[name]

    (found,) = violations(history)

    assert found.startswith(expected)


def _elsewhere(operation: Operation, where: str) -> Operation:
    """The same about other people."""
    put = [((kind, where + key), rank) for (kind, key), rank in operation.put]
    seen = [
        replace(each, thing=(each.thing[0], where + each.thing[1]), id=each.id and where + each.id)
        for each in operation.seen
    ]
    return replace(operation, put=put, seen=seen)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_is_found_among_what_is_right(name: str) -> None:
    """It does not matter how much else is in the history, nor in which order the processes are read."""
    others = [_elsewhere(each, right) for right, history in RIGHT.items() for each in history]
    history, expected = WRONG[name]

    (found,) = violations([*reversed(history), *others])

    assert found.startswith(expected)


def test_what_a_process_writes_down_is_read(tmp_path: Path) -> None:
    """The processes' operations, on a repository in memory: all are read, and nothing is wrong with them."""
    repository = MemoryRepository()
    histories = [History(tmp_path / f"history-{number}") for number in range(PROCESSES)]
    everybody = [steps("a", number) for number in range(PROCESSES)]
    for turn in range(200):
        for history, own in zip(histories, everybody, strict=True):
            assert attempt(repository, history, turn, next(own))
    for history in histories:
        history.close()

    operations = [each for number in range(PROCESSES) for each in read(tmp_path / f"history-{number}")]

    assert violations(operations) == []
    assert len(operations) == 200 * PROCESSES
    assert {each.outcome for each in operations} == {"ok"}
    assert sum(seen.is_gone for each in operations for seen in each.seen) > 20
    assert max(len(each.put) for each in operations) >= 20  # so that many are written at once


def test_what_a_process_could_not_end_is_unknown(tmp_path: Path) -> None:
    """An operation of which only the beginning was written down has ended never."""
    (tmp_path / "history-0").write_text(
        json.dumps({"number": 3, "does": "put", "put": [[*ANN, FIRST]], "at": 5}) + "\n"
    )

    assert read(tmp_path / "history-0") == [Operation("history-0 put 3", 5, [(ANN, FIRST)], NEVER, "unknown")]
