"""One application with pages for browsers, in each framework: two pages that ask for a caller, and three open ones."""

from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from html import escape
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path as django_path
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse
from flask import Flask, request
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Route

import django_site  # noqa: F401 - it makes Django's settings
from clerkmap import Requirement, Resolver, current_principal
from clerkmap.adapters import asgi, wsgi
from clerkmap.adapters.django import require
from clerkmap.adapters.fastapi import Clerk as FastApiClerk
from clerkmap.adapters.flask import Clerk as FlaskClerk
from clerkmap.core.pages import Page, refresh_html
from front_end import FrontEnd
from uvicorn_server import PATIENCE, serving

SIGN_IN, REFRESH, CHOOSE = "/sign-in", "/refresh", "/choose"
PAGES: dict[str, Page] = {"sign_in_page": SIGN_IN, "refresh_page": REFRESH, "organization_page": CHOOSE}
IN_ORGANIZATION = Requirement(organization=True)
HEAD = '<!doctype html><link rel="icon" href="data:,"><title>Seen</title>'
HTML = [("Content-Type", "text/html; charset=utf-8")]


def seen(address: str) -> str:
    """What a page shows that asks for the caller."""
    principal = current_principal()
    organization = None if principal.organization is None else principal.organization.slug
    return f"{HEAD}<p>{escape(address)} of {principal.user.id} in {organization}</p>"


def open_pages(front: FrontEnd) -> dict[str, str]:
    """The pages that every visitor sees."""
    here = "document.getElementById('here')"
    return {
        SIGN_IN: front.page(f"Clerk.mountSignIn({here})"),
        REFRESH: refresh_html(front.clerk.instance, sign_in_page=SIGN_IN, clerk_js_url=front.script),
        CHOOSE: front.page(f"Clerk.mountOrganizationList({here})"),
    }


# ------------------------------------------------------------------------------------------------------ the frameworks


def flask_app(front: FrontEnd, resolver: Resolver) -> Any:
    """The extension, with guards of views."""
    app = Flask("pages")
    clerk = FlaskClerk(app, resolver, **PAGES)  # type: ignore[arg-type]
    app.add_url_rule("/orders", "orders", clerk.signed_in(lambda: seen(request.full_path)))
    app.add_url_rule("/team", "team", clerk.require(IN_ORGANIZATION)(lambda: seen(request.path)))
    for path, body in open_pages(front).items():
        app.add_url_rule(path, path.strip("/"), lambda body=body: body)
    return app


