"""Clerk's Backend API, for synchronous and for asynchronous code.

    api = ClerkApi(instance)
    api.ask(users(limit=500))      # see endpoints.py for what there is to ask

The secret key goes to the configured host and nowhere else: no redirection is followed, and no proxy that an
environment variable names is used.
"""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ..core.instance import Instance
from ..driving import adrive, drive
from ..errors import ConfigurationError
from .asking import Answer, NoAnswer, Step, asking
from .budget import Budget, shared_budget
from .endpoints import Question

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
API_VERSION = "2026-05-12"
MAX_BODY = 67_108_864  # of an answer: 500 people with all the metadata that Clerk allows


class _Settings:
    """What both colours share: whom to ask, how, and how often."""

    def __init__(self, instance: Instance, timeout: float, patience: float, budget: Budget | None) -> None:
        if instance.secret_key is None:
            raise ConfigurationError(
                "the instance has no secret_key: set CLERK_SECRET_KEY to the one on the dashboard's API keys page"
            )
        self.instance: Instance = instance
        self.budget: Budget = budget or shared_budget(instance.api_url, instance.secret_key, time.monotonic)
        self._patience = patience
        self._options: dict[str, Any] = {
            "base_url": f"{instance.api_url}/v1",
            "timeout": timeout,
            "follow_redirects": False,
            "trust_env": False,
            "headers": {
                "Authorization": f"Bearer {instance.secret_key}",
                "Clerk-API-Version": API_VERSION,
                "Accept": "application/json",
            },
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.instance.name!r})"  # never the key: reprs end up in logs


class ClerkApi(_Settings):
    """Asks Clerk's API. To be used by any number of threads, and closed at the end.

    Args:
        instance: Whose. Its `secret_key` and `api_url` are used.
        transport: An httpx transport to ask through, for a proxy or a test.
        timeout: Seconds that one attempt may be silent.
        patience: Seconds after which a question is given up that is not answered.
        budget: How often to ask; by default what Clerk allows, shared by the whole process.
        clock: A clock that never goes back.
        sleep: How to wait.
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
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx  # here, not above: who never asks does not pay for it

        super().__init__(instance, timeout, patience, budget)
        self._client = httpx.Client(transport=transport, **self._options)
        self._clock, self._sleep = clock, sleep

    def ask(self, question: Question[T]) -> T:
        """The answer; or `ApiRefused`, or `ApiUnavailable`."""
        return drive(asking(question, self.budget, self._patience, self._clock, random.random), self._step)

    def _step(self, step: Step) -> Answer | NoAnswer | None:
        if isinstance(step, Question):
            return self._send(step)
        if step > 0:
            self._sleep(step)
        return None

    def _send(self, question: Question[Any]) -> Answer | NoAnswer:
        import httpx

        try:
            with self._client.stream(question.method, question.path, **_sent(question)) as response:
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > MAX_BODY:
                        return NoAnswer(True, "its answer is too long")
                return Answer(response.status_code, response.headers, bytes(body))
        except httpx.HTTPError as error:
            return _failed(error)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClerkApi(_Settings):
    """The same for async code."""

    def __init__(
        self,
        instance: Instance,
        *,
        transport: "httpx.AsyncBaseTransport | None" = None,
        timeout: float = 20,
        patience: float = 120,
        budget: Budget | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        import httpx

        super().__init__(instance, timeout, patience, budget)
        self._client = httpx.AsyncClient(transport=transport, **self._options)
        self._clock, self._sleep = clock, sleep

    async def ask(self, question: Question[T]) -> T:
        """The answer; or `ApiRefused`, or `ApiUnavailable`."""
        steps = asking(question, self.budget, self._patience, self._clock, random.random)
        return await adrive(steps, self._step)

    async def _step(self, step: Step) -> Answer | NoAnswer | None:
        if isinstance(step, Question):
            return await self._send(step)
        if step > 0:
            await self._sleep(step)
        return None

    async def _send(self, question: Question[Any]) -> Answer | NoAnswer:
        import httpx

        try:
            async with self._client.stream(question.method, question.path, **_sent(question)) as response:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_BODY:
                        return NoAnswer(True, "its answer is too long")
                return Answer(response.status_code, response.headers, bytes(body))
        except httpx.HTTPError as error:
            return _failed(error)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _sent(question: Question[Any]) -> dict[str, Any]:
    """A question as httpx sends it."""
    sent: dict[str, Any] = {"params": question.parameters()}
    if question.body is not None:
        sent |= {"content": json.dumps(question.body).encode(), "headers": {"Content-Type": "application/json"}}
    return sent


def _failed(error: Exception) -> NoAnswer:
    """Only what failed while connecting is sure not to have reached anybody. The text of an error may hold a URL."""
    import httpx

    reached = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
    return NoAnswer(reached, type(error).__name__)
