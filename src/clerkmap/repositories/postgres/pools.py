"""Where the connections come from. In the two colours, which say the same.

A pool's connection is the repository's own while it has it, so each write is a transaction of its own. A connection of
yours is shared: what is written on it becomes a part of your transaction, if you are in one or out of autocommit mode.
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self
from weakref import finalize

from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow, tuple_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

from ...errors import ConfigurationError, RepositoryUnavailable
from ...forks import SurvivesForks
from .lending import is_alone

# What a pool of the repository's own sets for each connection.
_CONFIGURE = """
SELECT set_config('lock_timeout', %s, false), set_config('default_transaction_isolation', 'read committed', false)
"""
# A pool that has failed to connect tries again after ever longer pauses, of minutes in the end. So ours gives up at
# once, and whoever waits for a connection asks anew.
ASK_EVERY = 0.25  # seconds
_inherited: list[object] = []  # the parent's pools: to close one here would end the parent's sessions


class OpenedPool(SurvivesForks):
    """A pool that `open` has opened. After a fork, the child has one of its own."""

    def __init__(self, conninfo: str, size: int, timeout: float) -> None:
        self.conninfo = conninfo
        self.kwargs = settings(conninfo, timeout)
        self._size = size
        self._timeout = timeout
        self._pool: ConnectionPool[Any] | None = None
        self._make_lock()
        self.survive_forks()

    def _make_lock(self) -> None:
        self._lock = threading.Lock()

    def after_fork_in_child(self) -> None:
        self._make_lock()
        if self._pool is not None:
            _inherited.append(self._pool)
            self._close_at_exit.detach()
            self._pool = None

    @contextmanager
    def connection(self, timeout: float) -> Generator[Connection[Any], None, None]:
        """One of its connections. After an outage, as soon as there is one to be had."""
        pool = self._get()
        connection = self._take(pool, time.monotonic() + timeout)
        try:
            with connection:
                yield connection
        finally:
            pool.putconn(connection)

    def _take(self, pool: ConnectionPool[Any], ends: float) -> Connection[Any]:
        while True:
            try:
                return pool.getconn(timeout=min(ASK_EVERY, max(0.1, ends - time.monotonic())))
            except PoolTimeout:
                if time.monotonic() > ends:
                    raise

    def _get(self) -> ConnectionPool[Any]:
        if self._pool is None:
            with self._lock:
                if self._pool is None:
                    pool = ConnectionPool[Any](
                        self.conninfo, kwargs=self.kwargs, min_size=1, max_size=self._size, timeout=self._timeout,
                        configure=self._configure, name="clerkmap", open=True, reconnect_timeout=0,
                    )  # fmt: skip
                    self._close_at_exit = finalize(self, pool.close)  # its threads would be waited for
                    self._pool = pool
        return self._pool

    def _configure(self, connection: Connection[Any]) -> None:
        connection.execute(_CONFIGURE, (f"{int(self._timeout * 1000)}ms",))

    def close(self) -> None:
        with self._lock:
            if self._pool is not None:
                self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncOpenedPool(SurvivesForks):
    """The same for one event loop; another loop has one of its own."""

    def __init__(self, conninfo: str, size: int, timeout: float) -> None:
        self.conninfo = conninfo
        self.kwargs = settings(conninfo, timeout)
        self._size = size
        self._timeout = timeout
        self._pool: AsyncConnectionPool[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        _inherited.append(self._pool)
        self._pool = self._loop = None

    @asynccontextmanager
    async def connection(self, timeout: float) -> AsyncGenerator[AsyncConnection[Any], None]:  # noqa: ASYNC109 - as pools do
        """One of its connections. After an outage, as soon as there is one to be had."""
        pool = await self._get()
        connection = await self._take(pool, time.monotonic() + timeout)
        try:
            async with connection:
                yield connection
        finally:
            await pool.putconn(connection)

    async def _take(self, pool: AsyncConnectionPool[Any], ends: float) -> AsyncConnection[Any]:
        while True:
            try:
                return await pool.getconn(timeout=min(ASK_EVERY, max(0.1, ends - time.monotonic())))
            except PoolTimeout:
                if time.monotonic() > ends:
                    raise

    async def _get(self) -> AsyncConnectionPool[Any]:
        loop = asyncio.get_running_loop()
        if self._pool is None or self._loop is not loop:
            self._loop = loop
            self._pool = AsyncConnectionPool[Any](
                self.conninfo, kwargs=self.kwargs, min_size=1, max_size=self._size, timeout=self._timeout,
                configure=self._configure, name="clerkmap", open=False, reconnect_timeout=0,
            )  # fmt: skip
        pool = self._pool
        if pool.closed:
            await pool.open()
        return pool

    async def _configure(self, connection: AsyncConnection[Any]) -> None:
        await connection.execute(_CONFIGURE, (f"{int(self._timeout * 1000)}ms",))

    async def close(self) -> None:
        if self._pool is not None and not self._pool.closed:
            await self._pool.close()


Source = Connection[Any] | ConnectionPool[Any] | OpenedPool
AsyncSource = AsyncConnection[Any] | AsyncConnectionPool[Any] | AsyncOpenedPool


class Connections:
    """What a repository does its work with."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._closed = False
        self._lock = threading.RLock()  # one connection, one transaction at a time
        self._cursor = Cursor(source, row_factory=tuple_row) if isinstance(source, Connection) else None
        self.are_yours: bool = self._cursor is not None

    def check_open(self) -> None:
        if self._closed:
            raise RepositoryUnavailable("it is closed")

    def is_settled(self) -> bool:
        """Whether what is read now is committed."""
        return not isinstance(self._source, Connection) or is_alone(self._source)

    def cursor(self, connection: Connection[Any]) -> Cursor[TupleRow]:
        """A cursor whose rows are tuples. A connection of yours may make rows in its own way."""
        if self._cursor is not None and connection is self._source:
            return self._cursor
        return Cursor(connection, row_factory=tuple_row)

    @contextmanager
    def borrowed(self, seconds: float) -> Generator[Connection[Any], None, None]:
        """A connection, for which this waits no longer than that."""
        self.check_open()
        if isinstance(self._source, Connection):
            with self._lock:
                yield self._source
            return
        with self._source.connection(timeout=seconds) as connection:
            yield connection

    @contextmanager
    def transaction(self, connection: Connection[Any]) -> Generator[bool, None, None]:
        """A transaction, or a savepoint in yours. Whether it is yours is what it gives."""
        joins = self.are_yours and not is_alone(connection)
        if joins:
            connection.execute("SELECT 1")  # begins yours, so that what follows does not begin one of its own
        with connection.transaction():
            yield joins

    def close(self) -> None:
        self._closed = True
        if isinstance(self._source, OpenedPool):
            self._source.close()


