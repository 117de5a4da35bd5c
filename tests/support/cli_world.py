"""The command line as the tests run it: in this process, through pipes, and through a real terminal.

Clerk is made up, and served by a real server, to which CLERK_API_URL points.
"""

import codecs
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any
from weakref import finalize

import pytest
import uvicorn
from click.testing import CliRunner, Result

from clerkmap.cli.commands import root
from clerkmap.testing import FakeClerk
from uvicorn_server import serving

PATIENCE = 120.0  # seconds after which a test that hangs is ended
SOURCE = Path(__file__).parents[2] / "src"
VARIABLES = (
    *("CLERK_PUBLISHABLE_KEY", "CLERK_SECRET_KEY", "CLERK_API_URL", "CLERK_JWT_KEY", "CLERK_WEBHOOK_SIGNING_SECRET"),
    *("CLERK_AUTHORIZED_PARTIES", "CLERKMAP_DATABASE_URL", "CLERKMAP_REPOSITORY", "NO_COLOR"),
)
Environment = dict[str, str]


class World:
    """A Clerk with its API served, and the variables that lead to it and to a database."""

    def __init__(self, clerk: FakeClerk, address: str, url: str) -> None:
        self.clerk = clerk
        self.environment: Environment = {
            **clerk.environment(),
            "CLERK_API_URL": address,
            "CLERKMAP_DATABASE_URL": url,
        }
        self.folder: Path | None = None  # where commands are run that have a process of their own

    def run(self, *arguments: str, say: str | None = None, **changes: str) -> Result:
        """Run a command in this process, as a script does."""
        environment = {**dict.fromkeys(VARIABLES), **self.environment, **changes}
        return CliRunner().invoke(root, arguments, input=say, env=environment)

    def process(
        self, *arguments: str, say: str = "", encoding: str = "utf-8", **changes: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run it in a process of its own, through pipes."""
        return subprocess.run(
            [sys.executable, "-m", "clerkmap", *arguments],
            env=self.whole(changes),
            cwd=self.folder,
            input=say,
            capture_output=True,
            encoding=encoding,
            timeout=PATIENCE,
            check=False,
        )

    def terminal(self, *arguments: str, **changes: str) -> "Terminal":
        """Run it in a terminal, where a person sits."""
        command = [sys.executable, "-m", "clerkmap", *arguments]
        return Terminal(command, self.whole({"TERM": "xterm", **changes}), self.folder)

    def whole(self, changes: Environment | None = None) -> Environment:
        """The environment of a process of its own."""
        rest = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        return {**rest, "PYTHONPATH": str(SOURCE), "PYTHONWARNINGS": "error", **self.environment, **(changes or {})}


class Terminal:
    """A process whose input and output are a terminal. `seen` is what has been on the screen."""

    def __init__(self, command: list[str], environment: Environment, folder: Path | None = None) -> None:
        self._ours, theirs = pty.openpty()
        streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
        self._process = subprocess.Popen(command, env=environment, cwd=folder, start_new_session=True, **streams)
        finalize(self, _stop, self._process)  # a test that fails leaves nothing running
        os.close(theirs)
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a letter may come in two parts
        self.seen = ""

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._ours, text.encode())

    def wait_for(self, text: str) -> None:
        """Wait until something is on the screen."""
        while text not in self.seen:
            assert self._read(), f"it ended without {text!r}: {self.seen}"

    def interrupt(self) -> None:
        """What Ctrl-C does, pressed again where nothing comes of it: in the moment before Python reads, it waits."""
        for _ in range(10):
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(1)

    def end(self) -> int:
        """Wait until it ends, and tell how."""
        while self._read():
            pass
        os.close(self._ours)
        return self._process.wait(PATIENCE)

    def _read(self) -> bool:
        readable, _, _ = select.select([self._ours], [], [], PATIENCE)
        assert readable, f"nothing more comes: {self.seen}"
        try:
            read = os.read(self._ours, 65_536)
        except OSError:  # its other end is closed
            read = b""
        self.seen += self._decoder.decode(read)
        return bool(read)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def populate(clerk: FakeClerk, people: int = 3) -> None:
    """Some people, and an organization of the first."""
    first = clerk.create_user(email="ada@example.com", first_name="Ada", public_metadata={"role": "admin"})
    for number in range(1, people):
        clerk.create_user(email=f"person-{number}@example.com")
    clerk.create_organization("Acme", created_by=first)


@contextmanager
def serving_without_date(app: Any) -> Iterator[tuple[str, int]]:
    """An application on a real server that says what time it is only where the application does."""

    async def dated(scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start" and not any(name == b"date" for name, _ in message["headers"]):
                message["headers"].append((b"date", formatdate(usegmt=True).encode()))
            await send(message)

        await app(scope, receive, sent)

    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        server = uvicorn.Server(uvicorn.Config(dated, lifespan="off", log_level="warning", date_header=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the server hangs"


@contextmanager
def world(clerk: FakeClerk, folder: Path) -> Iterator[World]:
    """A world with a database in a folder, in which there is nothing yet."""
    with serving(clerk.app) as (host, port):
        yield World(clerk, f"http://{host}:{port}", f"sqlite:///{folder / 'app.db'}")


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[World]:
    """A world with some people at Clerk, and an empty database."""
    clerk = FakeClerk(7)
    populate(clerk)
    with world(clerk, tmp_path) as made:
        yield made


@pytest.fixture
def synced(fresh: World) -> World:
    """A world in which everything is in step."""
    assert fresh.run("migrate", "--create").exit_code == 0
    assert fresh.run("sync").exit_code == 0
    return fresh
