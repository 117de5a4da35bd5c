"""A page is read from the primary key on, however many there are: nothing is sorted, and nothing before it is read."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import get_args

import pytest

from clerkmap.core.records import Kind
from clerkmap.repositories import PostgresRepository, SqliteRepository
from clerkmap.repositories.arguments import LISTED
from clerkmap.repositories.options import IdType
from clerkmap.repositories.sql.dialects import POSTGRES, SQLITE, Names
from clerkmap.repositories.sql.statements import Statements
from clerkmap.testing.samples import HERE, company, member, person
from postgres_server import postgres
from schema_descriptions import connected, opened, options_of

pytestmark = pytest.mark.slow

MANY = 3_000


def fill(repository: SqliteRepository | PostgresRepository) -> None:
    """Enough that a planner has a choice."""
    repository.put([person(f"user_{number}", email=f"{number}@example.com") for number in range(MANY)])
    repository.put([company(f"org_{number}") for number in range(MANY)])
    repository.put(member(f"orgmem_{number}", user=f"user_{number % 100}") for number in range(MANY))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plans") / "app.db"
    repository = SqliteRepository.open(path, durable=False)
    fill(repository)
    repository.close()
    return path


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("kind", LISTED)
def test_a_page_of_sqlite(file: Path, kind: Kind, analyzed: bool) -> None:
    """By both columns of the key, in its order, with statistics of the tables and without."""
    sql = Statements(SQLITE, Names("clerkmap_"), None)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("BEGIN")  # and no COMMIT: the others do without these statistics
        if analyzed:
            connection.execute("ANALYZE")
        plan = str(connection.execute(f"EXPLAIN QUERY PLAN {sql.select_page[kind]}", (HERE, "8", 500)).fetchall())
        assert "((instance,key)>(?,?))" in plan
        assert "TEMP B-TREE" not in plan
        one = str(connection.execute(f"EXPLAIN QUERY PLAN {sql.select_record[kind]}", (HERE, "8")).fetchall())
        assert "(instance=? AND key=?)" in one
        connection.rollback()


@pytest.mark.parametrize("analyzed", [False, True])
def test_a_page_of_postgres(postgres_schema: str, analyzed: bool) -> None:
    """By an index that has the order, for the first page and for one in the middle: also right after all has come in,
    when the server knows nothing of the tables yet, and where it plans for any values there may be."""
    sql = Statements(POSTGRES, Names("clerkmap_", postgres_schema), None)
    with opened(postgres_schema) as repository, connected() as connection:
        for table in ("identities", "organizations", "memberships"):
            name = f"{postgres_schema}.clerkmap_{table}"
            connection.execute(f"ALTER TABLE {name} SET (autovacuum_enabled = false)".encode())
        fill(repository)
        if analyzed:
            connection.execute("ANALYZE")
        for kind in LISTED:
            connection.execute(f"PREPARE page_{kind}(text, text, int) AS {numbered(sql.select_page[kind])}".encode())
            for mode in ("force_custom_plan", "force_generic_plan"):
                connection.execute(f"SET plan_cache_mode = {mode}".encode())
                for after in ("", "8"):
                    explain = f"EXPLAIN EXECUTE page_{kind}('{HERE}', '{after}', 100)"
                    plan = str(connection.execute(explain.encode()).fetchall())
                    assert "Index Scan" in plan
                    assert "Sort " not in plan
                    assert "Seq Scan" not in plan


@pytest.mark.parametrize("analyzed", [False, True])
def test_the_memberships_of_a_changed_end_in_sqlite(file: Path, analyzed: bool) -> None:
    """A new user or organization reads its own memberships alone, by an index."""
    sql = Statements(SQLITE, Names("clerkmap_"), None)
    wanted = {
        "memberships_ends (instance=? AND user_key=?)": sql.select_memberships_of_users_to_write,
        "memberships_current (instance=? AND organization_key=?)": sql.select_current_in_organizations_to_write,
    }
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("BEGIN")
        if analyzed:
            connection.execute("ANALYZE")
        for index, statement in wanted.items():
            assert index in str(connection.execute(f"EXPLAIN QUERY PLAN {statement}", (HERE, "[]")).fetchall())
        connection.rollback()


@pytest.mark.parametrize("analyzed", [False, True])
def test_the_memberships_of_a_changed_user_in_postgres(postgres_schema: str, analyzed: bool) -> None:
    """Also before the server has statistics, and in a plan for any values."""
    sql = Statements(POSTGRES, Names("clerkmap_", postgres_schema), None)
    with opened(postgres_schema) as repository, connected() as connection:
        connection.execute(
            f"ALTER TABLE {postgres_schema}.clerkmap_memberships SET (autovacuum_enabled = false)".encode()
        )
        fill(repository)
        if analyzed:
            connection.execute("ANALYZE")
        statement = numbered(sql.select_memberships_of_users_to_write)
        connection.execute(f"PREPARE of_users(text, json) AS {statement}".encode())
        for mode in ("force_custom_plan", "force_generic_plan"):
            connection.execute(f"SET plan_cache_mode = {mode}".encode())
            for keys in ('["a"]', "[]"):
                plan = connection.execute(f"EXPLAIN EXECUTE of_users('{HERE}', '{keys}')".encode()).fetchall()
                assert "user_key = ANY" in str(plan), plan
                assert "clerkmap_memberships_ends" in str(plan), plan


def numbered(statement: str) -> str:
    """With the values as PREPARE has them."""
    for number in range(1, statement.count("%s") + 1):
        statement = statement.replace("%s", f"${number}", 1)
    return statement


@pytest.mark.parametrize("id_type", get_args(IdType))
def test_whatever_the_type_of_ids(postgres_schema: str, id_type: IdType) -> None:
    """Ids come out as text or numbers, and are found by what they are spelled as."""
    with opened(postgres_schema, **options_of(id_type)) as repository:
        repository.put([person(email="ann@example.com"), company()])
        (user,) = repository.users("ANN@example").items
        assert type(user.id) is (int if id_type == "bigint" else str)
        assert repository.users(str(user.id)).items == (user,)
        assert repository.users("not-a-uuid").items == ()
        repository.put([person(f"user_{number}", first_name="Ann") for number in range(9)])
        for search in (None, "ann"):
            after, found = None, 0
            while True:
                page = repository.users(search, after=after, limit=3)
                after, found = page.after, found + len(page.items)
                if after is None:
                    break
            assert found == 10
        assert repository.records("organization", HERE) == [company()]


def test_a_note_is_committed_when_it_is_written(tmp_path: Path, postgres_schema: str) -> None:
    """Another connection sees it at once; one of yours, in whose transaction it was written, can undo it."""
    repository = SqliteRepository.open(tmp_path / "app.db")
    repository.set_checkpoint("sync", "page 7")
    with closing(sqlite3.connect(tmp_path / "app.db")) as other:
        assert other.execute("SELECT * FROM clerkmap_checkpoints").fetchall() == [("sync", "page 7")]
    repository.close()

    with opened(postgres_schema) as repository_there, connected(postgres()) as connection:
        repository_there.set_checkpoint("sync", "page 7")
        rows = connection.execute(f"SELECT * FROM {postgres_schema}.clerkmap_checkpoints".encode()).fetchall()
        assert rows == [("sync", "page 7")]
        with connection.transaction(force_rollback=True):
            repository_there.within(connection).set_checkpoint("sync", None)
            assert repository_there.within(connection).checkpoint("sync") is None
        assert repository_there.checkpoint("sync") == "page 7"
