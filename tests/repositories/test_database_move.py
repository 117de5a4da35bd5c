"""Everything in a database moves to another one, completely or not at all, and life goes on there."""

import os
import signal
import sqlite3
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from clerkmap import ClerkOrganization, ClerkUser, ConfigurationError
from clerkmap.repositories import (
    AsyncPostgresRepository,
    MemoryRepository,
    PostgresRepository,
    SqliteRepository,
)
from clerkmap.repositories.sql.schema import NOT_COPIED
from clerkmap.repositories.sql.stored_rows import MARKER, MOVED, PAGE
from clerkmap.sync import Moved, Progress, move
from clerkmap.testing.samples import made_by
from move_world import Open, Story, places, rows
from postgres_server import postgres, url_of_a_new_schema

Place = Callable[[str], Open]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """New databases, by the name of their kind."""
    yield from places(tmp_path)


WAYS = [
    ("sqlite", "postgres"),
    ("postgres", "sqlite"),
    ("sqlite", "sqlite"),
    ("memory", "memory"),
    ("postgres", "postgres, other names"),
    ("sqlite", "django, postgres"),
    ("django, sqlite", "postgres"),
]


@pytest.mark.parametrize("ids", ["uuid7", int])
@pytest.mark.parametrize(("here", "there"), WAYS, ids=[f"{here} to {there}" for here, there in WAYS])
def test_everything_moves(place: Place, here: str, there: str, ids: Any) -> None:
    """Each row of each table; then onboarding, write-back, tombstones and new ids work as before."""
    story = Story()
    source, target = place(here)(**made_by(ids), **story.options), place(there)(**made_by(ids), **story.options)
    story.tell(source)
    seen: list[Progress] = []
    moved = move(source, target, progress=seen.append)
    assert moved.complete
    assert moved.rows == {table.name: len(rows(source, table)) for table in MOVED}
    assert set(moved.digests) == set(moved.rows)
    assert [each.stage for each in seen if each.done == each.total][-1] == "comparison"
    assert {each.stage for each in seen} == {"comparison", *moved.rows}
    assert target.checkpoint(MARKER) is None
    story.check(source, target)


def test_sequences_continue_after_the_greatest_id(place: Place, postgres_schema: str) -> None:
    """Of users and of organizations: also what SQL of your own inserts gets an id that is free."""
    url = url_of_a_new_schema(postgres_schema)
    source = place("sqlite")(ids=int, first_id=1)
    source.put([*people(3), ClerkOrganization.full("here", "org_1", observed_at=1, name="One")])
    with closing(PostgresRepository.open(url, ids=int, first_id=1, listen=False)) as target:
        assert move(source, target).complete
    with psycopg.connect(url) as connection:
        for table, expected in (("users", 4), ("organizations", 2)):
            query = f"SELECT nextval(pg_get_serial_sequence('clerkmap_{table}', 'id'))"
            assert connection.execute(query.encode()).fetchone() == (expected,)


def columns_in_sqlite(connection: sqlite3.Connection, table: str) -> set[str]:
    """The columns of a table that are stored."""
    found = connection.execute("SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0", (table,))
    return {name for (name,) in found}


def test_every_table_is_moved_or_marked(tmp_path: Path, postgres_schema: str) -> None:
    """With all of its columns: a table or column that is added later has to be listed."""
    path = tmp_path / "app.db"
    SqliteRepository.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'clerkmap_%'")
        found = {name: columns_in_sqlite(connection, name) for (name,) in tables.fetchall()}
    check_that_all_are_known(found)
    PostgresRepository.open(url_of_a_new_schema(postgres_schema), listen=False).close()
    with psycopg.connect(postgres()) as other:
        stored: dict[str, set[str]] = {}
        for table, column in other.execute(
            "SELECT c.table_name, column_name FROM information_schema.columns c JOIN information_schema.tables t "
            "USING (table_schema, table_name) WHERE table_schema = %s AND is_generated = 'NEVER' "
            "AND table_type = 'BASE TABLE'",
            (postgres_schema,),
        ):
            stored.setdefault(table, set()).add(column)
    check_that_all_are_known(stored)


def check_that_all_are_known(found: dict[str, set[str]]) -> None:
    """Each table is among those that are moved, with these columns, or among those that are not."""
    moved = {f"clerkmap_{table.name}": set(table.columns) for table in MOVED}
    left = {f"clerkmap_{name}" for name in ("schema", *NOT_COPIED)}
    assert {name: columns for name, columns in found.items() if name not in left} == moved


