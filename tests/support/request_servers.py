"""Real servers on this machine, with an application of the table of requests in each, and a client of our own."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import clerkmap
from request_drivers import ADAPTERS, NO_SERVER, Asked, DirectAsgi, DirectWsgi, Driver, served
from request_wire import PATIENCE, Reply, Wire
from requests_row import GUNICORN, H11, HTTPTOOLS, HYPERCORN, WAITRESS, Headers
from uvicorn_server import listening


class _Served:
    """What is the same for every server: how one talks to it."""

    server = ""

    def __init__(self, listener: socket.socket) -> None:
        self._address = listener.getsockname()

    def ask(self, method: str, path: str, headers: Headers) -> Reply:
        with Wire(self._address) as wire:
            return wire.ask(method, path, headers, "close")

    def ask_in_turn(self, requests: Iterable[Asked]) -> Iterator[Reply]:
        remaining = list(requests)
        while remaining:
            with Wire(self._address) as wire:
                while remaining and not wire.is_over:
                    yield wire.ask(*remaining.pop(0), "keep-alive")


class _Threaded(_Served):
    """A server in a thread of this process."""

    def __init__(self, listener: socket.socket, run: Callable[[], object], stop: Callable[[], object]) -> None:
        super().__init__(listener)
        self._stop = stop
        self._thread = threading.Thread(target=run, name="server of the table")
        self._thread.start()

    def close(self) -> None:
        self._stop()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the server does not stop"


class Uvicorn(_Threaded):
    """uvicorn, with one of its two readers of HTTP."""

    def __init__(self, adapter: str, *, reader: Any) -> None:
        import uvicorn

        self.server = f"uvicorn-{reader}"
        options: dict[str, Any] = {"ws": "none", "log_config": None, "access_log": False}
        # By default it depends on the network whether the longest requests of the table come as one piece.
        config = uvicorn.Config(served(adapter), http=reader, h11_max_incomplete_event_size=65_536, **options)
        server = uvicorn.Server(config)
        listener = listening()

        def stop() -> None:
            server.should_exit = True

        super().__init__(listener, partial(server.run, sockets=[listener]), stop)


class Hypercorn(_Threaded):
    """Hypercorn on asyncio."""

    server = HYPERCORN

    def __init__(self, adapter: str) -> None:
        from hypercorn.asyncio import serve
        from hypercorn.config import Config

        config = Config()
        listener = listening()
        config.bind = [f"fd://{listener.dup().detach()}"]
        config.errorlog = None
        config.h11_max_incomplete_size = 65_536  # as above
        over = threading.Event()

        async def run() -> None:
            await serve(served(adapter), config, shutdown_trigger=lambda: asyncio.to_thread(over.wait), mode="asgi")

        super().__init__(listener, lambda: asyncio.run(run()), over.set)
        listener.close()


class Waitress(_Threaded):
    """waitress."""

    server = WAITRESS

    def __init__(self, adapter: str) -> None:
        listener = listening()
        create_server = import_module("waitress.server").create_server  # which tells no types
        server = create_server(served(adapter), sockets=[listener], threads=2, ident=None)
        super().__init__(listener, server.run, server.close)


class Gunicorn(_Served):
    """gunicorn, in processes of its own."""

    server = GUNICORN

    def __init__(self, adapter: str) -> None:
        here, source = Path(__file__).parent, Path(clerkmap.__file__).parent.parent
        with listening() as listener:
            super().__init__(listener)
            fd = listener.fileno()
            options = ["--bind", f"fd://{fd}", "--log-level", "critical", "--no-control-socket"]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", *options, f"request_drivers:served({adapter!r})"],
                pass_fds=[fd],
                cwd=here,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(source)])},
            )

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)


def _direct(adapter: str) -> Driver:
    return DirectAsgi(served(adapter)) if ADAPTERS[adapter].colour == "asgi" else DirectWsgi(served(adapter))


_SERVERS: dict[str, Callable[[str], Driver]] = {
    NO_SERVER: _direct,
    H11: partial(Uvicorn, reader="h11"),
    HTTPTOOLS: partial(Uvicorn, reader="httptools"),
    HYPERCORN: Hypercorn,
    GUNICORN: Gunicorn,
    WAITRESS: Waitress,
}

# By the name of a test: an adapter, and what stands in front of it.
DRIVERS: dict[str, Callable[[], Driver]] = {
    f"{adapter} on {server}": partial(_SERVERS[server], adapter)
    for adapter, server in (
        *(("asgi", server) for server in (NO_SERVER, H11, HTTPTOOLS, HYPERCORN)),
        *(("wsgi", server) for server in (NO_SERVER, GUNICORN, WAITRESS)),
        ("flask", NO_SERVER),
        ("flask", GUNICORN),
        ("flask", WAITRESS),
        ("fastapi", NO_SERVER),
        ("fastapi", H11),
        ("fastapi", HYPERCORN),
        ("starlette", NO_SERVER),
        ("starlette", HTTPTOOLS),
        ("django", NO_SERVER),
        ("django", GUNICORN),
        ("django", WAITRESS),
        ("asgi, each page", NO_SERVER),
        ("wsgi, each page", NO_SERVER),
    )
}
