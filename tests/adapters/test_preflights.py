"""CORS preflights: the only requests that pass a `require=` without a token, and no more of their answers than CORS."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import httpx
import pytest
from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from asgi_base import World, bearer, http_scope, told_by
from clerkmap import Principal, Requirement
from clerkmap.adapters import asgi, wsgi
from clerkmap.adapters.asgi import PreflightApp
from clerkmap.adapters.fastapi import Clerk
from clerkmap.errors import ConfigurationError
from plain_apps import code
from uvicorn_server import PATIENCE, listening, serving

ORIGIN, METHOD = ("Origin", "https://front.example"), ("Access-Control-Request-Method", "DELETE")
PREFLIGHT = [ORIGIN, METHOD]
CORS = [
    ("Access-Control-Allow-Origin", "https://front.example"),
    ("access-control-max-age", "600"),
    ("Vary", "Origin"),
    ("Allow", "DELETE, OPTIONS"),
]
OTHERS = [
    ("Content-Type", "text/plain"),
    ("Content-Length", "8"),
    ("Set-Cookie", "a=b"),
    ("X-Salary", "12"),
    ("ETag", "1"),
]
NEEDS = Requirement(organization_role="admin", fresh_membership=True)

Headers = list[tuple[str, str]]


class Reply(NamedTuple):
    """What came back, with names in lower case."""

    status: int
    headers: Headers
    body: bytes


class Protected(NamedTuple):
    """An application behind something that requires a role, and how it is asked."""

    ask: Callable[[str, Headers], Reply]
    reached: list[str]


def protected(colour: str, place: str, preflight: Any = "pass", status: int = 200) -> Protected:
    """An application that answers any method with a secret, in one of two colours, protected in one of two places."""
    world, reached = World(), list[str]()
    options = {} if preflight == "pass" else {"preflight": preflight}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["method"])
        headers = [(name.encode(), value.encode()) for name, value in [*CORS, *OTHERS]]
        await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": True})
        await send({"type": "http.response.body", "body": b"sala", "more_body": True})
        await send({"type": "http.response.body", "body": b"ries"})
        await send({"type": "http.response.trailers", "headers": []})

    def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
        reached.append(environ["REQUEST_METHOD"])
        start_response(f"{status} Fine", [*CORS, *OTHERS])(b"sal")
        return [b"ari", b"es"]

    def ask(method: str, headers: Headers) -> Reply:
        if colour == "asgi":
            whole = _around(asgi, app, world, place, options)
            sent = [(name.lower().encode(), value.encode()) for name, value in headers]
            told = asyncio.run(told_by(whole, http_scope(sent, method)))
            pairs = [(name.decode().lower(), value.decode()) for name, value in told.messages[0]["headers"]]
            return Reply(told.status, pairs, told.body)
        environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers}
        begun: list[tuple[str, Headers]] = []

        def start(status: str, headers: Headers, *_: Any) -> Callable[[bytes], None]:
            begun.append((status, headers))
            return written.append

        written: list[bytes] = []
        body = b"".join(_around(wsgi, wsgi_app, world, place, options)({"REQUEST_METHOD": method, **environ}, start))
        ((line, told_headers),) = begun
        pairs = [(name.lower(), value) for name, value in told_headers]
        return Reply(int(line[:3]), pairs, b"".join(written) + body)

    good = f"Bearer {world.token()}"
    return Protected(
        lambda method, headers: ask(method, [(n, good if v == "good" else v) for n, v in headers]), reached
    )


def _around(module: Any, app: Any, world: World, place: str, options: dict[str, Any]) -> Any:
    if place == "middleware":
        return module.AuthMiddleware(app, world.resolver, require=NEEDS, **options)
    return module.AuthMiddleware(module.Require(app, NEEDS, **options), world.resolver)


EACH = pytest.mark.parametrize(
    ("colour", "place"), [(c, p) for c in ("asgi", "wsgi") for p in ("middleware", "require")]
)


@EACH
@pytest.mark.parametrize("status", [200, 204, 403])
def test_a_preflight_is_told_of_cors_and_of_nothing_else(colour: str, place: str, status: int) -> None:
    """Its status, the headers of CORS, `Vary` and `Allow`; no body, and the length of none."""
    app = protected(colour, place, status=status)
    length = [("content-length", "0")] if status != 204 else []
    want = sorted([(name.lower(), value) for name, value in CORS] + length)
    for headers in (
        PREFLIGHT,
        [*PREFLIGHT, ("Authorization", "Bearer nonsense")],
        [*PREFLIGHT, ("Authorization", "good")],
    ):
        reply = app.ask("OPTIONS", headers)
        assert (reply.status, sorted(reply.headers), reply.body) == (status, want, b"")
    assert app.reached == ["OPTIONS"] * 3


@EACH
@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("OPTIONS", []),
        ("OPTIONS", [ORIGIN]),
        ("OPTIONS", [METHOD]),
        ("OPTIONS", [("Origin", ""), METHOD]),
        ("OPTIONS", [ORIGIN, ("Access-Control-Request-Method", "")]),
        ("OPTIONS", [*PREFLIGHT, ("Upgrade", "websocket")]),
        ("options", PREFLIGHT),
        ("OPTIONS ", PREFLIGHT),
        ("GET", PREFLIGHT),
        ("TRACE", PREFLIGHT),
    ],
)
def test_every_other_request_is_refused_like_any(colour: str, place: str, method: str, headers: Headers) -> None:
    """`OPTIONS` alone opens nothing: an application may answer it as it answers any method."""
    app = protected(colour, place)
    reply = app.ask(method, headers)
    assert (reply.status, code(reply.body), app.reached) == (401, "token_missing", [])


@EACH
def test_options_with_a_token_is_answered_in_full(colour: str, place: str) -> None:
    """It is a method like any other."""
    reply = protected(colour, place).ask("OPTIONS", [("Authorization", "good")])
    assert (reply.status, reply.body) == (200, b"salaries")
    assert ("x-salary", "12") in reply.headers


@EACH
def test_preflights_can_be_refused(colour: str, place: str) -> None:
    """For a CORS middleware that stands outside: then a preflight needs what any request needs."""
    app = protected(colour, place, "refuse")
    assert (app.ask("OPTIONS", PREFLIGHT).status, app.reached) == (401, [])
    assert app.ask("OPTIONS", [*PREFLIGHT, ("Authorization", "good")]).body == b"salaries"


@pytest.mark.parametrize("wrong", ["passes", "", None, True])
@EACH
def test_the_option_has_two_values(colour: str, place: str, wrong: Any) -> None:
    """Any other is told at once."""
    module: Any = asgi if colour == "asgi" else wsgi
    with pytest.raises(ConfigurationError, match="preflight"):
        _around(module, lambda *_: None, World(), place, {"preflight": wrong})


@EACH
def test_what_an_application_refuses_of_a_preflight_is_its_answer(colour: str, place: str) -> None:
    """Where the application itself asks who is calling, nobody is."""
    world = World()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asgi.principal_of(scope)

    def wsgi_app(environ: Any, start_response: Any) -> Iterator[bytes]:
        yield str(wsgi.principal_of(environ)).encode()

    if colour == "asgi":
        headers = [(name.lower().encode(), value.encode()) for name, value in PREFLIGHT]
        told = asyncio.run(told_by(_around(asgi, app, world, place, {}), http_scope(headers, "OPTIONS")))
        assert (told.status, code(told.body)) == (401, "token_missing")
    else:
        environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in PREFLIGHT}
        begun: list[str] = []
        start: Any = lambda status, *_: begun.append(status)  # noqa: E731
        body = _around(wsgi, wsgi_app, world, place, {})({"REQUEST_METHOD": "OPTIONS", **environ}, start)
        assert (code(b"".join(body)), begun) == ("token_missing", ["401 Unauthorized"])


# ------------------------------------------------------------------------------------------------------------ streams


def test_a_wsgi_stream_is_closed_unread() -> None:
    """Of an endless one, a single piece is asked for: a generator begins its answer with it."""
    world, told = World(), list[str]()

    def endless(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", CORS)
        try:
            while True:
                told.append("a piece")
                yield b"x" * 65_536
        finally:
            told.append("closed")

    app: Any = wsgi.AuthMiddleware(endless, world.resolver, require=True)
    environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in PREFLIGHT}
    begun: list[Any] = []
    assert list(app({"REQUEST_METHOD": "OPTIONS", **environ}, lambda *each: begun.append(each))) == []
    assert told == ["a piece", "closed"]
    assert dict(begun[0][1])["content-length"] == "0"


@pytest.mark.parametrize("where", ["in the call", "in a generator", "in close"])
def test_a_wsgi_application_that_writes_without_end_is_ended(where: str) -> None:
    """The first call of `write` ends it, also where it catches every exception, and its answer is sent."""
    written: list[str] = []

    class Body:
        def __init__(self, write: Callable[[bytes], object]) -> None:
            self._write = write

        def __iter__(self) -> Iterator[bytes]:
            return iter([b"x"])

        def close(self) -> None:
            write_all(self._write)

    def write_all(write: Callable[[bytes], object]) -> None:
        for _ in range(1_000):
            written.append("a piece")
            with suppress(Exception):
                write(b"x" * 65_536)

    def called(environ: Any, start_response: Any) -> list[bytes]:
        write_all(start_response("200 OK", CORS))
        return []

    def generated(environ: Any, start_response: Any) -> Iterator[bytes]:
        write_all(start_response("200 OK", CORS))
        yield b"x"

    def closed(environ: Any, start_response: Any) -> Body:
        return Body(start_response("200 OK", CORS))

    begun, body = ask_wsgi({"in the call": called, "in a generator": generated, "in close": closed}[where])
    assert (begun[0], dict(begun[1])["content-length"], body) == ("200 OK", "0", [])
    assert written == ["a piece"]


@pytest.mark.parametrize(
    ("told", "sent"),
    [
        ("200 Fine\r\nSet-Cookie: a=b", "200 OK"),
        ("204 the salary is 12", "204 No Content"),
        ("299 \x00\N{SNOWMAN}", "299 Unknown"),
        ("200", "200 OK"),
    ],
)
def test_a_status_line_is_sent_in_words_of_its_own(told: str, sent: str) -> None:
    """Only its number passes: a reason phrase may hold a line break, or a secret."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(told, CORS)
        return []

    assert ask_wsgi(app)[0][0] == sent


