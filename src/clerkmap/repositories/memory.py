"""The reference repository, for tests and for reading: this is its lock and its transactions; `memory_tables.py`,
`memory_reading.py` and `memory_outbox.py` are what it does inside them. The others do the same in SQL.

Everything is lost with the process.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from ..core.model import Change, Count, Erasure, Id, Organization, User
from ..core.principal import Standing
from ..core.records import MAX_TIME, AnyRecord, Kind
from ..core.writeback import OutboxEntry, OutboxKind, WriteBack
from ..hooks import Listeners
from .memory_outbox import MemoryOutbox
from .memory_tables import Written
from .memory_transactions import Journal
from .options import Configuration, Options

if TYPE_CHECKING:
    from sqlite3 import Connection

T = TypeVar("T")


class MemoryRepository:
    """Keeps everything in dictionaries, under one lock.

    Args:
        options: See `Options`. The transaction that hooks are called with is `database`.
    """

    poll_every: float | None = None

    def __init__(self, **options: Unpack[Options]) -> None:
        configuration = Configuration(**options)
        self.write_back: WriteBack | None = configuration.write_back
        self.max_token_lifetime: float = configuration.max_token_lifetime
        self.needs_full_user: bool = configuration.needs_full_user
        self.listeners: Listeners = configuration.listeners
        self._journal = Journal()
        self._tables = MemoryOutbox(configuration, self._journal)

    @property
    def database(self) -> "Connection":
        """An SQLite database in memory for the tables of your hooks. Each transaction here is one there, too."""
        return self._journal.database

    def put(self, records: Iterable[AnyRecord]) -> list[Change]:
        return self._write(lambda: self._tables.put(records))

    def find(
        self,
        instance: str,
        clerk_user_id: str,
        clerk_organization_id: str | None = None,
        clerk_session_id: str | None = None,
    ) -> Standing | None:
        with self._journal.lock:
            standing = self._tables.find(instance, clerk_user_id, clerk_organization_id, clerk_session_id)
            settled = self._journal.is_settled
        return standing if settled or standing is None else replace(standing, settled=False)

    def user(self, id: Id) -> User | None:
        with self._journal.lock:
            return self._tables.user(id)

    def organization(self, id: Id) -> Organization | None:
        with self._journal.lock:
            return self._tables.organization(id)

    def row(self, kind: OutboxKind, instance: str, key: str) -> User | Organization | None:
        with self._journal.lock:
            return self._tables.row(kind, instance, key)

    def set_role(self, id: Id, role: str | None) -> User:
        return self._write(lambda: self._tables.set_role(id, role))

    def link(self, instance: str, clerk_id: str, id: Id, *, shared: bool = False) -> User:
        return self._write(lambda: self._tables.link(instance, clerk_id, id, shared))

    def unlink(self, instance: str, clerk_id: str, id: Id) -> User:
        return self._write(lambda: self._tables.unlink(instance, clerk_id, id))

    def relink(self, instance: str, clerk_id: str, id: Id, *, to: Id) -> User:
        return self._write(lambda: self._tables.relink(instance, clerk_id, id, to))

    def export(self, id: Id) -> dict[str, Any]:
        with self._journal.lock:
            return self._tables.export(id)

    def erase(self, id: Id) -> Erasure:
        return Erasure(self._write(lambda: self._tables.erase(id)), is_pending=False)

    def records(self, kind: Kind, instance: str, *, after: str = "", limit: int = 500) -> list[AnyRecord]:
        with self._journal.lock:
            return self._tables.records(kind, instance, after, limit)

    def record(self, kind: Kind, instance: str, key: str) -> AnyRecord | None:
        with self._journal.lock:
            return self._tables.record(kind, instance, key)

    def ranks(self, kind: Kind, instance: str, keys: Sequence[str]) -> dict[str, str]:
        with self._journal.lock:
            return self._tables.ranks(kind, instance, keys)

    def counts(self, instance: str) -> dict[Kind, Count]:
        with self._journal.lock:
            return self._tables.counts(instance)

    def search(self, text: str, limit: int = 20) -> list[User]:
        with self._journal.lock:
            return self._tables.search(text, limit)

    def checkpoint(self, name: str) -> str | None:
        with self._journal.lock:
            return self._tables.checkpoint(name)

    def set_checkpoint(self, name: str, text: str | None) -> None:
        self._write(lambda: self._tables.set_checkpoint(name, text))

    def swap_checkpoint(self, name: str, before: str | None, after: str | None) -> bool:
        return self._write(lambda: self._tables.swap_checkpoint(name, before, after))

    def in_transaction(self) -> bool:
        with self._journal.lock:
            return not self._journal.is_settled

    def outbox(self, instance: str, *, due: int = MAX_TIME, limit: int = 500) -> list[OutboxEntry]:
        with self._journal.lock:
            return self._tables.outbox(instance, due, limit)

    def outbox_entry(self, instance: str, kind: OutboxKind, key: str) -> OutboxEntry | None:
        with self._journal.lock:
            return self._tables.outbox_entry(instance, kind, key)

    def swap_outbox_entry(self, before: OutboxEntry | None, after: OutboxEntry | None) -> bool:
        return self._write(lambda: self._tables.swap_outbox_entry(before, after))

    def purge(self, before: int) -> int:
        return self._write(lambda: self._tables.purge(before))

    def poll(self) -> None:
        """Nobody else can write."""

    def close(self) -> None:
        """There is nothing to let go of."""

    def _write(self, write: Callable[[], Written[T]]) -> T:
        try:
            with self._journal.transaction():
                written, result = write()
                if written and self.listeners.has_hooks:
                    self._journal.call_hooks(self.listeners, written)
                self._tables.check_rows(written)
            self.listeners.tell(written)
        except Exception:
            raise
        except BaseException:  # it may have come between the two
            self.listeners.heard(None)
            raise
        return result
