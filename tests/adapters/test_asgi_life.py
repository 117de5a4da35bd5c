"""Applications that refuse by themselves, in the middle of a request; and how they start, with keys and without."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from conftest import Listener

from asgi_base import SERVERS, World, bearer, http_scope, served, told_by
from clerkmap import ClerkmapError, Resolver, Verifier, threaded
from clerkmap.adapters import asgi, wsgi
from clerkmap.auth.result import current_principal
from clerkmap.errors import ConfigurationError, KeysUnavailable, RoleMissing, TokenMissing
from key_server import World as RemoteWorld
from plain_apps import Calls, code, me, wsgi_me, wsgi_plain


def test_a_refusal_of_the_application_becomes_an_answer_unless_it_has_begun_one() -> None:
    """Then it comes out, and the server breaks off."""
    world = World()

    def app(begins: bool) -> Any:
        async def run(scope: Any, receive: Any, send: Any) -> None:
            if begins:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            raise RoleMissing

        return asgi.AuthMiddleware(run, world.resolver)

    told = asyncio.run(told_by(app(False), http_scope(bearer(world.token()))))
    assert (told.status, code(told.body)) == (403, "role_missing")
    with pytest.raises(RoleMissing):
        asyncio.run(told_by(app(True), http_scope(bearer(world.token()))))


def test_a_wsgi_application_that_is_a_generator_may_refuse_too() -> None:
    """Its context is that of the request, from the first piece to `close`."""
    world = World()
    closed = []

    def app(environ: Any, start_response: Any) -> Any:
        try:
            start_response("200 OK", [])
            yield str(current_principal().user.clerk_id).encode()
            yield str(current_principal().user.clerk_id).encode()
        finally:
            closed.append(current_principal().user.clerk_id)

    calls = Calls(wsgi.AuthMiddleware(app, world.resolver))
    assert calls(world.token()) == world.user.id.encode() * 2
    assert closed == [world.user.id]
    with pytest.raises(TokenMissing):
        current_principal()

    def refusing(environ: Any, start_response: Any) -> Any:
        yield str(wsgi.principal_of(environ)).encode()

    calls = Calls(wsgi.AuthMiddleware(refusing, world.resolver))
    assert code(calls()) == "token_missing"
    assert calls.status == "401 Unauthorized"


def test_a_wsgi_body_that_is_given_up_ends_in_its_own_context() -> None:
    """The client has hung up after the first piece."""
    world = World()
    closed = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"first", b"second"])

        def close(self) -> None:
            closed.append(current_principal().user.clerk_id)

    def app(environ: Any, start_response: Any) -> Body:
        start_response("200 OK", [])
        return Body()

    environ = {"REQUEST_METHOD": "GET", "HTTP_AUTHORIZATION": f"Bearer {world.token()}"}
    body: Any = wsgi.AuthMiddleware(app, world.resolver)(environ, lambda *told: None)  # type: ignore[arg-type]
    assert next(body) == b"first"
    body.close()
    assert closed == [world.user.id]


def test_a_wsgi_application_may_refuse_after_it_began_and_before_it_sent() -> None:
    """What it began is taken back."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield str(wsgi.principal_of(environ)).encode()

    calls = Calls(wsgi.AuthMiddleware(app, World().resolver))
    assert code(calls()) == "token_missing"
    assert calls.status == "401 Unauthorized"


def test_the_current_principal_is_that_of_the_innermost_and_nobodys_afterwards() -> None:
    """In the very task that has called the application, too."""
    world, other = World(), World(seed=64)
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(current_principal().user.clerk_id)
        with pytest.raises(KeysUnavailable):
            await asgi.AuthMiddleware(fails, other.resolver)({**scope, "headers": other.bearer()}, receive, send)
        seen.append(current_principal().user.clerk_id)
        await me(scope, receive, send)

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        seen.append(current_principal().user.clerk_id)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeysUnavailable

    async def run() -> None:
        async def send(message: Any) -> None:
            pass

        await asgi.AuthMiddleware(app, world.resolver)(http_scope(world.bearer()), send, send)  # type: ignore[arg-type]
        with pytest.raises(TokenMissing):
            current_principal()

    asyncio.run(run())
    assert seen == [world.user.id, other.user.id, world.user.id]


