"""Tables that an older clerkmap has made are brought forward, by whoever comes first, and keep what is in them."""

import multiprocessing
import sqlite3
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from hashlib import sha256
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from psycopg.conninfo import make_conninfo

from clerkmap import ConfigurationError, Repository
from clerkmap.repositories import PostgresRepository, SqliteRepository
from clerkmap.repositories.choices import IdType
from clerkmap.testing.samples import ACME, ANN, HERE
from first_version import RELEASED, TABLES, YOURS, initial, script
from postgres_server import postgres
from schema_descriptions import connected, described, lesser_role, open_at_once, opened, options_of, run

PROCESSES = 8


def check_that_all_is_there(repository: Repository, id_type: str) -> None:
    """What the first version held is what this one finds; and what is new can be used."""
    standing = repository.find(HERE, ANN, ACME, "sess_1")
    assert standing is not None
    assert standing.organization is not None
    assert (standing.user.id, standing.user.role, standing.user.email) == (YOURS[id_type], "author", "ann@example.com")
    assert (standing.organization.id, standing.organization.name) == (YOURS[id_type], "Acme")
    assert [membership.role for membership in standing.memberships] == ["org:admin"]
    assert repository.search("ANN@example.com") == [standing.user]
    assert repository.note("sync") is None
    repository.set_note("sync", "page 7")
    assert repository.note("sync") == "page 7"


@pytest.mark.parametrize(("vendor", "text"), [("sqlite", initial.SQLITE), ("postgresql", initial.POSTGRESQL)])
def test_what_has_been_released_is_never_touched(vendor: str, text: str) -> None:
    """Tables of the first version are out there: what made them cannot be made otherwise."""
    assert sha256(text.encode()).hexdigest() == RELEASED[vendor]


