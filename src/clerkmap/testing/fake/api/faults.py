"""Faults between an application and the fake Clerk: rate limits, latency, errors and cut connections."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, Protocol

from ...clock import Clock
from ..objects import ClerkRefuses
from .requests import ApiAnswer, ApiRequest, answer_of

Fate = Literal["cut_before", "server_error", "proxy_error", "too_many", "cut_within", "cut_after"]

FATES: tuple[Fate, ...] = ("cut_before", "server_error", "proxy_error", "too_many", "cut_within", "cut_after")
WINDOW = 10  # seconds
MAX_OBJECTS = 1_000


class PublishesKeys(Protocol):
    """A fake Clerk, as far as its public keys go."""

    def jwks(self) -> dict[str, Any]:
        """Return the published keys as a JWKS."""
        ...


@dataclass
class Faults:
    """The switches of one fake Clerk, all off at first. Probabilities are from 0 to 1, drawn for each request.

    Args:
        rate_limit: Limit requests as Clerk does, by the clock of the instance.
        limit: The number of requests in ten seconds. Clerk allows 100 for a development instance, otherwise 1,000.
        limit_each: The number of changes of one user, organization or membership in ten seconds.
        latency: The delay of each answer in seconds. A frozen clock is advanced by it; otherwise the time passes.
        cut_before: The probability that the connection is cut before the request is processed.
        server_error: The probability of a 500 or 503 without processing.
        proxy_error: The probability of a 502, 503 or 504 with an HTML page, as from a proxy, without processing.
        too_many: The probability of a 429.
        cut_within: The probability that the connection is cut in the middle of the answer.
        cut_after: The probability that the connection is cut after processing, before the answer.
        keys_of: Another instance, whose keys are published instead.
        between_pages: Is called with each request for a list, before the list is read.
    """

    rate_limit: bool = False
    limit: int | None = 100
    limit_each: int | None = 10
    latency: float = 0
    cut_before: float = 0
    server_error: float = 0
    proxy_error: float = 0
    too_many: float = 0
    cut_within: float = 0
    cut_after: float = 0
    keys_of: PublishesKeys | None = None
    between_pages: Callable[[ApiRequest], object] | None = None


class Chance:
    """Draws the fault of each request. The same seed draws the same faults."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._faults = faults
        self._random = Random(f"faults {seed}")

    def draw(self) -> Fate | None:
        """Return the fault of the next request, or None."""
        # A number is drawn for each kind of fault, so that one switch does not change the draws of another.
        drawn: list[Fate] = [each for each in FATES if self._random.random() < getattr(self._faults, each)]
        return drawn[0] if drawn else None

    def failure(self, fate: Literal["server_error", "proxy_error"]) -> ApiAnswer:
        """Return an answer with a 5xx status."""
        if fate == "proxy_error":
            status = self._random.choice((502, 503, 504))
            page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1><hr>proxy</body></html>\n"
            return ApiAnswer(status, page.encode(), {"content-type": "text/html"})
        message = "Something went wrong on our side"
        error = {"message": message, "long_message": message, "code": "internal_clerk_error"}
        return answer_of({"errors": [error]}, self._random.choice((500, 503)))


class TooMany(ClerkRefuses):
    """The error of a rate limit, with the seconds until a retry can succeed."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(429, "too_many_requests", "Too many requests. Please try again in a bit.")
        self.retry_after: int = retry_after


class Limits:
    """Counts the requests that were allowed: all requests, and the changes of each object. Refused ones do not count.

    As at Clerk, a window has ten seconds.
    """

    def __init__(self, faults: Faults, clock: Clock) -> None:
        self._faults = faults
        self._clock = clock
        self._all: deque[float] = deque()
        self._each: dict[str, deque[float]] = {}

    def count(self, changed: str | None) -> None:
        """Count a request, or raise `TooMany`. A change names the object that it changes."""
        if not self._faults.rate_limit:
            return
        now = self._clock()
        if changed is not None and len(self._each) > MAX_OBJECTS:
            self._each = {name: times for name, times in self._each.items() if times[-1] > now - WINDOW}
        windows = [(self._all, self._faults.limit)]
        if changed is not None:
            windows.append((self._each.setdefault(changed, deque()), self._faults.limit_each))
        for times, most in windows:
            while times and times[0] <= now - WINDOW:
                times.popleft()
            if most is not None and len(times) >= most:
                raise TooMany(max(1, math.ceil(times[0] + WINDOW - now)) if times else WINDOW)
        for times, _ in windows:
            times.append(now)


def seconds_to_wait(delay: float, clock: Clock) -> float:
    """Return the seconds that must really pass. A frozen clock is advanced instead, and nothing is left to wait."""
    if delay and clock.stands_still:
        clock.advance(delay)
        return 0
    return delay
