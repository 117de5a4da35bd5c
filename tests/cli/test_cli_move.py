"""`clerkmap move`: a whole database into another one, as an operator runs it."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from clerkmap import ClerkUser
from clerkmap.cli.failures import CONFIGURATION, FINE, NOT_FINE, UNAVAILABLE, USAGE
from clerkmap.repositories import PostgresRepository, SqliteRepository
from clerkmap.repositories.sql.stored_rows import MARKER
from cli_world import PATIENCE, World, fresh, synced
from postgres_server import postgres, url_of_a_new_schema

__all__ = ["fresh", "synced"]


def source_of(at: World) -> str:
    """The database that the commands work with."""
    return at.environment["CLERKMAP_DATABASE_URL"]


def test_a_whole_database_moves_there_and_back(synced: World, tmp_path: Path, postgres_schema: str) -> None:
    """Tables that are missing are made; the commands find everything in the new place."""
    url = url_of_a_new_schema(postgres_schema)
    ada = next(iter(synced.clerk.users.values()))
    shown = synced.run("export", ada.id).stdout
    done = synced.run("move", "--from", source_of(synced), "--to", url)
    assert done.exit_code == FINE, done.output
    assert "users                  3 moved" in done.stdout
    assert "digests of all tables of clerkmap are equal" in done.stderr
    assert "own tables are not moved" in done.stderr
    assert "users_table" in done.stderr
    assert url not in done.output
    back = synced.run("move", "--from", url, "--to", str(tmp_path / "back.db"), "--json")
    assert back.exit_code == FINE, back.output
    told = json.loads(back.stdout)
    assert (told["complete"], told["rows"]["identities"], told["changed"]) == (True, 3, [])
    for place in (url, str(tmp_path / "back.db")):
        assert synced.run("export", ada.id, CLERKMAP_DATABASE_URL=place).stdout == shown
        assert synced.run("diff", CLERKMAP_DATABASE_URL=place).exit_code == FINE


def test_a_dry_run_makes_nothing(synced: World, tmp_path: Path, postgres_schema: str) -> None:
    """Neither a file nor a table; it tells the number of rows, and what would be refused."""
    for target in (str(tmp_path / "new.db"), url_of_a_new_schema(postgres_schema)):
        done = synced.run("move", "--from", source_of(synced), "--to", target, "--dry-run")
        assert done.exit_code == FINE, done.output
        assert "users                  3 to be moved" in done.stdout
        assert "would be created" in done.stderr
        assert "there " in synced.run("show", "x", CLERKMAP_DATABASE_URL=target).stderr
    assert not (tmp_path / "new.db").exists()
    refused = synced.run(
        *("move", "--from", source_of(synced), "--to", str(tmp_path / "new.db"), "--id-type", "bigint", "--dry-run")
    )
    assert refused.exit_code == CONFIGURATION


REFUSED = [
    ("no source", ["--from", "{0}/nowhere.db", "--to", "{0}/new.db"], CONFIGURATION, "no file"),
    ("no folder", ["--from", "{0}/nowhere/app.db", "--to", "{0}/new.db"], CONFIGURATION, "there is no folder"),
    ("one database", ["--from", "{0}/app.db", "--to", "{0}/app.db"], CONFIGURATION, "the same tables"),
    ("in use", ["--from", "{0}/app.db", "--to", "{0}/used.db"], CONFIGURATION, "already has rows"),
    ("no uuids here", ["--from", "{0}/app.db", "--to", "{0}/new.db", "--id-type", "uuid"], CONFIGURATION, "no uuid"),
    ("numbers", ["--from", "{0}/app.db", "--to", "{0}/new.db", "--id-type", "bigint"], CONFIGURATION, "type text"),
    ("no module", ["--from", "{0}/app.db", "--to", "nowhere.clerk:repository"], CONFIGURATION, "no module nowhere"),
    (
        "no server",
        ["--from", "{0}/app.db", "--to", "postgresql://u:c4n4ry@127.0.0.1:1/d"],
        UNAVAILABLE,
        "no server listens",
    ),
    ("no target", ["--from", "{0}/app.db"], USAGE, "--to"),
]


@pytest.mark.parametrize(("name", "arguments", "code", "said"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_cannot_be_moved_is_refused_first(
    synced: World, tmp_path: Path, name: str, arguments: list[str], code: int, said: str
) -> None:
    """Before anything is made or written."""
    with closing(SqliteRepository.open(tmp_path / "used.db")) as used:
        used.set_checkpoint("job", "5")
    before = sorted(each.name for each in tmp_path.iterdir())
    done = synced.run("move", *(each.format(tmp_path) for each in arguments))
    assert (done.exit_code, done.stdout) == (code, ""), done.output
    assert said in done.stderr
    assert "c4n4ry" not in done.output
    assert sorted(each.name for each in tmp_path.iterdir()) == before


@pytest.mark.slow
def test_a_move_that_is_killed_goes_on(fresh: World, tmp_path: Path, postgres_schema: str) -> None:
    """In whatever moment: the process is ended while its rows arrive, and run again until it is done."""
    path, url = tmp_path / "app.db", url_of_a_new_schema(postgres_schema)
    with closing(SqliteRepository.open(path)) as repository:
        for start in range(0, 10_000, 5_000):
            numbers = range(start, start + 5_000)
            repository.put([ClerkUser.full("here", f"user_{number}", observed_at=1) for number in numbers])
    command = [sys.executable, "-m", "clerkmap", "move", "--from", str(path), "--to", url]
    PostgresRepository.open(url, listen=False).close()
    with psycopg.connect(postgres(), autocommit=True) as looking:
        for table in ("users", "identities"):
            process = subprocess.Popen(command, env=fresh.whole(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            query = f"SELECT 1 FROM {postgres_schema}.clerkmap_{table} LIMIT 1"
            while not looking.execute(query.encode()).fetchall():
                assert process.poll() is None, "it ended before its rows were seen"
            os.kill(process.pid, signal.SIGKILL)
            assert process.wait(PATIENCE) == -signal.SIGKILL
    done = fresh.process(*command[3:], "--json")
    assert done.returncode == FINE, done.stderr
    told = json.loads(done.stdout)
    assert (told["resumed"], told["rows"]["users"], told["rows"]["identities"]) == (True, 10_000, 10_000)


def test_a_repository_of_an_application_is_a_place(synced: World, tmp_path: Path, postgres_schema: str) -> None:
    """With its schema and its prefix; an asynchronous one is refused."""
    (tmp_path / "shop.py").write_text(
        "from clerkmap.repositories import AsyncPostgresRepository, PostgresRepository\n"
        f"OPTIONS = dict(schema={postgres_schema!r}, prefix='auth_', listen=False)\n"
        f"def clerk(): return PostgresRepository.open({postgres()!r}, **OPTIONS)\n"
        f"def async_clerk(): return AsyncPostgresRepository.open({postgres()!r}, **OPTIONS)\n"
    )
    synced.folder = tmp_path
    done = synced.process("move", "--from", source_of(synced), "--to", "shop:clerk")
    assert done.returncode == FINE, done.stderr
    with psycopg.connect(postgres()) as connection:
        counted = connection.execute(f"SELECT count(*) FROM {postgres_schema}.auth_users".encode()).fetchone()
    assert counted == (3,)
    refused = synced.process("move", "--from", "shop:async_clerk", "--to", str(tmp_path / "new.db"))
    assert refused.returncode == CONFIGURATION
    assert "name a synchronous one" in refused.stderr


def test_ids_that_a_function_makes_need_a_word(fresh: World, tmp_path: Path, postgres_schema: str) -> None:
    """SQLite keeps them as they are; for PostgreSQL their type has to be said."""
    with closing(SqliteRepository.open(tmp_path / "own.db", ids=lambda record: f"mine-{record.key}")) as own:
        own.put([ClerkUser.full("here", "user_1", observed_at=1)])
    url, path = url_of_a_new_schema(postgres_schema), str(tmp_path / "own.db")
    assert fresh.run("move", "--from", path, "--to", str(tmp_path / "same.db")).exit_code == FINE
    for id_type, code in (((), CONFIGURATION), (("--id-type", "uuid"), CONFIGURATION), (("--id-type", "text"), FINE)):
        done = fresh.run("move", "--from", path, "--to", url, *id_type)
        assert done.exit_code == code, done.output
    assert "mine-" in fresh.run("show", "user_1", CLERKMAP_DATABASE_URL=url).stdout


def test_a_source_that_changes_ends_with_one(synced: World, tmp_path: Path) -> None:
    """And says to run the same again, which then completes the move."""
    target = str(tmp_path / "new.db")
    with closing(SqliteRepository.open(target)) as made:
        assert made.contents.is_empty()
    (tmp_path / "busy.py").write_text(
        "import sqlite3\n"
        "from clerkmap.repositories import SqliteRepository\n"
        "class Busy(SqliteRepository):\n"
        "    def _read(self, work, *args):\n"
        "        rows = super()._read(work, *args)\n"
        "        if 0 < self.left: self.left -= 1; self.set_checkpoint('busy', str(self.left))\n"
        "        return rows\n"
        "    left = 0\n"
        f"def clerk(): busy = Busy.open({str(tmp_path / 'app.db')!r}); busy.left = 60; return busy\n"
    )
    synced.folder = tmp_path
    done = synced.process("move", "--from", "busy:clerk", "--to", target)
    assert done.returncode == NOT_FINE, done.stderr
    assert "changed meanwhile" in done.stdout
    assert "run the same command again" in done.stderr
    again = synced.process("move", "--from", source_of(synced), "--to", target, "--json")
    assert again.returncode == FINE, again.stderr
    assert json.loads(again.stdout)["complete"]
    with closing(sqlite3.connect(target)) as connection:
        assert not connection.execute("SELECT 1 FROM clerkmap_checkpoints WHERE name = ?", (MARKER,)).fetchall()


def test_a_person_sees_how_far_it_is(synced: World, tmp_path: Path) -> None:
    """A bar for each table, in a terminal."""
    at = synced.terminal("move", "--from", source_of(synced), "--to", str(tmp_path / "new.db"))
    assert at.end() == FINE
    assert "identities" in at.seen
    assert "comparison" in at.seen
