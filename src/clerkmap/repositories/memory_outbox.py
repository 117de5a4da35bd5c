"""What is to go back to Clerk, in dictionaries. The tests hold `outbox.py` to it, which says it in SQL."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from ..core.model import Change, Id, Organization, User
from ..core.records import AnyRecord
from ..core.writeback import OutboxEntry, OutboxKind, outbox_entry_of
from .arguments import check_limit, check_outbox_entry, check_outbox_kind
from .memory_tables import MemoryTables, Written
from .memory_transactions import Journal
from .options import Configuration

T = TypeVar("T")
PendingPlace = tuple[str, str, str]  # an instance, a kind, and a key


class MemoryOutbox(MemoryTables):
    """The dictionaries of one repository, with an eye on what Clerk should know of what is written into them."""

    def __init__(self, configuration: Configuration, journal: Journal) -> None:
        super().__init__(configuration, journal)
        self._outbox_entry: dict[PendingPlace, OutboxEntry] = {}

    def put(self, records: Iterable[AnyRecord]) -> Written[list[Change]]:
        return self._noted(super().put(records))

    def set_role(self, id: Id, role: str | None) -> Written[User]:
        return self._noted(super().set_role(id, role))

    def link(self, instance: str, clerk_id: str, id: Id, shared: bool) -> Written[User]:
        return self._noted(super().link(instance, clerk_id, id, shared))

    def unlink(self, instance: str, clerk_id: str, id: Id) -> Written[User]:
        return self._noted(super().unlink(instance, clerk_id, id))

    def relink(self, instance: str, clerk_id: str, id: Id, to: Id) -> Written[User]:
        return self._noted(super().relink(instance, clerk_id, id, to))

    def row(self, kind: OutboxKind, instance: str, key: str) -> User | Organization | None:
        check_outbox_kind(kind)
        return self._user_at((instance, key)) if kind == "user" else self._organizations.get((instance, key))

    def outbox(self, instance: str, due: int, limit: int) -> list[OutboxEntry]:
        check_limit(limit)
        all_due = [each for each in self._outbox_entry.values() if each.instance == instance and each.due_at <= due]
        return sorted(all_due, key=lambda each: (each.due_at, each.kind, each.key))[:limit]

    def outbox_entry(self, instance: str, kind: OutboxKind, key: str) -> OutboxEntry | None:
        return self._outbox_entry.get((instance, kind, key))

    def swap_outbox_entry(self, before: OutboxEntry | None, after: OutboxEntry | None) -> Written[bool]:
        place = check_outbox_entry(before, after)
        there = self._outbox_entry.get(place)
        if (None if there is None else _state(there)) != (None if before is None else _state(before)):
            return [], False
        if after is not None and there is not None:
            after = replace(there, due_at=after.due_at, tries=after.tries, error=after.error)
        self._set(self._outbox_entry, place, after)
        return [], True

    def _noted(self, work: Written[T]) -> Written[T]:
        """The same, and in the outbox each thing of which Clerk may not hold now what it should."""
        written, result = work
        for change in written:
            for row in self._to_be_looked_at(change):
                place: PendingPlace = (row.clerk.instance, row.clerk.kind, row.clerk.key)
                there = self._outbox_entry.get(place)
                new = outbox_entry_of(row, self._configuration.now())
                self._set(self._outbox_entry, place, replace(there, changes=there.changes + 1) if there else new)
        return written, result

    def _to_be_looked_at(self, change: Change) -> list[User | Organization]:
        row, back = change.after, self._configuration.write_back
        if back is None or not change.is_news or not isinstance(row, (User, Organization)):
            return []
        if isinstance(row, User) and back.is_otherwise(change.before, row):
            return [user for user in self._identities_of(row.id) if not user.clerk.is_deleted]
        return [row] if back.missing(row) else []


def _state(outbox_entry: OutboxEntry) -> tuple[int, int, int]:
    return outbox_entry.due_at, outbox_entry.changes, outbox_entry.tries
