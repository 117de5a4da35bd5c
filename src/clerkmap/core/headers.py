"""Reading headers out of a mapping, a message, or pairs of text or bytes: one pass, and no work beyond a limit.

Every way into clerkmap reads headers here. Nothing is decided here; what cannot be read is a ValueError whose text
quotes nothing of it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

Headers = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]

Values = tuple[dict[str, str], dict[str, list[str]]]


def read_headers(headers: Any, names: Mapping[str, str], most: int) -> Values:
    """Read some headers from any form that a framework has them in. See `read_pairs`."""
    try:
        pairs = [(as_text(name), value) for name, value in (headers.items() if hasattr(headers, "items") else headers)]
    except (TypeError, ValueError):
        raise ValueError("headers are a mapping, or pairs of a name and a value") from None
    # Some letters beyond ASCII become ASCII in lower case, and two spellings must not be one header.
    return read_pairs([(name, value) for name, value in pairs if name.isascii()], names, most)


def read_pairs(pairs: Iterable[tuple[Any, Any]], names: Mapping[Any, str], most: int) -> Values:
    """Read some headers in one pass over all of them.

    A value is cut, and further values of a repeated header are left out, once there are `most` + 1 characters of that
    header, so a length above `most` means that there was more. Whatever is behind that is not looked at.

    Args:
        pairs: The headers. All names are of one type: text of ASCII, or bytes.
        names: The wanted names in lower case, as text or bytes, each with the name to return it under.
        most: The limit of characters of one header, its repetitions included.

    Returns:
        The first value of each header, and the further values of each header that was repeated, in their order.
    """
    first: dict[str, str] = {}
    further: dict[str, list[str]] = {}
    room: dict[str, int] = {}
    enough = most + 1
    find = names.get
    for name, value in pairs:
        known = find(name.lower())
        if known is None:
            continue
        if known not in first:
            first[known] = value[:enough].decode("latin-1") if isinstance(value, bytes) else as_text(value, enough)
            continue
        left = room.get(known)
        if left is None:
            left, further[known] = enough - len(first[known]), []
        if left > 0:
            text = as_text(value, left)
            further[known].append(text)
            left -= len(text) + 1  # a repetition without text takes room, too
        room[known] = left
    return first, further


def as_text(value: object, most: int | None = None) -> str:
    """Return the beginning of a text, or of bytes with one character for each, which no byte can fail."""
    if isinstance(value, bytes):
        return value[:most].decode("latin-1")
    if isinstance(value, str):
        return value[:most]
    raise ValueError("a header is no text")
