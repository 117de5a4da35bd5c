"""Users, organizations and memberships in PostgreSQL: for any number of processes on any number of machines.

Each `put` is one transaction with one conditional upsert per record. `NOTIFY` announces the writes of other processes
at their commit. `async_repository.py` does the same for async code.
"""

import copy
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, LiteralString, ParamSpec, Self, TypeVar, Unpack, cast

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from ..._runtime.driving import drive
from ...core.model import NewIdT, OpenedIdT
from ...errors import ClerkmapError
from ...hooks import Listeners, Then, written_from_within
from ...ports import documented, served_first
from ..arguments import not_a_connection
from ..sql.lending import Lending
from ..sql.notifications import POLL_EVERY, Notifications
from ..sql.postgres_setup import PostgresOptions, Setup
from ..sql.repository import SqlRepository
from ..sql.retries import Attempts, refusal
from ..sql.statements import Ask, Rows, Work, Written
from .connections import REFUSALS, check_hooks_left_it_usable, driver_error, is_open
from .listening import connects_to_listen
from .pools import OpenedPool
from .sources import Source

T = TypeVar("T")
P = ParamSpec("P")


@documented
class PostgresRepository(SqlRepository[NewIdT]):
    """A repository in PostgreSQL.

    `PostgresRepository.open("postgresql://...")` has its own pool, and makes the tables. Then
    `repository.within(connection)` joins the transaction of your connection. `PostgresRepository(pool)` uses your pool,
    and `PostgresRepository(connection)` has no other connection than yours. Both take the tables as they are, unless
    you pass `migrate=True`.

    Args:
        source: Your connection, or your pool.
        options: See `PostgresOptions` and `Options`. Hooks get the `psycopg.Connection` as their transaction.
    """

    poll_every: float | None = POLL_EVERY

    def __init__(
        self, source: Connection[Any] | ConnectionPool[Any] | OpenedPool, **options: Unpack[PostgresOptions[NewIdT]]
    ) -> None:
        self._setup = Setup(speaks_async=False, **options)
        self._tables = self._setup.tables
        self._lending = Lending()
        self.listeners: Listeners = self._setup.listeners
        self._source = Source(source, self._setup.timeout, self._setup.max_waiting)
        connect = connects_to_listen(source, self._setup.listen, self._setup.timeout)
        self._notifications = connect and Notifications(connect, self._setup.channel, self.listeners.keys_changed)
        self._is_part = False
        if not self._read(self._setup.is_ready):
            self._merge(self._setup.migrate, alone=self._source.is_settled())

    @classmethod
    def open(
        cls, conninfo: str, *, pool_size: int = 10, **options: Unpack[PostgresOptions[OpenedIdT]]
    ) -> "PostgresRepository[OpenedIdT]":
        """Connect to a server. Make the tables if they are missing, and upgrade old tables.

        Args:
            conninfo: A URL, or another connection string of libpq.
            pool_size: How many connections to have at most, besides the one that listens.
            options: See `PostgresOptions` and `Options`.
        """
        make = cast("type[PostgresRepository[OpenedIdT]]", cls)  # checkers take `cls` for the class with text ids
        options.setdefault("migrate", True)
        pool = OpenedPool(conninfo, pool_size, options.get("timeout", 5))
        try:
            return make(pool, **options)
        except BaseException:
            pool.close()
            raise

    @staticmethod
    def ddl(*, since: int = 0, **options: Unpack[PostgresOptions]) -> str:
        """Return the script that upgrades tables from a schema version, 0 for none, to run it by other means."""
        return Setup(speaks_async=False, **options).ddl(since)

    def within(self, connection: Connection[Any]) -> Self:
        """Return the same repository on your connection. Its writes join your transaction, and you commit.

        It never makes or changes tables. Closing it does not close your connection.

        Raises:
            ConfigurationError: The connection is no `psycopg.Connection`.
        """
        if not isinstance(connection, Connection):
            raise not_a_connection("psycopg.Connection", connection)
        part = copy.copy(self)
        part._source, part._is_part = Source(connection), True
        return part

    def poll(self) -> None:
        self._source.check_open()
        listening = self._notifications
        if listening is None or not listening.are_heard():
            self.listeners.keys_changed(None)
        # Not in your transaction, which would send it only at its end, if at all.
        if listening is not None and self._is_settled() and (proof := listening.wanted()) is not None:
            with (
                suppress(ClerkmapError),
                served_first(),
            ):  # without it the cache is cleared often, which is correct, too
                self._read(self._setup.prove, proof)
                listening.sent()

    def close(self) -> None:
        if self._notifications is not None and not self._is_part:
            self._notifications.close()
        self._source.close()

    def _is_settled(self) -> bool:
        return self._source.is_settled() and self._lending.connection() is None

    def _read(self, work: Callable[P, Work[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        lent = self._lending.connection()
        if lent is not None:
            return _run(self._source.cursor(lent), work(*args, **kwargs))
        attempts = self._attempts()
        while True:
            try:
                with self._source.borrowed(again=attempts.have_failed) as connection:
                    attempts.connection = connection
                    return _run(self._source.cursor(connection), work(*args, **kwargs))
            except Exception as error:  # noqa: BLE001 - it is raised, unless there is another attempt
                pause = attempts.after(error)
            time.sleep(pause)
            attempts.begin()

    def _write(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._transact(lambda: work(*args, **kwargs), repeatable=False)

    def _merge(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._transact(lambda: work(*args, **kwargs), repeatable=True)

    def _write_then(self, then: Then, work: Callable[[], Work[Written[T]]], *, repeatable: bool) -> T:
        return self._transact(work, repeatable=repeatable, then=then)

    def _transact(self, work: Callable[[], Work[Written[T]]], *, repeatable: bool, then: Then | None = None) -> T:
        if self._lending.connection() is not None:
            raise written_from_within()
        attempts = self._attempts()
        while True:
            try:
                with self._source.borrowed(again=attempts.have_failed) as connection:
                    attempts.connection = connection
                    with self._source.transaction(connection) as joins:
                        written, result = self._work_in(connection, work(), then)
                        attempts.is_committing = not joins
            except Exception as error:  # noqa: BLE001 - it is raised, unless there is another attempt
                if attempts.is_unknown(error):
                    self.listeners.keys_changed(None)
                pause = attempts.after(error, repeatable=repeatable)
            except BaseException:  # it may have interrupted the commit
                self.listeners.keys_changed(None)
                raise
            else:
                # Only the application knows whether its transaction will be committed.
                self.listeners.tell(written, committed=not joins)
                return result
            time.sleep(pause)
            attempts.begin()

    def _work_in(self, connection: Connection[Any], work: Work[Written[T]], then: Then | None) -> Written[T]:
        with self._lending.of(connection):
            cursor = self._source.cursor(connection)
            written, result = _run(cursor, self._tables.write(work))
            _run(cursor, self._setup.notify(written))
            then = then if result is not None else None
            if self.listeners.has_hooks or then is not None:
                self.listeners.call(written, connection, lambda: is_open(connection), then)
            _run(cursor, self._tables.users.check_rows(written))
        check_hooks_left_it_usable(connection)
        return written, result

    def _attempts(self) -> Attempts:
        return Attempts(self._setup.names, self._setup.timeout, driver_error, again=not self._source.is_yours)


def _run(cursor: Cursor[TupleRow], work: Work[T]) -> T:
    def answer(ask: Ask) -> Rows:
        try:
            cursor.execute(cast(LiteralString, ask[0]), ask[1])
            return cursor.fetchall() if cursor.rownumber is not None else []
        except REFUSALS as error:
            refused = refusal(error)
        raise refused  # outside the `except`, so that psycopg's error is not its context

    return drive(work, answer)
