"""The pools that `open` opens, sync and async. A pool keeps connections and makes new ones.

The line in front of it decides how many requests may have a connection at once, and how long the others wait.
psycopg's own pools are not used here: after a failure to connect, they retry after ever longer pauses, and log each
attempt.
"""

import asyncio
import random
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, LiteralString, Self
from weakref import WeakKeyDictionary, WeakSet, finalize

from psycopg import AsyncConnection, Connection, Error, IsolationLevel
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from ..._runtime.forks import SurvivesForks
from ...errors import ConfigurationError
from ..arguments import checked_timeout
from .connections import AnyConnection, start_thread

# The repository's own pool sets these for each connection, in one round trip. Behind a pooler, the backend's
# number differs from the connection's. There other programs share the session, so nothing is set for it.
_CONFIGURE = """
SELECT pg_backend_pid() <> %(pid)s,
       CASE pg_backend_pid() WHEN %(pid)s THEN set_config('lock_timeout', %(time)s, false) END,
       CASE pg_backend_pid() WHEN %(pid)s THEN set_config('default_transaction_isolation', 'read committed', false) END
"""
_CONFIGURE_TRANSACTION: LiteralString = "SELECT set_config('lock_timeout', %s, true)"
_CHECK_EVERY = 0.05  # seconds between two checks whether to go on connecting
_UNCHECKED = 0.05  # seconds for which an idle connection is used without a check
_LIFETIME = 3600.0  # seconds after which a connection is replaced: servers behind one name may change
_MOST_IDLE = 600.0  # seconds after which an idle connection is closed
_inherited: list[object] = []  # the parent's connections: closing one here would end the parent's session

Check = Callable[[], None]  # raises to stop the attempt


class _Kept:
    """An idle connection, and since when it is idle."""

    __slots__ = ("connection", "since")

    def __init__(self, connection: AnyConnection) -> None:
        self.connection = connection
        self.since = time.monotonic()


class _Connections:
    """The connections of one pool: the idle ones, the last used one on the right, and the time when each ends."""

    def __init__(self) -> None:
        self.ends: dict[AnyConnection, float] = {}
        self.idle: deque[_Kept] = deque()
        self.is_closed = False
        self.is_pooled = False  # behind a pooler, which may give each transaction another session

    def add(self, connection: AnyConnection) -> None:
        """Note a new connection, which is in use."""
        self.ends[connection] = time.monotonic() + _LIFETIME * random.uniform(0.9, 1)  # noqa: S311 - no secret

    def take(self) -> AnyConnection | None:
        """Return an idle connection, or None."""
        while self.idle:
            try:
                kept = self.idle.pop()
            except IndexError:  # another thread was faster
                return None
            if time.monotonic() - kept.since < _UNCHECKED or not _is_stale(kept.connection):
                return kept.connection
            self.drop(kept.connection)
        return None

    def give(self, connection: AnyConnection) -> None:
        """Take a connection back, and close those that have been idle for long."""
        is_clean = connection.info.transaction_status == TransactionStatus.IDLE
        if not is_clean or self.is_closed or self.ends.get(connection, 0.0) < time.monotonic():
            self.drop(connection)
            return
        self.idle.append(_Kept(connection))
        with suppress(IndexError):
            while self.idle[0].since < time.monotonic() - _MOST_IDLE:
                self.drop(self.idle.popleft().connection)

    def drop(self, connection: AnyConnection) -> None:
        self.ends.pop(connection, None)
        connection.pgconn.finish()

    def close(self) -> None:
        """Close the idle connections. The others are closed when they are given back."""
        self.is_closed = True
        with suppress(IndexError):
            while True:
                self.drop(self.idle.pop().connection)

    def finish(self) -> None:
        """Close the connections that are in use, too."""
        self.close()
        for connection in list(self.ends):
            self.drop(connection)


def _is_stale(connection: AnyConnection) -> bool:
    """Return whether the server has sent an unsolicited message: usually, that it ends the connection."""
    if connection.closed:
        return True
    number = connection.pgconn.socket
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(number, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([number], [], [], 0)[0])