def make_file(path: Path, id_type: str) -> None:
    """An SQLite file of the first version."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script("sqlite", id_type))


def rows_of(path: Path) -> list[Any]:
    """Everything in the tables of the first version."""
    with closing(sqlite3.connect(path)) as connection:
        return [connection.execute(f"SELECT * FROM clerkmap_{name}").fetchall() for name in TABLES]


def tables_of(path: Path) -> Iterable[Any]:
    """The tables and indexes themselves, and their version."""
    with closing(sqlite3.connect(path)) as connection:
        made = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        return {*made, *connection.execute("SELECT 'version', version, id_type FROM clerkmap_schema").fetchall()}


@pytest.mark.parametrize(("id_type", "ids"), [("text", "uuid7"), ("bigint", "integer")])
def test_a_file_is_brought_forward(tmp_path: Path, id_type: str, ids: Literal["uuid7", "integer"]) -> None:
    """The tables are those of a new file, and no row is another than before. To open it again changes nothing."""
    path, new = tmp_path / "old.db", tmp_path / "new.db"
    make_file(path, id_type)
    before = rows_of(path)
    assert all(before)
    SqliteRepository.open(new, ids=ids).close()

    for _ in range(2):
        repository = SqliteRepository.open(path, ids=ids)
        check_that_all_is_there(repository, id_type)
        repository.set_note("sync", None)
        repository.close()
        assert rows_of(path) == before
        assert tables_of(path) == tables_of(new)


def test_on_a_connection_of_yours_it_is_a_part_of_your_transaction(tmp_path: Path) -> None:
    """What you undo was not brought forward, and is so the next time."""
    make_file(tmp_path / "old.db", "text")
    with closing(sqlite3.connect(tmp_path / "old.db", isolation_level=None)) as connection:
        for end in ("ROLLBACK", "COMMIT"):
            connection.execute("BEGIN")
            SqliteRepository(connection).set_note("sync", "page 7")
            connection.execute(end)
            found = connection.execute("SELECT version FROM clerkmap_schema").fetchall()
            assert found == [(1,)] if end == "ROLLBACK" else [(3,)]
        assert SqliteRepository(connection).note("sync") == "page 7"


_barrier: Barrier


def _share(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _open_with_the_others(path: Path) -> str | None:
    _barrier.wait()
    repository = SqliteRepository.open(path, timeout=60)
    before = repository.note("opened")
    repository.set_note("opened", "yes")
    repository.close()
    return before


@pytest.mark.slow
def test_processes_that_start_at_once_on_a_file(tmp_path: Path) -> None:
    """One brings it forward, and the others find it so: the same step twice would be an error."""
    path = tmp_path / "old.db"
    make_file(path, "text")
    before = rows_of(path)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, mp_context=context, initializer=_share, initargs=(barrier,)) as pool:
        seen = list(pool.map(_open_with_the_others, [path] * PROCESSES))
    assert None in seen
    assert rows_of(path) == before


def make_schema(schema: str, id_type: str) -> None:
    """Tables of the first version on PostgreSQL."""
    run(f"CREATE SCHEMA {schema}")
    with connected(make_conninfo(postgres(), options=f"-csearch_path={schema}")) as connection:
        connection.execute(script("postgresql", id_type).encode())


def rows_in(schema: str) -> list[Any]:
    """Everything in the tables of the first version."""
    with connected() as connection:
        return [connection.execute(f"SELECT * FROM {schema}.clerkmap_{name}".encode()).fetchall() for name in TABLES]


@pytest.mark.parametrize("by", ["open", "ddl"])
@pytest.mark.parametrize("id_type", get_args(IdType))
def test_a_schema_is_brought_forward(postgres_schema: str, id_type: IdType, by: str) -> None:
    """By `open` or by what `ddl` prints: the tables are those of a new schema, and no row is another than before."""
    options, new = options_of(id_type), f"{postgres_schema}_new"
    make_schema(postgres_schema, id_type)
    before = rows_in(postgres_schema)
    assert all(before)
    with opened(new, **options):
        pass

    if by == "ddl":
        with pytest.raises(ConfigurationError, match=r"old.*ddl"), opened(postgres_schema, migrate=False, **options):
            pass
        run(PostgresRepository.ddl(since=1, schema=postgres_schema, **options))
    with opened(postgres_schema, migrate=by == "open", **options) as repository:
        assert described(postgres_schema) == described(new)
        check_that_all_is_there(repository, id_type)
    assert rows_in(postgres_schema) == before
    run(f"DROP SCHEMA {new} CASCADE")


def test_a_script_since_this_version_does_nothing() -> None:
    """And there is none since a version that is not there yet."""
    assert PostgresRepository.ddl(since=3) == ""
    assert PostgresRepository.ddl().endswith(PostgresRepository.ddl(since=3))
    for since in (-1, 4, True):
        with pytest.raises(ConfigurationError, match="from 0 to 3"):
            PostgresRepository.ddl(since=since)


@pytest.mark.slow
def test_processes_that_start_at_once_on_a_schema(postgres_schema: str) -> None:
    """One brings it forward, and the others find it so."""
    make_schema(postgres_schema, "text")
    assert open_at_once({"schema": postgres_schema}) == 1  # what they all put is news to the first
    with opened(f"{postgres_schema}_new"):
        assert described(postgres_schema) == described(f"{postgres_schema}_new")
    run(f"DROP SCHEMA {postgres_schema}_new CASCADE")


def test_a_role_that_may_make_no_tables(postgres_schema: str) -> None:
    """It is told so, and nothing is half done: somebody else has to bring them forward, and grant what is new."""
    make_schema(postgres_schema, "text")
    with lesser_role() as role:
        granted = f"GRANT ALL ON ALL TABLES IN SCHEMA {postgres_schema} TO {role}"
        run(f"GRANT USAGE ON SCHEMA {postgres_schema} TO {role}; {granted}")
        conninfo = make_conninfo(postgres(), user=role)
        with pytest.raises(ConfigurationError, match="InsufficientPrivilege"), opened(postgres_schema, conninfo):
            pass
        run(PostgresRepository.ddl(since=1, schema=postgres_schema))
        with opened(postgres_schema, conninfo) as repository:
            with pytest.raises(ConfigurationError, match="InsufficientPrivilege"):
                repository.note("sync")
            run(granted)
            check_that_all_is_there(repository, "text")
