"""The parts that all jobs share: one rule for sync and async code, progress, and the report.

A job is a coroutine over an asynchronous API and repository. In synchronous code, `run` lends it the synchronous ones
as if each call could be awaited, so the coroutine never waits and ends in one step.
"""

import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar, cast

from ..clerk.api import AsyncClerkApi, ClerkApi
from ..clerk.endpoints import Question
from ..core.model import Change
from ..core.records import AnyRecord, Kind
from ..ports import AsyncRepository, Repository

T = TypeVar("T")

Stage = Literal["users", "organizations", "memberships", "departures", "file", "outbox"]
KINDS: dict[Stage, Kind] = {"users": "user", "organizations": "organization", "memberships": "membership"}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is. `total` is the number that Clerk gave last; the end may be elsewhere.

    `stage` is one of `Stage`; of a move, the name of a table, or `comparison`; of a relink, `plan` or `relink`.
    """

    stage: str
    done: int
    total: int | None


OnProgress = Callable[[Progress], None]


@dataclass(slots=True)
class Report:
    """The result of a backfill.

    `listed` is how many rows were read, `changed` how many of your rows they changed, `departed` how many were found to
    be gone. `held_back` is how many were not asked about, because they were too many to be likely. `unreadable` is how
    many rows lacked a necessary field. `complete` is whether each list was read to the end that Clerk gives it.
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
        api: Clerk's API; None for a job that asks nothing of it.
        repository: The repository.
        progress: Called with how far the job is.
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
        """Clerk's API, of a job that was given one."""
        assert self._api is not None
        return self._api

    async def ask(self, question: Question[T]) -> T:
        """Ask Clerk. The answer is no older than `asked_at`."""
        self.asked_at = self.now()
        return await self.api.ask(question)

    async def put(self, records: list[AnyRecord]) -> list[Change]:
        """Put records, if there are any, and return the changes."""
        return await self.repository.put(records) if records else []

    async def stored(self, kind: Kind, key: str) -> AnyRecord | None:
        """Return the stored record of one thing."""
        return await self.repository.record(kind, self.instance, key)

    async def stored_page(self, kind: Kind, after: str) -> list[AnyRecord]:
        """Return the page of stored records of a kind behind a key."""
        return await self.repository.records(kind, self.instance, after=after)

    def tell(self, stage: Stage, done: int, total: int | None = None) -> None:
        """Tell how far the job is."""
        if self._progress is not None:
            self._progress(Progress(stage, done, total))

    def now(self) -> int:
        """Return the time in milliseconds."""
        return int(self._clock() * 1000)


class _Direct:
    """A synchronous object whose methods can be awaited. They run at once, in the caller's thread."""

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
    """Lend a synchronous API to a job that `run` runs."""
    return cast(AsyncClerkApi, _Direct(api))


def lent(repository: Repository) -> AsyncRepository:
    """Lend a synchronous repository to a job that `run` runs."""
    return cast(AsyncRepository, _Direct(repository))


def run(job: Coroutine[Any, Any, T]) -> T:
    """Run a job over an API and a repository that are lent, in this thread."""
    try:
        job.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    job.close()
    raise RuntimeError("a job over synchronous objects has waited for something")
