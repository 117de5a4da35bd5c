"""Pages for browsers: error pages of visitors with an expired cookie, and redirects of mounted applications."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.template import engines
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from fastapi import Depends, FastAPI
from flask import Flask, abort, g
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client as WsgiClient

import django_site  # noqa: F401 - it makes Django's settings
from clerkmap import Refused, Requirement, Resolver
from clerkmap.adapters import asgi, wsgi
from clerkmap.adapters.django import require
from clerkmap.adapters.fastapi import Clerk as FastApiClerk
from clerkmap.adapters.flask import Clerk, response_to
from clerkmap.auth.result import AuthResult
from clerkmap.errors import ConfigurationError, TokenExpired, TokenMissing
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk

CLERK = FakeClerk(seed=12)
ADA = CLERK.create_user()
RESOLVER = Resolver(CLERK.instance, MemoryRepository())
OLD = {"Cookie": f"__session={CLERK.token(ADA, expires_in=-3600)}", "Accept": "text/html"}
ALONE = {"Authorization": f"Bearer {CLERK.token(ADA, expires_in=3600)}", "Accept": "text/html"}
CHOOSE = Requirement(organization_page="/choose")
MODES = [{}, {"TESTING": True}, {"DEBUG": True}, {"PROPAGATE_EXCEPTIONS": True}]
LAYOUT = (
    "{% if request.clerk.optional_principal %}signed in{% else %}a stranger{% endif %}, {{ user.is_authenticated }}"
)


def name(caller: AuthResult) -> str:
    return "a stranger" if caller.optional_principal is None else "signed in"


# ------------------------------------------------------------------------------------------- a cookie that has expired


def test_the_accessor_that_never_raises() -> None:
    """`principal_or_none` is for layouts and logs; `optional_principal` refuses what is wrong, but in an error page."""
    principal = RESOLVER.resolve(CLERK.token(ADA))
    assert AuthResult(RESOLVER, principal).principal_or_none is principal
    expired = AuthResult(RESOLVER, TokenExpired())
    assert expired.principal_or_none is None
    assert AuthResult(RESOLVER, TokenMissing()).optional_principal is None
    with pytest.raises(TokenExpired):
        _ = expired.optional_principal
    try:
        raise LookupError
    except LookupError:
        assert expired.optional_principal is None
        with pytest.raises(TokenExpired):
            _ = expired.principal
    with pytest.raises(TokenExpired):
        _ = expired.optional_principal


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_an_error_page_of_flask(mode: dict[str, bool]) -> None:
    """A visitor with an old cookie sees the page for 404 and for 500, in every mode in which Flask has one."""
    app = Flask("app")
    app.config.update(mode)
    Clerk(app, RESOLVER)
    app.register_error_handler(404, lambda error: (f"nothing here, {name(g.clerk)}", 404))
    app.register_error_handler(ZeroDivisionError, lambda error: (f"sorry, {name(g.clerk)}", 500))
    app.add_url_rule("/broken", view_func=lambda: str(1 // 0))
    client = app.test_client(use_cookies=False)
    missing, broken = client.get("/nowhere", headers=OLD), client.get("/broken", headers=OLD)
    assert (missing.status_code, missing.text) == (404, "nothing here, a stranger")
    assert (broken.status_code, broken.text) == (500, "sorry, a stranger")


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("where", ["view", "error handler", "handler of refusals", "after request", "before request"])
def test_one_behaviour_of_flask(mode: dict[str, bool], where: str) -> None:
    """Wherever a refusal is raised, in testing, debugging and production alike, the answer is that refusal's."""
    app = Flask("app")
    app.config.update(mode)
    Clerk(app, RESOLVER)

    def ask(*_args: Any) -> Any:
        return g.clerk.principal.user.id

    app.add_url_rule("/view", view_func=ask if where == "view" else lambda: abort(404))
    if where == "error handler":
        app.register_error_handler(404, ask)
    elif where == "handler of refusals":
        app.register_error_handler(Refused, ask)
        app.register_error_handler(404, ask)
    elif where == "after request":
        app.after_request(ask)
    elif where == "before request":
        app.before_request(ask)
    response = app.test_client(use_cookies=False).get("/view", headers=OLD)
    assert (response.status_code, response.get_json()["code"]) == (401, "token_expired")


def _not_found(request: Any, exception: Exception) -> Any:
    return HttpResponse(engines.all()[0].from_string(LAYOUT).render({"user": request.user}, request), status=404)


handler404 = _not_found
urlpatterns = [path("choose-first", require(CHOOSE)(lambda request: HttpResponse()))]


def _django(**settings: Any) -> Any:
    templates = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
        }
    ]
    clerkmap = {
        "RESOLVER": RESOLVER,
        "USER_FUNCTION": "test_browser_pages.nobody",
        **settings.pop("CLERKMAP", {}),
    }
    return override_settings(ROOT_URLCONF=__name__, TEMPLATES=templates, CLERKMAP=clerkmap, **settings)


def nobody(principal: Any) -> Any:
    """Stand in for a user of the project's model."""
    return None


