"""PostgreSQL keeps the contract in both colours and on a connection of yours, and does whatever memory does."""

import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import psycopg
import pytest
from psycopg.rows import dict_row

from clerkmap import Repository
from clerkmap.repositories import AsyncPostgresRepository, PostgresRepository
from clerkmap.testing.blocking import Blocking
from clerkmap.testing.contract import RepositoryContract, Transaction, WithinContract
from clerkmap.testing.machine import repository_machine
from clerkmap.testing.samples import MakeRepository
from postgres_server import new_schema, postgres, schemas


def pooled(**options: Any) -> Repository:
    return PostgresRepository.open(postgres(), **options)


def asynchronous(**options: Any) -> Repository:
    return Blocking(AsyncPostgresRepository.open, conninfo=postgres(), **options)


class OnYourConnection(PostgresRepository):
    """On a connection whose rows are not tuples, and which it closes at the end."""

    def __init__(self, **options: Any) -> None:
        self._yours = psycopg.connect(postgres(), autocommit=True, row_factory=dict_row)
        super().__init__(self._yours, migrate=True, **options)

    def close(self) -> None:
        super().close()
        self._yours.close()


@contextmanager
def fresh(make: Callable[..., Repository]) -> Iterator[MakeRepository]:
    """Makes repositories, each on tables of its own. The last few stay open: a server has so many connections."""
    with schemas() as new:
        made: deque[Repository] = deque()

        def make_next(**options: Any) -> Repository:
            made.append(make(schema=new(), **options))
            if len(made) > 4:
                made.popleft().close()
            return made[-1]

        yield make_next
        for repository in made:
            repository.close()


class TestPostgres(RepositoryContract):
    @pytest.fixture
    def make_repository(self) -> Iterator[MakeRepository]:
        with fresh(pooled) as make:
            yield make


class TestPostgresInAsync(RepositoryContract):
    @pytest.fixture
    def make_repository(self) -> Iterator[MakeRepository]:
        with fresh(asynchronous) as make:
            yield make


class TestPostgresOnYourConnection(RepositoryContract):
    @pytest.fixture
    def make_repository(self) -> Iterator[MakeRepository]:
        with fresh(OnYourConnection) as make:
            yield make


class TestPostgresWithin(WithinContract):
    @pytest.fixture
    def make_repository(self) -> Iterator[MakeRepository]:
        with fresh(pooled) as make:
            yield make

    @pytest.fixture
    def connect(self) -> Callable[[Repository], Transaction]:
        return lambda _: psycopg.connect(postgres())


class BlockingConnection:
    """An async connection in the event loop of a repository, for sync code."""

    def __init__(self, repository: Blocking) -> None:
        self._wait = repository.wait
        self.real: psycopg.AsyncConnection[Any] = self._wait(psycopg.AsyncConnection.connect(postgres()))

    def commit(self) -> None:
        self._wait(self.real.commit())

    def rollback(self) -> None:
        self._wait(self.real.rollback())

    def close(self) -> None:
        self._wait(self.real.close())


class JoinsBlockingConnections(Blocking):
    def within(self, connection: BlockingConnection) -> Self:
        return super().within(connection.real)


class TestAsyncPostgresWithin(WithinContract):
    @pytest.fixture
    def make_repository(self) -> Iterator[MakeRepository]:
        options: dict[str, Any] = {"conninfo": postgres()}
        with fresh(lambda **more: JoinsBlockingConnections(AsyncPostgresRepository.open, **options, **more)) as make:
            yield make

    @pytest.fixture
    def connect(self) -> Callable[[JoinsBlockingConnections], Transaction]:
        return BlockingConnection


class Disposable(OnYourConnection):
    """One that drops its tables when it is closed."""

    def __init__(self, **options: Any) -> None:
        self._schema_to_drop = new_schema()
        super().__init__(schema=self._schema_to_drop, **options)

    def close(self) -> None:
        self._yours.execute(f"DROP SCHEMA {self._schema_to_drop} CASCADE".encode())
        super().close()


def disposable_async(**options: Any) -> Repository:
    return Blocking(AsyncPostgresRepository.open, conninfo=postgres(), schema=new_schema(), **options)


def test_without_psycopg() -> None:
    """Who has not installed it is told what to install."""
    program = "import sys; sys.modules['psycopg'] = None\nfrom clerkmap.repositories import PostgresRepository"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ImportError: PostgreSQL needs psycopg and its pool: pip install 'clerkmap[postgres]'" in ended.stderr


TestPostgresMachine = pytest.mark.slow(repository_machine(Disposable, max_examples=100, stateful_step_count=20))
TestAsyncPostgresMachine = pytest.mark.slow(
    repository_machine(disposable_async, max_examples=30, stateful_step_count=20)
)
