"""A real server on this machine: uvicorn in a thread, on a port that is free."""

import socket
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import Any

import uvicorn

PATIENCE = 120.0  # seconds after which a test that hangs is ended


def listening() -> socket.socket:
    """A socket that listens already, on a port that is free: whoever calls before a server is ready waits for it."""
    # The protocol is named so that asyncio knows it, and sends small answers at once.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    listener.settimeout(None)
    return listener


@contextmanager
def serving(app: Any, http: Any = "auto", log_level: str = "warning") -> Generator[tuple[str, int]]:
    """The address at which an application is served until the block is left. What comes before it runs, waits."""
    with closing(listening()) as listener:
        server = uvicorn.Server(uvicorn.Config(app, http=http, log_level=log_level))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the server hangs"


def asked(connection: socket.socket, *requests: bytes) -> list[bytes]:
    """The bodies of the answers to requests that are sent one right behind the other on one connection."""
    connection.settimeout(PATIENCE)
    connection.sendall(b"".join(requests))
    with connection.makefile("rb") as answers:
        return [_body(answers) for _ in requests]


def _body(answers: Any) -> bytes:
    length = 0
    assert answers.readline().startswith(b"HTTP/1.1 ")
    while (line := answers.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    return bytes(answers.read(length))
