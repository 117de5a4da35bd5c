"""The source of a repository's connections: your connection, or a pool. Sync and async versions do the same.

A pool's connection belongs to the repository while it is borrowed, so each write is its own transaction. Your
connection is shared: a write becomes part of your transaction, if one is open or autocommit is off.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor, Error
from psycopg.errors import FeatureNotSupported, ReadOnlySqlTransaction
from psycopg.rows import TupleRow, tuple_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

from ..._runtime.threads import MAX_WAITING
from ...errors import ConfigurationError, RepositoryUnavailable
from ...ports import first_in_line
from ..lines import AsyncLine, Line
from ..sql.errors import without_text
from ..sql.retries import refusal
from .connections import REFUSALS, check_in_turn, is_alone
from .outages import Health, probing
from .pools import AsyncOpenedPool, OpenedPool

logger: logging.Logger = logging.getLogger("clerkmap.repositories")

_NO_CONNECTION = "your pool gave no connection in time: see the log psycopg.pool for the cause"
_NOT_GIVEN = "returning a connection failed: %s"
_LOOK_EVERY = 0.02  # seconds, in an outage
# After these errors a connection is useless: its prepared statements do not fit an altered table, or its server has
# become a standby.
REPLACED = (FeatureNotSupported, ReadOnlySqlTransaction)


class Source:
    """Lend the connections that a repository works on."""

    def __init__(
        self,
        source: Connection[Any] | ConnectionPool[Any] | OpenedPool,
        timeout: float = 5,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        if not isinstance(source, (Connection, ConnectionPool, OpenedPool)):
            raise _not_a_source(f"a psycopg.Connection or a ConnectionPool, not {type(source).__name__}")
        self._source = source
        self._closed = False
        self._timeout = timeout
        self._lock = threading.RLock()  # two threads must not interleave their work on a connection
        self._cursor = Cursor(source, row_factory=tuple_row) if isinstance(source, Connection) else None
        self.is_yours: bool = self._cursor is not None
        if not isinstance(source, Connection):
            self._line = Line(lambda: source.max_size, timeout, max_waiting)
            self._health = Health(*probing(source.conninfo, source.kwargs), timeout)

    def check_open(self) -> None:
        if self._closed:
            raise RepositoryUnavailable("the repository is closed")

    def is_settled(self) -> bool:
        """Return whether a state that is read now is committed."""
        return not isinstance(self._source, Connection) or is_alone(self._source)

    def cursor(self, connection: Connection[Any]) -> Cursor[TupleRow]:
        """Return a cursor with tuples as rows. Your connection may have another row factory."""
        check_in_turn(connection)
        if self._cursor is not None and connection is self._source:
            return self._cursor
        return Cursor(connection, row_factory=tuple_row)

    @contextmanager
    def borrowed(self, *, again: bool = False) -> Generator[Connection[Any], None, None]:
        """Wait in line and lend a connection. A request that has lost its connection comes next."""
        self.check_open()
        if isinstance(self._source, Connection):
            with self._lock:
                check_in_turn(self._source)
                yield self._source
            return
        self._health.check()
        is_done = False
        while not is_done:
            self._line.enter(first=again or first_in_line.get())
            loan, connection = None, None
            try:
                loan = self._health.lend()
                self.check_open()
                connection = self._wait_out_outage_and_take(self._source)
                if connection is not None:
                    self._health.connected(loan, connection)
                    is_done = True
                    with connection if isinstance(self._source, ConnectionPool) else nullcontext():
                        yield connection
            except REPLACED:
                if connection is not None:
                    connection.close()
                raise
            finally:
                moved = loan is not None and self._health.take_back(loan)
                try:
                    if connection is not None:
                        self._give(self._source, connection)
                except Exception as error:  # noqa: BLE001 - the result of the work must not be lost
                    logger.warning(_NOT_GIVEN, type(error).__name__)
                finally:
                    self._line.leave(moved=moved)
            again = True

    def _wait_out_outage_and_take(self, pool: ConnectionPool[Any] | OpenedPool) -> Connection[Any] | None:
        """Return a connection, or None if the server accepts no more: one that is in use will come back."""
        ends = time.monotonic() + self._timeout
        while True:
            while self._health.is_away:
                self._health.check()
                time.sleep(_LOOK_EVERY)
            if isinstance(pool, ConnectionPool):
                try:
                    connection: Connection[Any] = pool.getconn(timeout=self._timeout)
                except PoolTimeout as error:
                    self._health.begin_outage_if_silent()
                    raise RepositoryUnavailable(_NO_CONNECTION) from without_text(error)
                return connection
            try:
                return pool.take(self._health.check)
            except Error as error:
                if pool.number > 0:
                    self._line.narrow(pool.number)
                    return None
                self._health.cannot_connect(error)
                if time.monotonic() > ends:  # the server has come back and gone again, repeatedly
                    raise

    def _give(self, pool: ConnectionPool[Any] | OpenedPool, connection: Connection[Any]) -> None:
        pool.putconn(connection) if isinstance(pool, ConnectionPool) else pool.give(connection)

    @contextmanager
    def transaction(self, connection: Connection[Any]) -> Generator[bool, None, None]:
        """Open a transaction, or a savepoint in yours. Yield whether the transaction is yours."""
        joins = self.is_yours and not is_alone(connection)
        if joins:
            connection.execute("SELECT 1")  # begins your transaction, so that the savepoint below begins none
        is_done = False
        try:
            with connection.transaction():
                if isinstance(self._source, OpenedPool) and (first := self._source.for_each_transaction) is not None:
                    connection.execute(*first)
                yield joins
                is_done = True
        except REFUSALS as error:  # from constraints that are deferred until the commit
            if not is_done:
                raise
            refused = refusal(error)
        else:
            return
        raise refused

    def close(self) -> None:
        self._closed = True
        if not isinstance(self._source, Connection):
            self._health.close()
        if isinstance(self._source, OpenedPool):
            self._source.close()


class AsyncSource:
    """Lend the connections that an async repository works on."""

    def __init__(
        self,
        source: AsyncConnection[Any] | AsyncConnectionPool[Any] | AsyncOpenedPool,
        timeout: float = 5,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        if not isinstance(source, (AsyncConnection, AsyncConnectionPool, AsyncOpenedPool)):
            raise _not_a_source(f"a psycopg.AsyncConnection or an AsyncConnectionPool, not {type(source).__name__}")
        self._source = source
        self._closed = False
        self._timeout = timeout
        self._max_waiting = max_waiting
        self._lock = asyncio.Lock()
        self._cursor = AsyncCursor(source, row_factory=tuple_row) if isinstance(source, AsyncConnection) else None
        self.is_yours: bool = self._cursor is not None
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncLine] = WeakKeyDictionary()
        if not isinstance(source, AsyncConnection):
            self._health = Health(*probing(source.conninfo, source.kwargs), timeout)

    def check_open(self) -> None:
        if self._closed:
            raise RepositoryUnavailable("the repository is closed")

    def is_settled(self) -> bool:
        """Return whether a state that is read now is committed."""
        return not isinstance(self._source, AsyncConnection) or is_alone(self._source)

    def cursor(self, connection: AsyncConnection[Any]) -> AsyncCursor[TupleRow]:
        """Return a cursor with tuples as rows. Your connection may have another row factory."""
        check_in_turn(connection)
        if self._cursor is not None and connection is self._source:
            return self._cursor
        return AsyncCursor(connection, row_factory=tuple_row)

    @asynccontextmanager
    async def borrowed(self, *, again: bool = False) -> AsyncGenerator[AsyncConnection[Any], None]:
        """Wait in line and lend a connection. A request that has lost its connection comes next."""
        self.check_open()
        if isinstance(self._source, AsyncConnection):
            async with self._lock:
                check_in_turn(self._source)
                yield self._source
            return
        self._health.check()
        line, is_done = self._line(self._source), False
        while not is_done:
            await line.enter(first=again or first_in_line.get())
            loan, connection = None, None
            try:
                loan = self._health.lend()
                self.check_open()
                connection = await self._wait_out_outage_and_take(self._source, line)
                if connection is not None:
                    self._health.connected(loan, connection)
                    is_done = True
                    async with connection if isinstance(self._source, AsyncConnectionPool) else nullcontext():
                        yield connection
            except REPLACED:
                if connection is not None:
                    await connection.close()
                raise
            finally:
                moved = loan is not None and self._health.take_back(loan)
                try:
                    if connection is not None:
                        await self._give(self._source, connection)
                except Exception as error:  # noqa: BLE001 - the result of the work must not be lost
                    logger.warning(_NOT_GIVEN, type(error).__name__)
                finally:
                    line.leave(moved=moved)
            again = True

    def _line(self, pool: AsyncConnectionPool[Any] | AsyncOpenedPool) -> AsyncLine:
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            line = self._lines[loop] = AsyncLine(lambda: pool.max_size, self._timeout, self._max_waiting)
        return line

    async def _wait_out_outage_and_take(
        self, pool: AsyncConnectionPool[Any] | AsyncOpenedPool, line: AsyncLine
    ) -> AsyncConnection[Any] | None:
        """Return a connection, or None if the server accepts no more: one that is in use will come back."""
        ends = time.monotonic() + self._timeout
        while True:
            while self._health.is_away:
                self._health.check()
                await asyncio.sleep(_LOOK_EVERY)
            if isinstance(pool, AsyncConnectionPool):
                try:
                    connection: AsyncConnection[Any] = await pool.getconn(timeout=self._timeout)
                except PoolTimeout as error:
                    self._health.begin_outage_if_silent()
                    raise RepositoryUnavailable(_NO_CONNECTION) from without_text(error)
                return connection
            try:
                return await pool.take(self._health.check)
            except Error as error:
                if pool.number > 0:
                    line.narrow(pool.number)
                    return None
                self._health.cannot_connect(error)
                if time.monotonic() > ends:  # the server has come back and gone again, repeatedly
                    raise

    async def _give(self, pool: AsyncConnectionPool[Any] | AsyncOpenedPool, connection: AsyncConnection[Any]) -> None:
        if isinstance(pool, AsyncConnectionPool):
            await pool.putconn(connection)
        else:
            pool.give(connection)

    @asynccontextmanager
    async def transaction(self, connection: AsyncConnection[Any]) -> AsyncGenerator[bool, None]:
        """Open a transaction, or a savepoint in yours. Yield whether the transaction is yours."""
        joins = self.is_yours and not is_alone(connection)
        if joins:
            await connection.execute("SELECT 1")  # begins your transaction, so that the savepoint below begins none
        is_done = False
        try:
            async with connection.transaction():
                if (
                    isinstance(self._source, AsyncOpenedPool)
                    and (first := self._source.for_each_transaction) is not None
                ):
                    await connection.execute(*first)
                yield joins
                is_done = True
        except REFUSALS as error:  # from constraints that are deferred until the commit
            if not is_done:
                raise
            refused = refusal(error)
        else:
            return
        raise refused

    async def close(self) -> None:
        self._closed = True
        if not isinstance(self._source, AsyncConnection):
            self._health.close()
        if isinstance(self._source, AsyncOpenedPool):
            await self._source.close()


def _not_a_source(wanted: str) -> ConfigurationError:
    return ConfigurationError(
        f"the repository takes {wanted}. For a URL call open(url); for an engine of SQLAlchemy use SqlAlchemyRepository"
    )
