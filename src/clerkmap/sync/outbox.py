"""The outbox: filled for those who were there before, and emptied, now and then or all the time.

drain(ClerkApi(instance), repository)

with OutboxWorker(ClerkApi(instance), repository):  # a thread of its own, for as long as the application runs
    ...
"""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from .._runtime.forks import SurvivesForks
from ..clerk.api import AsyncClerkApi, ClerkApi
from ..core.instance import Instance
from ..core.model import Change
from ..core.writeback import WAIT
from ..errors import ClerkmapError, ConfigurationError
from ..ports import AsyncRepository, Repository, is_async
from .runs import Tell, arun, run
from .sending import Sending, Sent, checked, filling

logger: logging.Logger = logging.getLogger("clerkmap.outbox")
EVERY = 5.0  # seconds between two looks


def drain(
    api: ClerkApi, repository: Repository, *, progress: Tell | None = None, clock: Callable[[], float] = time.time
) -> Sent:
    """Send what is due in the outbox. What Clerk refuses is put off, with its code.

    Raises `ApiUnavailable`, `ApiKeyRefused` or `WrongInstance` where nothing can be sent now: it stays where it is.
    """
    return _drained(api, repository, progress, clock)


async def adrain(
    api: AsyncClerkApi,
    repository: AsyncRepository,
    *,
    progress: Tell | None = None,
    clock: Callable[[], float] = time.time,
) -> Sent:
    """The same for async code."""
    sending = Sending(api.instance.name, repository.write_back, progress, clock)
    await arun(sending.steps(), api, repository)
    return sending.sent


def fill_outbox(
    instance: Instance,
    repository: Repository,
    *,
    progress: Tell | None = None,
    clock: Callable[[], float] = time.time,
) -> None:
    """Note all of whom Clerk does not hold what it should: for those who were there before you had anything written
    back. To do it again does no harm."""
    run(filling(instance.name, repository.write_back, progress, clock), None, repository)


async def afill_outbox(
    instance: Instance,
    repository: AsyncRepository,
    *,
    progress: Tell | None = None,
    clock: Callable[[], float] = time.time,
) -> None:
    """The same for async code."""
    await arun(filling(instance.name, repository.write_back, progress, clock), None, repository)


def _drained(
    api: ClerkApi,
    repository: Repository,
    progress: Tell | None = None,
    clock: Callable[[], float] = time.time,
    ends: Callable[[], bool] = lambda: False,
) -> Sent:
    sending = Sending(api.instance.name, repository.write_back, progress, clock)
    run(sending.steps(ends), api, repository)
    return sending.sent


class OutboxWorker(SurvivesForks):
    """Empties the outbox in a thread of its own. Any number may do so, in any number of processes.

    Args:
        api: Whom to tell.
        repository: Whose outbox. In async code, have a task await `adrain` now and then instead.
        every: How many seconds may pass between two looks. What is written in this process is seen sooner.
    """

    def __init__(self, api: ClerkApi, repository: Repository, *, every: float = EVERY) -> None:
        if type(every) not in (int, float) or not 0 < every <= 3600:
            raise ConfigurationError("every must be more than 0 and at most 3600 seconds")
        checked(repository.write_back)
        if is_async(repository):
            raise ConfigurationError("the repository is asynchronous: have a task await adrain now and then")
        self._api = api
        self._repository = repository
        self._every = every
        self._make_thread()
        repository.listeners.after_commit(self._wake)
        self.survive_forks()

    def _make_thread(self) -> None:
        self._woken = threading.Event()
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None

    def after_fork_in_child(self) -> None:
        self._make_thread()

    def start(self) -> None:
        """Begin. A fork does not copy threads: each process has to begin for itself."""
        if self._thread is None or not self._thread.is_alive():
            self._ends.clear()
            self._thread = threading.Thread(target=self._run, name="clerkmap-outbox", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End, when what is being sent has been sent. The rest stays in the outbox."""
        self._ends.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _wake(self, change: Change) -> None:
        self._woken.set()

    def _run(self) -> None:
        while not self._ends.is_set():
            try:
                _drained(self._api, self._repository, ends=self._ends.is_set)
            except ClerkmapError as error:
                logger.warning("the outbox cannot be emptied now: %s", error)
            except Exception as error:  # noqa: BLE001 - a thread that has ended would be missed by nobody
                logger.error("the outbox cannot be emptied: %s", type(error).__name__)
            if self._woken.wait(self._every):
                self._woken.clear()
                self._ends.wait(WAIT / 1000)
