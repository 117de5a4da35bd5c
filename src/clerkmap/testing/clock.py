"""A clock that you move."""

import time


class Clock:
    """Call it for the time. Started at a given second it stands still there; otherwise it follows the real time."""

    def __init__(self, start: float | None = None) -> None:
        self._start = start
        self._shift = 0.0

    def __call__(self) -> float:
        return (time.time() if self._start is None else self._start) + self._shift

    def freeze(self) -> None:
        """Stand still from now on, until it is moved."""
        self._start, self._shift = self(), 0.0

    def advance(self, seconds: float) -> None:
        """Move the clock forward, or back."""
        self._shift += seconds

    @property
    def stands_still(self) -> bool:
        """Whether it moves only when it is moved."""
        return self._start is not None
