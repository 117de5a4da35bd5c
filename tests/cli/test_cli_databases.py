"""Whose tables a command finds, and what it makes of them: the ids that are there go on, and old tables are named."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from clerkmap import ClerkUser
from clerkmap.cli.database_names import database
from clerkmap.cli.failures import CONFIGURATION, FINE, NOT_FINE, UNAVAILABLE
from clerkmap.repositories import PostgresRepository, SqliteRepository
from clerkmap.testing import FakeClerk
from clerkmap.testing.samples import made_by
from cli_world import World, fresh
from postgres_server import url_of_a_new_schema

__all__ = ["fresh"]

FIRST = ClerkUser.full("elsewhere", "user_first", observed_at=1, email="first@example.com")


def ids(path: Path) -> list[object]:
    """The ids of all users in a file."""
    with closing(sqlite3.connect(path)) as connection:
        return [id for (id,) in connection.execute("SELECT id FROM clerkmap_users")]


FROM_ONE = ("--first-id", "1")


@pytest.mark.parametrize(("made", "type"), [("uuid7", str), ("integer", int), ("clerk", str)])
def test_new_ids_are_made_like_those_that_are_there(fresh: World, tmp_path: Path, made: Any, type: type) -> None:
    """The command goes by the tables, and by the ids in them."""
    with closing(
        SqliteRepository.open(tmp_path / "app.db", **made_by(int if made == "integer" else made))
    ) as repository:
        repository.put([FIRST])
    assert fresh.run("sync", *FROM_ONE * (made == "integer")).exit_code == FINE
    found = ids(tmp_path / "app.db")
    assert len(found) == 4
    assert {each.__class__ for each in found} == {type}
    assert ({*fresh.clerk.users} <= set(found)) is (made == "clerk")


def test_ids_can_be_chosen_where_there_are_none(fresh: World, tmp_path: Path) -> None:
    """By `migrate`, and by the first `sync`; and not against the tables."""
    assert fresh.run("migrate", "--create", "--ids", "integer").exit_code == FINE
    refused = fresh.run("sync", "--ids", "clerk")
    assert refused.exit_code == CONFIGURATION
    assert "ids of type INTEGER" in refused.stderr
    refused = fresh.run("sync")
    assert refused.exit_code == CONFIGURATION  # the command does not know which numbers rows of yours have
    assert "--first-id" in refused.stderr
    assert fresh.run("sync", "--first-id", "1000").exit_code == FINE
    assert sorted(map(str, ids(tmp_path / "app.db"))) == ["1000", "1001", "1002"]


def test_ids_of_your_own_making_are_left_to_you(fresh: World, tmp_path: Path) -> None:
    """What only reads works; what would have to make ids says what to do instead."""
    with closing(SqliteRepository.open(tmp_path / "app.db", ids=lambda record: f"mine-{record.clerk_id}")) as own:
        own.put([FIRST])
    assert fresh.run("diff").exit_code == NOT_FINE
    assert "mine-user_first" in fresh.run("show", "first@example.com").stdout
    assert fresh.run("verify", fresh.clerk.token(next(iter(fresh.clerk.users.values())))).exit_code == FINE
    done = fresh.run("sync")
    assert done.exit_code == CONFIGURATION
    assert "--repository" in done.stderr
    assert ids(tmp_path / "app.db") == ["mine-user_first"]


@pytest.mark.parametrize("id_type", ["text", "bigint", "uuid"])
def test_postgresql_has_ids_of_three_types(fresh: World, postgres_schema: str, id_type: str) -> None:
    """All of which are found out."""
    url = url_of_a_new_schema(postgres_schema)
    made = "integer" if id_type == "bigint" else "uuid7"
    options = made_by(int if id_type == "bigint" else "uuid7")
    PostgresRepository.open(url, **options, id_type=id_type, listen=False).close()  # type: ignore[arg-type]
    assert database(url).look().id_type == id_type
    assert fresh.run("sync", *FROM_ONE * (made == "integer"), CLERKMAP_DATABASE_URL=url).exit_code == FINE
    shown = fresh.run("show", "ada@example.com", CLERKMAP_DATABASE_URL=url).stdout
    assert shown.startswith("user 01" if id_type != "bigint" else "user ")


def test_the_script_makes_the_tables(fresh: World, tmp_path: Path) -> None:
    """What `schema` prints is what the other commands ask for."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.executescript(fresh.run("schema", "sqlite", "--ids", "integer").stdout)
    assert fresh.run("sync", *FROM_ONE).exit_code == FINE
    assert fresh.run("schema", "postgresql").stdout.startswith("CREATE TABLE")
    assert fresh.run("schema", "sqlite", "--since", "9").exit_code == CONFIGURATION


