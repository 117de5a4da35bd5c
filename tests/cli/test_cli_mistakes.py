"""Mistakes at the command line: nothing is written, and one text says what is wrong and what to do."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from clerkmap.cli.failures import CONFIGURATION, FINE, NOT_FINE, USAGE
from clerkmap.repositories.options import uuid7
from cli_world import World, fresh, synced

__all__ = ["fresh", "synced"]

MISTAKES = [
    # What is typed, how it ends, and what is said.
    ("link user_zzz notauuid", NOT_FINE, "add --create"),
    ("link user_zzz {uuid}", NOT_FINE, "add --create"),
    ("link user_zzz notauuid --create", USAGE, "your ids are UUIDs"),
    ("link banana {own}", USAGE, "it must be a Clerk user id"),
    ("link org_2abc {own}", USAGE, "it must be a Clerk user id"),
    ("link user_ {own}", USAGE, "it must be a Clerk user id"),
    ("link banana {own} --instance {name}", USAGE, "it must be a Clerk user id"),
    ("unlink banana {own}", USAGE, "it must be a Clerk user id"),
    ("unlink {ada} nobody", NOT_FINE, "no identity is linked to a user with the id nobody"),
    ("unlink user_zzz {own}", NOT_FINE, "not linked to this user"),
    ("set-role {ada} \t", USAGE, "a role is printable text"),
    ("set-role {ada} {long}", USAGE, "a role is printable text"),
    (
        "relink --from nowhere --to {name} --by own_id --yes",
        CONFIGURATION,
        "one of the two instances has no stored users",
    ),
    ("erase nobody --yes", NOT_FINE, "no stored user matches"),
    ("export nobody", NOT_FINE, "no stored user matches"),
    ("sync --from {folder}/nowhere.csv", USAGE, "No such file"),
    ("replay {folder}/nowhere.json", USAGE, "No such file"),
    ("relink --from a --to b --yes --mapping {folder}/nowhere.csv", USAGE, "does not exist"),
    ("webhooks send user.created --to nonsense", USAGE, "it must be a URL"),
    ("dev --port 0 --db {folder}", USAGE, "a separate file"),
    ("dev --port 0 --db {folder}/app.db", USAGE, "it may be the database of your application"),
    ("move --from {folder}/app.db --to {folder}/app.db", CONFIGURATION, "the same tables"),
    ("synk", USAGE, "Did you mean 'sync'?"),
    ("outbox lst", USAGE, "Did you mean 'list'?"),
    ("nothing-like-it", USAGE, "No such command 'nothing-like-it'."),
]


def content(folder: Path) -> list[str]:
    """Everything in the database."""
    with closing(sqlite3.connect(folder / "app.db")) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize(("typed", "code", "said"), MISTAKES, ids=[typed for typed, _, _ in MISTAKES])
def test_a_mistake_writes_nothing(synced: World, tmp_path: Path, typed: str, code: int, said: str) -> None:
    """It is refused before anything is written; and the doctor is not sent for who mistyped an argument."""
    ada = next(iter(synced.clerk.users.values()))
    ((shown),) = json.loads(synced.run("show", ada.id, "--json").stdout)
    names = {"ada": ada.id, "own": shown["user"]["id"], "name": synced.clerk.instance.name, "folder": tmp_path}
    before = content(tmp_path)
    words = [each.format(**names, uuid=uuid7(), long="x" * 256) for each in typed.split(" ")]
    done = synced.run(*words)
    assert (done.exit_code, done.stdout) == (code, ""), done.output
    assert said in done.stderr
    assert "doctor" not in done.stderr
    assert "invalid configuration" not in done.stderr
    assert content(tmp_path) == before


COMMANDS = [
    *("sync", "diff", "show x", "set-role x y", "link user_a b --create", "unlink user_a b", "export x"),
    *("erase x --yes", "purge", "purge --yes", "purge --dry-run", "outbox list", "outbox retry", "replay {folder}/e"),
    *("relink --from a --to b --by own_id --yes", "migrate", "migrate --ids integer", "move --from {url} --to x.db"),
]


@pytest.mark.parametrize("typed", COMMANDS)
def test_a_misspelt_path_makes_no_file(fresh: World, tmp_path: Path, typed: str) -> None:
    """Whatever the command: it names the path, before it asks a question, and how to make a file there."""
    (tmp_path / "e").write_text("")
    url = f"sqlite:///{tmp_path / 'misspelt.db'}"
    done = fresh.run(*typed.format(folder=tmp_path, url=url).split(), CLERKMAP_DATABASE_URL=url)
    assert (done.exit_code, done.stdout) == (CONFIGURATION, ""), done.output
    assert f"there is no file {tmp_path / 'misspelt.db'}" in done.stderr
    assert "`clerkmap migrate --create`" in done.stderr
    assert "[y/N]" not in done.stderr
    assert not list(tmp_path.glob("misspelt*"))


def test_a_file_is_made_where_that_is_asked_for(fresh: World, tmp_path: Path) -> None:
    """With --create, which does no harm where it is there already."""
    for said in ("were created", "already"):
        done = fresh.run("migrate", "--create")
        assert done.exit_code == FINE
        assert said in done.stderr
    assert (tmp_path / "app.db").exists()


def test_a_link_says_that_it_is_one(synced: World) -> None:
    """Clerk has told nothing of it yet, so there is no time at which it did."""
    assert synced.run("link", "user_new", uuid7(), "--create").exit_code == FINE
    shown = synced.run("show", "user_new").stdout
    assert "received        never" in shown
    assert "linked: linked by you" in shown
    assert "1970" not in shown


def test_the_ids_of_another_provider_have_any_form(synced: World) -> None:
    """Only Clerk's begin with user_: of a named instance that is not the configured one, nothing is known."""
    ada = next(iter(synced.clerk.users.values()))
    ((shown),) = json.loads(synced.run("show", ada.id, "--json").stdout)
    done = synced.run("link", "auth0|5f7c8", shown["user"]["id"], "--shared", "--instance", "login.example.com")
    assert done.exit_code == FINE, done.output