def test_a_cookie_carries_a_session_and_nothing_else() -> None:
    """Where other tokens are accepted they come in the header; memory makes no difference."""
    world = World()
    verifier = Verifier(world.clerk.instance, accept=["session", "oauth"], clock=world.clock)
    resolver = Resolver(world.clerk.instance, world.rows, verifier=verifier)
    token = world.clerk.oauth_token(world.user)
    calls = Calls(wsgi.AuthMiddleware(wsgi_me, resolver))
    app = asgi.AuthMiddleware(me, resolver)
    cookie = [(b"cookie", f"__session={token}; __client_uat=1".encode())]
    for _ in range(2):
        told = asyncio.run(told_by(app, http_scope(cookie)))
        assert (told.status, code(told.body)) == (401, "token_kind_refused")
        assert code(calls(HTTP_COOKIE=cookie[0][1].decode())) == "token_kind_refused"
        assert asyncio.run(told_by(app, http_scope(bearer(token)))).body == calls(token) == world.user.id.encode()


def test_a_wrong_configuration_is_nobodys_fault_who_calls() -> None:
    """It is refused at the start: no request of a synchronous server could be answered."""
    with pytest.raises(ConfigurationError, match="synchronous repository"):
        wsgi.AuthMiddleware(wsgi_plain, World(threaded(World().rows)).resolver)
    wrong: Any = World().rows
    with pytest.raises(ConfigurationError, match="takes a resolver"):
        asgi.AuthMiddleware(me, wrong)


def test_one_requests_refusal_is_not_anothers() -> None:
    """An error takes along where it was raised, and what was being handled there: each request has its own."""
    world = World()
    raised: list[ClerkmapError] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            raise ValueError("what the first request holds")
        except ValueError:
            try:
                asgi.principal_of(scope)
            except ClerkmapError as error:
                raised.append(error)
        await me(scope, receive, send)

    protected = asgi.AuthMiddleware(app, world.resolver)
    for _ in range(2):
        asyncio.run(told_by(protected, http_scope()))
    assert raised[0] is not raised[1]


# ------------------------------------------------------------------------------------------------------ the start


async def _with_lifespan(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "lifespan":
        await me(scope, receive, send)
        return
    while True:
        stage = (await receive())["type"]
        await send({"type": f"{stage}.complete"})
        if stage == "lifespan.shutdown":
            return


@pytest.mark.parametrize("server", SERVERS)
def test_a_start_fetches_the_keys_once(server: str, listener: Listener) -> None:
    """And no request after it. There is nothing to warn of."""

    async def run() -> None:
        remote = RemoteWorld(seed=63)
        world = World()
        resolver = Resolver(remote.instance, world.rows, verifier=remote.verifier)
        app = asgi.AuthMiddleware(asgi.AuthMiddleware(_with_lifespan, resolver), resolver)
        async with (
            served(server, app, lifespan=True) as port,
            httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}", timeout=120) as client,
        ):
            for _ in range(3):
                answer = await client.get("/", headers={"authorization": f"Bearer {remote.token()}"})
                assert answer.text == remote.user.id
            assert remote.server.count == 1
            assert listener.lines == []

    asyncio.run(run())


@pytest.mark.parametrize("server", SERVERS)
def test_it_starts_although_the_key_server_is_away(server: str) -> None:
    """Who brings a token is answered 503 until it is back; who brings none is served."""

    async def run() -> None:
        remote = RemoteWorld(seed=63)
        remote.server.trouble = lambda request: httpx.Response(500, request=request)
        world = World()
        resolver = Resolver(remote.instance, world.rows, verifier=remote.verifier)
        async with (
            served(server, asgi.AuthMiddleware(_with_lifespan, resolver), lifespan=True) as port,
            httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}", timeout=120) as client,
        ):
            headers = {"authorization": f"Bearer {remote.token()}"}
            assert (await client.get("/")).text == "nobody"
            away = await client.get("/", headers=headers)
            assert (away.status_code, away.json()["code"], away.headers["retry-after"]) == (
                503,
                KeysUnavailable.code,
                "10",
            )
            remote.server.trouble = None
            remote.monotonic.advance(11)
            assert (await client.get("/", headers=headers)).text == remote.user.id

    asyncio.run(run())
