"""Tables that hooks keep are equal to the views, after concurrent writes of users, organizations and memberships."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from random import Random

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from clerkmap.repositories import Listeners, PostgresRepository
from clerkmap.sync import replay_hooks
from hook_tables import TABLES, Keeper, check
from postgres_server import postgres
from random_lives import NOW, Rows, step

pytestmark = pytest.mark.slow

WRITERS, STEPS, ROUNDS = 6, 3, 60
EVERYTHING = (
    "clerkmap_users, clerkmap_identities, clerkmap_organizations, clerkmap_memberships, "
    "kept_members, kept_people, kept_organizations"
)


@contextmanager
def world(schema: str) -> Iterator[tuple[PostgresRepository, Rows]]:
    """A repository with the tables of the hook, and the rows of its database."""
    conninfo = make_conninfo(postgres(), options=f"-csearch_path={schema}")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
        for table in TABLES:
            connection.execute(table.encode())

        def rows(query: str) -> list[tuple[object, ...]]:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

        with PostgresRepository.open(conninfo, clock=lambda: NOW, timeout=60) as repository:
            yield repository, rows


def live(repository: PostgresRepository, seed: int) -> None:
    """Write as one of several."""
    random = Random(seed)
    for _ in range(STEPS):
        step(random, repository)


def test_concurrent_writers(postgres_schema: str) -> None:
    """Each writer puts single records or many, bans, deletes and links, and each change of the hook is true."""
    with world(postgres_schema) as (repository, rows), ThreadPoolExecutor(WRITERS) as pool:
        repository.listeners.hook(Keeper("%s"))
        for number in range(ROUNDS):
            list(pool.map(live, [repository] * WRITERS, range(number * WRITERS, (number + 1) * WRITERS)))
            check(repository, rows, has_views=True)
            rows(f"TRUNCATE {EVERYTHING}")


def test_a_replay_beside_writers(postgres_schema: str) -> None:
    """Each row is passed before or after a concurrent change, and the tables are equal at the end."""
    with world(postgres_schema) as (repository, rows), ThreadPoolExecutor(WRITERS) as pool:
        keeper = Keeper("%s")
        keeper.is_late = True
        for number in range(ROUNDS):
            seeds = range(number * WRITERS, (number + 1) * WRITERS)
            repository.listeners = Listeners()
            list(pool.map(live, [repository] * 2, seeds))
            repository.listeners.hook(keeper)
            writing = [pool.submit(live, repository, -seed) for seed in seeds[2:]]
            replay_hooks(repository, keeper)
            for each in writing:
                each.result()
            check(repository, rows, has_views=True, with_people=False)
            rows(f"TRUNCATE {EVERYTHING}")
