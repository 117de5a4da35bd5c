"""The rows of a file, one after the other, in memory that does not grow with it: JSON lines, lists in JSON, and CSV.

Only where a row begins and ends is found out here, and what it says as JSON or in columns. A row that is too long, or
cannot be read, is told by its line, and reading goes on behind it.
"""

import csv
import os
import re
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, NamedTuple

from ..core.events import MAX_BODY_DEPTH
from ..core.strict_json import read_object
from ..errors import ConfigurationError

PIECE = 65_536  # bytes that are read at once, or fewer to the end of a line
MAX_ROW = 2_097_152  # bytes; a webhook of the greatest length, in base64, with its headers
MAX_CELLS = 65_536  # bytes of a row of CSV, which may go over several lines

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MARK = re.compile(rb'[\\"{}\[\]\n]')
_BETWEEN = b" \t\r\n,"


File = str | os.PathLike[str] | Iterable[bytes]


class Row(NamedTuple):
    """A row: the line it begins in, what it says, and its text, where that is JSON. What cannot be read says None."""

    line: int
    said: dict[str, Any] | None
    text: bytes = b""

    def __repr__(self) -> str:
        return f"Row(line {self.line})"


@contextmanager
def opened(file: File, observed_at: float | None, now: float) -> Generator[tuple[Iterator[bytes], int]]:
    """The pieces of a file, and the moment that it speaks of, in milliseconds."""
    if observed_at is not None and (type(observed_at) not in (int, float) or not 0 <= observed_at <= now):
        raise ConfigurationError("observed_at is when the file was written: seconds since 1970, and not in the future")
    if not isinstance(file, (str, os.PathLike)):
        moment = _changed_at(file, now) if observed_at is None else observed_at
        yield pieces_of(file), int(moment * 1000)
        return
    try:
        found = open(file, "rb")  # noqa: SIM115 - it is closed below; what is raised inside is not ours to explain
    except (OSError, ValueError) as error:
        raise _not_read(error) from None
    with found:
        moment = _changed_at(found, now) if observed_at is None else observed_at
        yield pieces_of(found), int(moment * 1000)


def _changed_at(file: Any, now: float) -> float:
    """When a file was last changed; 0 for what is no file on a disk."""
    try:
        status = os.fstat(file.fileno())
    except (AttributeError, OSError, ValueError):
        return 0
    return min(max(status.st_mtime, 0), now) if stat.S_ISREG(status.st_mode) else 0


def pieces_of(file: Iterable[bytes]) -> Iterator[bytes]:
    """A file in pieces, none of them beyond the end of a line."""
    read: Callable[[int], bytes] | None = getattr(file, "readline", None)
    pieces = iter(file) if read is None else iter(lambda: read(PIECE), b"")
    try:
        for piece in pieces:
            if not isinstance(piece, bytes):
                raise ConfigurationError("the file must be open for bytes")
            yield piece
    except OSError as error:
        raise _not_read(error) from None


def _not_read(error: Exception) -> ConfigurationError:
    return ConfigurationError(f"the file cannot be read: {getattr(error, 'strerror', None) or 'its name is none'}")


def rows_of(pieces: Iterator[bytes]) -> Iterator[Row]:
    """The rows of a file that comes in pieces, each a line or a part of one.

    Raises `ConfigurationError` for what is neither JSON nor a table with ids.
    """
    line, first = 1, b""
    for first in pieces:
        first = first.removeprefix(_BYTE_ORDER_MARK) if line == 1 else first
        if first.strip():
            break
        line += first.endswith(b"\n")
    pieces = chain([first], pieces)
    sign = first.lstrip()[:1]
    if sign == first.rstrip() == b"{" and first.endswith(b"\n"):  # objects that go over several lines each
        yield from _elements(chain([b"["], pieces, [b"]"]), line)
    elif sign == b"[":
        yield from _elements(pieces, line)
    elif sign == b"{":
        yield from _objects(pieces, line)
    elif sign:
        yield from _table(pieces, line)