class OpenedPool(SurvivesForks):
    """A pool that `open` has opened. After a fork, the child has its own pool."""

    def __init__(self, conninfo: str, size: int, timeout: float) -> None:
        self.conninfo = conninfo
        self.kwargs: dict[str, Any] = settings(conninfo, checked_timeout(timeout))
        self.max_size: int = _checked(size)
        self._milliseconds = _milliseconds(timeout)
        self._make_connections()
        self.survive_forks()

    def _make_connections(self) -> None:
        self._connections = _Connections()
        self._when_forgotten = finalize(self, self._connections.close)

    def after_fork_in_child(self) -> None:
        _inherited.append(self._connections)
        self._when_forgotten.detach()
        self._make_connections()

    @property
    def for_each_transaction(self) -> tuple[LiteralString, tuple[str]] | None:
        """Return the statement that begins each transaction, and its values."""
        return (_CONFIGURE_TRANSACTION, (self._milliseconds,)) if self._connections.is_pooled else None

    @property
    def number(self) -> int:
        """Return the number of connections."""
        return len(self._connections.ends)

    def take(self, check: Check) -> Connection[Any]:
        """Return an idle connection, or a new one."""
        idle: Any = self._connections.take()
        return self._connect(check) if idle is None else idle

    def _connect(self, check: Check) -> Connection[Any]:
        """Connect in a separate thread, since nothing can end the attempt before its timeout."""
        attempt = _Attempt()
        work = partial(_connect, self.conninfo, self.kwargs, self._milliseconds, attempt, self._connections)
        start_thread(threading.Thread(target=work, name="clerkmap-connect", daemon=True))
        try:
            while not attempt.done.wait(_CHECK_EVERY):
                check()
        except BaseException:
            attempt.abandon(self._connections)
            raise
        return attempt.result()

    def give(self, connection: Connection[Any]) -> None:
        """Take a connection back."""
        if connection in self._connections.ends:
            self._connections.give(connection)
        else:  # a hook has forked, and this is the child
            _inherited.append(connection)

    def close(self) -> None:
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Attempt:
    """An attempt to connect in a thread, and its outcome."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self._lock = threading.Lock()
        self._outcome: Connection[Any] | Exception | None = None
        self._is_abandoned = False

    def end(self, outcome: Connection[Any] | Exception, connections: _Connections) -> None:
        """Set the outcome. If the request no longer waits, the connection is kept for others."""
        with self._lock:
            self._outcome = outcome
            is_abandoned = self._is_abandoned
        if is_abandoned and isinstance(outcome, Connection):
            connections.give(outcome)
        self.done.set()

    def abandon(self, connections: _Connections) -> None:
        with self._lock:
            self._is_abandoned = True
            outcome = self._outcome
        if isinstance(outcome, Connection):
            connections.give(outcome)

    def result(self) -> Connection[Any]:
        assert self._outcome is not None
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


def _connect(
    conninfo: str, kwargs: dict[str, Any], milliseconds: str, attempt: _Attempt, connections: _Connections
) -> None:
    try:
        connection = Connection[Any].connect(conninfo, **kwargs)
        answer = connection.execute(_CONFIGURE, _configuration(connection, milliseconds)).fetchone()
        if _is_pooled(answer):
            connection.prepare_threshold = None
            connection.isolation_level = IsolationLevel.READ_COMMITTED
            connections.is_pooled = True
    except Exception as error:  # noqa: BLE001 - the thread that waits raises it
        attempt.end(error, connections)
    else:
        connections.add(connection)
        attempt.end(connection, connections)


class AsyncOpenedPool(SurvivesForks):
    """A pool that `open` has opened, for async code. Each event loop has its own connections."""

    def __init__(self, conninfo: str, size: int, timeout: float) -> None:
        self.conninfo = conninfo
        self.kwargs: dict[str, Any] = settings(conninfo, checked_timeout(timeout))
        self.max_size: int = _checked(size)
        self._milliseconds = _milliseconds(timeout)
        self._make_loops()
        self.survive_forks()

    def _make_loops(self) -> None:
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopsConnections] = WeakKeyDictionary()
        self._made = WeakSet[AsyncConnection[Any]]()

    def after_fork_in_child(self) -> None:
        _inherited.extend((list(self._loops.values()), list(self._made)))
        self._make_loops()

    @property
    def for_each_transaction(self) -> tuple[LiteralString, tuple[str]] | None:
        """Return the statement that begins each transaction, and its values."""
        return (_CONFIGURE_TRANSACTION, (self._milliseconds,)) if self._get().is_pooled else None

    @property
    def number(self) -> int:
        """Return the number of connections of this event loop."""
        return len(self._get().ends)

    async def take(self, check: Check) -> AsyncConnection[Any]:
        """Return an idle connection, or a new one."""
        mine = self._get()
        idle: Any = mine.take()
        return await self._connect(mine, check) if idle is None else idle

    async def _connect(self, mine: "_LoopsConnections", check: Check) -> AsyncConnection[Any]:
        attempt = asyncio.create_task(self._make(mine))
        try:
            while not (await asyncio.wait({attempt}, timeout=_CHECK_EVERY))[0]:
                check()
            return attempt.result()
        except BaseException:
            attempt.add_done_callback(mine.keep)
            raise

    async def _make(self, mine: "_LoopsConnections") -> AsyncConnection[Any]:
        connection = await AsyncConnection[Any].connect(self.conninfo, **self.kwargs)
        self._made.add(connection)
        mine.add(connection)
        try:
            cursor = await connection.execute(_CONFIGURE, _configuration(connection, self._milliseconds))
            if _is_pooled(await cursor.fetchone()):
                connection.prepare_threshold = None
                await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)
                mine.is_pooled = True
        except BaseException:
            mine.drop(connection)
            raise
        return connection

    def give(self, connection: AsyncConnection[Any]) -> None:
        """Take a connection back."""
        if connection not in self._made:  # a hook has forked, and this is the child
            _inherited.append(connection)
            return
        mine = self._loops.get(asyncio.get_running_loop())
        if mine is not None:
            mine.give(connection)
        else:
            connection.pgconn.finish()

    def _get(self) -> "_LoopsConnections":
        loop = asyncio.get_running_loop()
        mine = self._loops.get(loop)
        if mine is None:
            mine = self._loops[loop] = _LoopsConnections()
            guard = mine.guard = loop.create_task(_guard(mine, self._loops))
            when_forgotten = finalize(self, _end, loop, guard)  # it also keeps the task alive, which the loop does not
            when_forgotten.atexit = False
            guard.add_done_callback(lambda _: when_forgotten.detach())
        return mine

    async def close(self) -> None:
        mine = self._loops.pop(asyncio.get_running_loop(), None)
        if mine is not None:
            mine.closed.set()
            mine.close()
            if mine.guard is not None:
                await asyncio.wait({mine.guard})


class _LoopsConnections(_Connections):
    """The connections of an event loop, and the signal to its guard that they have been closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = asyncio.Event()
        self.guard: asyncio.Task[None] | None = None

    def keep(self, attempt: asyncio.Task[AsyncConnection[Any]]) -> None:
        """Keep a new connection after its request has stopped waiting."""
        if not attempt.cancelled() and attempt.exception() is None:
            self.give(attempt.result())


