"""What is to go back to Clerk, in dictionaries. The tests hold `outbox.py` to it, which says it in SQL."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from ..core.model import Change, Id, Organization, User
from ..core.records import AnyRecord
from ..core.writeback import Pending, PendingKind, pending_of
from .arguments import check_limit, check_pending, check_pending_kind
from .choices import Choices
from .journal import Journal
from .memory_tables import MemoryTables, Written

T = TypeVar("T")
PendingPlace = tuple[str, str, str]  # an instance, a kind, and a key


class MemoryOutbox(MemoryTables):
    """The dictionaries of one repository, with an eye on what Clerk should know of what is written into them."""

    def __init__(self, choices: Choices, journal: Journal) -> None:
        super().__init__(choices, journal)
        self._pending: dict[PendingPlace, Pending] = {}

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

    def row(self, kind: PendingKind, instance: str, key: str) -> User | Organization | None:
        check_pending_kind(kind)
        return self._user_at((instance, key)) if kind == "user" else self._organizations.get((instance, key))

    def outbox(self, instance: str, due: int, limit: int) -> list[Pending]:
        check_limit(limit)
        all_due = [each for each in self._pending.values() if each.instance == instance and each.due_at <= due]
        return sorted(all_due, key=lambda each: (each.due_at, each.kind, each.key))[:limit]

    def pending(self, instance: str, kind: PendingKind, key: str) -> Pending | None:
        return self._pending.get((instance, kind, key))

    def swap_pending(self, before: Pending | None, after: Pending | None) -> Written[bool]:
        place = check_pending(before, after)
        there = self._pending.get(place)
        if (None if there is None else _state(there)) != (None if before is None else _state(before)):
            return [], False
        if after is not None and there is not None:
            after = replace(there, due_at=after.due_at, tries=after.tries, error=after.error)
        self._set(self._pending, place, after)
        return [], True

    def _noted(self, work: Written[T]) -> Written[T]:
        """The same, and in the outbox each thing of which Clerk may not hold now what it should."""
        written, result = work
        for change in written:
            for row in self._to_be_looked_at(change):
                place: PendingPlace = (row.clerk.instance, row.clerk.kind, row.clerk.key)
                there = self._pending.get(place)
                new = pending_of(row, self._choices.now())
                self._set(self._pending, place, replace(there, changes=there.changes + 1) if there else new)
        return written, result

    def _to_be_looked_at(self, change: Change) -> list[User | Organization]:
        row, back = change.after, self._choices.write_back
        if back is None or not change.is_news or not isinstance(row, (User, Organization)):
            return []
        if isinstance(row, User) and back.is_otherwise(change.before, row):
            return [user for user in self._identities_of(row.id) if not user.clerk.is_deleted]
        return [row] if back.missing(row) else []


def _state(pending: Pending) -> tuple[int, int, int]:
    return pending.due_at, pending.changes, pending.tries
