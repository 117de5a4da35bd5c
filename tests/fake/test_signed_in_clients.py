"""`FakeClerk.signed_in`: the test clients of every framework carry a fresh token on each request, and no other."""

import asyncio
import json
from collections.abc import Callable
from typing import Annotated, Any

import httpx
import pytest
from django.test import AsyncClient, Client, override_settings
from fastapi import Depends, FastAPI, WebSocket
from fastapi.testclient import TestClient
from flask import Flask
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import django_site
from clerkmap import Repository, Resolver, User
from clerkmap.adapters import asgi, wsgi
from clerkmap.adapters import fastapi as for_fastapi
from clerkmap.adapters import flask as for_flask
from clerkmap.adapters.starlette import ClerkBackend, on_error
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk
from clerkmap.testing.clients import renewing
from plain_apps import me, wsgi_me

Ask = Callable[..., tuple[int, str]]  # one request, with headers if they are given: its status, and who was seen


class World:
    """A Clerk whose clock is moved by hand, two people, and the resolver of an application that goes by that clock."""

    def __init__(self) -> None:
        self.clerk = FakeClerk()
        self.clerk.clock.freeze()
        self.repository: Repository = MemoryRepository()
        self.resolver = Resolver(self.clerk.instance, self.repository, verifier=self.clerk.verifier())
        self.ada, self.bob = self.clerk.create_user(), self.clerk.create_user()


def of_httpx_asgi(world: World) -> Ask:
    app = asgi.AuthMiddleware(me, world.resolver)
    client = world.clerk.signed_in(
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a"), world.ada
    )

    def ask(**headers: str) -> tuple[int, str]:
        answer = asyncio.run(client.get("/", headers=headers))
        return answer.status_code, answer.text

    return ask


def of_httpx_wsgi(world: World) -> Ask:
    app = wsgi.AuthMiddleware(wsgi_me, world.resolver)
    client = httpx.Client(transport=httpx.WSGITransport(app), base_url="http://a")
    world.clerk.signed_in(client, world.ada)

    def ask(**headers: str) -> tuple[int, str]:
        answer = client.get("/", headers=headers)
        return answer.status_code, answer.text

    return ask


def of_test_client(world: World, app: Any) -> Ask:
    client = world.clerk.signed_in(TestClient(app), world.ada)

    def ask(**headers: str) -> tuple[int, str]:
        answer = client.get("/me", headers=headers)
        return answer.status_code, answer.text.strip('"')

    return ask


def of_starlette(world: World) -> Ask:
    @requires("authenticated")
    async def me(request: Request) -> JSONResponse:
        return JSONResponse(request.user.user.clerk_id)

    backend = Middleware(AuthenticationMiddleware, backend=ClerkBackend(world.resolver), on_error=on_error)
    return of_test_client(world, Starlette(routes=[Route("/me", me)], middleware=[backend]))


def of_fastapi(world: World) -> Ask:
    app, clerk = FastAPI(), for_fastapi.Clerk(world.resolver)

    @app.get("/me")
    async def me(user: Annotated[User, Depends(clerk.user)]) -> str | None:
        return user.clerk_id

    return of_test_client(world, app)


def of_flask(world: World) -> Ask:
    app = Flask("app")
    for_flask.Clerk(app, world.resolver)
    app.add_url_rule("/me", view_func=lambda: str(for_flask.current_user.clerk_id))
    client = world.clerk.signed_in(app.test_client(), world.ada)

    def ask(**headers: str) -> tuple[int, str]:
        answer = client.get("/me", headers=headers)
        return answer.status_code, answer.text

    return ask


def of_django(world: World, client: Any, path: str = "/hand") -> Ask:
    world.clerk.signed_in(client, world.ada)

    def ask(**headers: str) -> tuple[int, str]:
        with override_settings(ROOT_URLCONF=django_site.__name__, CLERKMAP={"RESOLVER": world.resolver}):
            answer = client.get(path, headers=headers)
            answer = asyncio.run(answer) if asyncio.iscoroutine(answer) else answer
        body = json.loads(answer.content)
        return answer.status_code, clerk_id(world, body["user"]) if answer.status_code == 200 else body["code"]

    return ask


def of_django_sync(world: World) -> Ask:
    return of_django(world, Client())


def of_django_rest(world: World) -> Ask:
    from rest_framework.test import APIClient  # here, not above: it wants Django's settings to be made

    return of_django(world, APIClient())


def of_django_async(world: World) -> Ask:
    return of_django(world, AsyncClient(), "/ahand")


def clerk_id(world: World, id: str) -> str:
    """Clerk's id of a user whose own id a page told."""
    (found,) = [
        each.id
        for each in (world.ada, world.bob)
        if (standing := world.repository.find(world.clerk.instance.name, each.id, None, None)) is not None
        and standing.user.id == id
    ]
    return found


KINDS = [
    of_httpx_asgi,
    of_httpx_wsgi,
    of_starlette,
    of_fastapi,
    of_flask,
    of_django_sync,
    of_django_rest,
    of_django_async,
]


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_request_has_a_token_that_is_good_now(kind: Callable[[World], Ask], world: World) -> None:
    """A client stays signed in, however much time passes. A header that a request brings itself is not replaced."""
    ask = kind(world)
    assert ask() == (200, world.ada.id)
    world.clerk.clock.advance(86_400)
    assert ask() == (200, world.ada.id)
    assert ask(**world.clerk.auth(world.bob)) == (200, world.bob.id)
    assert ask(Authorization="Bearer undefined")[0] == 401
    assert ask() == (200, world.ada.id)


def test_a_websocket_is_opened_with_a_token(world: World) -> None:
    """Starlette's and FastAPI's client opens sockets, too."""
    app, clerk = FastAPI(), for_fastapi.Clerk(world.resolver)

    @app.websocket("/")
    async def tell(websocket: WebSocket, user: Annotated[User, Depends(clerk.user)]) -> None:
        await websocket.accept()
        await websocket.send_text(str(user.clerk_id))
        await websocket.close()

    with world.clerk.signed_in(TestClient(app), world.ada).websocket_connect("/") as socket:
        assert socket.receive_text() == world.ada.id


def test_a_client_can_be_somebody_else_from_now_on(world: World) -> None:
    """Who signs in last is whose requests they are."""
    app = Flask("app")
    for_flask.Clerk(app, world.resolver)
    app.add_url_rule("/me", view_func=lambda: str(for_flask.current_user.clerk_id))
    client = app.test_client()
    for who in (world.ada, world.bob):
        assert world.clerk.signed_in(client, who) is client
        assert client.get("/me").text == who.id


def test_a_signed_in_client_has_the_role_of_the_moment(world: World) -> None:
    """Its tokens tell what the person is at Clerk when they are made."""
    clerk, acme = world.clerk, world.clerk.create_organization()

    def role(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        found = wsgi.principal_of(environ).claims.organization
        return [str(found and found.role).encode()]

    transport = httpx.WSGITransport(wsgi.AuthMiddleware(role, world.resolver))
    with clerk.signed_in(httpx.Client(transport=transport), world.ada, acme, role="org:admin") as client:
        assert client.get("http://a").text == "org:admin"
        clerk.add_member(acme, world.ada, role="org:member")
        assert client.get("http://a").text == "org:member"


def test_what_is_no_client_is_said_to_be_none() -> None:
    """The error says what to do instead."""
    with pytest.raises(TypeError, match=r"object is not a known test client: pass headers=clerk.auth\(\)"):
        renewing(object(), str)