KILLED = """
import os, signal, sys
from clerkmap.repositories import PostgresRepository, SqliteRepository
from clerkmap.repositories.sql.schema import NOT_COPIED
from clerkmap.sync import move

def tell(progress):
    if progress.stage == sys.argv[3] and progress.done:
        os.kill(os.getpid(), signal.SIGKILL)

move(SqliteRepository.open(sys.argv[1]), PostgresRepository.open(sys.argv[2], listen=False), progress=tell)
"""


def people(count: int) -> list[Any]:
    """Some people."""
    return [ClerkUser.full("here", f"user_{number}", observed_at=1) for number in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["users", "identities", "outbox", "comparison"])
def test_a_move_that_was_killed_goes_on(tmp_path: Path, postgres_schema: str, stage: str) -> None:
    """Whatever it was doing; no row is there twice, and none is missing."""
    url, path, story = url_of_a_new_schema(postgres_schema), tmp_path / "app.db", Story()
    source = SqliteRepository.open(path, **story.options)
    story.tell(source)
    source.put(people(3 * PAGE))
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), url, stage], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    target = PostgresRepository.open(url, listen=False, **story.options)
    assert target.checkpoint(MARKER) is not None
    assert not target.contents.is_empty()
    written = len(rows(target, MOVED[0]))
    assert written == PAGE if stage == "users" else written > 3 * PAGE
    moved = move(source, target)
    assert (moved.complete, moved.resumed) == (True, True)
    story.check(source, target)
    source.close()
    target.close()


@pytest.mark.parametrize("there", ["sqlite", "postgres"])
def test_a_source_that_changes_is_noticed(place: Place, there: str) -> None:
    """The result names the tables, the marker stays, and the next run starts over and completes the move."""
    story = Story()
    source, target = place("sqlite")(**story.options), place(there)(**story.options)
    story.tell(source)

    def meanwhile(progress: Progress) -> None:
        if progress.stage == "comparison" and source.checkpoint("late") is None:
            source.set_checkpoint("late", "written during the move")
            source.set_role(story.id_of(source, story.ada.id), "late")

    moved = move(source, target, progress=meanwhile)
    assert not moved.complete
    assert set(moved.changed) == {"users", "checkpoints", "outbox"}
    assert target.checkpoint(MARKER) is not None
    again = move(source, target)
    assert (again.complete, again.resumed) == (True, False)
    for table in MOVED:
        assert sorted(rows(source, table), key=repr) == sorted(rows(target, table), key=repr)


def test_a_dry_run_writes_nothing(place: Place) -> None:
    """It counts, and refuses all that the move itself would refuse."""
    story = Story()
    source, target = place("sqlite")(**story.options), place("postgres")(**story.options)
    story.tell(source)
    moved = move(source, target, dry_run=True)
    assert (moved.complete, moved.dry_run) == (False, True)
    assert moved.rows["users"] == 4
    assert target.contents.is_empty()
    assert target.checkpoint(MARKER) is None
    with pytest.raises(ConfigurationError, match="ids of type text, and the target bigint"):
        move(source, place("postgres")(ids=int, first_id=1), dry_run=True)


def filled(repository: Any) -> Any:
    """The repository with a user."""
    repository.put(people(1))
    return repository


def test_a_target_that_is_in_use_is_refused(place: Place) -> None:
    """Whatever it holds: a user, a note. Nothing is written into it."""
    source = filled(place("sqlite")())
    used = filled(place("postgres")())
    with pytest.raises(ConfigurationError, match="already has rows"):
        move(source, used)
    noted = place("sqlite")()
    noted.set_checkpoint("a job", "5")
    with pytest.raises(ConfigurationError, match="already has rows"):
        move(source, noted)
    assert noted.checkpoint(MARKER) is None


def stop(progress: Progress) -> None:
    """End a move in the middle."""
    if progress.stage == "identities" and progress.done:
        raise InterruptedError


def test_half_a_move_from_another_source_is_refused(place: Place) -> None:
    """Until that one is finished, or the user starts over. Its target is no source meanwhile."""
    one, other, target = filled(place("sqlite")()), filled(place("sqlite")()), place("postgres")()
    with pytest.raises(InterruptedError):
        move(one, target, progress=stop)
    with pytest.raises(ConfigurationError, match="another source"):
        move(other, target)
    with pytest.raises(ConfigurationError, match="unfinished move"):
        move(target, place("sqlite")())
    assert move(other, target, anew=True).complete
    assert rows(other, MOVED[0]) == rows(target, MOVED[0])


