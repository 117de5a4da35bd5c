"""Forwarding to your application: each delivery is sent to it with POST, as Clerk does."""

import asyncio
import json
from typing import cast
from urllib.parse import urlsplit

import httpx

from ..core.strict_json import fields
from ..testing import Message
from .clerk import LocalClerk
from .outcomes import Came, Kind, Record

PATIENCE = 15.0  # seconds: the timeout of Clerk
MOST_READ = 65_536  # bytes of an answer that are read
KINDS = ("applied", "nothing_new", "ignored")


class Forward:
    """An application at an address.

    Args:
        clerk: The Clerk that sends the events.
        url: The address of the webhook endpoint.
        record: Called with the outcome of each delivery.
        patience: The timeout in seconds.
    """

    def __init__(self, clerk: LocalClerk, url: str, record: Record, *, patience: float = PATIENCE) -> None:
        self.url: str = check_forward(url)
        self._clerk = clerk
        self._record = record
        self._patience = patience
        # Direct, without the proxies of the environment. As at Clerk, a redirect is a failure.
        self._client = httpx.AsyncClient(timeout=patience, follow_redirects=False, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def take(self, message: Message) -> int | None:
        """Attempt a delivery. None if there was no answer in time."""
        # The application has the real clock, and would refuse a delivery from a clock that was moved forward.
        headers = self._clerk.wire.sign(message, at=self._clerk.clock() - self._clerk.clock.shift)
        headers["user-agent"] = "Svix-Webhooks/clerkmap"
        try:
            async with (
                asyncio.timeout(self._patience),
                self._client.stream("POST", self.url, headers=headers, content=message.body) as answer,
            ):
                said = await _read(answer)
        except TimeoutError:
            self._record(message.id, Came(self.url, "refused", f"no response within {self._patience:g} seconds"))
            return None
        except httpx.HTTPError as error:
            self._record(message.id, Came(self.url, "refused", f"no response ({type(error).__name__})"))
            return None
        self._record(message.id, _came(self.url, answer, said))
        return answer.status_code


def check_forward(url: str) -> str:
    """Return a valid address of an application, or raise ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must be a URL such as http://localhost:8000/webhooks/clerk")
    try:
        _ = parts.port
        httpx.Request("POST", url)  # checks the host more strictly than `httpx.URL`
    except (httpx.InvalidURL, ValueError):
        raise ValueError("it must be a valid URL") from None
    return url


def origin_of(url: str) -> str:
    """Return the origin of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


async def _read(answer: httpx.Response) -> bytes:
    said = bytearray()
    async for piece in answer.aiter_bytes():
        said += piece
        if len(said) > MOST_READ:
            break
    return bytes(said)


def _came(url: str, answer: httpx.Response, said: bytes) -> Came:
    """Return the outcome in an answer. Only an application with clerkmap describes the outcome."""
    if not answer.is_success:
        return Came(url, "refused", f"answered {answer.status_code}")
    try:
        told = fields(json.loads(said))
    except (ValueError, RecursionError):
        told = {}
    kind, reason = told.get("outcome"), told.get("reason")
    if kind not in KINDS:
        return Came(url, "applied", f"answered {answer.status_code}")
    return Came(url, cast(Kind, kind), reason[:500] if isinstance(reason, str) else None)
