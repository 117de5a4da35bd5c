"""Who may go in: a gate that can be shut, and a line in which one thread after the other has its turn."""

import threading
import time
from collections import deque

from ..errors import RepositoryUnavailable


class _Depth(threading.local):
    depth = 0


class Gate:
    """Use it as a context manager to be inside. While it is shut, nobody gets in but who is inside already.

    It stands on the way of every look-up, so it does no more than it must.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._inside = 0
        self._shut = False
        self._mine = _Depth()

    def __enter__(self) -> None:
        with self._changed:
            if self._shut and self._mine.depth == 0:
                self._changed.wait_for(lambda: not self._shut)
            self._inside += 1
        self._mine.depth += 1

    def __exit__(self, *_: object) -> None:
        self._mine.depth -= 1
        with self._changed:
            self._inside -= 1
            if self._shut:
                self._changed.notify_all()

    def shut(self, timeout: float) -> bool:
        """Let nobody in, and wait for those inside. Whether they have all left in time."""
        with self._changed:
            self._changed.wait_for(lambda: not self._shut)
            self._shut = True
            return self._changed.wait_for(lambda: self._inside == 0, timeout)

    @property
    def is_occupied(self) -> bool:
        """Whether anybody is inside."""
        return self._inside > 0

    def open(self) -> None:
        """Let everybody in again."""
        with self._changed:
            self._shut = False
            self._changed.notify_all()


class Line:
    """A lock that is handed on in the order of arrival. (A plain one goes to whichever thread is quickest.)

    A thread that waits is refused when nothing has moved for `timeout` seconds, and at once when `max_waiting` threads
    are waiting before it.
    """

    def __init__(self, timeout: float, max_waiting: int) -> None:
        self._timeout = timeout
        self._max_waiting = max_waiting
        self._lock = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._is_taken = False
        self._moved_at = float("-inf")

    def take(self) -> None:
        """Wait for a turn. `RepositoryUnavailable` if there is none."""
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return
            if len(self._waiting) >= self._max_waiting:
                raise RepositoryUnavailable("too many writers are waiting")
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        since = time.monotonic()
        try:
            while not turn.acquire(timeout=self._seconds_left(since)):
                if self._seconds_left(since) == 0 and self._leave(turn):
                    raise RepositoryUnavailable("nothing was written while this writer waited")
        except BaseException as error:  # a signal, too, may end the waiting
            if not isinstance(error, RepositoryUnavailable) and not self._leave(turn):
                self.hand_on()  # the turn has come in this moment
            raise

    def moved(self) -> None:
        """Note a commit: the writers that wait may go on waiting."""
        self._moved_at = time.monotonic()

    def hand_on(self) -> None:
        """End a turn."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_taken = False

    def _seconds_left(self, since: float) -> float:
        return max(0.0, max(since, self._moved_at) + self._timeout - time.monotonic())

    def _leave(self, turn: threading.Lock) -> bool:
        """Stop waiting. False if the turn has just come."""
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return True
            return False
