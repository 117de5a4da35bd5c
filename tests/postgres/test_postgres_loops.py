"""Event loops that end, and repositories that nobody has closed: no connection stays behind, and nobody hangs."""

import asyncio
import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from clerkmap.repositories import AsyncPostgresRepository, PostgresRepository
from clerkmap.testing.samples import ANN, HERE, person
from freshness_writers import until
from postgres_server import postgres

LOOPS = 20


@contextmanager
def watched(name: str) -> Iterator[tuple[str, psycopg.Connection[Any]]]:
    """A connection string whose connections bear a name, and one to count them with."""
    with psycopg.connect(postgres(), autocommit=True) as connection:
        yield make_conninfo(postgres(), application_name=name), connection


def count(connection: psycopg.Connection[Any], name: str) -> int:
    rows = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [name]).fetchall()
    number: int = rows[0][0]
    return number


@pytest.mark.parametrize("pause", [0, 0.02])
def test_loops_that_end_without_close(postgres_schema: str, pause: float, caplog: pytest.LogCaptureFixture) -> None:
    """Each `asyncio.run` ends, and takes its connections along, in whatever state they are."""
    caplog.set_level(logging.CRITICAL, logger="psycopg")  # what is captured would keep half-open connections alive
    with watched(postgres_schema) as (conninfo, connection):
        repository = AsyncPostgresRepository.open(conninfo, schema=postgres_schema, listen=False)

        async def use() -> None:
            await repository.find(HERE, ANN)
            unfinished = asyncio.create_task(repository.put([person()]))
            await asyncio.sleep(pause)
            assert unfinished is not None

        for _ in range(LOOPS):
            asyncio.run(asyncio.wait_for(use(), 20))
        until(lambda: gc.collect() >= 0 and count(connection, postgres_schema) == 0)


def test_a_loop_whose_tasks_are_cancelled(postgres_schema: str) -> None:
    """Whoever cancels all that runs in a loop, and goes on in it, gets another pool."""

    async def use() -> None:
        repository = AsyncPostgresRepository.open(postgres(), schema=postgres_schema, listen=False)
        await repository.put([person()])
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        assert await repository.find(HERE, ANN) is not None
        await repository.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(use())


def test_async_repositories_that_are_forgotten(postgres_schema: str) -> None:
    """While the loop goes on, their connections are closed."""

    async def use() -> None:
        with watched(postgres_schema) as (conninfo, connection):
            for _ in range(3):
                repository = AsyncPostgresRepository.open(conninfo, schema=postgres_schema, listen=False)
                assert await repository.find(HERE, ANN) is None
                del repository
            assert count(connection, postgres_schema) > 0
            for _ in range(200):
                gc.collect()
                await asyncio.sleep(0.02)
                if count(connection, postgres_schema) == 0:
                    break
            assert count(connection, postgres_schema) == 0

    asyncio.run(use())


def test_repositories_that_are_forgotten(postgres_schema: str) -> None:
    """Their connections are closed with them."""
    with watched(postgres_schema) as (conninfo, connection):
        for _ in range(3):
            repository = PostgresRepository.open(conninfo, schema=postgres_schema, listen=False)
            assert repository.find(HERE, ANN) is None
            del repository

        def gone() -> bool:
            gc.collect()
            return count(connection, postgres_schema) == 0

        until(gone)
