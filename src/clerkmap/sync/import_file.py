"""Import a file into the repository: an export from Clerk, objects of its API, or recorded events.

    report = backfill_file("users.csv", repository, instance=instance)

The file is read row by row, in constant memory. Each row is stored like a webhook delivery, with the date of the file:
newer records stay. A record that is absent from the file is not deleted; only an event can delete a record.

    CSV               the dashboard's export of users
    a list in JSON    users, organizations and memberships, as the API shows them, or an export of users
    JSON lines        the same objects, or events, in Clerk's format or that of `clerk webhooks listen --json`

An export has less data than Clerk's API; for example, no bans. So it creates missing rows, and never replaces other
data from Clerk. Passwords are ignored.
"""

import asyncio
import base64
import csv
import os
import re
import stat
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

from ..clerk.endpoints import Shape
from ..core.deliveries import is_delivery_id
from ..core.events import CLOCKS, MAX_BODY_DEPTH, Event, Unreadable, parse_event, records_of
from ..core.instance import Instance
from ..core.model import Change
from ..core.records import COLUMNS, FROM_TOKEN, AnyRecord, ClerkUser, Kind
from ..core.strict_json import fields, items, read_object
from ..core.times import to_milliseconds
from ..errors import ConfigurationError, WebhookMalformed
from ..ports import AsyncRepository, Repository
from .job import OnProgress, Progress, Report

PIECE = 65_536  # bytes to read at once, at most to the end of a line
MAX_ROW = 2_097_152  # bytes: a webhook of maximum size, in base64, with its headers
MAX_CELLS = 65_536  # bytes of a CSV row, which may span several lines

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MARK = re.compile(rb'[\\"{}\[\]\n]')
_BETWEEN = b" \t\r\n,"

File = str | os.PathLike[str] | Iterable[bytes]

BATCH = 500  # records that are stored at once
MOST_LINES = 1_000  # unreadable lines that are listed; all are counted

_KIND_OF: dict[object, Kind] = {"user": "user", "organization": "organization", "organization_membership": "membership"}
_STAGE_OF: dict[Kind, str] = {kind: f"{kind}s" for kind in COLUMNS}
_CONTENT = COLUMNS["user"][4:]  # all columns but those of the rank
# The fields that Clerk always sends. An object without one of them is incomplete in other fields, too.
_ALWAYS: dict[Kind, tuple[str, ...]] = {
    "user": (
        *("first_name", "last_name", "username", "external_id", "primary_email_address_id", "email_addresses"),
        *("banned", "public_metadata", "created_at", "updated_at"),
    ),
    "organization": ("name", "public_metadata", "created_at", "updated_at"),
    "membership": ("role", "organization", "created_at", "updated_at"),
}
_SEPARATORS = re.compile(r"[|,;\s]+")


class FileRow(NamedTuple):
    """A row: its first line, its content, and its text if that is JSON. The content of an unreadable row is None."""

    line: int
    said: dict[str, Any] | None
    text: bytes = b""

    def __repr__(self) -> str:
        return f"FileRow(line {self.line})"


@dataclass(slots=True)
class FileReport(Report):
    """The result of a file import.

    `partial` is the number of rows with less data about a user than Clerk's API has. `ignored` is the number of events
    about objects that clerkmap does not store. `elsewhere` is the number of events of another instance.
    `unreadable_lines` has the first line of each of the first thousand unreadable rows.
    """

    partial: int = 0
    ignored: int = 0
    elsewhere: int = 0
    unreadable_lines: list[int] = field(default_factory=list[int])


def backfill_file(
    file: File,
    repository: Repository,
    *,
    instance: Instance,
    observed_at: datetime | None = None,
    progress: OnProgress | None = None,
    clock: Callable[[], float] = time.time,
) -> FileReport:
    """Store the records of a file. A forged file can impersonate any user: use a file that comes from Clerk.

    Args:
        file: The path; or a file object, open for bytes; or the lines, each as bytes with its line end.
        repository: The repository to write to.
        instance: The instance of the file.
        observed_at: The time when the file was written. The default is the time of its last
            change. A file that is not on a disk has no such time: there, the stored record wins if both are equally
            new. Events have their own time.
        progress: Called with the progress.
        clock: The time, in seconds since 1970.
    """
    now = clock()
    with opened(file, observed_at, now) as (pieces, moment):
        taking = _FileImport(instance, moment, now, progress)
        for batch in taking.batches(pieces):
            taking.count(repository.put(batch))
    return taking.report


