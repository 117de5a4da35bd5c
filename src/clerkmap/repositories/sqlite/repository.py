"""Users, organizations and memberships in an SQLite file: for one machine, any number of threads and processes.

Each `put` is one transaction with one conditional upsert per record. Its commit is on the disk when `put` returns.
"""

import copy
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ParamSpec, Self, TypeVar, Unpack, cast

from ..._runtime.driving import drive
from ..._runtime.threads import MAX_WAITING, Call, RepositoryThreads
from ...core.model import Change, NewIdT, OpenedIdT
from ...core.principal import Standing
from ...errors import ConfigurationError, RepositoryUnavailable
from ...hooks import Listeners, Then, written_from_within
from ...ports import documented
from ..arguments import not_a_connection
from ..options import Configuration, Options
from ..sql.dialects import SQLITE, Names
from ..sql.errors import without_text
from ..sql.reading import standing_of
from ..sql.repository import SqlRepository, SqlTables
from ..sql.schema import Schema
from ..sql.statements import Ask, Rows, Statements, Work, Written
from .change_log import ChangeLog
from .connections import (
    Connections,
    Erasures,
    FileConnections,
    SharedConnection,
    check_version,
    is_open,
    one_of_several,
    plain_cursor,
)
from .errors import MEMORY, REFUSALS, fault, refusal

T = TypeVar("T")
P = ParamSpec("P")
_ID_TYPES = {"text": "TEXT", "bigint": "INTEGER", None: "ANY"}
READERS = 4  # threads of async code: they share the interpreter, and SQLite seldom waits


class _Several(threading.local):
    """The state of a thread that writes for several callers in one transaction."""

    connection: sqlite3.Connection | None = None
    is_busy = False
    written: Sequence[Change] = ()


