"""Track whether the server answers. All requests share the state, so that not each must detect an outage itself.

A connection that cannot be made, while there is no other, begins an outage. So does silence: no connection has answered
for `timeout` seconds, and neither has a probe on a new one. A long statement, a long hook or a lock is not an outage,
since the probe is answered meanwhile.

In the first `timeout` seconds of an outage requests wait, since most outages end sooner: a restart, a failover. After
that each request is refused at once. One thread probes for all requests, and ends the outage when the server answers.
"""

import asyncio
import logging
import random
import socket
import threading
import time
from contextlib import closing, suppress
from typing import Any
from weakref import WeakKeyDictionary, finalize, ref

from psycopg import AsyncConnection, Error

from ..._runtime.forks import SurvivesForks
from ...errors import RepositoryUnavailable
from .connections import AnyConnection, start_thread

logger: logging.Logger = logging.getLogger("clerkmap.repositories")

_random = random.Random()  # noqa: S311 - no secret; a thread that draws from the shared one disturbs the application
_PROBE_EVERY = 0.5  # seconds, and less at random: the processes of a site do not all connect in one moment
_PROBE_LIMIT = 2.0  # seconds after which a probe begins anew, since a lost packet may keep the first one waiting
_SHORTEST_PROBE = 0.5  # seconds: a busy machine takes some time to connect
_SILENT = "the server does not answer"
_TOO_MANY = "too many connections"

# A failed connection has no code, and its text may show the server's address and names. These causes show neither.
_CAUSES = (
    ("too many open files", "this process has too many open files"),
    ("too many", _TOO_MANY),
    ("connection slots", _TOO_MANY),
    ("refused", "connection refused"),
    ("resolve", "the host name was not found"),
    ("translate host name", "the host name was not found"),
    ("name or service", "the host name was not found"),
    ("nodename", "the host name was not found"),
    ("name resolution", "the host name was not found"),
    ("starting up", "the server is starting up"),
    ("shutting down", "the server is shutting down"),
    ("read-only", "no server accepts writes"),
    ("recovery", "no server accepts writes"),
    ("hot standby", "no server accepts writes"),
    ("authentication", "authentication failed"),
    ("does not exist", "the database or the role does not exist"),
    ("no such file", "connection refused"),
    ("ssl", "TLS failed"),
    ("certificate", "TLS failed"),
    ("timeout", "the connection timed out"),
    ("timed out", "the connection timed out"),
    ("no route", "the host is unreachable"),
    ("unreachable", "the host is unreachable"),
    ("closed the connection", "the connection was closed"),
)


def cause_of(error: BaseException) -> str:
    """Describe why a connection failed, without a value."""
    if isinstance(error, TimeoutError):
        return _SILENT
    text = str(error).lower()
    return next((cause for part, cause in _CAUSES if part in text), type(error).__name__)


class Loan:
    """A connection that a request works with, or waits for."""

    __slots__ = ("connected_at", "connection", "since", "socket")

    def __init__(self) -> None:
        self.since: float = time.monotonic()
        self.connected_at: float = self.since
        self.connection: AnyConnection | None = None
        self.socket: socket.socket | None = None  # the connection's socket, which another thread may shut down


