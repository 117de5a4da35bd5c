"""A secret key is checked against its instance before its first use, by whatever feature that is."""

import asyncio
import gc
import json
import os
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpx
import pytest

from backfill_world import at_once, plenty
from clerk_api_server import PATIENCE
from clerk_api_world import Far, answer
from clerkmap import Instance, Verifier, WriteBack
from clerkmap.clerk import AsyncClerkApi, ClerkApi, OpaqueTokens, endpoints
from clerkmap.clerk.instance_check import checks_of
from clerkmap.errors import ApiUnavailable, WrongInstance
from clerkmap.repositories import MemoryRepository
from clerkmap.repositories.threaded import threaded
from clerkmap.sync import (
    abackfill,
    acreate_organization,
    adiff,
    adrain,
    arepair,
    backfill,
    create_organization,
    diff,
    drain,
    repair,
)
from clerkmap.testing import FakeClerk
from forking import run_script
from uvicorn_server import serving

COUNT = endpoints.user_count()
KEYS = "/v1/jwks"


class Way(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """The way to a made-up Clerk, which notes each request. A shut gate holds up the questions for keys."""

    def __init__(self, clerk: FakeClerk) -> None:
        self._inner = clerk.transport()
        self.requests: list[httpx.Request] = []
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()

    @property
    def paths(self) -> list[str]:
        """The paths that were asked for."""
        return [request.url.path for request in self.requests]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.path == KEYS:
            self.reached.set()
            assert self.gate.wait(PATIENCE)
        return self._inner.handle_request(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.path == KEYS:
            self.reached.set()
            await asyncio.to_thread(self.gate.wait, PATIENCE)
        return await self._inner.handle_async_request(request)


class Mixed:
    """The publishable key of one instance with the secret key of another, and what is stored of either."""

    def __init__(self) -> None:
        self.mine, self.other = FakeClerk(81), FakeClerk(82)
        self.ann = self.other.create_user("ann@example.com")
        self.instance = self.mine.make_instance(secret_key=self.other.secret_key)
        self.way = Way(self.other)
        self.repository = MemoryRepository(write_back=WriteBack(external_id=True))
        self.repository.put([self.mine.record(self.mine.create_user("bob@example.com"))])

    def api(self) -> ClerkApi:
        """The API, as a sync feature gets it."""
        return ClerkApi(self.instance, transport=self.way, budget=plenty(), sleep=lambda _: None)

    def async_api(self) -> AsyncClerkApi:
        """The API, as an async feature gets it."""
        return AsyncClerkApi(self.instance, transport=self.way, budget=plenty(), sleep=at_once)

    def opaque(self) -> Verifier:
        """A verifier of API keys."""
        tokens = OpaqueTokens(self.instance, transport=self.way, budget=plenty(), strangers=plenty())
        return Verifier(self.instance, accept=["api_key"], opaque=tokens)

    def own(self) -> dict[str, Any]:
        """What an organization is made of."""
        return {"idempotency_key": "sign-up 1", "name": "Acme", "created_by": self.ann.id}

    def key(self) -> str:
        """An API key of the other instance."""
        return self.other.create_api_key(self.ann).secret


# Each feature that uses the secret key.
FEATURES: dict[str, Callable[[Mixed], object]] = {
    "send": lambda mixed: mixed.api().send(COUNT),
    "check": lambda mixed: mixed.api().check(),
    "backfill": lambda mixed: backfill(mixed.api(), mixed.repository),
    "newest": lambda mixed: backfill(mixed.api(), mixed.repository, newest_only=True),
    "diff": lambda mixed: diff(mixed.api(), mixed.repository),
    "cheap diff": lambda mixed: diff(mixed.api(), mixed.repository, cheap=True),
    "repair": lambda mixed: repair(mixed.api(), mixed.repository),
    "drain": lambda mixed: drain(mixed.api(), mixed.repository, clock=lambda: time.time() + 60),
    "create": lambda mixed: create_organization(mixed.api(), mixed.repository, **mixed.own()),
    "opaque": lambda mixed: mixed.opaque().verify(mixed.key()),
}
ASYNC_FEATURES: dict[str, Callable[[Mixed], Awaitable[object]]] = {
    "send": lambda mixed: mixed.async_api().send(COUNT),
    "check": lambda mixed: mixed.async_api().check(),
    "backfill": lambda mixed: abackfill(mixed.async_api(), threaded(mixed.repository)),
    "diff": lambda mixed: adiff(mixed.async_api(), threaded(mixed.repository)),
    "repair": lambda mixed: arepair(mixed.async_api(), threaded(mixed.repository)),
    "drain": lambda mixed: adrain(mixed.async_api(), threaded(mixed.repository), clock=lambda: time.time() + 60),
    "create": lambda mixed: acreate_organization(mixed.async_api(), threaded(mixed.repository), **mixed.own()),
    "opaque": lambda mixed: mixed.opaque().averify(mixed.key()),
}


def refused(mixed: Mixed) -> None:
    """The other instance was asked for nothing but its keys, and nothing of it is here."""
    assert mixed.way.paths == [KEYS]
    assert not mixed.other.organizations
    assert mixed.repository.find(mixed.instance.name, mixed.ann.id) is None


@pytest.mark.parametrize("feature", FEATURES)
def test_the_secret_key_of_another_instance(feature: str) -> None:
    """No feature uses the key: only the other instance's signing keys were asked for."""
    mixed = Mixed()
    with pytest.raises(WrongInstance, match="copy the secret key and the signing key"):
        FEATURES[feature](mixed)
    refused(mixed)


@pytest.mark.parametrize("feature", ASYNC_FEATURES)
def test_the_secret_key_of_another_instance_in_async_code(feature: str) -> None:
    """The same in async code."""
    mixed = Mixed()

    async def run() -> None:
        await ASYNC_FEATURES[feature](mixed)

    with pytest.raises(WrongInstance):
        asyncio.run(run())
    refused(mixed)


def test_the_error_says_what_to_do_and_tells_no_key() -> None:
    """It is a configuration error, and names the page where both keys stand."""
    mixed = Mixed()
    mixed.instance = mixed.mine.make_instance(secret_key=mixed.other.secret_key, jwks=None)
    api = ClerkApi(mixed.instance, transport=Split(mixed.mine, mixed.way), budget=plenty())
    with pytest.raises(ValueError, match="copy both from the API keys page") as caught:
        api.send(COUNT)
    assert mixed.other.secret_key not in f"{caught.value!r} {caught.value} {api!r} {vars(caught.value)}"


class Split(httpx.BaseTransport):
    """Two hosts: an instance's own, which publishes its keys, and the API's."""

    def __init__(self, published: FakeClerk, api: Way) -> None:
        self.front = Way(published)
        self._api = api

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        way = self._api if request.url.host == "api.clerk.com" else self.front
        return way.handle_request(request)


def test_keys_that_are_fetched() -> None:
    """They are asked for without the secret key, through the same transport, and once."""
    clerk = FakeClerk(83)
    way = Way(clerk)
    split = Split(clerk, way)
    for _ in range(3):
        with ClerkApi(clerk.make_instance(jwks=None), transport=split, budget=plenty()) as api:
            assert api.send(COUNT) == 0
    assert way.paths == [KEYS, *["/v1/users/count"] * 3]
    (published,) = split.front.requests
    assert published.url.path == "/.well-known/jwks.json"
    assert "authorization" not in published.headers


def pasted(clerk: FakeClerk) -> Instance:
    """The instance with its key pasted as PEM."""
    return clerk.make_instance(jwks=None, jwt_key=clerk.key.pem())


def test_a_pasted_key() -> None:
    """It counts as the instance's, under whatever id; after a rotation the error says to copy it anew."""
    clerk = FakeClerk(84)
    instance = pasted(clerk)
    assert ClerkApi(instance, transport=Way(clerk), budget=plenty()).send(COUNT) == 0
    clerk.rotate_key(keep_for=60)
    assert ClerkApi(instance, transport=Way(clerk), budget=plenty()).send(COUNT) == 0
    clerk.clock.advance(61)
    with pytest.raises(WrongInstance, match="copy the signing key again"):
        ClerkApi(instance, transport=Way(clerk), budget=plenty()).send(COUNT)


def test_one_check_for_a_whole_process() -> None:
    """Both colours, every copy of an instance and each new API share it, over real connections."""
    clerk = FakeClerk(85)

    async def asked(instance: Instance) -> int:
        async with AsyncClerkApi(instance, budget=plenty()) as api:
            return await api.send(COUNT)

    with serving(clerk.app) as (host, port):
        url = f"http://{host}:{port}"
        for _ in range(3):
            with ClerkApi(clerk.make_instance(api_url=url), budget=plenty()) as api:
                assert api.send(COUNT) == 0
            assert asyncio.run(asked(clerk.make_instance(api_url=url, name="copy"))) == 0
    assert list(clerk.api.requests).count(f"GET {KEYS}") == 1


class EqualWay(Way):
    """A transport that equals every other one, so that Python gives it no hash."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EqualWay)


def test_a_transport_without_a_hash() -> None:
    """Each has a check of its own, also where it equals another one: that one may lead to another Clerk."""
    clerk = FakeClerk(92)
    ways = [EqualWay(clerk), EqualWay(clerk)]
    for way in ways:
        for _ in range(2):
            assert ClerkApi(clerk.instance, transport=way, budget=plenty()).send(COUNT) == 0
        assert way.paths.count(KEYS) == 1


def test_a_transport_that_is_gone_leaves_nothing() -> None:
    """Neither the transport nor its checks are kept, and a new one at the same address is checked anew."""
    clerk = FakeClerk(94)
    for _ in range(20):
        way = Way(clerk)
        assert ClerkApi(clerk.instance, transport=way, budget=plenty()).send(COUNT) == 0
        assert way.paths.count(KEYS) == 1
        checks, transport = weakref.ref(checks_of(way)), weakref.ref(way)
        del way
        gc.collect()
        assert (checks(), transport()) == (None, None)


@pytest.mark.slow
def test_simultaneous_first_uses_in_threads() -> None:
    """Twenty threads wait for one check, and then each asks."""
    clerk = FakeClerk(86)
    way = Way(clerk)
    way.gate.clear()
    apis = [ClerkApi(clerk.instance, transport=way, budget=plenty()) for _ in range(20)]
    threads = [threading.Thread(target=api.send, args=(COUNT,)) for api in apis]
    for thread in threads:
        thread.start()
    assert way.reached.wait(PATIENCE)
    way.gate.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(way.paths) == sorted([KEYS, *["/v1/users/count"] * 20])


def test_simultaneous_first_uses_in_tasks() -> None:
    """Twenty tasks share one check. The task that makes it may be cancelled: another one takes over."""
    clerk = FakeClerk(87)
    way = Way(clerk)
    way.gate.clear()

    async def run() -> list[int]:
        api = AsyncClerkApi(clerk.instance, transport=way, budget=plenty())
        tasks = [asyncio.create_task(api.send(COUNT)) for _ in range(20)]
        assert await asyncio.to_thread(way.reached.wait, PATIENCE)
        tasks[0].cancel()
        way.gate.set()
        return list(await asyncio.gather(*tasks[1:]))

    assert asyncio.run(run()) == [0] * 19
    assert way.paths.count(KEYS) == 2


def raised(each: Iterable[Callable[[], object]]) -> list[type[BaseException] | None]:
    """What each of these raises."""
    found: list[type[BaseException] | None] = []
    for call in each:
        try:
            call()
        except Exception as error:
            found.append(type(error))
        else:
            found.append(None)
    return found


def test_a_check_that_fails_is_not_remembered() -> None:
    """While Clerk is away nothing is asked; when it is back, the next use is checked anew."""
    clerk = FakeClerk(88)
    api = ClerkApi(clerk.instance, transport=Way(clerk), patience=0, budget=plenty())
    clerk.faults.server_error = 1
    assert raised([lambda: api.send(COUNT)] * 3) == [ApiUnavailable] * 3
    assert set(clerk.api.requests) == {f"GET {KEYS}"}
    clerk.faults.server_error = 0
    assert api.send(COUNT) == 0


@pytest.mark.slow
def test_keys_that_are_not_to_be_had() -> None:
    """Where the instance's own keys cannot be fetched, nothing is asked, and the error names the address."""
    clerk = FakeClerk(89)
    way = Way(clerk)
    split = Split(clerk, way)
    clerk.faults.proxy_error = 1
    api = ClerkApi(clerk.make_instance(jwks=None), transport=split, patience=0, budget=plenty())
    with pytest.raises(ApiUnavailable, match="signing keys cannot be fetched from https://seed-89"):
        api.send(COUNT)
    assert way.paths == []


def test_an_answer_without_keys_is_no_mismatch() -> None:
    """It says nothing of any instance: the next use is checked anew."""
    clerk = FakeClerk(91)
    far = Far(answer(b'{"keys": []}'), answer(json.dumps(clerk.jwks()).encode()), answer(b'{"total_count": 3}'))
    api = ClerkApi(clerk.instance, transport=far, budget=plenty())
    with pytest.raises(ApiUnavailable, match="no signing keys"):
        api.send(COUNT)
    assert api.send(COUNT) == 3


def test_a_mismatch_is_remembered_for_a_minute() -> None:
    """Each use is refused at once; later the keys are looked at again, since one side may have been out of date."""
    mixed = Mixed()
    clock = mixed.mine.clock
    clock.freeze()
    api = ClerkApi(mixed.instance, transport=mixed.way, budget=plenty(), clock=clock)
    assert raised([lambda: api.send(COUNT)] * 5) == [WrongInstance] * 5
    assert mixed.way.paths == [KEYS]
    clock.advance(61)
    assert raised([lambda: api.send(COUNT)]) == [WrongInstance]
    assert mixed.way.paths == [KEYS] * 2


SCRIPT = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from backfill_world import plenty
from clerkmap.clerk import ClerkApi, endpoints
from clerkmap.testing import FakeClerk
from forking import child, ended
from test_instance_check import COUNT, PATIENCE, Way

clerk = FakeClerk(90)
way = Way(clerk)
way.gate.clear()
api = ClerkApi(clerk.instance, transport=way, budget=plenty())
thread = threading.Thread(target=api.send, args=(COUNT,))
thread.start()
assert way.reached.wait(PATIENCE)

def in_the_child():
    way.gate.set()
    assert api.send(COUNT) == 0

assert ended(child(in_the_child)) == 0
way.gate.set()
thread.join(PATIENCE)
print("good")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_in_the_middle_of_a_check() -> None:
    """The child does not wait for a check that stayed behind."""
    ended = run_script(SCRIPT)
    assert (ended.returncode, ended.stdout) == (0, "good\n"), ended.stderr
