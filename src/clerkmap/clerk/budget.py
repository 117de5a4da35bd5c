"""How often Clerk's API may be asked: what Clerk allows an instance, shared by everybody in the process who asks.

Plain arithmetic on a clock. In any ten seconds at most nine tenths of what Clerk allows are spent, so that a little is
left for others: Clerk counts an instance's requests, not a process's.
"""

import math
import threading
from collections.abc import Callable
from hashlib import blake2b

from .._runtime.bounded import Bounded
from .._runtime.forks import SurvivesForks
from ..core.instance import Instance

WINDOW = 10.0
PRODUCTION, DEVELOPMENT = 1000, 100  # requests a window, as Clerk documents them
_BURST, _STEADY = 0.2, 0.7  # together nine tenths
_LEAST_WAIT = 0.001  # a shorter one might not move the clock at all


class Budget(SurvivesForks):
    """A right to ask, handed out one question at a time, at the moment of asking.

    Nobody holds a place in a line: whoever gives up, is cancelled or wakes too late leaves nothing behind, and a pause
    is a pause for all.

    Args:
        limit: Requests that are allowed in ten seconds. Nine tenths of them are handed out, but always one.
        clock: A clock that never goes back.
    """

    def __init__(self, limit: float, clock: Callable[[], float]) -> None:
        self.limit: float = limit
        self._spacing = WINDOW / (limit * _STEADY)
        self._ahead = self._spacing * max(1.0, limit * _BURST)
        self._clock = clock
        self._full_at = clock()  # when all of the burst is there again
        self._lock = threading.Lock()
        self.survive_forks()

    def take(self) -> float:
        """0 is the right to ask one question now. Anything else are seconds, after which to try again."""
        with self._lock:
            now = self._clock()
            full_at = max(self._full_at, now) + self._spacing
            wait = full_at - self._ahead - now
            if wait > 0:
                return max(wait, _LEAST_WAIT)
            self._full_at = full_at
            return 0.0

    def is_half_full(self) -> bool:
        """Return whether at least half of the burst is left, and one question."""
        with self._lock:
            left = self._clock() + self._ahead - self._full_at
            return left >= max(self._spacing, self._ahead / 2)

    def pause(self, seconds: float) -> None:
        """Nobody is to ask for a while: Clerk has said so. Afterwards they begin slowly."""
        with self._lock:
            self._full_at = max(self._full_at, self._clock() + seconds + self._ahead - self._spacing)

    def after_fork_in_child(self) -> None:
        """In a child process: the holder of the lock may have stayed behind."""
        self._lock = threading.Lock()


class Shares:
    """Divides a number of questions among sources, so that no source uses up what others need.

    A source is let through while it has used less than what all of them have left (a dynamic threshold). One source
    alone gets half, two get a third each, and one that comes anew always finds something left. What was used is
    forgotten by and by, over a window.

    Args:
        limit: Questions of all sources together in a window.
        clock: A clock that never goes back.
        keep: How many sources to tell apart. The one that was let through longest ago is forgotten first.
    """

    def __init__(self, limit: float, clock: Callable[[], float], keep: int = 1_024) -> None:
        self._limit = max(2.0, limit)
        self._clock = clock
        self._used: Bounded[str, tuple[float, float]] = Bounded(keep)
        self._total = (0.0, clock())

    def take(self, source: str) -> bool:
        """Return whether the source may ask one question now. Not for several threads at once."""
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
    """The one budget of an instance in this process, for all who go by the same clock."""
    secret_key = str(instance.secret_key)
    whose = blake2b(f"{instance.api_url} {secret_key}".encode()).digest()
    limit = PRODUCTION if secret_key.startswith("sk_live_") else DEVELOPMENT
    return _shared.setdefault((whose, _hashable(clock)), Budget(limit, clock))


def _hashable(clock: Callable[[], float]) -> object:
    try:
        hash(clock)
    except TypeError:
        return id(clock)  # no other clock gets this number, since the budget keeps this one
    return clock
