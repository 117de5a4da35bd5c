"""The application of the table of requests in FastAPI, and in Starlette."""

from typing import Annotated, Any

from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from clerkmap import Principal
from clerkmap.adapters import asgi
from clerkmap.adapters.fastapi import Clerk
from request_apps import HELLO, page
from requests_world import METHODS, ROUTES, Route, World, words


def fastapi_app(world: World) -> FastAPI:
    """A dependency on each page."""
    app, clerk = FastAPI(), Clerk(world.resolver, **world.options)

    def hello() -> Response:
        return Response(HELLO, media_type="application/json")

    def add(path: str, route: Route) -> None:
        needed: Any = clerk.optional_principal if route.required is None else clerk.require(**words(route.required))

        def view(principal: Annotated[Principal | None, Depends(needed)]) -> Response:
            return Response(page(principal), media_type="application/json")

        app.add_api_route(path, view if route.asks else hello, methods=list(METHODS))

    for path, route in ROUTES.items():
        add(path, route)
    return app


def starlette_app(world: World) -> Starlette:
    """The middleware around the application, and `Require` around the routes that require something."""

    def route_of(path: str, route: Route) -> StarletteRoute:
        async def view(request: Request) -> Response:
            body = HELLO
            if route.required is not None:
                body = page(asgi.principal_of(request.scope))
            elif route.asks:
                body = page(asgi.optional_principal_of(request.scope))
            return Response(body, media_type="application/json")

        inner = [] if route.required is None else [Middleware(asgi.Require, required=route.required)]
        return StarletteRoute(path, view, methods=list(METHODS), middleware=inner)

    whole = Middleware(asgi.AuthMiddleware, resolver=world.resolver, **world.options)
    return Starlette(routes=[route_of(path, route) for path, route in ROUTES.items()], middleware=[whole])
