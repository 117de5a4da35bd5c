"""Tables that hooks keep are equal to the views, after any history. `CLERKMAP_SOAK=1` tries 10,000."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest

from clerkmap import Repository
from clerkmap.repositories import MemoryRepository
from clerkmap.sync import replay_hooks
from hook_tables import TABLES, Keeper, check
from random_lives import NOW, Rows, on_postgres, on_sqlite, step

pytestmark = pytest.mark.slow

HISTORIES = 10_000 if os.environ.get("CLERKMAP_SOAK") else 200


@contextmanager
def world(database: str, schema: str) -> Iterator[tuple[Repository, Rows, Keeper]]:
    """A repository without hooks, the rows of its database, and the hook."""
    if database == "memory":
        memory = MemoryRepository(clock=lambda: NOW)
        for table in TABLES:
            memory.database.execute(table)
        yield memory, lambda query: memory.database.execute(query).fetchall(), Keeper()
        return
    with on_sqlite() if database == "sqlite" else on_postgres(schema) as (repository, rows):
        for table in TABLES:
            rows(table)
        yield repository, rows, Keeper("?" if database == "sqlite" else "%s")


@pytest.mark.parametrize("database", ["memory", "sqlite", "postgres"])
def test_after_any_history(database: str, postgres_schema: str) -> None:
    """Each change of the hook is true, and the tables are equal after each step."""
    for seed in range(HISTORIES if database != "postgres" else HISTORIES // 10):
        random = Random(seed)
        with world(database, postgres_schema) as (repository, rows, keeper):
            repository.listeners.hook(keeper)
            for _ in range(random.randrange(4, 14)):
                step(random, repository)
                check(repository, rows, has_views=database != "memory")


@pytest.mark.parametrize("database", ["memory", "sqlite", "postgres"])
def test_a_hook_that_comes_late(database: str, postgres_schema: str) -> None:
    """After a replay, the tables of a hook that was registered late are equal too, and stay equal."""
    for seed in range(HISTORIES // 2 if database != "postgres" else HISTORIES // 20):
        random = Random(seed)
        with world(database, postgres_schema) as (repository, rows, keeper):
            for _ in range(random.randrange(1, 8)):
                step(random, repository)
            keeper.is_late = True
            repository.listeners.hook(keeper)
            step(random, repository)
            replayed = replay_hooks(repository, keeper)
            check(repository, rows, has_views=database != "memory", with_people=False)
            kept = {id for (id,) in rows("SELECT user_id FROM kept_people")}
            assert kept == {user.id for user in repository.users(limit=100).items}
            assert replay_hooks(repository, keeper) == replayed  # a row that is there is replaced
            for _ in range(random.randrange(4)):
                step(random, repository)
                check(repository, rows, has_views=database != "memory", with_people=False)
