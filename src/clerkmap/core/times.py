"""Times: `datetime` in UTC in your code, and milliseconds since 1970 in records and tables."""

from datetime import UTC, datetime, timedelta
from typing import overload

from ..errors import ConfigurationError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# The years 1 and 9999. A record may hold an odd time of Clerk's, and reading it must not fail.
_EARLIEST, _LATEST = -62_135_596_800_000, 253_402_300_799_999
# Before the year 2109 seconds as a float are exact to half a microsecond. A list makes many times, and this way takes a
# third of the time.
_EXACT = 1 << 42


@overload
def to_datetime(milliseconds: int) -> datetime: ...
@overload
def to_datetime(milliseconds: int | None) -> datetime | None: ...
def to_datetime(milliseconds: int | None) -> datetime | None:
    """Return the time of these milliseconds since 1970, or the nearest that a `datetime` can hold. None stays None."""
    if milliseconds is None:
        return None
    if 0 <= milliseconds < _EXACT:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    return _EPOCH + timedelta(milliseconds=max(_EARLIEST, min(milliseconds, _LATEST)))


def to_milliseconds(moment: datetime, name: str = "a time") -> int:
    """Return the whole milliseconds since 1970, or raise `ConfigurationError` if this is no time with a time zone."""
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ConfigurationError(f"{name} must be a datetime with a time zone, such as datetime.now(UTC)")
    return (moment - _EPOCH) // _MILLISECOND


def to_text(milliseconds: int | None) -> str | None:
    """Return the time in ISO 8601, or None."""
    return None if milliseconds is None else to_datetime(milliseconds).isoformat()
