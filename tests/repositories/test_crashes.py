"""An acknowledged event survives kill -9 at any moment, and a crash leaves nothing half-applied.

Processes that take in signed deliveries are killed, round after round, on files that the next round goes on with as
they were left. After each round a copy of the file must show all that was ever acknowledged and, of each delivery that
was under way, all or nothing. (What kill -9 cannot show is a power cut: what was written, the system still keeps.)

Forty rounds; `CLERKMAP_SOAK=1` makes it ten thousand. `CLERKMAP_SEED` makes it other ones.
"""

import multiprocessing
import os
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain, combinations, islice
from multiprocessing.connection import wait
from pathlib import Path
from random import Random

import pytest

from clerkmap import Repository, Standing
from clerkmap.core.merging import winning_records
from clerkmap.core.records import AnyRecord
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.testing.samples import by_key
from crash_writers import Orders, Told, deliveries, organizations, users, work
from killed import Child
from sample_bodies import NAME

SOAK = bool(os.environ.get("CLERKMAP_SOAK"))
SEED = os.environ.get("CLERKMAP_SEED", "1")
PARTS = 4 if SOAK else 2
ROUNDS = (10_000 if SOAK else 40) // PARTS
ROUNDS_OF_A_FILE = 12

# Who writes in a round: each of the inner tuples is a process, each name a thread of it.
CREWS = ((("a",),), (("a",),), (("a", "b", "c"),), (("a",), ("b",)), (("a", "b"), ("c",)))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="this system has no fork"),
]


class Writer(Child[Orders]):
    """A process that writes to a file, and what that must have in it."""

    def __init__(self, orders: Orders) -> None:
        super().__init__(work, orders, "crash_writers")

    def acknowledged(self) -> list[Told]:
        """What it has taken in, by its own word."""
        return [told for known, _ in self._by_writer() for told in known]

    def under_way(self) -> list[Told]:
        """What it may or may not have taken in: of each writer, the next one."""
        return [unsure for _, unsure in self._by_writer()]

    def _by_writer(self) -> Iterator[tuple[list[Told], Told]]:
        counts = Counter(self.said.decode().split())
        for writer in self.orders.writers:
            *known, unsure = islice(deliveries(self.orders, writer), counts[writer] + 1)
            yield known, unsure


class Ledger:
    """What a file must hold, as far as anybody can know, and what has been seen of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.certain: list[AnyRecord] = []
        self.seen: Counter[str] = Counter()

    def check(self, path: Path, teams: Sequence[int], children: Sequence[Writer] = ()) -> None:
        """Hold the file, or a copy, against what the children have said, and settle what they left unsure."""
        acknowledged = [told for child in children for told in child.acknowledged()]
        unsure = [told for child in children for told in child.under_way()]
        self.certain = _with(self.certain, acknowledged)
        with _opened(path) as repository:
            assert repository.put(self.certain) == [], "something acknowledged is lost"
            shown = _view(repository, teams)
        ranks = _ranks(path)
        for these in _configuration(unsure):
            records = _with(self.certain, these)
            if ranks == {(record.kind, record.key): record.rank for record in records}:
                break
        else:
            pytest.fail("something is half-applied")
        assert _view(_model(records), teams) == shown
        self.seen["acknowledged"] += len(acknowledged)
        self.seen["rounds with something acknowledged"] += bool(acknowledged)
        self.seen["committed, not yet acknowledged"] += bool(these)
        self.seen["not committed"] += _with(records, unsure) != records
        self.certain = records


def _with(records: Iterable[AnyRecord], told: Iterable[Told]) -> list[AnyRecord]:
    return winning_records([*records, *(record for each in told for record in each.records())])


def _configuration(unsure: Sequence[Told]) -> Iterator[Sequence[Told]]:
    """None of them first, all of them last."""
    return chain.from_iterable(combinations(unsure, count) for count in range(len(unsure) + 1))


def _model(records: list[AnyRecord]) -> Repository:
    model = MemoryRepository(ids=by_key, clock=lambda: 1.0)
    model.put(records)
    return model


def _ranks(path: Path) -> dict[tuple[str, str], str]:
    """Which record of each thing is in the tables. `find` would not show an organization of which nobody is known."""
    tables = {"user": "identities", "organization": "organizations", "membership": "memberships"}
    with closing(sqlite3.connect(path)) as connection:
        return {
            (kind, key): rank
            for kind, table in tables.items()
            for key, rank in connection.execute(f"SELECT key, rank FROM clerkmap_{table}").fetchall()
        }


def _view(repository: Repository, teams: Iterable[int]) -> list[Standing | None]:
    """All that the repository tells of the teams."""
    pairs = [(user, organization) for team in teams for user in users(team) for organization in organizations(team)]
    return [repository.find(NAME, user, organization) for user, organization in pairs]


@contextmanager
def _opened(path: Path) -> Iterator[SqliteRepository]:
    """The file as the next process finds it, with the write-ahead log taken in, and sound."""
    repository = SqliteRepository.open(path, ids=by_key, clock=lambda: 1.0)
    try:
        yield repository
    finally:
        repository.close()
    orphans = "SELECT id FROM clerkmap_users WHERE id NOT IN (SELECT user_id FROM clerkmap_identities)"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute(orphans).fetchall() == [], "a user was made, and the identity was not"


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _copy(path: Path, directory: Path) -> Path:
    """A copy of the file and its log, so that the file itself stays as the crash left it."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    for each in (path, _log_of(path)):
        if each.exists():
            shutil.copy(each, directory)
    return directory / path.name


