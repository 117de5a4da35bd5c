"""Single flight: work that runs once, while any number of threads and tasks wait for its outcome."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from copy import copy
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Flight(Generic[T]):
    """One piece of work under way.

    A waiter that gives up, or is cancelled, does not end the work. Each waiter raises its own copy of the error: an
    error keeps the traceback of the place where it is raised.
    """

    def __init__(self) -> None:
        self._landed: Future[None] = Future()
        self._landed.set_running_or_notify_cancel()  # from here on no waiter can cancel it
        self._result: T | None = None
        self._error: Exception | None = None

    def start(self, work: Callable[[], None], name: str) -> bool:
        """Run the work in a new thread. Return False if no thread can be started."""
        try:
            threading.Thread(target=work, name=name, daemon=True).start()
        except RuntimeError:
            return False
        return True

    def land(self, result: T) -> None:
        """End with a result."""
        self._result = result
        self._landed.set_result(None)

    def fail(self, error: Exception) -> None:
        """End with an error."""
        self._error = copy(error)
        self._landed.set_result(None)

    def join(self, seconds: float) -> bool:
        """Wait for the end. Return False on a timeout."""
        return bool(wait([self._landed], seconds).done)

    async def ajoin(self, seconds: float) -> bool:
        """Do the same without blocking the event loop."""
        # Unlike wait_for, wait() does not cancel the future when this task is cancelled: other waiters need it.
        landed, _ = await asyncio.wait({asyncio.wrap_future(self._landed)}, timeout=seconds)
        return bool(landed)

    def result(self) -> T:
        """Return the result, or raise a copy of the error."""
        if self._error is not None:
            raise copy(self._error)
        return cast(T, self._result)
