"""SQLite connections: a pool of them on a file, or one that is shared.

Both offer the same two doors. `reading()` lends a connection; `writing()` lends one inside a transaction that holds the
write lock from its first moment (a transaction that reads before it writes would fail under load instead of waiting).
What SQLite raises when it cannot answer comes out as `RepositoryUnavailable`, whose cause tells more.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from ..errors import ConfigurationError, RepositoryUnavailable
from ..forks import SurvivesForks
from ..listeners import written_from_within
from .gate import Gate

logger: logging.Logger = logging.getLogger("clerkmap.repositories")
OLDEST = (3, 37, 0)  # the first with STRICT tables
SOUND = (3, 51, 3)  # before it, two connections that write and checkpoint at the wrong moment could damage a file
MAX_IDLE = 8
POLL_EVERY = 0.5  # seconds: another process is to see a change within one

# How a transaction begins, is kept and is undone: one of its own, or a part of yours.
ALONE = ("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",))
JOINED = ("SAVEPOINT clerkmap", "RELEASE clerkmap", ("ROLLBACK TO clerkmap", "RELEASE clerkmap"))


class Connections(Protocol):
    """Where the repository gets its connections."""

    poll_every: float | None

    def reading(self) -> AbstractContextManager[sqlite3.Connection]: ...
    def writing(self) -> AbstractContextManager[sqlite3.Connection]: ...
    def poll(self, tell: Callable[[], None]) -> None: ...
    def is_settled(self) -> bool: ...
    def close(self) -> None: ...


class FileConnections(SurvivesForks):
    """Connections to one file, opened as needed, kept for the next caller. For any number of threads and processes.

    While the process is forked, no connection is open: a fork waits for those that are in use.
    """

    poll_every: float | None = POLL_EVERY

    def __init__(self, path: Path, *, durable: bool, timeout: float) -> None:
        self._path = path
        self._durable = durable
        self._timeout = timeout
        self._idle: list[sqlite3.Connection] = []
        self._watch: sqlite3.Connection | None = None
        self._version: int | None = None
        self._stranded = self._closed = False
        self._make_locks()
        self.poll(lambda: None)
        self.survive_forks()

    def _make_locks(self) -> None:
        # Writers of one process queue here: SQLite's own waiting is a poll with growing pauses, and starves some.
        self._write_lock = threading.Lock()
        self._writer: int | None = None
        self._watch_lock = threading.RLock()
        self._telling = False
        self._gate = Gate()

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        with self._gate:
            self._check_open()
            try:
                connection = self._idle.pop()
            except IndexError:
                with unavailable():
                    connection = self._connect()
            try:
                yield connection
            except BaseException as error:
                connection.close()
                if is_fault(error):
                    raise RepositoryUnavailable(type(error).__name__) from error
                raise
            if self._closed or len(self._idle) >= MAX_IDLE:
                connection.close()
            else:
                self._idle.append(connection)

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection, None, None]:
        if self._writer == threading.get_ident():
            raise written_from_within()
        if not self._write_lock.acquire(timeout=self._timeout):
            raise RepositoryUnavailable("too many writers are waiting")
        self._writer = threading.get_ident()
        try:
            with self.reading() as connection:
                connection.execute("BEGIN IMMEDIATE")
                yield connection  # if this or the commit raises, the connection is closed, which undoes it all
                connection.execute("COMMIT")
        finally:
            self._writer = None
            self._write_lock.release()

    def poll(self, tell: Callable[[], None]) -> None:
        """Call `tell` if any other connection has committed since the last time."""
        with self._watch_lock, self._gate, unavailable():
            self._check_open()
            if self._telling:  # a watcher that polls is being told already
                return
            if self._watch is None:  # a version means something on its own connection only
                self._watch, self._version = self._connect(), None
            version = _data_version(self._watch)
            if version != self._version:
                self._telling = True
                try:
                    tell()
                finally:
                    self._telling = False
                self._version = version  # only now: who polls meanwhile must not believe that nothing happened

    def is_settled(self) -> bool:
        return True

    def close(self) -> None:
        self._closed = True
        if self._gate.shut(self._timeout):
            self._close_unused()
        self._gate.open()

    def before_fork(self) -> None:
        if self._gate.shut(self._timeout):
            self._close_unused()

    def after_fork_in_parent(self) -> None:
        self._gate.open()

    def after_fork_in_child(self) -> None:
        # A connection that is still open is open in both now. To use the file here could damage it.
        self._stranded = self._stranded or self._watch is not None or bool(self._idle) or self._gate.is_occupied
        self._make_locks()

    def _check_open(self) -> None:
        if self._closed:
            raise RepositoryUnavailable("it is closed")
        if self._stranded:
            raise RepositoryUnavailable("this process was forked while another thread was using the file")

    def _close_unused(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        while self._idle:
            self._idle.pop().close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            mode = _write_ahead(connection, self._timeout)
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
            connection.execute("PRAGMA foreign_keys = ON")
            (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
            if mode != "wal" or synchronous != (2 if self._durable else 1):
                raise ConfigurationError("the file system cannot hold a write-ahead log; put the file on a local disk")
        except BaseException:
            connection.close()
            raise
        return connection


class SharedConnection:
    """One connection: your own, or one to a database in memory. It joins a transaction of yours, and never ends it."""

    def __init__(self, connection: sqlite3.Connection, *, owned: bool) -> None:
        self.poll_every: float | None = None if owned else POLL_EVERY
        self._connection = connection
        self._owned = owned
        self._closed = self._writing = False
        self._lock = threading.RLock()
        with unavailable():
            self._version = self._count_writes()

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        with self._lock, unavailable():
            if self._closed:
                raise RepositoryUnavailable("it is closed")
            yield self._connection

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection, None, None]:
        with self.reading() as connection:
            if self._writing:
                raise written_from_within()
            self._writing = True
            joined, begun = connection.in_transaction, False
            begin, commit, rollback = JOINED if joined else ALONE
            try:
                connection.execute(begin)
                begun = True
                yield connection
                connection.execute(commit)
            except BaseException:
                # SQLite may have undone it all by itself, when the disk is full; and a signal may come during BEGIN.
                if connection.in_transaction and (begun or not joined):
                    for statement in rollback:
                        connection.execute(statement)
                raise
            finally:
                self._writing = False

    def poll(self, tell: Callable[[], None]) -> None:
        """Call `tell` if anything was written since the last time, here or elsewhere."""
        with self.reading():
            version = self._count_writes()
            if version != self._version:
                tell()
                self._version = version

    def _count_writes(self) -> tuple[int, int]:
        # SQLite tells a connection what others have written, and counts apart what it has written itself.
        return _data_version(self._connection), self._connection.total_changes

    def is_settled(self) -> bool:
        return not self._connection.in_transaction

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._owned:
                self._connection.close()


def check_version() -> None:
    """This Python's SQLite, or `ConfigurationError`."""
    if sqlite3.sqlite_version_info < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise ConfigurationError(f"SQLite {wanted} or newer is needed; this Python has {sqlite3.sqlite_version}")
    if sqlite3.sqlite_version_info < SOUND:
        logger.info(
            "SQLite %s is older than 3.51.3, which mended a rare fault of write-ahead logs", sqlite3.sqlite_version
        )


@contextmanager
def unavailable() -> Generator[None, None, None]:
    """What SQLite raises when it is not available, as an error of ours."""
    try:
        yield
    except sqlite3.Error as error:
        if is_fault(error):
            raise RepositoryUnavailable(type(error).__name__) from error
        raise


def is_fault(error: BaseException) -> bool:
    """Whether the database is at fault. A wrong use of it is not: trying again would not help."""
    wrong_use = (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.DataError)
    return isinstance(error, sqlite3.Error) and not isinstance(error, wrong_use)


def _data_version(connection: sqlite3.Connection) -> int:
    (version,) = plain_cursor(connection).execute("PRAGMA data_version").fetchone()
    return int(version)


def plain_cursor(connection: sqlite3.Connection) -> sqlite3.Cursor:
    """A cursor whose rows are tuples. A connection of yours may make rows in its own way."""
    cursor = connection.cursor()
    cursor.row_factory = None
    return cursor


def _write_ahead(connection: sqlite3.Connection, timeout: float) -> str:
    # SQLite does not wait for other processes that are switching the same new file over, so this does.
    ends = time.monotonic() + timeout
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return str(mode)
        except sqlite3.OperationalError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.02)
