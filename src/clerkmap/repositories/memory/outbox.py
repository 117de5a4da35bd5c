"""The data of jobs in the memory repository: the outbox and checkpoints. `sql/outbox.py` does the same in SQL."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from ...core.model import Change, Organization, User
from ...core.times import to_datetime
from ...core.writeback import OutboxEntry, OutboxKind, outbox_entry_of
from ..arguments import check_checkpoint, check_checkpoint_name, check_due, check_limit, check_outbox_entry
from ..options import Configuration
from .reading import MemoryReading
from .tables import EntryPlace, MemoryTables, Written


class MemoryOutbox:
    """The outbox entries. The transaction of a change adds them, and they are removed when they are sent."""

    def __init__(self, tables: MemoryTables, configuration: Configuration, reading: MemoryReading) -> None:
        self._tables = tables
        self._configuration = configuration
        self._reading = reading

    def note(self, written: Iterable[Change]) -> None:
        """Add an entry for each row, if these changes may have made its Clerk metadata stale."""
        for change in written:
            for row in self._stale_rows(change):
                place: EntryPlace = (row.clerk.instance, row.clerk.kind, row.clerk.key)
                there = self._tables.outbox.get(place)
                new = outbox_entry_of(row, self._configuration.now())
                entry = replace(there, changes=there.changes + 1) if there else new
                self._tables.set(self._tables.outbox, place, entry)

    def due(self, instance: str, due: datetime | None, limit: int) -> list[OutboxEntry]:
        check_limit(limit)
        latest = to_datetime(check_due(due))
        all_due = [each for each in self._tables.outbox.values() if each.instance == instance and each.due_at <= latest]
        return sorted(all_due, key=lambda each: (each.due_at, each.kind, each.key))[:limit]

    def entry(self, instance: str, kind: OutboxKind, key: str) -> OutboxEntry | None:
        return self._tables.outbox.get((instance, kind, key))

    def swap(self, before: OutboxEntry | None, after: OutboxEntry | None) -> Written[bool]:
        place = check_outbox_entry(before, after)
        there = self._tables.outbox.get(place)
        if _state(there) != _state(before):
            return [], False
        if after is not None and there is not None:
            after = replace(there, due_at=after.due_at, tries=after.tries, error=after.error)
        self._tables.set(self._tables.outbox, place, after)
        return [], True

    def _stale_rows(self, change: Change) -> list[User | Organization]:
        row, back = change.after, self._configuration.write_back
        if back is None or not change.is_news or not isinstance(row, (User, Organization)):
            return []
        if isinstance(row, User) and back.is_changed(change.before, row):
            return [user for user in self._reading.identities_of(row.id) if not user.clerk.is_deleted]
        return [row] if back.missing(row) else []


def _state(entry: OutboxEntry | None) -> tuple[datetime, int, int] | None:
    return None if entry is None else (entry.due_at, entry.changes, entry.tries)


class MemoryCheckpoints:
    """Texts under names: the progress of a job, or a lock."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    def get(self, name: str) -> str | None:
        return self._tables.checkpoints.get(check_checkpoint_name(name))

    def set(self, name: str, text: str | None) -> Written[None]:
        self._tables.set(self._tables.checkpoints, check_checkpoint_name(name), check_checkpoint(text))
        return [], None

    def swap(self, name: str, before: str | None, after: str | None) -> Written[bool]:
        check_checkpoint(before)
        if self._tables.checkpoints.get(check_checkpoint_name(name)) != before:
            return [], False
        self._tables.set(self._tables.checkpoints, name, check_checkpoint(after))
        return [], True
