"""What a repository works with: a connection of yours, or one of a pool. In the two colours, which say the same.

A pool's connection is the repository's own while it has it, so each write is a transaction of its own. A connection of
yours is shared: what is written on it becomes a part of your transaction, if you are in one or out of autocommit mode.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor
from psycopg.errors import FeatureNotSupported
from psycopg.rows import TupleRow, tuple_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from ...errors import ConfigurationError, RepositoryUnavailable
from .attempts import REFUSALS, refusal
from .lending import check_in_turn, is_alone
from .pools import AsyncOpenedPool, OpenedPool


class Source:
    """What a repository does its work with."""

    def __init__(self, source: Connection[Any] | ConnectionPool[Any] | OpenedPool) -> None:
        if not isinstance(source, (Connection, ConnectionPool, OpenedPool)):
            raise _not_a_source(f"a psycopg.Connection or a ConnectionPool, not {type(source).__name__}")
        self._source = source
        self._closed = False
        self._lock = threading.RLock()  # what one thread does with a connection, another must not get into
        self._cursor = Cursor(source, row_factory=tuple_row) if isinstance(source, Connection) else None
        self.is_yours: bool = self._cursor is not None

    def check_open(self) -> None:
        if self._closed:
            raise RepositoryUnavailable("it is closed")

    def is_settled(self) -> bool:
        """Whether what is read now is committed."""
        return not isinstance(self._source, Connection) or is_alone(self._source)

    def cursor(self, connection: Connection[Any]) -> Cursor[TupleRow]:
        """A cursor whose rows are tuples. A connection of yours may make rows in its own way."""
        check_in_turn(connection)
        if self._cursor is not None and connection is self._source:
            return self._cursor
        return Cursor(connection, row_factory=tuple_row)

    @contextmanager
    def borrowed(self, seconds: float) -> Generator[Connection[Any], None, None]:
        """A connection, for which this waits no longer than that."""
        self.check_open()
        if isinstance(self._source, Connection):
            with self._lock:
                check_in_turn(self._source)
                yield self._source
            return
        with self._source.connection(timeout=seconds) as connection:
            try:
                yield connection
            except FeatureNotSupported:  # what it has prepared fits a table no more that somebody has altered
                connection.close()
                raise

    @contextmanager
    def transaction(self, connection: Connection[Any]) -> Generator[bool, None, None]:
        """A transaction, or a savepoint in yours. Whether it is yours is what it gives."""
        joins = self.is_yours and not is_alone(connection)
        if joins:
            connection.execute("SELECT 1")  # begins yours, so that what follows does not begin one of its own
        is_done = False
        try:
            with connection.transaction():
                yield joins
                is_done = True
        except REFUSALS as error:  # of what is deferred until the commit
            if not is_done:
                raise
            refused = refusal(error)
        else:
            return
        raise refused

    def close(self) -> None:
        self._closed = True
        if isinstance(self._source, OpenedPool):
            self._source.close()


class AsyncSource:
    """The same for drivers that speak async."""

    def __init__(self, source: AsyncConnection[Any] | AsyncConnectionPool[Any] | AsyncOpenedPool) -> None:
        if not isinstance(source, (AsyncConnection, AsyncConnectionPool, AsyncOpenedPool)):
            raise _not_a_source(f"a psycopg.AsyncConnection or an AsyncConnectionPool, not {type(source).__name__}")
        self._source = source
        self._closed = False
        self._lock = asyncio.Lock()
        self._cursor = AsyncCursor(source, row_factory=tuple_row) if isinstance(source, AsyncConnection) else None
        self.is_yours: bool = self._cursor is not None

    def check_open(self) -> None:
        if self._closed:
            raise RepositoryUnavailable("it is closed")

    def is_settled(self) -> bool:
        """Whether what is read now is committed."""
        return not isinstance(self._source, AsyncConnection) or is_alone(self._source)

    def cursor(self, connection: AsyncConnection[Any]) -> AsyncCursor[TupleRow]:
        """A cursor whose rows are tuples. A connection of yours may make rows in its own way."""
        check_in_turn(connection)
        if self._cursor is not None and connection is self._source:
            return self._cursor
        return AsyncCursor(connection, row_factory=tuple_row)

    @asynccontextmanager
    async def borrowed(self, seconds: float) -> AsyncGenerator[AsyncConnection[Any], None]:
        """A connection, for which this waits no longer than that."""
        self.check_open()
        if isinstance(self._source, AsyncConnection):
            async with self._lock:
                check_in_turn(self._source)
                yield self._source
            return
        async with self._source.connection(timeout=seconds) as connection:
            try:
                yield connection
            except FeatureNotSupported:  # what it has prepared fits a table no more that somebody has altered
                await connection.close()
                raise

    @asynccontextmanager
    async def transaction(self, connection: AsyncConnection[Any]) -> AsyncGenerator[bool, None]:
        """A transaction, or a savepoint in yours. Whether it is yours is what it gives."""
        joins = self.is_yours and not is_alone(connection)
        if joins:
            await connection.execute("SELECT 1")  # begins yours, so that what follows does not begin one of its own
        is_done = False
        try:
            async with connection.transaction():
                yield joins
                is_done = True
        except REFUSALS as error:  # of what is deferred until the commit
            if not is_done:
                raise
            refused = refusal(error)
        else:
            return
        raise refused

    async def close(self) -> None:
        self._closed = True
        if isinstance(self._source, AsyncOpenedPool):
            await self._source.close()


def _not_a_source(wanted: str) -> ConfigurationError:
    return ConfigurationError(
        f"the repository takes {wanted}; for a URL there is open(url), and in SQLAlchemy "
        "session.connection().connection.driver_connection"
    )
