"""A Clerk with its API, on one clock that moves only while somebody waits, asked in threads' colour or in tasks'."""

import asyncio
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import httpx

from clerkmap.clerk import AsyncClerkApi, ClerkApi
from clerkmap.clerk.budget import Budget
from clerkmap.clerk.endpoints import ClerkRequest
from clerkmap.testing import Clock, FakeClerk

T = TypeVar("T")
Colour = Literal["sync", "async"]
COLOURS: tuple[Colour, ...] = ("sync", "async")
NOON = 1_790_000_000.0
Answer = Callable[[httpx.Request], httpx.Response]


class Far(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """The far end, as a test writes it: one answer after the other, and the last one for ever. Keeps what was asked.

    The check of the secret key is answered with `keys`, where there are some, and is not kept.
    """

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.keys: dict[str, Any] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/jwks" and self.keys:
            return httpx.Response(200, json=self.keys)
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)


def answer(body: bytes = b"{}", status: int = 200, kind: str = "application/json", **headers: str) -> Answer:
    """Always the same answer. Header names are written with underscores."""
    named = {"content-type": kind} | {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: httpx.Response(status, headers=named, stream=httpx.ByteStream(body))


def failure(kind: type[httpx.TransportError]) -> Answer:
    """No answer, but an exception whose text must not get out."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise kind(f"{request.url} {request.headers}")

    return fail


class World:
    """One Clerk, what stands between it and the API, and how long was waited."""

    def __init__(self, colour: Colour = "sync", far: Any = None, seed: int = 1, **options: Any) -> None:
        self.clock = Clock(NOON)
        self.clerk = FakeClerk(seed, clock=self.clock)
        self.waits: list[float] = []
        self.colour = colour
        if isinstance(far, Far):
            far.keys = self.clerk.jwks()
        transport = far or self.clerk.transport()
        ClerkApi(self.clerk.instance, transport=transport, budget=Budget(1e6, self.clock), clock=self.clock).check()
        self.clerk.api.requests.clear()
        self.options: dict[str, Any] = {
            "transport": transport,
            "budget": Budget(1e6, self.clock),
            "clock": self.clock,
            **options,
        }

    def send(self, question: ClerkRequest[T]) -> T:
        """The answer to a question, in the colour of this world."""
        if self.colour == "sync":
            with ClerkApi(self.clerk.instance, sleep=self._wait, **self.options) as api:
                return api.send(question)
        return asyncio.run(self._ask(question))

    async def _ask(self, question: ClerkRequest[T]) -> T:
        async with AsyncClerkApi(self.clerk.instance, sleep=self._await, **self.options) as api:
            return await api.send(question)

    def _wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.advance(seconds)

    async def _await(self, seconds: float) -> None:
        self._wait(seconds)
