"""Seconds for a request with 20 MB of a repeated Cookie header: the bare application, and the same behind clerkmap.

All servers are configured to accept so much; by default only httptools does. gunicorn and waitress get 1 MB: they join
the headers again at each repetition, and need seconds for 4 MB.
"""

import asyncio
import multiprocessing
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib import import_module
from typing import Any

from clerkmap import Resolver
from clerkmap.adapters import asgi, wsgi
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk

from .measure import Aim, Row, Side, compare, constant
from .servers import plain

LENGTH = 1_000  # of one header
MOST = 33_554_432  # bytes of headers that each server accepts here

resolver = Resolver(FakeClerk().instance, MemoryRepository())  # which Django imports by its name


def headers(short: bool) -> Iterator[Row]:
    """Return a row for each server and each kind of application."""
    rounds = 1 if short else 9
    cookie = f"Cookie: {'a=b; c=d; ' * (LENGTH // 10 - 2)}e=f\r\n"
    for server, kind in SERVED:
        size = 1_000_000 if short or server in ("gunicorn", "waitress") else 20_000_000
        request = f"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{cookie * (size // LENGTH)}\r\n".encode()
        with running(server, kind, True) as wrapped, running(server, kind, False) as bare:
            sides = [Side(ask, constant([(address, request)])) for address in (wrapped, bare)]
            mine, other, ratio = compare(sides[0], sides[1], rounds, f"repeated headers, {server}, {kind}")
        aim = Aim("<= 1.5 times", ratio=1.5)
        what = f"{size // 1_000_000} MB of Cookie headers, {kind} under {server}"
        yield Row("headers", what, mine, "the same application bare", other, ratio, aim)


def ask(asked: tuple[tuple[str, int], bytes]) -> None:
    """Send a request on a new connection, and wait for the complete response."""
    address, request = asked
    with socket.create_connection(address, timeout=300) as connection:
        connection.sendall(request)
        answer = connection.recv(65_536)
        while connection.recv(65_536):
            pass
    assert answer[9:12] in (b"200", b"400"), answer[:100]


# ------------------------------------------------------------------------------------------------------ applications


def wsgi_plain(_environ: Any, start_response: Any) -> list[bytes]:
    """Respond with the minimum."""
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


def asgi_app(is_wrapped: bool) -> Any:
    return asgi.AuthMiddleware(plain, resolver, require=True) if is_wrapped else plain


def wsgi_app(is_wrapped: bool) -> Any:
    return wsgi.AuthMiddleware(wsgi_plain, resolver, require=True) if is_wrapped else wsgi_plain


def flask_app(is_wrapped: bool) -> Any:
    from flask import Flask

    from clerkmap.adapters.flask import Clerk

    app = Flask("app")
    app.add_url_rule("/", "page", Clerk(app, resolver).signed_in(lambda: "ok") if is_wrapped else lambda: "ok")
    return app


def _set_up_django(is_wrapped: bool) -> None:
    import django
    from django.conf import settings
    from django.http import HttpResponse
    from django.urls import path

    from clerkmap.adapters.django import require

    def page(_request: Any) -> HttpResponse:
        return HttpResponse("ok")

    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=(path("", require(page) if is_wrapped else page),),
        MIDDLEWARE=["clerkmap.adapters.django.AuthMiddleware"] if is_wrapped else [],
        CLERKMAP={"RESOLVER": "benchmarks.headers.resolver"},
    )
    django.setup()


def django_app(is_wrapped: bool) -> Any:
    from django.core.wsgi import get_wsgi_application

    _set_up_django(is_wrapped)
    return get_wsgi_application()


def django_asgi_app(is_wrapped: bool) -> Any:
    from django.core.asgi import get_asgi_application

    _set_up_django(is_wrapped)
    return get_asgi_application()


APPS: dict[str, Callable[[bool], Any]] = {
    "ASGI": asgi_app,
    "WSGI": wsgi_app,
    "Flask": flask_app,
    "Django": django_app,
    "Django in ASGI": django_asgi_app,
}


# ----------------------------------------------------------------------------------------------------------- servers


def uvicorn(app: Any, listening: socket.socket, http: Any) -> None:
    import uvicorn

    options: dict[str, Any] = {"loop": "asyncio", "lifespan": "off", "access_log": False, "log_level": "critical"}
    config = uvicorn.Config(app, http=http, h11_max_incomplete_event_size=MOST, **options)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


def hypercorn(app: Any, listening: socket.socket) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"fd://{listening.fileno()}"]
    config.errorlog = None
    config.h11_max_incomplete_size = MOST

    async def run() -> None:
        await serve(app, config, mode="asgi", shutdown_trigger=asyncio.Event().wait)

    asyncio.run(run())


def gunicorn(app: Any, listening: socket.socket) -> None:
    base: Any = import_module("gunicorn.app.base").BaseApplication  # which tells no types
    limits = {"limit_request_fields": 32_768, "limit_request_field_size": 0}
    options = {"bind": f"fd://{listening.fileno()}", "loglevel": "critical", "timeout": 300, **limits}

    def load_config(application: Any) -> None:
        for name, value in options.items():
            application.cfg.set(name, value)

    type("Application", (base,), {"load_config": load_config, "load": lambda _: app})().run()


def waitress(app: Any, listening: socket.socket) -> None:
    create_server = import_module("waitress.server").create_server
    create_server(app, sockets=[listening], threads=2, max_request_header_size=MOST).run()


SERVERS: dict[str, Callable[[Any, socket.socket], None]] = {
    "uvicorn, h11": lambda app, listening: uvicorn(app, listening, "h11"),
    "uvicorn, httptools": lambda app, listening: uvicorn(app, listening, "httptools"),
    "Hypercorn": hypercorn,
    "gunicorn": gunicorn,
    "waitress": waitress,
}
SERVED: tuple[tuple[str, str], ...] = (
    *((server, "ASGI") for server in ("uvicorn, h11", "uvicorn, httptools", "Hypercorn")),
    ("uvicorn, httptools", "Django in ASGI"),
    *((server, kind) for kind in ("WSGI", "Flask", "Django") for server in ("gunicorn", "waitress")),
)


def serve(listening: socket.socket, server: str, kind: str, is_wrapped: bool) -> None:
    """Run a server until the process ends."""
    SERVERS[server](APPS[kind](is_wrapped), listening)


@contextmanager
def running(server: str, kind: str, is_wrapped: bool) -> Iterator[tuple[str, int]]:
    """Run a server in a separate process, and yield its address."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        arguments = (listening, server, kind, is_wrapped)
        process = multiprocessing.get_context("spawn").Process(target=serve, args=arguments)
        process.start()
        try:
            yield listening.getsockname()
        finally:
            process.terminate()
            process.join()
