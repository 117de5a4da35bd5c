"""Both repositories keep the contract, and SQLite does whatever memory does."""

import asyncio
import itertools
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clerkmap import ClerkUser, Repository, threaded
from clerkmap.errors import ConfigurationError, RepositoryUnavailable
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.testing.contract import RepositoryContract, Transaction, WithinContract
from clerkmap.testing.machine import repository_machine
from clerkmap.testing.samples import ANN, HERE, MakeRepository, company, person


class TestMemory(RepositoryContract):
    @pytest.fixture
    def make_repository(self) -> MakeRepository:
        return MemoryRepository


class Closing:
    """Makes repositories and closes them all at the end."""

    def __init__(self, make: Callable[..., Repository]) -> None:
        self._make = make
        self._made: list[Repository] = []

    def __call__(self, **options: Any) -> Repository:
        self._made.append(self._make(**options))
        return self._made[-1]

    def close(self) -> None:
        for repository in self._made:
            repository.close()


class TestSqliteFile(RepositoryContract):
    @pytest.fixture
    def make_repository(self, tmp_path: Path) -> Iterator[MakeRepository]:
        numbers = itertools.count()
        closing = Closing(lambda **options: SqliteRepository.open(tmp_path / f"{next(numbers)}.db", **options))
        yield closing
        closing.close()


class TestSqliteWithin(WithinContract):
    @pytest.fixture
    def make_repository(self, tmp_path: Path) -> Iterator[MakeRepository]:
        closing = Closing(lambda **options: SqliteRepository.open(tmp_path / "app.db", **options))
        yield closing
        closing.close()

    @pytest.fixture
    def connect(self, tmp_path: Path) -> Callable[[Repository], Transaction]:
        return lambda _: sqlite3.connect(tmp_path / "app.db")


class TestSqliteInMemory(RepositoryContract):
    @pytest.fixture
    def make_repository(self) -> Iterator[MakeRepository]:
        closing = Closing(lambda **options: SqliteRepository.open(":memory:", **options))
        yield closing
        closing.close()


class TestSqliteOnYourConnection(RepositoryContract):
    @pytest.fixture
    def make_repository(self) -> Iterator[MakeRepository]:
        connections: list[sqlite3.Connection] = []

        def make(**options: Any) -> Repository:
            connections.append(sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None))
            connections[-1].row_factory = sqlite3.Row
            return SqliteRepository(connections[-1], migrate=True, **options)

        yield make
        for connection in connections:
            connection.close()


def _in_memory(**options: Any) -> Repository:
    return SqliteRepository.open(":memory:", **options)


TestSqliteMachine = pytest.mark.slow(repository_machine(_in_memory, max_examples=150, stateful_step_count=20))


@pytest.mark.parametrize("nested", ["put", "link"])
def test_a_linker_in_memory_must_not_write(nested: str) -> None:
    """A write from inside a write would be half of it: it is refused, and nothing of either stays."""

    def linker(record: ClerkUser) -> None:
        if nested == "put":
            repository.put([company()])
        else:
            repository.link(HERE, ANN, "other")

    repository = MemoryRepository(linker=linker)
    with pytest.raises(ConfigurationError, match="linker"):
        repository.put([person()])

    assert (repository.find(HERE, ANN), repository.user("other")) == (None, None)
    repository.put([company()])


def test_a_block_closes_the_repository(tmp_path: Path) -> None:
    """`with` and `async with` close a repository when the block ends."""

    async def use(repository: SqliteRepository) -> None:
        async with threaded(repository) as lent:
            assert (await lent.user("nobody")) is None

    with SqliteRepository.open(tmp_path / "app.db") as repository, MemoryRepository() as memory:
        assert len(repository.put([person()])) == len(memory.put([person()])) == 1
    with pytest.raises(RepositoryUnavailable, match="closed"):
        repository.find(HERE, ANN)
    repository = SqliteRepository.open(tmp_path / "app.db")
    asyncio.run(use(repository))
    with pytest.raises(RepositoryUnavailable, match="closed"):
        repository.find(HERE, ANN)
