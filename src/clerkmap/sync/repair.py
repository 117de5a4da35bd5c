"""What differs, mended: that and nothing else is written.

    report = repair(ClerkApi(instance), repository)

It is a `diff` that puts each row that differs, as Clerk says it. What Clerk does not list is asked for by its id, and
deleted only where Clerk says that it does not know it. To whom somebody is tied is yours to say, and stays.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..clerk.api import AsyncClerkApi, ClerkApi
from ..core.records import AnyRecord, Kind
from ..ports import AsyncRepository, Repository
from .backfill import checked_part
from .comparison import Comparing, stored_one
from .departures import ALWAYS_LIKELY, Departures
from .runs import Progress, Report, Stage, Steps, Tell, arun, run


@dataclass(slots=True)
class RepairReport(Report):
    """What has come of a repair. `found` is how much differed, of each sort."""

    found: dict[str, int] = field(default_factory=dict[str, int])


def repair(
    api: ClerkApi,
    repository: Repository,
    *,
    most_departures: float = 0.1,
    progress: Tell | None = None,
    clock: Callable[[], float] = time.time,
) -> RepairReport:
    """Look what differs, and mend it.

    Args:
        api: Clerk's API.
        repository: What is mended.
        most_departures: Which part of what is stored of a kind may be gone at Clerk, from 0 to 1. Where it looks like
            more, nobody is asked about, and the report says how many are held back.
        progress: Called with how far it is.
        clock: The time, in seconds since 1970.
    """
    mending = _Mending(api.instance.name, progress, clock, checked_part(most_departures))
    run(mending.steps(), api, repository)
    return mending.report


async def arepair(
    api: AsyncClerkApi,
    repository: AsyncRepository,
    *,
    most_departures: float = 0.1,
    progress: Tell | None = None,
    clock: Callable[[], float] = time.time,
) -> RepairReport:
    """The same for async code."""
    mending = _Mending(api.instance.name, progress, clock, checked_part(most_departures))
    await arun(mending.steps(), api, repository)
    return mending.report


class _Mending(Comparing):
    """One repair."""

    def __init__(self, instance: str, tell: Tell | None, clock: Callable[[], float], most_departures: float) -> None:
        super().__init__(instance, tell, clock)
        self._most_departures = most_departures
        self._alive: dict[Kind, int] = {}
        self._unlisted: list[tuple[Kind, str]] = []
        self.report: RepairReport = RepairReport()

    def steps(self) -> Steps:
        """Compare everything, putting what differs; then ask about what was not listed."""
        yield from super().steps()
        self.report.listed, self.report.found = self.drift.compared, dict(self.drift.counts)
        self.report.complete = self.drift.complete
        yield from self._ask_about_unlisted()

    def _look_up(self, kind: Kind) -> Steps:
        yield from super()._look_up(kind)
        self._alive[kind] = len(self._stored)

    def _page_says(self, stage: Stage, records: list[AnyRecord], unreadable: int) -> Steps:
        changes: list[Any] = (yield lambda _, repository: repository.put(records)) if records else []
        self.report.changed[stage] = self.report.changed.get(stage, 0) + len(changes)
        self.report.unreadable += unreadable

    def _is_unlisted(self, kind: Kind, key: str) -> None:
        self._unlisted.append((kind, key))

    def _ask_about_unlisted(self) -> Steps:
        """People and organizations first: with them go their memberships, about which nobody needs to ask."""
        departures = Departures(self._instance, self._now(), self.report, self._now, self._told)
        rounds: tuple[tuple[Kind, ...], ...] = (("user", "organization"), ("membership",))
        done = 0
        for kinds in rounds:
            left = list[tuple[Kind, str]]()
            for kind, key in self._of(kinds):
                record: AnyRecord | None = yield stored_one(kind, self._instance, key)
                if record is not None and not record.is_deleted and not (yield from self._is_over(record)):
                    left.append((kind, key))
            if any(self._are_too_many(kind, sum(each == kind for each, _ in left)) for kind in kinds):
                self.report.held_back = len(left)
                return
            for kind, key in left:
                record = yield stored_one(kind, self._instance, key)
                if record is not None and not record.is_deleted:
                    yield from departures.ask_about(record)
                done += 1
                self._told("departures", done, len(self._unlisted))

    def _of(self, kinds: tuple[Kind, ...]) -> Iterator[tuple[Kind, str]]:
        return (each for each in self._unlisted if each[0] in kinds)

    def _are_too_many(self, kind: Kind, number: int) -> bool:
        return number > max(ALWAYS_LIKELY, self._most_departures * self._alive[kind])

    def _told(self, stage: Stage, done: int, total: int | None) -> None:
        if self._tell is not None:
            self._tell(Progress(stage, done, total))
