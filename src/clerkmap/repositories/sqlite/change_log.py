"""The keys that were written since the last look, for a database that cannot notify other processes.

Triggers write them, in the transaction of the change itself: see `sql/schema.py`.
"""

import threading
from collections.abc import Callable

from ..._runtime.forks import SurvivesForks
from ...hooks import Listeners
from ..sql.dialects import Dialect, Names
from ..sql.statements import Rows, Work

# Runs work on the database. None in a transaction, which may show old rows, or rows that are rolled back later.
Run = Callable[[Work[Rows]], Rows | None]


class ChangeLog(SurvivesForks):
    """Reads the table of changed keys, and calls the watchers with the keys that are new in it."""

    def __init__(self, dialect: Dialect, names: Names, listeners: Listeners) -> None:
        columns = f"SELECT id, key FROM {names.table('changes')}"
        self._select_last = f"{columns} ORDER BY id DESC LIMIT 1"
        self._select = f"{columns} WHERE id >= {dialect.value} ORDER BY id"
        self._listeners = listeners
        self._last: int | None = None  # the id of the last row that the watchers know of
        self._lock = threading.RLock()
        self._telling = False
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        self._lock, self._telling = threading.RLock(), False

    def poll(self, run: Run) -> None:
        """Call the watchers if anything was written since the last look, by any process or program."""
        with self._lock:
            if self._telling:  # a watcher that looks is being called already
                return
            rows = run(self._rows())
            if rows is None or not self._follows(rows):
                self._tell(None)
            elif len(rows) > 1:
                self._tell({key for _, key in rows[1:]})
            # Only now: another thread that looks meanwhile must not believe that nothing was written.
            if rows is not None:
                self._last = rows[-1][0] if rows else 0

    def _rows(self) -> Work[Rows]:
        return (yield (self._select_last, ()) if self._last is None else (self._select, (self._last,)))

    def _follows(self, rows: Rows) -> bool:
        """Return whether the rows begin with the last one read, and none is missing: not trimmed, not another database.

        Before the first look nothing is known, so everything may have changed.
        """
        if self._last is None or not rows:
            return False
        first, last = int(rows[0][0]), int(rows[-1][0])
        return first == self._last and last - first == len(rows) - 1

    def _tell(self, keys: set[str] | None) -> None:
        self._telling = True
        try:
            self._listeners.keys_changed(keys)
        finally:
            self._telling = False
