"""What differs between Clerk and the repository, without changing either.

    drift = diff(ClerkApi(instance), repository)
    drift = diff(ClerkApi(instance), repository, cheap=True)  # five questions, however many people there are

Every list of Clerk's is read, and each row held against what is stored. A row that is older than what is stored is no
drift: a webhook was faster than the list. What you erased yourself is none either, though Clerk still has it.

The cheap way compares how many there are, and the newest hundred of each list. What it finds is so; but it does not see
an old row that has changed, nor that one has come for each one who went. And whoever has only counts cannot tell those
whom you have erased from those who are missing.
"""

import time
from collections import Counter
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from ..clerk import endpoints
from ..clerk.api import AsyncClerkApi, ClerkApi
from ..clerk.endpoints import Page, Shape
from ..core.model import Count
from ..core.records import FULL, Kind
from ..ports import AsyncRepository, Repository
from .comparison import Comparing, Drift, How, OwnId
from .listing import Place
from .runs import KINDS, Stage, Step, Steps, Tell, arun, run

NEWEST = 100


class _Shown(NamedTuple):
    """What Clerk shows of one list: the newest rows, and how many there are."""

    rows: list[Shape]
    total: int


class Glancing(Comparing):
    """One look."""

    def steps(self) -> Steps:
        """The newest rows of each list; then the counts."""
        self.drift.cheap = True
        shown = dict[Stage, _Shown]()
        for stage in KINDS:
            rows, total = shown[stage] = yield from self._newest(stage)
            yield from self._compare(rows, Place(self._now(), stage), total)
        counts: dict[Kind, Count] = yield lambda _, repository: repository.counts(self._instance)
        if all(_agree(kind, counts[kind], shown[stage].total) for stage, kind in KINDS.items()):
            return
        grades = dict[Kind, Counter[str]]()
        for kind in KINDS.values():
            yield from self._look_up(kind)
            grades[kind] = Counter(rank[0] for clerk_id, rank in self._stored.values() if clerk_id is not None)
        for stage, kind in KINDS.items():
            totals = shown[stage].total, (yield from self._total(stage))
            self._differ_at_least("missing", kind, min(totals) - grades[kind][FULL])
            self._differ_at_least("extra", kind, grades[kind].total() - max(totals))

    def _newest(self, stage: Stage) -> Generator[Step, Any, _Shown]:
        if stage == "users":
            rows: list[Shape] = yield from self._asked(endpoints.users(limit=NEWEST, order_by="-updated_at"))
            return _Shown(rows, (yield from self._total(stage)))
        page: Page = yield from self._asked(_LISTS[stage](limit=NEWEST, order_by="-created_at"))
        return _Shown(page.rows, page.total)

    def _total(self, stage: Stage) -> Generator[Step, Any, int]:
        if stage == "users":
            number: int = yield from self._asked(endpoints.user_count())
            return number
        page: Page = yield from self._asked(_LISTS[stage](limit=1))
        return page.total

    def _differ_at_least(self, how: How, kind: Kind, number: int) -> None:
        """So many differ, some of whom may have been among the newest rows."""
        told = sum((each.how, each.kind) == (how, kind) for each in self.drift.differences)
        if number > told:
            self.drift.counts[how] += number - told


_LISTS = {"organizations": endpoints.organizations, "memberships": endpoints.memberships}


def _agree(kind: Kind, count: Count, total: int) -> bool:
    """Whether as many are stored as there are. What tokens say of a membership is a record of its own, beside it."""
    return count.told == total and (kind == "membership" or not count.from_token)


def diff(
    api: ClerkApi,
    repository: Repository,
    *,
    cheap: bool = False,
    own_id: OwnId | None = None,
    progress: Tell | None = None,
    clock: Callable[[], float] = time.time,
) -> Drift:
    """Hold everything that Clerk has against everything that is stored.

    Args:
        api: Clerk's API.
        repository: What is compared with it.
        cheap: Compare only the counts and the newest rows.
        own_id: Which user of yours Clerk's word on a person names, such as `lambda user: user.external_id`; None if it
            names nobody. Whoever is tied to another one is told as a wrong link.
        progress: Called with how far it is.
        clock: The time, in seconds since 1970.
    """
    comparing = (Glancing if cheap else Comparing)(api.instance.name, progress, clock, own_id)
    run(comparing.steps(), api, repository)
    return comparing.drift


async def adiff(
    api: AsyncClerkApi,
    repository: AsyncRepository,
    *,
    cheap: bool = False,
    own_id: OwnId | None = None,
    progress: Tell | None = None,
    clock: Callable[[], float] = time.time,
) -> Drift:
    """The same for async code."""
    comparing = (Glancing if cheap else Comparing)(api.instance.name, progress, clock, own_id)
    await arun(comparing.steps(), api, repository)
    return comparing.drift
