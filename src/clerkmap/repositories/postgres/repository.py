"""Users, organizations and memberships in PostgreSQL: for any number of processes on any number of machines.

Each `put` is one transaction with one conditional upsert a record. What other processes have written is heard of by
`NOTIFY`, in the moment of their commit. `async_repository.py` says the same for async code.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, LiteralString, ParamSpec, Self, TypeVar, Unpack, cast

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from ...core.principal import Standing
from ...driving import drive
from ...listeners import Listeners, written_from_within
from ..putting import Written
from ..shells import SqlRepository
from ..work import Ask, Rows, Work
from .attempts import Attempt, Attempts
from .lending import is_open, lending, lent_by
from .listener import Listener
from .pools import Connections, OpenedPool, listening
from .setup import PostgresOptions, Setup

T = TypeVar("T")
P = ParamSpec("P")
POLL_EVERY = 0.4  # seconds; with the time for which a silent listener is believed, less than one


class PostgresRepository(SqlRepository):
    """Keeps everything in PostgreSQL.

    `PostgresRepository.open("postgresql://...")` has a pool of its own. `PostgresRepository(pool)` uses yours, and
    `PostgresRepository(connection)` takes part in your transaction: you commit.

    Args:
        source: A connection of yours, or a pool.
        options: See `PostgresOptions` and `Options`. The transaction that hooks are called with is the
            `psycopg.Connection`.
    """

    poll_every: float | None = POLL_EVERY

    def __init__(
        self, source: Connection[Any] | ConnectionPool[Any] | OpenedPool, **options: Unpack[PostgresOptions]
    ) -> None:
        self._setup = Setup(speaks_async=False, **options)
        self._tables = self._setup.tables
        self.listeners: Listeners = self._setup.listeners
        self._connections = Connections(source)
        self._listener = listener_of(source, self._setup)
        if not self._read(self._setup.is_ready):
            self._write(self._setup.migrate)

    @classmethod
    def open(cls, conninfo: str, *, pool_size: int = 10, **options: Unpack[PostgresOptions]) -> Self:
        """Connect to a server, making the tables if need be. The options of the class are taken here too.

        Args:
            conninfo: A URL, or whatever else libpq takes.
            pool_size: How many connections to have at most, besides the one that listens.
            options: See `PostgresOptions` and `Options`.
        """
        pool = OpenedPool(conninfo, pool_size, options.get("timeout", 5))
        try:
            return cls(pool, **options)
        except BaseException:
            pool.close()
            raise

    @staticmethod
    def ddl(*, since: int = 0, **options: Unpack[PostgresOptions]) -> str:
        """What `open` does to tables that are at a schema version, 0 for none: a script to be run by other means."""
        return Setup(speaks_async=False, **options).ddl(since)

    def within(self, connection: Connection[Any]) -> Self:
        """The same repository on a connection of yours, in whose transaction it takes part: you commit."""
        joined = copy.copy(self)
        joined._connections = Connections(connection)
        return joined

    def find(
        self,
        instance: str,
        clerk_user_id: str,
        clerk_organization_id: str | None = None,
        clerk_session_id: str | None = None,
    ) -> Standing | None:
        standing = super().find(instance, clerk_user_id, clerk_organization_id, clerk_session_id)
        if standing is None or (self._connections.is_settled() and lent_by(self._setup) is None):
            return standing
        return replace(standing, settled=False)

    def poll(self) -> None:
        self._connections.check_open()
        if self._listener is None or not self._listener.is_listening():
            self.listeners.heard(None)

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._connections.close()

    def _read(self, work: Callable[P, Work[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        lent = lent_by(self._setup)
        if lent is not None:
            return _run(self._connections.cursor(lent), work(*args, **kwargs))
        attempts = Attempts(self._setup.timeout, again=not self._connections.are_yours)
        while True:
            attempt = Attempt()
            try:
                with self._connections.borrowed(attempts.seconds_left) as connection:
                    attempt.connection = connection
                    return _run(self._connections.cursor(connection), work(*args, **kwargs))
            except Exception as error:  # noqa: BLE001 - it comes out, unless there is to be another attempt
                pause = attempts.after(error, attempt)
            time.sleep(pause)

    def _write(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._transact(lambda: work(*args, **kwargs), repeatable=True)

    def _write_once(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._transact(lambda: work(*args, **kwargs), repeatable=False)

    def _transact(self, begin: Callable[[], Work[Written[T]]], *, repeatable: bool) -> T:
        if lent_by(self._setup) is not None:
            raise written_from_within()
        attempts = Attempts(self._setup.timeout, again=not self._connections.are_yours)
        while True:
            attempt = Attempt()
            try:
                with self._connections.borrowed(attempts.seconds_left) as connection:
                    attempt.connection = connection
                    with self._connections.transaction(connection) as joins:
                        written, result = _run(self._connections.cursor(connection), begin())
                        _run(self._connections.cursor(connection), self._setup.notify(written))
                        if self.listeners.has_hooks and any(change.is_news for change in written):
                            with lending(self._setup, connection):
                                self.listeners.call(written, connection, lambda: is_open(connection))
                        attempt.is_committing = not joins
            except Exception as error:  # noqa: BLE001 - it comes out, unless there is to be another attempt
                if attempt.is_unknown:
                    self.listeners.heard(None)
                pause = attempts.after(error, attempt, repeatable=repeatable)
            except BaseException:  # it may have come in the middle of the commit
                self.listeners.heard(None)
                raise
            else:
                # Whether a transaction of yours will be committed, nobody but you knows.
                self.listeners.tell(written, committed=not joins)
                return result
            time.sleep(pause)


def listener_of(source: Any, setup: Setup) -> Listener | None:
    """What hears of other processes' changes. None where that cannot be, or is not wanted."""
    connect = listening(source, setup.listen, setup.timeout)
    return Listener(connect, setup.channel, setup.listeners.heard) if connect is not None else None


def _run(cursor: Cursor[TupleRow], work: Work[T]) -> T:
    def answer(ask: Ask) -> Rows:
        cursor.execute(cast(LiteralString, ask[0]), ask[1])
        return cursor.fetchall() if cursor.rownumber is not None else []

    return drive(work, answer)
