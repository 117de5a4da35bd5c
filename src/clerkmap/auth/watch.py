"""One watch for all connections that outlive a request. The keys of a change wake it, and so does the clock.

Without the watch, each WebSocket would have to poll. Each event loop has one task, for as long as it has watched
connections. A change costs work only for the connections that depend on it.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from contextvars import Context
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Protocol

from .._runtime.forks import SurvivesForks
from ..errors import Unavailable
from ..hooks import Listeners

logger: logging.Logger = logging.getLogger("clerkmap.adapters")

LOOK_EVERY = 0.5  # seconds between two looks at the clock, and between two tries of a failed check
AT_ONCE = 8  # concurrent checks at the repository: requests need it, too


class Watched(Protocol):
    """A connection, as the watch uses it."""

    @property
    def keys(self) -> Collection[str]:
        """The keys of the records that it depends on."""
        ...

    @property
    def ends_at(self) -> float:
        """The time at which it ends, in seconds since 1970."""
        ...

    async def look(self) -> None:
        """Check whether it may stay, or end it. Any error, such as `Unavailable`, means that the check failed."""
        ...


class Watch(SurvivesForks):
    """Calls `look` on each connection: at first, when one of its keys changes, at its end, and after a failed check.

    Args:
        listeners: The listeners of the repository, which are called with the keys of each change.
        refresh: Polls the repository for changes by other processes, unless the last poll is recent.
        seconds_fresh: Returns the seconds until `refresh` has to poll again.
        clock: Returns the time, in seconds since 1970.
    """

    def __init__(
        self,
        listeners: Listeners,
        refresh: Callable[[], Awaitable[None]],
        seconds_fresh: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._refresh = refresh
        self._seconds_fresh = seconds_fresh
        self._clock = clock
        self._lock = threading.Lock()
        self._on: dict[asyncio.AbstractEventLoop, _LoopWatch] = {}
        listeners.watch(self._hear)
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()
        self._on.clear()

    def add(self, watched: Watched) -> None:
        """Start to watch a connection of the running event loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            watch = self._on.get(loop)
            if watch is None:
                watch = self._on[loop] = _LoopWatch(loop, self._refresh, self._seconds_fresh, self._clock)
        watch.add(watched)

    def moved(self, watched: Watched) -> None:
        """Update the keys and the end of a connection, which have changed."""
        watch = self._on.get(asyncio.get_running_loop())
        if watch is not None:
            watch.moved(watched)

    def remove(self, watched: Watched) -> None:
        """Stop watching a connection."""
        loop = asyncio.get_running_loop()
        watch = self._on.get(loop)
        if watch is not None and watch.remove(watched):
            with self._lock:
                self._on.pop(loop, None)

    def _hear(self, keys: Collection[str] | None) -> None:
        """Wake the connections that depend on these keys. Called in any thread."""
        if self._on:
            with self._lock:
                for loop in [each for each in self._on if each.is_closed()]:
                    del self._on[loop]
                watches = list(self._on.values())
            for watch in watches:
                watch.hear(keys)


