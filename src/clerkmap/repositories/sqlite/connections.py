"""SQLite connections: a pool on a file, or one shared connection.

Both have the same two methods. `reading()` lends a connection. `writing()` lends one inside a transaction that holds
the write lock from its beginning: a transaction that reads before it writes would fail under load instead of waiting.
SQLite's errors are raised as clerkmap's errors, see `errors.py`.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Protocol

from ..._runtime.forks import SurvivesForks
from ..._runtime.threads import MAX_WAITING, TIMEOUT, checked_max_waiting
from ...errors import ConfigurationError, RepositoryUnavailable
from ...hooks import written_from_within
from ..arguments import checked_timeout
from ..lines import Line
from ..sql.errors import without_text
from .errors import MEMORY, execute, fault, faults_translated, is_fault, translated, will_stay

logger: logging.Logger = logging.getLogger("clerkmap.repositories")
OLDEST = (3, 37, 0)  # the first version with STRICT tables
SOUND = (3, 51, 3)  # before it, concurrent writes and checkpoints of two connections could damage a file
LOG_PATIENCE = 100  # milliseconds that a write waits for readers of old snapshots after an erasure
MAX_IDLE = 8  # the most idle connections to a file
POLL_EVERY = 0.5  # seconds: another process must see a change within one second

# How to begin, keep and roll back: the repository's own transaction, the first part of the caller's, or a later part.
# A first part is kept by leaving it open, so that the caller commits it.
ALONE = ("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",))
FIRST = ("BEGIN IMMEDIATE", None, ("ROLLBACK",))
JOINED = ("SAVEPOINT clerkmap", "RELEASE clerkmap", ("ROLLBACK TO clerkmap", "RELEASE clerkmap"))
_EACH = "clerkmap_each"  # the savepoint of one write among several in a transaction


class Connections(Protocol):
    """The source of the repository's connections."""

    poll_every: float | None
    place: str  # the file, for errors

    def reading(self) -> AbstractContextManager[sqlite3.Connection]: ...
    def writing(self, *, alone: bool = False) -> AbstractContextManager[sqlite3.Connection]: ...
    def is_settled(self) -> bool: ...
    def truncate_log(self) -> bool: ...
    def lend(self, connection: sqlite3.Connection) -> AbstractContextManager[None]: ...
    def close(self) -> None: ...


class SharedConnection:
    """One connection: yours, or one to a database in memory. It joins your transaction, and never ends it."""

    def __init__(self, connection: sqlite3.Connection, *, owned: bool) -> None:
        self.poll_every: float | None = None if owned else POLL_EVERY
        self._connection = connection
        self._owned = owned
        self._closed = self._writing = self._left_open = False
        self._lock = threading.RLock()
        with translated(MEMORY):
            self.place: str = main_file(connection) or MEMORY
            connection.execute("PRAGMA secure_delete = ON")  # not every build overwrites deleted data

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        with self._lock, faults_translated(self.place):
            if self._closed:
                raise RepositoryUnavailable("the repository is closed")
            self._check_left_open()
            yield self._connection

    @contextmanager
    def writing(self, *, alone: bool = False) -> Generator[sqlite3.Connection, None, None]:
        """Lend the connection inside a transaction: the caller's, if one is open or Python would begin one by itself.
        With `alone`, do not join one that Python begins."""
        with self.reading() as connection:
            if self._writing:
                raise written_from_within()
            joined, begun = not self.is_settled(), False
            self._writing = True
            is_first = not alone and begins_by_itself(connection)
            begin, commit, rollback = JOINED if joined else FIRST if is_first else ALONE
            try:
                execute(connection, begin, self.place)
                begun = True
                yield connection
                if commit is not None:
                    execute(connection, commit, self.place)
            except BaseException:
                # SQLite may have rolled back by itself, on a full disk; and a signal may arrive during BEGIN.
                if connection.in_transaction and (begun or not joined):
                    self._left_open = not joined
                    with suppress(sqlite3.Error):  # the first error is the one to raise
                        for statement in rollback:
                            connection.execute(statement)
                        self._left_open = False
                raise
            finally:
                self._writing = False

    def _check_left_open(self) -> None:
        """Roll back clerkmap's transaction after a failed rollback, or raise. As yours it would stay uncommitted."""
        if self._left_open and self._connection.in_transaction:
            if not self._owned:
                raise RepositoryUnavailable("a rollback failed: roll your connection back")
            self._connection.execute("ROLLBACK")
        self._left_open = False

    def is_settled(self) -> bool:
        try:
            return not self._connection.in_transaction
        except sqlite3.ProgrammingError as error:  # it is closed
            raise fault(error, self.place) from without_text(error)

    def truncate_log(self) -> bool:
        with self._lock:
            return not self._connection.in_transaction and truncate_log(self._connection)

    def lend(self, connection: sqlite3.Connection) -> AbstractContextManager[None]:
        """Lend the connection to hooks. The application controls the authorizer of its connection."""
        return no_other_transactions(connection) if self._owned else nullcontext()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._owned:
                self._connection.close()


