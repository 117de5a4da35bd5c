"""What befalls a connection that listens: it is ended, or the network stalls and tells nobody."""

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from postgres_server import postgres


@contextmanager
def cutting(name: str) -> Iterator[list[int]]:
    """Ends the server's processes for whoever calls itself so, again and again. Gives how many there were."""
    done, ended = threading.Event(), list[int]()

    def run() -> None:
        with psycopg.connect(postgres(), autocommit=True) as connection:
            while not done.wait(0.7):
                rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name = %s", (name,))
                for (pid,) in rows.fetchall():
                    connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
                    ended.append(pid)

    thread = threading.Thread(target=run)
    thread.start()
    yield ended
    done.set()
    thread.join()


@contextmanager
def stalling(conninfo: str) -> Iterator[tuple[str, threading.Event]]:
    """A way to a server that passes nothing on while the event is set, and breaks off nothing either."""
    said = conninfo_to_dict(conninfo)
    host, port = str(said.get("host", "127.0.0.1")), int(said.get("port") or 5432)
    stalled, done = threading.Event(), threading.Event()
    pairs: dict[socket.socket, socket.socket] = {}
    server = socket.create_server(("127.0.0.1", 0))

    def connect() -> socket.socket:
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        there = socket.socket(socket.AF_UNIX)
        there.connect(f"{host}/.s.PGSQL.{port}")
        return there

    def run() -> None:
        while not done.is_set():
            if stalled.is_set():
                time.sleep(0.01)
                continue
            for ready in select.select([server, *pairs], [], [], 0.01)[0]:
                if ready is server:
                    here, there = server.accept()[0], connect()
                    pairs.update({here: there, there: here})
                elif ready in pairs:
                    _pass_on(ready, pairs)
        for each in (server, *pairs):
            each.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield make_conninfo(conninfo, host="127.0.0.1", port=server.getsockname()[1]), stalled
    finally:
        done.set()
        thread.join()


def _pass_on(ready: socket.socket, pairs: dict[socket.socket, socket.socket]) -> None:
    try:
        content = ready.recv(65536)
        pairs[ready].sendall(content)
    except OSError:
        content = b""
    if not content:
        other = pairs.pop(ready)
        del pairs[other]
        ready.close()
        other.close()