@pytest.mark.parametrize("told", ["", "20", "abc", "+20 OK", "1_0 OK", "\u0662\u0660\u0660 OK", "20\r\n", "2000 OK"])
def test_a_status_that_is_no_number_is_an_error_of_the_application(told: str) -> None:
    """It is raised to the server, before any answer is begun."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(told, CORS)
        return []

    with pytest.raises(ValueError, match="three digits"):
        ask_wsgi(app)


ODD: Headers = [
    ("Vary", "Origin\r\nSet-Cookie: a=b"),
    ("Access-Control-A: b\r\nSet-Cookie", "a=b"),
    ("Access-Control-Allow-Origin", "https://front.example\n"),
    ("Access-Control-Max-Age", "6\x000"),
]


def test_no_line_break_passes_in_a_header() -> None:
    """A header with a control character is dropped in either colour."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [*ODD, ("Allow", "DELETE")])
        return []

    async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(name.encode(), value.encode()) for name, value in [*ODD, ("Allow", "DELETE")]]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    want = [("Allow", "DELETE"), ("content-length", "0")]
    assert ask_wsgi(app)[0][1] == want
    told = asyncio.run(told_by(PreflightApp(asgi_app), http_scope(method="OPTIONS")))
    assert told.messages[0]["headers"] == [(name.encode(), value.encode()) for name, value in want]


