"""What several records amount to: of one user's identities, or of one person in one organization."""

import json
from collections.abc import Collection, Iterable

from .records import DELETED, EMBEDDED, FROM_TOKEN, FULL, ClerkMembership, ClerkUser, Record

TEST_ADDRESS = "+clerk_test"  # such an address is verified with a code that everybody knows
MAX_ROLE = 255  # characters
# Clerk's session tokens live for a minute. Some applications have Clerk make tokens that live longer.
MAX_TOKEN_LIFETIME = 28 * 86_400  # seconds, by default
DAY = 86_400_000  # milliseconds


def current_membership(records: Collection[ClerkMembership]) -> ClerkMembership | None:
    """Of all that was said of one person in one organization, the membership that counts now, if there is one.

    A membership that was left is over, and one joined later is another, with another id. A sighting has no id: it
    counts where nothing better is known, and against a removal only if its token was made after it.

    A membership was joined after a removal if its date says so, or if Clerk still showed it after the removal: Clerk's
    dates may go backwards.
    """
    # Nobody is a member twice: one who has left a later membership had left the earlier ones, whether or not we heard.
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
    """What stands of one person in one organization: the membership that counts, or else the tombstone of the last."""
    over = max((record for record in records if record.is_deleted), key=lambda record: record.rank, default=None)
    return current_membership(records) or over


def verified_address(record: ClerkUser) -> str | None:
    """The primary address, with small ASCII letters, if the person has proved that it is theirs."""
    if not record.email_verified or not record.email:
        return None
    address = record.email.encode().lower().decode()
    return None if TEST_ADDRESS in address else address


def is_role(role: object) -> bool:
    """Whether it is a word that any database stores."""
    return isinstance(role, str) and 0 < len(role) <= MAX_ROLE and role.isprintable()


def role_in_metadata(record: ClerkUser) -> str | None:
    """The role that `public_metadata.role` names, if it does."""
    if '"role"' not in record.public_metadata:
        return None
    role: str | None = json.loads(record.public_metadata).get("role")
    return role if is_role(role) else None


def speaks_first(record: Record) -> tuple[bool, str]:
    """Of several identities of one user, the greatest by this speaks for them: one that is alive, before any other."""
    return not record.is_deleted, record.rank


def deleted_at(identities: Iterable[Record]) -> int | None:
    """When a user went: with the last of the identities. None while one is left."""
    times = [record.observed_at if record.is_deleted else None for record in identities]
    gone = [time for time in times if time is not None]
    return max(gone) if gone and len(gone) == len(times) else None


def tombstones_kept(max_token_lifetime: float) -> int:
    """Return for how many milliseconds a tombstone is needed: until the last token that it refuses has expired.

    A lease may outlive its token by a day, and clocks differ; so it is two days more than a token may live.
    """
    return int(max_token_lifetime * 1000) + 2 * DAY


def forgotten_below(now: int, kept: int) -> str:
    """The rank under which the end of a session need not be remembered: its tokens have expired long ago."""
    return deleted_before(max(0, now - kept))


def deleted_before(moment: int) -> str:
    """The rank under which are the tombstones of what was deleted before a moment, and all that is no tombstone."""
    return f"{DELETED}.{0:015d}.{moment:015d}"


def is_over(records: Collection[ClerkMembership], moment: int) -> bool:
    """Whether somebody has left an organization before a moment, and not come back."""
    ends = [record.rank for record in records if record.is_deleted]
    return bool(ends) and max(ends) < deleted_before(moment) and current_membership(records) is None
