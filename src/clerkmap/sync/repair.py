"""Repair: write the records that differ from Clerk's records, and no others.

    report = repair(ClerkApi(instance), repository)

A repair is a `diff` that stores each differing row of Clerk's lists. If Clerk does not list a stored object, the repair
requests it by its id. It deletes the object only if Clerk does not know the id. Links are under your control, and stay.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..clerk.api import AsyncClerkApi, ClerkApi
from ..core.records import AnyRecord, Kind
from ..ports import AsyncRepository, Repository
from .backfill import checked_part
from .departures import ALWAYS_LIKELY, Departures
from .drift import Comparison, belongs_to_deleted
from .job import Job, OnProgress, Report, Stage, lent, lent_api, run


@dataclass(slots=True)
class RepairReport(Report):
    """The result of a repair. `found` is the number of differences of each sort."""

    found: dict[str, int] = field(default_factory=dict[str, int])


def repair(
    api: ClerkApi,
    repository: Repository,
    *,
    most_departures: float = 0.1,
    progress: OnProgress | None = None,
    clock: Callable[[], float] = time.time,
) -> RepairReport:
    """Compare the repository with Clerk, and write the differences.

    Args:
        api: Clerk's API.
        repository: The repository to repair.
        most_departures: The part of the stored objects of a kind that may be gone at Clerk, from 0 to 1. If more seem
            to be gone, none is looked up at Clerk, and the report has their number as `held_back`.
        progress: Called with the progress.
        clock: The time, in seconds since 1970.
    """
    checked_part(most_departures)
    job = Job(api.instance.name, lent_api(api), lent(repository), progress, clock)
    return run(_Repair(job, most_departures).run())


async def arepair(
    api: AsyncClerkApi,
    repository: AsyncRepository,
    *,
    most_departures: float = 0.1,
    progress: OnProgress | None = None,
    clock: Callable[[], float] = time.time,
) -> RepairReport:
    """Do the same in async code."""
    checked_part(most_departures)
    job = Job(api.instance.name, api, repository, progress, clock)
    return await _Repair(job, most_departures).run()


class _Repair:
    """One repair."""

    def __init__(self, job: Job, most_departures: float) -> None:
        self._job = job
        self._most_departures = most_departures
        self._alive: dict[Kind, int] = {}
        self._unlisted: list[tuple[Kind, str]] = []
        self.report: RepairReport = RepairReport()

    async def run(self) -> RepairReport:
        """Compare everything and store the differences; then look up the objects that were not listed."""
        drift = await Comparison(self._job, mender=self).run()
        self.report.listed, self.report.found = drift.compared, dict(drift.counts)
        self.report.complete = drift.complete
        await self._ask_about_unlisted()
        return self.report

    def count(self, kind: Kind, alive: int) -> None:
        self._alive[kind] = alive

    async def put(self, stage: Stage, records: list[AnyRecord], unreadable: int) -> None:
        changes = await self._job.put(records)
        self.report.changed[stage] = self.report.changed.get(stage, 0) + len(changes)
        self.report.unreadable += unreadable

    def miss(self, kind: Kind, key: str) -> None:
        self._unlisted.append((kind, key))

    async def _ask_about_unlisted(self) -> None:
        """Look up users and organizations first: their memberships end with them, without a request."""
        departures = Departures(self._job, self._job.now(), self.report)
        rounds: tuple[tuple[Kind, ...], ...] = (("user", "organization"), ("membership",))
        done = 0
        for kinds in rounds:
            left = list[tuple[Kind, str]]()
            for kind, key in self._of(kinds):
                record = await self._job.stored(kind, key)
                if record is not None and not record.is_deleted and not await belongs_to_deleted(self._job, record):
                    left.append((kind, key))
            if any(self._are_too_many(kind, sum(each == kind for each, _ in left)) for kind in kinds):
                self.report.held_back = len(left)
                return
            for kind, key in left:
                record = await self._job.stored(kind, key)
                if record is not None and not record.is_deleted:
                    await departures.ask_about(record)
                done += 1
                self._job.tell("departures", done, len(self._unlisted))

    def _of(self, kinds: tuple[Kind, ...]) -> Iterator[tuple[Kind, str]]:
        return (each for each in self._unlisted if each[0] in kinds)

    def _are_too_many(self, kind: Kind, number: int) -> bool:
        return number > max(ALWAYS_LIKELY, self._most_departures * self._alive[kind])