def crash(random: Random, orders: Sequence[Orders]) -> list[Writer]:
    """Have processes write, and kill them: while they open the file, or after so many deliveries and a moment."""
    children = [Writer(each) for each in orders]
    wanted = random.randrange(random.choice((1, 5, 40, 150)))
    while sum(child.said.count(b"\n") for child in children) < wanted:
        ready = wait([child.pipe for child in children])
        for child in children:
            assert child.pipe not in ready or child.listen(), f"a process has ended by itself: {child.said[-200:]!r}"
    time.sleep(random.uniform(0, 0.003 if wanted else 0.05))
    for child in random.sample(children, len(children)):
        child.kill()
        time.sleep(random.choice((0, 0, random.uniform(0, 0.003))))  # one that is left may find what a dead one left
    for child in children:
        child.bury()
    return children


@pytest.mark.parametrize("part", range(PARTS))
def test_what_was_acknowledged_survives(tmp_path: Path, part: int) -> None:
    """Whenever a process is killed, what it has acknowledged is there, and of the rest all or nothing."""
    seen: Counter[str] = Counter()
    began = time.perf_counter()
    ledger = Ledger(tmp_path / "none.db")
    for number in range(ROUNDS):
        seed = f"{SEED}/{part}/{number}"
        random = Random(seed)
        if number % ROUNDS_OF_A_FILE == 0:
            ledger = Ledger(tmp_path / f"{number}.db")
            ledger.seen = seen
        seen["rounds that began with the log of a dead process"] += _log_of(ledger.path).exists()
        teams = (number, number + 1)
        orders = [Orders(ledger.path, seed, writers, teams) for writers in random.choice(CREWS)]
        children = crash(random, orders)
        ledger.check(_copy(ledger.path, tmp_path / "copy"), teams, children)
        if (number + 1) % ROUNDS_OF_A_FILE == 0:
            ledger.check(ledger.path, range(number - ROUNDS_OF_A_FILE, number + 2))
    print(f"{ROUNDS:,} rounds in {time.perf_counter() - began:.1f} seconds: {dict(seen)}")
    # Kills that come before or after all the work would show nothing.
    assert seen["rounds with something acknowledged"] >= ROUNDS // 3
    assert seen["rounds that began with the log of a dead process"] >= ROUNDS // 2
    assert min(seen["committed, not yet acknowledged"], seen["not committed"]) >= ROUNDS // 25
