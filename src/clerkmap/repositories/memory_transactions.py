"""Transactions for dictionaries: each change is noted, and taken back if the transaction fails."""

import threading
from collections.abc import Collection, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import finalize

from .._runtime.forks import SurvivesForks
from ..core.model import Change
from ..hooks import Listeners, written_from_within

if TYPE_CHECKING:
    from sqlite3 import Connection


class Journal(SurvivesForks):
    """One transaction at a time. A database that was asked for takes part in each."""

    def __init__(self) -> None:
        self.lock: threading.RLock = threading.RLock()
        self._writing = False
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        self._database: Connection | None = None
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        self.lock = threading.RLock()
        self._take_back()  # what a thread that has stayed behind had begun
        self._writing = False

    @property
    def database(self) -> "Connection":
        """An SQLite database in memory, in which a transaction begins and ends with each one here."""
        with self.lock:
            if self._database is None:
                import sqlite3  # most tests have no hooks

                self._database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
                finalize(self, self._database.close)  # nobody closes a repository in memory
                if self._writing:  # a first hook is about to use it
                    self._database.execute("BEGIN")
            return self._database

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """All or nothing: what was set is set back if the block raises."""
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
                self._take_back()
                self._writing = False

    def call_hooks(self, listeners: Listeners, written: Collection[Change]) -> None:
        """Hand them the database, inside its transaction."""
        from .connections import no_other_transactions  # most tests have no hooks

        database = self.database
        with no_other_transactions(database):
            listeners.call(written, database, lambda: database.in_transaction)

    @property
    def is_settled(self) -> bool:
        """Whether what is read now will stay: not inside a transaction, that is."""
        return not self._writing

    def set(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """Set an entry, or remove it by setting None."""
        self._undo.append((table, key, table.get(key)))
        _put(table, key, value)

    def _take_back(self) -> None:
        while self._undo:
            _put(*self._undo[-1])
            self._undo.pop()  # only now: a signal may come in between
        if self._database is not None and self._database.in_transaction:
            self._database.execute("ROLLBACK")


def _commit(database: "Connection") -> None:
    from .sqlite_errors import MEMORY, translated  # most tests have no hooks

    with translated(MEMORY):
        database.execute("COMMIT")


def _put(table: dict[Any, Any], key: Any, value: Any) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
