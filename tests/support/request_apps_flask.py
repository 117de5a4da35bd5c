"""The application of the table of requests in Flask."""

from flask import Flask, Response, g

from clerkmap.adapters.flask import Clerk
from request_apps import HELLO, page
from requests_world import METHODS, ROUTES, Route, World, words


def flask_app(world: World) -> Flask:
    """A `Clerk` for the application, and a guard on each page that requires something."""
    app = Flask("table")
    clerk = Clerk(app, world.resolver, **world.options)

    def add(path: str, route: Route) -> None:
        def view() -> Response:
            body = HELLO
            if route.required is not None:
                body = page(g.clerk.principal)
            elif route.asks:
                body = page(g.clerk.optional_principal)
            return Response(body, content_type="application/json")

        guarded = view if route.required is None else clerk.require(**words(route.required))(view)
        app.add_url_rule(path, path.strip("/"), guarded, methods=METHODS)

    for path, route in ROUTES.items():
        add(path, route)
    return app
