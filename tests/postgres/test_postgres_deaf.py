"""A listener that hears nothing of what is written is never believed: changes are seen within a second all the same."""

import asyncio
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool

from clerkmap.repositories import AsyncPostgresRepository, PostgresRepository
from clerkmap.testing.samples import ANN, HERE, person
from freshness_writers import until
from postgres_server import postgres
from session_pooler import pooled_sessions

Keys = Collection[str] | None
UNPREPARED = {"autocommit": True, "prepare_threshold": None}


@contextmanager
def elsewhere(name: str) -> Iterator[str]:
    """The connection string of another database of the same server."""
    with psycopg.connect(postgres(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield make_conninfo(postgres(), dbname=name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def is_believed(repository: PostgresRepository) -> bool:
    """Whether a poll leaves what is remembered as it is."""
    told: list[Keys] = []
    repository.listeners.watch(told.append)
    repository.poll()
    return None not in told


def never_believed(repository: PostgresRepository) -> None:
    """A second and a half, in which each poll drops everything."""
    ends = time.monotonic() + 1.5
    while time.monotonic() < ends:
        assert not is_believed(repository)
        time.sleep(0.02)


@pytest.mark.slow
def test_listening_to_another_database(postgres_schema: str) -> None:
    """Where `listen` leads to another database, the session answers, and hears nothing: it is not believed."""
    with elsewhere(f"{postgres_schema}_b") as other:
        repository = PostgresRepository.open(postgres(), schema=postgres_schema, listen=other)
        never_believed(repository)
        repository.close()


def test_listening_through_a_pooler(postgres_schema: str) -> None:
    """A pooler in transaction mode hands the session on: who listens through it is not believed."""
    with (
        pooled_sessions(postgres()) as conninfo,
        ConnectionPool(conninfo, min_size=1, max_size=2, open=True, kwargs=UNPREPARED) as pool,
    ):
        repository = PostgresRepository(pool, schema=postgres_schema, migrate=True)
        never_believed(repository)
        repository.close()


def test_listening_around_a_pooler(postgres_schema: str) -> None:
    """With `listen` leading around it, the proof goes through the pooler and arrives."""
    with (
        pooled_sessions(postgres()) as conninfo,
        ConnectionPool(conninfo, min_size=1, max_size=2, open=True, kwargs=UNPREPARED) as pool,
    ):
        repository = PostgresRepository(pool, schema=postgres_schema, listen=postgres(), migrate=True)
        until(lambda: is_believed(repository))
        repository.close()


@pytest.mark.parametrize("autocommit", [True, False])
def test_on_a_connection_of_yours(postgres_schema: str, autocommit: bool) -> None:
    """The proof is never a part of a transaction of yours: without autocommit the listener is not believed."""
    with psycopg.connect(postgres(), autocommit=autocommit) as connection:
        repository = PostgresRepository(connection, schema=postgres_schema, listen=postgres(), migrate=True)
        connection.commit()
        if autocommit:
            until(lambda: is_believed(repository))
        else:
            never_believed(repository)
            assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        repository.close()


def test_the_proofs_of_others(postgres_schema: str) -> None:
    """They make nobody believe, and nobody forget."""
    told: list[Keys] = []
    channel = f"{postgres_schema}_changes"
    with psycopg.connect(postgres(), autocommit=True) as connection:
        repository = PostgresRepository.open(postgres(), schema=postgres_schema, prefix=f"{postgres_schema}_")
        until(lambda: is_believed(repository))
        repository.listeners.watch(told.append)
        for payload in ("proof 0123456789abcdef", "somebody"):
            connection.execute("SELECT pg_notify(%s, %s)", [channel, payload])
        until(lambda: ["somebody"] in told)
        assert told == [["somebody"]]
        repository.close()


def test_believed_anew_after_each_connection(postgres_schema: str) -> None:
    """One that has been cut listens again, and is believed after another proof."""
    own = make_conninfo(postgres(), application_name=postgres_schema)
    repository = PostgresRepository.open(postgres(), schema=postgres_schema, listen=own)
    until(lambda: is_believed(repository))
    with psycopg.connect(postgres(), autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [postgres_schema]
        ).fetchall()
    assert ended == [(True,)]
    until(lambda: not is_believed(repository))
    until(lambda: is_believed(repository))
    repository.close()


def test_a_poll_without_a_server_for_it(postgres_schema: str) -> None:
    """Where the proof cannot be sent, a poll is no error: everything is dropped, and that is right."""
    with ConnectionPool(postgres(), min_size=1, max_size=1, open=True) as pool:
        pool.wait()
        repository = PostgresRepository(pool, schema=postgres_schema, timeout=0.1, migrate=True)
        with pool.connection():
            never_believed(repository)
        until(lambda: is_believed(repository))
        repository.close()


def test_in_async_code(postgres_schema: str) -> None:
    """The proof is sent in the event loop that polls."""

    async def use() -> None:
        told: list[Keys] = []
        repository = AsyncPostgresRepository.open(postgres(), schema=postgres_schema)
        repository.listeners.watch(told.append)
        ends = time.monotonic() + 20
        while True:
            told.clear()
            await repository.poll()
            if told == []:
                break
            assert time.monotonic() < ends
            await asyncio.sleep(0.02)
        assert await repository.find(HERE, ANN) is None
        await repository.close()

    asyncio.run(use())


def test_many_threads_that_poll(postgres_schema: str) -> None:
    """The proof is sent by one of them: a crowd of requests does not send as many."""
    sent: list[Any] = []
    channel = f"{postgres_schema}_changes"
    repository = PostgresRepository.open(postgres(), schema=postgres_schema, prefix=f"{postgres_schema}_")
    with psycopg.connect(postgres(), autocommit=True) as connection:
        connection.execute(f"LISTEN {channel}".encode())
        ends = time.monotonic() + 1

        def run() -> None:
            while time.monotonic() < ends:
                repository.poll()

        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        repository.put([person()])
        sent = [notice.payload for notice in connection.notifies(timeout=0.3)]
    assert sum(payload.startswith("proof ") for payload in sent) <= 3
    repository.close()
