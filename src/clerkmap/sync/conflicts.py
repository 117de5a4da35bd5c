"""Rows of Clerk's API that say something else than is stored, with an older date.

Either a webhook was faster than the list, or Clerk's dates cannot be trusted. Clocks cannot tell the two apart, but the
order of events can: each such row is asked for again by its id, after the stored record has been read. That answer is
later than what is stored, so it is put with a rank above it. In ordinary times there are hardly any such rows.
"""

from collections.abc import Callable, Generator, Iterator
from typing import Any

from ..clerk import endpoints
from ..clerk.endpoints import Page, Question, Shape
from ..core.events import Unreadable, records_of
from ..core.records import FULL, AnyRecord, Kind
from ..core.strict_json import fields
from ..errors import ApiNotFound
from .listing import Asking
from .runs import Step

BATCH = 100  # ids that Clerk takes in one question

Said = tuple[Shape, AnyRecord]  # a row of Clerk's, and the record of it


def outranks(rank: str, record: AnyRecord) -> bool:
    """Whether this rank of a stored record keeps Clerk's answer out, although nothing was deleted."""
    return rank[:1] == FULL and rank > record.rank


def same_content(rank: str, record: AnyRecord) -> bool:
    """Whether a full record of this rank says what this one says."""
    return rank[:1] == record.rank[:1] and rank[34:] == record.rank[34:]


def asked_again(
    kind: Kind, instance: str, rows: list[Shape], ask: Asking, now: Callable[[], int]
) -> Generator[Step, Any, dict[str, AnyRecord]]:
    """Ask Clerk for these rows again. Return the records of its answer, by key; without those that are gone."""
    found: dict[str, AnyRecord] = {}
    for question in _questions(kind, rows):
        asked_at = now()
        try:
            answer: list[Shape] | Page = yield from ask(question)
        except ApiNotFound:  # the organization is gone, and its members with it
            continue
        for row in answer.rows if isinstance(answer, Page) else answer:
            try:
                record = records_of(kind, instance, row, asked_at)[-1]
            except Unreadable:
                continue
            if record.kind == kind:
                found[record.key] = record
    return found


def overtake(
    kind: Kind, instance: str, said: list[Said], ask: Asking, now: Callable[[], int]
) -> Generator[Step, Any, list[Any]]:
    """Make sure of the rows of a page that has been put: what Clerk says is stored. Return the changes."""
    said = [each for each in said if each[1].kind == kind]  # of a membership without its person, it is another
    keys = [record.key for _, record in said]
    ranks: dict[str, str] = (yield lambda _, repository: repository.ranks(kind, instance, keys)) if keys else {}
    outranked = [each for each in said if outranks(ranks.get(each[1].key, ""), each[1])]
    # With the same content, only the moment of its observation is news: it was listed now.
    records = [record.above(ranks[record.key]) for _, record in outranked if same_content(ranks[record.key], record)]
    doubtful = [row for row, record in outranked if not same_content(ranks[record.key], record)]
    again: dict[str, AnyRecord] = yield from asked_again(kind, instance, doubtful, ask, now)
    records += [record.above(ranks[key]) for key, record in again.items() if key in ranks]
    changes: list[Any] = (yield lambda _, repository: repository.put(records)) if records else []
    return changes


def _questions(kind: Kind, rows: list[Shape]) -> Iterator[Question[Any]]:
    if kind == "membership":
        yield from _questions_of_members(rows)
        return
    for start in range(0, len(rows), BATCH):
        ids = [str(row["id"]) for row in rows[start : start + BATCH]]
        yield endpoints.users(ids=ids) if kind == "user" else endpoints.organizations(ids=ids)


def _questions_of_members(rows: list[Shape]) -> Iterator[Question[Any]]:
    people: dict[str, list[str]] = {}
    for row in rows:
        organization, person = fields(row["organization"])["id"], fields(row["public_user_data"])["user_id"]
        people.setdefault(organization, []).append(person)
    for organization, all_ids in people.items():
        for start in range(0, len(all_ids), BATCH):
            yield endpoints.members(organization, users=all_ids[start : start + BATCH])
