"""A clock that tests can move."""

import time
from datetime import timedelta


class Clock:
    """Call it for the time in seconds. With `start` it is frozen at that second; otherwise it follows the real time."""

    def __init__(self, start: float | None = None) -> None:
        self._start = start
        self._shift = 0.0

    def __call__(self) -> float:
        return (time.time() if self._start is None else self._start) + self._shift

    def freeze(self) -> None:
        """Stop the clock at the current second."""
        self._start, self._shift = self(), 0.0

    def advance(self, by: float | timedelta) -> None:
        """Move the clock forward by seconds or a `timedelta`, or back by a negative one."""
        self._shift += by.total_seconds() if isinstance(by, timedelta) else by

    @property
    def shift(self) -> float:
        """The seconds by which the clock was moved, since it was frozen last."""
        return self._shift

    @property
    def stands_still(self) -> bool:
        """Whether the clock is frozen."""
        return self._start is not None
