"""A look at whether anything differs, by counts and the newest rows: five questions, however many people there are.

Only where the counts do not agree is all that is stored looked through, and Clerk asked once more: what has ended with
one of its ends still counts as stored, and something may just have happened.
"""

from collections import Counter
from collections.abc import Generator
from typing import Any, NamedTuple

from ..core.counts import Count
from ..core.records import STATED, Kind
from . import endpoints
from .comparing import Comparing, How
from .endpoints import Page, Shape
from .lists import Place
from .runs import KINDS, Stage, Step, Steps

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
            self._differ_at_least("missing", kind, min(totals) - grades[kind][STATED])
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
    return count.told == total and (kind == "membership" or not count.sighted)
