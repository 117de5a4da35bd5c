"""Ways through an adapter to an application, on which a fault can strike at each call of what is not clerkmap's own."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, cast

from asgi_base import Message, World, http_scope, websocket_scope
from clerkmap import Repository, Resolver
from clerkmap.adapters import asgi, wsgi
from clerkmap.auth.verifier import Verifier
from clerkmap.core.keys import KeySource, VerifyingKey
from clerkmap.core.requirements import Requirement
from clerkmap.errors import (
    ClerkmapError,
    ConfigurationError,
    HookFailed,
    KeysUnavailable,
    RepositoryUnavailable,
    TokenExpired,
    UserBanned,
)
from clerkmap.repositories import MemoryRepository

# What strikes, and the status that tells of it. None: it comes out as it is, and the server makes a 500 of it.
FAULTS: dict[type[BaseException], int | None] = {
    RepositoryUnavailable: 503,
    KeysUnavailable: 503,
    TokenExpired: 401,
    UserBanned: 403,
    ConfigurationError: None,
    HookFailed: None,
    OSError: None,
    RuntimeError: None,
    asyncio.CancelledError: None,
    KeyboardInterrupt: None,
    SystemExit: None,
}


class Points:
    """Counts the points that are passed, and raises at one of them. Or has everybody banned from the start."""

    def __init__(self, at: int = 0, fault: type[BaseException] = RuntimeError, *, banned: bool = False) -> None:
        self.names: list[str] = []
        self.fault = fault() if issubclass(fault, ClerkmapError) else fault("a fault of the test's")
        self._at = at
        self._banned = banned

    def __call__(self, name: str) -> None:
        if _is_watching():
            return
        self.names.append(name)
        if len(self.names) == self._at:
            raise self.fault
        if self._banned and name == "repository.find":
            raise UserBanned

    @property
    def struck(self) -> str | None:
        return self.names[self._at - 1] if self._at and len(self.names) >= self._at else None


def _is_watching() -> bool:
    """Whether it is the watch of sockets that passes: it runs beside the application, and not in front of it."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False
    return task is not None and "_LoopWatch" in repr(task.get_coro())


class Failing:
    """Everything that is around clerkmap, each call of which is a point."""

    def __init__(self, points: Points, *, asynchronous: bool) -> None:
        world = World()
        self.points = points
        self.token = world.token()
        self.member = world.token(permissions=["org:invoices:read"])
        rows = MemoryRepository(clock=world.clock)
        keys = world.verifier.keys

        def clock() -> float:
            points("clock")
            return world.clock()

        def monotonic() -> float:
            points("monotonic")
            return 1.0

        class Keys:
            generation = 0

            def peek(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey | None:
                points("keys.peek")
                return None

            def get(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey:
                points("keys.get")
                return keys.get(kid, rejected)

            async def aget(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey:
                points("keys.aget")
                await asyncio.sleep(0)
                points("keys.aget, after waiting")
                return keys.get(kid, rejected)

        def call(name: str) -> Any:
            method = getattr(rows, name)

            def plain(*args: Any) -> Any:
                points(f"repository.{name}")
                return method(*args)

            async def awaited(*args: Any) -> Any:
                points(f"repository.{name}")
                await asyncio.sleep(0)
                points(f"repository.{name}, after waiting")
                return method(*args)

            return awaited if asynchronous else plain

        class Rows:
            poll_every = 0.0
            listeners = rows.listeners
            max_token_lifetime = rows.max_token_lifetime
            needs_full_user = rows.needs_full_user
            find = staticmethod(call("find"))
            put = staticmethod(call("put"))
            poll = staticmethod(call("poll"))

        verifier = Verifier(world.clerk.instance, keys=cast(KeySource, Keys()), clock=clock)
        repository = cast(Repository, Rows())
        self.resolver = Resolver(world.clerk.instance, repository, verifier=verifier, monotonic=monotonic)


FRESH = Requirement(fresh_membership=True, permission="org:invoices:read", organization_role="admin")


def protect_asgi(how: str, app: Any, resolver: Resolver) -> Any:
    """The ways of protecting an application: around all of it, or further in."""
    if how == "require=True":
        return asgi.AuthMiddleware(app, resolver, require=True)
    if how == "require=Requirement":
        return asgi.AuthMiddleware(app, resolver, require=FRESH)
    if how == "Require":
        return asgi.AuthMiddleware(asgi.Require(app), resolver)
    return asgi.AuthMiddleware(asgi.AuthMiddleware(asgi.Require(app, FRESH), resolver), resolver, require=True)


def protect_wsgi(how: str, app: Any, resolver: Resolver) -> Any:
    if how == "require=True":
        return wsgi.AuthMiddleware(app, resolver, require=True)
    if how == "require=Requirement":
        return wsgi.AuthMiddleware(app, resolver, require=FRESH)
    if how == "Require":
        return wsgi.AuthMiddleware(wsgi.Require(app), resolver)
    return wsgi.AuthMiddleware(wsgi.AuthMiddleware(wsgi.Require(app, FRESH), resolver), resolver, require=True)


HOWS = ("require=True", "require=Requirement", "Require", "all of them")


class Walk:
    """One way through the middleware to the application, and what came of it."""

    def __init__(self, points: Points, kind: str, how: str) -> None:
        self.points = points
        self.reached = False
        self.told: list[Message] = []
        self.status: int | None = None
        self.raised: BaseException | None = None
        self._failing = Failing(points, asynchronous=kind != "wsgi")
        try:
            if kind == "wsgi":
                self._walk_wsgi(how)
            else:
                _run(self._walk_asgi(kind, how))
        except BaseException as error:
            self.raised = error

    async def _walk_asgi(self, kind: str, how: str) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            self.reached = True

        headers = [(b"authorization", b"Bearer " + self._failing.member.encode())]
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
        if kind != "lifespan":
            scope = http_scope(headers) if kind == "http" else websocket_scope(headers)
        # In case the application is not reached.
        heard: Iterator[Message] = iter([{"type": "websocket.connect" if kind == "websocket" else "http.request"}])

        async def receive() -> Message:
            self.points("receive")
            await asyncio.sleep(0)
            self.points("receive, after waiting")
            return next(heard)

        async def send(message: Message) -> None:
            self.points("send")
            self.told.append(message)

        await protect_asgi(how, app, self._failing.resolver)(scope, receive, send)

    def _walk_wsgi(self, how: str) -> None:
        def app(environ: Any, start_response: Any) -> list[bytes]:
            self.reached = True
            start_response("200 OK", [])
            return []

        environ = {"REQUEST_METHOD": "GET", "HTTP_AUTHORIZATION": f"Bearer {self._failing.member}"}

        def start_response(status: str, headers: Any, error: Any = None) -> None:
            self.points("start_response")
            self.status = int(status[:3])

        body = protect_wsgi(how, app, self._failing.resolver)(environ, start_response)
        self.told = [{"type": "body", "body": b"".join(body)}]

    @property
    def answered(self) -> int | None:
        """The status that was answered, if anything was."""
        return self.status or (int(self.told[0]["status"]) if self.told else None)

    @property
    def code(self) -> str:
        return str(json.loads(self.told[-1]["body"])["code"])


def _run(coroutine: Any) -> None:
    """As `asyncio.run` does, but a KeyboardInterrupt or a cancellation comes out as what it is."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(coroutine)
    try:
        loop.run_until_complete(task)
    finally:
        if not task.done():  # on Python 3.11 an interrupt comes out of each task on its way
            with suppress(KeyboardInterrupt, SystemExit):
                loop.run_until_complete(task)
        if not task.cancelled():
            task.exception()  # and stays in each as well
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
