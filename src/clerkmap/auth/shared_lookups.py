"""Limit the work of requests that memory cannot answer: one look-up for each caller, and turns for all of them.

The first page of a user sends several requests at once. One request asks the repository. The others wait, and read the
result from memory. Threads wait for threads, and tasks for tasks of the same event loop: a stopped loop blocks no
other.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from contextvars import ContextVar
from copy import copy
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from .._runtime.forks import SurvivesForks
from ..errors import ApiUnavailable, CommitUnknown, RepositoryUnavailable, Unavailable

T = TypeVar("T")
E = TypeVar("E", threading.Event, asyncio.Event)
# Whether this code runs inside a look-up, as a hook does, or in a task that a look-up has started. Such code must not
# wait for a look-up, which may be waiting for it.
_is_inside: ContextVar[bool] = ContextVar("clerkmap_inside_look_up", default=False)
_ROUNDS = 3  # after so many failed waits, a request asks by itself: the record changes all the time, or is not kept


class _LookUp(Generic[E]):
    """A running look-up, and its error if the waiting callers would meet the same error."""

    def __init__(self, ended: E) -> None:
        self.ended: E = ended
        self.error: Unavailable | None = None

    def check(self) -> None:
        """Raise an error that concerns all callers. Each raises its own copy, because an error keeps its traceback."""
        if self.error is not None:
            raise copy(self.error) from self.error.__cause__

    def fail(self, error: Unavailable) -> None:
        if not isinstance(error, CommitUnknown):  # a lost commit concerns one write
            self.error = error


class SharedLookUps(SurvivesForks):
    """The running look-ups.

    If a look-up is cancelled, or fails for a reason that concerns only itself, one of the waiting callers repeats it.
    """

    def __init__(self) -> None:
        self._make_tables()
        self.survive_forks()

    def _make_tables(self) -> None:
        self._lock = threading.Lock()
        self._of_threads: dict[Hashable, _LookUp[threading.Event]] = {}
        self._of_tasks: dict[tuple[asyncio.AbstractEventLoop, Hashable], _LookUp[asyncio.Event]] = {}

    def after_fork_in_child(self) -> None:
        self._make_tables()

    def join(self, key: Hashable, remembered: Callable[[], T | None], look_up: Callable[[], T]) -> T:
        """Run the look-up, or wait for a thread that runs it and return the remembered result."""
        if _is_inside.get():
            return look_up()
        for _ in range(_ROUNDS):
            with self._lock:
                running = self._of_threads.get(key)
                if running is None:
                    mine = self._of_threads[key] = _LookUp(threading.Event())
                    break
            running.ended.wait()
            running.check()
            found = remembered()
            if found is not None:
                return found
        else:
            return look_up()
        token = _is_inside.set(True)
        try:
            return look_up()
        except (RepositoryUnavailable, ApiUnavailable) as error:
            mine.fail(error)
            raise
        finally:
            _is_inside.reset(token)
            self._of_threads.pop(key, None)
            mine.ended.set()

    async def ajoin(self, key: Hashable, remembered: Callable[[], T | None], look_up: Callable[[], Awaitable[T]]) -> T:
        """Do the same as `join` for the tasks of the running event loop."""
        if _is_inside.get():
            return await look_up()
        place = asyncio.get_running_loop(), key
        for _ in range(_ROUNDS):
            running = self._of_tasks.get(place)
            if running is None:
                break
            await running.ended.wait()
            running.check()
            found = remembered()
            if found is not None:
                return found
        else:
            return await look_up()
        mine = self._of_tasks[place] = _LookUp(asyncio.Event())
        token = _is_inside.set(True)
        try:
            return await look_up()
        except (RepositoryUnavailable, ApiUnavailable) as error:
            mine.fail(error)
            raise
        finally:
            _is_inside.reset(token)
            self._of_tasks.pop(place, None)
            mine.ended.set()


class Turns:
    """Lets a fixed number of tasks continue in each iteration of an event loop, first come, first served.

    To verify thousands of tokens in one iteration would block the loop: other requests, and the listeners for changes.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Iteration] = WeakKeyDictionary()

    async def take(self) -> None:
        """Wait for a turn. As a rule, one is free at once."""
        loop = asyncio.get_running_loop()
        iteration = self._loops.get(loop)
        if iteration is None:
            iteration = self._loops[loop] = _Iteration(self._number)
        if not iteration.take(loop):
            await iteration.wait(loop)


class _Iteration:
    """The free turns in this iteration of an event loop, and the tasks that wait for the next iterations.

    The turns are handed out anew when the last one is taken, and not in each iteration: a callback for each request
    would keep the loop from its rest, and the threads of the repository from running.
    """

    def __init__(self, number: int) -> None:
        self._number = self._left = number
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take(self, loop: asyncio.AbstractEventLoop) -> bool:
        if self._left == 0 or self._waiting:
            return False
        self._left -= 1
        if self._left == 0:
            loop.call_soon(self._begin, loop)
        return True

    async def wait(self, loop: asyncio.AbstractEventLoop) -> None:
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand out the turns of the next iteration."""
        self._left = self._number
        while self._waiting and self._left > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._left -= 1
        if self._left == 0:
            loop.call_soon(self._begin, loop)
