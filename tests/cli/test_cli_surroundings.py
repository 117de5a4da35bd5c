"""Where a command is run: with streams that are closed, on a database that was left in another state."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from clerkmap.cli.failures import FINE, INTERRUPTED, NOT_FINE, USAGE
from cli_world import PATIENCE, World, fresh, synced

__all__ = ["fresh", "synced"]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("erase ada@example.com", NOT_FINE),
        ("purge", NOT_FINE),
        ("relink --from a --to b --by own_id", USAGE),
        ("show nobody@example.com", NOT_FINE),
    ],
)
def test_closed_streams_are_nobody_to_ask_and_nobody_to_tell(synced: World, command: str, code: int) -> None:
    """As a service may be started. What destroys does nothing, and no command ends with a traceback."""
    before = synced.run("show", "ada@example.com", "--json").stdout
    for closed in ("<&-", "<&- >&-", "<&- >&- 2>&-"):
        done = subprocess.run(
            ["/bin/sh", "-c", f"'{sys.executable}' -m clerkmap {command} {closed}"],
            env=synced.whole(), capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert synced.run("show", "ada@example.com", "--json").stdout == before


@pytest.mark.parametrize(
    ("command", "question"),
    [
        (["erase", "ada@example.com"], "Erase this user permanently?"),
        (["purge"], "Delete tombstones older"),
        (["relink", "--from", "here", "--to", "there", "--mapping", "{file}"], "Move these users?"),
        (["verify", "-"], "oken"),
    ],
)
def test_who_interrupts_at_a_question_has_interrupted(
    synced: World, tmp_path: Path, command: list[str], question: str
) -> None:
    """It is no answer: nothing is done, and the exit code is that of an interruption."""
    for instance in ("here", "there"):
        synced.run("link", f"user_{instance}", f"theirs-{instance}", "--create", "--instance", instance)
    before = synced.run("show", "ada@example.com", "--json").stdout
    (tmp_path / "who").write_text("user_here,user_there")
    at = synced.terminal(*(each.format(file=tmp_path / "who") for each in command))
    at.wait_for(question)
    time.sleep(0.5)  # it is shown a moment before it is asked
    at.interrupt()
    assert (at.end(), "Traceback" in at.seen) == (INTERRUPTED, False), at.seen
    assert synced.run("show", "ada@example.com", "--json").stdout == before


READS = (
    *("show {ada}", "export {ada}", "diff", "diff --cheap", "doctor", "verify {token}", "outbox list"),
    *("erase {ada} --dry-run", "purge --dry-run", "sync --dry-run", "relink --from {name} --to {other} --dry-run"),
)


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_what_reads_leaves_every_byte_as_it_is(synced: World, tmp_path: Path, journal: str) -> None:
    """Also those by which SQLite remembers how a file is written: an application may have chosen that."""
    ada = next(iter(synced.clerk.users.values()))
    names = {"ada": ada.id, "token": synced.clerk.token(ada), "name": synced.clerk.instance.name, "other": "other"}
    synced.run("link", ada.id, "their-own", "--create", "--instance", "other")
    file = tmp_path / "app.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
    before = file.read_bytes()
    for command in READS:
        by = ["--by", "own_id"] if "relink" in command else []
        done = synced.run(*(each.format(**names) for each in command.split()), *by)
        assert done.exit_code in (FINE, NOT_FINE), (command, done.output)
        assert file.read_bytes() == before, command


@pytest.mark.parametrize("text", ["", "\udcff", "line\nbreak", "x" * 256])
@pytest.mark.parametrize(
    "command", ["link {} 5", "unlink {} 5", "link user_1 5 --instance {}", "relink --to b --from {}"]
)
def test_what_no_clerk_id_and_no_instance_can_be_is_refused(synced: World, command: str, text: str) -> None:
    """Such as the empty text of a variable that was not set. An identity made of it would stay for ever."""
    done = synced.run(*(each.format(text) for each in command.split()))
    assert (done.exit_code, done.stdout) == (USAGE, "")
    assert "printable text" in done.stderr