@pytest.mark.parametrize("ask", [lambda: Client(), lambda: AsyncClient()], ids=["wsgi", "asgi"])
def test_an_error_page_of_django(ask: Callable[[], Any]) -> None:
    """A template that asks for the principal and for `user` renders for a visitor with an old cookie."""
    with _django():
        client = ask()
        response = client.get("/nowhere", headers=OLD)
        if asyncio.iscoroutine(response):
            response = asyncio.run(response)
    assert (response.status_code, response.content) == (404, b"a stranger, False")


@pytest.mark.parametrize("make", [FastAPI, Starlette])
def test_an_error_page_of_starlette(make: Callable[[], Any]) -> None:
    """The same in an exception handler of Starlette or FastAPI, under `AuthMiddleware`."""
    app = make()
    app.add_middleware(asgi.AuthMiddleware, resolver=RESOLVER)

    async def missing(request: Request, error: Exception) -> Any:
        return PlainTextResponse(name(asgi.auth_result_of(request.scope)), 404)

    app.add_exception_handler(404, missing)
    response = TestClient(app).get("/nowhere", headers=OLD)
    assert (response.status_code, response.text) == (404, "a stranger")


# ------------------------------------------------------------------------------------------------ mounted applications


def _flask_app() -> Flask:
    app = Flask("app")
    clerk = Clerk(app, RESOLVER)
    app.add_url_rule("/choose-first", view_func=clerk.require(CHOOSE)(lambda: "chosen"))
    return app


def _wsgi(app: Any) -> str:
    response = WsgiClient(DispatcherMiddleware(Flask("outside"), {"/crm": app})).get("/crm/choose-first", headers=ALONE)
    return str(response.headers["Location"])


def _asgi(app: Any) -> str:
    client = TestClient(Starlette(routes=[Mount("/crm", app)]), follow_redirects=False)
    return str(client.get("/crm/choose-first", headers=ALONE).headers["Location"])


def _fastapi_app() -> FastAPI:
    clerk, app = FastApiClerk(RESOLVER), FastAPI()
    app.add_api_route("/choose-first", lambda: "chosen", dependencies=[Depends(clerk.require(CHOOSE))])
    return app


def _starlette_app() -> Starlette:
    guard = Middleware(asgi.AuthMiddleware, resolver=RESOLVER, require=CHOOSE)
    return Starlette(routes=[Route("/choose-first", lambda request: PlainTextResponse("chosen"))], middleware=[guard])


@pytest.mark.parametrize(
    "sent_to",
    [
        lambda: _wsgi(_flask_app()),
        lambda: _wsgi(wsgi.AuthMiddleware(lambda environ, start: [], RESOLVER, require=CHOOSE)),
        lambda: _asgi(_fastapi_app()),
        lambda: _asgi(_starlette_app()),
    ],
    ids=["flask", "wsgi", "fastapi", "asgi"],
)
def test_a_mounted_application_sends_browsers_to_its_own_page(sent_to: Callable[[], str]) -> None:
    """SCRIPT_NAME and root_path are respected, by every adapter that redirects."""
    assert sent_to() == "/crm/choose?redirect_url=%2Fcrm%2Fchoose-first"


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_a_mounted_django_sends_browsers_to_its_own_page(client: type) -> None:
    """FORCE_SCRIPT_NAME and the script name of the server alike."""
    with _django(FORCE_SCRIPT_NAME="/crm"):
        response = client().get("/choose-first", headers=ALONE)
        if asyncio.iscoroutine(response):
            response = asyncio.run(response)
    assert (response.status_code, response["Location"]) == (303, "/crm/choose?redirect_url=%2Fcrm%2Fchoose-first")


# ------------------------------------------------------------------------------------------------- handlers and misuse


def test_a_handler_of_refusals_can_give_the_usual_answer() -> None:
    """`response_to` is the answer that the extension would give, with the page of the guard that refused."""
    app = _flask_app()
    seen: list[str] = []

    def sorry(error: Any) -> Any:
        seen.append(error.code)
        return response_to(error)

    app.register_error_handler(Refused, sorry)
    response = app.test_client(use_cookies=False).get("/choose-first", headers=ALONE)
    assert (response.status_code, response.location, seen) == (
        303,
        "/choose?redirect_url=%2Fchoose-first",
        ["organization_missing"],
    )


def test_a_guard_above_the_route_is_detected() -> None:
    """`@clerk.signed_in` above `@app.get` would guard nothing: it is an error where it stands."""
    app = Flask("app")
    clerk = Clerk(app, RESOLVER)
    with pytest.raises(ConfigurationError, match="below the route"):

        @clerk.signed_in
        @app.get("/open")
        def opened() -> str:
            return "open"


def test_a_guard_above_a_route_of_a_blueprint_is_detected() -> None:
    """A blueprint is registered later, so the application refuses to answer its first request."""
    from flask import Blueprint

    later, pages = Clerk(), Blueprint("pages", __name__)

    @later.signed_in
    @pages.get("/open")
    def opened() -> str:
        return "open"

    app = Flask("app")
    later.init_app(app, RESOLVER)
    app.register_blueprint(pages)
    app.testing = True
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="below the route"):
            app.test_client(use_cookies=False).get("/open")


