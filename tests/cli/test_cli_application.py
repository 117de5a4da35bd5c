"""`--repository module:name`: the application's own repository, with its hooks and ids, in place of a database."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from clerkmap.cli.failures import CONFIGURATION, FINE, NOT_FINE, USAGE
from cli_world import World, fresh
from postgres_server import url_of_a_new_schema

__all__ = ["fresh"]

SQLITE = """
import sqlite3
from clerkmap.repositories import SqliteRepository

def greet(change, tx):
    if change.made and change.is_user:
        tx.execute("INSERT INTO letters VALUES (?)", (change.after.id,))
    if change.deleted and change.is_user:
        tx.execute("DELETE FROM letters WHERE user_id = ?", (change.after.id,))

def ids(record):
    return "mine-" + record.key[:8]

with sqlite3.connect("own.db") as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS letters (user_id TEXT)")
connection.close()

def make():
    return SqliteRepository.open("own.db", ids=ids, hooks=[greet])

class Holder:
    made = staticmethod(make)

nothing = 7
Kind = SqliteRepository

def broken():
    raise RuntimeError("c4n4ry")

async def late():
    raise RuntimeError("c4n4ry")

def ends():
    raise SystemExit(1)

def chatty():
    print("c4n4ry")
    return make()
"""

POSTGRES = """
import os
from clerkmap.repositories import AsyncPostgresRepository

async def greet(change, tx):
    if change.made and change.is_user:
        await tx.execute("INSERT INTO letters VALUES (%s)", (change.after.id,))

def plain():
    return AsyncPostgresRepository.open(os.environ["OWN"], hooks=[greet])

async def make():
    return plain()
"""


@pytest.fixture
def at(fresh: World, tmp_path: Path) -> World:
    """A world whose application stands in a folder, where the command is run."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "clerk.py").write_text(SQLITE)
    (tmp_path / "shop" / "asynchronous.py").write_text(POSTGRES)
    fresh.environment["CLERKMAP_DATABASE_URL"] = ""
    fresh.folder = tmp_path
    return fresh


def letters(folder: Path) -> list[str]:
    """Whom the application's hook was told of."""
    with closing(sqlite3.connect(folder / "own.db")) as connection:
        return [id for (id,) in connection.execute("SELECT user_id FROM letters ORDER BY 1")]


@pytest.mark.slow
def test_hooks_and_ids_are_the_applications_own(at: World, tmp_path: Path) -> None:
    """A sync runs its hook once for each person, and everything else finds them; by the option, and by the variable."""
    named = {"CLERKMAP_REPOSITORY": "shop.clerk:make"}
    done = at.process("sync", "--repository", "shop.clerk:Holder.made")
    assert done.returncode == FINE, done.stderr
    assert len(letters(tmp_path)) == 3
    assert all(id.startswith("mine-") for id in letters(tmp_path))
    for command in (["diff"], ["sync"], ["doctor"], ["migrate"], ["show", "ada@example.com"]):
        done = at.process(*command, **named)
        assert done.returncode == FINE, (command, done.stdout, done.stderr)
    assert done.stdout.startswith("user mine-")
    assert len(letters(tmp_path)) == 3
    assert "the repository shop.clerk:make" in at.process("doctor", **named).stdout


def test_what_an_application_prints_as_it_begins_is_no_data(at: World) -> None:
    """A program that reads the JSON finds nothing else there."""
    at.process("sync", "--repository", "shop.clerk:make")
    done = at.process("show", "ada@example.com", "--json", "--repository", "shop.clerk:chatty")
    assert json.loads(done.stdout)[0]["user"]["id"].startswith("mine-")
    assert "c4n4ry" in done.stderr


def test_what_is_done_to_one_person_runs_hooks_too(at: World, tmp_path: Path) -> None:
    """An event that is replayed makes one, a link makes another, and who is erased is taken out again."""
    named = {"CLERKMAP_REPOSITORY": "shop.clerk:make"}
    (ada, *_) = at.clerk.wire.messages.values()
    assert at.process("replay", "-", "--dry-run", say=ada.body.decode(), **named).returncode == FINE
    done = at.process("replay", "-", "--json", say=ada.body.decode(), **named)
    assert json.loads(done.stdout)["applied"] == 1
    (id,) = letters(tmp_path)
    assert at.process("link", "user_other", "other-7", "--create", **named).returncode == FINE
    assert at.process("set-role", "user_other", "staff", **named).returncode == FINE
    assert json.loads(at.process("export", "other-7", **named).stdout)["user"]["role"] == "staff"
    assert letters(tmp_path) == sorted([id, "other-7"])
    dry = at.process("erase", "ada@example.com", "--dry-run", **named)
    assert dry.returncode == FINE
    assert id in letters(tmp_path)
    assert at.process("erase", "ada@example.com", "--yes", **named).returncode == FINE
    assert letters(tmp_path) == ["other-7"]


def test_a_new_hook_is_called_for_what_is_there(at: World, tmp_path: Path) -> None:
    """With the repository of the application or with a database, also for an async one; a wrong name is told."""
    assert at.process("sync", "--repository", "shop.clerk:make").returncode == FINE
    assert len(letters(tmp_path)) == 3
    done = at.process("replay-hooks", "--hook", "shop.clerk:greet", "--database", "own.db", "--json")
    assert done.returncode == FINE, done.stderr
    assert json.loads(done.stdout)["users"] == 3
    assert len(letters(tmp_path)) == 6
    done = at.process("replay-hooks", "--hook", "shop.clerk:greet", "--repository", "shop.clerk:make", "--anew")
    assert (done.returncode, "3 users" in done.stdout + done.stderr) == (FINE, True)
    again = at.process("replay-hooks", "--hook", "shop.clerk:nothing", "--database", "own.db")
    assert again.returncode != FINE
    assert "the hook shop.clerk:nothing" in again.stderr