@pytest.mark.parametrize(
    "options", [{}, {"schema": "auth", "id_type": "uuid"}, {"prefix": "auth_", "id_type": "bigint"}]
)
def test_the_script_is_that_of_ddl(fresh: World, options: dict[str, Any]) -> None:
    """The command takes the options of `PostgresRepository.ddl`."""
    given = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", value)]
    ids: dict[str, Any] = {"ids": int, "first_id": 1} if options.get("id_type") == "bigint" else {}
    assert fresh.run("schema", "postgresql", *given).stdout == PostgresRepository.ddl(**options, **ids)


def test_the_script_for_sqlite_has_a_prefix_and_a_type(fresh: World) -> None:
    """SQLite has no schemas and no uuid."""
    script = fresh.run("schema", "sqlite", "--prefix", "auth_", "--id-type", "bigint").stdout
    assert script.startswith("CREATE TABLE auth_users (\n    id INTEGER PRIMARY KEY")
    for wrong in (["--schema", "auth"], ["--id-type", "uuid"]):
        assert "for postgresql" in fresh.run("schema", "sqlite", *wrong).stderr
    for kind in ("sqlite", "postgresql"):
        assert "cannot make ids" in fresh.run("schema", kind, "--ids", "clerk", "--id-type", "bigint").stderr
        assert fresh.run("schema", kind, "--prefix", "Auth-").exit_code == CONFIGURATION


@pytest.mark.parametrize("spelled", ["{0}", "sqlite:///{0}", "sqlite+pysqlite:///{0}", "SQLITE:///{0}?timeout=5"])
def test_a_file_may_be_named_as_others_name_it(fresh: World, tmp_path: Path, spelled: str) -> None:
    """By its path, or by a URL as SQLAlchemy has it; with what a URL would take for its own in it."""
    path = tmp_path / "a b#%41.db"
    assert fresh.run("migrate", "--create", CLERKMAP_DATABASE_URL=spelled.format(path)).exit_code == FINE
    assert fresh.run("show", "x", CLERKMAP_DATABASE_URL=spelled.format(path)).exit_code == NOT_FINE
    assert path.exists()


def test_a_file_that_is_damaged_is_named(fresh: World, tmp_path: Path) -> None:
    """With what to do."""
    fresh.run("migrate", "--create")
    content = bytearray((tmp_path / "app.db").read_bytes())
    content[100:4096] = b"\xff" * 3996
    (tmp_path / "app.db").write_bytes(content)
    done = fresh.run("show", "x")
    assert done.exit_code == UNAVAILABLE, done.output
    assert "is damaged" in done.stderr


def test_verify_says_that_keys_cannot_be_had(fresh: World, tmp_path: Path) -> None:
    """As a check that is crossed; and it leaves no lock behind."""
    fresh.run("migrate", "--create")
    token = fresh.clerk.token(next(iter(fresh.clerk.users.values())))
    host = FakeClerk(7, host="127.0.0.1:1")  # where nothing listens, so that nobody waits for long
    changes = {"CLERK_JWT_KEY": "", "CLERK_PUBLISHABLE_KEY": host.publishable_key}
    done = fresh.run("verify", token, **changes)
    assert done.exit_code == NOT_FINE
    assert "keys_unavailable" in done.stdout
    with closing(sqlite3.connect(tmp_path / "app.db", timeout=0)) as connection:
        connection.execute("BEGIN IMMEDIATE")