def ask_wsgi(app: Any) -> tuple[tuple[str, Headers], list[bytes]]:
    """Send a preflight to a protected WSGI application. Return what it begins its answer with, and its body."""
    begun: list[tuple[str, Headers]] = []
    environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in PREFLIGHT}
    whole: Any = wsgi.AuthMiddleware(app, World().resolver, require=True)
    body = list(whole({"REQUEST_METHOD": "OPTIONS", **environ}, lambda *each: begun.append(each)))
    (answer,) = begun
    return answer, body


@pytest.mark.parametrize("waits", [False, True], ids=["busy", "waiting"])
def test_an_endless_asgi_stream_is_ended(waits: bool) -> None:
    """Its answer has been sent long before: whatever it goes on with is discarded, and soon it is cancelled."""
    ended: list[str] = []

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        assert (await receive())["type"] == "http.disconnect"
        try:
            while True:
                if waits:
                    await asyncio.Event().wait()
                await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
        finally:
            ended.append("ended")

    told = asyncio.run(told_by(PreflightApp(endless, timeout=0.05), http_scope(method="OPTIONS")))
    assert ([message["type"] for message in told.messages], ended) == (
        ["http.response.start", "http.response.body"],
        ["ended"],
    )
    assert told.messages[1] == {"type": "http.response.body", "body": b"", "more_body": False}


