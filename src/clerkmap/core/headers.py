"""Headers, out of whatever a framework calls headers: a mapping, a message, or pairs of text or bytes.

Nothing is decided here. What cannot be read is a ValueError whose text quotes nothing of it.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

Headers = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]


def collect(headers: Any, names: Collection[str]) -> dict[str, list[str]]:
    """The values of some headers, by name in lower case, in the order in which they were sent."""
    try:
        pairs = [(name, value) for name, value in (headers.items() if hasattr(headers, "items") else headers)]
    except (TypeError, ValueError):
        raise ValueError("headers are a mapping, or pairs of a name and a value") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        text = as_text(name)
        lowered = text.lower()
        # Some letters beyond ASCII become ASCII in lower case, and two spellings must not be one header.
        if lowered in names and text.isascii():
            found.setdefault(lowered, []).append(as_text(value))
    return found


def as_text(value: object) -> str:
    """Text as it is, and bytes with one character for each, which no byte can fail."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str):
        return value
    raise ValueError("a header is no text")
