"""An endpoint for deliveries behind a real server, in a process of its own; and a client that sends it anything."""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from http.client import HTTPResponse
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, cast

from clerkmap import Reconciler, Repository
from clerkmap.adapters import asgi, wsgi
from clerkmap.errors import RepositoryUnavailable
from clerkmap.repositories import SqliteRepository
from clerkmap.testing import Clock
from delivery_base import INSTANCE, NOW

SERVERS = ("uvicorn", "hypercorn", "gunicorn", "waitress")
ASGI = ("uvicorn", "hypercorn")
MAX_BODY = 8192
PATIENCE = 1.0  # seconds that an ASGI endpoint waits for a body
TIMEOUT = 30.0  # seconds after which a test that hangs is ended

Headers = Iterable[tuple[str, str]]


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes


class Server:
    """A server's process. What it is to fail at is told to it by files: `hook`, `put`, `strange`."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.log = folder / "log"

    def __enter__(self) -> Self:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(64)  # so that whoever comes early waits
            self.port = int(listening.getsockname()[1])
            fd = listening.fileno()
            command = [sys.executable, __file__, self.kind, str(self.folder), str(fd)]
            with self.log.open("wb") as log:
                here = os.pathsep.join([str(Path(__file__).parent), *sys.path])
                environment = {**os.environ, "PYTHONPATH": here}
                self._process = subprocess.Popen(command, stderr=log, stdout=log, pass_fds=[fd], env=environment)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(TIMEOUT)
        finally:
            self._process.kill()
            self._process.wait()

    def fails_at(self, what: str, fails: bool = True) -> None:
        """Have it fail from now on, or no longer."""
        flag = self.folder / what
        flag.touch() if fails else flag.unlink(missing_ok=True)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), TIMEOUT)

    def ask(self, headers: Headers, body: bytes = b"", *, method: str = "POST", length: int | None = -1) -> Answer:
        """Send a whole request. `length` is what is told of the body: None for nothing."""
        told = [] if length is None else [("content-length", str(len(body) if length == -1 else length))]
        with self.connect() as connection:
            connection.sendall(head([*headers, *told], method) + body)
            return answered(connection, method)


def head(headers: Headers, method: str = "POST") -> bytes:
    """The first lines of a request."""
    lines = [f"{method} / HTTP/1.1", "host: testserver", "connection: close"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers), "", ""]).encode("latin-1")


def answered(connection: socket.socket, method: str = "POST") -> Answer:
    """Read an answer."""
    response = HTTPResponse(connection, method=method)
    try:
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())
    finally:
        response.close()


# --------------------------------------------------------------------------------------------- in the server's process


class Failing:
    """A repository that fails when it is told to."""

    def __init__(self, rows: Repository, folder: Path) -> None:
        self._rows = rows
        self._folder = folder
        self.poll_every = rows.poll_every
        self.listeners = rows.listeners
        self.max_token_lifetime = rows.max_token_lifetime
        self.needs_full_user = rows.needs_full_user
        self.find = rows.find

    def put(self, records: Any) -> Any:
        if (self._folder / "put").exists():
            raise RepositoryUnavailable("at ann@example.com")
        if (self._folder / "strange").exists():
            raise RuntimeError("nobody knows")
        return self._rows.put(records)


def reconciler(folder: Path) -> Reconciler:
    """In the process that uses it: what is opened before a fork is not for after it."""

    def hook(change: object, transaction: object) -> None:
        if (folder / "hook").exists():
            raise RuntimeError("ann@example.com cannot be welcomed")

    rows = Failing(SqliteRepository.open(folder / "app.db", clock=Clock(NOW)), folder)
    return Reconciler(INSTANCE, cast(Repository, rows), hooks=[hook], max_body=MAX_BODY, clock=Clock(NOW))


def main(kind: str, folder: Path, fd: int) -> None:
    """Serve until told to stop."""
    logging.basicConfig(level=logging.DEBUG)
    if kind == "uvicorn":
        import uvicorn

        app = asgi.WebhookEndpoint(reconciler(folder), body_timeout=PATIENCE)
        uvicorn.run(app, fd=fd, lifespan="off", log_config=None)
    elif kind == "hypercorn":
        import asyncio

        import hypercorn
        from hypercorn.asyncio import serve

        config = hypercorn.Config()
        config.bind = [f"fd://{fd}"]
        config.graceful_timeout = 1
        asyncio.run(
            serve(cast(Any, asgi.WebhookEndpoint(reconciler(folder), body_timeout=PATIENCE)), config, mode="asgi")
        )
    elif kind == "waitress":
        from waitress.server import create_server  # type: ignore[import-untyped]

        def stop(number: int, frame: object) -> None:
            raise SystemExit

        signal.signal(signal.SIGTERM, stop)
        listening = socket.socket(fileno=fd)
        with contextlib.suppress(SystemExit):
            create_server(wsgi.WebhookEndpoint(reconciler(folder)), sockets=[listening]).run()
    else:
        from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

        class Application(BaseApplication):  # type: ignore[misc]
            def load_config(self) -> None:
                for name, value in {"bind": f"fd://{fd}", "threads": 4, "timeout": 10, "graceful_timeout": 1}.items():
                    self.cfg.set(name, value)
                if "control_socket_disable" in self.cfg.settings:
                    self.cfg.set("control_socket_disable", True)

            def load(self) -> Any:
                return wsgi.WebhookEndpoint(reconciler(folder))

        Application().run()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
