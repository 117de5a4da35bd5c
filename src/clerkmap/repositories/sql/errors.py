"""Errors of a database: which of them to retry, and how they become causes of clerkmap's errors.

A cause keeps the class and the code of the database's error. It loses the text, which may show a row: a trigger of the
application can raise any code with any text, so no class of errors is without values.
"""

import random
import time
from typing import TypeVar

E = TypeVar("E", bound=BaseException)

_CODES = ("sqlstate", "sqlite_errorname", "sqlite_errorcode")
# PostgreSQL has rolled such a transaction back in favour of another one.
GAVE_WAY = ("40001", "40P01")  # serialization_failure, deadlock_detected
FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5  # seconds


def without_text(error: E) -> E:
    """Return an error of the same class, with the same code, that shows no value. So is its cause, if it has a code."""
    codes = {name: getattr(error, name) for name in _CODES if hasattr(error, name)}
    code = next((code for code in codes.values() if code is not None), "no code")
    bare = type(error)(f"{code}; the database's message is left out, because it may show a row")
    for name, value in codes.items():
        setattr(bare, name, value)
    cause = error.__cause__
    if cause is not None and any(hasattr(cause, name) for name in _CODES):
        bare.__cause__ = without_text(cause)
    return bare


class Backoff:
    """The pauses between the attempts at one transaction, for some seconds after its first failure."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends: float | None = None  # counted from the first failure: waiting in line is not one
        self._pause = FIRST_PAUSE

    @property
    def has_begun(self) -> bool:
        """Whether an attempt has failed."""
        return self._ends is not None

    def begin(self) -> None:
        """Note a failure: the seconds begin with the first one."""
        if self._ends is None:
            self._ends = time.monotonic() + self._seconds

    @property
    def is_over(self) -> bool:
        """Whether there is no time left for another attempt."""
        return self._ends is not None and time.monotonic() + self._pause > self._ends

    def pause(self) -> float:
        """Return the next pause, in seconds. It is random, so that two transactions do not conflict again."""
        pause = self._pause * random.uniform(0.5, 1)  # noqa: S311 - no secret
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return pause
