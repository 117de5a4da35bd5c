"""Who has gone: what is stored, and was not listed by a run, is asked for by its id.

Only Clerk's own word ends anything: that it does not know the id. A membership cannot be asked for by its id, and what
can be done with one is to change it: it is asked to change nothing, and Clerk says whether there is one.
"""

from collections.abc import Callable, Generator, Iterable
from typing import Any

from ..core.events import Unreadable
from ..core.records import AnyRecord, ClerkMembership, ClerkOrganization, ClerkUser, Kind, Record
from ..errors import ApiNotFound
from . import endpoints
from .endpoints import Page, Shape
from .rows import read_membership, read_organization, read_user
from .runs import Report, Stage, Step, Steps, stored_page

AT_ONCE = 100  # ids that one question may name
ALWAYS_LIKELY = 10  # departures that are asked about however few there are stored

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

    def steps(self, most: float) -> Steps:
        """Ask about everything that was not listed, unless that is more than likely."""
        kinds: tuple[Kind, ...] = ("user", "organization", "membership")
        stored = missed = 0
        for kind in kinds:
            for_kind = yield from self._counted(kind)
            stored, missed = stored + for_kind[0], missed + for_kind[1]
        if missed > max(ALWAYS_LIKELY, most * stored):
            self._report.held_back = missed
            return
        asked = 0
        for kind in kinds:
            after = ""
            while page := (yield stored_page(kind, self._instance, after, AT_ONCE)):
                after = page[-1].key
                some = [record for record in page if self._was_missed(record)]
                if some:
                    yield from self._ask_about(kind, some)
                    asked += len(some)
                    self._told("departures", asked, missed)

    def _was_missed(self, record: Record) -> bool:
        return not record.is_deleted and record.clerk_id is not None and record.observed_at < self._started

    def _counted(self, kind: Kind) -> Generator[Step, Any, tuple[int, int]]:
        """How many of a kind are stored, and how many of them were not listed."""
        stored, missed, after = 0, 0, ""
        while page := (yield stored_page(kind, self._instance, after)):
            after = page[-1].key
            stored += sum(not record.is_deleted for record in page)
            missed += sum(map(self._was_missed, page))
        return stored, missed

    def _ask_about(self, kind: Kind, missed: Iterable[Any]) -> Steps:
        if kind == "membership":
            for record in missed:
                yield from self._ask_about_membership(record)
            return
        asked_at, ids = self._now(), [str(record.clerk_id) for record in missed]
        if kind == "user":
            rows: list[Shape] = yield lambda api, _: api.ask(endpoints.users(ids=ids))
        else:
            rows = (yield lambda api, _: api.ask(endpoints.organizations(ids=ids))).rows
        read = read_user if kind == "user" else read_organization
        for row in rows:  # they are there, and had been passed over
            yield from self._put(_records(read, self._instance, row, asked_at))
        for id in set(ids) - {row.get("id") for row in rows}:
            yield from self._ask_about_one(kind, id)

    def _ask_about_one(self, kind: Kind, id: str) -> Steps:
        """Put what Clerk says of it; and if that is that there is no such id, that it is gone."""
        read, one = (read_user, endpoints.user) if kind == "user" else (read_organization, endpoints.organization)
        asked_at = self._now()
        try:
            row: Shape = yield lambda api, _: api.ask(one(id))
        except ApiNotFound:
            record = ClerkUser if kind == "user" else ClerkOrganization
            yield from self._put([record.deleted(self._instance, id, observed_at=asked_at)])
            self._report.departed += 1
        else:
            yield from self._put(_records(read, self._instance, row, asked_at))

    def _ask_about_membership(self, record: ClerkMembership) -> Steps:
        person: ClerkUser | None = yield lambda _, repository: repository.record(
            "user", self._instance, record.user_key
        )
        organization: ClerkOrganization | None = yield lambda _, repository: repository.record(
            "organization", self._instance, record.organization_key
        )
        user_id = person.clerk_id if person else None
        organization_id = organization.clerk_id if organization else None
        if user_id is None or organization_id is None:
            return  # one of its ends is gone, and so it does not count
        asked_at, row = self._now(), Shape()
        try:
            page: Page = yield lambda api, _: api.ask(endpoints.members(organization_id, users=[user_id]))
            row = next((each for each in page.rows if each.get("id") == record.clerk_id), row)
            if not row:
                row = yield lambda api, _: api.ask(endpoints.merge_membership_metadata(organization_id, user_id))
        except ApiNotFound:
            pass
        if row:
            yield from self._put(_records(read_membership, self._instance, row, asked_at))
        if row.get("id") != record.clerk_id:  # none, or another one: they have left, and perhaps come back
            gone = ClerkMembership.deleted(
                self._instance,
                str(record.clerk_id),
                clerk_user_id=user_id,
                clerk_organization_id=organization_id,
                observed_at=asked_at,
                created_at=record.created_at,
            )
            yield from self._put([gone])
            self._report.departed += 1

    def _put(self, records: list[AnyRecord]) -> Steps:
        yield lambda _, repository: repository.put(records)


def _records(
    read: Callable[[str, Shape, int], list[AnyRecord]], instance: str, row: Shape, observed_at: int
) -> list[AnyRecord]:
    try:
        return read(instance, row, observed_at)
    except Unreadable:
        return []
