"""Connections to one file, which clerkmap opens and closes itself."""

import sqlite3
import threading
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from .._runtime.forks import SurvivesForks
from .._runtime.threads import MAX_WAITING, TIMEOUT, checked_max_waiting
from ..errors import ConfigurationError, RepositoryUnavailable
from ..hooks import written_from_within
from .arguments import checked_timeout
from .connections import POLL_EVERY, no_other_transactions, truncate_log
from .gate import Gate, Line
from .sql.errors import without_text
from .sqlite_errors import fault, is_fault, translated, will_stay

MAX_IDLE = 8


class FileConnections(SurvivesForks):
    """Connections to one file, opened as needed, kept for the next caller. For any number of threads and processes.

    While the process is forked, no connection is open: a fork waits for those that are in use.
    """

    poll_every: float | None = POLL_EVERY

    def __init__(self, path: Path, *, durable: bool, timeout: float = TIMEOUT, max_waiting: int = MAX_WAITING) -> None:
        checked_max_waiting(max_waiting)
        self.place: str = str(path.absolute())
        self._durable = durable
        self.timeout: float = checked_timeout(timeout)
        self.max_waiting: int = max_waiting
        self._idle: list[sqlite3.Connection] = []
        self._stranded = self._closed = False
        self._make_locks()
        with self.reading():  # a file that cannot be opened is refused now
            pass
        self.survive_forks()

    def _make_locks(self) -> None:
        # Writers of one process queue here: SQLite's own waiting is a poll with growing pauses, and starves some.
        self._line = Line(self.timeout, self.max_waiting)
        self._writer: int | None = None  # the thread that has its turn
        self._lent: sqlite3.Connection | None = None  # and what it writes with
        self._used_up: sqlite3.Connection | None = None
        self._gate = Gate()

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        if self._writer == threading.get_ident() and self._lent is not None:
            yield self._lent  # a hook that reads sees what its transaction has written
            return
        with self._gate:
            self._check_open()
            try:
                connection = self._idle.pop()
            except IndexError:
                with translated(self.place):
                    connection = self._connect()
            try:
                yield connection
            except BaseException as error:
                connection.close()
                if isinstance(error, sqlite3.Error) and is_fault(error):
                    raise fault(error, self.place) from without_text(error)
                raise
            if self._closed or len(self._idle) >= MAX_IDLE or connection is self._used_up:
                connection.close()
            else:
                self._idle.append(connection)

    @contextmanager
    def writing(self, *, alone: bool = False) -> Generator[sqlite3.Connection, None, None]:
        if self._writer == threading.get_ident():
            raise written_from_within()
        self._line.take()
        self._writer = threading.get_ident()
        try:
            with self.reading() as connection:
                try:
                    with translated(self.place):
                        connection.execute("BEGIN IMMEDIATE")
                    self._lent = connection
                    yield connection
                    with translated(self.place):
                        connection.execute("COMMIT")
                    self._line.moved()
                except BaseException:
                    # Closing undoes it too, but only once no cursor is left, and the traceback may hold one.
                    with suppress(sqlite3.Error):
                        if connection.in_transaction:
                            connection.execute("ROLLBACK")
                    raise
        finally:
            self._writer = self._lent = self._used_up = None
            self._line.hand_on()

    def is_settled(self) -> bool:
        return self._writer != threading.get_ident()

    def truncate_log(self) -> bool:
        try:
            with self.reading() as connection:
                return truncate_log(connection)
        except RepositoryUnavailable:
            return False

    def lend(self, connection: sqlite3.Connection) -> AbstractContextManager[None]:
        """For hooks. Nobody else gets it afterwards: a cursor that one keeps would hold it in the past."""
        self._used_up = connection
        return no_other_transactions(connection)

    def close(self) -> None:
        self._closed = True
        if self._gate.shut(self.timeout):
            self._close_unused()
        self._gate.open()

    def before_fork(self) -> None:
        if self._gate.shut(self.timeout):
            self._close_unused()

    def after_fork_in_parent(self) -> None:
        self._gate.open()

    def after_fork_in_child(self) -> None:
        # A connection that is still open is open in both now. To use the file here could damage it.
        self._stranded = self._stranded or bool(self._idle) or self._gate.is_occupied
        self._make_locks()

    def _check_open(self) -> None:
        if self._closed:
            raise RepositoryUnavailable("it is closed")
        if self._stranded:
            raise RepositoryUnavailable("this process was forked while another thread was using the file")

    def _close_unused(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.place, timeout=self.timeout, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            mode = _write_ahead(connection, self.timeout)
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA secure_delete = ON")  # not every build overwrites what is deleted
            (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
            if mode != "wal" or synchronous != (2 if self._durable else 1):
                raise ConfigurationError(
                    f"the file system of {self.place} cannot hold a write-ahead log; put the file on a local disk"
                )
        except BaseException:
            connection.close()
            raise
        return connection


def _write_ahead(connection: sqlite3.Connection, timeout: float) -> str:
    # SQLite does not wait for other processes that are switching the same new file over, so this does.
    ends = time.monotonic() + timeout
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return str(mode)
        except sqlite3.OperationalError as error:
            if will_stay(error) or time.monotonic() > ends:
                raise
            time.sleep(0.02)
