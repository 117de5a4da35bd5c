"""Both ends of a WebSocket, a database that can be away, and what Clerk says when somebody may not come in any more."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from asgi_base import PATIENCE, Message, World
from clerkmap import Repository
from clerkmap.adapters.asgi import AuthMiddleware, lease_of
from clerkmap.core.records import AnyRecord, ClerkMembership, ClerkSession, ClerkUser
from clerkmap.errors import ClerkmapError


class Room:
    """An application that says back what it is told, renews its lease when asked, and notes how it ended."""

    def __init__(self, world: World, **options: Any) -> None:
        self.app = AuthMiddleware(self._run, world.resolver, **({"require": True} | options))
        self.reached = 0
        self.heard: list[str] = []
        self.ends: list[Message] = []
        self.ended = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        self.reached += 1
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            said = message["text"]
            self.heard.append(said)
            if said.startswith("renew "):
                try:
                    principal = await lease_of(scope).renew(said.removeprefix("renew "))
                    said = f"renewed {principal.user.clerk_id}"
                except ClerkmapError as error:
                    said = error.code
            await send({"type": "websocket.send", "text": said})
        self.ends.append(message)
        self.ended.set()


@asynccontextmanager
async def opened(port: int, token: str | None = None, **options: Any) -> AsyncGenerator[ClientConnection, None]:
    """A client's end of a WebSocket."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    extra = options.pop("headers", {})
    url = f"ws://127.0.0.1:{port}/"
    async with (
        asyncio.timeout(PATIENCE),
        connect(url, additional_headers=headers | extra, proxy=None, ping_interval=None, **options) as client,
    ):
        yield client


async def closing(client: ClientConnection) -> tuple[int, str]:
    """How the server closed it."""
    try:
        while True:
            await client.recv()
    except ConnectionClosed as closed:
        return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd is not None else (1006, "")


async def echoed(client: ClientConnection, text: str) -> str:
    await client.send(text)
    return str(await client.recv())


def locked_out(world: World, how: str) -> AnyRecord:
    """What Clerk says when somebody may not come in any more."""
    now, instance = int(world.clock() * 1000) + 1, world.clerk.instance.name
    if how == "user_banned":
        return world.clerk.record(world.user, banned=True)
    if how == "user_deleted":
        return ClerkUser.deleted(instance, world.user.id, observed_at=now)
    if how == "session_ended":
        return ClerkSession.deleted(instance, "sess_1", observed_at=now)
    user, organization = world.user.id, world.organization.id
    return ClerkMembership.deleted(
        instance, "orgmem_1", clerk_user_id=user, clerk_organization_id=organization, observed_at=now
    )


class Outages:
    """A repository that can be away: in its own words, or with an error that nobody knows."""

    poll_every = 0.0  # so that memory never does without it

    def __init__(self, rows: Repository) -> None:
        self.rows = rows
        self.listeners = rows.listeners
        self.max_token_lifetime = rows.max_token_lifetime
        self.needs_full_user = rows.needs_full_user
        self.error: Exception | None = None
        self.asked = 0

    def poll(self) -> None:
        self._ask()

    def find(self, *args: Any) -> Any:
        self._ask()
        return self.rows.find(*args)

    def put(self, records: Any) -> Any:
        self._ask()
        return self.rows.put(records)

    def _ask(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error


def with_outages() -> tuple[World, Outages]:
    world = World()
    outages = Outages(world.rows)
    return World(cast(Repository, outages), clock=world.clock), outages


class Slow(Outages):
    """A repository that keeps its answers back until a test lets them go."""

    def __init__(self, rows: Repository) -> None:
        super().__init__(rows)
        self.holds_next = self.holds_all = False
        self.holding = threading.Event()
        self.go = threading.Event()

    def _ask(self) -> None:
        held, self.holds_next = self.holds_next, False
        super()._ask()
        if held or self.holds_all:
            self.holding.set()
            assert self.go.wait(PATIENCE)
