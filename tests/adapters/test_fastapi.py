"""FastAPI: whatever the dependencies refuse is answered as everywhere, and what they guard is not reached."""

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.testclient import TestClient
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from adapter_world import (
    ACME,
    ADA,
    LEFT,
    MISSING,
    NO_ORGANIZATION,
    NOT_ENOUGH,
    PERMISSION,
    REFUSED,
    TOKEN,
    Case,
    bearer,
    make_resolver,
    shown,
    token,
    wanted,
)
from clerkmap import ConfigurationError, HookFailed, KeysUnavailable, Organization, Principal, User
from clerkmap.adapters.asgi import lease_of
from clerkmap.adapters.fastapi import Clerk, ClerkHTTPException
from clerkmap.auth.result import current_principal
from clerkmap.errors import MembershipDeleted, OrganizationMissing, RoleMissing, TokenExpired, TokenMissing, UserBanned

CASES = [MISSING, *REFUSED, *NOT_ENOUGH]
ENDS = {error.code: error for error in (TokenExpired(), UserBanned(), RoleMissing(), KeysUnavailable())}


class Site:
    """An application with a page for each dependency, that notes which were reached."""

    def __init__(self, trouble: str = "", **options: Any) -> None:
        self.reached: list[str] = []
        self.clerk = clerk = Clerk(make_resolver(trouble), **options)
        self.app = app = FastAPI()
        reached = self.reached

        @app.get("/user")
        @app.post("/user")
        def user(user: Annotated[User, Depends(clerk.user)]) -> str | None:
            reached.append("user")
            return user.clerk_id

        @app.get("/principal")
        async def principal(principal: Annotated[Principal, Depends(clerk.principal)]) -> str | None:
            reached.append("principal")
            return principal.user.clerk_id

        @app.get("/optional")
        def optional(
            principal: Annotated[Principal | None, Depends(clerk.optional_principal)],
            user: Annotated[User | None, Depends(clerk.optional_user)],
        ) -> list[str | None]:
            reached.append("optional")
            return [each.clerk_id if each else None for each in (principal and principal.user, user)]

        @app.get("/organization")
        def organization(organization: Annotated[Organization, Depends(clerk.organization)]) -> str | None:
            reached.append("organization")
            return organization.clerk_id

        @app.get("/permission", dependencies=[Depends(clerk.require(permission=PERMISSION))])
        @app.get("/reverified", dependencies=[Depends(clerk.require(reverified=("second_factor", 30)))])
        @app.get("/page", dependencies=[Depends(clerk.require(organization_page="/choose"))])
        @app.get("/fresh", dependencies=[Depends(clerk.require(fresh_membership=True))])
        async def guarded() -> str:
            reached.append("guarded")
            return "reached"

        @app.websocket("/socket")
        async def socket(websocket: WebSocket, user: Annotated[User, Depends(clerk.user)]) -> None:
            reached.append("socket")
            await websocket.accept()
            await websocket.send_text(str(user.clerk_id))
            raise ENDS[await websocket.receive_text()]

    def ask(self, page: str, headers: dict[str, str], method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        client = TestClient(self.app, follow_redirects=False)
        response = client.request(method, page, headers=headers)
        return shown(response.status_code, dict(response.headers), response.content)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_refused_is_answered_as_everywhere(case: Case) -> None:
    """The status, the headers and the body are those of the one table, at every dependency."""
    site = Site(case.trouble)
    assert site.ask(case.page, case.headers) == wanted(case.error)
    if case.page == "/user":
        for page in ("/principal", "/organization", "/permission", "/reverified", "/fresh"):
            assert site.ask(page, case.headers) == wanted(case.error)
        if case is not MISSING:
            assert site.ask("/optional", case.headers) == wanted(case.error)
    assert site.reached == []


@pytest.mark.parametrize("case", [MISSING, *REFUSED], ids=lambda case: case.name)
def test_a_websocket_is_refused_before_it_is_open(case: Case) -> None:
    """The server is told the whole answer."""
    site = Site(case.trouble)
    with pytest.raises(WebSocketDenialResponse) as denied, TestClient(site.app) as client:
        client.websocket_connect("/socket", headers=case.headers).__enter__()
    told = denied.value
    assert shown(told.status_code, dict(told.headers), told.content) == wanted(case.error)
    assert site.reached == []


@pytest.mark.parametrize(
    ("end", "code"),
    [("token_expired", 4401), ("user_banned", 4401), ("role_missing", 4403), ("keys_unavailable", 1013)],
)
def test_a_websocket_is_closed_by_what_its_function_raises(end: str, code: int) -> None:
    """Once it is open, with the codes that an `AuthMiddleware` closes it with, and the error's code in the reason."""
    site = Site()
    with TestClient(site.app).websocket_connect("/socket", headers=bearer(TOKEN)) as socket:
        assert socket.receive_text() == ADA.id
        socket.send_text(end)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
    assert (closed.value.code, closed.value.reason) == (code, end)


def test_who_is_let_in_is_told_to_the_path_function() -> None:
    """In functions of both colours; who is anonymous, only where that is asked for."""
    site = Site()
    for page in ("/user", "/principal"):
        assert site.ask(page, bearer(TOKEN))[2] == f'"{ADA.id}"'.encode()
    assert site.ask("/optional", bearer(TOKEN))[2] == f'["{ADA.id}","{ADA.id}"]'.encode()
    assert site.ask("/optional", {})[2] == b"[null,null]"
    assert site.ask("/organization", bearer(TOKEN))[2] == f'"{ACME.id}"'.encode()
    assert site.ask("/permission", bearer(TOKEN))[0] == site.ask("/fresh", bearer(TOKEN))[0] == 200
    assert site.reached == ["user", "principal", "optional", "optional", "organization", "guarded", "guarded"]


def test_a_browser_without_an_organization_is_sent_to_the_page_where_it_can_choose_one() -> None:
    """Everything else gets the answer that a program can read."""
    site = Site()
    html = {"accept": "text/html"}
    for sent, error in (NO_ORGANIZATION, OrganizationMissing()), (token(LEFT, ACME), MembershipDeleted()):
        assert site.ask("/page", bearer(sent) | html) == wanted(error, "/choose?redirect_url=%2Fpage")
        assert site.ask("/page", bearer(sent)) == wanted(error)
    assert site.ask("/page", html) == wanted(TokenMissing())
    assert site.reached == []


def test_a_cookie_is_read_unless_it_is_turned_off() -> None:
    """To do more than read, it needs one of the origins."""
    cookie = {"cookie": f"__session={TOKEN}"}
    site = Site(origins=["https://app.example.com"])
    assert site.ask("/user", cookie)[0] == 200
    assert site.ask("/user", cookie, "POST")[0] == 403
    assert site.ask("/user", cookie | {"origin": "https://app.example.com"}, "POST")[0] == 200
    assert Site(cookies=False).ask("/user", cookie) == wanted(TokenMissing())


# ------------------------------------------------------------------------------ what an application does itself


def test_errors_of_the_path_function_are_answered_too() -> None:
    """Where a dependency of clerkmap stands on the path, a function may refuse in the same words."""
    site = Site()

    @site.app.get("/current", dependencies=[Depends(site.clerk.optional_user)])
    def current() -> Any:
        return current_principal().user.clerk_id

    @site.app.get("/lease")
    async def lease(request: Request, user: Annotated[User, Depends(site.clerk.user)]) -> Any:
        await lease_of(request.scope).check()
        raise RoleMissing

    assert site.ask("/current", {}) == wanted(TokenMissing())
    assert site.ask("/current", bearer(TOKEN))[2] == f'"{ADA.id}"'.encode()
    assert site.ask("/lease", bearer(TOKEN)) == wanted(RoleMissing())


@pytest.mark.parametrize("handled", [ClerkHTTPException, HTTPException, StarletteHTTPException, 401])
def test_handlers_of_the_application_come_first(handled: Any) -> None:
    """For the class, for those above it, for a status."""
    site = Site()

    @site.app.exception_handler(handled)
    async def handle(request: Request, error: HTTPException) -> PlainTextResponse:
        return PlainTextResponse("mine", error.status_code, error.headers)

    status, headers, body = site.ask("/user", {})
    assert (status, headers["www-authenticate"], body) == (401, "Bearer", b"mine")


def test_a_handler_may_do_as_fastapi_does() -> None:
    """The error tells its status, its headers and its body, and nothing that would make another body wrong."""
    site = Site()

    @site.app.exception_handler(StarletteHTTPException)
    async def handle(request: Request, error: StarletteHTTPException) -> Any:
        assert isinstance(error, ClerkHTTPException)
        assert isinstance(error.error, TokenMissing)
        return await http_exception_handler(request, error)

    client = TestClient(site.app)
    told = client.get("/user")
    assert told.json()["detail"]["code"] == "token_missing"
    assert told.headers["content-length"] == str(len(told.content))
    assert (told.status_code, told.headers["www-authenticate"]) == (401, "Bearer")


def test_the_applications_other_errors_stay_its_own() -> None:
    """A refusal does not change how anything else is answered."""
    site = Site()

    @site.app.get("/teapot")
    def teapot(user: Annotated[User, Depends(site.clerk.user)]) -> None:
        raise HTTPException(418, "short and stout")

    assert site.ask("/user", {})[0] == 401
    assert site.ask("/teapot", bearer(TOKEN))[::2] == (418, b'{"detail":"short and stout"}')


@pytest.mark.parametrize("error", [ConfigurationError(), HookFailed(), ZeroDivisionError()])
def test_what_is_nobodys_fault_who_calls_is_a_500(error: Exception) -> None:
    """It goes its own way: to the application's handler of all that is unexpected."""
    site = Site()

    @site.app.get("/broken", dependencies=[Depends(site.clerk.optional_user)])
    def broken() -> None:
        raise error

    @site.app.exception_handler(Exception)
    async def handle(request: Request, found: Exception) -> JSONResponse:
        return JSONResponse(type(found).__name__, 500)

    told = TestClient(site.app, raise_server_exceptions=False).get("/broken", headers=bearer(TOKEN))
    assert (told.status_code, told.json()) == (500, type(error).__name__)
