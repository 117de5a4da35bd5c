"""The operator's commands in a real terminal, where a person sits, and in real pipes; and how quickly they start."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clerkmap.cli.failures import FINE, INTERRUPTED, NOT_FINE
from cli_world import PATIENCE, SOURCE, World, fresh, synced
from command_line_page import names

__all__ = ["fresh", "synced"]


def test_a_person_sees_progress_and_colours(fresh: World) -> None:
    """In a terminal there is a bar, which is gone at the end, and what matters has a colour."""
    fresh.run("migrate", "--create")
    at = fresh.terminal("sync")
    assert at.end() == FINE
    assert "users" in at.seen
    assert "\x1b[" in at.seen
    found = fresh.terminal("doctor")
    assert found.end() == FINE
    assert "\x1b[32m" in found.seen
    assert "Nothing is wrong." in found.seen


def test_a_person_who_wants_no_colours_gets_none(synced: World) -> None:
    """NO_COLOR holds for every command."""
    for command in (["doctor"], ["show", "ada@example.com"]):
        at = synced.terminal(*command, NO_COLOR="1")
        assert at.end() == FINE
        assert "\x1b[" not in at.seen


def test_a_person_types_a_token(synced: World) -> None:
    """It is asked for, and is not among the arguments, where a shell would remember it."""
    token = synced.clerk.token(next(iter(synced.clerk.users.values())))
    at = synced.terminal("verify", "-")
    at.wait_for("Paste the token, and press Enter:")
    at.type(token + "\n")
    assert at.end() == FINE
    assert "Accepted" in at.seen


@pytest.mark.slow
def test_a_script_gets_data_on_one_stream_and_talk_on_the_other(synced: World) -> None:
    """Nothing but data on the standard output, no escape sequence on either, whatever the terminal is."""
    synced.clerk.create_user(email="new@example.com")
    done = synced.process("diff", TERM="xterm")
    assert done.returncode == NOT_FINE
    assert done.stdout.splitlines()[0].startswith("missing  user         user_")
    assert "Repair with `clerkmap sync`" in done.stderr
    told = synced.process("diff", "--json")
    assert json.loads(told.stdout)["counts"] == {"missing": 1}
    assert synced.process("sync", "--json").returncode == FINE
    assert "\x1b" not in done.stdout + done.stderr + told.stdout + told.stderr
    assert synced.process("verify", "-", say="no token").returncode == NOT_FINE


def test_who_interrupts_gets_no_traceback_and_loses_nothing(fresh: World) -> None:
    """Ctrl-C ends it with 130, and the next run goes on."""
    fresh.run("migrate", "--create")
    fresh.clerk.faults.latency = 3
    at = fresh.terminal("sync")
    while not fresh.clerk.api.requests:
        time.sleep(0.01)
    at.interrupt()
    assert at.end() == INTERRUPTED
    assert "Traceback" not in at.seen
    assert "interrupted" in at.seen


@pytest.mark.slow
def test_a_terminal_without_the_letters_is_no_reason_to_fail(synced: World) -> None:
    """Where ticks and names cannot be written, something plainer is."""
    synced.clerk.create_user(email="zoe@example.com", first_name="Zoë-⚓")
    synced.run("sync")
    done = synced.process("show", "zoe@example.com", encoding="latin-1", PYTHONIOENCODING="latin-1")
    assert done.returncode == FINE
    assert "Zoë-\\u2693" in done.stdout
    doctor = synced.process("doctor", encoding="latin-1", PYTHONIOENCODING="latin-1")
    assert doctor.returncode == FINE
    assert "ok secret key" in doctor.stdout


@pytest.mark.parametrize("command", [name for name in names() if name != "dev"])
def test_help_loads_none_of_what_a_command_needs(command: str) -> None:
    """To ask what a command does is quick."""
    code = "import sys; from clerkmap.cli import main\ntry: main()\nexcept SystemExit: print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [sys.executable, "-c", code, *command.split(), "--help"],
        env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "Usage: clerkmap" in done.stdout
    unwanted = {"rich", "httpx", "cryptography", "sqlite3", "psycopg", "asyncio", "clerkmap.errors", "clerkmap.core"}
    assert not loaded & unwanted


def test_a_pipe_that_is_closed_is_no_fault(synced: World, tmp_path: Path) -> None:
    """As when somebody looks at the first lines with head."""
    command = f"'{sys.executable}' -m clerkmap schema sqlite | head -1"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        ["/bin/sh", "-c", command], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert done.stdout == "CREATE TABLE clerkmap_users (\n"
    assert done.stderr == ""
