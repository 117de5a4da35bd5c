"""Events out of a file: as `clerk webhooks listen --json` writes them, or bare, one to a line or in an array.

Read leniently, for such files are written by many programs, and with bounds, for nobody knows what is in a file. What
cannot be read is told by its place, and never by what it says.
"""

import json
from base64 import b64decode
from collections.abc import Generator, Iterator
from itertools import chain
from typing import IO, Any, NamedTuple, cast

from ..core.events import Event, parse_event
from ..core.strict_json import fields
from ..core.webhooks import MAX_BODY
from ..errors import WebhookMalformed

MAX_LINE = 2 * MAX_BODY  # bytes: an event in base64, with its headers
MAX_TEXT = 64 * MAX_BODY  # bytes of one JSON text that goes over several lines: it has to be in memory
_NO_EVENTS = ("ready", "reconnecting")  # what clerk says between the events, of itself

Line = tuple[int, bytes | None]  # its number, and what it says; None where it is too long


class Entry(NamedTuple):
    """What stands in one place: an event, or None where it cannot be read."""

    place: str
    event: Event | None


def event_lines(file: IO[bytes]) -> Iterator[Entry]:
    """All that is in a file, in its order."""
    lines: Iterator[Line] = _lines(file)
    for first in lines:
        # Where the first line opens what it does not close, it is perhaps one text that goes over several lines.
        is_open = first[1] is not None and first[1].lstrip()[:1] in (b"{", b"[") and _json(first[1]) is None
        lines = chain([first], lines) if not is_open else _together(first, lines)
        break
    for number, line in lines:
        value = None if line is None else _json(line)
        if isinstance(value, list):
            for place, each in enumerate(cast(list[Any], value), 1):
                yield from _entry(f"line {number}, event {place}", each)
        else:
            yield from _entry(f"line {number}", value)


def _lines(file: IO[bytes]) -> Generator[Line]:
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) <= MAX_LINE:
            if line.strip():
                yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE)
        yield number, None


def _together(first: Line, lines: Iterator[Line]) -> Iterator[Line]:
    """All lines as one, if that is JSON; otherwise the lines as they are."""
    held, size = [first], 0
    for line in lines:
        held.append(line)
        size += len(line[1] or b"")
        if line[1] is None or size > MAX_TEXT:
            break
    whole = b"".join(line or b"" for _, line in held)
    return iter([(first[0], whole)]) if _json(whole) is not None else chain(held, lines)


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _entry(place: str, value: object) -> Iterator[Entry]:
    said = fields(value)
    if said.get("type") in _NO_EVENTS and "data" not in said:
        return
    try:
        body = b64decode(said["body_b64"], validate=True) if "body_b64" in said else json.dumps(said)
        yield Entry(place, parse_event(body))
    except (WebhookMalformed, ValueError, TypeError):
        yield Entry(place, None)