def _lines(pieces: Iterator[bytes], line: int) -> Iterator[tuple[int, bytes | None]]:
    """Whole lines with their numbers; None for one that is too long."""
    held = bytearray()
    for piece in pieces:
        _hold(held, piece)
        if piece.endswith(b"\n"):
            yield line, _whole(held)
            held.clear()
            line += 1
    if held:
        yield line, _whole(held)


def _objects(pieces: Iterator[bytes], line: int) -> Iterator[Row]:
    """A JSON object in each line."""
    for number, text in _lines(pieces, line):
        if text is None or text.strip():
            yield _row(number, text)


def _elements(pieces: Iterator[bytes], line: int) -> Iterator[Row]:
    """The elements of a list in JSON, or of several lists one behind the other."""
    depth, quoted, escaped = 0, False, -1
    held, first, stray = bytearray(), line, 0  # the line of what is no element, if there is any
    for piece in pieces:
        begin = 0
        for mark in _MARK.finditer(piece):
            at, sign = mark.start(), mark[0]
            if depth <= 1 and not quoted:  # between two elements
                stray = stray or line * _is_there(piece[begin:at])
                begin = at
            if sign == b"\n":
                line += 1
            elif at == escaped:
                pass
            elif quoted:
                quoted = sign != b'"'
                escaped = at + 1 if sign == b"\\" else escaped
                begin = begin if depth > 1 else at + 1
            elif sign == b'"':
                quoted = True
                stray = stray if depth > 1 else stray or line
            elif sign in b"{[":
                if depth <= 1:
                    begin, first = at + 1 - depth, line
                depth += 1
            elif sign in b"}]":
                depth = max(0, depth - 1)
                if stray and depth <= 1:
                    yield Row(stray, None)
                    stray = 0
                if depth == 1:
                    _hold(held, piece[begin : at + 1])
                    yield _row(first, _whole(held))
                    held.clear()
                begin = begin if depth > 1 else at + 1
        if depth > 1:
            _hold(held, piece[begin:])
        elif not quoted:
            stray = stray or line * _is_there(piece[begin:])
        escaped -= len(piece)
    if stray or depth:
        yield Row(stray or first, None)  # it is torn off


def _table(pieces: Iterator[bytes], line: int) -> Iterator[Row]:
    """CSV, whose first row names the columns. The cells of each row, by the names of their columns."""
    names: list[str] | None = None
    held, first, last = b"", line, line
    for number, text in chain(_lines(pieces, line), [(0, b"")]):  # one more, behind the last
        first, last = first if held else number, number or last
        held += text or b""
        if number and text is not None and held.count(b'"') % 2 and len(held) <= MAX_CELLS:
            continue  # what stands in quotes may go over several lines
        if text is None or held.strip():
            cells = _cells(held) if text is not None else None
            if names is None:
                names = _names(cells)
            elif cells is not None and len(cells) == len(names):
                yield Row(first, dict(zip(names, cells, strict=True)))
            else:
                yield from (Row(each, None) for each in range(first, last + 1))
        held = b""


def _names(cells: list[str] | None) -> list[str]:
    names = [cell.strip().lower() for cell in cells or ()]
    if "id" not in names or len(names) != len(set(names)):
        raise ConfigurationError(
            "the file is neither JSON nor a table whose first row names its columns, id among them"
        )
    return names


def _cells(text: bytes) -> list[str] | None:
    try:
        return next(csv.reader([text.decode("utf-8")], strict=True))
    except (csv.Error, ValueError):
        return None


def _row(line: int, text: bytes | None) -> Row:
    if text is None:
        return Row(line, None)
    text = text.strip(_BETWEEN)
    try:
        return Row(line, read_object(text, max_depth=MAX_BODY_DEPTH, half_characters=True), text)
    except ValueError:
        return Row(line, None)


def _hold(held: bytearray, piece: bytes) -> None:
    """Keep a piece of a row, unless the row is too long already."""
    if len(held) <= MAX_ROW:
        held += piece


def _whole(held: bytearray) -> bytes | None:
    return bytes(held) if len(held) <= MAX_ROW else None


def _is_there(text: bytes) -> bool:
    """Whether there is anything but what may stand between two elements."""
    return bool(text.strip(_BETWEEN))