def test_an_empty_file_is_named(synced: World, tmp_path: Path) -> None:
    """Nothing is in it to be read, and silence would look like success."""
    (tmp_path / "empty").touch()
    assert "The file holds no rows" in synced.run("sync", "--from", str(tmp_path / "empty")).stderr


@pytest.mark.parametrize("command", [["doctor"], ["sync"], ["show", "ada@example.com"]])
def test_a_dumb_terminal_gets_no_escape_sequences(synced: World, command: list[str]) -> None:
    """Neither colours nor a bar."""
    at = synced.terminal(*command, TERM="dumb")
    assert at.end() == FINE
    assert "\x1b" not in at.seen


@pytest.mark.parametrize(
    ("command", "changes"),
    [
        (["doctor"], {"CLERKMAP_DATABASE_URL": "sqlite:////nowhere-at-all/folder/app.db"}),
        (["diff"], {"CLERK_PUBLISHABLE_KEY": ""}),
        (["link", "user_zzz", "notauuid"], {}),
        (["purge", "--dry-run"], {}),
    ],
)
def test_a_narrow_terminal_breaks_no_word(synced: World, command: list[str], changes: dict[str, str]) -> None:
    """In 40 columns the lines are broken between words, and say the same as in a pipe."""
    at = synced.terminal(*command, COLUMNS="40", NO_COLOR="1", **changes)
    at.end()
    lines = at.seen.splitlines()
    assert len(lines) > 1 or len(at.seen) <= 40
    assert not [line for line in lines if len(line) > 40 and " " in line.strip()[:-1] and len(line.split()) > 2]
    piped = synced.process(*command, **changes)
    assert re.sub(r"\s+", " ", at.seen).strip() == re.sub(r"\s+", " ", piped.stdout + piped.stderr).strip()