async def abackfill_file(
    file: File,
    repository: AsyncRepository,
    *,
    instance: Instance,
    observed_at: datetime | None = None,
    progress: OnProgress | None = None,
    clock: Callable[[], float] = time.time,
) -> FileReport:
    """Do the same in async code. The file is read in a thread."""
    now = clock()
    with opened(file, observed_at, now) as (pieces, moment):
        taking = _FileImport(instance, moment, now, progress)
        batches = taking.batches(pieces)
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            taking.count(await repository.put(batch))
    return taking.report


def event_of(row: FileRow) -> Event | None:
    """Return the event in a row, in Clerk's format or that of `clerk webhooks listen --json`; None for other rows.

    Raises:
        WebhookMalformed: The event is malformed.
        Unreadable: The base64 of the event is malformed.
    """
    said = row.said or {}
    if "body_b64" in said:
        return parse_event(_decoded(said["body_b64"]))
    return parse_event(row.text) if "type" in said and "data" in said else None


def delivery_id_of(row: FileRow) -> str | None:
    """Return the id of the delivery in a row of `clerk webhooks listen --json`, or None."""
    id = (row.said or {}).get("svix_id")
    return id if is_delivery_id(id) else None


def is_status_line(said: Shape) -> bool:
    """Return whether this is a status line of `clerk webhooks listen --json`, between the events."""
    return said.get("type") in ("ready", "reconnecting") and "data" not in said


class _FileImport:
    """One import of a file."""

    def __init__(self, instance: Instance, observed_at: int, now: float, progress: OnProgress | None) -> None:
        self._instance = instance
        self._observed_at = observed_at
        self._now = int(now * 1000)
        self._latest = (observed_at or self._now) + CLOCKS
        self._progress = progress
        self._listed, self._changed = Counter[str](), Counter[str]()
        self.report: FileReport = FileReport()

    def batches(self, pieces: Iterator[bytes]) -> Iterator[list[AnyRecord]]:
        """Yield the records in batches that are stored at once."""
        batch, number = list[AnyRecord](), 0
        for number, row in enumerate(rows_of(pieces), 1):
            try:
                records = self._records(row)
            except (Unreadable, WebhookMalformed):
                self._pass_over(row.line)
                continue
            self._listed.update(_STAGE_OF[record.kind] for record in records[-1:])
            batch += records
            if len(batch) >= BATCH:
                yield batch
                batch = []
                self._told(number)
        if batch:
            yield batch
        self._told(number)

    def count(self, changes: list[Change]) -> None:
        """Count the changes of a batch."""
        self._changed.update(_STAGE_OF[change.after.clerk.kind] for change in changes if not change.follows)
        self.report.listed, self.report.changed = dict(self._listed), dict(self._changed)

    def _records(self, row: FileRow) -> list[AnyRecord]:
        said = row.said
        if said is None:
            raise Unreadable("it is neither JSON nor a row of the CSV table")
        if is_status_line(said):
            return []
        event = event_of(row)
        if event is not None:
            return self._event(event)
        what = said.get("object", "user")
        kind = _KIND_OF.get(what) if isinstance(what, str) else None
        if kind is None or said.get("deleted"):  # a deletion here has no date
            raise Unreadable("it must be a user, an organization or a membership")
        if "object" in said and _is_whole(kind, said):
            return records_of(kind, self._instance.name, said, self._observed_at, latest=self._latest)
        if kind != "user":
            raise Unreadable("a field is missing that Clerk's API always has")
        record = self._token_record(said)
        self.report.partial += 1
        return [record]

    def _event(self, event: Event) -> list[AnyRecord]:
        if self._instance.is_another(event.instance_id):
            self.report.elsewhere += 1
            return []
        records = event.not_after(self._now).records(self._instance.name)
        self.report.ignored += not records
        return records

    def _token_record(self, said: Shape) -> ClerkUser:
        """Return a partial record of a user. It ranks below all other data from Clerk."""
        said = {name: value if value != "" else None for name, value in said.items()}
        if "email_addresses" not in said:
            said = {**said, "primary_email_address_id": "primary", "email_addresses": [_primary_address(said)]}
        read = records_of("user", self._instance.name, said, self._observed_at)[0]
        content = {name: getattr(read, name) for name in _CONTENT}
        return ClerkUser.make(FROM_TOKEN, read.instance, str(read.clerk_id), observed_at=self._observed_at, **content)

    def _pass_over(self, line: int) -> None:
        self.report.unreadable += 1
        if len(self.report.unreadable_lines) < MOST_LINES:
            self.report.unreadable_lines.append(line)

    def _told(self, rows: int) -> None:
        if self._progress is not None:
            self._progress(Progress("file", rows, None))


