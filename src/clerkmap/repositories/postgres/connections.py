"""One connection to PostgreSQL, sync or async: its state, and the loan of it to hooks during a write."""

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.pq import PipelineStatus, TransactionStatus

from ...errors import ConfigurationError, HookFailed, RepositoryUnavailable

AnyConnection = Connection[Any] | AsyncConnection[Any]


class _Lent:
    def __init__(self, lending: "Lending", connection: AnyConnection) -> None:
        self.lending = lending
        self.connection: AnyConnection | None = connection
        self.process = os.getpid()


_lent: ContextVar[tuple[_Lent, ...]] = ContextVar("clerkmap_lent", default=())


class Lending:
    """The connection that one repository writes on, for the hooks and linkers that it calls meanwhile. They read with
    it, and must not write."""

    def connection(self) -> Any:
        """Return the connection inside a hook or a linker of a write, and None elsewhere."""
        for lent in _lent.get():
            # A process that a hook has forked must not use its parent's connection.
            if lent.lending is self and lent.connection is not None and lent.process == os.getpid():
                return lent.connection
        return None

    @contextmanager
    def of(self, connection: AnyConnection) -> Generator[None, None, None]:
        """Lend the connection for the length of a write."""
        lent = _Lent(self, connection)
        before = _lent.set((*_lent.get(), lent))
        try:
            yield
        finally:
            lent.connection = None  # also for a task that a hook has begun, and that goes on with a copy of all this
            with suppress(ValueError):  # a generator may end in another context than it began in
                _lent.reset(before)
        if connection.info.transaction_status == TransactionStatus.INERROR:
            told = (
                "a hook caught a database error, which rolls the transaction back: use a savepoint, or do not catch it"
            )
            raise HookFailed(told)


def start_thread(thread: threading.Thread) -> None:
    """Start a thread, or raise `RepositoryUnavailable`."""
    try:
        thread.start()
    except RuntimeError as error:  # the machine gives no more threads
        raise RepositoryUnavailable("no thread can be started") from error


def check_in_turn(connection: AnyConnection) -> None:
    """Raise `ConfigurationError` in pipeline mode, in which a statement is not answered before the next one is sent."""
    if connection.pgconn.pipeline_status != PipelineStatus.OFF:
        raise ConfigurationError("the connection is in pipeline mode: leave it before you use the repository")


def is_open(connection: AnyConnection) -> bool:
    """Return whether a transaction is open. On a broken connection no hook has ended it, so it counts as open."""
    if connection.broken:
        return True
    return connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR)


def is_alone(connection: AnyConnection) -> bool:
    """Return whether your connection has no open transaction, and none that begins by itself."""
    return connection.autocommit and connection.info.transaction_status == TransactionStatus.IDLE
