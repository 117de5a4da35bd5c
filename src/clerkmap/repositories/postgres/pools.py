"""The pools that `open` opens. In the two colours, which say the same."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self
from weakref import WeakKeyDictionary, finalize

from psycopg import AsyncConnection, Connection
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

from ...errors import ConfigurationError
from ...forks import SurvivesForks

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
        self.kwargs: dict[str, Any] = settings(conninfo, timeout)
        self._size = _checked(size)
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
                connection: Connection[Any] = pool.getconn(timeout=_slice(ends))
                return connection
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
        connection.execute(_CONFIGURE, (f"{max(1, int(self._timeout * 1000))}ms",))

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
        self.kwargs: dict[str, Any] = settings(conninfo, timeout)
        self._size = _checked(size)
        self._timeout = timeout
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncConnectionPool[Any]] = WeakKeyDictionary()
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        _inherited.append(self._pools)
        self._pools = WeakKeyDictionary()

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
                connection: AsyncConnection[Any] = await pool.getconn(timeout=_slice(ends))
                return connection
            except PoolTimeout:
                if time.monotonic() > ends:
                    raise

    async def _get(self) -> AsyncConnectionPool[Any]:
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            pool = self._pools[loop] = AsyncConnectionPool[Any](
                self.conninfo, kwargs=self.kwargs, min_size=1, max_size=self._size, timeout=self._timeout,
                configure=self._configure, name="clerkmap", open=False, reconnect_timeout=0,
            )  # fmt: skip
        if pool.closed:
            await pool.open()
        return pool

    async def _configure(self, connection: AsyncConnection[Any]) -> None:
        await connection.execute(_CONFIGURE, (f"{max(1, int(self._timeout * 1000))}ms",))

    async def close(self) -> None:
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.close()


def settings(conninfo: str, timeout: float) -> dict[str, Any]:
    """What a connection is opened with, where the connection string does not say it."""
    said = conninfo_to_dict(conninfo)
    bounds = {
        "connect_timeout": max(2, round(timeout)),
        "tcp_user_timeout": max(1, int(timeout * 1000)),
        "keepalives_idle": max(1, round(timeout)),
        "keepalives_interval": 1,
        "keepalives_count": 3,
    }
    return {"autocommit": True} | {name: value for name, value in bounds.items() if name not in said}


def _slice(ends: float) -> float:
    return min(ASK_EVERY, max(0.1, ends - time.monotonic()))


def _checked(size: int) -> int:
    if type(size) is not int or size < 1:
        raise ConfigurationError("pool_size must be an integer, and at least 1")
    return size
