"""What may be asked for when everything is read, and what may be noted: checked alike by every repository."""

from collections.abc import Sequence

from ..core.merging import DAY
from ..core.records import Kind
from ..core.writeback import OutboxEntry, OutboxKind
from ..errors import ConfigurationError

# What is kept for good, and so can be listed. Sessions are forgotten.
LISTED: tuple[Kind, ...] = ("user", "organization", "membership")
MOST = 10_000  # in one answer, so that it fits into memory
MAX_NAME = 255  # characters
MAX_NOTE_NAME = 200  # characters
MAX_CHECKPOINT = 65_536  # bytes in UTF-8


def checked_timeout(timeout: float) -> float:
    """Return a number of seconds to wait, or raise `ConfigurationError`."""
    if type(timeout) not in (int, float) or not 0 < timeout <= 3600:
        raise ConfigurationError("timeout must be more than 0 and at most 3600 seconds")
    return timeout


def check_kind(kind: Kind) -> Kind:
    """A kind that can be listed, or `ConfigurationError`."""
    if kind not in LISTED:
        raise ConfigurationError(f"kind must be one of {', '.join(LISTED)}")
    return kind


def check_after(after: str) -> str:
    """Where a page begins, or `ConfigurationError`."""
    if not is_storable(after):
        raise ConfigurationError("after must be the key of the last record of the page before, or empty")
    return after


def check_keys(keys: Sequence[str]) -> Sequence[str]:
    """Several keys, or `ConfigurationError`."""
    if isinstance(keys, str) or len(keys) > MOST or not all(isinstance(key, str) for key in keys):
        raise ConfigurationError(f"keys must be a list of at most {MOST} keys of records")
    return keys


def check_limit(limit: int) -> int:
    """How many are wanted at once, or `ConfigurationError`."""
    if type(limit) is not int or not 1 <= limit <= MOST:
        raise ConfigurationError(f"limit must be a number from 1 to {MOST}: for more, ask for the next page")
    return limit


def check_text(text: str) -> str:
    """What is searched for, or `ConfigurationError`."""
    if not isinstance(text, str):
        raise ConfigurationError("what is searched for must be text: an id, an address or a name")
    return text


def check_checkpoint_name(name: str) -> str:
    """The name of a note, or `ConfigurationError`."""
    if not (isinstance(name, str) and 0 < len(name) <= MAX_NOTE_NAME and name.isprintable()):
        raise ConfigurationError(f"the name of a note must be printable text of at most {MAX_NOTE_NAME} characters")
    return name


def check_checkpoint(text: str | None) -> str | None:
    """The text of a note, or `ConfigurationError`."""
    if text is not None and not (is_storable(text) and len(text.encode()) <= MAX_CHECKPOINT):
        raise ConfigurationError(
            f"a note must be text of at most {MAX_CHECKPOINT} bytes in UTF-8, or None to remove it"
        )
    return text


def check_names(*names: str) -> None:
    """An instance's name and an id of Clerk's, or `ConfigurationError`. Nothing else tells that one was left empty."""
    if not all(isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable() for name in names):
        raise ConfigurationError(
            f"an instance and an id of Clerk's are printable text of at most {MAX_NAME} characters"
        )


def check_outbox_entry(before: OutboxEntry | None, after: OutboxEntry | None) -> tuple[str, str, str]:
    """Which thing two states are of, or `ConfigurationError`."""
    places = {(each.instance, each.kind, each.key) for each in (before, after) if each is not None}
    if len(places) != 1:
        raise ConfigurationError("before and after must be of the same thing, and one of them must be there")
    return places.pop()


def check_outbox_kind(kind: OutboxKind) -> OutboxKind:
    """A kind of what is yours and Clerk's, or `ConfigurationError`."""
    if kind not in ("user", "organization"):
        raise ConfigurationError("kind must be user or organization")
    return kind


def check_purge(before: int, now: int, kept: int) -> int:
    """Of what age tombstones may be forgotten, or `ConfigurationError`. A token that was made while somebody was there
    still works against a tombstone, and would make them anew without it."""
    if type(before) is not int or not 0 <= before <= now - kept:
        raise ConfigurationError(
            f"before must be a time in milliseconds, and at least {kept / DAY:g} days ago: "
            "max_token_lifetime and two days more"
        )
    return before


def is_storable(text: object) -> bool:
    """Whether it is text that every database stores: no zero character, and no half of a surrogate pair."""
    return isinstance(text, str) and "\x00" not in text and text.encode("utf-8", "ignore").decode() == text


def folded(text: str) -> str:
    """The same text with the capital letters of ASCII made small: what every database makes of it, whatever its
    locale."""
    return text.encode().lower().decode()
