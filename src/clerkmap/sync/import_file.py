"""What a file says, into the repository: an export of Clerk's, objects of its API, or events that were written down.

    report = backfill_file("users.csv", repository, instance=instance)

Read row by row, in constant memory. What a file says is put like a webhook, as of the moment of the file: what is
newer stays. Nothing is deleted because it is not in a file; only an event says that something is gone.

    CSV               the dashboard's export of users
    a list in JSON    users, organizations and memberships, as the API shows them, or an export of users
    JSON lines        the same, or events, as they are or as `clerk webhooks listen --json` writes them

An export says less than Clerk's API: of nobody whether they are banned. So it makes rows for those who have none, and
never counts against anything that Clerk has told in another way. Passwords are not looked at.
"""

import asyncio
import base64
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..clerk.endpoints import Shape
from ..core.events import CLOCKS, Event, Unreadable, parse_event, records_of
from ..core.instance import Instance
from ..core.model import Change
from ..core.records import COLUMNS, FROM_TOKEN, AnyRecord, ClerkUser, Kind
from ..core.strict_json import fields, items
from ..errors import WebhookMalformed
from ..ports import AsyncRepository, Repository
from .file_rows import File, Row, opened, rows_of
from .runs import Progress, Report, Tell

BATCH = 500  # records that are put at once
MOST_LINES = 1_000  # unreadable lines that are told one by one; all are counted

_KIND_OF: dict[object, Kind] = {"user": "user", "organization": "organization", "organization_membership": "membership"}
_STAGE_OF: dict[Kind, str] = {kind: f"{kind}s" for kind in COLUMNS}
_CONTENT = COLUMNS["user"][4:]  # all but the place in the order
# What Clerk always says of each. Where one of them is missing, the rest is not all there is to say either.
_ALWAYS: dict[Kind, tuple[str, ...]] = {
    "user": (
        *("first_name", "last_name", "username", "external_id", "primary_email_address_id", "email_addresses"),
        *("banned", "public_metadata", "created_at", "updated_at"),
    ),
    "organization": ("name", "public_metadata", "created_at", "updated_at"),
    "membership": ("role", "organization", "created_at", "updated_at"),
}
_SEPARATORS = re.compile(r"[|,;\s]+")


@dataclass(slots=True)
class FileReport(Report):
    """What has come of a file.

    `partial` is how many rows say less of a person than Clerk's API does, `ignored` how many events are about nothing
    that is kept here, `elsewhere` how many are another instance's. `unreadable_lines` are the lines that the first
    thousand unreadable rows begin in.
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
    observed_at: float | None = None,
    progress: Tell | None = None,
    clock: Callable[[], float] = time.time,
) -> FileReport:
    """Put what a file says. Whoever can write the file can be anybody: use one that comes from Clerk.

    Args:
        file: Its path; or the file itself, open for bytes; or its lines, each as bytes with its end.
        repository: Where to.
        instance: Whose file it is.
        observed_at: When the file was written, in seconds since 1970. By default, when it was last changed; of what is
            no file on a disk, nobody knows, and what is known stays wherever the two are equally new. Events have a
            moment of their own.
        progress: Called with how far it is.
        clock: The time, in seconds since 1970.
    """
    now = clock()
    with opened(file, observed_at, now) as (pieces, moment):
        taking = _Taking(instance, moment, now, progress)
        for batch in taking.batches(pieces):
            taking.count(repository.put(batch))
    return taking.report


async def abackfill_file(
    file: File,
    repository: AsyncRepository,
    *,
    instance: Instance,
    observed_at: float | None = None,
    progress: Tell | None = None,
    clock: Callable[[], float] = time.time,
) -> FileReport:
    """The same for async code. The file is read in a thread."""
    now = clock()
    with opened(file, observed_at, now) as (pieces, moment):
        taking = _Taking(instance, moment, now, progress)
        batches = taking.batches(pieces)
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            taking.count(await repository.put(batch))
    return taking.report


def event_of(row: Row) -> Event | None:
    """The event in a row, as it is or as `clerk webhooks listen --json` writes it; None where there is something else.

    Raises `WebhookMalformed` or `Unreadable`.
    """
    said = row.said or {}
    if "body_b64" in said:
        return parse_event(_decoded(said["body_b64"]))
    return parse_event(row.text) if "type" in said and "data" in said else None


def is_talk(said: Shape) -> bool:
    """Whether it is what `clerk webhooks listen --json` says of itself, between the events."""
    return said.get("type") in ("ready", "reconnecting") and "data" not in said


class _Taking:
    """What is made of one file."""

    def __init__(self, instance: Instance, observed_at: int, now: float, tell: Tell | None) -> None:
        self._instance = instance
        self._observed_at = observed_at
        self._now = int(now * 1000)
        self._latest = (observed_at or self._now) + CLOCKS
        self._tell = tell
        self._listed, self._changed = Counter[str](), Counter[str]()
        self.report: FileReport = FileReport()

    def batches(self, pieces: Iterator[bytes]) -> Iterator[list[AnyRecord]]:
        """The records of so many rows as are put at once."""
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
        """Take down what a batch has changed."""
        self._changed.update(_STAGE_OF[change.after.clerk.kind] for change in changes)
        self.report.listed, self.report.changed = dict(self._listed), dict(self._changed)

    def _records(self, row: Row) -> list[AnyRecord]:
        said = row.said
        if said is None:
            raise Unreadable("it is neither JSON nor a row of the table")
        if is_talk(said):
            return []
        event = event_of(row)
        if event is not None:
            return self._event(event)
        what = said.get("object", "user")
        kind = _KIND_OF.get(what) if isinstance(what, str) else None
        if kind is None or said.get("deleted"):  # of when that was it says nothing
            raise Unreadable("it is no user, organization or membership")
        if "object" in said and _is_whole(kind, said):
            return records_of(kind, self._instance.name, said, self._observed_at, latest=self._latest)
        if kind != "user":
            raise Unreadable("something is missing that Clerk always says")
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
        """Somebody of whom less is known than Clerk knows: below everything that Clerk has told in another way."""
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
        if self._tell is not None:
            self._tell(Progress("file", rows, None))


def _is_whole(kind: Kind, said: Shape) -> bool:
    """Whether it is all that Clerk says of such a thing, and not a part of it in another form."""
    if not all(name in said for name in _ALWAYS[kind]):
        return False
    if type(said["updated_at"]) is not int or not isinstance(said.get("email_addresses", []), list):
        return False
    return kind != "membership" or _is_whole("organization", fields(said["organization"]))


def _primary_address(said: Shape) -> Shape:
    """The address of an export, as Clerk's API would show it. Verified is what is listed as that and nothing else."""
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
        raise Unreadable("body_b64 is no base64") from None
