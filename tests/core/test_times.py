"""Times at the surface have a time zone, and records count milliseconds."""

from datetime import UTC, datetime

import pytest

from clerkmap import ConfigurationError
from clerkmap.core.times import to_datetime, to_milliseconds


@pytest.mark.parametrize("milliseconds", [0, 1, 1_718_887_200_123])
def test_there_and_back(milliseconds: int) -> None:
    """No millisecond is lost."""
    moment = to_datetime(milliseconds)
    assert moment is not None
    assert moment.tzinfo is UTC
    assert to_milliseconds(moment) == milliseconds


def test_what_is_no_time_is_refused() -> None:
    """A time without a zone could be any of twenty-four."""
    assert to_datetime(None) is None
    odd: list[object] = [datetime(2026, 1, 1), 1_718_887_200, "2026-01-01", None]
    for value in odd:
        with pytest.raises(ConfigurationError, match="before must be a datetime with a time zone"):
            to_milliseconds(value, "before")  # type: ignore[arg-type]
