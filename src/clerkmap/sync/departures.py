"""Departures: stored records that a run did not list, because Clerk may no longer have them.

A record is deleted only if Clerk answers that it does not know the id. Clerk has no request for a membership by its id,
but a membership can be changed. So Clerk gets an empty change, and its answer shows whether the membership exists. A
membership of a deleted user or organization ends without a request.
"""

from typing import Any

from ..clerk import endpoints
from ..clerk.endpoints import ClerkRequest, Page, Shape
from ..core.events import Unreadable, records_of
from ..core.model import Change
from ..core.records import AnyRecord, ClerkMembership, ClerkOrganization, ClerkUser, Kind
from ..errors import ApiNotFound, ApiRefused
from .job import Job, Report
from .recheck import put_despite_older_dates

ALWAYS_LIKELY = 10  # departures that are always checked, for any number of stored records
ENDS_KEPT = 10_000
NO_ANSWER = (400, 403, 422)  # Clerk refuses an empty change, or organizations are disabled


class Departures:
    """Finds the stored objects that Clerk no longer has.

    Args:
        job: The job that looks for departures.
        started: The start of the run that has listed everything, in milliseconds.
        report: The report that counts the departures.
    """

    def __init__(self, job: Job, started: int, report: Report) -> None:
        self._job = job
        self._started = started
        self._report = report
        self._asked = 0
        self._ends: dict[str, str | None] = {}

    async def find(self, most: float) -> None:
        """Look up all objects at Clerk that were not listed, unless their number is unlikely for a kind.

        Users and organizations come first: their memberships end with them, without a request.
        """
        rounds: tuple[tuple[Kind, ...], ...] = (("user", "organization"), ("membership",))
        for kinds in rounds:
            counts = dict[Kind, tuple[int, int]]()
            for kind in kinds:
                counts[kind] = await self._counted(kind)
            missed = sum(count[1] for count in counts.values())
            if any(missed > max(ALWAYS_LIKELY, most * stored) for stored, missed in counts.values()):
                self._report.held_back = missed
                return
            for kind in kinds:
                await self._ask_about_all(kind, self._asked + missed)

    async def _counted(self, kind: Kind) -> tuple[int, int]:
        """Return the number of stored records of a kind, and the number that was not listed."""
        stored, missed, after = 0, 0, ""
        while page := (await self._job.stored_page(kind, after)):
            after = page[-1].key
            stored += sum(not record.is_deleted for record in page)
            unlisted = [record for record in page if self._was_missed(record)]
            if kind == "membership":
                unlisted = await self._without_dead(unlisted)
            missed += len(unlisted)
        return stored, missed

    def _was_missed(self, record: AnyRecord) -> bool:
        return not record.is_deleted and record.clerk_id is not None and record.observed_at < self._started

    async def _without_dead(self, memberships: list[Any]) -> list[AnyRecord]:
        """Return the memberships with both ends. Delete the others, because their user or organization is deleted."""
        alive, dead = list[AnyRecord](), list[AnyRecord]()
        for membership in memberships:
            ends = await self._ends_of(membership)
            if "" in ends:
                dead.append(membership.tombstone(self._job.now()))
            else:
                alive.append(membership)
        if dead:
            await self._job.put(dead)
        return alive

    async def _ends_of(self, membership: ClerkMembership) -> tuple[str | None, ...]:
        """Return the ids of a membership's user and organization: empty if it is deleted, None if it is unknown."""
        ends: list[tuple[Kind, str]] = [("user", membership.user_key), ("organization", membership.organization_key)]
        ids = list[str | None]()
        for kind, key in ends:
            if key not in self._ends:
                if len(self._ends) >= ENDS_KEPT:
                    self._ends.clear()
                record = await self._job.stored(kind, key)
                self._ends[key] = None if record is None else "" if record.is_deleted else record.clerk_id
            ids.append(self._ends[key])
        return tuple(ids)

    async def _ask_about_all(self, kind: Kind, total: int) -> None:
        after = ""
        while page := (await self._job.stored_page(kind, after)):
            after = page[-1].key
            for record in filter(self._was_missed, page):
                await self.ask_about(record)
                self._asked += 1
                self._job.tell("departures", self._asked, total)

    async def ask_about(self, record: AnyRecord) -> list[Change]:
        """Store Clerk's answer about a stored record, or a tombstone if Clerk does not know it. Return the changes."""
        changes = list[Change]()
        asked_at = self._job.now()
        row, is_gone = await self._found(record)
        if row is not None:
            try:
                records = records_of(record.kind, self._job.instance, row, asked_at)
            except Unreadable:
                self._report.unreadable += 1
            else:
                changes += await self._job.repository.put(records)
                changes += await put_despite_older_dates(self._job, record.kind, [(row, records[-1])])
        if is_gone:
            changes += await self._job.repository.put([record.tombstone(asked_at)])
            self._report.departed += 1
        return changes

    async def _found(self, record: AnyRecord) -> tuple[Shape | None, bool]:
        """Return Clerk's row of the record, or of the membership that replaces it; and whether the record is gone."""
        if isinstance(record, ClerkMembership):
            return await self._found_membership(record)
        one = endpoints.user if isinstance(record, ClerkUser) else endpoints.organization
        assert isinstance(record, (ClerkUser, ClerkOrganization))
        request: ClerkRequest[Shape] = one(str(record.clerk_id))
        try:
            return await self._job.send(request), False
        except ApiNotFound as error:
            return None, is_of_the_id(error)

    async def _found_membership(self, record: ClerkMembership) -> tuple[Shape | None, bool]:
        user_id, organization_id = await self._ends_of(record)
        if not user_id or not organization_id:
            return None, False
        try:
            page: Page = await self._job.send(endpoints.members(organization_id, users=[user_id]))
            if page.rows:
                return page.rows[0], page.rows[0].get("id") != record.clerk_id
            row = await self._job.send(endpoints.merge_membership_metadata(organization_id, user_id))
        except ApiNotFound as error:
            return None, is_of_the_id(error)
        except ApiRefused as error:
            if error.status not in NO_ANSWER:
                raise
            return None, False
        # Another id: the user has left, and has joined again.
        return row, row.get("id") != record.clerk_id


def is_of_the_id(error: ApiNotFound) -> bool:
    """Return whether Clerk did not find the object itself, and not another part of the request."""
    return any(code.endswith("not_found") for code in error.codes)
