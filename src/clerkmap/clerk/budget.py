"""How often Clerk's API may be asked: what Clerk allows an instance, shared by everybody in the process who asks.

Plain arithmetic on a clock. In any ten seconds at most nine tenths of what Clerk allows are spent, so that a little is
left for others: Clerk counts an instance's requests, not a process's.
"""

import threading
from collections.abc import Callable
from hashlib import blake2b

WINDOW = 10.0
PRODUCTION, DEVELOPMENT = 1000, 100  # requests a window, as Clerk documents them
_BURST, _STEADY = 0.2, 0.7  # together nine tenths


class Budget:
    """A right to ask, handed out one question at a time.

    Args:
        limit: Requests that are allowed in ten seconds.
        clock: A clock that never goes back.
    """

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._spacing = WINDOW / (limit * _STEADY)
        self._ahead = self._spacing * max(1.0, limit * _BURST)
        self._clock = clock
        self._next = clock() - self._ahead
        self._lock = threading.Lock()

    def take(self) -> float:
        """Take the next place in line. Tells how many seconds to wait for it."""
        with self._lock:
            now = self._clock()
            self._next = max(self._next + self._spacing, now - self._ahead)
            return max(0.0, self._next - now)

    def pause(self, seconds: float) -> None:
        """Nobody is to ask for a while: Clerk has said so."""
        with self._lock:
            self._next = max(self._next, self._clock() + seconds)


_shared: dict[bytes, Budget] = {}
_sharing = threading.Lock()


def shared_budget(api_url: str, secret_key: str, clock: Callable[[], float]) -> Budget:
    """The one budget of an instance in this process."""
    name = blake2b(f"{api_url} {secret_key}".encode()).digest()
    with _sharing:
        limit = PRODUCTION if secret_key.startswith("sk_live_") else DEVELOPMENT
        return _shared.setdefault(name, Budget(limit, clock))
