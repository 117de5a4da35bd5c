"""Checks of arguments that every repository shares: for pages, searches, checkpoints, the outbox and purges."""

from collections.abc import Sequence
from datetime import datetime

from ..core.records import MAX_TIME, Kind
from ..core.times import to_milliseconds
from ..core.tombstone_retention import DAY
from ..core.writeback import OutboxEntry, OutboxKind
from ..errors import ConfigurationError

# These kinds are kept for good, and so can be listed. Sessions are forgotten.
LISTED: tuple[Kind, ...] = ("user", "organization", "membership")
MOST = 10_000  # rows in one result, so that it fits into memory
MAX_NAME = 255  # characters
MAX_NOTE_NAME = 200  # characters
MAX_CHECKPOINT = 65_536  # bytes in UTF-8


def checked_timeout(timeout: float) -> float:
    """Return a timeout in seconds, or raise `ConfigurationError`."""
    if type(timeout) not in (int, float) or not 0 < timeout <= 3600:
        raise ConfigurationError("timeout must be more than 0 and at most 3600 seconds")
    return timeout


def not_a_connection(wanted: str, connection: object) -> ConfigurationError:
    """Return the error for an argument of `within` that is no connection of the driver."""
    repository = "AsyncSqlAlchemyRepository" if "Async" in wanted else "SqlAlchemyRepository"
    return ConfigurationError(
        f"within() takes a {wanted}, not {type(connection).__name__}; for sessions of SQLAlchemy make the repository "
        f"with {repository}(engine)"
    )


def check_kind(kind: Kind) -> Kind:
    """Return a kind that can be listed, or raise `ConfigurationError`."""
    if kind not in LISTED:
        raise ConfigurationError(f"kind must be one of {', '.join(LISTED)}")
    return kind


def check_after(after: str) -> str:
    """Return the key before a page, or raise `ConfigurationError`."""
    if not is_storable(after):
        raise ConfigurationError("after must be the key of the last record of the previous page, or empty")
    return after


def check_role_filter(role: str | None) -> str | None:
    """Return the role that a list is limited to, or raise `ConfigurationError`."""
    if role is not None and not is_storable(role):
        raise ConfigurationError("role must be text such as 'org:admin', or None for every role")
    return role


def check_keys(keys: Sequence[str]) -> Sequence[str]:
    """Return the keys, or raise `ConfigurationError`."""
    if isinstance(keys, str) or len(keys) > MOST or not all(isinstance(key, str) for key in keys):
        raise ConfigurationError(f"keys must be a list of at most {MOST} record keys")
    return keys


def check_limit(limit: int) -> int:
    """Return the size of a page, or raise `ConfigurationError`."""
    if type(limit) is not int or not 1 <= limit <= MOST:
        raise ConfigurationError(f"limit must be an integer from 1 to {MOST}: for more, request the next page")
    return limit


def check_checkpoint_name(name: str) -> str:
    """Return the name of a checkpoint, or raise `ConfigurationError`."""
    if not (isinstance(name, str) and 0 < len(name) <= MAX_NOTE_NAME and name.isprintable()):
        raise ConfigurationError(
            f"the name of a checkpoint must be printable text of at most {MAX_NOTE_NAME} characters"
        )
    return name


def check_checkpoint(text: str | None) -> str | None:
    """Return the text of a checkpoint, or raise `ConfigurationError`."""
    if text is not None and not (is_storable(text) and len(text.encode()) <= MAX_CHECKPOINT):
        raise ConfigurationError(
            f"a checkpoint must be text of at most {MAX_CHECKPOINT} bytes in UTF-8, or None to remove it"
        )
    return text


def check_names(*names: str) -> None:
    """Raise `ConfigurationError` if an instance's name or a Clerk id is no text or empty. No other check finds that."""
    if not all(isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable() for name in names):
        raise ConfigurationError(
            f"an instance name and a Clerk id must be printable text of 1 to {MAX_NAME} characters"
        )


def check_outbox_entry(before: OutboxEntry | None, after: OutboxEntry | None) -> tuple[str, str, str]:
    """Return the place of the outbox entry in two states, or raise `ConfigurationError`."""
    places = {(each.instance, each.kind, each.key) for each in (before, after) if each is not None}
    if len(places) != 1:
        raise ConfigurationError(
            "before and after must belong to the same outbox entry, and only one of them may be None"
        )
    return places.pop()


def check_outbox_kind(kind: OutboxKind) -> OutboxKind:
    """Return a kind that the outbox can hold, or raise `ConfigurationError`."""
    if kind not in ("user", "organization"):
        raise ConfigurationError("kind must be user or organization")
    return kind


def check_due(due: datetime | None) -> int:
    """Return the time until which outbox entries are due, in milliseconds, or raise `ConfigurationError`."""
    return MAX_TIME if due is None else to_milliseconds(due, "due")


def check_purge(before: datetime, now: int, kept: int) -> int:
    """Return the time in milliseconds of the oldest tombstones to keep, or raise `ConfigurationError`. A token from
    before the deletion meets the tombstone. Without the tombstone it would make the user again."""
    moment = to_milliseconds(before, "before")
    if not 0 <= moment <= now - kept:
        raise ConfigurationError(
            f"before must be at least {kept / DAY:g} days ago: max_token_lifetime and two days more"
        )
    return moment


def is_storable(text: object) -> bool:
    """Return whether every database stores this text: it has no zero character, and no half of a surrogate pair."""
    return isinstance(text, str) and "\x00" not in text and text.encode("utf-8", "ignore").decode() == text


def lower_ascii(text: str) -> str:
    """Return the text with ASCII capitals in lower case, as every database does in any locale."""
    return text.encode().lower().decode()
