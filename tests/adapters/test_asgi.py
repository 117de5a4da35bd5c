"""The middlewares by themselves: what an application finds, what nobody can forge, what passes, and how they start."""

import asyncio
from typing import Any

import httpx
import pytest

from asgi_base import SERVERS, World, bearer, http_scope, served, told_by, websocket_scope
from clerkmap.adapters import asgi, wsgi
from clerkmap.adapters.asgi import Receive, Scope, Send
from clerkmap.core.requirements import Requirement
from clerkmap.errors import ConfigurationError
from plain_apps import Calls, code, me, wsgi_me

KEYS = ("clerkmap.auth_result", "clerkmap.lease", "clerkmap.principal")


# ------------------------------------------------------------------------------------------------------- forgery


@pytest.mark.parametrize("server", SERVERS)
def test_a_header_is_no_key_of_the_scope(server: str) -> None:
    """Whatever it is called, a stranger is nobody."""

    async def run() -> None:
        world = World()
        async with (
            served(server, asgi.AuthMiddleware(me, world.resolver)) as port,
            httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}", timeout=120) as client,
        ):
            for key in KEYS:
                for name in (key, f"x-{key}", key.replace(".", "-"), key.replace(".", "_")):
                    answer = await client.get(f"/?{key}=user_1", headers={name: world.user.id})
                    assert answer.text == "nobody"
            answer = await client.get("/", headers={"authorization": f"Bearer {world.token()}"})
            assert answer.text == world.user.id

    asyncio.run(run())


def test_what_stands_in_the_environ_already_is_overwritten() -> None:
    """CGI-like servers put the variables of the environment there, beside the headers."""
    world = World()
    calls = Calls(wsgi.AuthMiddleware(wsgi_me, world.resolver))
    forged = dict.fromkeys([*KEYS, *(f"HTTP_{key.upper()}" for key in KEYS), "REMOTE_USER"], "user_1")
    assert calls(**forged) == b"nobody"
    assert calls(world.token(), **forged) == world.user.id.encode()


@pytest.mark.parametrize("forged", ["user_1", {"user": "user_1"}, object(), None])
def test_what_is_no_caller_is_nobody(forged: Any) -> None:
    """A key of that name that something else has put there."""
    for auth_result_of in (
        asgi.principal_of,
        asgi.optional_principal_of,
        wsgi.principal_of,
        wsgi.optional_principal_of,
    ):
        with pytest.raises(ConfigurationError, match="AuthMiddleware"):
            auth_result_of({"clerkmap.auth_result": forged})
        with pytest.raises(ConfigurationError):
            auth_result_of({})


# ------------------------------------------------------------------------------------------------------- nesting


def test_the_inner_middleware_decides_for_what_is_in_it() -> None:
    """And the outer one for all the rest. Neither lets in whom the other would refuse."""
    world, other = World(), World()
    other.rows.put([other.clerk.record(other.user, banned=True)])

    async def ask(app: Any, token: str | None = None) -> tuple[int, bytes]:
        told = await told_by(app, http_scope(bearer(token) if token else None))
        return told.status, told.body

    async def run() -> None:
        token = world.token()
        inner = asgi.AuthMiddleware(me, other.resolver)
        for required in (False, True):
            status, body = await ask(asgi.AuthMiddleware(inner, world.resolver, require=required), token)
            assert (status, code(body)) == (403, "user_banned")
        closed = asgi.AuthMiddleware(me, world.resolver, require=True)
        inside = (closed, asgi.Require(me), asgi.Require(closed))
        for app in (closed, *(asgi.AuthMiddleware(each, world.resolver) for each in inside)):
            assert await ask(app, token) == (200, world.user.id.encode())
            status, body = await ask(app)
            assert (status, code(body)) == (401, "token_missing")

    asyncio.run(run())