class Health(SurvivesForks):
    """The known state of the server.

    Args:
        conninfo: The connection string to probe with, or None: then there are no probes and no outages.
        kwargs: Arguments of a connection.
        timeout: Seconds of silence that make an outage, and seconds of an outage after which requests are refused.
    """

    def __init__(self, conninfo: str | None, kwargs: dict[str, Any], timeout: float) -> None:
        self._conninfo = conninfo
        self._kwargs = kwargs
        self._timeout = timeout
        self._tick = min(0.25, timeout / 8)
        self._since: float | None = None
        self._error: Exception = TimeoutError()  # why the last attempt to connect has failed
        self._answered_at = time.monotonic()
        self._make_thread()
        self.survive_forks()

    def _make_thread(self) -> None:
        self._lock = threading.Lock()
        self._lent: set[Loan] = set()
        self._sockets: WeakKeyDictionary[AnyConnection, socket.socket] = WeakKeyDictionary()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def after_fork_in_child(self) -> None:
        self._make_thread()

    @property
    def is_away(self) -> bool:
        """Return whether there is an outage. Wait a little, then call `check` and this again."""
        return self._since is not None

    def check(self) -> None:
        """Raise `RepositoryUnavailable` if there is an outage that has lasted `timeout` seconds."""
        since = self._since
        if since is not None and time.monotonic() - since >= self._timeout:
            unavailable = RepositoryUnavailable(cause_of(self._error))
            unavailable.is_logged = True
            raise unavailable from None  # the error's text shows the server's address

    def cannot_connect(self, error: Exception) -> None:
        """Begin an outage: there is no connection, and none can be made."""
        self._error = error
        self._begin(time.monotonic())

    def lend(self) -> Loan:
        """Note that a request waits for a connection, which it sets in the loan."""
        loan = Loan()
        with self._lock:
            if self._conninfo is not None and not self._closed.is_set() and not self._is_watched():
                # A weak reference: a repository that is forgotten is collected, and the thread ends.
                thread = threading.Thread(
                    target=_watch, args=(ref(self), self._closed, self._tick), name="clerkmap-watch", daemon=True
                )
                start_thread(thread)
                self._thread = thread
            self._lent.add(loan)
        return loan

    def _is_watched(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def connected(self, loan: Loan, connection: AnyConnection) -> None:
        """Note the connection that a request has got."""
        loan.connection, loan.connected_at = connection, time.monotonic()
        if self._conninfo is not None:
            with suppress(OSError, Error):  # no file descriptor is left, or it is closed: nothing to cut
                loan.socket = self._socket_of(connection)

    def _socket_of(self, connection: AnyConnection) -> socket.socket:
        copied = self._sockets.get(connection)
        if copied is None:
            copied = self._sockets[connection] = socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM)
            finalize(connection, copied.close).atexit = False
        return copied

    def take_back(self, loan: Loan) -> bool:
        """Note the end of a loan, and return whether the server has answered on its connection."""
        with self._lock:
            self._lent.discard(loan)
        if loan.connection is None or loan.connection.closed:
            return False
        self._answered_at = time.monotonic()
        if self._since is not None:  # of several attempts to connect, one succeeded: there may be no room for a probe
            self._end()
        return True

    def begin_outage_if_silent(self) -> None:
        """Begin an outage if there is one: a pool of the application's own had no connection for `timeout` seconds."""
        if self._conninfo is not None and time.monotonic() - self._answered_at >= self._timeout:
            self._begin(time.monotonic() - self._timeout)

    def close(self) -> None:
        self._closed.set()

    def probe_if_due(self) -> None:
        """Probe when it is time. Only the thread calls this."""
        now = time.monotonic()
        if self._since is not None:
            # A request may have noticed the outage, or may have got its connection in the moment in which it began.
            silent = self._lent_before(now - self._timeout)
            if self._probe(_SHORTEST_PROBE if silent else _PROBE_LIMIT):
                self._end()
            else:
                self._cut(silent)
                self._closed.wait(_PROBE_EVERY * _random.uniform(0.5, 1))
            return
        with self._lock:
            oldest = min((loan.since for loan in self._lent), default=now)
        silence = now - max(oldest, self._answered_at)
        if silence < self._timeout / 2:
            return
        if silence < self._timeout:
            self._probe(max(_SHORTEST_PROBE, self._timeout - silence))
        else:
            self._begin(now - self._timeout)
            self._cut(self._lent_before(now))

    def _probe(self, limit: float) -> bool:
        try:
            # In psycopg's sync code a limit has whole seconds, and two at least.
            with closing(asyncio.SelectorEventLoop()) as loop:
                loop.run_until_complete(asyncio.wait_for(self._ask(), limit))
        except Exception as error:  # noqa: BLE001 - after any error, the server does not serve
            self._error = error
            if self._since is not None or cause_of(error) != _TOO_MANY:  # "too many connections" is an answer
                return False
        self._answered_at = time.monotonic()
        return True

    async def _ask(self) -> None:
        connection = await AsyncConnection.connect(self._conninfo or "", **self._kwargs)
        try:
            await connection.execute("SELECT 1")  # a pooler accepts every connection
        finally:
            connection.pgconn.finish()

    def _begin(self, since: float) -> None:
        with self._lock:
            if self._since is not None:
                return
            self._since = since
        logger.warning("PostgreSQL is not available: %s", cause_of(self._error))

    def _end(self) -> None:
        with self._lock:
            self._since, self._error = None, TimeoutError()
        logger.info("PostgreSQL is available again")

    def _lent_before(self, moment: float) -> list[Loan]:
        """Return the loans whose connection was lent before a time."""
        with self._lock:
            return [loan for loan in self._lent if loan.socket is not None and loan.connected_at <= moment]

    def _cut(self, loans: list[Loan]) -> None:
        """End every wait on these connections: it would last for as long as the server is silent."""
        with self._lock:
            for loan in self._lent.intersection(loans):  # a connection that was given back serves others by now
                if loan.socket is not None:
                    with suppress(OSError):
                        loan.socket.shutdown(socket.SHUT_RDWR)


def _watch(health: "ref[Health]", closed: threading.Event, tick: float) -> None:
    told: type[Exception] | None = None
    while not closed.wait(tick):
        watched = health()
        if watched is None:
            return
        try:
            watched.probe_if_due()
        except Exception as error:  # noqa: BLE001 - no other thread would end an outage
            if type(error) is not told:
                told = type(error)
                logger.warning("the check of PostgreSQL failed, and will be repeated: %s", told.__name__)
        del watched


def probing(conninfo: Any, kwargs: Any) -> tuple[str | None, dict[str, Any]]:
    """Return the arguments of a probe for a pool. A pool with a function for its connection string is not."""
    if callable(conninfo) or callable(kwargs):
        return None, {}
    python_only = ("row_factory", "cursor_factory", "context", "autocommit", "prepare_threshold")
    given: dict[str, Any] = kwargs or {}
    ours = {name: value for name, value in given.items() if name not in python_only}
    return conninfo, {"autocommit": True, "prepare_threshold": None} | ours
