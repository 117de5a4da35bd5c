"""The pools that `open` opens. In the two colours, which say the same."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, Self
from weakref import WeakKeyDictionary, WeakSet, finalize

from psycopg import AsyncConnection, Connection, Error
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
        self.kwargs: dict[str, Any] = settings(conninfo, checked_timeout(timeout))
        self._size = _checked(size)
        self._configure = partial(_configure, milliseconds=_milliseconds(timeout))  # a method would keep this alive
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
        self.kwargs: dict[str, Any] = settings(conninfo, checked_timeout(timeout))
        self._size = _checked(size)
        self._timeout = timeout
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopsPool] = WeakKeyDictionary()
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
        mine = self._pools.get(loop)
        if mine is None:
            connections = WeakSet[AsyncConnection[Any]]()
            pool = AsyncConnectionPool[Any](
                self.conninfo, kwargs=self.kwargs, min_size=1, max_size=self._size, timeout=self._timeout,
                configure=partial(_configure_async, milliseconds=_milliseconds(self._timeout), made=connections),
                name="clerkmap", open=False, reconnect_timeout=0,
            )  # fmt: skip
            mine = self._pools[loop] = _LoopsPool(pool)
            guard = loop.create_task(_guard(mine, self._pools, connections))
            when_forgotten = finalize(self, _end, loop, guard)  # and it keeps the task, which the loop does not
            when_forgotten.atexit = False
            guard.add_done_callback(lambda _: when_forgotten.detach())
        if mine.pool.closed:
            await mine.pool.open()
        return mine.pool

    async def close(self) -> None:
        mine = self._pools.pop(asyncio.get_running_loop(), None)
        if mine is not None:
            mine.closed.set()
            await mine.pool.close()


class _LoopsPool:
    """An event loop's pool, and what tells its guard that it has been closed."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self.pool = pool
        self.closed = asyncio.Event()


async def _guard(
    mine: _LoopsPool,
    pools: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopsPool],
    connections: WeakSet[AsyncConnection[Any]],
) -> None:
    """Close a pool that nobody has closed: when its loop ends, which cancels what is left, or when it is forgotten.

    The pool's own tasks are cancelled with this one, and without it some would be waited for in vain.
    """
    try:
        await mine.closed.wait()
    except asyncio.CancelledError:
        with suppress(asyncio.CancelledError):
            await mine.pool.close()
        for connection in list(connections):
            connection.pgconn.finish()
        pools.pop(asyncio.get_running_loop(), None)
        raise


def _end(loop: asyncio.AbstractEventLoop, guard: asyncio.Task[None]) -> None:
    with suppress(RuntimeError):  # the loop is closed, and its guard with it
        loop.call_soon_threadsafe(guard.cancel)


def _configure(connection: Connection[Any], milliseconds: str) -> None:
    connection.execute(_CONFIGURE, (milliseconds,))


async def _configure_async(
    connection: AsyncConnection[Any], milliseconds: str, made: WeakSet[AsyncConnection[Any]]
) -> None:
    made.add(connection)
    await connection.execute(_CONFIGURE, (milliseconds,))


def _milliseconds(seconds: float) -> str:
    return f"{max(1, int(seconds * 1000))}ms"


def settings(conninfo: str, timeout: float) -> dict[str, Any]:
    """What a connection is opened with: in any case, or where the connection string does not say it."""
    said = _parsed(conninfo)
    bounds = {
        "connect_timeout": max(2, round(timeout)),
        "tcp_user_timeout": max(1, int(timeout * 1000)),
        "keepalives_idle": max(1, round(timeout)),
        "keepalives_interval": 1,
        "keepalives_count": 3,
    }
    given = {name: value for name, value in bounds.items() if name not in said}
    return {"autocommit": True, "client_encoding": "utf8"} | given


def _parsed(conninfo: str) -> dict[str, Any]:
    if isinstance(conninfo, str):
        with suppress(Error, ValueError):  # whose text may be the password
            return dict(conninfo_to_dict(conninfo))
    raise ConfigurationError("a connection string cannot be read: it is postgresql://... or name=value ...")


def checked_timeout(timeout: float) -> float:
    """It, or `ConfigurationError`."""
    if type(timeout) not in (int, float) or not 0 < timeout <= 3600:
        raise ConfigurationError("timeout must be more than 0 and at most 3600 seconds")
    return timeout


def _slice(ends: float) -> float:
    return min(ASK_EVERY, max(0.1, ends - time.monotonic()))


def _checked(size: int) -> int:
    if type(size) is not int or size < 1:
        raise ConfigurationError("pool_size must be an integer, and at least 1")
    return size