def test_a_require_without_a_middleware_is_a_mistake() -> None:
    """It is not taken for an open door, and nor is a False in the place of a requirement."""
    with pytest.raises(ConfigurationError, match="AuthMiddleware"):
        asyncio.run(told_by(asgi.Require(me), http_scope()))
    with pytest.raises(ConfigurationError, match="AuthMiddleware"):
        Calls(wsgi.Require(wsgi_me))()
    for wrong in (False, None, "admin", {"role": "admin"}):
        with pytest.raises(ConfigurationError):
            asgi.Require(me, wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError):
            wsgi.Require(wsgi_me, wrong)  # type: ignore[arg-type]
        if wrong is not False:
            with pytest.raises(ConfigurationError):
                asgi.AuthMiddleware(me, World().resolver, require=wrong)  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------------------------- what passes


@pytest.mark.parametrize("kind", ["", "http2", "HTTP", "webtransport", None])
def test_what_is_neither_http_nor_a_websocket_is_refused(kind: str | None) -> None:
    """Whoever it is, nobody can tell."""
    reached = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)

    for protected in (asgi.AuthMiddleware(app, World().resolver), asgi.Require(app)):
        with pytest.raises(ConfigurationError):
            asyncio.run(told_by(protected, {"type": kind, "headers": []}))
    assert reached == []


def test_a_head_that_is_refused_has_no_body_on_wsgi() -> None:
    """Not every server takes it away, and then the next answer would begin with it."""
    calls = Calls(wsgi.AuthMiddleware(wsgi_me, World().resolver, require=True))
    assert calls(method="HEAD") == b""
    assert calls.status == "401 Unauthorized"
    assert code(calls()) == "token_missing"


@pytest.mark.parametrize("accept", ["text/html,application/xhtml+xml", "application/json"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_browser_is_sent_to_choose_an_organization(accept: str, method: str) -> None:
    """If it is to show a page. Anybody else gets the plain answer, and a WebSocket, too."""
    world = World()
    needs = Requirement(organization_page="/choose")
    token = world.clerk.token(world.user)
    told = asyncio.run(
        told_by(
            asgi.AuthMiddleware(me, world.resolver, require=needs),
            http_scope([*bearer(token), (b"accept", accept.encode())], method),
        )
    )
    calls = Calls(wsgi.AuthMiddleware(wsgi_me, world.resolver, require=needs))
    calls(token, method, HTTP_ACCEPT=accept)
    if "html" in accept and method == "GET":
        assert (told.status, calls.status) == (303, "303 See Other")
        assert told.headers["location"] == "/choose?redirect_url=%2F"
    else:
        assert (told.status, code(told.body), calls.status) == (401, "organization_missing", "401 Unauthorized")


def test_a_websocket_is_denied_by_a_code_where_the_server_knows_no_answers() -> None:
    """The code is that of the answer, with 4000 added."""

    async def run() -> None:
        world = World()
        app = asgi.AuthMiddleware(me, world.resolver, require=True)
        connect = {"type": "websocket.connect"}
        told = await told_by(app, websocket_scope(extensions={}), connect)
        assert told.messages == [{"type": "websocket.close", "code": 4401, "reason": "token_missing"}]
        told = await told_by(app, websocket_scope(), connect)
        assert (told.types[0], told.status) == ("websocket.http.response.start", 401)

    asyncio.run(run())


def test_headers_that_can_be_read_once_are_read_once() -> None:
    """The specification allows them. The application reads them too, and so does a request that is recognised."""
    world, seen = World(), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((asgi.principal_of(scope).user.clerk_id, list(scope["headers"])))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    token = world.token()
    guarded = asgi.AuthMiddleware(app, world.resolver)
    for _ in range(3):
        pairs = [(b"host", b"a"), (b"authorization", b"Bearer " + token.encode())]
        scope = http_scope()
        scope["headers"] = iter([iter(pair) for pair in pairs])
        asyncio.run(told_by(guarded, scope))
        assert seen.pop() == (world.user.id, pairs)
