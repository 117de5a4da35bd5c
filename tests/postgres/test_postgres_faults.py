"""On PostgreSQL, a fault at any statement of any operation leaves nothing half-applied: every statement is tried.

Where the repository has a pool, a lost connection is not even heard of: what was lost is done again. A commit whose
answer was lost is heard of, unless the operation can be repeated without harm.
To put another operation to the test, add a line to the table in `fault_operations`.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

import pytest

from clerkmap import HookFailed, RepositoryUnavailable
from clerkmap.testing.samples import by_key
from fault_operations import OPERATIONS, Operation, resolver
from faulty_postgres import Dump, Faults, How, Server, dump, hear
from faulty_postgres_ways import Asynchronously, OnAnEngine, Way, Yours, YoursInATransaction
from postgres_server import schemas, url_of_a_new_schema

SOAK = bool(os.environ.get("CLERKMAP_SOAK"))
WAYS: dict[str, type[Way]] = {
    "a pool": Way,
    "a pool in async code": Asynchronously,
    "an engine of SQLAlchemy": OnAnEngine,
    "your connection": Yours,
    "your transaction": YoursInATransaction,
}
TRIED = [operation for operation in OPERATIONS if operation.name != "poll"]  # which sends nothing here
CASES = [
    pytest.param(operation, way, id=f"{operation.name}, {name}") for name, way in WAYS.items() for operation in TRIED
]
REPEATED = ("put", "resolve", "receive", "open")  # after a lost commit; the rest could undo another writer's work

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def make_way() -> Iterator[Callable[[Operation, type[Way]], Way]]:
    """Makes the ways. There is a schema for operations with ids that are text, and others for those that differ."""
    servers: dict[object, Server] = {}
    ways: dict[object, Way] = {}

    with schemas() as new:

        def make(operation: Operation, way: type[Way]) -> Way:
            kind = operation.options.get("ids"), operation.opens
            if kind not in servers:
                servers[kind] = Server(url_of_a_new_schema(new()))
            if (kind, way) not in ways:
                ways[kind, way] = way(servers[kind])
            return ways[kind, way]

        yield make
        for made in ways.values():
            made.close()
        for server in servers.values():
            server.close()


def hows(statement: str, at: int) -> Sequence[How]:
    """All the ways to fail in a soak, and around a COMMIT. Otherwise one of them, each statement of a put another."""
    all_of_them: tuple[How, ...] = get_args(How)
    return all_of_them if SOAK or statement == "COMMIT" else all_of_them[at % 3 :][:1]


def options_of(operation: Operation) -> dict[str, Any]:
    # A resolver would have each of a thousand repositories listen, on a thread and a connection of its own.
    options: dict[str, Any] = {"ids": by_key, "clock": lambda: 1.0, "listen": operation.using is not resolver}
    options |= operation.options
    return options | ({"hooks": [hear]} if "hooks" in options else {})


class World:
    """A place to do an operation in, and what a watcher was told."""

    def __init__(self, operation: Operation, way: Way) -> None:
        self.way = way
        self.told: list[object] = []
        self._operation = operation
        if isinstance(way, YoursInATransaction):
            way.undo()
        way.server.reset()
        self.begin()

    def begin(self) -> None:
        self.way.begin()
        if not self._operation.opens:
            self._open()
            self.repository.listeners.watch(self.told.append)

    def do(self) -> object:
        if self._operation.opens:
            self._open()
        return self._operation.do(self._tool)

    def _open(self) -> None:
        self.repository = self.way.repository(options_of(self._operation))
        self._tool = self._operation.using(self.repository)


class Trial:
    """One operation in one way, with any fault."""

    def __init__(self, operation: Operation, way: Way) -> None:
        self.operation = operation
        self.way = way
        world, calm = World(operation, way), Faults()
        self.before = way.dump()
        with calm.active():
            self.result = world.do()
        self.after: Dump = way.dump()
        self.told = world.told
        self.statements = calm.statements
        self.is_once = not operation.name.startswith(REPEATED)
        self.counts = operation.options.get("ids") is int  # numbers that were lost do not come again

    def attempt(self, at: int, how: How) -> None:
        """Do it with a fault: it is done or it is not; and do it again: it ends where it would have ended at once."""
        world, faults = World(self.operation, self.way), Faults(at, how)
        at_commit = self.statements[at - 1] == "COMMIT" and how != "refused"
        committed = "COMMIT" in self.statements[: at - 1] or (at_commit and how == "terminated after")
        result, told = None, True
        try:
            with faults.active():
                result = world.do()
        except (RepositoryUnavailable, HookFailed):
            pass
        else:
            told = False
        assert faults.struck
        if self.way.repeats and how != "refused":
            assert told == (self.is_once and at_commit), "it was to be done again, once it is known not to be done"
            assert told or committed or self.counts or result == self.result
        else:
            assert told, "it has failed, and nobody was told"
        is_done = committed or not told
        self._check(world, is_done)
        again = world.do()
        assert is_done or self.counts or again == self.result
        assert self._seen(self.way.dump()) == self._seen(self.after)
        self.way.commit()
        assert self._seen(dump(self.way.server.sound)) == self._seen(self.after), "it was only believed to be committed"

    def _check(self, world: World, is_done: bool) -> None:
        """The state after a fault, from which one goes on."""
        state = self.after if is_done else self.before
        keys = [each for each in world.told if each is not None]
        # Whether a transaction of yours will be committed, nobody but you knows.
        assert is_done or self.way.joins or not keys, "somebody was told of what did not happen"
        assert world.told or not (is_done and self.told), "nobody will be told of it"
        if isinstance(self.way, YoursInATransaction) and self.way.goes_on:
            assert self._seen(self.way.dump()) == self._seen(state)
        else:
            assert self._seen(dump(self.way.server.sound)) == self._seen(state)
            orders = self.way.server.sound.execute("SELECT id FROM orders").fetchall()
            assert orders == [], "what you had not committed has stayed"
            if not self.way.repeats:
                if isinstance(self.way, YoursInATransaction):
                    self.way.undo()
                world.begin()

    def _seen(self, state: Dump) -> Dump:
        """A state without the numbers that the database has made."""
        if not self.counts:
            return state
        ids = sorted(row["id"] for name in ("users", "organizations") for row in state[f"clerkmap_{name}"])
        names = {id: place for place, id in enumerate(dict.fromkeys(ids))}
        renamed = {
            table: [row | {name: names[row[name]] for name in ("id", "user_id") if name in row} for row in rows]
            for table, rows in state.items()
        }
        return {table: sorted(rows, key=repr) for table, rows in renamed.items()}


@pytest.mark.parametrize(("operation", "way"), CASES)
def test_a_fault_at_every_statement(
    make_way: Callable[[Operation, type[Way]], Way], operation: Operation, way: type[Way]
) -> None:
    """Whichever statement fails, before or after it took effect: all is done, or nothing, and it can be done again."""
    mine = make_way(operation, way)
    if isinstance(mine, YoursInATransaction):
        mine.undo()
    mine.server.prepare(operation.given, operation.noted, **options_of(operation))
    trial = Trial(operation, mine)
    assert trial.statements
    assert trial.statements.count("COMMIT") <= 1, "there is a state between"
    assert trial.statements.count("COMMIT") + way.joins > 0 or trial.before == trial.after
    is_moved = operation.name.startswith(("unlink", "relink"))
    assert trial.before != trial.after or not is_moved, "it was refused the first time"
    for at, statement in enumerate(trial.statements, 1):
        for how in hows(statement, at):
            try:
                trial.attempt(at, how)
            except BaseException as error:
                error.add_note(f"The fault was at statement {at} of {len(trial.statements)}, {how}: {statement}")
                raise
