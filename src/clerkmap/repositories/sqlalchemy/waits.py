"""How work waits, in sync code and in async code.

The work itself is sync code, written once. In async code it runs in a greenlet of SQLAlchemy, in which the connection
of an async engine looks like a sync one. There it must not block the event loop: each wait is one of these.
"""

import asyncio
import time
from collections.abc import Awaitable, Collection, Generator
from contextlib import contextmanager
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy.util import await_only

from ...core.model import Change
from ...hooks import Listeners
from ..lines import AsyncLine, Line

T = TypeVar("T")
_WRITES = {"wanted": "a turn to write", "stuck": "the request waited for its turn to write"}


class SyncWaits:
    """The waits of a thread."""

    is_async: bool = False

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def call(self, listeners: Listeners, *arguments: Any) -> None:
        """Call the hooks."""
        listeners.call(*arguments)

    def tell(self, listeners: Listeners, written: Collection[Change], *, committed: bool) -> None:
        """Call the functions that follow the transaction."""
        listeners.tell(written, committed=committed)


class AsyncWaits:
    """The waits of a greenlet, while the event loop runs other tasks."""

    is_async: bool = True

    def pause(self, seconds: float) -> None:
        wait_for(asyncio.sleep(seconds))

    def call(self, listeners: Listeners, *arguments: Any) -> None:
        """Call the hooks, and await the async ones."""
        wait_for(listeners.acall(*arguments))

    def tell(self, listeners: Listeners, written: Collection[Change], *, committed: bool) -> None:
        """Call the functions that follow the transaction, and await the async ones."""
        wait_for(listeners.atell(written, committed=committed))


Waits = SyncWaits | AsyncWaits


class WorkTurns:
    """A line in which one piece of work at a time has its turn: the first that came."""

    def __init__(self, waits: Waits, timeout: float, max_waiting: int) -> None:
        self._is_async = waits.is_async
        self._timeout = timeout
        self._max_waiting = max_waiting
        self._line = Line(_one, timeout, max_waiting, **_WRITES)
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncLine] = WeakKeyDictionary()

    @contextmanager
    def one(self) -> Generator[None, None, None]:
        """Wait for a turn, and end it with the block."""
        line: Line | AsyncLine = self._line
        if self._is_async:
            loop = asyncio.get_running_loop()
            found = self._lines.get(loop)
            if found is None:
                found = self._lines[loop] = AsyncLine(_one, self._timeout, self._max_waiting, **_WRITES)
            wait_for(found.enter())
            line = found
        else:
            self._line.enter()
        has_ended_well = False
        try:
            yield
            has_ended_well = True
        finally:
            line.leave(moved=has_ended_well)


def _one() -> int:
    return 1


def wait_for(awaitable: Awaitable[T]) -> T:
    """Wait for an awaitable inside a greenlet of SQLAlchemy."""
    return await_only(awaitable)
