"""The application of the table of requests, in bare ASGI and bare WSGI, each protected in two manners."""

import json
from collections.abc import Callable, Iterable

import pytest

from clerkmap import Principal
from clerkmap.adapters import asgi, wsgi
from clerkmap.adapters.asgi import App, Receive, Scope, Send
from clerkmap.auth.result import current_principal
from clerkmap.errors import TokenMissing
from requests_world import ROUTES, Route, World, told

HELLO = b'{"hello": "world"}'
WsgiApp = Callable[..., Iterable[bytes]]


def nobody_is_current() -> None:
    """Outside of a request there is no caller, whoever sent the one before."""
    with pytest.raises(TokenMissing):
        current_principal()


def page(principal: Principal | None) -> bytes:
    """What a page that asks sends. Every framework sends these very bytes, as application/json.

    The same caller is current here, however deep in a framework it is called.
    """
    if principal is None:
        nobody_is_current()
    else:
        assert (current_principal().optional_user, current_principal().claims) == (
            principal.optional_user,
            principal.claims,
        )
    return json.dumps(told(principal)).encode()


def _asgi_page(route: Route) -> App:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if not route.asks:
            body = HELLO
        elif route.required is None:
            body = page(asgi.optional_principal_of(scope))
        else:
            body = page(asgi.principal_of(scope))
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


def _asgi_routed(pages: dict[str, App]) -> App:
    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        await pages[scope["path"]](scope, receive, send)

    return routed


def asgi_app(world: World) -> App:
    """One `AuthMiddleware` around all, and a `Require` around each page that requires something."""
    pages = {path: _asgi_page(route) for path, route in ROUTES.items()}
    for path, route in ROUTES.items():
        if route.required is not None:
            pages[path] = asgi.Require(pages[path], route.required)
    return asgi.AuthMiddleware(_asgi_routed(pages), world.resolver, **world.options)


def asgi_app_for_each(world: World) -> App:
    """An `AuthMiddleware` around each page, which requires it all by itself."""

    def protected(path: str, route: Route) -> App:
        require = route.required or False
        return asgi.AuthMiddleware(_asgi_page(route), world.resolver, require=require, **world.options)

    return _asgi_routed({path: protected(path, route) for path, route in ROUTES.items()})


def _wsgi_page(route: Route) -> WsgiApp:
    def answer(environ: wsgi.Environ, start_response: Callable[..., object]) -> list[bytes]:
        if not route.asks:
            body = HELLO
        elif route.required is None:
            body = page(wsgi.optional_principal_of(environ))
        else:
            body = page(wsgi.principal_of(environ))
        start_response("200 OK", [("content-type", "application/json"), ("content-length", str(len(body)))])
        return [body] if environ["REQUEST_METHOD"] != "HEAD" else []  # waitress would send it

    return answer


def _wsgi_routed(pages: dict[str, WsgiApp]) -> WsgiApp:
    def routed(environ: wsgi.Environ, start_response: Callable[..., object]) -> Iterable[bytes]:
        return pages[environ["PATH_INFO"]](environ, start_response)

    return routed


def wsgi_app(world: World) -> WsgiApp:
    """The same in WSGI."""
    pages = {path: _wsgi_page(route) for path, route in ROUTES.items()}
    for path, route in ROUTES.items():
        if route.required is not None:
            pages[path] = wsgi.Require(pages[path], route.required)
    return wsgi.AuthMiddleware(_wsgi_routed(pages), world.resolver, **world.options)


def wsgi_app_for_each(world: World) -> WsgiApp:
    """The same in WSGI."""

    def protected(route: Route) -> WsgiApp:
        require = route.required or False
        return wsgi.AuthMiddleware(_wsgi_page(route), world.resolver, require=require, **world.options)

    return _wsgi_routed({path: protected(route) for path, route in ROUTES.items()})
