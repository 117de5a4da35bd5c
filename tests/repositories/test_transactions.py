"""What one put holds on to, and what it lets go of: the write lock from its first moment, the watchers at the end."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from clerkmap import ClerkUser, Repository, RepositoryUnavailable
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.testing.samples import ANN, BEA, HERE, found, person


@contextmanager
def in_memory(path: Path, **options: Any) -> Iterator[Repository]:
    yield MemoryRepository(**options)


@contextmanager
def on_a_file(path: Path, **options: Any) -> Iterator[Repository]:
    with closing(SqliteRepository.open(path, **options)) as repository:
        yield repository


@contextmanager
def on_your_connection(path: Path, **options: Any) -> Iterator[Repository]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield SqliteRepository(connection, migrate=True, **options)


Store = Callable[..., AbstractContextManager[Repository]]


@pytest.mark.parametrize("store", [in_memory, on_a_file, on_your_connection])
def test_a_watcher_that_fails_undoes_nothing(tmp_path: Path, store: Store) -> None:
    """Watchers are told when all is committed: an error of theirs is heard, and what was written stays."""

    def fail(keys: object) -> None:
        raise RuntimeError("out of order")

    with store(tmp_path / "app.db") as repository:
        repository.listeners.watch(fail)
        with pytest.raises(RuntimeError, match="out of order"):
            repository.put([person()])

        assert found(repository).clerk == person()


@pytest.mark.parametrize("store", [on_a_file, on_your_connection])
def test_who_reads_before_writing_holds_the_lock(tmp_path: Path, store: Store) -> None:
    """Between the look and the write of one put nobody else can write: not the write would fail, but the other waits.

    The linker is asked in that very moment, and there another writer tries.
    """
    path = tmp_path / "app.db"
    with closing(SqliteRepository.open(path, timeout=0.05)) as other:
        refused: list[RepositoryUnavailable] = []

        def linker(record: ClerkUser) -> None:
            try:
                other.put([person(BEA)])
            except RepositoryUnavailable as error:
                refused.append(error)

        with store(path, linker=linker) as repository:
            repository.put([person(ANN)])

        assert len(refused) == 1
        assert (other.find(HERE, ANN) is None, other.find(HERE, BEA)) == (False, None)
        other.put([person(BEA)])
        assert found(other, BEA).clerk == person(BEA)
