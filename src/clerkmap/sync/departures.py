"""Who has gone: what is stored, and was not listed by a run, is asked for by its id.

Only Clerk's own word ends anything: that it knows nothing of the id. A membership cannot be asked for by its id, but it
can be changed: it is asked to change nothing, and Clerk says whether there is one. With its person or its organization
a membership has ended without being asked about.
"""

from collections.abc import Callable, Generator
from typing import Any

from ..clerk import endpoints
from ..clerk.endpoints import Page, Question, Shape
from ..core.events import Unreadable, records_of
from ..core.records import AnyRecord, ClerkMembership, ClerkOrganization, ClerkUser, Kind
from ..errors import ApiNotFound, ApiRefused
from .conflicts import overtake
from .runs import Report, Stage, Step, Steps, stored_page

ALWAYS_LIKELY = 10  # departures that are asked about however few there are stored
ENDS_KEPT = 10_000
NO_ANSWER = (400, 403, 422)  # Clerk would not change nothing, or has organizations turned off

Told = Callable[[Stage, int, int | None], None]


class Departures:
    """Finds out who has gone.

    Args:
        instance: The name of the instance.
        started: When the run began that has listed everything, in milliseconds.
        now: The time, in milliseconds.
    """

    def __init__(self, instance: str, started: int, report: Report, now: Callable[[], int], told: Told) -> None:
        self._instance = instance
        self._started = started
        self._report = report
        self._now = now
        self._told = told
        self._asked = 0
        self._ends: dict[str, str | None] = {}

    def steps(self, most: float) -> Steps:
        """Ask about everything that was not listed, unless that is more than is likely of any kind.

        People and organizations first: with them go their memberships, about which nobody needs to ask.
        """
        rounds: tuple[tuple[Kind, ...], ...] = (("user", "organization"), ("membership",))
        for kinds in rounds:
            counts = dict[Kind, tuple[int, int]]()
            for kind in kinds:
                counts[kind] = yield from self._counted(kind)
            missed = sum(count[1] for count in counts.values())
            if any(missed > max(ALWAYS_LIKELY, most * stored) for stored, missed in counts.values()):
                self._report.held_back = missed
                return
            for kind in kinds:
                yield from self._ask_about_all(kind, self._asked + missed)

    def _counted(self, kind: Kind) -> Generator[Step, Any, tuple[int, int]]:
        """How many of a kind are stored, and how many of them were not listed."""
        stored, missed, after = 0, 0, ""
        page: list[AnyRecord]
        while page := (yield stored_page(kind, self._instance, after)):
            after = page[-1].key
            stored += sum(not record.is_deleted for record in page)
            unlisted = [record for record in page if self._was_missed(record)]
            if kind == "membership":
                unlisted = yield from self._without_dead(unlisted)
            missed += len(unlisted)
        return stored, missed

    def _was_missed(self, record: AnyRecord) -> bool:
        return not record.is_deleted and record.clerk_id is not None and record.observed_at < self._started

    def _without_dead(self, memberships: list[Any]) -> Generator[Step, Any, list[AnyRecord]]:
        """Those whose ends are both there. The others have ended with one of their ends."""
        alive, dead = list[AnyRecord](), list[AnyRecord]()
        for membership in memberships:
            ends = yield from self._ends_of(membership)
            if "" in ends:
                dead.append(membership.tombstone(self._now()))
            else:
                alive.append(membership)
        if dead:
            yield from self._put(dead)
        return alive

    def _ends_of(self, membership: ClerkMembership) -> Generator[Step, Any, tuple[str | None, ...]]:
        """The ids of a membership's person and organization. Of who is gone it is empty, of who is not known None."""
        ends: list[tuple[Kind, str]] = [("user", membership.user_key), ("organization", membership.organization_key)]
        ids = list[str | None]()
        for kind, key in ends:
            if key not in self._ends:
                if len(self._ends) >= ENDS_KEPT:
                    self._ends.clear()
                record: AnyRecord | None = yield _stored(kind, self._instance, key)
                self._ends[key] = None if record is None else "" if record.is_deleted else record.clerk_id
            ids.append(self._ends[key])
        return tuple(ids)

    def _ask_about_all(self, kind: Kind, total: int) -> Steps:
        after = ""
        page: list[AnyRecord]
        while page := (yield stored_page(kind, self._instance, after)):
            after = page[-1].key
            for record in filter(self._was_missed, page):
                yield from self.ask_about(record)
                self._asked += 1
                self._told("departures", self._asked, total)

    def ask_about(self, record: AnyRecord) -> Steps:
        """Put what Clerk says of it; and if that is that it is not there, that it is gone."""
        asked_at = self._now()
        row, is_gone = yield from self._found(record)
        if row is not None:
            try:
                records = records_of(record.kind, self._instance, row, asked_at)
            except Unreadable:
                self._report.unreadable += 1
            else:
                yield from self._put(records)
                yield from overtake(record.kind, self._instance, [(row, records[-1])], self._ask, self._now)
        if is_gone:
            yield from self._put([record.tombstone(asked_at)])
            self._report.departed += 1

    def _ask(self, question: Question[Any]) -> Steps:
        return (yield _asked(question))

    def _found(self, record: AnyRecord) -> Generator[Step, Any, tuple[Shape | None, bool]]:
        """Clerk's row of it, or of the membership that has replaced it; and whether it is gone."""
        if isinstance(record, ClerkMembership):
            return (yield from self._found_membership(record))
        one = endpoints.user if isinstance(record, ClerkUser) else endpoints.organization
        assert isinstance(record, (ClerkUser, ClerkOrganization))
        question: Question[Shape] = one(str(record.clerk_id))
        try:
            return (yield _asked(question)), False
        except ApiNotFound as error:
            return None, _is_of_the_id(error)

    def _found_membership(self, record: ClerkMembership) -> Generator[Step, Any, tuple[Shape | None, bool]]:
        user_id, organization_id = yield from self._ends_of(record)
        if not user_id or not organization_id:
            return None, False
        try:
            page: Page = yield _asked(endpoints.members(organization_id, users=[user_id]))
            if page.rows:
                return page.rows[0], page.rows[0].get("id") != record.clerk_id
            row = yield _asked(endpoints.merge_membership_metadata(organization_id, user_id))
        except ApiNotFound as error:
            return None, _is_of_the_id(error)
        except ApiRefused as error:
            if error.status not in NO_ANSWER:
                raise
            return None, False
        # Another one: they have left, and come back.
        return row, row.get("id") != record.clerk_id

    def _put(self, records: list[AnyRecord]) -> Steps:
        yield lambda _, repository: repository.put(records)


def _asked(question: Question[Any]) -> Step:
    return lambda api, _: api.ask(question)


def _stored(kind: Kind, instance: str, key: str) -> Step:
    return lambda _, repository: repository.record(kind, instance, key)


def _is_of_the_id(error: ApiNotFound) -> bool:
    """That the thing was not found, and not something else about the question."""
    return any(code.endswith("not_found") for code in error.codes)
