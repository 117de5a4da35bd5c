"""Clerk's full word on a person who is seen for the first time, where a linker needs it.

A token names a person, and tells neither address nor external id. So the first request of a person waits for one
question to Clerk: one at a time for each person, however many requests wait for it, and a bounded number of them at
once. A request of a known person never waits.
"""

import asyncio
import inspect
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from copy import copy
from typing import TYPE_CHECKING, cast

from .._runtime.forks import SurvivesForks
from ..core.events import Unreadable, records_of
from ..core.instance import Instance
from ..core.records import ClerkUser
from ..errors import ApiNotFound, ApiUnavailable, ClerkmapError, ConfigurationError, UserDeleted
from . import endpoints
from .endpoints import Shape

if TYPE_CHECKING:
    from .api import AsyncClerkApi, ClerkApi

MOST_FLIGHTS = 16  # questions at once
DEADLINE = 5.0  # seconds for which a request waits

logger: logging.Logger = logging.getLogger("clerkmap.first_sight")

_Said = ClerkUser | ClerkmapError


class FirstSights(SurvivesForks):
    """Asks Clerk about people who are not known yet.

    Args:
        api: Whom to ask. An asynchronous one can only be used with `aget`.
        instance: Whose people.
        clock: The time, in seconds since 1970.
        deadline: Seconds for which a request waits.
    """

    def __init__(
        self,
        api: "ClerkApi | AsyncClerkApi",
        instance: Instance,
        clock: Callable[[], float],
        *,
        deadline: float = DEADLINE,
    ) -> None:
        if api.instance.name != instance.name:
            raise ConfigurationError("api is for another instance than the resolver")
        self._is_async = inspect.iscoroutinefunction(api.ask)
        self._api = api
        self._instance = instance.name
        self._clock = clock
        self._deadline = deadline
        self._lock = threading.Lock()
        self._flights: dict[str, Future[_Said]] = {}
        self._tasks: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Task[_Said]] = {}  # a loop awaits its own
        self.survive_forks()

    def get(self, clerk_id: str) -> ClerkUser:
        """Return what Clerk says of a person. Raises `ApiUnavailable` while Clerk is away, and `UserDeleted` where
        Clerk knows nobody of that id."""
        if self._is_async:
            raise ConfigurationError("the resolver's api is asynchronous: await aresolve(token)")
        try:
            said = self._flight(clerk_id).result(timeout=self._deadline)
        except TimeoutError:
            raise ApiUnavailable("it did not answer in time") from None
        return _told(said)

    async def aget(self, clerk_id: str) -> ClerkUser:
        """The same without holding up the event loop."""
        waiting = self._task(clerk_id) if self._is_async else asyncio.wrap_future(self._flight(clerk_id))
        # Unlike wait_for, wait() leaves the question alone when this task is cancelled: others wait for it too.
        landed, _ = await asyncio.wait({waiting}, timeout=self._deadline)
        if not landed:
            raise ApiUnavailable("it did not answer in time")
        return _told(waiting.result())

    def _flight(self, clerk_id: str) -> "Future[_Said]":
        with self._lock:
            flight = self._flights.get(clerk_id)
            if flight is not None:
                return flight
            self._check_room(len(self._flights))
            flight = Future[_Said]()
            flight.set_running_or_notify_cancel()  # from here on no waiting caller can cancel it
            self._flights[clerk_id] = flight
        try:
            threading.Thread(target=self._fly, args=(clerk_id, flight), name="clerkmap-sight", daemon=True).start()
        except RuntimeError:  # the machine gives no more threads
            self._land(clerk_id, flight, ApiUnavailable("there is no thread to ask in"))
        return flight

    def _fly(self, clerk_id: str, flight: "Future[_Said]") -> None:
        asked_at = self._clock()
        said: _Said
        try:
            row = cast("ClerkApi", self._api).ask(endpoints.user(clerk_id))
            said = self._read(clerk_id, row, asked_at)
        except Exception as error:  # noqa: BLE001 - whatever went wrong out there, those who wait must be told
            said = _failed(error)
        self._land(clerk_id, flight, said)

    def _land(self, clerk_id: str, flight: "Future[_Said]", said: _Said) -> None:
        with self._lock:
            if self._flights.get(clerk_id) is flight:
                del self._flights[clerk_id]
        flight.set_result(said)

    def _task(self, clerk_id: str) -> "asyncio.Task[_Said]":
        place = asyncio.get_running_loop(), clerk_id
        task = self._tasks.get(place)
        if task is None or task.done():
            for loop, id in [each for each in self._tasks if each[0].is_closed()]:
                del self._tasks[loop, id]
            self._check_room(len(self._tasks))
            task = self._tasks[place] = asyncio.create_task(self._ask(clerk_id))
            task.add_done_callback(lambda done: self._tasks.pop(place, None))
        return task

    async def _ask(self, clerk_id: str) -> _Said:
        asked_at = self._clock()
        try:
            row = await cast("AsyncClerkApi", self._api).ask(endpoints.user(clerk_id))
            return self._read(clerk_id, row, asked_at)
        except Exception as error:  # noqa: BLE001 - see above
            return _failed(error)

    def _check_room(self, under_way: int) -> None:
        if under_way >= MOST_FLIGHTS:
            raise ApiUnavailable("too many new people are being asked about at once")

    def _read(self, clerk_id: str, row: Shape, asked_at: float) -> ClerkUser:
        try:
            record = records_of("user", self._instance, row, int(asked_at * 1000))[-1]
        except Unreadable:
            record = None
        if not isinstance(record, ClerkUser) or record.clerk_id != clerk_id:
            raise ApiUnavailable("its answer is not about the person who was asked about")
        return record

    def after_fork_in_child(self) -> None:
        """In a child process: the threads that were asking have stayed behind, and so may the holder of the lock."""
        self._lock = threading.Lock()
        self._flights, self._tasks = {}, {}


def _told(said: _Said) -> ClerkUser:
    if isinstance(said, ClerkUser):
        return said
    raise copy(said)  # for each who waited one: a traceback belongs to one of them


def _failed(error: Exception) -> ClerkmapError:
    if isinstance(error, ApiNotFound):
        return UserDeleted("Clerk does not know the person any more")
    logger.warning("asking Clerk about a new person failed: %s", type(error).__name__)
    return copy(error) if isinstance(error, ClerkmapError) else ApiUnavailable(type(error).__name__)
