"""Whether something is worth another try, and when: what PostgreSQL has refused or lost is judged here."""

import random
import time
from dataclasses import dataclass

import psycopg

from ...errors import HookFailed, RepositoryUnavailable
from .lending import AnyConnection

# Nothing of such a transaction has been kept: it met another one, and the other was let through.
_GAVE_WAY = ("40001", "40P01")  # serialization_failure, deadlock_detected
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5  # seconds


@dataclass(slots=True)
class Attempt:
    """How far one attempt has come."""

    connection: AnyConnection | None = None
    is_committing: bool = False

    @property
    def is_lost(self) -> bool:
        """Whether the connection has broken."""
        return self.connection is not None and self.connection.closed

    @property
    def is_unknown(self) -> bool:
        """Whether nobody can say if it was committed: the answer has been lost."""
        return self.is_committing and self.is_lost


class Attempts:
    """The attempts at one operation, until a time has passed. There is one alone where `again` is false."""

    def __init__(self, seconds: float, *, again: bool = True) -> None:
        self._ends = time.monotonic() + seconds
        self._again = again
        self._pause = _FIRST_PAUSE

    @property
    def seconds_left(self) -> float:
        """How long to wait for a connection: always a little, for a pool has it ready as a rule."""
        return max(0.1, self._ends - time.monotonic())

    def after(self, error: Exception, attempt: Attempt, *, repeatable: bool = True) -> float:
        """How many seconds to wait before the next attempt. If there is to be none, this raises what is to be told."""
        if attempt.is_unknown and not repeatable:
            raise RepositoryUnavailable("the connection was lost during the commit; look what became of it") from error
        worthwhile = _gave_way(error) or attempt.is_lost
        if not self._again or not worthwhile or time.monotonic() + self._pause > self._ends:
            if is_fault(error):
                raise RepositoryUnavailable(type(error).__name__) from error
            raise error
        pause = self._pause * random.uniform(0.5, 1)  # noqa: S311 - so that two that met do not meet again
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return pause


def _gave_way(error: Exception) -> bool:
    """Whether it, or what a hook did in it, met another transaction and was undone."""
    cause = error.__cause__ if isinstance(error, HookFailed) else error
    return isinstance(cause, psycopg.Error) and cause.sqlstate in _GAVE_WAY


def is_fault(error: BaseException) -> bool:
    """Whether the database is at fault. A wrong use of it is not: trying again would not help."""
    wrong_use = (psycopg.ProgrammingError, psycopg.IntegrityError, psycopg.DataError, psycopg.NotSupportedError)
    return isinstance(error, psycopg.Error) and not isinstance(error, wrong_use)