def _is_whole(kind: Kind, said: Shape) -> bool:
    """Return whether this is a complete object in the API's format."""
    if not all(name in said for name in _ALWAYS[kind]):
        return False
    if type(said["updated_at"]) is not int or not isinstance(said.get("email_addresses", []), list):
        return False
    return kind != "membership" or _is_whole("organization", fields(said["organization"]))


def _primary_address(said: Shape) -> Shape:
    """Return the address of an export in the API's format. An address is verified if only the verified list has it."""
    address = said.get("primary_email_address")
    verified, unverified = (_addresses(said.get(f"{name}_email_addresses")) for name in ("verified", "unverified"))
    is_verified = address in verified and address not in unverified
    return {"id": "primary", "email_address": address, "verification": {"status": "verified" if is_verified else None}}


def _addresses(value: object) -> list[Any]:
    return _SEPARATORS.split(value) if isinstance(value, str) else items(value)


def _decoded(text: object) -> bytes:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError:
        raise Unreadable("body_b64 must be base64") from None


# The functions below find the rows of a file. A row that is too long or unreadable is reported by its line, and reading
# continues after it.


@contextmanager
def opened(file: File, observed_at: datetime | None, now: float) -> Generator[tuple[Iterator[bytes], int]]:
    """Yield the pieces of a file, and the date of its data in milliseconds."""
    written_at = None if observed_at is None else to_milliseconds(observed_at, "observed_at")
    if written_at is not None and not 0 <= written_at <= now * 1000:
        raise ConfigurationError("observed_at must be when the file was written, and not in the future")
    if not isinstance(file, (str, os.PathLike)):
        yield pieces_of(file), _changed_at(file, now) if written_at is None else written_at
        return
    try:
        found = open(file, "rb")  # noqa: SIM115 - closed below; errors of the caller's block must pass unchanged
    except (OSError, ValueError) as error:
        raise _not_read(error) from None
    with found:
        yield pieces_of(found), _changed_at(found, now) if written_at is None else written_at


def _changed_at(file: Any, now: float) -> int:
    """Return the time of a file's last change in milliseconds, or 0 if it is not on a disk."""
    try:
        status = os.fstat(file.fileno())
    except (AttributeError, OSError, ValueError):
        return 0
    return int(min(max(status.st_mtime, 0), now) * 1000) if stat.S_ISREG(status.st_mode) else 0


