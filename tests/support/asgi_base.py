"""An instance of Clerk with a resolver; applications called without a server, and through two real ones."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import hypercorn
import uvicorn
from hypercorn.asyncio import serve

from clerkmap import AsyncRepository, Repository, Resolver
from clerkmap.auth.verifier import Verifier
from clerkmap.core.keys import KeySource
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock, FakeClerk, FakeOrganization

SERVERS = ("uvicorn", "hypercorn")
PATIENCE = 120.0  # seconds after which a test that hangs is ended

Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]
Pairs = list[tuple[bytes, bytes]]


class World:
    """One instance, one person, one organization, and a resolver that goes by a clock of ours."""

    def __init__(
        self,
        repository: Repository | AsyncRepository | None = None,
        *,
        keys: KeySource | None = None,
        clock: Clock | None = None,
        seed: int = 61,
    ) -> None:
        self.clock = clock or Clock()
        self.clerk = FakeClerk(seed, clock=self.clock)
        self.rows = MemoryRepository(clock=self.clock)
        self.verifier = Verifier(self.clerk.instance, clock=self.clock, keys=keys)
        self.resolver = Resolver(self.clerk.instance, repository or self.rows, verifier=self.verifier)
        self.user = self.clerk.create_user("ann@example.com")
        self.organization: FakeOrganization = self.clerk.create_organization(created_by=self.user)

    def token(self, **options: Any) -> str:
        """A token of the person, in their organization."""
        return self.clerk.token(self.user, self.organization, **options)

    def bearer(self, **options: Any) -> Pairs:
        """The same as ASGI's headers."""
        return bearer(self.token(**options))


def bearer(token: str) -> Pairs:
    """A token as ASGI's headers."""
    return [(b"authorization", b"Bearer " + token.encode())]


def http_scope(headers: Pairs | None = None, method: str = "GET", path: str = "/") -> dict[str, Any]:
    """A request, as a server hands it over."""
    about = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path}
    return {**about, "scheme": "http", "query_string": b"", "root_path": "", "headers": headers or []}


def websocket_scope(headers: Pairs | None = None, *, extensions: dict[str, Any] | None = None) -> dict[str, Any]:
    """A WebSocket, as a server hands it over."""
    scope = {**http_scope(headers), "type": "websocket", "scheme": "ws", "subprotocols": []}
    del scope["method"]
    return {**scope, "extensions": {"websocket.http.response": {}} if extensions is None else extensions}


class Told(NamedTuple):
    """What an application told its server."""

    messages: list[Message]

    @property
    def types(self) -> list[str]:
        return [message["type"] for message in self.messages]

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)


async def told_by(app: App, scope: Any, *heard: Message) -> Told:
    """Call an application without a server. It hears these messages, and after them nothing more."""
    waiting = list(heard)
    told: list[Message] = []

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    async def send(message: Message) -> None:
        told.append(message)

    async with asyncio.timeout(PATIENCE):
        await app(scope, receive, send)
    return Told(told)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so, which nothing announces."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


@asynccontextmanager
async def served(server: str, app: Any, *, lifespan: bool = False) -> AsyncGenerator[int, None]:
    """A real server in this very event loop, and the port it listens to. No task of its own outlives it."""
    before = asyncio.all_tasks()
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", 0))
        listening.listen(512)
        port = int(listening.getsockname()[1])
        app = app if lifespan else _without_lifespan(app)
        running = _uvicorn(app, listening, lifespan) if server == "uvicorn" else _hypercorn(app, listening)
        async with running:
            yield port
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while left := asyncio.all_tasks() - before:
                await asyncio.wait(left, timeout=0.05)
    assert asyncio.all_tasks() <= before, "a task is left behind"


def _without_lifespan(app: App) -> App:
    """Hypercorn cannot be told that an application has no lifespan."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        while scope["type"] == "lifespan":
            stage = (await receive())["type"]
            await send({"type": f"{stage}.complete"})
            if stage == "lifespan.shutdown":
                return
        await app(scope, receive, send)

    return wrapped


@asynccontextmanager
async def _uvicorn(app: Any, listening: socket.socket, lifespan: bool) -> AsyncGenerator[None, None]:
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on" if lifespan else "off")
    config.timeout_graceful_shutdown = 1
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        await until(lambda: server.started or running.done())
        yield
    finally:
        server.should_exit = True
        await running


@asynccontextmanager
async def _hypercorn(app: Any, listening: socket.socket) -> AsyncGenerator[None, None]:
    config = hypercorn.Config()
    config.bind = [f"fd://{listening.detach()}"]
    config.graceful_timeout = 1
    config.errorlog = None
    stop = asyncio.Event()
    running = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait, mode="asgi"))
    try:
        yield
    finally:
        stop.set()
        await running
