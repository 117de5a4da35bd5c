"""Clients for Clerk's Backend API, for sync and for async code.

    api = ClerkApi(instance)
    api.send(endpoints.users(limit=500))      # endpoints.py has all requests

The secret key goes to the configured host and nowhere else. Requests go to an httpx transport directly, without an
httpx client. A client would log each URL, and URLs hold personal data. It would also keep cookies, and an environment
variable could make it use a proxy. A transport follows no redirects either.
"""

import asyncio
import json
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from .._runtime.driving import adrive, drive
from .._runtime.forks import SurvivesForks
from ..core.instance import Instance
from ..errors import ConfigurationError
from .budget import Budget, shared_budget
from .endpoints import ClerkRequest
from .instance_check import Colour, Waiting, check_name, checks_of
from .responses import Answer, Body, NoAnswer, failed
from .retries import Step, send_with_retries

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
Transport = TypeVar("Transport")
API_VERSION = "2026-05-12"

_left_behind: list[object] = []  # the parent's connections, in a child process: closing them would disturb the parent


class _Api(SurvivesForks, ABC, Generic[Transport]):
    """The parts that the sync and the async client share: requests, budget, retries and the check of the key."""

    _colour: ClassVar[Colour]

    def __init__(
        self,
        instance: Instance,
        transport: Transport | None,
        timeout: float,
        patience: float,
        budget: Budget | None,
        clock: Callable[[], float],
    ) -> None:
        if instance.secret_key is None:
            raise ConfigurationError(
                "the instance has no secret_key: "
                "set CLERK_SECRET_KEY to the key from the API keys page of Clerk's dashboard"
            )
        self.instance: Instance = instance
        self.budget: Budget = budget or shared_budget(instance, clock)
        self._patience = patience
        self._clock = clock
        self._longest = max(timeout, patience)  # of one attempt, also if there is no retry
        # Seconds after which no more of an attempt, or of a request, reaches Clerk. An attempt has four timeouts, and
        # the last attempt may begin when patience ends.
        self.attempt: float = 4 * timeout
        self.longest: float = patience + self.attempt
        self._timeout = dict.fromkeys(("connect", "read", "write", "pool"), timeout)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._given = transport is not None
        self._check_name = check_name(instance)
        self._checks = checks_of(transport)
        self._transport: Transport = self._new_transport() if transport is None else transport
        self.survive_forks()

    @abstractmethod
    def _new_transport(self) -> Transport:
        """Return a new transport of the kind that the class uses, sync or async."""

    def after_fork_in_child(self) -> None:
        """Open new connections in a child process. Two processes on one connection would read each other's answers."""
        if not self._given:
            _left_behind.append(self._transport)
            self._transport = self._new_transport()
            self._loop = None

    def _sending(self, request: ClerkRequest[T]) -> Generator[Any, Any, T]:
        if not request.is_unchecked:
            yield from self._checking_key()
        answer: T = yield from self._retrying(request)
        return answer

    def _checking_key(self) -> Generator[Any, Any, None]:
        facts = self.instance, self._check_name, self._colour
        yield from self._checks.ensure(*facts, self._retrying, self._patience, self._clock)

    def _retrying(self, request: ClerkRequest[T]) -> Generator[Any, Any, T]:
        return send_with_retries(request, self.budget, self._patience, self._clock, random.random)

    def _http_request(self, request: ClerkRequest[Any]) -> "httpx.Request":
        import httpx  # not at the top, here and below: a process without requests does not need it

        headers = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "clerkmap"}
        extensions = {"timeout": self._timeout}
        if request.public_url is not None:
            return httpx.Request("GET", request.public_url, headers=headers, extensions=extensions)
        headers |= {"Authorization": f"Bearer {self.instance.secret_key}", "Clerk-API-Version": API_VERSION}
        content = None
        if request.body is not None:
            content = json.dumps(request.body).encode()
            headers["Content-Type"] = "application/json"
        url = f"{self.instance.api_url}/v1{request.target}"
        return httpx.Request(request.method, url, headers=headers, content=content, extensions=extensions)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.instance.name!r})"  # without the key: reprs end up in logs


