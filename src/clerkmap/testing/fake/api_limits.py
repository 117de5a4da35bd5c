"""How often one may ask: Clerk's limits, in windows of ten seconds on the clock of the instance."""

import math
from collections import deque

from ..clock import Clock
from .api_faults import Faults
from .objects import ClerkRefuses

WINDOW = 10  # seconds
OBJECTS_KEPT = 1_000


class TooMany(ClerkRefuses):
    """The refusal that says when to come back."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(429, "too_many_requests", "Too many requests. Please try again in a bit.")
        self.retry_after: int = retry_after


class Limits:
    """Counts what was let through: requests in all, and changes of each object. What is refused does not count."""

    def __init__(self, faults: Faults, clock: Clock) -> None:
        self._faults = faults
        self._clock = clock
        self._all: deque[float] = deque()
        self._each: dict[str, deque[float]] = {}

    def count(self, changed: str | None) -> None:
        """Let a request through, or refuse it. A change names what it changes."""
        if not self._faults.rate_limit:
            return
        now = self._clock()
        if changed is not None and len(self._each) > OBJECTS_KEPT:
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
