"""Processes that start at once, in ways that differ: one makes the tables, and the others find them."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from clerkmap import RepositoryUnavailable
from clerkmap.repositories import AsyncPostgresRepository, PostgresRepository
from clerkmap.testing.samples import ANN, HERE, person
from postgres_server import postgres
from schema_descriptions import connected, opened, run

LEVELS = ["repeatable read", "serializable"]


def all_at_once(*starts: Callable[[], object]) -> list[Exception]:
    """What is raised when all of them begin in one moment."""
    raised: list[Exception] = []
    barrier = threading.Barrier(len(starts))

    def run_one(start: Callable[[], object]) -> None:
        barrier.wait()
        try:
            start()
        except Exception as error:
            raised.append(error)

    threads = [threading.Thread(target=run_one, args=(start,)) for start in starts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.parametrize("level", LEVELS)
def test_on_pools_of_another_isolation_level(postgres_schema: str, level: str) -> None:
    """Whatever level your pools have, one makes the tables and the others wait for it."""
    conninfo = make_conninfo(postgres(), options=f"-cdefault_transaction_isolation={level.replace(' ', chr(92) + ' ')}")
    run(f"CREATE SCHEMA {postgres_schema}")
    for number in range(5):

        def start(prefix: str = f"my{number}_") -> None:
            with ConnectionPool(conninfo, min_size=1, max_size=1, open=True) as pool:
                pool.wait()
                PostgresRepository(pool, schema=postgres_schema, prefix=prefix, listen=False, migrate=True).close()

        assert all_at_once(*[start] * 4) == []


@pytest.mark.parametrize("level", LEVELS)
def test_on_async_pools_of_another_isolation_level(postgres_schema: str, level: str) -> None:
    """The same in async code."""
    conninfo = make_conninfo(postgres(), options=f"-cdefault_transaction_isolation={level.replace(' ', chr(92) + ' ')}")
    run(f"CREATE SCHEMA {postgres_schema}")

    async def use(prefix: str) -> None:
        async with AsyncConnectionPool(conninfo, min_size=1, max_size=1, open=False) as pool:
            await pool.wait()
            repository = AsyncPostgresRepository(
                pool, schema=postgres_schema, prefix=prefix, listen=False, migrate=True
            )
            assert await repository.find(HERE, ANN) is None
            await repository.close()

    async def all_of_them() -> None:
        for number in range(5):
            await asyncio.gather(*(use(f"my{number}_") for _ in range(4)))

    asyncio.run(all_of_them())


def test_by_schema_and_by_search_path(postgres_schema: str) -> None:
    """One process says the schema, and the other has it in its `search_path`: they wait for each other all the same."""
    there = make_conninfo(postgres(), options=f"-csearch_path={postgres_schema}")
    run(f"CREATE SCHEMA {postgres_schema}")
    for number in range(10):
        options: dict[str, Any] = {"prefix": f"my{number}_", "listen": False}
        starts = [
            lambda options=options: PostgresRepository.open(there, **options).close(),
            lambda options=options: PostgresRepository.open(postgres(), schema=postgres_schema, **options).close(),
        ]
        assert all_at_once(*starts * 2) == []


def test_two_prefixes_in_a_new_schema(postgres_schema: str) -> None:
    """Both want the schema made: one makes it."""
    for number in range(10):
        schema = f"{postgres_schema}_{number}"
        starts = [
            lambda schema=schema, prefix=prefix: PostgresRepository.open(
                postgres(), schema=schema, prefix=prefix, listen=False
            ).close()
            for prefix in ("one_", "two_", "three_")
        ]
        assert all_at_once(*starts) == []
        run(f"DROP SCHEMA {schema} CASCADE")


def test_writers_by_schema_and_by_search_path(postgres_schema: str) -> None:
    """What keeps two batches from deadlocks is the same for both: one waits for the other's slots."""
    there = make_conninfo(postgres(), options=f"-csearch_path={postgres_schema}")
    batch = [person(), person("user_other")]
    with opened(postgres_schema) as one, opened(None, there, timeout=0.3) as other, psycopg.connect(postgres()) as mine:
        one.within(mine).put(batch)
        with connected() as connection:
            locks = (
                "SELECT classid, objid FROM pg_locks WHERE locktype = 'advisory' AND pid = %s AND granted ORDER BY 1, 2"
            )
            held = connection.execute(locks, [mine.info.backend_pid]).fetchall()
            mine.rollback()
            with connected(there) as theirs:
                theirs.autocommit = False
                other.within(theirs).put(batch)
                assert connection.execute(locks, [theirs.info.backend_pid]).fetchall() == held
                theirs.rollback()
        assert held


def test_open_does_not_connect_and_a_block_does(postgres_schema: str) -> None:
    """In async code `open` does no I/O. The block makes the tables, or raises that there is no server, and closes."""

    async def use() -> None:
        async with AsyncPostgresRepository.open(postgres(), schema=postgres_schema, listen=False) as repository:
            with connected() as connection:
                tables = connection.execute("SELECT to_regclass(%s)", [f"{postgres_schema}.clerkmap_users"]).fetchall()
            assert tables != [(None,)]
            await repository.put([person()])
        with pytest.raises(RepositoryUnavailable, match="closed"):
            await repository.put([person()])
        with pytest.raises(RepositoryUnavailable):
            async with AsyncPostgresRepository.open("postgresql://127.0.0.1:1/nowhere", timeout=0.2):
                pass

    AsyncPostgresRepository.open("postgresql://127.0.0.1:1/nowhere")
    asyncio.run(use())
