"""The rate limit of requests to Clerk's API, shared by all callers in a process.

It is plain arithmetic on a clock. In any ten seconds a process uses at most nine tenths of the limit that Clerk allows.
The rest is for other processes: Clerk counts the requests of an instance, not of a process.
"""

import math
import threading
from collections.abc import Callable
from hashlib import blake2b

from .._runtime.bounded import Bounded
from .._runtime.forks import SurvivesForks
from ..core.instance import Instance

WINDOW = 10.0
PRODUCTION, DEVELOPMENT = 1000, 100  # requests per window, from Clerk's documentation
_BURST, _STEADY = 0.2, 0.7  # together nine tenths
_LEAST_WAIT = 0.001  # a shorter wait might not move the clock


class Budget(SurvivesForks):
    """A rate limiter, which grants one request at a time, at the moment of the request.

    There is no queue. So a caller that gives up, is cancelled or wakes too late holds no place, and a pause applies to
    all callers.

    Args:
        limit: Requests that are allowed in ten seconds. Nine tenths of them are granted, and always at least one.
        clock: A monotonic clock.
    """

    def __init__(self, limit: float, clock: Callable[[], float]) -> None:
        self.limit: float = limit
        self._spacing = WINDOW / (limit * _STEADY)
        self._ahead = self._spacing * max(1.0, limit * _BURST)
        self._clock = clock
        self._full_at = clock()  # when the whole burst is available again
        self._lock = threading.Lock()
        self.survive_forks()

    def take(self) -> float:
        """Take one request and return 0, or return the seconds after which to try again."""
        with self._lock:
            now = self._clock()
            full_at = max(self._full_at, now) + self._spacing
            wait = full_at - self._ahead - now
            if wait > 0:
                return max(wait, _LEAST_WAIT)
            self._full_at = full_at
            return 0.0

    def is_half_full(self) -> bool:
        """Return whether at least half of the burst is left, and at least one request."""
        with self._lock:
            left = self._clock() + self._ahead - self._full_at
            return left >= max(self._spacing, self._ahead / 2)

    def pause(self, seconds: float) -> None:
        """Grant no requests for some seconds, because Clerk demands it. Afterwards, start slowly."""
        with self._lock:
            self._full_at = max(self._full_at, self._clock() + seconds + self._ahead - self._spacing)

    def after_fork_in_child(self) -> None:
        """Replace the lock in a child process: its holder may exist in the parent only."""
        self._lock = threading.Lock()


class Shares:
    """Divides a rate limit among sources, so that no source uses up the share of others.

    A source may ask while it has used less than the rest of the common limit (a dynamic threshold). A single source
    gets half, two sources get a third each, and a new source always finds some rest. Usage decays over a window.

    Args:
        limit: Requests of all sources together in a window.
        clock: A monotonic clock.
        keep: The number of sources to remember. The source with the oldest granted request is forgotten first.
    """

    def __init__(self, limit: float, clock: Callable[[], float], keep: int = 1_024) -> None:
        self._limit = max(2.0, limit)
        self._clock = clock
        self._used: Bounded[str, tuple[float, float]] = Bounded(keep)
        self._total = (0.0, clock())

    def take(self, source: str) -> bool:
        """Return whether the source may ask one request now. This method is not thread-safe."""
        now = self._clock()
        total, used = _faded(self._total, now), _faded(self._used.get(source, (0.0, now)), now)
        if used + 1 > self._limit - total:
            return False
        self._total = total + 1, now
        self._used.pop(source, None)
        self._used.keep(source, (used + 1, now))
        return True


def _faded(used: tuple[float, float], now: float) -> float:
    number, at = used
    return number * math.exp(min(0.0, at - now) / WINDOW)


_shared: dict[object, Budget] = {}


def shared_budget(instance: Instance, clock: Callable[[], float]) -> Budget:
    """Return the budget that all clients of an instance with this clock share in this process."""
    secret_key = str(instance.secret_key)
    whose = blake2b(f"{instance.api_url} {secret_key}".encode()).digest()
    limit = PRODUCTION if secret_key.startswith("sk_live_") else DEVELOPMENT
    return _shared.setdefault((whose, _hashable(clock)), Budget(limit, clock))


def _hashable(clock: Callable[[], float]) -> object:
    try:
        hash(clock)
    except TypeError:
        return id(clock)  # no other clock gets this number, since the budget keeps this clock alive
    return clock
