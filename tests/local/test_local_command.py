"""The command itself: how it starts, how it ends, and what it says where it cannot start."""

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from clerkmap.cli.commands import COMMANDS, root
from local_process import PATIENCE, SOURCE, Local, command, environment, rows, run


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_while_the_page_listens(tmp_path: Path, how: signal.Signals) -> None:
    """Streams that are open are ended, not waited for, and everything is written down."""
    with Local(tmp_path) as local:
        local.sign_up()
        local.settle()
        over = threading.Event()
        listening = threading.Event()

        def listen() -> None:
            with local.client.stream("GET", "/live") as answer:
                listening.set()
                for _ in answer.iter_raw():
                    pass
            over.set()

        thread = threading.Thread(target=listen)
        thread.start()
        assert listening.wait(PATIENCE)
        local.tell(how)
        assert over.wait(PATIENCE)
        thread.join()
        assert local.end(how) == 0
    assert not list(tmp_path.glob("*-wal"))
    assert len(json.loads((tmp_path / "clerkmap-dev.db.clerk.json").read_text())["users"]) == 1


def test_it_says_what_it_is_and_where(tmp_path: Path) -> None:
    """In a few lines, of which the first has the address."""
    with subprocess.Popen(
        command(), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        assert first.startswith("Clerk on localhost: http://127.0.0.1:")
        while "Ctrl-C" not in (line := process.stdout.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) == 0
    assert "clerkmap-dev.db.clerk.json" in rest
    assert "export" not in rest


def test_a_port_that_is_taken_is_told_with_what_to_do(tmp_path: Path) -> None:
    """In one line, and nothing is made."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        done = run(tmp_path, "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "choose another port with --port" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_nobody_else_can_reach_it(tmp_path: Path) -> None:
    """It listens on this machine's own address, and on no other."""
    with Local(tmp_path, "--db", ":memory:") as local:
        port = int(local.address.rpartition(":")[2])
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", port), PATIENCE)


def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path) -> None:
    """And so is a folder that is not there."""
    (tmp_path / "notes.txt").write_text("not a database, but something somebody has written\n" * 100)
    for db in ("notes.txt", "nowhere/app.db"):
        done = run(tmp_path, "--db", db)
        assert done.returncode == 1, db
        assert f"cannot use {db}" in done.stderr
        assert "Traceback" not in done.stderr
    assert (tmp_path / "notes.txt").read_text().startswith("not a database")
    left = {"notes.txt", "notes.txt.clerk.json.lock"}  # the lock is a file of its own, and empty
    assert {path.name for path in tmp_path.iterdir()} == left


@pytest.mark.slow
def test_rows_of_your_own_keep_theirs_from_being_forgotten(tmp_path: Path) -> None:
    """The database may be your application's: what refers to a user is not left without one."""
    with Local(tmp_path, "--db", "app.db") as local, closing(sqlite3.connect(tmp_path / "app.db")) as own:
        local.sign_up()
        (user,) = rows(local.settle(), "users")
        own.execute("CREATE TABLE orders (user_id TEXT NOT NULL REFERENCES clerkmap_users (id))")
        own.execute("INSERT INTO orders VALUES (?)", (user["id"],))
        own.commit()
        assert local.refused("reset") == (409, "rows_in_use")
        assert rows(local.state(), "users") == [user]
        own.execute("DELETE FROM orders")
        own.commit()
        local.do("reset")
        assert rows(local.state(), "users") == []


@pytest.mark.slow
def test_what_somebody_else_writes_into_the_database_is_shown(tmp_path: Path) -> None:
    """Whoever listens hears of it, too."""
    with Local(tmp_path, "--db", "app.db") as local, closing(sqlite3.connect(tmp_path / "app.db")) as own:
        local.sign_up()
        local.settle()
        with local.client.stream("GET", "/live") as answer:
            lines = answer.iter_lines()
            own.execute("UPDATE clerkmap_users SET role = 'queen'")
            own.commit()
            while '"queen"' not in next(lines):
                pass


def test_help_loads_nothing_it_does_not_need() -> None:
    """Neither a command nor what a command needs; and each command that is listed is there."""
    code = "import sys; from clerkmap.cli import main\ntry: main()\nexcept SystemExit: print(*sys.modules)"
    asked = [sys.executable, "-c", code, "--help"]
    done = subprocess.run(asked, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "Clerk on localhost" in done.stdout
    unwanted = {"uvicorn", "httpx", "cryptography", "sqlite3", "clerkmap.local", "clerkmap.cli.dev"}
    assert not loaded & (unwanted | {"asyncio", "clerkmap.errors"})
    for name in COMMANDS:
        result = CliRunner().invoke(root, [name, "--help"])
        assert result.exit_code == 0
        assert "Usage: " in result.output
    assert CliRunner().invoke(root, ["dance"]).exit_code == 2
    assert CliRunner().invoke(root, ["--version"]).output.endswith(" 0.1.0\n")


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    """Where click or the server are not there, the command says how to get them, and nothing else."""
    for missing in ("click", "uvicorn"):
        code = f"import sys; sys.modules[{missing!r}] = None; from clerkmap.cli import main; main()"
        asked = [sys.executable, "-c", code, "dev", "--port", "0"]
        done = subprocess.run(
            asked, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 1
        assert "pip install 'clerkmap[cli]'" in done.stderr
        assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
    assert (SOURCE / "clerkmap" / "__main__.py").exists()
