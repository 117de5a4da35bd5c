"""Ten thousand concurrent first requests of one person make one row and one id, across threads and processes."""

import multiprocessing
import sqlite3
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from clerkmap import Change, Principal, Reconciler, Repository, Resolver, parse_event
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.testing import Clock, FakeClerk

THREADS, PROCESSES, REQUESTS = 100, 8, 10_000
Ids = tuple[object, object]


def world() -> tuple[FakeClerk, list[str]]:
    """The same Clerk, person, organization and tokens in every process."""
    clerk = FakeClerk(seed=3, clock=Clock(1_790_000_000))
    user = clerk.create_user(first_name="Ann")
    acme = clerk.create_organization(created_by=user)
    return clerk, [clerk.token(user, acme) for _ in range(50)]


def ids_of(principal: Principal) -> Ids:
    assert principal.organization is not None
    return principal.user.id, principal.organization.id


def race(repository: Repository, threads: int, requests: int, start: Any) -> set[Ids]:
    """Resolve with a new resolver for each request, so that none knows what another has seen."""
    clerk, tokens = world()
    seen: list[Ids] = []

    def run(thread: int) -> None:
        resolvers = [_resolver(clerk, repository) for _ in range(requests // threads)]
        start.wait()
        for number, resolver in enumerate(resolvers):
            seen.append(ids_of(resolver.resolve(tokens[(thread + number) % len(tokens)])))

    running = [threading.Thread(target=run, args=(thread,)) for thread in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert len(seen) == requests
    return set(seen)


def _resolver(clerk: FakeClerk, repository: Repository) -> Resolver:
    from clerkmap import Verifier

    return Resolver(clerk.instance, repository, verifier=Verifier(clerk.instance, clock=clerk.clock), keep=8)


def _rows(path: Path) -> list[int]:
    connection = sqlite3.connect(path)
    try:
        tables = ("users", "identities", "organizations", "memberships")
        return [connection.execute(f"SELECT count(*) FROM clerkmap_{table}").fetchone()[0] for table in tables]
    finally:
        connection.close()


def test_threads_in_memory() -> None:
    """One id for the person and one for the organization, whoever came first."""
    assert len(race(MemoryRepository(), THREADS, REQUESTS, threading.Barrier(THREADS))) == 1


@pytest.mark.slow
def test_threads_on_sqlite(tmp_path: Path) -> None:
    """The same on a file, and one row in each table."""
    repository = SqliteRepository.open(tmp_path / "app.db", timeout=60)

    assert len(race(repository, THREADS, REQUESTS, threading.Barrier(THREADS))) == 1
    assert _rows(tmp_path / "app.db") == [1, 1, 1, 1]
    repository.close()


_barrier: Barrier


def _share(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _wait_for_the_others() -> None:
    _barrier.wait()


def _race_in_process(path: Path) -> set[Ids]:
    _barrier.wait()  # all open the file, and make its tables, at once
    repository = SqliteRepository.open(path, timeout=60)
    try:
        # The barrier of the processes stands at the start of one thread; the others follow at once.
        return race(repository, 5, REQUESTS // PROCESSES, threading.Barrier(5, action=_wait_for_the_others))
    finally:
        repository.close()


@pytest.mark.slow
def test_processes_on_sqlite(tmp_path: Path) -> None:
    """Eight processes that start at once on no file at all: no error, one row, one id."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    path = tmp_path / "app.db"
    with ProcessPoolExecutor(PROCESSES, mp_context=context, initializer=_share, initargs=(barrier,)) as pool:
        seen = set[Ids]().union(*pool.map(_race_in_process, [path] * PROCESSES))

    assert len(seen) == 1
    assert _rows(path) == [1, 1, 1, 1]


def _checkpoint(change: Change, tx: sqlite3.Connection) -> None:
    """A hook that leaves a row for each call, in the transaction that made the change."""
    if change.made:
        kind = "user" if change.is_user else "other"
        tx.execute("INSERT INTO calls VALUES (?)", (kind,))


def _race_with_a_webhook(path: Path) -> set[Ids]:
    repository = SqliteRepository.open(path, timeout=60, hooks=[_checkpoint])
    start = threading.Barrier(6, action=_wait_for_the_others)

    def deliver() -> None:
        clerk, _ = world()
        created, *_ = clerk.deliveries()
        start.wait()
        for _ in range(20):
            Reconciler(clerk.instance, repository).apply(parse_event(created.body))

    thread = threading.Thread(target=deliver)
    thread.start()
    try:
        return race(repository, 5, 1_000 // PROCESSES, start)
    finally:
        thread.join()
        repository.close()


@pytest.mark.slow
def test_a_webhook_races_first_requests(tmp_path: Path) -> None:
    """A thousand first requests in eight processes, and a webhook in each: one row, one id, one hook call."""
    path = tmp_path / "app.db"
    SqliteRepository.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE calls (kind TEXT)")
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, mp_context=context, initializer=_share, initargs=(barrier,)) as pool:
        seen = set[Ids]().union(*pool.map(_race_with_a_webhook, [path] * PROCESSES))

    assert len(seen) == 1
    assert _rows(path) == [1, 1, 1, 1]
    with closing(sqlite3.connect(path)) as connection:
        calls = connection.execute("SELECT kind, count(*) FROM calls GROUP BY kind ORDER BY kind").fetchall()
        (name,) = connection.execute("SELECT first_name FROM clerkmap_identities").fetchone()
    assert calls == [("other", 2), ("user", 1)]
    assert name == "Ann"
