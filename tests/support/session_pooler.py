"""A pooler in transaction mode, as small as can be: two sessions of the server for each client, which take turns.

What a session says while it is not its turn is lost, notifications above all.
"""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from psycopg.conninfo import conninfo_to_dict, make_conninfo


@contextmanager
def pooled_sessions(conninfo: str) -> Iterator[str]:
    """The connection string of a pooler in front of a server."""
    said = conninfo_to_dict(conninfo)
    host, port = str(said.get("host", "127.0.0.1")), int(said.get("port") or 5432)
    threads: list[threading.Thread] = []
    server = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                threads.append(threading.Thread(target=_serve, args=(client, host, port), daemon=True))
                threads[-1].start()

    threads.append(threading.Thread(target=run, daemon=True))
    threads[0].start()
    try:
        yield make_conninfo(
            conninfo, host="127.0.0.1", port=server.getsockname()[1], sslmode="disable", gssencmode="disable"
        )
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        for thread in threads:
            thread.join(timeout=10)


def _serve(client: socket.socket, host: str, port: int) -> None:
    with client, suppress(OSError), _session(host, port) as one, _session(host, port) as other:
        (length,) = struct.unpack("!I", _exactly(client, 4))
        hello = struct.pack("!I", length) + _exactly(client, length - 4)
        greeting = [_log_in(session, hello) for session in (one, other)]
        client.sendall(greeting[0])
        while True:
            _transaction(client, one)
            one, other = other, one


def _transaction(client: socket.socket, session: socket.socket) -> None:
    message = _message(client)
    session.setblocking(False)
    with suppress(BlockingIOError):
        while session.recv(65536):  # what was said out of turn
            pass
    session.setblocking(True)
    while True:
        session.sendall(message)
        if message[:1] == b"X":
            raise ConnectionError
        if message[:1] in (b"Q", b"S"):
            answer = b""
            while answer[:1] != b"Z":
                answer = _message(session)
                client.sendall(answer)
            if answer[5:6] == b"I":  # no transaction is open
                return
        message = _message(client)


def _session(host: str, port: int) -> socket.socket:
    if not host.startswith("/"):
        return socket.create_connection((host, port))
    session = socket.socket(socket.AF_UNIX)
    session.connect(f"{host}/.s.PGSQL.{port}")
    return session


def _log_in(session: socket.socket, hello: bytes) -> bytes:
    session.sendall(hello)
    answers = [_message(session)]
    while answers[-1][:1] != b"Z":
        answers.append(_message(session))
    return b"".join(answers)


def _message(source: socket.socket) -> bytes:
    head = _exactly(source, 5)
    return head + _exactly(source, struct.unpack("!I", head[1:])[0] - 4)


def _exactly(source: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        part = source.recv(count - len(content))
        if not part:
            raise ConnectionError
        content += part
    return content
