"""After an erasure no byte of the address is left in SQLite's files, or the result says that it is pending."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, transaction

from clerkmap import ClerkUser
from clerkmap.core.records import ClerkMembership
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.repositories.django import DjangoRepository
from clerkmap.repositories.sqlite.connections import Erasures
from django_databases import add_database, make_tables

ADDRESS = "canary-of-the-erasure@example.com"
HERE = "app"


def person(number: int = 1, **said: Any) -> ClerkUser:
    return ClerkUser.full(HERE, f"user_{number}", updated_at=1, observed_at=1, **said)


def fill(repository: Any) -> Any:
    """Write many people, so that the erased one shares pages with others. Return the id of the erased one."""
    repository.put([person(number, email=f"{number}@example.org") for number in range(2, 50)])
    said: dict[str, Any] = {
        "first_name": ADDRESS,
        "last_name": ADDRESS * 3,
        "username": ADDRESS,
        "public_metadata": {"mail": ADDRESS * 9},
    }
    repository.put([person(email=ADDRESS, **said)])
    return repository.find(HERE, "user_1").user.id


def left(folder: Path) -> list[str]:
    """Return the files in which the address still stands."""
    return sorted(file.name for file in folder.iterdir() if ADDRESS.encode() in file.read_bytes())


@pytest.mark.parametrize("how", ["erase", "webhook"])
def test_nothing_is_left_in_the_files(tmp_path: Path, how: str) -> None:
    """Neither in the file nor in its write-ahead log, while the repository stays open."""
    with closing(SqliteRepository.open(tmp_path / "app.db")) as repository:
        id = fill(repository)
        assert left(tmp_path) != []
        if how == "erase":
            erasure = repository.erase(id)
            assert (erasure.user.email, erasure.is_pending) == (None, False)
        else:
            repository.put([ClerkUser.deleted(HERE, "user_1", observed_at=5)])
        assert left(tmp_path) == []


@pytest.mark.parametrize("then", ["poll", "put"])
def test_a_reader_holds_it_off(tmp_path: Path, then: str) -> None:
    """While another connection reads the past, the result says that it is pending; later it is done by itself."""
    with closing(SqliteRepository.open(tmp_path / "app.db", timeout=0.2)) as repository:
        id = fill(repository)
        with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT COUNT(*) FROM clerkmap_users").fetchone()
            assert repository.erase(id).is_pending
            assert left(tmp_path) != []
            repository.poll()
            assert left(tmp_path) != []
            reader.execute("ROLLBACK")
            repository.poll() if then == "poll" else repository.put([person(99)])
            assert left(tmp_path) == []
            assert not repository.erase(id).is_pending


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_on_a_connection_of_the_application(tmp_path: Path, mode: str) -> None:
    """Its `secure_delete` is turned on, whatever the build of SQLite; inside its transaction the result is pending."""
    with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("PRAGMA secure_delete = OFF")
        repository = SqliteRepository(connection, migrate=True)
        id = fill(repository)
        connection.execute("BEGIN")
        assert repository.erase(id).is_pending
        connection.execute("COMMIT")
        repository.poll()
        assert left(tmp_path) == []
        assert not repository.erase(id).is_pending


def test_a_transaction_that_is_rolled_back_erases_nothing(tmp_path: Path) -> None:
    """The result was pending, and stays what the caller makes of it."""
    with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as connection:
        repository = SqliteRepository(connection, migrate=True)
        id = fill(repository)
        connection.execute("BEGIN")
        assert repository.erase(id).is_pending
        connection.execute("ROLLBACK")
        assert repository.find(HERE, "user_1").user.email == ADDRESS  # type: ignore[union-attr]


def test_memory_is_never_pending() -> None:
    """There is no file."""
    repository = MemoryRepository()
    assert not repository.erase(fill(repository)).is_pending


@pytest.mark.parametrize("joined", [False, True])
def test_on_django(tmp_path: Path, joined: bool) -> None:
    """At once, or when the transaction of the application commits; also where the build has no secure_delete."""
    alias = add_database("sqlite", NAME=str(tmp_path / "app.db"))
    make_tables(alias, "text")
    with connections[alias].cursor() as cursor:
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA secure_delete = OFF")
    repository = DjangoRepository(alias)
    id = fill(repository)
    if joined:
        with transaction.atomic(using=alias):
            assert repository.erase(id).is_pending
    else:
        assert not repository.erase(id).is_pending
    assert left(tmp_path) == []
    connections[alias].close()


def test_a_membership_that_ends_needs_no_checkpoint(tmp_path: Path) -> None:
    """Nothing personal stands in it, so leaving an organization costs no more than before."""
    gone = ClerkMembership.deleted(
        HERE, "orgmem_1", clerk_user_id="user_1", clerk_organization_id="org_1", observed_at=5
    )
    with closing(SqliteRepository.open(tmp_path / "app.db")) as repository:
        fill(repository)
        before = (tmp_path / "app.db-wal").stat().st_size
        repository.put([gone])
        assert (tmp_path / "app.db-wal").stat().st_size >= before


def test_a_part_in_a_transaction_is_finished_by_its_repository(tmp_path: Path) -> None:
    """The repository empties the log after the application's commit, and does not believe that it has before."""
    with (
        closing(SqliteRepository.open(tmp_path / "app.db")) as repository,
        closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as connection,
    ):
        id = fill(repository)
        connection.execute("BEGIN IMMEDIATE")
        assert repository.within(connection).erase(id).is_pending
        repository.poll()
        connection.execute("COMMIT")
        assert left(tmp_path) != []
        repository.poll()
        assert left(tmp_path) == []


def test_a_log_that_was_emptied_too_early_is_emptied_again() -> None:
    """An erasure that is committed while the log is being emptied stays pending."""
    erasures = Erasures()
    erasures.add(lambda: False)

    def empty() -> bool:
        erasures.add(lambda: False)
        return True

    erasures.finish(empty)
    assert erasures.are_pending
    erasures.finish(lambda: True)
    assert not erasures.are_pending