class _LoopWatch:
    """The watch of one event loop. All methods except `hear` are called in that loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        refresh: Callable[[], Awaitable[None]],
        seconds_fresh: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._loop = loop
        self._refresh = refresh
        self._seconds_fresh = seconds_fresh
        self._clock = clock
        self._keys: dict[Watched, tuple[str, ...]] = {}
        self._by_key: dict[str, set[Watched]] = {}
        self._ends: list[tuple[float, int, Watched]] = []  # a heap; removed connections stay in it for a while
        self._numbers = count()
        self._lock = threading.Lock()
        self._heard: set[str] | None = set()  # None for all keys
        self._woken = asyncio.Event()
        self._to_look_at: dict[Watched, None] = {}
        self._failed: list[Watched] = []
        self._retry_at = 0.0
        self._lookers: set[asyncio.Task[None]] = set()
        self._refreshing: asyncio.Task[None] | None = None
        # In an empty context: the caller of the first connection must not become the caller of the others.
        self._task = loop.create_task(self._watch(), context=Context())

    def add(self, watched: Watched) -> None:
        self._enter(watched)
        self._to_look_at[watched] = None  # a change between its admission and this moment did not wake it

    def moved(self, watched: Watched) -> None:
        if watched in self._keys:
            self._leave(watched)
            self._enter(watched)

    def remove(self, watched: Watched) -> bool:
        """Stop watching a connection. If it was the last one, end the watch and return True."""
        if watched in self._keys:
            self._leave(watched)
        self._to_look_at.pop(watched, None)
        if self._keys:
            return False
        for task in (self._task, self._refreshing, *self._lookers):
            if task is not None:
                task.cancel()
        return True

    def hear(self, keys: Collection[str] | None) -> None:
        with self._lock:
            wakes = self._heard is not None and not self._heard
            if keys is None:
                self._heard = None
            elif self._heard is not None:
                self._heard.update(keys)
        if wakes:
            with suppress(RuntimeError):  # the loop was just closed
                self._loop.call_soon_threadsafe(self._woken.set)

    def _enter(self, watched: Watched) -> None:
        self._keys[watched] = keys = tuple(watched.keys)
        for key in keys:
            self._by_key.setdefault(key, set()).add(watched)
        heappush(self._ends, (watched.ends_at, next(self._numbers), watched))
        if len(self._ends) > 2 * len(self._keys) + 64:  # a lease may end in years, and its connection today
            self._ends = [(each.ends_at, next(self._numbers), each) for each in self._keys]
            heapify(self._ends)
        self._woken.set()

    def _leave(self, watched: Watched) -> None:
        for key in self._keys.pop(watched):
            concerned = self._by_key[key]
            concerned.discard(watched)
            if not concerned:
                del self._by_key[key]

    async def _watch(self) -> None:
        while True:
            try:
                pause = self._start_due_checks()
            except Exception as error:  # noqa: BLE001 - one failure of the clock must not end the watch
                logger.error("watching the leases failed: %s", type(error).__name__)
                pause = LOOK_EVERY
            await self._pause(pause)

    def _start_due_checks(self) -> float:
        """Start all checks that are due, and return the seconds until the next ones may be due."""
        self._note_concerned()
        while len(self._lookers) < min(AT_ONCE, len(self._to_look_at)):
            task = self._loop.create_task(self._look())
            self._lookers.add(task)
            task.add_done_callback(self._lookers.discard)
        fresh = self._seconds_fresh()
        if fresh <= 0 and (self._refreshing is None or self._refreshing.done()):
            # In a separate task: a repository that does not answer must not block the checks.
            self._refreshing = self._loop.create_task(self._ask())
        next_end = max(0.0, self._ends[0][0] - self._clock()) if self._ends else LOOK_EVERY
        return min(LOOK_EVERY, fresh if fresh > 0 else LOOK_EVERY, next_end)

    async def _pause(self, seconds: float) -> None:
        timer = self._loop.call_later(seconds, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()
        self._woken.clear()

    def _note_concerned(self) -> None:
        """Collect the connections to check now. The clock comes last, because it may fail."""
        with self._lock:
            heard, self._heard = self._heard, set()
        concerned = [self._keys] if heard is None else [self._by_key.get(key, ()) for key in heard]
        for several in concerned:
            self._to_look_at.update(dict.fromkeys(several))
        if self._failed and self._loop.time() >= self._retry_at:
            failed, self._failed = self._failed, []
            self._to_look_at.update((watched, None) for watched in failed if watched in self._keys)
        now = self._clock()
        while self._ends and self._ends[0][0] <= now:
            _, _, watched = heappop(self._ends)
            if watched in self._keys and watched.ends_at <= now:
                self._to_look_at[watched] = None

    async def _look(self) -> None:
        for number in count(1):
            if not self._to_look_at:
                return
            watched = next(iter(self._to_look_at))
            del self._to_look_at[watched]
            try:
                await watched.look()
            except BaseException as error:  # after any error, the connection must be checked again
                if not self._failed:
                    self._retry_at = self._loop.time() + LOOK_EVERY
                self._failed.append(watched)
                if not isinstance(error, Exception):
                    raise
                if not isinstance(error, Unavailable):
                    logger.error("checking a lease failed: %s", type(error).__name__)
            if number % 64 == 0:  # answers from memory never pause, and there may be thousands of connections
                await asyncio.sleep(0)

    async def _ask(self) -> None:
        try:
            await self._refresh()
        except Exception as error:  # noqa: BLE001 - the watch polls again
            if not isinstance(error, Unavailable):
                logger.error("polling a repository for changes failed: %s", type(error).__name__)
