"""The line in which requests wait for a connection to PostgreSQL, or for their turn to write to an SQLite file: first
come, first served. Requests that have waited before, and requests of known callers, come before the others.

A full pool is no outage. A request is refused only when no turn has ended well for `timeout` seconds, or when
`max_waiting` others are waiting already. psycopg's own pools end each request's wait after a fixed time. So they refuse
a rush of thousands while the server works at full speed.

The seconds are counted in ticks of the requests that wait. An event loop or a process that stands still has no ticks,
and proves nothing about the server.
"""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from .._runtime.forks import SurvivesForks
from ..errors import RepositoryUnavailable

_TICKS = 8  # in each `timeout`
_WIDEN_AFTER = 1.0  # seconds after which a line that was narrowed lets more requests through again


class _Line:
    """The number of requests that may have a turn, and of those that have one.

    Args:
        size: How many may have a turn at once.
        timeout: Seconds without a turn that ended well, after which a request is refused.
        max_waiting: How many requests may wait.
        wanted: The object that they wait for, as part of the error's text.
        stuck: The cause of a refusal, as part of the error's text.
    """

    def __init__(
        self,
        size: Callable[[], int],
        timeout: float,
        max_waiting: int,
        *,
        wanted: str = "a connection",
        stuck: str = "all connections have been busy",
    ) -> None:
        self._size = size
        self._timeout = timeout
        self._max_waiting = max_waiting
        self._wanted = wanted
        self._stuck = stuck
        self._served = 0
        self._narrow = 1
        self._narrow_until = float("-inf")
        self._moves = 0  # how many turns have ended well

    def narrow(self, size: int) -> None:
        """Let no more requests through than this for a while: the server accepts no more connections."""
        self._narrow = max(1, size)
        self._narrow_until = time.monotonic() + _WIDEN_AFTER

    def moved(self) -> None:
        """Note that the database works, so that the requests that wait go on waiting."""
        self._moves += 1

    def _has_room(self) -> bool:
        size = self._size()
        if time.monotonic() < self._narrow_until:
            size = min(size, self._narrow)
        return self._served < size

    def _check_length(self, waiting: int) -> None:
        if waiting >= self._max_waiting:
            raise RepositoryUnavailable(f"{waiting} requests are already waiting for {self._wanted}: see max_waiting")

    def _has_left(self, *, moved: bool) -> None:
        self._served = max(0, self._served - 1)  # in a forked child, the parent's requests are not counted
        self._moves += moved

    def _in_vain(self) -> RepositoryUnavailable:
        return RepositoryUnavailable(f"{self._stuck} for {self._timeout:g} seconds")


class Line(_Line, SurvivesForks):
    """The line of threads."""

    def __init__(self, size: Callable[[], int], timeout: float, max_waiting: int, **texts: str) -> None:
        super().__init__(size, timeout, max_waiting, **texts)
        self.after_fork_in_child()
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        """Forget the threads of the parent, which do not exist here."""
        self._lock = threading.Lock()
        self._first = OrderedDict[threading.Event, None]()
        self._others = OrderedDict[threading.Event, None]()
        self._served = 0

    def enter(self, *, first: bool = False) -> None:
        """Wait for a turn: behind the requests that are `first`, if this one is, or else behind all."""
        with self._lock:
            if not self._first and not self._others and self._has_room():
                self._served += 1
                return
            self._check_length(len(self._first) + len(self._others))
            turn = threading.Event()
            waiting = self._first if first else self._others
            waiting[turn] = None
        try:
            self._wait(turn)
        except BaseException:
            with self._lock:
                was_waiting = waiting.pop(turn, turn) is None
            if not was_waiting:  # its turn came in the same moment
                self.leave(moved=False)
            raise

    def _wait(self, turn: threading.Event) -> None:
        moves, ticks = self._moves, 0
        while not turn.wait(self._timeout / _TICKS):
            moves, ticks = self._moves, ticks + 1 if moves == self._moves else 0
            if ticks > _TICKS:
                raise self._in_vain()

    def leave(self, *, moved: bool) -> None:
        """End a turn. `moved` says that it ended well: the database has answered."""
        with self._lock:
            self._has_left(moved=moved)
            while (waiting := self._first or self._others) and self._has_room():
                turn, _ = waiting.popitem(last=False)
                self._served += 1
                turn.set()


class AsyncLine(_Line):
    """The line of the tasks of one event loop."""

    def __init__(self, size: Callable[[], int], timeout: float, max_waiting: int, **texts: str) -> None:
        super().__init__(size, timeout, max_waiting, **texts)
        self._first = OrderedDict[asyncio.Future[None], int]()  # each with the tick of its arrival
        self._others = OrderedDict[asyncio.Future[None], int]()
        self._timer: asyncio.TimerHandle | None = None
        self._tick = self._moved_at = self._moves_seen = 0

    async def enter(self, *, first: bool = False) -> None:
        """Wait for a turn: behind the requests that are `first`, if this one is, or else behind all."""
        if not self._first and not self._others and self._has_room():
            self._served += 1
            return
        self._check_length(len(self._first) + len(self._others))
        turn = asyncio.get_running_loop().create_future()
        waiting = self._first if first else self._others
        waiting[turn] = self._tick
        if self._timer is None:
            self._tick_later()
        try:
            await turn
        except asyncio.CancelledError:
            if waiting.pop(turn, None) is None and not turn.cancelled() and turn.exception() is None:
                self.leave(moved=False)  # its turn came in the same moment
            raise

    def leave(self, *, moved: bool) -> None:
        """End a turn. `moved` says that it ended well: the database has answered."""
        self._has_left(moved=moved)
        while (waiting := self._first or self._others) and self._has_room():
            turn, _ = waiting.popitem(last=False)
            if not turn.done():
                self._served += 1
                turn.set_result(None)

    def _tick_later(self) -> None:
        """Start one timer for all: thousands of timers would cost more than the requests."""
        self._timer = asyncio.get_running_loop().call_later(self._timeout / _TICKS, self._refuse)

    def _refuse(self) -> None:
        """Refuse the requests that have waited for all the ticks since a turn ended well."""
        self._tick += 1
        if self._moves != self._moves_seen:
            self._moves_seen, self._moved_at = self._moves, self._tick
        for waiting in (self._first, self._others):
            while waiting:
                turn, arrived = next(iter(waiting.items()))
                if self._tick - max(arrived, self._moved_at) <= _TICKS:
                    break
                del waiting[turn]
                if not turn.done():
                    turn.set_exception(self._in_vain())
        self._timer = None
        if self._first or self._others:
            self._tick_later()
