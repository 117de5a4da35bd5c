"""Merging: the state that several records of one membership, or of one user's identities, add up to."""

import json
from collections.abc import Collection, Iterable

from .records import DELETED, EMBEDDED, FROM_TOKEN, FULL, ClerkMembership, ClerkUser, Record

TEST_ADDRESS = "+clerk_test"  # Clerk verifies such an address with a public code
MAX_ROLE = 255  # characters
# Clerk's session tokens live for a minute. Some applications have Clerk make tokens that live longer.
MAX_TOKEN_LIFETIME = 28 * 86_400  # seconds, by default
DAY = 86_400_000  # milliseconds


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


def last_word(records: Collection[ClerkMembership]) -> ClerkMembership | None:
    """Return the current membership of one user in one organization, or else the latest tombstone, or None."""
    over = max((record for record in records if record.is_deleted), key=lambda record: record.rank, default=None)
    return current_membership(records) or over


def verified_address(record: ClerkUser) -> str | None:
    """Return the primary address in lower-case ASCII letters if it is verified, or None."""
    if not record.email_verified or not record.email:
        return None
    address = record.email.encode().lower().decode()
    return None if TEST_ADDRESS in address else address


def is_role(role: object) -> bool:
    """Return whether a value is a role that every database can store."""
    return isinstance(role, str) and 0 < len(role) <= MAX_ROLE and role.isprintable()


def role_in_metadata(record: ClerkUser) -> str | None:
    """Return the role in `public_metadata.role`, or None."""
    if '"role"' not in record.public_metadata:
        return None
    role: str | None = json.loads(record.public_metadata).get("role")
    return role if is_role(role) else None


def speaks_first(record: Record) -> tuple[bool, str]:
    """Return the sort key of a user's identities. The greatest represents the user; deleted identities come last."""
    return not record.is_deleted, record.rank


def deleted_at(identities: Iterable[Record]) -> int | None:
    """Return when the last identity of a user was deleted, or None if an identity is left."""
    times = [record.observed_at if record.is_deleted else None for record in identities]
    gone = [time for time in times if time is not None]
    return max(gone) if gone and len(gone) == len(times) else None


def tombstones_kept(max_token_lifetime: float) -> int:
    """Return the milliseconds for which a tombstone is needed: until the last token that it refuses has expired.

    A lease may outlive its token by a day, and clocks differ, so two days are added.
    """
    return int(max_token_lifetime * 1000) + 2 * DAY


def forgotten_below(now: int, kept: int) -> str:
    """Return the rank below which the end of a session can be forgotten: its tokens have expired."""
    return deleted_before(max(0, now - kept))


def deleted_before(moment: int) -> str:
    """Return the rank above which every record is a tombstone of a deletion at this moment or later."""
    return f"{DELETED}.{0:015d}.{moment:015d}"


def is_over(records: Collection[ClerkMembership], moment: int) -> bool:
    """Return whether a membership ended before a moment and no later one exists."""
    ends = [record.rank for record in records if record.is_deleted]
    return bool(ends) and max(ends) < deleted_before(moment) and current_membership(records) is None
