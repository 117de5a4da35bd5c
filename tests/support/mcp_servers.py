"""An MCP server with several people's notes, on a real uvicorn, and clients of the official SDK that bring tokens."""

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer
from starlette.applications import Starlette

import uvicorn_server
from clerkmap import Resolver, Verifier, current_principal
from clerkmap.adapters.asgi import AuthMiddleware
from clerkmap.adapters.mcp import ClerkTokenVerifier, principal_of_call
from clerkmap.errors import RepositoryUnavailable
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk, FakeUser

RESOURCE = "https://notes.example.com/mcp"
OTHER = "https://notes.example.com/other"
METADATA = "https://notes.example.com/.well-known/oauth-protected-resource/mcp"
PATIENCE = 120.0  # seconds after which a test that hangs is ended


class Notes:
    """The server, and the Clerk that its people are at.

    Args:
        options: Of the server's `streamable_http_app`.
        accept: The kinds of token to accept.
        allow_no_audience: Whether a token may name no audience.
        settings: Of the instance.
    """

    def __init__(
        self, *, options: Any = None, accept: Any = ("oauth",), allow_no_audience: bool = False, **settings: Any
    ) -> None:
        self.clerk = FakeClerk(seed=95)
        self.repository = MemoryRepository()
        instance = self.clerk.make_instance(**settings)
        whole = Resolver(instance, self.repository, verifier=Verifier(instance, accept=list(accept)))
        self.verifier = ClerkTokenVerifier(whole, resource=RESOURCE, allow_no_audience=allow_no_audience)
        self.resolver = self.verifier.resolver
        self.server = MCPServer(
            "notes", token_verifier=self.verifier, auth=self.verifier.auth_settings(scopes=["notes:read"])
        )
        self.notes: dict[object, str] = {}
        self.server.tool()(self.mine)
        self.server.tool()(self.mine_later)
        self.server.tool()(self.who_is_current)
        self.server.resource("notes://mine")(self.mine)
        self._options: dict[str, Any] = options or {}

    def join(self, note: str) -> FakeUser:
        """Somebody new, with a note."""
        person = self.clerk.create_user()
        self.notes[self.resolver.resolve(self.token(person)).user.id] = note
        return person

    def token(self, person: FakeUser, *, scopes: Any = ("notes:read",), **claims: Any) -> str:
        """An access token of a person's client, as Clerk gives them: for this resource."""
        return self.clerk.oauth_token(person, scopes=scopes, claims={"aud": RESOURCE} | claims)

    def app(self) -> Starlette:
        """The server as an application."""
        return self.server.streamable_http_app(**self._options)

    def app_that_answers_outages(self) -> Starlette:
        """The same within an `AuthMiddleware`, as the docs have it."""
        app = self.app()
        app.add_middleware(AuthMiddleware, resolver=self.resolver, cookies=False)
        return app

    def mine(self) -> str:
        """The caller's note. The SDK runs this in a thread."""
        return self.notes[principal_of_call().user.id]

    async def mine_later(self) -> str:
        """The same, when others have had their turn in between."""
        before = principal_of_call()
        for _ in range(5):
            await asyncio.sleep(0)
            assert principal_of_call() is before
        return await asyncio.to_thread(self.mine)

    async def who_is_current(self) -> str:
        """The note of the current principal."""
        await asyncio.sleep(0)
        return self.notes[current_principal().user.id]


class Away(MemoryRepository):
    """A database that is away."""

    is_away = False

    def find(self, *args: Any) -> Any:
        """What every request needs."""
        if self.is_away:
            raise RepositoryUnavailable
        return super().find(*args)


def notes_of_a_database_that_is_away() -> tuple[Notes, str]:
    """A server, and a good token of somebody it does not remember."""
    notes = Notes()
    away = Away()
    away.is_away = True
    resolver = Resolver(notes.resolver.verifier.instance, away, verifier=notes.resolver.verifier)
    notes.resolver = notes.verifier.resolver = resolver
    return notes, notes.token(notes.clerk.create_user())


@contextmanager
def serving(app: Any) -> Generator[str]:
    """The address at which an application is served until the block is left."""
    with uvicorn_server.serving(app, log_level="critical") as (host, port):
        yield f"http://{host}:{port}"


class Bearer(httpx2.Auth):
    """Sends a token along. It can be changed for another one in between."""

    def __init__(self, token: str) -> None:
        self.token = token

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response]:
        request.headers["authorization"] = f"Bearer {self.token}"
        yield request


@asynccontextmanager
async def connected(url: str, bearer: Bearer, mode: Any = "auto") -> AsyncIterator[Client]:
    """A client of the official SDK, connected over streamable HTTP."""
    async with (
        httpx2.AsyncClient(auth=bearer, timeout=PATIENCE) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


async def told(client: Client, tool: str = "mine") -> str:
    """What a tool tells the client."""
    result = await client.call_tool(tool, {})
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return str(result.structured_content["result"])


def post(url: str, **headers: str) -> httpx2.Response:
    """A call by hand: the first words of every client."""
    client = {"name": "by hand", "version": "1"}
    words = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    asked = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": words}
    every = {"accept": "application/json, text/event-stream"}
    return httpx2.post(f"{url}/mcp", json=asked, headers=every | headers, timeout=PATIENCE)