def test_a_timeout_of_the_application_is_its_own() -> None:
    """It is not taken for the end of a stream."""

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        raise TimeoutError("of a database")

    with pytest.raises(TimeoutError, match="database"):
        asyncio.run(told_by(PreflightApp(slow), http_scope(method="OPTIONS")))


# ------------------------------------------------------------------------------------- a CORS middleware, real servers


def cors_app(world: World, place: str, streams: bool) -> Any:
    """A Starlette application with its CORS middleware within ours, or outside of it."""

    async def page(request: Request) -> Any:
        body = str(asgi.principal_of(request.scope).user.clerk_id)

        async def pieces() -> AsyncIterator[str]:
            yield body

        return StreamingResponse(pieces()) if streams else PlainTextResponse(body)

    cors = Middleware(CORSMiddleware, allow_origins=["https://front.example"], allow_methods=["DELETE"])
    options: Any = {"require": True} if place == "inside" else {"require": True, "preflight": "refuse"}
    ours = Middleware(asgi.AuthMiddleware, resolver=world.resolver, **options)
    return Starlette(
        routes=[Route("/", page, methods=["GET", "DELETE"])],
        middleware=[ours, cors] if place == "inside" else [cors, ours],
    )


@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("place", ["inside", "outside"])
def test_a_browser_is_let_in_by_a_cors_middleware(place: str, http: str) -> None:
    """Preflight and request, one after the other on one connection."""
    world = World()
    headers = {"Authorization": f"Bearer {world.token()}", "Origin": "https://front.example"}
    with (
        serving(cors_app(world, place, True), http) as (host, port),
        httpx.Client(trust_env=False, timeout=120) as client,
    ):
        for _ in range(2):
            asked = client.options(f"http://{host}:{port}/", headers=dict(PREFLIGHT))
            assert asked.status_code == 200
            assert asked.headers["access-control-allow-origin"] == "https://front.example"
            assert "DELETE" in asked.headers["access-control-allow-methods"]
            assert asked.content == (b"" if place == "inside" else b"OK")
            assert client.delete(f"http://{host}:{port}/", headers=headers).text == world.user.id
        assert client.options(f"http://{host}:{port}/", headers={"Origin": "https://front.example"}).status_code == 401


class Salaries:
    """An endpoint of Starlette's that answers every method, for Starlette asks it for none."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self._scope, self._receive, self._send = scope, receive, send

    def __await__(self) -> Any:
        return PlainTextResponse("salaries")(self._scope, self._receive, self._send).__await__()


@pytest.mark.parametrize("place", ["middleware", "require"])
def test_a_starlette_route_tells_a_preflight_nothing(place: str) -> None:
    """Its endpoint answers whatever comes: `OPTIONS` alone is refused, and of a preflight's answer no body is left."""
    world = World()
    inner = [Middleware(asgi.Require)] if place == "require" else []
    options: Any = {"require": True} if place == "middleware" else {}
    outer = Middleware(asgi.AuthMiddleware, resolver=world.resolver, **options)
    app = Starlette(routes=[Route("/", Salaries, middleware=inner)], middleware=[outer])
    preflight = [(name.lower().encode(), value.encode()) for name, value in PREFLIGHT]

    async def answers() -> list[tuple[int, bytes]]:
        told = [await told_by(app, http_scope(sent, "OPTIONS")) for sent in ([], preflight, bearer(world.token()))]
        return [(each.status, each.body if each.status == 200 else b"") for each in told]

    assert asyncio.run(answers()) == [(401, b""), (200, b""), (200, b"salaries")]


