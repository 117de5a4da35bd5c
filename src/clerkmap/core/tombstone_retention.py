"""How long tombstones are kept: until no valid token can bring back what was deleted."""

from collections.abc import Collection

from .merging import current_membership
from .records import DELETED, ClerkMembership

# Clerk's session tokens live for a minute. Some applications have Clerk make tokens that live longer.
MAX_TOKEN_LIFETIME = 28 * 86_400  # seconds, by default
DAY = 86_400_000  # milliseconds


def tombstone_retention(max_token_lifetime: float) -> int:
    """Return the milliseconds for which a tombstone is needed: until the last token that it refuses has expired.

    A lease may outlive its token by a day, and clocks differ, so two days are added.
    """
    return int(max_token_lifetime * 1000) + 2 * DAY


def oldest_session_rank(now: int, retention: int) -> str:
    """Return the rank below which the end of a session can be forgotten: its tokens have expired."""
    return deletion_rank(max(0, now - retention))


def deletion_rank(moment: int) -> str:
    """Return the rank above which every record is a tombstone of a deletion at this moment or later."""
    return f"{DELETED}.{0:015d}.{moment:015d}"


def ended_before(records: Collection[ClerkMembership], moment: int) -> bool:
    """Return whether a membership ended before a moment and no later one exists."""
    ends = [record.rank for record in records if record.is_deleted]
    return bool(ends) and max(ends) < deletion_rank(moment) and current_membership(records) is None
