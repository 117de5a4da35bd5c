"""The repositories on SQLAlchemy keep the contract with each driver, and do whatever memory does."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from clerkmap import Repository
from clerkmap.testing.contract import RepositoryContract, WithinContract
from clerkmap.testing.machine import repository_machine
from clerkmap.testing.samples import MakeRepository
from postgres_server import new_schema
from sqlalchemy_ways import ON_YOURS, WAYS, BlockingOnEngine, ClosesItsEngine, connect, fresh, server

QUICK = {"sqlite"}  # all others only with the slow tests


def ways(names: Iterable[str]) -> pytest.MarkDecorator:
    marked = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in names]
    return pytest.mark.parametrize("way", marked)


@ways(WAYS)
class TestSqlAlchemy(RepositoryContract):
    @pytest.fixture
    def make_repository(self, way: str, tmp_path: Path) -> Iterator[MakeRepository]:
        with fresh(WAYS[way], way, tmp_path) as make:
            yield make


@ways(ON_YOURS)
class TestSqlAlchemyOnYourConnection(RepositoryContract):
    @pytest.fixture
    def make_repository(self, way: str, tmp_path: Path) -> Iterator[MakeRepository]:
        with fresh(ON_YOURS[way], way, tmp_path) as make:
            yield make


@ways(WAYS)
class TestSqlAlchemyWithin(WithinContract):
    @pytest.fixture
    def make_repository(self, way: str, tmp_path: Path) -> Iterator[MakeRepository]:
        with fresh(WAYS[way], way, tmp_path) as make:
            yield make

    @pytest.fixture
    def connect(self) -> Callable[[Repository], Any]:
        return connect


class Disposable(ClosesItsEngine):
    """One whose tables are in a schema of its own, which is dropped when it is closed."""

    def __init__(self, **options: Any) -> None:
        self._schema_to_drop = new_schema()
        super().__init__(server("postgresql+psycopg"), schema=self._schema_to_drop, **options)

    def close(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {self._schema_to_drop} CASCADE"))
        super().close()


def _in_memory(**options: Any) -> Repository:
    return ClosesItsEngine("sqlite://", **options)


def _async_in_memory(**options: Any) -> Repository:
    return BlockingOnEngine("sqlite+aiosqlite://", **options)


def _on_asyncpg(**options: Any) -> Repository:
    return BlockingOnEngine(server("postgresql+asyncpg"), schema=new_schema(), **options)


def machine(make: Callable[..., Repository], examples: int) -> Any:
    return pytest.mark.slow(repository_machine(make, max_examples=examples, stateful_step_count=20))


TestSqliteMachine = machine(_in_memory, 40)
TestAiosqliteMachine = machine(_async_in_memory, 15)
TestPsycopgMachine = machine(Disposable, 25)
TestAsyncpgMachine = machine(_on_asyncpg, 15)
