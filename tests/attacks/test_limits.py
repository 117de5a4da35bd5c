"""The page of limits agrees with the code, and reading a token, a key set or a socket costs no more than it says."""

import asyncio
import inspect
import re
import tracemalloc
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from asgi_base import World, websocket_scope
from clerkmap import TokenError, Verifier
from clerkmap.adapters import asgi
from clerkmap.clerk.jwks import fetch_jwks
from clerkmap.core.claims import permissions_in
from clerkmap.core.jose import MAX_TOKEN
from clerkmap.core.strict_json import read_object
from clerkmap.local.app import _read
from clerkmap.testing import FakeClerk
from counting import Count, counted_bytes, counted_text, counting_lines

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"


class Limit(NamedTuple):
    """A row of the page."""

    what: str
    limit: str
    constant: str
    beyond: str
    work: str
    test: str


def limits() -> list[Limit]:
    """Return the rows of the tables that name a test."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [Limit(*row) for row in cells if len(row) == len(Limit._fields) and row[0] not in ("Input", "---")]


def value_of(constant: str) -> object:
    """A constant of clerkmap, or the default of an argument: `clerk.jwks.RemoteKeys(cooldown)`."""
    path, _, argument = constant.strip("`)").partition("(")
    module, _, name = path.rpartition(".")
    found: Any = getattr(import_module(f"clerkmap.{module}"), name)
    return inspect.signature(found).parameters[argument].default if argument else found


# The constants of all rows that have a number.
CONSTANTS = [
    "_runtime.threads.MAX_WAITING",
    "_runtime.threads.TIMEOUT",
    "adapters.asgi.BODY_TIMEOUT",
    "adapters.asgi.PREFLIGHT_TIMEOUT",
    "adapters.webhook_responses.MAX_ENCODING",
    "auth.resolver.Resolver(keep)",
    "auth.resolver.VERIFIED_AT_ONCE",
    "clerk.budget.Shares(keep)",
    "clerk.first_sight.DEADLINE",
    "clerk.first_sight.MOST_FLIGHTS",
    "clerk.jwks.DEADLINE",
    "clerk.jwks.MAX_BODY",
    "clerk.jwks.RemoteKeys(cooldown)",
    "clerk.known_tokens.KEPT",
    "clerk.opaque_tokens.MOST_FLIGHTS",
    "clerk.opaque_tokens.OpaqueTokens(keep)",
    "clerk.responses.MAX_BODY",
    "core.claims.MAX_PROFILE_TEXT",
    "core.deliveries.MAX_BODY",
    "core.deliveries.MAX_SIGNATURES",
    "core.deliveries.MAX_WEBHOOK_HEADER",
    "core.deliveries.TOLERANCE",
    "core.events.MAX_BODY_DEPTH",
    "core.http.MAX_REQUEST_HEADER",
    "core.http.MAX_TOKEN_FACTS",
    "core.jose.MAX_PARAMETER",
    "core.jose.MAX_TOKEN",
    "core.keys.MAX_KEYS",
    "core.opaque_tokens.MAX_ANSWER",
    "core.pages.MAX_REDIRECTS",
    "core.pages.MAX_RETURN",
    "core.strict_json.MAX_DEPTH",
    "core.token_rules.MAX_HEADERS",
    "repositories.arguments.MOST",
    "repositories.listing.MAX_CURSOR",
    "repositories.listing.MAX_TERM",
]


def test_the_page_has_every_limit() -> None:
    """Each constant stands in one row, and seven inputs are bounded without a number here."""
    assert sorted(row.constant.strip("`") for row in limits() if row.constant) == CONSTANTS
    assert [row.what for row in limits() if not row.constant] == [
        "number of headers",
        "number of cookies",
        "all other headers, such as forwarded ones and WebSocket subprotocols; query strings, forms, multipart bodies",
        "a WebSocket before it is accepted",
        "the same in WSGI",
        "parts of a token",
        "scopes, audiences, permissions, features",
    ]


@pytest.mark.parametrize("row", limits(), ids=lambda row: row.what[:40])
def test_the_page_says_what_the_code_does(row: Limit) -> None:
    """Each number is that of the constant, and each test is there."""
    number = re.match(r"[0-9][0-9,]*", row.limit)
    assert (number is not None) == bool(row.constant), "a number has a constant, and a constant a number"
    if number is not None:
        assert value_of(row.constant) == int(number[0].replace(",", ""))
    file, _, test = row.test.strip("`").partition("::")
    (path,) = Path(__file__).parents[1].rglob(file)
    assert re.search(rf"^(async )?def {test}\(", path.read_text(encoding="utf-8"), re.MULTILINE)


# --------------------------------------------------------------------------------------------------------- tokens


@pytest.mark.parametrize("token", ["x", ".", "a.b.", "ak_", "eyJhbGciOiJSUzI1NiJ9.", "e30."])
def test_a_token_costs_no_more_than_its_limit(token: str) -> None:
    """One of 20 MB is refused for its length alone: nothing in it is looked at but how it begins."""
    touched = Count()
    long = counted_text((token * 20_000_000)[:20_000_000], touched)
    longest = (token * MAX_TOKEN)[:MAX_TOKEN]
    verifier = Verifier(FakeClerk().instance)
    with counting_lines() as lines, pytest.raises(TokenError):
        verifier.verify(long)
    assert (touched.number, lines.number < 100) == (0, True)
    with counting_lines() as lines, pytest.raises(TokenError):
        verifier.verify(longest)
    assert lines.number < 300


def test_permissions_cost_no_more_than_their_masks() -> None:
    """Features times words would be more than linear: of the words, as many are looked at as a mask has bits."""
    spent = []
    for size in (500, 1000):
        with counting_lines() as lines:
            found = permissions_in(",".join(["o:a"] * size), ",".join("ab" * size), ",".join(["3"] * size))
        assert found == {"org:a:a", "org:a:b"}
        spent.append(lines.number)
    assert spent[1] <= 2.2 * spent[0]


@pytest.mark.parametrize("piece", [b"x", rb"\\", rb"\"", b'","', b"\xc3\xa9"])
def test_json_is_read_in_little_memory(piece: bytes) -> None:
    """A depth that might be too great is measured without keeping a way back from each character."""
    body = b'{"a":["' + piece * (500_000 // len(piece)) + b'"' + b",[]" * 40 + b"]}"
    tracemalloc.start()
    try:
        read_object(body)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most <= 40 * len(body)
    deep = b'{"a":"' + piece * 10 + b'","b":' + b"[" * 32 + b"]" * 32 + b"}"
    with pytest.raises(ValueError, match="strict JSON"):
        read_object(deep)


# ------------------------------------------------------------------------------------------------ pieces of a body


class Pieces(httpx.SyncByteStream):
    """A body that comes in pieces of one byte each."""

    def __init__(self, body: bytes, touched: Count) -> None:
        self._pieces = [counted_bytes(body[place : place + 1], touched) for place in range(len(body))]

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces


class Issuer(httpx.BaseTransport):
    """Answers with such a body."""

    def __init__(self, body: bytes, touched: Count) -> None:
        self._pieces = Pieces(body, touched)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=self._pieces)


def test_a_jwks_costs_one_pass_in_however_many_pieces() -> None:
    """Each piece is put behind those before it without copying them."""
    body, touched = b'{"keys":[' + b" " * 10_000 + b"]}", Count()
    instance = FakeClerk().make_instance(jwks=None)
    assert fetch_jwks(instance, Issuer(body, touched), 60) == {"keys": []}
    assert 0 < touched.number <= 2 * len(body)


def test_a_request_to_the_local_page_costs_one_pass_in_however_many_pieces() -> None:
    """The same of what a page on localhost sends."""
    body, touched = b'{"action":' + b" " * 10_000 + b'"x"}', Count()
    pieces = [counted_bytes(body[place : place + 1], touched) for place in range(len(body))]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    assert asyncio.run(_read(receive)) == {"action": "x"}
    assert 0 < touched.number <= 2 * len(body)


# ------------------------------------------------------------------------------------------------------ WebSockets


@pytest.mark.parametrize("extensions", [{}, None], ids=["closed", "answered"])
def test_a_refused_websocket_is_not_read(extensions: Any) -> None:
    """Whatever a client sends right behind its request: only the request itself is received."""
    world = World()
    app = asgi.AuthMiddleware(lambda *_: pytest.fail("it was reached"), world.resolver, require=True)
    received: list[str] = []
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        received.append("websocket.connect" if not received else "websocket.receive")
        return {"type": received[-1], "text": "x" * 1000}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(websocket_scope(extensions=extensions), receive, send))
    assert received == ["websocket.connect"]
    assert sent[0]["type"] in ("websocket.close", "websocket.http.response.start")
