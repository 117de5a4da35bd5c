"""Threads in which async code calls a sync repository: some for reads, others for writes.

The default executor of the event loop belongs to the application. A repository may wait for a lock that another program
holds. In that executor, it would block the application's calls, and its own reads.
"""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from copy import copy
from functools import partial
from typing import Any, Protocol, Self, TypeVar

from ..errors import CommitUnknown, ConfigurationError, RepositoryUnavailable
from .forks import SurvivesForks

T = TypeVar("T")

MAX_WAITING = 20_000
TIMEOUT = 5.0
IDLE_FOR = 10.0  # seconds after which an idle thread ends
TOGETHER = 256  # calls in one transaction: bounds the time that the next calls wait


class Threads(Protocol):
    """The way async code calls a sync repository. A repository may have its own as the attribute `threads`."""

    def read(self, function: Callable[..., T], /, *args: Any) -> Awaitable[T]:
        """Call a function that reads."""
        ...

    def write(self, function: Callable[..., T], /, *args: Any) -> Awaitable[T]:
        """Call a function that writes."""
        ...

    def read_or_write(
        self, read: Callable[[], T | None], write: Callable[[], Any], then: Callable[[], T], /
    ) -> Awaitable[T]:
        """Call `read`. If it returns None, call `write`, and after the commit `then`."""
        ...


# The rest of a call that reads first: the lane of the writes, the function that writes, the function after the commit.
Onward = tuple["Lane", Callable[[], Any], Callable[[], Any]]


class Call:
    """A function call that an event loop waits for, and its result."""

    __slots__ = (
        "_function",
        "_then",
        "context",
        "error",
        "future",
        "is_done",
        "lane",
        "loop",
        "onward",
        "result",
        "since",
    )

    def __init__(self, function: Callable[[], Any], lane: "Lane", onward: Onward | None = None) -> None:
        self._function = function
        self._then: Callable[[], Any] | None = None
        self.lane: Lane = lane
        self.onward: Onward | None = onward
        self.context: Context = copy_context()
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.since: float = 0.0  # when it entered its lane
        self.result: Any = None
        self.error: BaseException | None = None
        self.is_done: bool = False

    def run(self) -> None:
        """Call the function, in the context of the waiting caller."""
        try:
            self.result = self.context.run(self._function)
        except BaseException as error:  # noqa: BLE001 - raised in the waiting caller
            self.error = error
        self.is_done = True

    def follow_up(self, function: Callable[[], Any]) -> Any:
        """Call another function in the same context, unless the call has failed. If it raises, the call fails."""
        if self.error is None:
            try:
                return self.context.run(function)
            except BaseException as error:  # noqa: BLE001 - raised in the waiting caller
                self.fail(error)
        return None

    def end(self) -> None:
        """Call the function that follows the commit."""
        if self._then is not None:
            self.result = self.follow_up(self._then)

    def hand_on(self) -> bool:
        """Enter the lane of the writes, if there is something to write. Return False if the call is over."""
        if self.onward is None or self.error is not None or self.result is not None:
            return False
        (lane, self._function, self._then), self.onward = self.onward, None
        self.is_done = False
        if self.lane.threads > 1 and lane.run_here(self):
            return True
        try:
            lane.enter(self)
        except RepositoryUnavailable as error:
            self.fail(error)
            return False
        if self.future.cancelled():  # meanwhile: its caller has left the previous lane
            lane.leave(self)
        return True

    def fail(self, error: BaseException) -> None:
        """Fail with this error, also after a success."""
        # One copy for each call: an error keeps the traceback of the place where it is raised.
        self.error = error
        if isinstance(error, RepositoryUnavailable):
            self.error = copy(error)
            self.error.__cause__ = error.__cause__
        self.result = None
        self.is_done = True

    def deliver(self) -> None:
        """Set the result or the error of the future. Called in the event loop."""
        if self.future.done():  # cancelled meanwhile
            return
        if self.error is None:
            self.future.set_result(self.result)
        elif isinstance(self.error, StopIteration):  # no future accepts a StopIteration
            self.future.set_exception(RuntimeError("a repository raised StopIteration"))
        else:
            self.future.set_exception(self.error)
        self.error = None