def pieces_of(file: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a file in pieces. No piece goes beyond the end of a line."""
    read: Callable[[int], bytes] | None = getattr(file, "readline", None)
    pieces = iter(file) if read is None else iter(lambda: read(PIECE), b"")
    try:
        for piece in pieces:
            if not isinstance(piece, bytes):
                raise ConfigurationError("the file must be open in binary mode")
            yield piece
    except OSError as error:
        raise _not_read(error) from None


def _not_read(error: Exception) -> ConfigurationError:
    return ConfigurationError(f"the file cannot be read: {getattr(error, 'strerror', None) or 'invalid file name'}")


def rows_of(pieces: Iterator[bytes]) -> Iterator[FileRow]:
    """Yield the rows of a file from its pieces. Each piece is a line or a part of a line.

    Raises:
        ConfigurationError: The file is neither JSON nor a table with ids.
    """
    line, first = 1, b""
    for first in pieces:
        first = first.removeprefix(_BYTE_ORDER_MARK) if line == 1 else first
        if first.strip():
            break
        line += first.endswith(b"\n")
    pieces = chain([first], pieces)
    sign = first.lstrip()[:1]
    if sign == first.rstrip() == b"{" and first.endswith(b"\n"):  # each object spans several lines
        yield from _elements(chain([b"["], pieces, [b"]"]), line)
    elif sign == b"[":
        yield from _elements(pieces, line)
    elif sign == b"{":
        yield from _objects(pieces, line)
    elif sign:
        yield from _table(pieces, line)


def _lines(pieces: Iterator[bytes], line: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield complete lines with their numbers. A line that is too long is None."""
    held = bytearray()
    for piece in pieces:
        _hold(held, piece)
        if piece.endswith(b"\n"):
            yield line, _whole(held)
            held.clear()
            line += 1
    if held:
        yield line, _whole(held)


def _objects(pieces: Iterator[bytes], line: int) -> Iterator[FileRow]:
    """Yield the JSON object of each line."""
    for number, text in _lines(pieces, line):
        if text is None or text.strip():
            yield _row(number, text)


def _elements(pieces: Iterator[bytes], line: int) -> Iterator[FileRow]:
    """Yield the elements of a JSON list, or of several lists in sequence."""
    depth, quoted, escaped = 0, False, -1
    held, first, stray = bytearray(), line, 0  # the line of text outside elements, or 0
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
                    yield FileRow(stray, None)
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
        yield FileRow(stray or first, None)  # the file is truncated


def _table(pieces: Iterator[bytes], line: int) -> Iterator[FileRow]:
    """Yield each row of a CSV file as a dictionary. The first row has the names of the columns."""
    names: list[str] | None = None
    held, first, last = b"", line, line
    for number, text in chain(_lines(pieces, line), [(0, b"")]):  # a last empty line ends the last row
        first, last = first if held else number, number or last
        held += text or b""
        if number and text is not None and held.count(b'"') % 2 and len(held) <= MAX_CELLS:
            continue  # a quoted cell may span several lines
        if text is None or held.strip():
            cells = _cells(held) if text is not None else None
            if names is None:
                names = _names(cells)
            elif cells is not None and len(cells) == len(names):
                yield FileRow(first, dict(zip(names, cells, strict=True)))
            else:
                yield from (FileRow(each, None) for each in range(first, last + 1))
        held = b""


def _names(cells: list[str] | None) -> list[str]:
    names = [cell.strip().lower() for cell in cells or ()]
    if "id" not in names or len(names) != len(set(names)):
        raise ConfigurationError(
            "the file must be JSON, or a CSV table whose first row names the columns, with a column id"
        )
    return names


def _cells(text: bytes) -> list[str] | None:
    try:
        return next(csv.reader([text.decode("utf-8")], strict=True))
    except (csv.Error, ValueError):
        return None


def _row(line: int, text: bytes | None) -> FileRow:
    if text is None:
        return FileRow(line, None)
    text = text.strip(_BETWEEN)
    try:
        return FileRow(line, read_object(text, max_depth=MAX_BODY_DEPTH, half_characters=True), text)
    except ValueError:
        return FileRow(line, None)


def _hold(held: bytearray, piece: bytes) -> None:
    """Add a piece to a row, unless the row is too long already."""
    if len(held) <= MAX_ROW:
        held += piece


def _whole(held: bytearray) -> bytes | None:
    return bytes(held) if len(held) <= MAX_ROW else None


def _is_there(text: bytes) -> bool:
    """Return whether the text has more than separators."""
    return bool(text.strip(_BETWEEN))
