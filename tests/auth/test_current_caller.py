"""Who is calling is known within their own request, and in nobody else's on the same connection."""

import asyncio
import contextvars
import socket
from typing import Any

import pytest

from clerkmap import Resolver
from clerkmap.adapters.asgi import AuthMiddleware
from clerkmap.auth.result import AuthResult, current_principal, current_within, enter, leave
from clerkmap.errors import TokenMissing
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk
from uvicorn_server import asked, serving

CLERK = FakeClerk(61)
RESOLVER = Resolver(CLERK.instance, MemoryRepository())
TOKEN = CLERK.token(CLERK.create_user(), expires_in=3600)
PUBLIC = b"GET /public HTTP/1.1\r\nHost: a\r\n\r\n"
BODY = b"x" * 2_000_000  # more than a server takes in at once, so that it stops reading and begins again


def who() -> bytes:
    try:
        current_principal()
    except TokenMissing:
        return b"nobody"
    return b"somebody"


async def tell(scope: Any, receive: Any, send: Any) -> None:
    """Reads its body, and tells whether somebody is the current caller."""
    more = True
    while more:
        more = (await receive()).get("more_body", False)
        await asyncio.sleep(0.005)  # a slow reader: the server has to wait for it, and stops reading
    body = who()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_the_next_request_on_a_connection_does_not_inherit_the_caller(http: str) -> None:
    """A server begins a request in the context of the one before it: when both were sent at once, and when it had to
    stop reading a long body. What stands outside of the middleware must not see the caller of what stands within."""
    within = AuthMiddleware(tell, RESOLVER)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await (tell if scope["path"] == "/public" else within)(scope, receive, send)

    head = f"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    short, long = (head + b"Content-Length: %d\r\n\r\n" % len(body) + body for body in (b"", BODY))
    with serving(app, http) as address:
        with socket.create_connection(address) as connection:
            assert asked(connection, short, PUBLIC) == [b"somebody", b"nobody"]
        with socket.create_connection(address) as connection:
            assert asked(connection, long) == [b"somebody"]
            assert asked(connection, PUBLIC) == [b"nobody"]


def test_a_caller_within_a_block_is_nobody_after_it() -> None:
    """Neither here nor in a context that was copied in the block; whoever was the current caller before is that."""
    caller = AuthResult(RESOLVER, RESOLVER.resolve(TOKEN))
    with current_within(caller):
        copied = contextvars.copy_context()
        assert (who(), copied.run(who)) == (b"somebody", b"somebody")
    assert (who(), copied.run(who)) == (b"nobody", b"nobody")
    assert caller.principal.user.clerk_id is not None  # only what was lent is over

    before = enter(caller)
    with current_within(AuthResult(RESOLVER, TokenMissing())):
        assert who() == b"nobody"
    assert who() == b"somebody"
    leave(before)