class FileConnections(SurvivesForks):
    """Connections to one file, opened as needed, kept for the next caller. For any number of threads and processes.

    No connection is open during a fork: a fork waits for those that are in use.
    """

    poll_every: float | None = POLL_EVERY

    def __init__(self, path: Path, *, durable: bool, timeout: float = TIMEOUT, max_waiting: int = MAX_WAITING) -> None:
        checked_max_waiting(max_waiting)
        self.place: str = str(path.absolute())
        self._durable = durable
        self.timeout: float = checked_timeout(timeout)
        self.max_waiting: int = max_waiting
        self._idle: list[sqlite3.Connection] = []
        # Writers of one process wait here: SQLite itself polls with growing pauses, and starves some writers.
        self._line = Line(
            lambda: 1,
            self.timeout,
            max_waiting,
            wanted="a turn to write",
            stuck="the request waited for its turn to write",
        )
        self._stranded = self._closed = False
        self._make_locks()
        with self.reading():  # refuse a file that cannot be opened now
            pass
        self.survive_forks()

    def _make_locks(self) -> None:
        self._writer: int | None = None  # the thread that writes
        self._lent: sqlite3.Connection | None = None  # and its connection
        self._used_up: sqlite3.Connection | None = None
        self._gate = Gate()

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        if self._writer == threading.get_ident() and self._lent is not None:
            yield self._lent  # a hook reads the writes of its own transaction
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
        self._line.enter()
        self._writer, has_ended_well = threading.get_ident(), False
        try:
            with self.reading() as connection:
                try:
                    execute(connection, "BEGIN IMMEDIATE", self.place)
                    self._lent = connection
                    yield connection
                    execute(connection, "COMMIT", self.place)
                    has_ended_well = True
                except BaseException:
                    # Closing rolls back too, but only without open cursors, and the traceback may hold one.
                    with suppress(sqlite3.Error):
                        if connection.in_transaction:
                            connection.execute("ROLLBACK")
                    raise
        finally:
            self._writer = self._lent = self._used_up = None
            self._line.leave(moved=has_ended_well)

    def is_settled(self) -> bool:
        return self._writer != threading.get_ident()

    def truncate_log(self) -> bool:
        try:
            with self.reading() as connection:
                return truncate_log(connection)
        except RepositoryUnavailable:
            return False

    def lend(self, connection: sqlite3.Connection) -> AbstractContextManager[None]:
        """Lend the connection to hooks. It is not reused afterwards: a kept cursor would hold it in an old snapshot."""
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
        # A connection that is still open is open in both processes now. Using the file here could damage it.
        self._stranded = self._stranded or bool(self._idle) or self._gate.is_occupied
        self._make_locks()

    def _check_open(self) -> None:
        if self._closed:
            raise RepositoryUnavailable("the repository is closed")
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
            connection.execute("PRAGMA secure_delete = ON")  # not every build overwrites deleted data
            (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
            if mode != "wal" or synchronous != (2 if self._durable else 1):
                raise ConfigurationError(
                    f"the file system of {self.place} does not support write-ahead logs: put the file on a local disk"
                )
        except BaseException:
            connection.close()
            raise
        return connection


def _write_ahead(connection: sqlite3.Connection, timeout: float) -> str:
    # SQLite does not wait while other processes switch the same new file to its log, so this does.
    ends = time.monotonic() + timeout
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return str(mode)
        except sqlite3.OperationalError as error:
            if will_stay(error) or time.monotonic() > ends:
                raise
            time.sleep(0.02)


class Gate:
    """A gate around calls, used as a context manager. While it is shut, only threads that are inside may enter again.

    Every look-up passes it, so it does as little as possible.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._inside: list[int] = []  # the thread of each call
        self._shut = False

    def __enter__(self) -> None:
        thread = threading.get_ident()
        with self._lock:
            if self._shut and thread not in self._inside:
                self._changed.wait_for(lambda: not self._shut)
            self._inside.append(thread)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside.remove(threading.get_ident())
            if self._shut:
                self._changed.notify_all()

    def shut(self, timeout: float) -> bool:
        """Shut the gate and wait for the threads inside. Return whether all have left in time."""
        with self._changed:
            self._changed.wait_for(lambda: not self._shut)
            self._shut = True
            return self._changed.wait_for(lambda: not self._inside, timeout)

    @property
    def is_occupied(self) -> bool:
        """Return whether a thread is inside."""
        return bool(self._inside)

    def open(self) -> None:
        """Open the gate again."""
        with self._changed:
            self._shut = False
            self._changed.notify_all()


class Erasures:
    """The erasures that the write-ahead log may still hold. A repository and those made by `within` share one."""

    def __init__(self) -> None:
        self._pending: list[Callable[[], bool]] = []

    @property
    def are_pending(self) -> bool:
        """Return whether the log may hold erased data."""
        return bool(self._pending)

    def add(self, is_open: Callable[[], bool]) -> None:
        """Note an erasure, with a function that returns whether its transaction is still open."""
        self._pending.append(is_open)

    def finish(self, truncate_log: Callable[[], bool]) -> None:
        """Empty the log. This covers only the erasures that were committed before it began."""
        committed = [each for each in self._pending if not _is_true(each)]
        if committed and truncate_log():
            for each in committed:
                with suppress(ValueError):  # another thread was quicker
                    self._pending.remove(each)


def _is_true(is_open: Callable[[], bool]) -> bool:
    try:
        return is_open()
    except sqlite3.ProgrammingError:  # the connection has been closed, and its transaction with it
        return False


def truncate_log(connection: sqlite3.Connection) -> bool:
    """Empty the write-ahead log, if there is one. Return False if a reader, a writer or a fault prevented that."""
    cursor = plain_cursor(connection)
    try:
        (patience,) = cursor.execute("PRAGMA busy_timeout").fetchone()
        cursor.execute(f"PRAGMA busy_timeout = {min(int(patience), LOG_PATIENCE)}").fetchone()
        try:
            (is_busy, *_) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {patience}").fetchone()
    except sqlite3.Error:
        return False
    return not is_busy


def begins_by_itself(connection: sqlite3.Connection) -> bool:
    """Return whether Python begins a transaction before each write, so that writes wait for the caller's commit."""
    is_legacy = getattr(connection, "autocommit", -1) == -1  # sqlite3.LEGACY_TRANSACTION_CONTROL, since Python 3.12
    return is_legacy and connection.isolation_level is not None


def main_file(connection: sqlite3.Connection) -> str:
    """Return the path of a connection's file. It is empty for a database in memory."""
    rows = plain_cursor(connection).execute("PRAGMA database_list").fetchall()
    return next(str(file or "") for _, name, file in rows if name == "main")


@contextmanager
def no_other_transactions(connection: sqlite3.Connection) -> Generator[None, None, None]:
    """Prevent hooks from ending the connection's transaction, and from beginning another."""
    connection.set_authorizer(_deny_transactions)
    try:
        yield
    finally:
        with suppress(sqlite3.ProgrammingError):  # a hook has closed it
            connection.set_authorizer(None)


@contextmanager
def one_of_several(connection: sqlite3.Connection, place: str) -> Generator[None, None, None]:
    """Roll back the writes of the block if it raises, and no other part of the open transaction."""
    execute(connection, f"SAVEPOINT {_EACH}", place)
    try:
        yield
        execute(connection, f"RELEASE {_EACH}", place)
    except BaseException:
        if is_open(connection):  # SQLite may have rolled back the whole transaction by itself
            connection.execute(f"ROLLBACK TO {_EACH}")
            connection.execute(f"RELEASE {_EACH}")
        raise


def _deny_transactions(action: int, _: object, name: object, *__: object) -> int:
    is_ours = action == sqlite3.SQLITE_SAVEPOINT and name in ("clerkmap", _EACH)
    return sqlite3.SQLITE_DENY if is_ours or action == sqlite3.SQLITE_TRANSACTION else sqlite3.SQLITE_OK


def is_open(connection: sqlite3.Connection) -> bool:
    """Return whether a transaction is open. A closed connection has none."""
    try:
        connection.execute("SELECT 1").close()
        return connection.in_transaction
    except sqlite3.ProgrammingError:
        return False


def check_version() -> None:
    """Raise `ConfigurationError` if Python's SQLite is too old."""
    if sqlite3.sqlite_version_info < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise ConfigurationError(f"SQLite {wanted} or newer is required; this Python has {sqlite3.sqlite_version}")
    if sqlite3.sqlite_version_info < SOUND:
        logger.info(
            "SQLite %s is older than 3.51.3, which fixed a rare bug in write-ahead logs", sqlite3.sqlite_version
        )


def data_version(connection: sqlite3.Connection) -> int:
    (version,) = plain_cursor(connection).execute("PRAGMA data_version").fetchone()
    return int(version)


def plain_cursor(connection: sqlite3.Connection) -> sqlite3.Cursor:
    """Return a cursor with tuples as rows. Your connection may have another row factory."""
    cursor = connection.cursor()
    cursor.row_factory = None
    return cursor
