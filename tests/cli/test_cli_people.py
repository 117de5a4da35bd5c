"""The commands about one person: a role, a link, an export, an erasure; as a script runs them, and as a person does."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from clerkmap.cli.failures import CONFIGURATION, FINE, NOT_FINE, USAGE
from clerkmap.repositories import SqliteRepository
from clerkmap.repositories.options import uuid7
from cli_world import World, fresh, synced
from postgres_server import url_of_a_new_schema

__all__ = ["fresh", "synced"]


def told(at: World, who: str) -> dict[str, object]:
    """What is shown of somebody's user."""
    ((each),) = json.loads(at.run("show", who, "--json").stdout)
    return dict(each["user"])


def test_a_role_is_given_and_stays(synced: World) -> None:
    """Whatever Clerk says afterwards; and can be taken back."""
    ada = next(iter(synced.clerk.users.values()))
    done = synced.run("set-role", "ada@example.com", "support")
    assert (done.exit_code, done.stdout) == (FINE, "")
    assert "support now, admin before" in done.stderr
    synced.clerk.merge_metadata(ada, public_metadata={"role": "owner"})
    assert synced.run("sync").exit_code == FINE
    assert told(synced, ada.id)["role"] == "support"
    assert synced.run("set-role", ada.id, "--none").exit_code == FINE
    assert told(synced, ada.id)["role"] is None


@pytest.mark.parametrize("arguments", [["ada@example.com"], ["ada@example.com", "support", "--none"]])
def test_a_role_or_none_must_be_said(synced: World, arguments: list[str]) -> None:
    """Nothing is guessed."""
    assert synced.run("set-role", *arguments).exit_code == USAGE
    assert told(synced, "ada@example.com")["role"] == "admin"


def test_whom_a_command_is_about_must_be_one(synced: World) -> None:
    """Nobody and several are refused; the several are listed, and nothing has happened to either."""
    second, third = list(synced.clerk.users.values())[1:]
    synced.clerk.update_user(second, username="both")
    synced.clerk.update_user(third, external_id="both")
    synced.run("sync")
    for command in (["set-role", "{}", "staff"], ["export", "{}"], ["erase", "{}", "--yes"]):
        nobody = synced.run(*(each.format("nobody@example.com") for each in command))
        assert (nobody.exit_code, nobody.stdout) == (NOT_FINE, "")
        assert "no stored user matches" in nobody.stderr
        several = synced.run(*(each.format("both") for each in command))
        assert (several.exit_code, several.stdout) == (NOT_FINE, "")
        assert "several users match" in several.stderr
        assert {second.id, third.id} <= set(several.stderr.split())
    for each in (second, third):
        assert (told(synced, each.id)["role"], told(synced, each.id)["locked_out"]) == (None, None)


def test_somebody_is_linked_and_taken_back(synced: World) -> None:
    """To a user of the same database; by the configured instance's name, and by another's."""
    ada = next(iter(synced.clerk.users.values()))
    id = str(told(synced, ada.id)["id"])
    refused = synced.run("link", "user_there", id, "--instance", "there")
    assert refused.exit_code == NOT_FINE
    assert synced.run("show", "user_there").exit_code == NOT_FINE
    there = synced.run("link", "user_there", id, "--shared", "--instance", "there")
    assert (there.exit_code, there.stdout) == (FINE, "")
    assert "Other identities of this user: 1." in there.stderr
    own = uuid7()
    here = synced.run("link", "user_new", own, "--create")
    assert f"user_new at {synced.clerk.instance.name} is linked to your user {own}." in here.stderr
    assert "Other identities of this user: none." in here.stderr
    again = synced.run("link", "user_new", id, "--shared")
    assert again.exit_code == NOT_FINE
    assert "linked to another user" in again.stderr
    assert synced.run("unlink", "user_there", own, "--instance", "there").exit_code == NOT_FINE
    apart = synced.run("unlink", "user_there", id, "--instance", "there")
    assert apart.exit_code == FINE
    new = apart.stdout.strip()
    assert new != id
    assert told(synced, "user_there")["id"] == new
    assert told(synced, ada.id)["id"] == id
    assert synced.run("link", "user_x", "", CLERK_PUBLISHABLE_KEY="").exit_code == CONFIGURATION


