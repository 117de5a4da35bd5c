"""SQLite connections: a pool of them on a file, or one that is shared.

Both offer the same two doors. `reading()` lends a connection; `writing()` lends one inside a transaction that holds the
write lock from its first moment (a transaction that reads before it writes would fail under load instead of waiting).
What SQLite raises when it cannot answer comes out as `RepositoryUnavailable`, whose cause tells more.
"""

import logging
import sqlite3
import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from ..errors import ConfigurationError, RepositoryUnavailable
from ..forks import tell_after_fork

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
    def written_elsewhere(self) -> bool: ...
    def is_settled(self) -> bool: ...
    def close(self) -> None: ...


class FileConnections:
    """Connections to one file, opened as needed, kept for the next caller. For any number of threads and processes."""

    poll_every: float | None = POLL_EVERY

    def __init__(self, path: Path, *, durable: bool, timeout: float) -> None:
        self._path = path
        self._durable = durable
        self._timeout = timeout
        # Writers of one process queue here: SQLite's own waiting is a poll with growing pauses, and starves some.
        self._write_lock = threading.Lock()
        self._watch_lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._watch: sqlite3.Connection | None = None
        self._version = 0
        self._inherited: list[sqlite3.Connection | None] = []
        self._closed = False
        self.written_elsewhere()
        tell_after_fork(self)

    def after_fork(self) -> None:
        """A connection must not cross a fork: the child makes its own, and leaves its parent's untouched."""
        self._inherited += [*self._idle, self._watch]
        self._idle, self._watch = [], None
        self._write_lock, self._watch_lock = threading.Lock(), threading.Lock()

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        with unavailable():
            connection = self._take()
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
        if not self._write_lock.acquire(timeout=self._timeout):
            raise RepositoryUnavailable("too many writers are waiting")
        try:
            with self.reading() as connection:
                connection.execute("BEGIN IMMEDIATE")
                yield connection  # if this or the commit raises, the connection is closed, which undoes it all
                connection.execute("COMMIT")
        finally:
            self._write_lock.release()

    def written_elsewhere(self) -> bool:
        """Whether any other connection has committed since the last time this was asked."""
        with self._watch_lock, unavailable():
            # A version means something on its own connection only. A new one cannot tell what it has missed.
            new = self._watch is None
            watch = self._watch = self._watch or self._connect()
            version = _data_version(watch)
            changed, self._version = new or version != self._version, version
            return changed

    def is_settled(self) -> bool:
        return True

    def close(self) -> None:
        self._closed = True
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        if self._closed:
            raise RepositoryUnavailable("it is closed")
        connection = sqlite3.connect(
            self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            mode = _write_ahead(connection)
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
        self._closed = False
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
            begin, commit, rollback = JOINED if connection.in_transaction else ALONE
            connection.execute(begin)
            try:
                yield connection
                connection.execute(commit)
            except BaseException:
                if connection.in_transaction:  # SQLite may have undone it all by itself, when the disk is full
                    for statement in rollback:
                        connection.execute(statement)
                raise

    def written_elsewhere(self) -> bool:
        with self.reading():
            version = self._count_writes()
            changed, self._version = version != self._version, version
            return changed

    def _count_writes(self) -> tuple[int, int]:
        # SQLite tells a connection what others have written, and counts apart what it has written itself.
        return _data_version(self._connection), self._connection.total_changes

    def is_settled(self) -> bool:
        return not self._connection.in_transaction

    def close(self) -> None:
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
    (version,) = connection.cursor().execute("PRAGMA data_version").fetchone()
    return int(version)


def _write_ahead(connection: sqlite3.Connection) -> str:
    # SQLite does not wait for other processes that are switching the same new file over, so this does.
    for _attempt in range(50):
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return str(mode)
        except sqlite3.OperationalError:
            threading.Event().wait(0.02)
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    return str(mode)
