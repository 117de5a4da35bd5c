"""`python -m benchmarks.paths`: how much code one request, webhook or backfill page runs through.

Each path runs once, in async code on a `SqliteRepository`, and is counted:

- calls: functions of clerkmap that begin, and generators of clerkmap that go on;
- files: distinct files of clerkmap that these calls are in;
- moves: calls whose file differs from that of the call before;
- hops: round trips from the event loop to another thread.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType
from typing import Any, NamedTuple

import httpx

import clerkmap
from clerkmap import Reconciler, Resolver, threaded
from clerkmap.clerk import AsyncClerkApi
from clerkmap.repositories import SqliteRepository
from clerkmap.sync import abackfill
from clerkmap.testing import FakeClerk

SOURCE = str(Path(clerkmap.__file__).parent)
UNCOUNTED = str(Path(SOURCE) / "testing")
HOP = "Call.__init__"  # one for each round trip to another thread
PAGE = 10  # users on the page of the backfill
SETTLED = 0.02  # seconds until the threads are idle, so that their calls do not count for the next path
_TOOL = 4  # of sys.monitoring: an id without a name


class Counts(NamedTuple):
    """The counts of one path."""

    what: str
    calls: int
    files: int
    moves: int
    hops: int


class Counter:
    """Counts calls into clerkmap, in all threads, while it is on."""

    def __init__(self) -> None:
        self._files: list[str] = []
        self._hops = 0

    def start(self) -> None:
        """Begin a new count."""
        self._files.clear()
        self._hops = 0
        monitoring = sys.monitoring
        monitoring.use_tool_id(_TOOL, "paths")
        for event in (monitoring.events.PY_START, monitoring.events.PY_RESUME):
            monitoring.register_callback(_TOOL, event, self._called)
        monitoring.set_events(_TOOL, monitoring.events.PY_START | monitoring.events.PY_RESUME)

    def stop(self, what: str) -> Counts:
        """End the count, and return it."""
        sys.monitoring.set_events(_TOOL, 0)
        sys.monitoring.free_tool_id(_TOOL)
        moves = sum(one != other for one, other in zip(self._files, self._files[1:], strict=False))
        return Counts(what, len(self._files), len(set(self._files)), moves, self._hops)

    def _called(self, code: CodeType, _offset: int) -> Any:
        file = code.co_filename
        if not file.startswith(SOURCE) or file.startswith(UNCOUNTED):
            return sys.monitoring.DISABLE
        self._files.append(file)
        self._hops += code.co_qualname == HOP
        return None


class OnePage(httpx.AsyncBaseTransport):
    """Counts from the response to the first request for users until the next request."""

    def __init__(self, transport: httpx.AsyncBaseTransport, counter: Counter) -> None:
        self._transport = transport
        self._counter = counter
        self._is_counting = False
        self.counted: Counts | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._is_counting:
            await asyncio.sleep(SETTLED)
            self._is_counting = False
            self.counted = self._counter.stop(f"backfill page, {PAGE} new users")
        response = await self._transport.handle_async_request(request)
        if request.url.path.endswith("/users") and self.counted is None:
            self._is_counting = True
            self._counter.start()
        return response


async def paths() -> AsyncIterator[Counts]:
    """Count the five paths."""
    counter = Counter()

    async def counted(what: str, call: Callable[[], Awaitable[object]]) -> Counts:
        await asyncio.sleep(SETTLED)
        counter.start()
        await call()
        await asyncio.sleep(SETTLED)
        return counter.stop(what)

    clerk = FakeClerk(1)
    token, new = (clerk.token(clerk.create_user()) for _ in range(2))
    with TemporaryDirectory() as folder:
        async with _opened(folder) as repository:
            resolver = Resolver(clerk.instance, repository)
            await resolver.aresolve(token)
            yield await counted("request, token and user in memory", lambda: resolver.aresolve(token))
        for what, sent in (("user known, nothing in memory", token), ("user seen for the first time", new)):
            async with _opened(folder) as repository:
                resolver = Resolver(clerk.instance, repository)
                yield await counted(f"request, {what}", partial(resolver.aresolve, sent))
        async with _opened(folder) as repository:
            reconciler = Reconciler(clerk.instance, repository, clock=clerk.clock)
            clerk.update_user(clerk.create_user(), first_name="Ada")
            *_, delivery = clerk.deliveries()
            yield await counted("webhook", lambda: reconciler.areceive(delivery.headers, delivery.body))
    clerk = FakeClerk(2)
    for _ in range(PAGE):
        clerk.create_user()
    with TemporaryDirectory() as folder:
        async with _opened(folder) as repository:
            transport = OnePage(clerk.transport(), counter)
            await abackfill(AsyncClerkApi(clerk.instance, transport=transport), threaded(repository))
    assert transport.counted is not None
    yield transport.counted


@asynccontextmanager
async def _opened(folder: str) -> AsyncIterator[SqliteRepository]:
    """Open the repository, and start its threads."""
    repository = SqliteRepository.open(Path(folder) / "paths.db")
    await threaded(repository).put([])
    await threaded(repository).user("unknown")
    yield repository
    repository.close()


async def _print() -> None:
    print("| path | calls | files | moves | hops |", "| --- | --- | --- | --- | --- |", sep="\n")
    async for path in paths():
        print(f"| {' | '.join(map(str, path))} |")


if __name__ == "__main__":
    asyncio.run(_print())
