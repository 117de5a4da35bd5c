"""The way to an app of yours: each delivery is POSTed to it, as Clerk would."""

import asyncio
import json
from typing import cast
from urllib.parse import urlsplit

import httpx

from ..core.strict_json import fields
from ..testing import Message
from .clerk import LocalClerk
from .outcomes import Came, Kind, Record

PATIENCE = 15.0  # seconds: as long as Clerk waits for an answer
MOST_READ = 65_536  # bytes of an answer that are looked at
KINDS = ("applied", "nothing_new", "ignored")


class Forward:
    """An app at an address.

    Args:
        clerk: Whose events.
        url: Where it takes webhooks.
        record: Told what came of each delivery.
        patience: How many seconds it may take to answer.
    """

    def __init__(self, clerk: LocalClerk, url: str, record: Record, *, patience: float = PATIENCE) -> None:
        self.url: str = check_forward(url)
        self._clerk = clerk
        self._record = record
        self._patience = patience
        # Straight to the address, whatever the environment says of proxies. A redirection is a failure, as at Clerk.
        self._client = httpx.AsyncClient(timeout=patience, follow_redirects=False, trust_env=False)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    async def take(self, message: Message) -> int | None:
        """Attempt a delivery. None where there was no answer in time."""
        # Its clock is the real one, however far Clerk's was moved: otherwise it would refuse each delivery as too new.
        headers = self._clerk.wire.sign(message, at=self._clerk.clock() - self._clerk.clock.shift)
        headers["user-agent"] = "Svix-Webhooks/clerkmap"
        try:
            async with (
                asyncio.timeout(self._patience),
                self._client.stream("POST", self.url, headers=headers, content=message.body) as answer,
            ):
                said = await _read(answer)
        except TimeoutError:
            self._record(message.id, Came(self.url, "refused", f"no answer within {self._patience:g} seconds"))
            return None
        except httpx.HTTPError as error:
            self._record(message.id, Came(self.url, "refused", f"no answer ({type(error).__name__})"))
            return None
        self._record(message.id, _came(self.url, answer, said))
        return answer.status_code


def check_forward(url: str) -> str:
    """The address of an app, or a ValueError that says what one looks like."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must be an address such as http://localhost:8000/webhooks/clerk")
    try:
        _ = parts.port
        httpx.Request("POST", url)  # looks closer at the host than `httpx.URL` does
    except (httpx.InvalidURL, ValueError):
        raise ValueError("it is no address") from None
    return url


def origin_of(url: str) -> str:
    """The origin that an address belongs to."""
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
    """What an answer means. An app with clerkmap in it tells what came of the delivery; others say yes or no."""
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
