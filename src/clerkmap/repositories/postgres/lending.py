"""A connection in the middle of a write, and the hooks it is lent to. In either colour."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.pq import TransactionStatus

from ...errors import HookFailed

AnyConnection = Connection[Any] | AsyncConnection[Any]


class _Lent:
    def __init__(self, owner: object, connection: AnyConnection) -> None:
        self.owner = owner
        self.connection: AnyConnection | None = connection


_lent: ContextVar[tuple[_Lent, ...]] = ContextVar("clerkmap_lent", default=())


def lent_by(owner: object) -> Any:
    """The connection that the caller, a hook, is writing with. None for anybody else."""
    return next((lent.connection for lent in _lent.get() if lent.owner is owner and lent.connection is not None), None)


@contextmanager
def lending(owner: object, connection: AnyConnection) -> Generator[None, None, None]:
    """While hooks have the connection."""
    lent = _Lent(owner, connection)
    before = _lent.set((*_lent.get(), lent))
    try:
        yield
    finally:
        lent.connection = None  # also for a task that a hook has begun, and that goes on
        with suppress(ValueError):
            _lent.reset(before)
    if connection.info.transaction_status == TransactionStatus.INERROR:
        raise HookFailed("one has caught an error of the database, which undoes it all: use a savepoint, or let it out")


def is_open(connection: AnyConnection) -> bool:
    """Whether a transaction has begun, and has not been ended."""
    return connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR)


def is_alone(connection: AnyConnection) -> bool:
    """Whether nothing of yours is under way on a connection of yours, nor begins by itself."""
    return connection.autocommit and connection.info.transaction_status == TransactionStatus.IDLE