def test_a_guard_that_is_called_is_detected() -> None:
    """`@clerk.signed_in()` says how to write it."""
    with pytest.raises(ConfigurationError, match="without parentheses"):
        Clerk().signed_in()


def test_two_routes_of_one_guarded_view_are_fine() -> None:
    """The check looks for views that are registered bare, and only for those."""
    app = Flask("app")
    clerk = Clerk(app, RESOLVER)
    view = clerk.signed_in(lambda: "in")
    app.add_url_rule("/a", "a", view)
    app.add_url_rule("/b", "b", view)
    assert app.test_client(use_cookies=False).get("/a", headers=ALONE).text == "in"
    assert app.test_client(use_cookies=False).get("/b").status_code == 401


# ------------------------------------------------------------------------------------------------ which page it is

BOB = CLERK.create_user()
UAT = f"__client_uat_{CLERK.instance.cookie_suffix}=1733000000"


def _session(**options: Any) -> str:
    # An hour: it is made when the tests are read, and may be used much later.
    return f"__session={CLERK.token(BOB, **{'expires_in': 3600, **options})}"


@pytest.mark.parametrize(
    ("cookie", "left_out", "page"),
    [
        ("", (), "sign_in"),
        ("__session=", (), "sign_in"),
        ("__session=undefined", (), "sign_in"),
        (UAT, (), "refresh"),
        (UAT, ("refresh_page",), "sign_in"),
        (f"__client_uat_{CLERK.instance.cookie_suffix}=0", (), "sign_in"),
        (_session(expires_in=-3600), (), "refresh"),
        (_session(expires_in=-3600), ("refresh_page",), "sign_in"),
        (_session(expires_in=-3600), ("refresh_page", "sign_in_page"), None),
        (_session(pending=True), (), "sign_in"),
        (_session(), (), "organization"),
        (_session(), ("organization_page",), None),
        (f"{_session()}; {_session()}", (), None),
        (_session(claims={"aud": "another"}), (), None),
    ],
)
def test_which_page_a_browser_is_sent_to(cookie: str, left_out: tuple[str, ...], page: str | None) -> None:
    """Each reason has its page; where that is missing, the next best, or the error."""
    pages: Any = {f"{name}_page": f"/{name}" for name in ("sign_in", "refresh", "organization")}
    for name in left_out:
        del pages[name]
    app = wsgi.AuthMiddleware(lambda environ, start: [], RESOLVER, require=Requirement(organization=True), **pages)
    response = WsgiClient(app, use_cookies=False).get("/a", headers={"Cookie": cookie, "Accept": "text/html"})
    assert response.headers.get("Location") == (None if page is None else f"/{page}?redirect_url=%2Fa")
    assert (response.status_code == 303) is (page is not None)
    program = WsgiClient(app, use_cookies=False).get("/a", headers={"Authorization": "Bearer undefined"})
    assert program.status_code == 401


# ------------------------------------------------------------------------------- what a browser sees without a redirect


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"Accept": "text/html"}, "text/html; charset=utf-8"),
        ({"Accept": "application/json"}, "application/json"),
        ({"Accept": "text/html", "Sec-Fetch-Mode": "cors"}, "application/json"),
    ],
)
def test_a_browser_sees_html_and_a_program_json(headers: dict[str, str], kind: str) -> None:
    """In an application with pages, where no page helps: a banned user, for example. Without pages, it is JSON."""
    repository = MemoryRepository()
    repository.put([CLERK.record(ADA, banned=True)])
    resolver = Resolver(CLERK.instance, repository)
    cookie = {"Cookie": f"__session={CLERK.token(ADA)}", **headers}
    for pages in ({"sign_in_page": "/sign-in"}, {}):
        flask_app, fastapi_app = Flask("app"), FastAPI()
        clerk, fastapi = Clerk(flask_app, resolver, **pages), FastApiClerk(resolver, **pages)  # type: ignore[arg-type]
        flask_app.add_url_rule("/me", view_func=clerk.signed_in(lambda: "me"))
        fastapi_app.add_api_route("/me", lambda: "me", dependencies=[Depends(fastapi.user)])
        for client in (flask_app.test_client(use_cookies=False), TestClient(fastapi_app)):
            response = client.get("/me", headers=cookie)
            assert (response.status_code, "user_banned" in response.text) == (403, True)
            assert response.headers["content-type"] == (kind if pages else "application/json")


def test_a_refusal_is_logged_for_those_who_look(caplog: pytest.LogCaptureFixture) -> None:
    """At the level DEBUG there is a line for each refused request, with its reason and nothing of the token."""
    app = Flask("app")
    clerk = Clerk(app, RESOLVER, sign_in_page="/sign-in")
    app.add_url_rule("/me", view_func=clerk.signed_in(lambda: "me"))
    with caplog.at_level("DEBUG", "clerkmap.adapters"):
        app.test_client(use_cookies=False).get("/me")
        app.test_client(use_cookies=False).get("/me", headers=OLD)
    assert [record.getMessage() for record in caplog.records] == [
        "responded with 401 to a refused request: the request carries no token",
        "responded with 303 to a refused request: the token has expired",
    ]
