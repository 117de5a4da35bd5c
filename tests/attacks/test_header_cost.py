"""Repeated and long headers: every way in reads the beginning of each, in one pass over all of them.

`CLERKMAP_SOAK=1` makes it 20 MB of headers instead of 2.
"""

import asyncio
import io
import os
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import pytest

from clerkmap.adapters import asgi, wsgi
from clerkmap.core.http import MAX_REQUEST_HEADER
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk
from clerkmap.webhooks import Reconciler
from counting import Count, counted_bytes, counted_text, counting_lines
from request_drivers import ADAPTERS, served
from requests_row import ADA

SIZE = 20_000_000 if os.environ.get("CLERKMAP_SOAK") else 2_000_000  # characters
PIECE = b"a=b; c=d; " * 100
SIGNED_IN = "/clerk/signed-in"


class Sent(NamedTuple):
    """A header that is repeated, and what comes of it in a request that has a good token besides."""

    name: str
    status: int


SENT = (Sent("cookie", 200), Sent("origin", 200), Sent("x-anything", 200), Sent("authorization", 400))
ALONE = (Sent("cookie", 400), Sent("authorization", 400))  # without a token


class Spent(NamedTuple):
    """What a request cost: lines of clerkmap that ran, and characters of the repeated header that it touched."""

    status: int
    lines: int
    touched: int


_asked: set[tuple[str, bool]] = set()


@cache
def app_of(adapter: str) -> Any:
    """The application of the table of requests, as an adapter protects it."""
    return served(adapter)


def ask_asgi(app: Any, headers: list[tuple[bytes, bytes]], *, version: str = "1.1", path: str = SIGNED_IN) -> int:
    """Call an ASGI application. The status it answers with."""
    told: list[Any] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": version,
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        told.append(message)

    asyncio.run(app(scope, receive, send))
    return int(told[0]["status"])


def ask_wsgi(app: Any, headers: dict[str, str], path: str = SIGNED_IN) -> int:
    """Call a WSGI application. The status it answers with."""
    begun: list[str] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
    }
    body = app(environ, lambda status, *_: begun.append(status))
    list(body)
    getattr(body, "close", lambda: None)()
    return int(begun[-1][:3])


def spent(adapter: str, sent: Sent, size: int, *, alone: bool, version: str = "1.1") -> Spent:
    """Send a request with that much of a header: each repetition by itself over ASGI, joined over WSGI."""
    app, touched = app_of(adapter), Count()
    if (adapter, alone) not in _asked:  # once for the start: keys are imported, the caller is made
        _asked.add((adapter, alone))
        spent(adapter, sent, 0, alone=alone)
    token = {} if alone else {"authorization": f"Bearer {ADA}"}
    if ADAPTERS[adapter].colour == "asgi":
        piece = counted_bytes(PIECE, touched)
        good = [(name.encode(), value.encode()) for name, value in token.items()]
        headers = [(b"host", b"app.example.com"), *good, *[(sent.name.encode(), piece)] * (size // len(PIECE))]
        with counting_lines() as lines:
            status = ask_asgi(app, headers, version=version)
    else:
        text = (PIECE.decode() * (size // len(PIECE)))[:size]
        joined = f"{token[sent.name]},{text}" if sent.name in token else text
        environ = {"host": "app.example.com", **token, sent.name: counted_text(joined, touched)}
        with counting_lines() as lines:
            status = ask_wsgi(app, environ)
    return Spent(status, lines.number, touched.number)


@pytest.mark.parametrize("alone", [False, True], ids=["with a token", "without"])
@pytest.mark.parametrize("adapter", [name for name in ADAPTERS if name != "django"] + ["django"])
def test_repeated_headers_cost_one_pass(adapter: str, alone: bool) -> None:
    """2 MB of a header, or 20: its first 16 KB are read, the rest is not touched, and twice the headers take twice the
    steps at most."""
    for sent in ALONE if alone else SENT:
        for version in ("1.1", "2") if ADAPTERS[adapter].colour == "asgi" else ("1.1",):
            half = spent(adapter, sent, SIZE // 2, alone=alone, version=version)
            whole = spent(adapter, sent, SIZE, alone=alone, version=version)
            want = 401 if sent.name == "authorization" and not alone else sent.status
            assert (sent.name, whole.status) == (sent.name, want)
            # A framework asks more than once for some of them, as when it answers a refusal.
            assert whole.touched <= 3 * (MAX_REQUEST_HEADER + 1), (sent, version)
            assert whole.touched == half.touched
            assert whole.lines <= 2.1 * half.lines


def endpoint() -> Reconciler:
    """What takes in deliveries."""
    return Reconciler(FakeClerk().instance, MemoryRepository())


@pytest.mark.parametrize("name", ["svix-id", "svix-signature", "webhook-signature", "content-encoding"])
@pytest.mark.parametrize("kind", ["asgi", "asgi, in one", "wsgi"])
def test_repeated_headers_of_a_delivery_cost_one_pass(kind: str, name: str) -> None:
    """2 MB of them, or of one, or 20, are refused, after no more was read than a delivery may have."""
    told: list[tuple[int, int]] = []
    for size in (SIZE // 2, SIZE):
        touched = Count()
        with counting_lines() as lines:
            if kind == "asgi":
                status = deliver_asgi([(name.encode(), counted_bytes(PIECE, touched))] * (size // len(PIECE)))
            elif kind == "asgi, in one":
                status = deliver_asgi([(name.encode(), counted_bytes(PIECE * (size // len(PIECE)), touched))])
            else:
                text = counted_text(PIECE.decode() * (size // len(PIECE)), touched)
                status = deliver_wsgi({f"HTTP_{name.upper().replace('-', '_')}": text})
        assert status == 400
        told.append((touched.number, lines.number))
    (half, lines_of_half), (whole, lines_of_whole) = told
    assert half == whole <= 3 * (MAX_REQUEST_HEADER + 1)
    assert lines_of_whole <= 2.1 * lines_of_half


def deliver_asgi(headers: list[tuple[bytes, bytes]]) -> int:
    told: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        told.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    asyncio.run(asgi.WebhookEndpoint(endpoint())(scope, receive, send))
    return int(told[0]["status"])


def deliver_wsgi(headers: dict[str, str]) -> int:
    begun: list[str] = []
    environ = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "2", "wsgi.input": io.BytesIO(b"{}"), **headers}
    start: Callable[..., Any] = lambda status, *_: begun.append(status)  # noqa: E731
    list(wsgi.WebhookEndpoint(endpoint())(environ, start))
    return int(begun[0][:3])