@contextmanager
def waitress(app: Any) -> Iterator[str]:
    """The address of an application in waitress."""
    with closing(listening()) as listener:
        server = import_module("waitress.server").create_server(app, sockets=[listener], threads=2)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield "http://{}:{}/".format(*listener.getsockname())
        finally:
            server.close()
            thread.join(PATIENCE)


def test_a_real_wsgi_server_sends_a_reduced_answer() -> None:
    """And the next request on the same connection gets its own."""
    world = World()

    def cors(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [*CORS, ("Content-Length", "8"), ("X-Salary", "12")])
        return [b"salaries"]

    app = wsgi.AuthMiddleware(cors, world.resolver, require=True)
    with waitress(app) as address, httpx.Client(trust_env=False, timeout=120) as client:
        for _ in range(2):
            asked = client.options(address, headers=dict(PREFLIGHT))
            assert (asked.status_code, asked.content, asked.headers["content-length"]) == (200, b"", "0")
            assert "x-salary" not in asked.headers
            full = client.options(address, headers={"Authorization": f"Bearer {world.token()}"})
            assert full.content == b"salaries"


# ---------------------------------------------------------------------------------------------------------- FastAPI


def test_a_dependency_is_asked_whatever_the_method() -> None:
    """A CORS middleware stands in front of all dependencies, and answers a preflight itself."""
    world = World()
    clerk, app = Clerk(world.resolver), FastAPI()
    outside = FastAPI()

    def page(principal: Annotated[Principal, Depends(clerk.principal)]) -> str:
        return str(principal.user.clerk_id)

    for each in (app, outside):
        each.add_api_route("/", page, methods=["GET", "OPTIONS"])
    outside.add_middleware(CORSMiddleware, allow_origins=["https://front.example"], allow_methods=["DELETE"])
    sent = [(name.lower().encode(), value.encode()) for name, value in PREFLIGHT]

    async def statuses(app: Any) -> list[int]:
        return [(await told_by(app, http_scope(each, "OPTIONS"))).status for each in ([], sent, bearer(world.token()))]

    assert asyncio.run(statuses(app)) == [401, 401, 200]
    assert asyncio.run(statuses(outside)) == [401, 200, 200]


@pytest.mark.parametrize("way", ["asgi", "wsgi"])
def test_a_preflight_overrides_no_method(way: str) -> None:
    """Nothing that could override the method reaches the application: no other header, no query, no body."""
    seen: dict[str, Any] = {}
    sent = [*PREFLIGHT, ("X-HTTP-Method-Override", "DELETE"), ("Content-Type", "application/x-www-form-urlencoded")]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(names={name for name, _ in scope["headers"]}, query=scope["query_string"], body=await receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def wsgi_app(environ: Any, start_response: Any) -> Any:
        names = {name[5:].lower().replace("_", "-").encode() for name in environ if name.startswith("HTTP_")}
        body = {"type": "http.request", "body": environ["wsgi.input"].read(), "more_body": False}
        seen.update(names=names, query=environ["QUERY_STRING"].encode(), body=body)
        start_response("200 OK", [])
        return []

    world = World()
    if way == "asgi":
        headers = [(name.lower().encode(), value.encode()) for name, value in sent]
        scope = {**http_scope(headers, method="OPTIONS"), "query_string": b"_method=DELETE"}
        form = {"type": "http.request", "body": b"_method=DELETE", "more_body": False}
        protected = asgi.AuthMiddleware(app, world.resolver, require=True)
        asyncio.run(told_by(protected, scope, form))
    else:
        environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in sent}
        environ |= {"REQUEST_METHOD": "OPTIONS", "QUERY_STRING": "_method=DELETE", "CONTENT_LENGTH": "14"}
        form_body: dict[str, Any] = {"wsgi.input": io.BytesIO(b"_method=DELETE")}
        list(wsgi.AuthMiddleware(wsgi_app, world.resolver, require=True)(environ | form_body, lambda *_: print))
    assert seen["names"] <= {b"origin", b"host", b"access-control-request-method"}
    assert (seen["query"], seen["body"]["body"]) == (b"", b"")
