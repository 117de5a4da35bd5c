"""The event loop is never held up: not by keys that do not come, nor by a database that does not answer."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import pytest

from asgi_base import PATIENCE, App, Told, World, bearer, http_scope, told_by
from clerkmap import Repository, Resolver
from clerkmap.adapters.asgi import AuthMiddleware
from clerkmap.auth.verifier import Verifier
from clerkmap.clerk.jwks import RemoteKeys
from clerkmap.core.instance import Instance
from clerkmap.core.requirements import Requirement
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk

GAP = 2.0  # seconds: far more than any machine needs, however busy, and far less than anything that stalls here
CROWD = 200


@asynccontextmanager
async def heartbeat() -> AsyncGenerator[None, None]:
    """Fails if the loop stands still for so long while the block is running."""
    gaps: list[float] = []

    async def beat() -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0.005)
            now = time.perf_counter()
            gaps.append(now - before)
            before = now

    beating = asyncio.create_task(beat())
    try:
        yield
        await asyncio.sleep(0.02)
    finally:
        beating.cancel()
        await asyncio.wait({beating})
    assert gaps
    assert max(gaps) < GAP


async def app(scope: Any, receive: Any, send: Any) -> None:
    """A plain route."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"plain"})


async def plain(protected: App) -> None:
    """A request without a token, which is nobody's concern, is answered meanwhile."""
    begun = time.perf_counter()
    told = await told_by(protected, http_scope())
    assert (told.status, told.body) == (200, b"plain")
    assert time.perf_counter() - begun < GAP


@contextmanager
def silence() -> Generator[int, None, None]:
    """A key server that takes in every connection and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        over = threading.Event()
        taken: list[socket.socket] = []

        def accept() -> None:
            listening.settimeout(0.05)
            while not over.is_set():
                try:
                    taken.append(listening.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            over.set()
            thread.join()
            for each in taken:
                each.close()
    assert taken, "nobody has asked"


def test_a_key_server_that_says_nothing_holds_up_nobody_else() -> None:
    """Who brings a token waits, and is told to come again; plain routes and the start go on."""
    clerk = FakeClerk(62)

    async def run(port: int) -> None:
        clerk.issuer = f"http://127.0.0.1:{port}"
        instance = Instance(issuer=clerk.issuer)
        keys = RemoteKeys(instance, deadline=1.0)
        resolver = Resolver(instance, MemoryRepository(), verifier=Verifier(instance, keys=keys))
        protected = AuthMiddleware(app, resolver)
        closed = AuthMiddleware(app, resolver, require=True)
        tokens = [clerk.token(clerk.create_user()) for _ in range(20)]
        async with heartbeat():
            waiting = [asyncio.create_task(told_by(closed, http_scope(bearer(token)))) for token in tokens]
            for _ in range(10):
                await plain(protected)
                await asyncio.sleep(0.02)
            assert not any(task.done() for task in waiting)
            answers = await asyncio.gather(*waiting)
        assert [answer.status for answer in answers] == [503] * len(tokens)

    with silence() as port:
        asyncio.run(run(port))


class Stalled:
    """A synchronous repository whose calls do not come back until a test says so."""

    def __init__(self, rows: MemoryRepository, what: str) -> None:
        self.poll_every = 0.0 if what == "poll" else None
        self.listeners = rows.listeners
        self.max_token_lifetime = rows.max_token_lifetime
        self.needs_full_user = rows.needs_full_user
        self.stalls = True
        self.go = threading.Event()
        self.asked = threading.Event()
        for name in ("find", "put", "poll"):
            method = getattr(rows, name)
            setattr(self, name, self._stalling(method) if name == what else method)

    def _stalling(self, method: Any) -> Any:
        def call(*args: Any) -> Any:
            if self.stalls:
                self.asked.set()
                assert self.go.wait(PATIENCE)
            return method(*args)

        return call


@pytest.mark.parametrize("what", ["find", "put", "poll", "confirm"])
def test_a_database_that_does_not_answer_holds_up_nobody_else(what: str) -> None:
    """At any of the calls, that of a fresh membership too. Who waits for it is answered as soon as it does."""

    async def run() -> None:
        world = World()
        rows = Stalled(world.rows, "find" if what == "confirm" else what)
        world = World(cast(Repository, rows), clock=world.clock)
        protected = AuthMiddleware(app, world.resolver)
        closed = AuthMiddleware(app, world.resolver, require=Requirement(fresh_membership=what == "confirm"))
        token = world.token()
        if what == "confirm":
            rows.stalls = False
            await world.resolver.aresolve(token)
            rows.stalls = True
        async with heartbeat():
            waiting = [asyncio.create_task(told_by(closed, http_scope(bearer(token)))) for _ in range(20)]
            for _ in range(10):
                await plain(protected)
                await asyncio.sleep(0.02)
            assert rows.asked.is_set()
            assert not any(task.done() for task in waiting)
            rows.go.set()
            answers = await asyncio.gather(*waiting)
        assert [answer.status for answer in answers] == [200] * len(waiting)

    asyncio.run(run())


def test_a_crowd_that_nobody_has_seen_does_not_hold_up_a_plain_route() -> None:
    """Two hundred first requests at once, while one route is asked again and again."""

    async def run() -> list[Told]:
        world = World()
        protected = AuthMiddleware(app, world.resolver)
        closed = AuthMiddleware(app, world.resolver, require=True)
        tokens = [world.clerk.token(world.clerk.create_user(), world.organization) for _ in range(CROWD)]
        async with heartbeat():
            crowd = [asyncio.create_task(told_by(closed, http_scope(bearer(token)))) for token in tokens]
            while not all(task.done() for task in crowd):
                await plain(protected)
                await asyncio.sleep(0.001)
            return await asyncio.gather(*crowd)

    assert [answer.status for answer in asyncio.run(run())] == [200] * CROWD


def test_a_warm_token_leaves_the_loop_not_even_once() -> None:
    """Memory answers in the very step in which the server calls: no thread, no await."""

    async def run() -> None:
        world = World()
        closed = AuthMiddleware(app, world.resolver, require=Requirement(organization_role="admin"))
        scope = http_scope(bearer(world.token()))
        await told_by(closed, dict(scope))
        told: list[Any] = []

        async def send(message: Any) -> None:
            told.append(message)

        with pytest.raises(StopIteration):
            closed(dict(scope), send, send).send(None)  # type: ignore[arg-type]
        assert told[0]["status"] == 200

    asyncio.run(run())
