"""The dictionaries of a memory repository, and their transactions: each change is undone if the transaction fails."""

import threading
from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import finalize

from ..._runtime.forks import SurvivesForks
from ...core.model import Change, Id, Organization
from ...core.records import ClerkMembership, ClerkSession, ClerkUser, Ends, Place
from ...core.writeback import OutboxEntry
from ...hooks import Listeners, Then, written_from_within

if TYPE_CHECKING:
    from sqlite3 import Connection


T = TypeVar("T")
Written = tuple[list[Change], T]  # the changes that were written, and the result for the caller
EntryPlace = tuple[str, str, str]  # an instance, a kind, and a key


@dataclass(frozen=True, slots=True)
class UserRow:
    """Your side of a user, and the places of the user's identities."""

    role: str | None
    role_rank: str | None
    created_at: int
    deleted_at: int | None
    places: tuple[Place, ...] = ()


class MemoryTables(SurvivesForks):
    """The dictionaries under one lock, with one transaction at a time. The database, once it is used, takes part in
    each transaction."""

    def __init__(self) -> None:
        self.users: dict[Id, UserRow] = {}
        self.identities: dict[Place, tuple[Id, ClerkUser]] = {}
        self.organizations: dict[Place, Organization] = {}
        self.organization_places: dict[Id, Place] = {}
        self.memberships: dict[Ends, tuple[ClerkMembership, ...]] = {}
        # The values are sets in the form of dictionaries, so that an entry can be undone.
        self.ends_of_user: dict[Place, dict[Ends, bool]] = {}
        self.ends_of_organization: dict[Place, dict[Ends, bool]] = {}
        self.ends_of_membership: dict[Place, Ends] = {}
        self.sessions: dict[Place, ClerkSession] = {}
        self.checkpoints: dict[str, str] = {}
        self.outbox: dict[EntryPlace, OutboxEntry] = {}
        self.deliveries: dict[str, int] = {}
        self.lock: threading.RLock = threading.RLock()
        self._writing = False
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        self._database: Connection | None = None
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        self.lock = threading.RLock()
        self._undo_all()  # the transaction of a thread that the child does not have
        self._writing = False

    @property
    def database(self) -> "Connection":
        """An SQLite database in memory, in which a transaction begins and ends with each one here."""
        with self.lock:
            if self._database is None:
                import sqlite3  # most tests have no hooks

                self._database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
                finalize(self, self._database.close)  # a repository in memory need not be closed
                if self._writing:  # a first hook is about to use it
                    self._database.execute("BEGIN")
            return self._database

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """Run the block in a transaction: if it raises, every entry gets its old value back."""
        with self.lock:
            if self._writing:
                raise written_from_within()
            self._writing = True
            try:
                if self._database is not None:
                    self._database.execute("BEGIN")
                yield
                if self._database is not None:
                    _commit(self._database)
                self._undo.clear()
            finally:
                self._undo_all()
                self._writing = False

    def call_hooks(self, listeners: Listeners, written: Collection[Change], then: Then | None) -> None:
        """Call the hooks with the database, and last `then`, inside its transaction."""
        from ..sqlite.connections import no_other_transactions  # most tests have no hooks

        database = self.database
        with no_other_transactions(database):
            listeners.call(written, database, lambda: database.in_transaction, then)

    @property
    def is_settled(self) -> bool:
        """Return whether no transaction is open, so that a state that is read now will stay."""
        return not self._writing

    def replace_user(self, id: Id, **columns: Any) -> None:
        """Set columns of your user's row."""
        self.set(self.users, id, replace(self.users[id], **columns))

    def set(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """Set an entry, or remove it by setting None."""
        self._undo.append((table, key, table.get(key)))
        _put(table, key, value)

    def _undo_all(self) -> None:
        while self._undo:
            _put(*self._undo[-1])
            self._undo.pop()  # only now: a signal may arrive in between
        if self._database is not None and self._database.in_transaction:
            self._database.execute("ROLLBACK")


def _commit(database: "Connection") -> None:
    from ..sqlite.errors import MEMORY, translated  # most tests have no hooks

    with translated(MEMORY):
        database.execute("COMMIT")


def _put(table: dict[Any, Any], key: Any, value: Any) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