def test_verify_runs_no_hook(at: World, tmp_path: Path) -> None:
    """Whom nobody has seen is told to be new, and is not made."""
    ada = next(iter(at.clerk.users.values()))
    token = at.clerk.token(ada)
    named = {"CLERKMAP_REPOSITORY": "shop.clerk:make"}
    done = at.process("verify", token, "--json", **named)
    assert done.returncode == FINE, done.stderr
    told = json.loads(done.stdout)
    assert (told["first_sight"], told["principal"], told["error"]) == (True, None, None)
    assert "The first request creates the user" in at.process("verify", token, **named).stderr
    assert letters(tmp_path) == []
    assert at.process("sync", **named).returncode == FINE
    told = json.loads(at.process("verify", token, "--json", **named).stdout)
    assert told["first_sight"] is False
    assert told["principal"]["user"]["id"].startswith("mine-")


@pytest.mark.slow
def test_what_is_typed_goes_before_what_is_in_a_variable(at: World, tmp_path: Path) -> None:
    """And two that are typed contradict each other."""
    assert at.process("migrate", "--create", "--database", "other.db").returncode == FINE
    named = {"CLERKMAP_REPOSITORY": "shop.clerk:make"}
    assert "other.db" in at.process("doctor", "--database", "other.db", **named).stdout
    assert "shop.clerk" in at.process("doctor", CLERKMAP_DATABASE_URL="other.db", **named).stdout
    done = at.process("diff", "--database", "other.db", "--repository", "shop.clerk:make")
    assert done.returncode == USAGE
    assert "contradict" in done.stderr
    done = at.process("sync", "--ids", "uuid7", **named)
    assert (done.returncode, done.stdout) == (CONFIGURATION, "")
    assert "--ids contradicts" in done.stderr
    assert at.process("sync", "--dry-run", **named).returncode == NOT_FINE
    assert letters(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["asynchronous:make", "asynchronous:plain"])
def test_an_asynchronous_one_is_driven(at: World, postgres_schema: str, name: str) -> None:
    """Its hooks are awaited, and everything else waits for it."""
    import psycopg

    url = url_of_a_new_schema(postgres_schema)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE letters (user_id text)")
    named = {"CLERKMAP_REPOSITORY": f"shop.{name}", "OWN": url}
    done = at.process("sync", **named)
    assert done.returncode == FINE, done.stderr
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM letters").fetchone() == (3,)
    done = at.process("replay-hooks", "--hook", "shop.asynchronous:greet", "--json", **named)
    assert json.loads(done.stdout)["users"] == 3, done.stderr
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM letters").fetchone() == (6,)
    token = at.clerk.token(next(iter(at.clerk.users.values())))
    for command in (["diff"], ["doctor"], ["show", "ada@example.com"], ["verify", token]):
        done = at.process(*command, **named)
        assert done.returncode == FINE, (command, done.stdout, done.stderr)


WRONG = [
    ("shop", "must be module:name"),
    (":make", "must be module:name"),
    ("shop.absent:make", "no module shop.absent"),
    ("absent:make", "no module absent in this folder"),
    ("shop.clerk:absent", "does not have this name"),
    ("shop.clerk:Holder.absent", "does not have this name"),
    ("shop.clerk:nothing", "neither a repository"),
    ("shop.clerk:Kind", "cannot be loaded: TypeError"),
    ("shop.clerk:ids", "cannot be loaded: TypeError"),
    ("shop.clerk:broken", "cannot be loaded: RuntimeError. See the cause with: python -c 'import shop.clerk'"),
    ("shop.clerk:late", "cannot be loaded: RuntimeError"),
    ("shop.clerk:ends", "cannot be loaded: SystemExit"),
]


@pytest.mark.parametrize(("name", "said"), WRONG, ids=[name for name, _ in WRONG])
def test_what_is_named_wrongly_is_one_line(at: World, name: str, said: str) -> None:
    """It says what to do, and repeats nothing that the application has said."""
    done = at.process("diff", "--repository", name)
    assert (done.returncode, done.stdout) == (CONFIGURATION, "")
    assert done.stderr.startswith("clerkmap: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert "c4n4ry" not in done.stderr


def test_a_repository_of_django_is_begun_with_django(at: World, tmp_path: Path) -> None:
    """Where DJANGO_SETTINGS_MODULE says which."""
    (tmp_path / "shop" / "settings.py").write_text(
        "SECRET_KEY = 'x'\nINSTALLED_APPS = ['clerkmap.adapters.django']\n"
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'django.db'}}\n"
    )
    (tmp_path / "shop" / "site.py").write_text(
        "from django.core.management import call_command\n"
        "from clerkmap.repositories.django import DjangoRepository\n"
        "call_command('migrate', verbosity=0)\nrepository = DjangoRepository()\n"
    )
    changes = {"CLERKMAP_REPOSITORY": "shop.site:repository", "DJANGO_SETTINGS_MODULE": "shop.settings"}
    done = at.process("sync", **changes)
    assert done.returncode == FINE, done.stderr
    assert at.process("diff", **changes).returncode == FINE
