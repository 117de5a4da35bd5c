"""The commands about the outbox, and about tombstones, as a script runs them and as a person does."""

import json
import time
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from clerkmap import ClerkUser
from clerkmap.cli.failures import CONFIGURATION, FINE, NOT_FINE
from clerkmap.repositories import SqliteRepository
from cli_world import World, fresh, synced

__all__ = ["fresh", "synced"]

DAY = 86_400_000


@pytest.fixture
def writing(synced: World, tmp_path: Path) -> World:
    """A database in step with Clerk, and an application that has its ids written back."""
    path = synced.environment["CLERKMAP_DATABASE_URL"].removeprefix("sqlite:///")
    (tmp_path / "shop_that_writes.py").write_text(
        dedent(
            f"""
            from clerkmap import WriteBack
            from clerkmap.repositories import SqliteRepository

            BACK = WriteBack(user_id="userId", role="role", external_id=True)

            def repository():
                return SqliteRepository.open({path!r}, write_back=BACK)
            """
        )
    )
    synced.folder = tmp_path
    synced.environment["CLERKMAP_REPOSITORY"] = "shop_that_writes:repository"
    return synced


def told(at: World, *arguments: str) -> Any:
    """What a command says as JSON."""
    return json.loads(at.process(*arguments, "--json").stdout)


def test_those_who_were_there_are_told_your_ids(writing: World) -> None:
    """Noted, seen, sent; and then nothing is left."""
    assert told(writing, "outbox", "list") == []
    noted = writing.process("outbox", "fill")
    assert (noted.returncode, noted.stdout) == (FINE, "")
    waiting = told(writing, "outbox", "list")
    assert {each["clerk_id"] for each in waiting} == set(writing.clerk.users)
    assert {(each["kind"], each["tries"], each["error"]) for each in waiting} == {("user", 0, None)}
    assert told(writing, "outbox", "drain") == {"written": 3, "known": 0, "gone": 0, "failed": 0}
    assert all((each.public_metadata or {})["userId"] for each in writing.clerk.users.values())
    assert writing.process("outbox", "list").stdout == ""
    assert told(writing, "outbox", "drain") == {"written": 0, "known": 0, "gone": 0, "failed": 0}


@pytest.mark.slow
def test_a_diff_knows_where_your_ids_are(writing: World) -> None:
    """It compares links without being told where; with a name of your choice, there."""
    writing.process("outbox", "fill")
    writing.process("outbox", "drain")
    assert told(writing, "sync")["complete"]
    assert told(writing, "diff")["counts"] == {}
    with writing.clerk.silence():
        writing.clerk.update_user(next(iter(writing.clerk.users.values())), external_id="another")
    assert told(writing, "sync")["complete"]
    assert told(writing, "diff")["counts"] == {"link": 1}
    assert told(writing, "diff", "--own-id", "userId")["counts"] == {}


def test_what_is_set_by_a_command_is_sent_by_another(writing: World) -> None:
    """The drain waits for what is due in a moment."""
    assert writing.process("set-role", "ada@example.com", "support").returncode == FINE
    assert writing.process("outbox", "drain").returncode == FINE
    ada = next(iter(writing.clerk.users.values()))
    assert (ada.public_metadata or {})["role"] == "support"


@pytest.mark.slow
def test_what_clerk_refuses_is_shown_and_tried_again(writing: World) -> None:
    """With Clerk's code, and an exit code for cron."""
    (ada,) = told(writing, "show", "ada@example.com")
    with writing.clerk.silence():  # no two people may have one external id
        other = writing.clerk.create_user("other@example.com", external_id=ada["user"]["id"])
    writing.process("set-role", "ada@example.com", "support")
    drained = writing.process("outbox", "drain")
    assert drained.returncode == NOT_FINE
    assert "outbox list" in drained.stderr
    listed = writing.process("outbox", "list")
    assert listed.returncode == NOT_FINE
    assert "failed 1 times: " in listed.stdout
    writing.clerk.delete_user(other)
    assert writing.process("outbox", "drain").returncode == NOT_FINE, "it is tried again later, and not at once"
    assert "1 entries are due now" in writing.process("outbox", "retry").stderr
    assert writing.process("outbox", "drain").returncode == FINE


def test_a_database_alone_does_not_know_what_is_written_back(synced: World) -> None:
    """It says what does."""
    for command in ("drain", "fill"):
        done = synced.run("outbox", command)
        assert done.exit_code == CONFIGURATION
        assert "--repository" in done.stderr
    assert synced.run("outbox", "list").exit_code == FINE


def tombstone(at: World, days: int) -> None:
    """Somebody who was deleted so many days ago."""
    repository = SqliteRepository.open(at.environment["CLERKMAP_DATABASE_URL"].removeprefix("sqlite:///"))
    observed_at = int(time.time() * 1000) - days * DAY
    repository.put([ClerkUser.deleted(at.clerk.instance.name, f"user_gone_{days}", observed_at=observed_at)])
    repository.close()


def test_tombstones_are_forgotten(synced: World) -> None:
    """The old ones, after a question, or a yes beforehand; a dry run forgets none."""
    for days in (10, 40, 100):
        tombstone(synced, days)
    assert "1 tombstone would be deleted" in synced.run("purge", "--dry-run").stderr
    assert synced.run("purge", say="n\n").exit_code == NOT_FINE
    assert "2 tombstones would be" in synced.run("purge", "--dry-run", "--older-than", "30").stderr
    assert synced.run("purge", "--older-than", "30", "--yes").exit_code == FINE
    assert "0 tombstones would be" in synced.run("purge", "--dry-run", "--older-than", "30").stderr
    assert synced.run("purge", "--older-than", "29").exit_code == 2


@pytest.mark.slow
def test_a_dry_run_never_writes_into_a_repository_of_yours(writing: World) -> None:
    """It cannot be undone there, so it is refused."""
    tombstone(writing, 100)
    done = writing.process("purge", "--dry-run")
    assert (done.returncode, "--database" in done.stderr) == (CONFIGURATION, True)
    assert "1 tombstone is deleted" in writing.process("purge", "--yes").stderr


def test_a_person_is_asked(synced: World) -> None:
    """In a terminal."""
    tombstone(synced, 100)
    terminal = synced.terminal("purge")
    terminal.wait_for("cannot be undone")
    terminal.type("y\n")
    assert terminal.end() == FINE
    assert "1 tombstone is deleted" in terminal.seen
