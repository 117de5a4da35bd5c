"""Databases as `test_postgres_schema` needs them: described in every detail, opened by many, used by a lesser role."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from typing import Any

import psycopg

from clerkmap.repositories import PostgresRepository
from clerkmap.repositories.options import IdType
from clerkmap.repositories.postgres import PostgresOptions
from clerkmap.testing.samples import made_by, person
from postgres_server import new_schema, postgres

PROCESSES = 8


@contextmanager
def connected(conninfo: str | None = None) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(conninfo or postgres(), autocommit=True) as connection:
        yield connection


@contextmanager
def opened(schema: str | None, conninfo: str | None = None, **options: Any) -> Iterator[PostgresRepository[Any]]:
    repository = PostgresRepository.open(conninfo or postgres(), schema=schema, **options)
    try:
        yield repository
    finally:
        repository.close()


def run(script: str) -> None:
    """A script, as `psql` would run it."""
    with connected() as connection:
        connection.execute(script.encode())


COLUMNS = """
SELECT table_name, column_name, ordinal_position, data_type, collation_name, is_nullable, column_default,
       is_identity, identity_generation, is_generated, generation_expression
FROM information_schema.columns WHERE table_schema = %s
"""
RELATIONS = """
SELECT relname, relkind::text, relpersistence::text FROM pg_class
WHERE relnamespace = to_regnamespace(%s) AND relkind IN ('r', 'p', 'S', 'v')
"""
CONSTRAINTS = """
SELECT conname, conrelid::regclass::text, contype::text, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = to_regnamespace(%s)
"""
INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = %s"


def described(schema: str, prefix: str = "clerkmap_") -> list[set[tuple[Any, ...]]]:
    """Everything about the tables in a schema, but what the schema is called."""
    with connected() as connection:
        rows = [connection.execute(query, [schema]).fetchall() for query in (COLUMNS, RELATIONS, CONSTRAINTS, INDEXES)]
        versions = connection.execute(f"SELECT version, id_type FROM {schema}.{prefix}schema".encode()).fetchall()
    described = [
        {tuple(str(value).replace(f"{schema}.", "") for value in row) for row in about} for about in [*rows, versions]
    ]
    assert all(described)
    return described


_barrier: Barrier


def _share(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _open_with_the_others(conninfo: str, options: PostgresOptions) -> int:
    _barrier.wait()
    repository = PostgresRepository.open(conninfo, **options)
    changes = repository.put([person()])
    repository.close()
    return len(changes)


def open_at_once(*options: PostgresOptions) -> int:
    """Open in as many processes at once, and put the same person in each. In how many it was news."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, mp_context=context, initializer=_share, initargs=(barrier,)) as pool:
        tasks = [
            pool.submit(_open_with_the_others, postgres(), options[number % len(options)])
            for number in range(PROCESSES)
        ]
        return sum(task.result() for task in tasks)


@contextmanager
def lesser_role() -> Iterator[str]:
    """A role that may do nothing yet."""
    name = new_schema()
    run(f"CREATE ROLE {name} LOGIN")
    yield name
    run(f"DROP OWNED BY {name}; DROP ROLE {name}")


def options_of(id_type: IdType) -> dict[str, Any]:
    """What makes ids of a type."""
    return {"id_type": id_type, **made_by(int if id_type == "bigint" else "uuid7")}
