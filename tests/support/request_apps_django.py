"""The application of the table of requests in Django."""

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path

import django_site  # the settings of a process, which can be made once
from clerkmap.adapters.django import require
from request_apps import HELLO, page
from requests_world import ROUTES, Route, World

_one_at_a_time = Lock()  # settings are for a whole process, and each world has its own
_settings: dict[str, Any] = {
    "ROOT_URLCONF": __name__,
    "MIDDLEWARE": ["clerkmap.adapters.django.AuthMiddleware"],
}
assert django_site.PLACE.exists()


def _view(route: Route) -> Callable[[Any], HttpResponse]:
    def view(request: Any) -> HttpResponse:
        body = HELLO
        if route.asks:
            body = page(request.clerk.optional_principal if route.required is None else request.clerk.principal)
        body = body if request.method != "HEAD" else b""  # waitress would send it
        return HttpResponse(body, content_type="application/json")

    return view if route.required is None else require(route.required)(view)


urlpatterns = [path(name.lstrip("/"), _view(route)) for name, route in ROUTES.items()]


def django_app(world: World) -> Callable[..., Iterable[bytes]]:
    """The middleware for the site, and `require` on each view that requires something."""
    own = {"RESOLVER": world.resolver, **{name.upper(): value for name, value in world.options.items()}}
    with _one_at_a_time, override_settings(**_settings, CLERKMAP=own):
        handler = get_wsgi_application()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        with _one_at_a_time, override_settings(**_settings, CLERKMAP=own):
            response = handler(environ, start_response)
            try:
                return list(response)
            finally:
                response.close()

    return app
