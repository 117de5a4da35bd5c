"""The parts that all jobs share: one implementation for sync and async code, progress, and the report.

A job is a coroutine that uses an async API and repository. In sync code, `lent` wraps the sync objects so that each
call can be awaited. So the coroutine never waits, and `run` completes it in one step.
"""

import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeVar, cast

from ..clerk.api import AsyncClerkApi, ClerkApi
from ..clerk.endpoints import ClerkRequest
from ..core.model import Change
from ..core.records import AnyRecord, Kind
from ..core.times import to_datetime
from ..ports import AsyncRepository, Repository

T = TypeVar("T")

Stage = Literal["users", "organizations", "memberships", "departures", "file", "outbox"]
KINDS: dict[Stage, Kind] = {"users": "user", "organizations": "organization", "memberships": "membership"}


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a job. `total` is Clerk's latest count; the job may end at another number.

    `stage` is one of `Stage`. For a move it is the name of a table, or `comparison`; for a relink, `plan` or `relink`.
    """

    stage: str
    done: int
    total: int | None


OnProgress = Callable[[Progress], None]


@dataclass(slots=True)
class Report:
    """The result of a backfill.

    `listed` is the number of rows that were read, and `changed` the number of your rows that they changed. `departed`
    is the number of stored objects that are gone at Clerk. `held_back` is the number of unlisted objects about which
    Clerk was not asked, because so many departures are unlikely. `unreadable` is the number of rows without a necessary
    field. `complete` is whether each list was read up to Clerk's count of its rows.
    """

    listed: dict[str, int] = field(default_factory=dict[str, int])
    changed: dict[str, int] = field(default_factory=dict[str, int])
    departed: int = 0
    held_back: int = 0
    unreadable: int = 0
    resumed: bool = False
    complete: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the report, ready for JSON."""
        return asdict(self)


class Job:
    """The tools of one run of a job.

    Args:
        instance: The name of the instance.
        api: Clerk's API; None for a job that sends no requests.
        repository: The repository.
        progress: Called with the progress.
        clock: The time, in seconds since 1970.
    """

    def __init__(
        self,
        instance: str,
        api: AsyncClerkApi | None,
        repository: AsyncRepository,
        progress: OnProgress | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.instance: str = instance
        self._api = api
        self.repository: AsyncRepository = repository
        self._progress = progress
        self._clock = clock
        self.asked_at: int = 0

    @property
    def api(self) -> AsyncClerkApi:
        """Return Clerk's API. The job must have one."""
        assert self._api is not None
        return self._api

    async def send(self, request: ClerkRequest[T]) -> T:
        """Send a request to Clerk. The response is no older than `asked_at`."""
        self.asked_at = self.now()
        return await self.api.send(request)

    async def put(self, records: list[AnyRecord]) -> list[Change]:
        """Store the records, if there are any, and return the changes of what was stored."""
        changes = await self.repository.put(records) if records else []
        return [change for change in changes if not change.follows]

    async def stored(self, kind: Kind, key: str) -> AnyRecord | None:
        """Return the stored record with this key."""
        return await self.repository.record(kind, self.instance, key)

    async def stored_page(self, kind: Kind, after: str) -> list[AnyRecord]:
        """Return the page of stored records of a kind after a key."""
        return await self.repository.records(kind, self.instance, after=after)

    def tell(self, stage: Stage, done: int, total: int | None = None) -> None:
        """Report the progress of the job."""
        if self._progress is not None:
            self._progress(Progress(stage, done, total))

    def now(self) -> int:
        """Return the time in milliseconds."""
        return int(self._clock() * 1000)

    def moment(self) -> datetime:
        """Return the time."""
        return to_datetime(self.now())


class _Direct:
    """A sync object with methods that can be awaited. They run at once, in the caller's thread."""

    def __init__(self, target: object) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not callable(value):
            return value

        async def call(*args: Any, **options: Any) -> Any:
            return value(*args, **options)

        return call


def lent_api(api: ClerkApi) -> AsyncClerkApi:
    """Wrap a sync API for a job that `run` runs."""
    return cast(AsyncClerkApi, _Direct(api))


def lent(repository: Repository) -> AsyncRepository:
    """Wrap a sync repository for a job that `run` runs."""
    return cast(AsyncRepository, _Direct(repository))


def run(job: Coroutine[Any, Any, T]) -> T:
    """Run a job with a wrapped sync API and repository, in this thread."""
    try:
        job.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    job.close()
    raise RuntimeError("a job with synchronous objects must not wait")
