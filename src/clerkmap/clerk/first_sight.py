"""Fetch Clerk's full record of a user at the user's first request, for linkers that need it.

A token names a user, without address or external id. So the first request of a user waits for Clerk. All requests of
one user share one call of Clerk's API, and the number of simultaneous calls is bounded. A request of a known user never
waits.
"""

import asyncio
import inspect
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from .._runtime.flights import Flight
from .._runtime.forks import SurvivesForks
from ..core.events import Unreadable, records_of
from ..core.instance import Instance
from ..core.records import ClerkUser
from ..errors import ApiNotFound, ApiUnavailable, ClerkmapError, ConfigurationError, UserDeleted
from . import endpoints
from .endpoints import Shape

if TYPE_CHECKING:
    from .api import AsyncClerkApi, ClerkApi

MOST_FLIGHTS = 16  # calls at once
DEADLINE = 5.0  # seconds for which a request waits

logger: logging.Logger = logging.getLogger("clerkmap.first_sight")


class FirstSights(SurvivesForks):
    """Requests users from Clerk that the repository does not have yet.

    Args:
        api: Clerk's API. An async API works with `aget` only.
        instance: The instance of the users.
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
            raise ConfigurationError("api and resolver must have the same instance")
        self._is_async = inspect.iscoroutinefunction(api.send)
        self._api = api
        self._instance = instance.name
        self._clock = clock
        self._deadline = deadline
        self._lock = threading.Lock()
        # The event loop is part of the key, for an async API: each loop awaits its own tasks.
        self._flights: dict[tuple[asyncio.AbstractEventLoop | None, str], Flight[ClerkUser]] = {}
        self._tasks = set[asyncio.Task[None]]()  # a loop holds its tasks weakly
        self.survive_forks()

    def get(self, clerk_id: str) -> ClerkUser:
        """Return Clerk's record of a user.

        Raises:
            ApiUnavailable: Clerk does not answer.
            UserDeleted: Clerk does not know the id.
        """
        if self._is_async:
            raise ConfigurationError("the resolver's api is asynchronous: await aresolve(token)")
        flight = self._flight(clerk_id)
        return _result(flight, in_time=flight.join(self._deadline))

    async def aget(self, clerk_id: str) -> ClerkUser:
        """Do the same without blocking the event loop."""
        flight = self._loop_flight(clerk_id) if self._is_async else self._flight(clerk_id)
        return _result(flight, in_time=await flight.ajoin(self._deadline))

    def _flight(self, clerk_id: str) -> Flight[ClerkUser]:
        """Return the call about a user, which runs in a thread."""
        with self._lock:
            flight = self._flights.get((None, clerk_id))
            if flight is not None:
                return flight
            flight = self._start_request(None, clerk_id)
        if not flight.start(lambda: self._request(flight, clerk_id), "clerkmap-sight"):
            self._finish_request((None, clerk_id), flight, ApiUnavailable("no thread can be started"))
        return flight

    def _loop_flight(self, clerk_id: str) -> Flight[ClerkUser]:
        """Return the call about a user, which runs in a task of the event loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            flight = self._flights.get((loop, clerk_id))
            if flight is not None:
                return flight
            for place in [each for each in self._flights if each[0] is not None and each[0].is_closed()]:
                del self._flights[place]
            flight = self._start_request(loop, clerk_id)
        task = loop.create_task(self._arequest(flight, loop, clerk_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return flight

    def _start_request(self, loop: asyncio.AbstractEventLoop | None, clerk_id: str) -> Flight[ClerkUser]:
        if len(self._flights) >= MOST_FLIGHTS:
            raise ApiUnavailable("too many new users are being looked up at once")
        flight = self._flights[loop, clerk_id] = Flight[ClerkUser]()
        return flight

    def _request(self, flight: Flight[ClerkUser], clerk_id: str) -> None:
        asked_at = self._clock()
        said: ClerkUser | Exception
        try:
            row = cast("ClerkApi", self._api).send(endpoints.user(clerk_id))
            said = self._read(clerk_id, row, asked_at)
        except Exception as error:  # noqa: BLE001 - the waiting requests must get any error
            said = error
        self._finish_request((None, clerk_id), flight, said)

    async def _arequest(self, flight: Flight[ClerkUser], loop: asyncio.AbstractEventLoop, clerk_id: str) -> None:
        asked_at = self._clock()
        said: ClerkUser | Exception = ApiUnavailable("the request was interrupted")
        try:
            row = await cast("AsyncClerkApi", self._api).send(endpoints.user(clerk_id))
            said = self._read(clerk_id, row, asked_at)
        except Exception as error:  # noqa: BLE001 - the waiting requests must get any error
            said = error
        finally:  # also when the task is cancelled
            self._finish_request((loop, clerk_id), flight, said)

    def _finish_request(
        self,
        place: tuple[asyncio.AbstractEventLoop | None, str],
        flight: Flight[ClerkUser],
        said: ClerkUser | Exception,
    ) -> None:
        with self._lock:
            if self._flights.get(place) is flight:
                del self._flights[place]
        if isinstance(said, ClerkUser):
            flight.land(said)
        else:
            flight.fail(_failure(said))

    def _read(self, clerk_id: str, row: Shape, asked_at: float) -> ClerkUser:
        try:
            record = records_of("user", self._instance, row, int(asked_at * 1000))[-1]
        except Unreadable:
            record = None
        if not isinstance(record, ClerkUser) or record.clerk_id != clerk_id:
            raise ApiUnavailable("the response describes another user")
        return record

    def after_fork_in_child(self) -> None:
        """Replace the lock and the running calls in a child process: their threads exist in the parent only."""
        self._lock = threading.Lock()
        self._flights, self._tasks = {}, set[asyncio.Task[None]]()


def _result(flight: Flight[ClerkUser], *, in_time: bool) -> ClerkUser:
    if not in_time:
        raise ApiUnavailable("the request timed out")
    return flight.result()


def _failure(error: Exception) -> ClerkmapError:
    if isinstance(error, ApiNotFound):
        return UserDeleted("Clerk no longer has this user")
    logger.warning("looking up a new user at Clerk failed: %s", type(error).__name__)
    return error if isinstance(error, ClerkmapError) else ApiUnavailable(type(error).__name__)
