"""On PostgreSQL, writers who get in each other's way: nobody sees a deadlock, and all of it is right."""

import multiprocessing
import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import psycopg
import pytest

from clerkmap import Change
from clerkmap.core.times import to_datetime
from clerkmap.repositories import MemoryRepository, PostgresRepository
from clerkmap.testing.samples import ANN, HERE, THERE, person
from histories import OPTIONS
from postgres_deadlocks import cluster as cluster
from postgres_deadlocks import deadlocks, gone
from postgres_deadlocks import uri as uri
from postgres_overlaps import Orders, everything, greatest, held, link_all, sessions_over, write
from postgres_racers import together

SOAK = bool(os.environ.get("CLERKMAP_SOAK"))
SEED = os.environ.get("CLERKMAP_SEED", "1")
PROCESSES, WRITERS = 4, 12
WORLDS = (HERE, THERE, "elsewhere", "nowhere")
TRANSACTIONS = 1000 if SOAK else 40
ROUNDS = 500 if SOAK else 40

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("linked", [False, True])
def test_overlapping_batches(uri: str, linked: bool) -> None:
    """Twelve writers of overlapping batches, also where people have two identities: no deadlock, and the right end."""
    shares = [tuple(range(first, WRITERS, PROCESSES)) for first in range(PROCESSES)]
    orders = [Orders(uri, SEED, writers, TRANSACTIONS, linked) for writers in shares]
    with closing(PostgresRepository.open(uri, **OPTIONS)) as repository:
        first = link_all(repository) if linked else []
    assert deadlocks(uri) == 0
    began = time.perf_counter()
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        put = sum(pool.map(write, orders))
    print(f"CLERKMAP_SEED={SEED}: {put:,} records in {WRITERS * TRANSACTIONS:,} transactions of {WRITERS} writers, "
          f"{time.perf_counter() - began:.1f} seconds, {deadlocks(uri)} deadlocks")  # fmt: skip

    assert deadlocks(uri) == 0
    batches = [batch for each in orders for writer in each.writers for batch in each.batches(writer)]
    memory = MemoryRepository(**OPTIONS)
    if linked:
        link_all(memory)
    for batch in batches:
        memory.put(batch)
    assert held(uri) == greatest(record for batch in [first, *batches] for record in batch)
    with closing(PostgresRepository.open(uri, **OPTIONS)) as repository:
        instances = (HERE, THERE) if linked else (HERE,)
        for instance in instances:
            assert sessions_over(repository, instance) == sessions_over(memory, instance)
        for mine, theirs in zip(everything(repository, instances), everything(memory, instances), strict=True):
            assert mine == theirs


def test_a_hook_that_deadlocks(uri: str) -> None:
    """Two hooks that wait for each other: one of them is done again, and what both wrote is there once."""
    met, calls = threading.Barrier(2), list[str]()

    def count(change: Change, tx: psycopg.Connection[Any]) -> None:
        ids = (1, 2) if change.after.clerk.clerk_id == ANN else (2, 1)
        tx.execute("UPDATE counters SET n = n + 1 WHERE id = %s", ids[:1])
        calls.append("first")
        if len(calls) <= 2:
            met.wait(10)
        tx.execute("UPDATE counters SET n = n + 1 WHERE id = %s", ids[1:])
        tx.execute("INSERT INTO notes VALUES (%s)", (change.after.clerk.clerk_id,))

    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE TABLE counters AS SELECT id, 0 AS n FROM generate_series(1, 2) id")
        connection.execute("CREATE TABLE notes (clerk_id text)")
    with closing(PostgresRepository.open(uri, hooks=[count])) as repository:
        together(lambda: repository.put([person()]), lambda: repository.put([person("user_bea")]))
        assert repository.find(HERE, ANN) is not None
    with psycopg.connect(uri, autocommit=True) as connection:
        assert connection.execute("SELECT n FROM counters").fetchall() == [(2,), (2,)]
        assert connection.execute("SELECT * FROM notes ORDER BY 1").fetchall() == [(ANN,), ("user_bea",)]
    assert len(calls) == 3
    assert deadlocks(uri) == 1


def test_all_identities_deleted_at_once(uri: str) -> None:
    """The last identities of a user go in as many transactions at once: the user is gone, whoever came first."""
    start = threading.Barrier(len(WORLDS))

    def delete(repository: PostgresRepository, instance: str) -> None:
        for number in range(ROUNDS):
            start.wait(60)
            batch = [gone(instance, f"user_{number}")]
            repository.put(batch if number % 2 else [*batch, person(f"user_other_{instance}_{number}")])

    with closing(PostgresRepository.open(uri)) as repository:
        for number in range(ROUNDS):
            for instance in WORLDS:
                repository.link(instance, f"user_{number}", f"mine-{number}", shared=True)
        together(*(partial(delete, repository, instance) for instance in WORLDS))
    with psycopg.connect(uri, autocommit=True) as connection:
        left = "SELECT count(*), count(deleted_at) FROM clerkmap_users WHERE id LIKE 'mine-%'"
        assert connection.execute(left).fetchone() == (ROUNDS, ROUNDS)
    assert deadlocks(uri) == 0


def test_one_deletion_waits_for_the_other(uri: str) -> None:
    """The same step by step: the second transaction has begun before the first is committed."""
    with closing(PostgresRepository.open(uri)) as repository, psycopg.connect(uri) as yours:
        for instance in (HERE, THERE):
            repository.link(instance, ANN, "mine", shared=True)
        repository.within(yours).put([gone(HERE, ANN)])
        other = threading.Thread(target=repository.put, args=([gone(THERE, ANN)],))
        other.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        with psycopg.connect(uri, autocommit=True) as look:
            while look.execute(waiting).fetchone() == (0,):
                time.sleep(0.01)
        yours.commit()
        other.join()
        user = repository.user("mine")
        assert user is not None
        assert user.deleted_at == to_datetime(9)
