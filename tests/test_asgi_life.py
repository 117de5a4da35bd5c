"""Applications that refuse by themselves, in the middle of a request; and how they start, with keys and without."""

import asyncio
from typing import Any

import httpx
import pytest

from asgi_base import SERVERS, World, bearer, http_scope, served, told_by
from clerkmap import ClerkmapError
from clerkmap.adapters import asgi, wsgi
from clerkmap.caller import current_principal
from clerkmap.errors import KeysUnavailable, RoleMissing, TokenMissing
from key_server import World as RemoteWorld
from plain_apps import Calls, code, me


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
def test_a_start_fetches_the_keys_once(server: str) -> None:
    """And no request after it."""

    async def run() -> None:
        remote = RemoteWorld(seed=63)
        world = World()
        resolver = type(world.resolver)(remote.instance, world.rows, verifier=remote.verifier)
        app = asgi.AuthMiddleware(asgi.AuthMiddleware(_with_lifespan, resolver), resolver)
        async with (
            served(server, app, lifespan=True) as port,
            httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}") as client,
        ):
            for _ in range(3):
                answer = await client.get("/", headers={"authorization": f"Bearer {remote.token()}"})
                assert answer.text == remote.user.id
            assert remote.server.count == 1

    asyncio.run(run())


@pytest.mark.parametrize("server", SERVERS)
def test_it_starts_although_the_key_server_is_away(server: str) -> None:
    """Who brings a token is answered 503 until it is back; who brings none is served."""

    async def run() -> None:
        remote = RemoteWorld(seed=63)
        remote.server.trouble = lambda request: httpx.Response(500, request=request)
        world = World()
        resolver = type(world.resolver)(remote.instance, world.rows, verifier=remote.verifier)
        async with (
            served(server, asgi.AuthMiddleware(_with_lifespan, resolver), lifespan=True) as port,
            httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}") as client,
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
