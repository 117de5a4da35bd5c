"""The tables of jobs: the outbox, which lists rows with possibly stale Clerk metadata, and checkpoints."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ...core.model import Change, Organization, User
from ...core.times import to_datetime, to_milliseconds
from ...core.writeback import OutboxEntry, OutboxKind, outbox_entry_of
from ..arguments import check_checkpoint, check_checkpoint_name, check_due, check_limit, check_outbox_entry
from ..options import Configuration
from .reading import SqlReading
from .statements import Rows, Statements, Work, Written


class SqlOutbox:
    """The outbox entries. The transaction of a change adds them, and they are removed when they are sent."""

    def __init__(self, sql: Statements, configuration: Configuration, reading: SqlReading) -> None:
        self._sql = sql
        self._configuration = configuration
        self._reading = reading

    def note(self, written: Iterable[Change]) -> Work[None]:
        """Add an entry for each row, if these changes may have made its Clerk metadata stale."""
        for change in written:
            for row in (yield from self._stale_rows(change)):
                yield self._sql.upsert_outbox_entry, _row(outbox_entry_of(row, self._configuration.now()))

    def due(self, instance: str, due: datetime | None, limit: int) -> Work[list[OutboxEntry]]:
        rows = yield self._sql.select_outbox, (instance, check_due(due), check_limit(limit))
        return [_entry(row) for row in rows]

    def entry(self, instance: str, kind: OutboxKind, key: str) -> Work[OutboxEntry | None]:
        rows = yield self._sql.select_outbox_entry, (instance, kind, key)
        return _entry(rows[0]) if rows else None

    def swap(self, before: OutboxEntry | None, after: OutboxEntry | None) -> Work[Written[bool]]:
        check_outbox_entry(before, after)
        rows: Rows = []
        if before is None and after is not None:
            rows = yield self._sql.insert_outbox_entry, _row(after)
        elif before is not None and after is None:
            rows = yield self._sql.delete_outbox_entry, _state(before)
        elif before is not None and after is not None:
            rows = yield (
                self._sql.update_outbox_entry,
                (to_milliseconds(after.due_at), after.tries, after.error, *_state(before)),
            )
        return [], bool(rows)

    def _stale_rows(self, change: Change) -> Work[list[User | Organization]]:
        row, back = change.after, self._configuration.write_back
        if back is None or not change.is_news or not isinstance(row, (User, Organization)):
            return []
        if isinstance(row, User) and back.is_changed(change.before, row):
            users = yield from self._reading.identities_of(row.id)
            return [user for user in users if not user.clerk.is_deleted]
        return [row] if back.missing(row) else []


def _entry(row: tuple[Any, ...]) -> OutboxEntry:
    since: int
    due_at: int
    instance, kind, key, since, due_at, *others = row
    return OutboxEntry(instance, kind, key, to_datetime(since), to_datetime(due_at), *others)


def _row(entry: OutboxEntry) -> tuple[object, ...]:
    times = to_milliseconds(entry.since), to_milliseconds(entry.due_at)
    return (*_place(entry), *times, entry.changes, entry.tries, entry.error)


def _state(entry: OutboxEntry) -> tuple[object, ...]:
    return (*_place(entry), to_milliseconds(entry.due_at), entry.changes, entry.tries)


def _place(entry: OutboxEntry) -> tuple[str, str, str]:
    return entry.instance, entry.kind, entry.key


class SqlCheckpoints:
    """Texts under names: the progress of a job, or a lock."""

    def __init__(self, sql: Statements) -> None:
        self._sql = sql

    def get(self, name: str) -> Work[str | None]:
        rows = yield self._sql.select_checkpoint, (check_checkpoint_name(name),)
        return rows[0][0] if rows else None

    def set(self, name: str, text: str | None) -> Work[Written[None]]:
        check_checkpoint_name(name)
        if check_checkpoint(text) is None:
            yield self._sql.delete_checkpoint, (name,)
        else:
            yield self._sql.upsert_checkpoint, (name, text)
        return [], None

    def swap(self, name: str, before: str | None, after: str | None) -> Work[Written[bool]]:
        check_checkpoint_name(name)
        if check_checkpoint(before) is None and check_checkpoint(after) is None:
            rows = [()] if (yield from self.get(name)) is None else []
        elif before is None:
            rows = yield self._sql.insert_checkpoint, (name, after)
        elif after is None:
            rows = yield self._sql.delete_this_checkpoint, (name, before)
        else:
            check_checkpoint(after)
            rows = yield self._sql.update_checkpoint, (after, name, before)
        return [], bool(rows)
