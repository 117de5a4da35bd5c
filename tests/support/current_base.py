"""A crowd of people with tokens, and who is current in the code that asks."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from clerkmap import Resolver, TokenError, current_principal
from clerkmap.errors import TokenMissing
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock, FakeClerk

CROWD = 300
PATIENCE = 120.0  # seconds after which a test that hangs is ended
CLERK = FakeClerk(seed=99, clock=Clock(1_790_000_000))
TOKENS = [CLERK.token(CLERK.create_user()) for _ in range(CROWD)]
EXPIRED = CLERK.token(CLERK.create_user(), expires_in=-60)

Scope = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]


def fresh_resolver() -> Resolver:
    """One that knows nobody yet, so that everybody's first request goes to the repository, in a thread."""
    return Resolver(CLERK.instance, MemoryRepository(), verifier=CLERK.verifier())


def name_of(token: str | None) -> str:
    """Who a token's bearer is, by what the current principal must say: a Clerk id, or the name of an error."""
    if token is None:
        return "TokenMissing"
    try:
        return CLERK.verifier().verify(token).subject
    except TokenError as refused:
        return type(refused).__name__


def current() -> str:
    """Who is current, in the same words."""
    try:
        return str(current_principal().user.clerk_id)
    except (TokenMissing, TokenError) as refused:
        return type(refused).__name__


def scope_of(token: str | None, kind: str = "http") -> Scope:
    """A request as a server hands it over."""
    headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
    return {"type": kind, "method": "GET", "path": "/", "headers": headers, "who": name_of(token)}


async def no_message() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def nowhere(message: Any) -> None:
    return None


async def call(app: App, token: str | None, kind: str = "http") -> None:
    await app(scope_of(token, kind), no_message, nowhere)


def run(main: Awaitable[None]) -> None:
    """Run, and find nobody current before and after."""

    async def alone() -> None:
        assert current() == "TokenMissing"
        await asyncio.wait_for(main, PATIENCE)
        assert current() == "TokenMissing"

    asyncio.run(alone())
    assert current() == "TokenMissing"