def test_ids_that_are_numbers_stay_numbers(fresh: World, tmp_path: Path, postgres_schema: str) -> None:
    """The very first of all, too, and those that a function of yours makes; and what is no number is refused."""
    for url in (f"sqlite:///{tmp_path / 'app.db'}", url_of_a_new_schema(postgres_schema)):
        at = {"CLERKMAP_DATABASE_URL": url}
        assert fresh.run("migrate", "--create", "--ids", "integer", **at).exit_code == FINE
        assert fresh.run("link", "user_a", "7", "--create", **at).exit_code == FINE
        assert fresh.run("link", "user_b", "7", "--shared", "--instance", "there", **at).exit_code == FINE
        assert fresh.run("link", "user_c", "8", "--create", **at).exit_code == FINE
        assert fresh.run("link", "user_d", "eight", "--create", **at).exit_code == USAGE
        unlink = ("unlink", "user_b", "7", "--instance", "there")
        assert fresh.run(*unlink, **at).exit_code == CONFIGURATION
        assert fresh.run(*unlink, "--first-id", "1000", **at).stdout.strip() == "1000"
        assert json.loads(fresh.run("export", "user_c", **at).stdout)["user"]["id"] == 8
    own = tmp_path / "own.db"
    with closing(SqliteRepository.open(own, ids=lambda record: len(record.key))) as repository:
        repository.put([fresh.clerk.record(next(iter(fresh.clerk.users.values())))])
    assert fresh.run("link", "user_a", "7", "--create", CLERKMAP_DATABASE_URL=str(own)).exit_code == FINE
    with closing(sqlite3.connect(own)) as connection:
        assert connection.execute("SELECT typeof(id) FROM clerkmap_users").fetchall() == [("integer",)] * 2


def test_an_export_is_all_that_is_stored(synced: World) -> None:
    """And nothing else stands on the stream for data."""
    done = synced.process("export", "ada@example.com")
    assert (done.returncode, done.stderr) == (FINE, "")
    told = json.loads(done.stdout)
    assert told["identities"][0]["first_name"] == "Ada"
    assert told["memberships"][0]["role"] == "org:admin"
    assert done.stdout.isascii()


def test_an_erasure_is_final(synced: World) -> None:
    """A dry run changes nothing; then they are gone, and no sync brings them back. Their row and id stay."""
    ada = next(iter(synced.clerk.users.values()))
    id = told(synced, ada.id)["id"]
    dry = synced.run("erase", "ada@example.com", "--dry-run")
    assert (dry.exit_code, dry.stdout) == (FINE, "")
    assert "ada@example.com" in dry.stderr
    assert "Identities: 1. Memberships: 1." in dry.stderr
    assert "Ada" in synced.run("export", ada.id).stdout
    done = synced.run("erase", "ada@example.com", "--yes")
    assert (done.exit_code, done.stdout) == (FINE, "")
    assert "Delete the user at Clerk as well." in done.stderr
    assert synced.run("sync").exit_code == FINE
    assert "Ada" not in synced.run("export", ada.id).stdout
    assert told(synced, ada.id)["id"] == id
    assert "user_deleted" in synced.run("verify", synced.clerk.token(ada)).stdout
    assert synced.run("erase", ada.id, "--yes").exit_code == FINE


@pytest.mark.slow
def test_a_script_that_does_not_say_yes_erases_nobody(synced: World) -> None:
    """An empty input is no answer, and any other is no."""
    for said in ("", "\n", "n\n"):
        done = synced.process("erase", "ada@example.com", say=said)
        assert (done.returncode, done.stdout) == (NOT_FINE, "")
        assert "This cannot be undone" in done.stderr
    assert synced.process("erase", "ada@example.com", say="y\n").returncode == FINE


def test_a_person_is_asked_before_somebody_is_forgotten(synced: World) -> None:
    """In a terminal: no, and then yes; an interruption leaves everything as it was."""
    for answer, code in (("n\n", NOT_FINE), ("y\n", FINE)):
        at = synced.terminal("erase", "ada@example.com")
        at.wait_for("[y/N]")
        assert "Ada" in at.seen
        at.type(answer)
        assert at.end() == code
    assert synced.run("show", "ada@example.com").exit_code == NOT_FINE
    at = synced.terminal("erase", "person-1@example.com")
    at.wait_for("[y/N]")
    at.interrupt()
    assert at.end() != FINE
    assert "Traceback" not in at.seen
    assert synced.run("show", "person-1@example.com").exit_code == FINE
