"""The server process: a socket on this machine only, the server, the postman, and a clean end."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from .app import LocalApp
from .instance import Box

LOOK_EVERY = 1.0  # seconds between checks for writes of other processes
MOST_AT_ONCE = 200  # connections; the database and the state need file descriptors as well
GRACE = 2  # seconds for requests to end at shutdown


def listening_on(port: int) -> socket.socket:
    """Return a socket that other machines cannot reach. Raises OSError if the port is taken."""
    # With the protocol named, asyncio sets TCP_NODELAY: otherwise the second part of an answer is delayed.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform == "win32":  # on Windows, reuse would take the port from another process
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(128)
    except BaseException:
        listening.close()
        raise
    return listening


class _Server(uvicorn.Server):
    """A server that disconnects event listeners before it waits for requests to end."""

    def __init__(self, box: Box, app: LocalApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                ws="none",
                lifespan="off",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE,
                limit_concurrency=MOST_AT_ONCE,
            )
        )
        self._box = box

    def stop(self) -> None:
        """End as after Ctrl-C."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._box.changes.end()
        await super().shutdown(sockets)


def run(box: Box, app: LocalApp, listening: socket.socket, started: Callable[[], None]) -> None:
    """Serve until Ctrl-C, or until the process is terminated."""
    with suppress(ValueError):  # only the main thread receives signals
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(box, app, listening, started))


async def _serve(box: Box, app: LocalApp, listening: socket.socket, started: Callable[[], None]) -> None:
    server = _Server(box, app)
    tasks = [asyncio.create_task(box.postman.run()), asyncio.create_task(_look(box))]
    for task in tasks:
        task.add_done_callback(lambda _: server.stop())  # neither is useful without the other
    try:
        started()
        await server.serve(sockets=[listening])
    finally:
        with suppress(asyncio.CancelledError):  # the Ctrl-C that has ended the server: the cleanup must still run
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        came = await asyncio.gather(*tasks, return_exceptions=True)
        await box.close()
        listening.close()
    for error in came:
        if isinstance(error, Exception):
            raise error


async def _look(box: Box) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY)
        box.look_at_file()
