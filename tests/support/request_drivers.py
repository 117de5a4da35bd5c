"""How the table of requests is put to an adapter: over real servers, and by calling the application directly.

To add a framework, write a function that makes its application for one world, a line in ADAPTERS that names it, and one
in DRIVERS of `request_servers.py` for each server:

    # tests/support/request_apps_flask.py
    def flask_app(world: World) -> Flask:
        app = Flask("table")
        clerk = Clerk(app, world.resolver, **world.options)          # whatever the adapter is called
        for path, route in ROUTES.items():
            clerk.require(**words(route.required))                   # each page, in the framework's own manner
            ...
        return app

    "flask": Adapter("wsgi", "request_apps_flask:flask_app"),        # below
    ("flask", NO_SERVER), ("flask", GUNICORN),                       # in DRIVERS

- Each page of ROUTES takes all of METHODS. One that does not ask (`asks=False`) answers 200 and `HELLO`. One without
  `required` answers
  `page(optional principal)`, the others `page(principal)`. All as application/json, in these very bytes. What is
  refused, the adapter answers.
- The function is called once for each world, and its pages are at the root: `mounted_asgi` and `mounted_wsgi` put the
  worlds under their prefixes. It is named by a text, so that a server in another process can import it.
- A framework is driven by the servers of its colour that DRIVERS lists; the names of the servers are those of `instead`
  in the table.
"""

import asyncio
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any, Literal, NamedTuple, Protocol, cast

from request_apps import nobody_is_current
from request_wire import Reply, completed
from requests_row import Headers
from requests_world import WORLDS

NO_SERVER = "none"  # stands in front of an application that is called directly


class Adapter(NamedTuple):
    """How an application is protected: the colour of its servers, and what makes it for a world."""

    colour: Literal["asgi", "wsgi"]
    build: str


ADAPTERS: dict[str, Adapter] = {
    "asgi": Adapter("asgi", "request_apps:asgi_app"),
    "asgi, each page": Adapter("asgi", "request_apps:asgi_app_for_each"),
    "flask": Adapter("wsgi", "request_apps_flask:flask_app"),
    "fastapi": Adapter("asgi", "request_apps_fastapi:fastapi_app"),
    "starlette": Adapter("asgi", "request_apps_fastapi:starlette_app"),
    "django": Adapter("wsgi", "request_apps_django:django_app"),
    "wsgi": Adapter("wsgi", "request_apps:wsgi_app"),
    "wsgi, each page": Adapter("wsgi", "request_apps:wsgi_app_for_each"),
}


class Asked(NamedTuple):
    """A request."""

    method: str
    path: str
    headers: Headers


class Driver(Protocol):
    """A running application. `server` is what stands in front of it."""

    server: str

    def ask(self, method: str, path: str, headers: Headers) -> Reply:
        """Send a request, to the letter, and wait for what comes back."""
        ...

    def ask_in_turn(self, requests: Iterable[Asked]) -> Iterator[Reply]:
        """The same for many, on one connection as long as the server keeps it."""
        ...

    def close(self) -> None:
        """Stop it all."""
        ...


def served(adapter: str) -> Any:
    """The application of an adapter with all worlds in it, each under its prefix."""
    module, _, name = ADAPTERS[adapter].build.partition(":")
    build = getattr(import_module(module), name)
    apps = {name: build(make()) for name, make in WORLDS.items()}
    return mounted_asgi(apps) if ADAPTERS[adapter].colour == "asgi" else mounted_wsgi(apps)


def mounted_asgi(apps: dict[str, Any]) -> Callable[..., Any]:
    """Each application under its name. What happens at the start and the end is not what is asked here."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        while scope["type"] == "lifespan":
            moment = (await receive())["type"]
            await send({"type": f"{moment}.complete"})
            if moment == "lifespan.shutdown":
                return
        nobody_is_current()
        _, world, page = scope["path"].split("/", 2)
        path = f"/{page}"
        await apps[world]({**scope, "path": path, "raw_path": path.encode(), "root_path": ""}, receive, send)

    return app


def mounted_wsgi(apps: dict[str, Any]) -> Callable[..., Any]:
    """The same in WSGI."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        nobody_is_current()
        _, world, page = environ["PATH_INFO"].split("/", 2)
        for name in ("RAW_URI", "REQUEST_URI"):
            environ.pop(name, None)
        return apps[world]({**environ, "PATH_INFO": f"/{page}", "SCRIPT_NAME": ""}, start_response)

    return app


class _Direct:
    """What is the same for applications that are called without a server."""

    server = NO_SERVER

    def ask(self, method: str, path: str, headers: Headers) -> Reply:
        raise NotImplementedError

    def ask_in_turn(self, requests: Iterable[Asked]) -> Iterator[Reply]:
        return (self.ask(*request) for request in requests)

    def close(self) -> None:
        pass


class DirectAsgi(_Direct):
    """Calls an ASGI application as a server would."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self._app = app
        self._runner = asyncio.Runner()

    def ask(self, method: str, path: str, headers: Headers) -> Reply:
        return self._runner.run(self._ask(method, path, headers))

    async def _ask(self, method: str, path: str, headers: Headers) -> Reply:
        where, _, query = path.partition("?")
        sent = [
            (name.lower().encode("latin-1"), value.strip(" \t").encode("latin-1"))
            for name, value in completed(method, headers)
        ]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": where,
            "raw_path": where.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": sent,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        told: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            told.append(message)

        try:
            await self._app(scope, receive, send)
        except Exception:
            if not told:
                return Reply(500, [], b"")
            assert told[0]["status"] == 500, "it failed with its answer under way"
        return _reply(
            method,
            told[0]["status"],
            [(name.decode("latin-1"), value.decode("latin-1")) for name, value in told[0]["headers"]],
            (message.get("body", b"") for message in told[1:]),
        )

    def close(self) -> None:
        self._runner.close()


class DirectWsgi(_Direct):
    """Calls a WSGI application as a server would: headers sent twice in one, those with an underscore left out."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self._app = app

    def ask(self, method: str, path: str, headers: Headers) -> Reply:
        where, _, query = path.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": where,
            "QUERY_STRING": query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in completed(method, headers):
            key = name.upper().replace("-", "_")
            key = key if key in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{key}"
            if "_" not in name:
                text = value.strip(" \t")
                environ[key] = f"{environ[key]},{text}" if key in environ else text
        begun: list[tuple[str, Headers]] = []

        def start_response(status: str, headers: Headers, error: object = None) -> None:
            assert not begun or error is not None
            begun[:] = [(status, headers)]

        body = None
        try:
            body = self._app(environ, start_response)
            pieces = list(body)
        except Exception:
            return Reply(500, [], b"")
        finally:
            with suppress(AttributeError):
                cast(Any, body).close()
        status, sent = begun[0]
        return _reply(method, int(status[:3]), sent, pieces)


def _reply(method: str, status: int, headers: Headers, body: Iterable[bytes]) -> Reply:
    """A server sends no body in answer to HEAD."""
    whole = b"".join(body) if method != "HEAD" else b""
    return Reply(status, [(name.lower(), value) for name, value in headers], whole)