# Runs several calls, until all are done. If it raises, the calls that are not done fail with its error.
Together = Callable[[Sequence[Call]], None]


class Lane(SurvivesForks):
    """Threads that run calls of event loops in the order of arrival. A thread is started when it is needed.

    A waiting call is refused when no call has succeeded for `timeout` seconds. The lane checks this when a call fails.
    A new call is refused at once when `max_waiting` calls are waiting.
    """

    def __init__(
        self, name: str, threads: int, *, timeout: float, max_waiting: int, together: Together | None = None
    ) -> None:
        self._name = name
        self.threads: int = threads  # the largest number of them
        self._timeout = timeout
        self._max_waiting = max_waiting
        self._together = together
        self._is_closed = False
        self._make()
        self.survive_forks()

    def _make(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._waiting = OrderedDict[Call, None]()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._has_visitor = False
        self._moved_at = float("-inf")
        self._done: dict[asyncio.AbstractEventLoop, list[Call]] = {}

    def after_fork_in_child(self) -> None:
        self._make()  # a fork copies neither the threads nor the callers that wait

    async def call(self, function: Callable[[], Any], onward: Onward | None = None) -> Any:
        """Call a function in one of the threads, and continue in another lane if it returns None."""
        call = Call(function, self, onward)
        self.enter(call)
        try:
            return await call.future
        except (asyncio.CancelledError, GeneratorExit):
            call.lane.leave(call)
            raise

    def enter(self, call: Call) -> None:
        """Add a call to the waiting calls, or raise `RepositoryUnavailable`."""
        with self._changed:
            if self._is_closed:
                raise RepositoryUnavailable("the repository is closed")
            if len(self._waiting) >= self._max_waiting:
                raise RepositoryUnavailable("too many calls are waiting")
            call.lane = self
            call.since = time.monotonic()
            self._waiting[call] = None
            if self._idle >= len(self._waiting):
                self._changed.notify()
            elif len(self._threads) < self.threads:
                self._start_thread()

    def run_here(self, call: Call) -> bool:
        """Run a call in the current thread of another lane, if this lane has nothing to do: to wake one of its own
        threads would take longer. One thread at a time does so, and the other lane keeps the rest of its threads."""
        with self._changed:
            if self._is_closed or self._has_visitor or self._waiting or self._idle < len(self._threads):
                return False
            self._has_visitor = True
            call.lane = self
        try:
            if not call.future.cancelled():
                self._work([call])
        finally:
            self._has_visitor = False
        return True

    def leave(self, call: Call) -> None:
        """Remove a waiting call: in a full lane, this makes room for another call."""
        with self._changed:
            self._waiting.pop(call, None)

    def close(self) -> None:
        """End the threads when no call is waiting, and wait for them as long as the timeout."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            threads = self._threads - {threading.current_thread()}
        for thread in threads:
            thread.join(self._timeout)

    def _start_thread(self) -> None:
        # A daemon: the interpreter must be able to exit while a database does not answer.
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # the operating system can start no more threads
            self._threads.discard(thread)
            if not self._threads:
                self._waiting.clear()
                raise RepositoryUnavailable("no thread can be started") from error

    def _run(self) -> None:
        while self._work(self._take()):
            pass

    def _work(self, calls: list[Call]) -> bool:
        """Run the calls. A separate function, so that an idle thread holds no result."""
        if calls and self._together is not None:
            self._run_together(calls, self._together)
        elif calls:
            calls[0].run()
        for call in calls:
            call.end()
        if calls:
            self._finish(calls)
        return bool(calls)

    def _take(self) -> list[Call]:
        """Wait for calls and return them. An empty list means that this thread must end."""
        most = 1 if self._together is None else TOGETHER
        calls: list[Call] = []
        with self._changed:
            self._idle += 1
            while not calls:
                while not self._waiting:
                    has_changed = not self._is_closed and self._changed.wait(IDLE_FOR)
                    if not has_changed and not self._waiting:
                        self._idle -= 1
                        self._threads.discard(threading.current_thread())
                        return []
                while self._waiting and len(calls) < most:
                    call, _ = self._waiting.popitem(last=False)
                    if not call.future.cancelled():
                        calls.append(call)
            self._idle -= 1
        return calls

    def _run_together(self, calls: list[Call], together: Together) -> None:
        try:
            together(calls)
        except BaseException as error:  # noqa: BLE001 - raised in the waiting caller
            for call in calls:
                if not call.is_done:
                    call.fail(error)

    def _finish(self, calls: list[Call]) -> None:
        refused = next((each.error for each in calls if _is_for_all(each.error)), None)
        over = [call for call in calls if not call.hand_on()]
        now = time.monotonic()  # a call that was handed on may have taken a while
        with self._changed:
            if refused is None:
                self._moved_at = now
            elif self._moved_at <= now - self._timeout:
                while self._waiting and next(iter(self._waiting)).since <= now - self._timeout:
                    call, _ = self._waiting.popitem(last=False)
                    call.fail(refused)
                    over.append(call)
            for loop in [each for each in self._done if each.is_closed()]:
                del self._done[loop]
            asleep = {call.loop for call in over}.difference(self._done)
            for call in over:
                self._done.setdefault(call.loop, []).append(call)
        # Outside the lock, which a woken loop needs at once.
        for loop in asleep:
            try:
                loop.call_soon_threadsafe(self._deliver, loop)
            except RuntimeError:  # the loop was closed, so no caller is waiting
                with self._changed:
                    self._done.pop(loop, None)

    def _deliver(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._changed:
            done = self._done.pop(loop, [])
        for call in done:
            call.deliver()


def _is_for_all(error: BaseException | None) -> bool:
    """Return whether a waiting call would fail in the same way. A lost commit concerns only one write."""
    return isinstance(error, RepositoryUnavailable) and not isinstance(error, CommitUnknown)


class RepositoryThreads:
    """The lanes of one repository. Reads and writes have separate lanes, so waiting writes do not block reads.

    Args:
        readers: The largest number of threads for reads.
        writers: The largest number of threads for writes. One thread for reads may write too, instead of waking one.
        timeout: Seconds without any success after which waiting calls are refused.
        max_waiting: The largest number of waiting calls in each lane.
        together: Runs several calls that write, in one transaction.
    """

    def __init__(
        self,
        *,
        readers: int = 8,
        writers: int = 8,
        timeout: float = TIMEOUT,
        max_waiting: int = MAX_WAITING,
        together: Together | None = None,
    ) -> None:
        checked_max_waiting(max_waiting)
        self._readers = Lane("clerkmap-read", readers, timeout=timeout, max_waiting=max_waiting)
        self._writers = Lane("clerkmap-write", writers, timeout=timeout, max_waiting=max_waiting, together=together)

    def read(self, function: Callable[..., T], /, *args: Any) -> Awaitable[T]:
        """Call a function that reads."""
        return self._readers.call(partial(function, *args))

    def write(self, function: Callable[..., T], /, *args: Any) -> Awaitable[T]:
        """Call a function that writes."""
        return self._writers.call(partial(function, *args))

    def read_or_write(
        self, read: Callable[[], T | None], write: Callable[[], Any], then: Callable[[], T], /
    ) -> Awaitable[T]:
        """Call `read`. If it returns None, call `write`, and after the commit `then`.

        The threads pass the call to each other, and the event loop is woken only at the end.
        """
        return self._readers.call(read, (self._writers, write, then))

    def close(self) -> None:
        """End the threads of both lanes."""
        self._readers.close()
        self._writers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def checked_max_waiting(max_waiting: int) -> int:
    """Return this largest number of waiting calls, or raise `ConfigurationError`."""
    if type(max_waiting) is not int or max_waiting < 1:
        raise ConfigurationError("max_waiting must be an integer of at least 1")
    return max_waiting
