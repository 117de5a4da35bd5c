"""A fault at any statement of any operation leaves nothing half-applied. Every statement is tried, and none sampled.

To put another operation to the test, add a line to the table in `fault_operations`.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clerkmap import HookFailed, RepositoryUnavailable
from clerkmap.repositories import SqliteRepository
from clerkmap.testing.samples import by_key
from fault_operations import OPERATIONS, Operation
from faulty import Dump, Faults, InASession, OfAFile, OnAnEngine, Way, Yours, YoursInATransaction

WAYS: dict[str, Way] = {
    "a file": OfAFile,
    "your connection": Yours,
    "your transaction": YoursInATransaction,
    "your engine": OnAnEngine,
    "your session": InASession,
}
CASES = [
    pytest.param(operation, way, id=f"{operation.name}, {name}")
    for operation in OPERATIONS
    for name, way in WAYS.items()
    if name not in operation.not_by
    if name != "your session" or not operation.opens  # which makes no tables
]
HOW = {False: "before it took effect", True: "after it took effect"}


class World:
    """A database of its own to do an operation on, and what a watcher was told."""

    def __init__(self, operation: Operation, way: Way, path: Path, faults: Faults) -> None:
        self.faults = faults
        self.way = way(path, faults)
        self.told: list[object] = []
        self.opens = operation.opens
        self.tells = operation.tells
        self._operation = operation
        if not self.opens:
            self._open()
            self.repository.poll()  # so that from now on only what is new is told
            self.repository.listeners.watch(self.told.append)

    def do(self) -> object:
        with self.faults.active():
            if self.opens:
                self._open()
            return self._operation.do(self._tool)

    def _open(self) -> None:
        self.repository = self.way.repository(_options(self._operation))
        self._tool = self._operation.using(self.repository)


class Laboratory:
    """Makes worlds, each from a fresh copy of the same file."""

    def __init__(self, operation: Operation, way: Way, directory: Path) -> None:
        self._operation = operation
        self._way = way
        self._directory = directory
        self._made = 0
        self._template = directory / "template.db"
        if operation.given is not None:
            repository = SqliteRepository.open(self._template, **_options(operation))
            repository.put(operation.given)
            for name in operation.noted:
                repository.set_checkpoint(name, "as it was")
            repository.close()

    @contextmanager
    def world(self, faults: Faults) -> Iterator[World]:
        self._made += 1
        path = self._directory / f"{self._made}.db"
        if self._template.exists():
            shutil.copyfile(self._template, path)
        world = World(self._operation, self._way, path, faults)
        try:
            yield world
        finally:
            world.way.close()


def _options(operation: Operation) -> dict[str, Any]:
    return {"ids": by_key, "clock": lambda: 1.0, **operation.options}


def _try(world: World, before: Dump, after: Dump, result: object) -> None:
    """Do it with a fault: it is done or it is not; and do it again: it ends where it would have ended at once."""
    try:
        world.do()
    except (RepositoryUnavailable, HookFailed):
        pass
    else:
        assert world.faults.committed, "it has failed, and nobody was told"
    assert world.faults.struck
    committed = world.faults.committed
    assert world.way.dump() == (after if committed else before)
    # To forget everything, as a look in your transaction does, is no news of anything.
    assert committed or not any(world.told), "somebody was told of what did not happen"
    if committed and before != after and not world.told and not world.opens and world.tells:
        world.repository.poll()
        assert world.told, "nobody will ever be told of what happened"

    again = world.do()
    assert committed or again == result
    assert world.way.dump() == after
    world.way.commit()
    assert OfAFile.dump(world.way) == after, "it was only believed to be committed"


@pytest.mark.parametrize(("operation", "way"), CASES)
def test_a_fault_at_every_statement(tmp_path: Path, operation: Operation, way: Way) -> None:
    """Whichever statement fails, before or after it took effect: all is done, or nothing, and it can be done again."""
    laboratory = Laboratory(operation, way, tmp_path)
    with laboratory.world(Faults()) as calm:
        before, result, after = calm.way.dump(), calm.do(), calm.way.dump()
    statements = list(calm.faults.statements)
    assert statements
    assert sum(map(Faults.commits, statements)) <= 1, "there is a state between"
    assert operation.opens or bool(calm.told) == operation.tells or before == after
    assert operation.tells or before != after
    assert before != after or not operation.name.startswith(("unlink", "relink")), "it was refused the first time"

    for at, statement in enumerate(statements, 1):
        for late, how in HOW.items():
            try:
                with laboratory.world(Faults(at, late=late)) as world:
                    _try(world, before, after, result)
            except BaseException as error:
                error.add_note(f"The fault was at statement {at} of {len(statements)}, {how}: {statement.strip()}")
                raise
