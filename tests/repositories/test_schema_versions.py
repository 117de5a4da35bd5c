"""The tables are made once, by the first process that opens the database, and opening them again changes nothing."""

import multiprocessing
import sqlite3
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from clerkmap import ConfigurationError
from clerkmap.repositories import PostgresRepository, SqliteRepository
from clerkmap.repositories.sql.dialects import POSTGRES, SQLITE, Names
from clerkmap.repositories.sql.schema import NOT_COPIED, SCHEMA_VERSION, TABLES, Schema

PROCESSES = 8


def tables_of(path: Path) -> Iterable[Any]:
    """The tables, indexes and triggers themselves, and their version."""
    with closing(sqlite3.connect(path)) as connection:
        made = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        return {*made, *connection.execute("SELECT 'version', version, id_type FROM clerkmap_schema").fetchall()}


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    """The second `open` finds the tables and leaves them as they are."""
    SqliteRepository.open(tmp_path / "app.db").close()
    before = tables_of(tmp_path / "app.db")
    SqliteRepository.open(tmp_path / "app.db").close()
    assert tables_of(tmp_path / "app.db") == before


def test_on_a_connection_of_yours_it_is_a_part_of_your_transaction(tmp_path: Path) -> None:
    """Tables made in a transaction that is rolled back are made the next time."""
    with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as connection:
        for end in ("ROLLBACK", "COMMIT"):
            connection.execute("BEGIN")
            SqliteRepository(connection, migrate=True).set_checkpoint("sync", "page 7")
            connection.execute(end)
            made = connection.execute(
                "SELECT count(*) FROM sqlite_master WHERE name = 'clerkmap_checkpoints'"
            ).fetchone()
            assert made == (0 if end == "ROLLBACK" else 1,)
        assert SqliteRepository(connection, migrate=True).checkpoint("sync") == "page 7"


def test_the_list_of_tables_is_complete(tmp_path: Path) -> None:
    """Every table but the one with the version is in the list, and only SQLite has the one of changed keys."""
    SqliteRepository.open(tmp_path / "app.db").close()
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        made = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert made == {f"clerkmap_{name}" for name in (*TABLES, "schema")}
    script = Schema(POSTGRES, Names("clerkmap_"), "text").ddl(0)
    assert {name for name in TABLES if f"CREATE TABLE clerkmap_{name} " not in script} == NOT_COPIED


def test_the_script_makes_what_open_makes(tmp_path: Path) -> None:
    """SQLite's script, run by another program, leaves the same tables and triggers."""
    SqliteRepository.open(tmp_path / "open.db").close()
    with closing(sqlite3.connect(tmp_path / "script.db")) as connection:
        connection.executescript(Schema(SQLITE, Names("clerkmap_"), "TEXT").ddl(0))
    script, opened = ({row[:2] for row in tables_of(tmp_path / f"{name}.db")} for name in ("script", "open"))
    assert script == opened


def test_a_script_since_this_version_does_nothing() -> None:
    """And there is none since a version that is not there yet."""
    assert PostgresRepository.ddl(since=SCHEMA_VERSION) == ""
    for since in (-1, SCHEMA_VERSION + 1, True):
        with pytest.raises(ConfigurationError, match=f"from 0 to {SCHEMA_VERSION}"):
            PostgresRepository.ddl(since=since)


_barrier: Barrier


def _share(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _open_with_the_others(path: Path) -> str | None:
    _barrier.wait()
    repository = SqliteRepository.open(path, timeout=60)
    before = repository.checkpoint("opened")
    repository.set_checkpoint("opened", "yes")
    repository.close()
    return before


@pytest.mark.slow
def test_processes_that_start_at_once_on_a_file(tmp_path: Path) -> None:
    """One makes the tables, and the others find them made: the same step twice would be an error."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, mp_context=context, initializer=_share, initargs=(barrier,)) as pool:
        seen = list(pool.map(_open_with_the_others, [tmp_path / "app.db"] * PROCESSES))
    assert None in seen


def test_a_file_is_opened_without_making_tables_on_request(tmp_path: Path) -> None:
    """A process that may not change tables gets a refusal, and the file stays as it was."""
    with pytest.raises(ConfigurationError, match="clerkmap migrate"):
        SqliteRepository.open(tmp_path / "app.db", migrate=False)
    with SqliteRepository.open(tmp_path / "app.db"):
        pass
    with SqliteRepository.open(tmp_path / "app.db", migrate=False) as repository:
        assert repository.checkpoint("sync") is None
