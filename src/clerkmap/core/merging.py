"""Merging: which record wins, and which state several records add up to.

Of two records of one thing, the one with the greater rank wins: see `outranks`. In SQL, the same rule is the `WHERE` at
the end of each upsert, see `repositories/sql/statements.py`. A user in one organization may have several records of
memberships, and a user several identities: the other functions choose among those.
"""

from collections.abc import Collection, Iterable
from typing import TypeVar

from .records import COLUMNS, EMBEDDED, FROM_TOKEN, FULL, AnyRecord, ClerkMembership, Record

R = TypeVar("R", bound=Record)
_ORDER = {kind: number for number, kind in enumerate(COLUMNS)}


def outranks(new: R, old: R | None) -> bool:
    """Return whether a record replaces another: the greater rank wins."""
    return old is None or new.rank > old.rank


def winning_records(records: Iterable[AnyRecord]) -> list[AnyRecord]:
    """Return the record that wins for each thing, in the order in which all writers take their locks."""
    records = list(records)
    if len(records) == 1:
        return records
    winners: dict[tuple[int, str, str], AnyRecord] = {}
    for record in records:
        place = (_ORDER[record.kind], record.instance, record.key)
        if outranks(record, winners.get(place)):
            winners[place] = record
    return [winners[place] for place in sorted(winners)]


def current_membership(records: Collection[ClerkMembership]) -> ClerkMembership | None:
    """Return the current membership out of all records of one user in one organization, or None.

    Joining again makes a membership with another id. A record from a token has no id. It counts if there is no
    better record, and after a removal only if its token was made later.

    A membership was joined after a removal if its date is later, or if Clerk still showed it after the removal: Clerk's
    dates may go backwards.
    """
    # A user has one membership at a time: the end of a later one ends the earlier ones, even without an event.
    left = max((record.created_at or 0 for record in records if record.is_deleted), default=0)
    removed_at = max((record.observed_at for record in records if record.is_deleted), default=-1)
    full = [
        record
        for record in records
        if record.grade in (EMBEDDED, FULL)
        and ((record.created_at or left) >= left or record.observed_at >= removed_at)
    ]
    if full:
        return max(full, key=lambda record: record.rank)
    from_token = [record for record in records if record.grade == FROM_TOKEN and record.observed_at > removed_at]
    return max(from_token, key=lambda record: record.rank, default=None)


def latest_membership(records: Collection[ClerkMembership]) -> ClerkMembership | None:
    """Return the current membership of one user in one organization, or else the latest tombstone, or None."""
    over = max((record for record in records if record.is_deleted), key=lambda record: record.rank, default=None)
    return current_membership(records) or over


def representative_order(record: Record) -> tuple[bool, str]:
    """Return the sort key of a user's identities. The greatest represents the user; deleted identities come last."""
    return not record.is_deleted, record.rank


def deletion_time(identities: Iterable[Record]) -> int | None:
    """Return when the last identity of a user was deleted, in milliseconds, or None if an identity is left."""
    times = [record.observed_at if record.is_deleted else None for record in identities]
    gone = [time for time in times if time is not None]
    return max(gone) if gone and len(gone) == len(times) else None
