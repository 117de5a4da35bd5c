"""Starlette: who is calling is `request.user`, and whatever is refused is answered as everywhere."""

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthenticationBackend, AuthenticationError, requires
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.sync.client import connect

import requests_world
from adapter_world import (
    ACME,
    ADA,
    CLERK,
    LEFT,
    NO_ORGANIZATION,
    PERMISSION,
    REFUSED,
    TOKEN,
    Case,
    Counted,
    bearer,
    make_resolver,
    shown,
    token,
    wanted,
)
from clerkmap import ClerkMembership, HookFailed, Resolver
from clerkmap.adapters.asgi import AuthMiddleware, Require, lease_of, principal_of
from clerkmap.adapters.starlette import ClerkBackend, SignedInUser, on_error, scopes_of
from clerkmap.auth.result import current_principal
from clerkmap.core.requirements import Requirement
from clerkmap.errors import MembershipDeleted, OrganizationMissing, TokenMissing
from clerkmap.repositories import MemoryRepository
from requests_world import WORLDS
from uvicorn_server import serving


class Site:
    """An application with a page of each kind, that notes which were reached."""

    def __init__(self, resolver: Resolver, *outside: Middleware, **options: Any) -> None:
        self.reached: list[str] = []

        async def me(request: Request) -> Response:
            self.reached.append("me")
            user = request.user
            return JSONResponse([user.is_authenticated, user.display_name, request.auth.scopes])

        @requires("authenticated")
        def signed_in(request: Request) -> Response:
            self.reached.append("signed in")
            assert isinstance(request.user, SignedInUser)
            return JSONResponse(request.user.principal is principal_of(request.scope))

        @requires(["organization_role:org:admin", f"permission:{PERMISSION}"])
        async def scoped(request: Request) -> Response:
            self.reached.append("scoped")
            return JSONResponse("scoped")

        async def raising(request: Request) -> Response:
            principal_of(request.scope)
            self.reached.append("raising")
            return JSONResponse(current_principal().user.clerk_id)

        @requires("authenticated")
        async def socket(websocket: WebSocket) -> None:
            self.reached.append("socket")
            await websocket.accept()
            await lease_of(websocket.scope).check()
            await websocket.send_text(websocket.user.principal.user.clerk_id)

        guard = Middleware(Require, required=Requirement(organization_page="/choose"))
        backend = ClerkBackend(resolver, **options)
        self.app = Starlette(
            routes=[
                Route("/me", me, methods=["GET", "POST", "OPTIONS"]),
                Route("/signed-in", signed_in),
                Route("/scoped", scoped),
                Route("/raising", raising),
                Route("/guarded", me, middleware=[guard]),
                WebSocketRoute("/socket", socket),
            ],
            middleware=[*outside, Middleware(AuthenticationMiddleware, backend=backend, on_error=on_error)],
        )

    def ask(self, page: str, headers: dict[str, str], method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        client = TestClient(self.app, follow_redirects=False)
        response = client.request(method, page, headers=headers)
        return shown(response.status_code, dict(response.headers), response.content)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_is_refused_is_answered_as_everywhere(case: Case) -> None:
    """The status, the headers and the body are those of the one table, on every page, guarded or not."""
    site = Site(make_resolver(case.trouble))
    for page in ("/me", "/signed-in", "/scoped", "/guarded"):
        assert site.ask(page, case.headers) == wanted(case.error)
    assert site.reached == []


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_websocket_is_refused_before_it_is_open(case: Case) -> None:
    """Starlette closes it, and tells no more than that."""
    site = Site(make_resolver(case.trouble))
    with pytest.raises(WebSocketDisconnect), TestClient(site.app) as client:
        client.websocket_connect("/socket", headers=case.headers).__enter__()
    assert site.reached == []


def test_nobody_is_anonymous_who_did_not_come_so() -> None:
    """Without a token there is Starlette's own user, whom `@requires` keeps out. `OPTIONS` is no exception."""
    site = Site(make_resolver())
    assert site.ask("/me", {})[2] == b'[false,"",[]]'
    assert site.ask("/signed-in", {})[0] == site.ask("/scoped", {})[0] == 403
    with pytest.raises(WebSocketDisconnect), TestClient(site.app) as client:
        client.websocket_connect("/socket").__enter__()
    assert site.ask("/me", bearer("nonsense"), "OPTIONS")[0] == 401
    assert site.ask("/me", {}, "OPTIONS")[2] == b'[false,"",[]]'
    assert site.ask("/me", {"cookie": f"__session={TOKEN}"}, "POST")[0] == 403
    assert Site(make_resolver(), cookies=False).ask("/me", {"cookie": f"__session={TOKEN}"})[2].startswith(b"[false")
    assert site.reached == ["me", "me"]


def test_who_is_signed_in_is_the_user_of_the_request() -> None:
    """With the principal, and scopes for `@requires`; on WebSockets, too."""
    resolver = make_resolver()
    site = Site(resolver)
    user = resolver.resolve(TOKEN).user
    scopes = '["authenticated","organization","organization_role:org:admin","permission:org:invoices:create"]'
    assert site.ask("/me", bearer(TOKEN))[2] == f'[true,"{user.id}",{scopes}]'.encode()
    assert site.ask("/signed-in", bearer(TOKEN))[2] == b"true"
    assert site.ask("/scoped", bearer(TOKEN))[2] == b'"scoped"'
    assert site.ask("/scoped", bearer(NO_ORGANIZATION))[0] == 403
    with TestClient(site.app).websocket_connect("/socket", headers=bearer(TOKEN)) as socket:
        assert socket.receive_text() == ADA.id


def test_the_name_that_is_displayed_is_the_best_that_is_known() -> None:
    """The name, or the address, or the id."""
    repository = MemoryRepository()
    resolver = Resolver(CLERK.instance, repository)
    shown_names = []
    for place, said in enumerate(({"first_name": None, "email": None}, {"first_name": None}, {})):
        person = CLERK.create_user(f"eve{place}@example.com", first_name="Eve")
        repository.put([CLERK.record(person, **said)])
        user = SignedInUser(resolver.resolve(token(person)))
        shown_names.append("the id" if user.display_name == user.identity else user.display_name)
    assert shown_names == ["the id", "eve1@example.com", "Eve"]


def test_a_scope_is_there_where_a_requirement_would_be_met() -> None:
    """Also when the repository knows better than the token: the role is another now, and nothing that the token permits
    counts any more."""
    repository = MemoryRepository()
    resolver = Resolver(CLERK.instance, repository)
    principal = resolver.resolve(TOKEN)
    repository.set_role(principal.user.id, "editor")
    assert "user_role:editor" in scopes_of(resolver.resolve(TOKEN))
    at = int(CLERK.clock() * 1000) + 5_000
    demoted = ClerkMembership.full(
        CLERK.instance.name,
        CLERK.new_id("orgmem"),
        clerk_user_id=ADA.id,
        clerk_organization_id=ACME.id,
        role="org:member",
        observed_at=at,
        updated_at=at,
    )
    repository.put([demoted])
    assert scopes_of(resolver.resolve(TOKEN)) == [
        "authenticated",
        "organization",
        "organization_role:org:member",
        "user_role:editor",
    ]


def test_the_scope_of_a_role_is_looked_up() -> None:
    """Also where the user's id is taken from the token, which does not tell the role."""
    world = WORLDS["trusting"]()

    @requires("user_role:staff")
    def staff(request: Request) -> Response:
        assert request.user.principal is principal_of(request.scope)
        return Response()

    middleware = Middleware(AuthenticationMiddleware, backend=ClerkBackend(world.resolver), on_error=on_error)
    client = TestClient(Starlette(routes=[Route("/", staff)], middleware=[middleware]))
    for name, status in (("ada", 200), ("bob", 403)):
        sent = bearer(requests_world.token(name, claims={"own_id": name}))
        assert client.get("/", headers=sent).status_code == status


def test_a_route_can_be_guarded_with_the_middleware_of_asgi() -> None:
    """`Require` finds the caller that the backend has found. Its answers are those of everywhere."""
    site = Site(make_resolver())
    assert site.ask("/guarded", bearer(TOKEN))[0] == 200
    assert site.ask("/guarded", {}) == wanted(TokenMissing())
    assert site.ask("/guarded", bearer(NO_ORGANIZATION)) == wanted(OrganizationMissing())
    html = bearer(NO_ORGANIZATION) | {"accept": "text/html"}
    assert site.ask("/guarded", html) == wanted(OrganizationMissing(), "/choose?redirect_url=%2Fguarded")
    assert site.ask("/guarded", bearer(token(LEFT, ACME))) == wanted(MembershipDeleted())
    assert site.reached == ["me"]


def test_both_middlewares_together_look_once() -> None:
    """Around the backend, AuthMiddleware answers what functions raise, and the principal is current."""
    resolver = Counted(CLERK.instance, MemoryRepository())
    resolver.resolve(TOKEN)
    resolver.looked = 0
    site = Site(resolver, Middleware(AuthMiddleware, resolver=resolver))
    assert site.ask("/raising", {}) == wanted(TokenMissing())
    assert site.ask("/raising", bearer(TOKEN))[2] == f'"{ADA.id}"'.encode()
    assert resolver.looked == 1
    assert site.reached == ["raising"]


class Broken(MemoryRepository):
    """A repository in which a hook of the application's raises."""

    def find(self, *args: Any) -> Any:
        raise HookFailed


def test_what_is_nobodys_fault_who_calls_is_a_500() -> None:
    """It goes its own way."""
    site = Site(Resolver(CLERK.instance, Broken()))
    client = TestClient(site.app, raise_server_exceptions=False)
    assert client.get("/me", headers=bearer(TOKEN)).status_code == 500
    assert site.reached == []


def test_another_backends_errors_are_answered_as_starlette_does() -> None:
    """`on_error` serves several backends."""

    class Other(AuthenticationBackend):
        async def authenticate(self, conn: Any) -> Any:
            raise AuthenticationError("not today")

    app = Starlette(middleware=[Middleware(AuthenticationMiddleware, backend=Other(), on_error=on_error)])
    told = TestClient(app).get("/")
    assert (told.status_code, told.text) == (400, "not today")


def test_a_real_server() -> None:
    """Under uvicorn."""
    with serving(Site(make_resolver()).app) as (host, port):
        for case in REFUSED[:5]:
            told = httpx.get(f"http://{host}:{port}/me", headers=case.headers, timeout=120)
            assert shown(told.status_code, dict(told.headers), told.content) == wanted(case.error)
        assert httpx.get(f"http://{host}:{port}/signed-in", headers=bearer(TOKEN), timeout=120).json() is True
        with connect(f"ws://{host}:{port}/socket", additional_headers=bearer(TOKEN)) as websocket:
            assert websocket.recv() == ADA.id
        with pytest.raises(Exception, match="403"):
            connect(f"ws://{host}:{port}/socket", additional_headers=bearer("nonsense"))
