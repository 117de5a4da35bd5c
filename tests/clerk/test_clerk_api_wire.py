"""Clerk's API over real connections: where the secret key goes, what is read at most, and what is left when it ends."""

import asyncio
import gzip
import logging
import threading
import time
import tracemalloc
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from clerk_api_server import CLERK, GOOD, PATIENCE, ApiServer
from clerk_api_world import COLOURS, Colour
from clerkmap import ConfigurationError
from clerkmap.clerk import AsyncClerkApi, ClerkApi, endpoints
from clerkmap.clerk.budget import Budget
from clerkmap.clerk.responses import MAX_BODY
from clerkmap.errors import ApiUnavailable
from clerkmap.testing import FakeClerk
from uvicorn_server import serving

every_colour = pytest.mark.parametrize("colour", COLOURS)

COUNT = endpoints.user_count()


def asked(colour: Colour, url: str, *questions: endpoints.ClerkRequest[Any], **options: Any) -> list[Any]:
    """The answers to some questions, one after the other on one connection."""
    instance = CLERK.make_instance(api_url=url)
    if colour == "sync":
        with ClerkApi(instance, **options) as api:
            return [api.send(question) for question in questions]

    async def run() -> list[Any]:
        async with AsyncClerkApi(instance, **options) as api:
            return [await api.send(question) for question in questions]

    return asyncio.run(run())


@every_colour
def test_a_real_server(colour: Colour) -> None:
    """The made-up Clerk under uvicorn, wherever `api_url` says, with or without the version of the path."""
    clerk = FakeClerk(31)
    ann = clerk.create_user()
    with serving(clerk.app) as (host, port):
        for url in (f"http://{host}:{port}", f"http://{host}:{port}/", f"http://{host}:{port}/v1"):
            assert asked(colour, url, COUNT, endpoints.user(ann.id))[0] == 1
        made = asked(colour, url, endpoints.create_organization("Acme", created_by=ann.id))[0]
    assert made["id"] in clerk.organizations


@every_colour
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_key_goes_nowhere_else(colour: Colour, status: int) -> None:
    """A redirection to another server, or to another address of the same one, is not followed."""
    with ApiServer() as other:

        def elsewhere(server: ApiServer, handler: BaseHTTPRequestHandler) -> None:
            server.send(handler, b"", status, location=f"{other.url}{handler.path}", set_cookie="a=b")

        with ApiServer(elsewhere) as server:
            for question in (COUNT, endpoints.create_organization("Acme")):
                with pytest.raises(ApiUnavailable, match="another server responds"):
                    asked(colour, server.url, question)
        assert [path for path, _ in server.seen] == ["/v1/users/count", "/v1/organizations"]
        assert other.seen == []


