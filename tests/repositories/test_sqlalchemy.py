"""The repositories on SQLAlchemy keep the contract with each driver, and do whatever memory does."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clerkmap import Repository
from clerkmap.testing.contract import RepositoryContract, WithinContract
from clerkmap.testing.samples import MakeRepository
from sqlalchemy_ways import ON_YOURS, WAYS, connect, fresh

QUICK = {"sqlite", "async postgresql+asyncpg"}  # all others only with the slow tests


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