def wsgi_app(front: FrontEnd, resolver: Resolver) -> Any:
    """The middleware around a small application."""
    pages = open_pages(front)

    def guarded(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", HTML)
        query = environ["QUERY_STRING"]
        return [seen(f"{environ['PATH_INFO']}?{query}" if query else environ["PATH_INFO"]).encode()]

    team = wsgi.Require(guarded, IN_ORGANIZATION)
    orders = wsgi.Require(guarded)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path in ("/orders", "/team"):
            return (team if path == "/team" else orders)(environ, start_response)
        start_response("200 OK" if path in pages else "404 Not Found", HTML)
        return [pages.get(path, "").encode()]

    return wsgi.AuthMiddleware(app, resolver, **PAGES)  # type: ignore[arg-type]


def asgi_app(front: FrontEnd, resolver: Resolver) -> Any:
    """The middleware around Starlette's routes, of which two have `Require`."""

    async def guarded(request: Request) -> HTMLResponse:
        return HTMLResponse(seen(_address(request)))

    routes = [
        Route("/orders", guarded, middleware=[Middleware(asgi.Require)]),
        Route("/team", guarded, middleware=[Middleware(asgi.Require, required=IN_ORGANIZATION)]),
        *_open_routes(front),
    ]
    return asgi.AuthMiddleware(Starlette(routes=routes), resolver, **PAGES)  # type: ignore[arg-type]


def starlette_app(front: FrontEnd, resolver: Resolver) -> Any:
    """Starlette's own middleware and `@requires`, with the backend."""
    from starlette.authentication import requires
    from starlette.middleware.authentication import AuthenticationMiddleware

    from clerkmap.adapters.starlette import ClerkBackend, on_error

    async def orders(request: Request) -> HTMLResponse:
        user = request.user
        return HTMLResponse(f"{HEAD}<p>{escape(_address(request))} of {user.identity}</p>")

    async def team(request: Request) -> HTMLResponse:
        organization = request.user.principal.organization.slug
        told = f"{request.url.path} of {request.user.identity} in {organization}"
        return HTMLResponse(f"{HEAD}<p>{told}</p>")

    guard = Middleware(asgi.Require, required=IN_ORGANIZATION)
    backend = ClerkBackend(resolver, **PAGES)  # type: ignore[arg-type]
    routes = [
        Route("/orders", orders, middleware=[Middleware(asgi.Require)]),
        Route("/team", requires("authenticated")(team), middleware=[guard]),
        *_open_routes(front),
    ]
    return Starlette(
        routes=routes, middleware=[Middleware(AuthenticationMiddleware, backend=backend, on_error=on_error)]
    )


def fastapi_app(front: FrontEnd, resolver: Resolver) -> Any:
    """The dependencies."""
    clerk, app = FastApiClerk(resolver, **PAGES), FastAPI()  # type: ignore[arg-type]

    def guarded(request: Request) -> HTMLResponse:
        return HTMLResponse(seen(_address(request)))

    app.add_api_route("/orders", guarded, dependencies=[Depends(clerk.user)])
    app.add_api_route("/team", guarded, dependencies=[Depends(clerk.organization)])
    app.routes.extend(_open_routes(front))
    return app


def _address(request: Request) -> str:
    return f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path


def _open_routes(front: FrontEnd) -> list[Route]:
    def make(body: str) -> Callable[[Request], Awaitable[HTMLResponse]]:
        async def page(request: Request) -> HTMLResponse:
            return HTMLResponse(body)

        return page

    return [Route(path, make(body)) for path, body in open_pages(front).items()]


def django_urls(front: FrontEnd) -> Any:
    """The addresses of the project."""

    def guarded(request: Any) -> HttpResponse:
        return HttpResponse(seen(request.get_full_path()))

    return (
        django_path("orders", require(guarded)),
        django_path("team", require(IN_ORGANIZATION)(guarded)),
        *(
            django_path(path.strip("/"), lambda request, body=body: HttpResponse(body))
            for path, body in open_pages(front).items()
        ),
    )


# --------------------------------------------------------------------------------------------------------- the servers

ASGI = {"asgi": asgi_app, "starlette": starlette_app, "fastapi": fastapi_app}
WSGI = {"wsgi": wsgi_app, "flask": flask_app}
FRAMEWORKS = [*ASGI, *WSGI, "django", "django-asgi"]


@contextmanager
def served(framework: str, front: FrontEnd, resolver: Resolver) -> Generator[tuple[str, Counter[str]]]:
    """The address of an application, and the number of its requests by path."""
    asked: Counter[str] = Counter()
    if framework.startswith("django"):
        own = {"RESOLVER": resolver} | {name.upper(): page for name, page in PAGES.items()}
        middleware = ["clerkmap.adapters.django.AuthMiddleware"]
        with override_settings(ROOT_URLCONF=django_urls(front), MIDDLEWARE=middleware, CLERKMAP=own):
            if framework == "django":
                with _serving_wsgi(get_wsgi_application(), asked) as address:
                    yield address, asked
            else:
                with _serving_asgi(get_asgi_application(), asked) as address:
                    yield address, asked
    elif framework in ASGI:
        with _serving_asgi(ASGI[framework](front, resolver), asked) as address:
            yield address, asked
    else:
        with _serving_wsgi(WSGI[framework](front, resolver), asked) as address:
            yield address, asked


@contextmanager
def _serving_asgi(app: Any, asked: Counter[str]) -> Generator[str]:
    async def counting(scope: Any, receive: Any, send: Any) -> None:
        asked[scope.get("path", "")] += 1
        await app(scope, receive, send)

    with serving(counting) as (_, port):
        yield f"http://localhost:{port}"


@contextmanager
def _serving_wsgi(app: Any, asked: Counter[str]) -> Generator[str]:
    def counting(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        asked[environ["PATH_INFO"]] += 1
        found: Iterable[bytes] = app(environ, start_response)
        return found

    with make_server("127.0.0.1", 0, counting, _Server, _Handler) as server:
        thread = Thread(target=server.serve_forever, name="pages")
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(PATIENCE)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a browser keeps connections open that it may need


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Write nothing about a request."""