@documented
class SqliteRepository(SqlRepository[NewIdT]):
    """A repository in SQLite.

    `SqliteRepository.open("app.db")` handles its own connections, and makes the tables. `repository.within(connection)`
    joins the transaction of your connection. `SqliteRepository(connection)` has no other connection than yours, and
    takes the tables as they are.

    Args:
        connection: Your connection.
        prefix: The beginning of the tables' names.
        migrate: Whether to make the tables on your connection if they are missing, and upgrade old ones.
        options: See `Options`. Hooks get the `sqlite3.Connection` as their transaction.
    """

    def __init__(
        self,
        connection: sqlite3.Connection | Connections,
        *,
        prefix: str = "clerkmap_",
        migrate: bool = False,
        **options: Unpack[Options[NewIdT]],
    ) -> None:
        check_version()
        if isinstance(connection, sqlite3.Connection):
            connection = SharedConnection(connection, owned=False)
        elif not isinstance(connection, (SharedConnection, FileConnections)):
            raise ConfigurationError("the repository takes a sqlite3.Connection; for a file there is open(path)")
        self._connections: Connections = connection
        configuration, names = Configuration(**options), Names(prefix)
        self.listeners: Listeners = configuration.listeners
        self._tables = SqlTables(Statements(SQLITE, names, configuration.numbers), configuration)
        self.poll_every: float | None = connection.poll_every
        schema = Schema(SQLITE, names, _ID_TYPES[configuration.id_type])
        is_ready = self._read(schema.is_ready, "SELECT 1 FROM sqlite_master WHERE name = ?")
        # Before the tables are made: if the users table is missing, no tables are left behind.
        self._read(self._tables.users.check_numbers)
        if not is_ready and not migrate:
            raise ConfigurationError(
                "the tables are missing or outdated: call open(path), pass migrate=True, or run clerkmap migrate"
            )
        if not is_ready:
            with self._connections.writing(alone=True) as to_write:  # if many start at once, one migrates
                self._run(to_write, schema.migrate())
        self._several = _Several()
        # On your connection there are none: a repository for each request must not start threads.
        self.threads: RepositoryThreads | None = None
        if isinstance(connection, FileConnections):
            self.threads = RepositoryThreads(
                readers=READERS,
                writers=1,  # SQLite has one writer at a time
                timeout=connection.timeout,
                max_waiting=connection.max_waiting,
                together=self._write_together,
            )
        self._erasures = Erasures()
        self._changes = ChangeLog(SQLITE, names, self.listeners)
        self.poll()

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        durable: bool = True,
        timeout: float = 5,
        max_waiting: int = MAX_WAITING,
        prefix: str = "clerkmap_",
        migrate: bool = True,
        **options: Unpack[Options[OpenedIdT]],
    ) -> "SqliteRepository[OpenedIdT]":
        """Open a file or `:memory:`. Make the file and the tables if they are missing, and upgrade old tables.

        Args:
            path: The file.
            durable: Whether a commit must have reached the disk. If not, a power cut may lose the last commits.
            timeout: Seconds after which writers that wait are refused, if nothing was written meanwhile.
            max_waiting: How many writers may wait. The others are refused at once: answer 503.
            prefix: The beginning of the tables' names.
            migrate: Whether to make the tables if they are missing, and upgrade old ones. If not, they are refused.
            options: See `Options`.
        """
        make = cast("type[SqliteRepository[OpenedIdT]]", cls)  # checkers take `cls` for the class with text ids
        connections: Connections
        if str(path).startswith("sqlite:"):
            raise ConfigurationError("open() takes the path of a file, such as 'app.db', not a URL")
        if str(path) == ":memory:":
            connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            connections = SharedConnection(connection, owned=True)
        else:
            connections = FileConnections(Path(path), durable=durable, timeout=timeout, max_waiting=max_waiting)
        try:
            return make(connections, prefix=prefix, migrate=migrate, **options)
        except BaseException:
            connections.close()
            raise

    def within(self, connection: sqlite3.Connection) -> Self:
        """Return the same repository on your connection. Its writes join your transaction, and you commit.

        It never makes or changes tables. Closing it does not close your connection.

        Raises:
            ConfigurationError: The connection is to another file, or is no `sqlite3.Connection`.
        """
        if not isinstance(connection, sqlite3.Connection):
            raise not_a_connection("sqlite3.Connection", connection)
        part = copy.copy(self)
        part._connections = SharedConnection(connection, owned=False)
        part.threads, part._several = None, _Several()
        place, there = self._connections.place, part._connections.place
        if place != there and (MEMORY in (place, there) or not _is_one_file(place, there)):
            raise ConfigurationError(
                f"the connection uses {there}, and the repository {place}: a transaction must use one file"
            )
        return part

    def find(
        self,
        instance: str,
        clerk_user_id: str,
        clerk_organization_id: str | None = None,
        clerk_session_id: str | None = None,
    ) -> Standing[NewIdT] | None:
        wanted = self._tables.reading.standing_wanted(instance, clerk_user_id, clerk_organization_id, clerk_session_id)
        with self._connections.reading() as connection:
            settled = self._connections.is_settled()
            rows = self._answer(self._cursor(connection), wanted)
        standing = standing_of(rows, in_organization=clerk_organization_id is not None)
        return standing if settled or standing is None else replace(standing, settled=False)

    def poll(self) -> None:
        self._changes.poll(self._read_committed)
        self._erasures.finish(self._connections.truncate_log)

    def close(self) -> None:
        self._connections.close()
        if self.threads is not None:
            self.threads.close()

    def _is_settled(self) -> bool:
        return self._connections.is_settled()

    def _is_erasing(self) -> bool:
        return self._erasures.are_pending or self._several.connection is not None  # the log is emptied after the commit

    def _read(self, work: Callable[P, Work[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._connections.reading() as connection:
            return self._run(connection, work(*args, **kwargs))

    def _read_committed(self, work: Work[T]) -> T | None:
        with self._connections.reading() as connection:
            return self._run(connection, work) if self._connections.is_settled() else None

    def _write(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._transact(work(*args, **kwargs), None)

    def _write_then(self, then: Then, work: Callable[[], Work[Written[T]]], *, repeatable: bool) -> T:
        return self._transact(work(), then)

    def _transact(self, work: Work[Written[T]], then: Then | None) -> T:
        if self._several.connection is not None:
            return self._write_one_of_several(self._several.connection, work, then)
        try:
            with self._connections.writing() as connection:
                written, result = self._work_in(connection, work, then)
            # Only the application knows whether its transaction will be committed.
            self.listeners.tell(written, committed=self._connections.is_settled())
            self._empty_log_after(written)
        except Exception:
            raise
        except BaseException:  # it may have been raised between the two
            self.listeners.keys_changed(None)
            raise
        return result

    def _work_in(self, connection: sqlite3.Connection, work: Work[Written[T]], then: Then | None) -> Written[T]:
        written, result = self._run(connection, self._tables.write(work))
        then = then if result is not None else None
        if then is not None or (self.listeners.has_hooks and any(change.is_news for change in written)):
            with self._connections.lend(connection):
                self.listeners.call(written, connection, lambda: is_open(connection), then)
        self._run(connection, self._tables.users.check_rows(written))
        return written, result

    def _empty_log_after(self, written: Sequence[Change]) -> None:
        if [change for change in written if change.erases]:
            connections = self._connections
            self._erasures.add(lambda: not connections.is_settled())
        self._erasures.finish(self._connections.truncate_log)

    def _write_together(self, calls: Sequence[Call]) -> None:
        """Run calls that write in one transaction. Each has a savepoint: a failed call does not affect the others."""
        if len(calls) == 1:
            calls[0].run()
            return
        written: list[Sequence[Change]] = []
        try:
            with self._connections.writing() as connection:
                self._several.connection = connection
                try:
                    for call in calls:
                        self._several.written = ()
                        call.run()
                        written.append(self._several.written)
                        if not is_open(connection):
                            raise RepositoryUnavailable("another write rolled back the shared transaction")
                finally:
                    self._several.connection = None
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            self.listeners.keys_changed(None)
            for call in calls:
                if call.error is None:
                    call.fail(error)
            return
        committed = self._connections.is_settled()
        for call, changes in zip(calls, written, strict=True):
            call.follow_up(partial(self.listeners.tell, changes, committed=committed))
        self._empty_log_after([change for changes in written for change in changes])

    def _write_one_of_several(self, connection: sqlite3.Connection, work: Work[Written[T]], then: Then | None) -> T:
        if self._several.is_busy:
            raise written_from_within()
        self._several.is_busy = True
        try:
            with one_of_several(connection, self._connections.place):
                written, result = self._work_in(connection, work, then)
        finally:
            self._several.is_busy = False
        self._several.written = written
        return result

    def _run(self, connection: sqlite3.Connection, work: Work[T]) -> T:
        return drive(work, partial(self._answer, self._cursor(connection)))

    def _cursor(self, connection: sqlite3.Connection) -> sqlite3.Cursor:
        try:
            return plain_cursor(connection)
        except sqlite3.Error as error:  # it is closed
            raise fault(error, self._connections.place) from without_text(error)

    def _answer(self, cursor: sqlite3.Cursor, ask: Ask) -> Rows:
        statement, values = ask
        try:
            if isinstance(values, list):
                return [(cursor.executemany(statement, values).rowcount,)]
            return cursor.execute(statement, values).fetchall()
        except REFUSALS as error:
            raise refusal(error, self._connections.place) from None  # the text of a trigger may show the row
        except sqlite3.Error as error:
            raise fault(error, self._connections.place) from without_text(error)


def _is_one_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