@pytest.mark.parametrize("anew", [False, True])
def test_another_writer_in_the_target_is_noticed(place: Place, anew: bool) -> None:
    """Its rows are never deleted, and the move is never taken for complete."""
    source, target = filled(place("sqlite")()), place("postgres")()
    with pytest.raises(InterruptedError):
        move(source, target, progress=stop)
    target.put([ClerkUser.full("here", "user_new", observed_at=1)])
    with pytest.raises(ConfigurationError, match="another program wrote to the target's table of users"):
        move(source, target, anew=anew)
    assert target.find("here", "user_new") is not None
    assert target.checkpoint(MARKER) is not None


@pytest.mark.parametrize(
    ("here", "of_source", "there", "of_target", "said"),
    [
        ("sqlite", {"ids": int, "first_id": 1}, "postgres", {}, "ids of type bigint, and the target text"),
        ("sqlite", {}, "postgres", {"ids": int, "first_id": 1}, "ids of type text, and the target bigint"),
        (
            "postgres",
            {"id_type": "uuid"},
            "sqlite",
            {"ids": int, "first_id": 1},
            "ids of type uuid, and the target bigint",
        ),
        ("sqlite", {"ids": "clerk"}, "postgres", {"id_type": "uuid"}, "that do not fit uuid"),
        ("sqlite", {"ids": lambda record: len(record.key)}, "postgres", {}, "that do not fit text"),
        (
            "sqlite",
            {"ids": lambda record: record.key},
            "postgres",
            {"ids": int, "first_id": 1},
            "that do not fit bigint",
        ),
        ("sqlite", {}, "postgres", {"id_type": "uuid"}, None),
        ("postgres", {"id_type": "uuid"}, "sqlite", {}, None),
        ("sqlite", {"ids": lambda record: len(record.key)}, "postgres", {"ids": int, "first_id": 1}, None),
        ("postgres", {"ids": int, "first_id": 1}, "sqlite", {"ids": lambda record: record.key}, None),
    ],
)
def test_ids_have_to_fit(
    place: Place, here: str, of_source: dict[str, Any], there: str, of_target: dict[str, Any], said: str | None
) -> None:
    """Before anything is written. A UUID is a text, and a text may be a UUID; a number is neither."""
    source, target = filled(place(here)(**of_source)), place(there)(**of_target)
    if said is None:
        assert move(source, target).complete
        assert rows(source, MOVED[0]) == rows(target, MOVED[0])
    else:
        with pytest.raises(ConfigurationError, match=said):
            move(source, target)
        assert target.checkpoint(MARKER) is None


def test_what_cannot_be_moved_is_refused(place: Place, tmp_path: Path, postgres_schema: str) -> None:
    """A repository in memory, an asynchronous one, and a database into itself by whatever path."""
    source = place("sqlite")()
    with pytest.raises(ConfigurationError, match="the target of a move must be a SqliteRepository"):
        move(source, MemoryRepository())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="got AsyncPostgresRepository"):
        move(AsyncPostgresRepository.open(url_of_a_new_schema(postgres_schema)), source)  # type: ignore[arg-type]
    os.symlink(tmp_path / "app.db", tmp_path / "link.db")
    with (
        closing(SqliteRepository.open(tmp_path / "app.db")) as one,
        closing(SqliteRepository.open(tmp_path / "link.db")) as same,
        pytest.raises(ConfigurationError, match="the same tables"),
    ):
        move(one, same)


def test_hooks_are_not_called(place: Place) -> None:
    """What a hook has written is in your own tables, which you move yourself."""
    called: list[object] = []
    source = filled(place("sqlite")())
    target = place("sqlite")(hooks=[lambda change, transaction: called.append(change)])
    assert move(source, target).complete
    assert not called


@pytest.mark.slow
def test_memory_does_not_grow_with_the_database(place: Place) -> None:
    """Rows are in memory a few pages at a time."""
    peaks: list[int] = []
    for count in (4 * PAGE, 16 * PAGE):
        source, target = place("sqlite")(), place("sqlite")()
        source.put(people(count))
        tracemalloc.start()
        moved = move(source, target)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert moved == Moved(moved.rows, moved.digests)
        assert moved.rows["identities"] == count
    assert peaks[1] < 1.5 * peaks[0]


@pytest.mark.parametrize("there", ["sqlite", "postgres"])
def test_two_moves_at_once_are_one(place: Place, there: str) -> None:
    """Each page is written by one of the two, and both end with a complete target."""
    source, target = place("sqlite")(), place(there)()
    source.put(people(6 * PAGE))
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(move, source, target) for _ in range(2)]
        ends = [each.exception() for each in both]
    assert None in ends
    assert {type(each) for each in ends} <= {type(None), ConfigurationError}, ends
    assert target.checkpoint(MARKER) is None
    for table in MOVED:
        assert sorted(rows(source, table)) == sorted(rows(target, table))