async def _guard(
    mine: _LoopsConnections, loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopsConnections]
) -> None:
    """Close connections that were left open: when their loop ends, which cancels the remaining tasks, or when their
    pool is garbage-collected."""
    try:
        await mine.closed.wait()
    except asyncio.CancelledError:
        mine.finish()
        loops.pop(asyncio.get_running_loop(), None)
        raise


def _end(loop: asyncio.AbstractEventLoop, guard: asyncio.Task[None]) -> None:
    with suppress(RuntimeError):  # the loop is closed, and its guard with it
        loop.call_soon_threadsafe(guard.cancel)


def _configuration(connection: AnyConnection, milliseconds: str) -> dict[str, Any]:
    return {"pid": connection.info.backend_pid, "time": milliseconds}


def _is_pooled(answer: Any) -> bool:
    return bool(answer[0])


def _milliseconds(seconds: float) -> str:
    return f"{max(1, int(seconds * 1000))}ms"


def settings(conninfo: str, timeout: float) -> dict[str, Any]:
    """Return the arguments of a connection: those always set, and those that the connection string does not set."""
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
        with suppress(Error, ValueError):  # its text may be the password
            return dict(conninfo_to_dict(conninfo))
        if conninfo.startswith(("postgresql+", "postgres+")):
            raise ConfigurationError(
                "the connection string names a driver of SQLAlchemy: write postgresql://, without +psycopg or "
                "+asyncpg, or pass an engine to SqlAlchemyRepository or AsyncSqlAlchemyRepository"
            )
    raise ConfigurationError(
        "the connection string cannot be read: write postgresql://user@host/name, or name=value pairs"
    )


def _checked(size: int) -> int:
    if type(size) is not int or size < 1:
        raise ConfigurationError("pool_size must be an integer of at least 1")
    return size
