"""Server-sent events: each listener gets the whole snapshot after each change, at most ten times a second."""

import asyncio
import json
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

from ..adapters.asgi import Receive, Send

PAUSE = 0.1  # seconds: changes within this time are sent as one
BREATH = 15.0  # seconds until a comment keeps an idle connection open


class Changes:
    """Notifies all waiting listeners of a change, or of the end."""

    def __init__(self) -> None:
        self.over: bool = False
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def tell(self) -> None:
        """Report a change. Can be called from any thread."""
        for event, loop in list(self._waiting.items()):
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(event.set)

    def end(self) -> None:
        """Release all listeners."""
        self.over = True
        self.tell()

    @contextmanager
    def waiting(self) -> Generator[asyncio.Event, None, None]:
        """Yield an event that is set after each change."""
        event = asyncio.Event()
        self._waiting[event] = asyncio.get_running_loop()
        try:
            yield event
        finally:
            del self._waiting[event]


async def stream(
    changes: Changes, snapshot: Callable[[], dict[str, Any]], headers: list[tuple[bytes, bytes]], *both: Any
) -> None:
    """Serve one listener until it disconnects or the server ends."""
    receive, send = both
    told = [(b"content-type", b"text/event-stream"), *headers]
    await send({"type": "http.response.start", "status": 200, "headers": told})
    gone = asyncio.ensure_future(_gone(receive))
    try:
        with changes.waiting() as changed:
            gone.add_done_callback(lambda _: changed.set())
            changed.set()
            while not gone.done() and not changes.over:
                await _send_next(changed, snapshot, send)
        if not gone.done():
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone


async def _send_next(changed: asyncio.Event, snapshot: Callable[[], dict[str, Any]], send: Send) -> None:
    try:
        async with asyncio.timeout(BREATH):
            await changed.wait()
    except TimeoutError:
        body = b": nothing new\n\n"
    else:
        changed.clear()
        body = f"event: state\ndata: {json.dumps(snapshot())}\n\n".encode()
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await asyncio.sleep(PAUSE)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
