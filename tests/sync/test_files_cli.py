"""`clerkmap sync --from`, as scripts run it and as a person does."""

import json
import os
from pathlib import Path

import pytest

from clerkmap.cli.failures import CONFIGURATION, FINE, NOT_FINE, USAGE
from cli_world import World, fresh
from file_world import export, heard, lines

__all__ = ["fresh"]


@pytest.fixture
def ready(fresh: World) -> World:
    """A world with tables, and nothing in them."""
    assert fresh.run("migrate", "--create").exit_code == FINE
    return fresh


def written(folder: Path, content: bytes) -> str:
    """A file, and where it is."""
    path = folder / "file"
    path.write_bytes(content)
    return str(path)


def test_an_export_of_the_dashboard(ready: World, tmp_path: Path) -> None:
    """People are there at once, Clerk is not asked, and what is not in the file is said."""
    clerk = ready.clerk
    path = written(tmp_path, export(*clerk.users.values()))
    clerk.api.requests.clear()
    done = ready.run("sync", "--from", path, CLERK_SECRET_KEY="")
    assert (done.exit_code, done.stdout.split()) == (FINE, ["users", "3", "read", "3", "changed"])
    assert "Copy the rest with `clerkmap sync`" in done.stderr
    assert not clerk.api.requests
    assert "ada@example.com (verified)" in ready.run("show", "ada@example.com").stdout
    assert "c4n4ry" not in done.output + ready.run("show", "ada@example.com", "--json").stdout
    assert ready.run("diff").exit_code == NOT_FINE
    assert ready.run("sync").exit_code == FINE
    again = ready.run("sync", "--from", path, "--json")
    assert json.loads(again.stdout)["changed"] == {}
    assert ready.run("diff").exit_code == FINE


def test_events_through_a_pipe(ready: World) -> None:
    """As `clerk webhooks listen --json` writes them: a process beside it takes them in."""
    deliveries = lines(heard(each) for each in ready.clerk.deliveries(shuffle=True))
    done = ready.process("sync", "--from", "-", "--json", say=deliveries.decode())
    assert (done.returncode, done.stderr) == (FINE, "")
    assert json.loads(done.stdout)["changed"] == {"users": 3, "organizations": 1, "memberships": 1}
    assert ready.run("diff").exit_code == FINE


def test_what_is_left_to_look_at(ready: World, tmp_path: Path) -> None:
    """Rows that cannot be read, by their lines and not their content. Events that are not kept are no fault."""
    event = {"type": "email.created", "timestamp": 1_790_000_000_000, "data": {}}
    done = ready.run("sync", "--from", written(tmp_path, lines([event]) + b"{c4n4ry\n" * 11))
    assert (done.exit_code, done.stdout) == (NOT_FINE, "")
    assert "1 event is of a type that is not stored" in done.stderr
    assert "skipped 11 rows that cannot be read: line 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, …." in done.stderr
    assert "c4n4ry" not in done.output
    assert ready.run("sync", "--from", written(tmp_path, lines([event])), "--json").exit_code == FINE


def test_when_it_was_written(ready: World, tmp_path: Path) -> None:
    """As the disk says, or as you do, in UTC; not in the future."""
    path = written(tmp_path, export(*ready.clerk.users.values()))
    os.utime(path, (1_600_000_000,) * 2)
    ready.run("sync", "--from", path)
    assert "2020-09-13 12:26:40 UTC" in ready.run("show", "ada@example.com").stdout
    ready.run("sync", "--from", path, "--observed-at", "2021-02-03T04:05:06Z", TZ="Asia/Tokyo")
    assert "2021-02-03 04:05:06 UTC" in ready.run("show", "ada@example.com").stdout
    future = ready.run("sync", "--from", path, "--observed-at", "2121-01-01")
    assert future.exit_code == CONFIGURATION
    assert "not in the future" in future.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--from", "nowhere"],
        ["--from", "."],
        ["--from", "-", "--newest"],
        ["--from", "-", "--anew"],
        ["--from", "-", "--repair"],
        ["--from", "-", "--dry-run"],
        ["--repair", "--newest"],
        ["--repair", "--anew"],
        ["--observed-at", "2026-01-01"],
        ["--from", "-", "--observed-at", "soon"],
    ],
    ids=" ".join,
)
def test_what_does_not_go_together(ready: World, arguments: list[str]) -> None:
    """Is said before anything is read."""
    assert ready.run("sync", *arguments, say="").exit_code == USAGE


def test_what_is_no_export(ready: World, tmp_path: Path) -> None:
    """One line that says what was expected, and quotes nothing."""
    done = ready.run("sync", "--from", written(tmp_path, b"name,phone\nc4n4ry,1\n"))
    assert (done.exit_code, done.stdout) == (CONFIGURATION, "")
    assert "must be JSON, or a CSV table" in done.stderr
    assert "c4n4ry" not in done.output


def test_in_a_terminal(ready: World, tmp_path: Path) -> None:
    """A person sees what was done."""
    path = written(tmp_path, export(*ready.clerk.users.values()))
    terminal = ready.terminal("sync", "--from", path)
    assert terminal.end() == FINE, terminal.seen
    assert "3 read" in terminal.seen
