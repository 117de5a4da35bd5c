"""What is to go back to Clerk, in the tables: noted in the transaction that made the change, and taken from there by
whoever sends it. `memory_outbox.py` says it without SQL.
"""

from collections.abc import Iterable
from typing import TypeVar

from ..core.model import Change, Id, Organization, User
from ..core.records import AnyRecord
from ..core.writeback import OutboxEntry, OutboxKind, WriteBack, outbox_entry_of
from .arguments import check_limit, check_outbox_entry, check_outbox_kind, is_storable
from .put import TRIES
from .tables import Tables
from .work import Rows, Work, Written

T = TypeVar("T")


class Outbox(Tables):
    """The tables of one repository, with an eye on what Clerk should know of what is written into them."""

    def put(self, records: Iterable[AnyRecord]) -> Work[Written[list[Change]]]:
        return self._noting(super().put(records))

    def set_role(self, id: Id, role: str | None) -> Work[Written[User]]:
        return self._noting(super().set_role(id, role))

    def link(self, instance: str, clerk_id: str, id: Id, shared: bool, tries: int = TRIES) -> Work[Written[User]]:
        return self._noting(super().link(instance, clerk_id, id, shared, tries))

    def unlink(self, instance: str, clerk_id: str, id: Id) -> Work[Written[User]]:
        return self._noting(super().unlink(instance, clerk_id, id))

    def relink(self, instance: str, clerk_id: str, id: Id, to: Id) -> Work[Written[User]]:
        return self._noting(super().relink(instance, clerk_id, id, to))

    @property
    def max_token_lifetime(self) -> float:
        return self._configuration.max_token_lifetime

    @property
    def needs_full_user(self) -> bool:
        return self._configuration.needs_full_user

    @property
    def write_back(self) -> WriteBack | None:
        return self._configuration.write_back

    def row(self, kind: OutboxKind, instance: str, key: str) -> Work[User | Organization | None]:
        check_outbox_kind(kind)
        if not is_storable(key):
            return None
        if kind == "user":
            return (yield from self._user_at(instance, key))
        return (yield from self._organization_at(instance, key))

    def outbox(self, instance: str, due: int, limit: int) -> Work[list[OutboxEntry]]:
        rows = yield self._sql.select_outbox, (instance, due, check_limit(limit))
        return [OutboxEntry(*row) for row in rows]

    def outbox_entry(self, instance: str, kind: OutboxKind, key: str) -> Work[OutboxEntry | None]:
        rows = yield self._sql.select_outbox_entry, (instance, kind, key)
        return OutboxEntry(*rows[0]) if rows else None

    def swap_outbox_entry(self, before: OutboxEntry | None, after: OutboxEntry | None) -> Work[Written[bool]]:
        check_outbox_entry(before, after)
        rows: Rows = []
        if before is None and after is not None:
            rows = yield self._sql.insert_outbox_entry, _row(after)
        elif before is not None and after is None:
            rows = yield self._sql.delete_outbox_entry, _as_it_was(before)
        elif before is not None and after is not None:
            rows = yield self._sql.update_outbox_entry, (after.due_at, after.tries, after.error, *_as_it_was(before))
        return [], bool(rows)

    def _noting(self, work: Work[Written[T]]) -> Work[Written[T]]:
        """The same work, and in the outbox each thing of which Clerk may not hold now what it should."""
        written, result = yield from work
        for change in written if self._configuration.write_back is not None else ():
            for row in (yield from self._to_be_looked_at(change)):
                yield self._sql.upsert_outbox_entry, _row(outbox_entry_of(row, self._configuration.now()))
        return written, result

    def _to_be_looked_at(self, change: Change) -> Work[list[User | Organization]]:
        row, back = change.after, self._configuration.write_back
        if back is None or not change.is_news or not isinstance(row, (User, Organization)):
            return []
        if isinstance(row, User) and back.is_otherwise(change.before, row):
            users = yield from self._identities_of(row.id)
            return [user for user in users if not user.clerk.is_deleted]
        return [row] if back.missing(row) else []


def _row(outbox_entry: OutboxEntry) -> tuple[object, ...]:
    return (
        *_place(outbox_entry),
        outbox_entry.since,
        outbox_entry.due_at,
        outbox_entry.changes,
        outbox_entry.tries,
        outbox_entry.error,
    )


def _as_it_was(outbox_entry: OutboxEntry) -> tuple[object, ...]:
    return (*_place(outbox_entry), outbox_entry.due_at, outbox_entry.changes, outbox_entry.tries)


def _place(outbox_entry: OutboxEntry) -> tuple[str, str, str]:
    return outbox_entry.instance, outbox_entry.kind, outbox_entry.key