class AsyncConnections:
    """The same for drivers that speak async."""

    def __init__(self, source: AsyncSource) -> None:
        self._source = source
        self._closed = False
        self._lock = asyncio.Lock()
        self._cursor = AsyncCursor(source, row_factory=tuple_row) if isinstance(source, AsyncConnection) else None
        self.are_yours: bool = self._cursor is not None

    def check_open(self) -> None:
        if self._closed:
            raise RepositoryUnavailable("it is closed")

    def is_settled(self) -> bool:
        """Whether what is read now is committed."""
        return not isinstance(self._source, AsyncConnection) or is_alone(self._source)

    def cursor(self, connection: AsyncConnection[Any]) -> AsyncCursor[TupleRow]:
        """A cursor whose rows are tuples. A connection of yours may make rows in its own way."""
        if self._cursor is not None and connection is self._source:
            return self._cursor
        return AsyncCursor(connection, row_factory=tuple_row)

    @asynccontextmanager
    async def borrowed(self, seconds: float) -> AsyncGenerator[AsyncConnection[Any], None]:
        """A connection, for which this waits no longer than that."""
        self.check_open()
        if isinstance(self._source, AsyncConnection):
            async with self._lock:
                yield self._source
            return
        async with self._source.connection(timeout=seconds) as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self, connection: AsyncConnection[Any]) -> AsyncGenerator[bool, None]:
        """A transaction, or a savepoint in yours. Whether it is yours is what it gives."""
        joins = self.are_yours and not is_alone(connection)
        if joins:
            await connection.execute("SELECT 1")  # begins yours, so that what follows does not begin one of its own
        async with connection.transaction():
            yield joins

    async def close(self) -> None:
        self._closed = True
        if isinstance(self._source, AsyncOpenedPool):
            await self._source.close()


def settings(conninfo: str, timeout: float) -> dict[str, Any]:
    """What a connection is opened with, where the connection string does not say it."""
    said = conninfo_to_dict(conninfo)
    bounds = {
        "connect_timeout": max(2, round(timeout)),
        "tcp_user_timeout": int(timeout * 1000),
        "keepalives_idle": max(1, round(timeout)),
        "keepalives_interval": 1,
        "keepalives_count": 3,
    }
    return {"autocommit": True} | {name: value for name, value in bounds.items() if name not in said}


def listening(source: Source | AsyncSource, listen: bool | str, timeout: float) -> Callable[[], Connection[Any]] | None:
    """What makes a connection to listen on: to where the others lead, or to where you say. None for no listening."""
    if isinstance(listen, str):
        return lambda: Connection.connect(listen, **settings(listen, timeout))
    if not listen or isinstance(source, (Connection, AsyncConnection)):  # which does not tell its password
        return None
    conninfo, kwargs = source.conninfo, source.kwargs
    if callable(conninfo) or callable(kwargs):
        raise ConfigurationError("a pool that asks for its connection string needs listen=, with one to listen on")
    python_only = ("row_factory", "cursor_factory", "context", "autocommit")
    ours = {name: value for name, value in (kwargs or {}).items() if name not in python_only}
    return lambda: Connection.connect(conninfo, autocommit=True, **ours)