@every_colour
def test_the_environment_sends_it_nowhere(colour: Colour, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that name a proxy are for others."""
    with ApiServer() as proxy, ApiServer() as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert asked(colour, server.url, COUNT) == [5]
        assert (len(server.seen), len(proxy.seen)) == (1, 0)


@every_colour
def test_no_cookie_is_kept(colour: Colour) -> None:
    """Nor sent back: each question stands for itself."""
    with ApiServer(lambda server, handler: server.send(handler, GOOD, set_cookie="__cf_bm=1; Path=/")) as server:
        assert asked(colour, server.url, COUNT, COUNT) == [5, 5]
    assert not any("cookie" in headers for _, headers in server.seen)


@every_colour
def test_nothing_is_logged(colour: Colour, caplog: pytest.LogCaptureFixture) -> None:
    """Not by us and not by the libraries below, at any level: no URL, for people are named in them, and no key."""
    caplog.set_level(logging.DEBUG)
    with ApiServer(lambda server, handler: server.send(handler, b"[]")) as server:
        asked(colour, server.url, endpoints.users(emails=["ann@example.com"], ids=["user_2c4n4ryc4n4ry"]))
    ((path, _),) = server.seen
    assert "ann%40example.com" in path
    text = "\n".join(map(caplog.handler.format, caplog.records))
    for word in ("ann", "user_2", "v1/users", CLERK.secret_key, "HTTP Request"):
        assert word not in text


BOMB = gzip.compress(b" " * (MAX_BODY * 4), 9)


def a_bomb(server: ApiServer, handler: BaseHTTPRequestHandler) -> None:
    server.send(handler, BOMB, content_encoding="gzip")


def a_bomb_in_a_bomb(server: ApiServer, handler: BaseHTTPRequestHandler) -> None:
    server.send(handler, gzip.compress(BOMB, 9), content_encoding="gzip, gzip")


def endless(server: ApiServer, handler: BaseHTTPRequestHandler) -> None:
    server.send(handler, b"", length=str(10**12))
    while not server.gate.is_set():
        handler.wfile.write(b" " * 1_000_000)


def trickling(server: ApiServer, handler: BaseHTTPRequestHandler) -> None:
    server.send(handler, b"", length="1000")
    while not server.gate.wait(0.02):
        handler.wfile.write(b" ")


def cut_short(server: ApiServer, handler: BaseHTTPRequestHandler) -> None:
    server.send(handler, GOOD, length="100")
    handler.close_connection = True


def silent(server: ApiServer, handler: BaseHTTPRequestHandler) -> None:
    server.gate.wait(PATIENCE)


Manner = Callable[[ApiServer, BaseHTTPRequestHandler], None]


@every_colour
@pytest.mark.parametrize(
    ("manner", "why"),
    [
        (a_bomb, "the response is too long"),
        (a_bomb_in_a_bomb, "a content encoding that was not requested"),
        (endless, "the response is too long"),
        (trickling, "the response is too slow"),
        (cut_short, "RemoteProtocolError"),
        (silent, "ReadTimeout"),
    ],
)
def test_bodies_without_end(colour: Colour, manner: Manner, why: str) -> None:
    """However little is sent, or much, or slowly: it ends, with bounded memory."""
    timeout = 0.3 if manner in (silent, trickling) else 30
    with ApiServer(manner) as server:
        tracemalloc.start()
        try:
            with pytest.raises(ApiUnavailable, match=why):
                asked(colour, server.url, COUNT, patience=0, timeout=timeout)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 4 * MAX_BODY  # what is there, and one chunk that was packed as tightly as can be


@every_colour
def test_packed_answers(colour: Colour) -> None:
    """A page of people is a tenth of its size when it is packed. That is asked for."""

    def packed(server: ApiServer, handler: BaseHTTPRequestHandler) -> None:
        server.send(handler, gzip.compress(GOOD), content_encoding="gzip")

    with ApiServer(packed) as server:
        assert asked(colour, server.url, COUNT, COUNT) == [5, 5]
    assert server.seen[0][1]["accept-encoding"] == "gzip"


@every_colour
def test_nobody_there(colour: Colour) -> None:
    """A port where nobody listens: asked again, also what would make something, for nothing can have been made."""
    with ApiServer() as server:
        url = server.url
    waits: list[float] = []

    async def checkpoint(seconds: float) -> None:
        waits.append(seconds)

    for question in (COUNT, endpoints.create_organization("Acme")):
        sleep = waits.append if colour == "sync" else checkpoint
        with pytest.raises(ApiUnavailable, match="ConnectError"):
            asked(colour, url, question, patience=1.5, sleep=sleep, clock=Ticking())
        assert waits
        waits.clear()


class Ticking:
    """A clock that moves by a tenth of a second whenever somebody looks at it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.1
        return self.now


def test_a_cancelled_task_leaves_nothing_broken() -> None:
    """Cancelled while it waits for an answer, or for its turn. The others go on, and so do later ones."""

    async def run() -> None:
        with ApiServer(ApiServer.stuck) as server:
            async with AsyncClerkApi(CLERK.make_instance(api_url=server.url)) as api:
                stuck = asyncio.create_task(api.send(COUNT))
                assert await asyncio.to_thread(server.reached.wait, PATIENCE)
                api.budget.pause(0.3)
                waiting = [asyncio.create_task(api.send(COUNT)) for _ in range(3)]
                await asyncio.sleep(0)
                for task in (stuck, waiting[0]):
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                assert await asyncio.gather(*waiting[1:], *(api.send(COUNT) for _ in range(5))) == [5] * 7
            assert len(server.seen) == 8

    asyncio.run(run())


class Interrupted:
    """A clock that somebody interrupts when it is looked at for the `left`th time."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind
        self.left = 0

    def __call__(self) -> float:
        self.left -= 1
        if self.left == 0:
            raise self.kind
        return time.monotonic()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
@pytest.mark.parametrize("when", range(1, 8))
def test_an_interrupt_leaves_nothing_broken(kind: type[BaseException], when: int) -> None:
    """At any moment: it is not swallowed, and whoever asks next is answered, on connections that are in order."""
    clock = Interrupted(kind)
    budget = Budget(1000, clock)
    slept: list[float] = []

    def busy(server: ApiServer, handler: BaseHTTPRequestHandler) -> None:
        server.send(handler, GOOD if len(server.seen) > 1 else b"", 200 if len(server.seen) > 1 else 503)

    with (
        ApiServer(busy) as server,
        ClerkApi(CLERK.make_instance(api_url=server.url), budget=budget, clock=clock, sleep=slept.append) as api,
    ):
        clock.left = when
        with pytest.raises(kind):
            api.send(COUNT)
        assert [api.send(COUNT) for _ in range(3)] == [5] * 3


def test_threads_on_one_api() -> None:
    """Ten threads, one api: each has its own answer."""
    clerk = FakeClerk(31)
    people = [clerk.create_user().id for _ in range(10)]
    found: dict[str, str] = {}
    with serving(clerk.app) as (host, port), ClerkApi(clerk.make_instance(api_url=f"http://{host}:{port}")) as api:

        def work(id: str) -> None:
            found[id] = api.send(endpoints.user(id))["id"]

        threads = [threading.Thread(target=work, args=(id,)) for id in people]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert found == dict(zip(people, people, strict=True))


def test_one_event_loop() -> None:
    """Connections belong to a loop. In another one it is said so, and not half-way through a question."""
    with ApiServer() as server:
        api = AsyncClerkApi(CLERK.make_instance(api_url=server.url))

        async def first() -> int:
            try:
                return await api.send(COUNT)
            finally:
                await api.close()

        assert asyncio.run(first()) == 5
        with pytest.raises(ConfigurationError, match=r"belongs to the event loop.*with TestClient"):
            asyncio.run(first())
