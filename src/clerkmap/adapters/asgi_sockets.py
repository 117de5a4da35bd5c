"""A WebSocket for as long as its caller may stay: every message, in either direction, is one that a lease lets pass."""

import asyncio
from contextlib import suppress

from ..auth.lease import Lease
from ..errors import ClerkmapError, Unavailable
from .asgi_messages import LATER, OVER, App, Message, Receive, Scope, Send


class LeasedSocket:
    """Stands between a server and an application."""

    def __init__(self, lease: Lease, receive: Receive, send: Send) -> None:
        self._lease = lease
        self._receive = receive
        self._send = send
        self._is_open = False
        self._ended: Message | None = None
        self._heard: Message | None = None  # and not checked yet: whoever is cancelled meanwhile finds it here again
        self._one_listener = asyncio.Lock()
        self._one_at_a_time = asyncio.Lock()  # the application and the end of the lease may come at once

    async def run(self, app: App, scope: Scope) -> None:
        """Run the application."""
        async with self._lease.watched(self._is_over):
            await app(scope, self.receive, self.send)

    async def receive(self) -> Message:
        """What the client says, or that the connection is over."""
        async with self._one_listener:
            if self._ended is not None:
                return await self._end_as_told(self._ended)
            if self._heard is None:
                self._heard = await self._receive()
            if self._heard["type"] == "websocket.receive":
                await self._check()
            elif self._heard["type"] == "websocket.disconnect":
                self._is_open = False
            message, self._heard = self._heard, None
            return message if self._ended is None else await self._end_as_told(self._ended)

    async def _end_as_told(self, ended: Message) -> Message:
        """Who hears of the end may return, and would cut off what the client is being told of it."""
        async with self._one_at_a_time:
            return ended

    async def send(self, message: Message) -> None:
        """Say something to the client. After the end this is an OSError, as ASGI has it."""
        if message["type"] == "websocket.send":
            await self._check()
        async with self._one_at_a_time:
            if self._ended is not None:
                raise ConnectionAbortedError("the WebSocket was closed: its caller may not stay")
            if message["type"] == "websocket.accept":
                self._is_open = True
            elif message["type"] == "websocket.close":
                self._is_open = False
            await self._send(message)

    async def _check(self) -> None:
        try:
            await self._lease.check()
        except Unavailable as error:
            await self._end(LATER, error)
        except ClerkmapError as error:
            await self._end(OVER, error)

    async def _is_over(self, error: ClerkmapError) -> None:
        await self._end(OVER, error)

    async def _end(self, code: int, error: ClerkmapError) -> None:
        if self._ended is not None:
            return
        self._ended = {"type": "websocket.disconnect", "code": code, "reason": error.code}
        async with self._one_at_a_time:
            if self._is_open:
                self._is_open = False
                with suppress(OSError):  # they have hung up
                    await self._send({"type": "websocket.close", "code": code, "reason": error.code})
