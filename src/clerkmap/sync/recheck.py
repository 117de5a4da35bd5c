"""Ask Clerk again about single users, organizations and memberships, by their ids.

Doubtful rows differ from the stored record, and have an older date. Either a webhook was faster than the list, or
Clerk's dates are wrong. Clocks cannot separate these cases, but the order of events can. After the stored record has
been read, the row is requested again. That response is later than the stored record, so it gets a rank above it.
Normally there are hardly any such rows.
"""

from collections.abc import Iterator
from typing import Any

from ..clerk import endpoints
from ..clerk.endpoints import ClerkRequest, Page, Shape
from ..core.events import Unreadable, records_of
from ..core.model import Change
from ..core.records import FULL, AnyRecord, Kind
from ..core.strict_json import fields
from ..errors import ApiNotFound
from .job import Job

BATCH = 100  # ids that Clerk accepts in one request

Said = tuple[Shape, AnyRecord]  # Clerk's row and its record


def stored_outranks(rank: str, record: AnyRecord) -> bool:
    """Return whether a stored record of this rank, which is not deleted, outranks Clerk's answer."""
    return rank[:1] == FULL and rank > record.rank


def is_same_content(rank: str, record: AnyRecord) -> bool:
    """Return whether a full record of this rank has the same content as this record."""
    return rank[:1] == record.rank[:1] and rank[34:] == record.rank[34:]


async def fetch_again(job: Job, kind: Kind, rows: list[Shape]) -> dict[str, AnyRecord]:
    """Request these rows from Clerk again. Return the records of the response by key, without deleted ones."""
    found: dict[str, AnyRecord] = {}
    for request in _requests(kind, rows):
        asked_at = job.now()
        try:
            answer: list[Shape] | Page = await job.send(request)
        except ApiNotFound:  # the organization is deleted, with all its memberships
            continue
        for row in answer.rows if isinstance(answer, Page) else answer:
            try:
                record = records_of(kind, job.instance, row, asked_at)[-1]
            except Unreadable:
                continue
            if record.kind == kind:
                found[record.key] = record
    return found


async def put_despite_older_dates(job: Job, kind: Kind, said: list[Said]) -> list[Change]:
    """Make sure that the rows of a stored page have the same content as at Clerk. Return the changes."""
    said = [each for each in said if each[1].kind == kind]  # a membership without its user gives another kind
    keys = [record.key for _, record in said]
    ranks = await job.repository.ranks(kind, job.instance, keys) if keys else {}
    outranked = [each for each in said if stored_outranks(ranks.get(each[1].key, ""), each[1])]
    # With the same content, only the time of the observation is new: Clerk listed the row now.
    records = [record.above(ranks[record.key]) for _, record in outranked if is_same_content(ranks[record.key], record)]
    doubtful = [row for row, record in outranked if not is_same_content(ranks[record.key], record)]
    again = await fetch_again(job, kind, doubtful)
    records += [record.above(ranks[key]) for key, record in again.items() if key in ranks]
    return await job.put(records)


def _requests(kind: Kind, rows: list[Shape]) -> Iterator[ClerkRequest[Any]]:
    if kind == "membership":
        yield from _requests_of_members(rows)
        return
    for start in range(0, len(rows), BATCH):
        ids = [str(row["id"]) for row in rows[start : start + BATCH]]
        yield endpoints.users(ids=ids) if kind == "user" else endpoints.organizations(ids=ids)


def _requests_of_members(rows: list[Shape]) -> Iterator[ClerkRequest[Any]]:
    people: dict[str, list[str]] = {}
    for row in rows:
        organization, person = fields(row["organization"])["id"], fields(row["public_user_data"])["user_id"]
        people.setdefault(organization, []).append(person)
    for organization, all_ids in people.items():
        for start in range(0, len(all_ids), BATCH):
            yield endpoints.members(organization, users=all_ids[start : start + BATCH])