class ClerkApi(_Api["httpx.BaseTransport"]):
    """A sync client for Clerk's API. Any number of threads can share it. Close it at the end.

    Before the first request, the client checks the secret key against the instance, once in a process.

    Args:
        instance: The instance. Its `secret_key` and `api_url` are used.
        transport: An httpx transport for the requests, for a proxy or a test. It must not be carried across a fork.
        timeout: Seconds that each connect, read or write of an attempt may take.
        patience: Seconds after which an unanswered request is given up.
        budget: The rate limit of the requests. By default Clerk's limit, shared by all clients with this clock.
        clock: A monotonic clock.
        sleep: A function that waits for some seconds.
    """

    def __init__(
        self,
        instance: Instance,
        *,
        transport: "httpx.BaseTransport | None" = None,
        timeout: float = 20,
        patience: float = 120,
        budget: Budget | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        super().__init__(instance, transport, timeout, patience, budget, clock)
        self._sleep = sleep

    _colour = "sync"

    def _new_transport(self) -> "httpx.BaseTransport":
        import httpx

        return httpx.HTTPTransport(trust_env=False)

    def send(self, request: ClerkRequest[T]) -> T:
        """Return the answer. Raise `ApiRefused`, `ApiUnavailable`, or, before the request is sent, `WrongInstance`."""
        return self._driven(self._sending(request))

    def check(self) -> None:
        """Check now that the secret key belongs to the instance, or raise as `send` does."""
        self._driven(self._checking_key())

    def _driven(self, steps: Generator[Any, Any, T]) -> T:
        try:
            answer: T = drive(steps, self._step)
        finally:
            steps.close()  # at once: other callers may wait for the check that ends here
        return answer

    def _step(self, step: Step | Waiting) -> Answer | NoAnswer | bool | None:
        if isinstance(step, ClerkRequest):
            return self._attempt(step)
        if isinstance(step, Waiting):
            return step.flight.join(step.seconds)
        self._sleep(step)
        return None

    def _attempt(self, request: ClerkRequest[Any]) -> Answer | NoAnswer:
        import httpx

        body = Body(self._clock, self._longest)
        try:
            response = self._transport.handle_request(self._http_request(request))
            try:
                if body.accepts(response):
                    for chunk in response.iter_bytes():
                        if not body.takes(chunk):
                            break
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return failed(error)
        return body.answer(response)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClerkApi(_Api["httpx.AsyncBaseTransport"]):
    """An async client for Clerk's API. Any number of tasks in one event loop can share it."""

    def __init__(
        self,
        instance: Instance,
        *,
        transport: "httpx.AsyncBaseTransport | None" = None,
        timeout: float = 20,
        patience: float = 120,
        budget: Budget | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        super().__init__(instance, transport, timeout, patience, budget, clock)
        self._sleep = sleep

    _colour = "async"

    def _new_transport(self) -> "httpx.AsyncBaseTransport":
        import httpx

        return httpx.AsyncHTTPTransport(trust_env=False)

    async def send(self, request: ClerkRequest[T]) -> T:
        """Return the answer. Raise `ApiRefused`, `ApiUnavailable`, or, before the request is sent, `WrongInstance`."""
        return await self._driven(self._sending(request))

    async def check(self) -> None:
        """Check now that the secret key belongs to the instance, or raise as `send` does."""
        await self._driven(self._checking_key())

    async def _driven(self, steps: Generator[Any, Any, T]) -> T:
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise ConfigurationError(
                "an AsyncClerkApi belongs to the event loop of its first use, and this is another loop. In a test, "
                "write `with TestClient(app) as client`; or use a ClerkApi, which works in async code, too"
            )
        self._loop = loop
        try:
            answer: T = await adrive(steps, self._step)
        finally:
            steps.close()  # at once: other callers may wait for the check that ends here
        return answer

    async def _step(self, step: Step | Waiting) -> Answer | NoAnswer | bool | None:
        if isinstance(step, ClerkRequest):
            return await self._attempt(step)
        if isinstance(step, Waiting):
            return await step.flight.ajoin(step.seconds)
        await self._sleep(step)
        return None

    async def _attempt(self, request: ClerkRequest[Any]) -> Answer | NoAnswer:
        import httpx

        body = Body(self._clock, self._longest)
        try:
            response = await self._transport.handle_async_request(self._http_request(request))
            try:
                if body.accepts(response):
                    async for chunk in response.aiter_bytes():
                        if not body.takes(chunk):
                            break
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return failed(error)
        return body.answer(response)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
