"""One connection to PostgreSQL, sync or async: its state."""

import threading
from typing import Any

import psycopg
from psycopg import AsyncConnection, Connection, errors
from psycopg.pq import PipelineStatus, TransactionStatus

from ...errors import ConfigurationError, RepositoryUnavailable
from ..sql.retries import transaction_failed

AnyConnection = Connection[Any] | AsyncConnection[Any]
# Refusals of a clerkmap row: by your constraint or trigger, or because the database does not accept a value.
REFUSALS = (psycopg.IntegrityError, psycopg.DataError, errors.RaiseException, UnicodeError)


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


def check_hooks_left_it_usable(connection: AnyConnection) -> None:
    """Raise `HookFailed` if the transaction can only be rolled back: PostgreSQL would answer COMMIT with a rollback."""
    if connection.info.transaction_status == TransactionStatus.INERROR:
        raise transaction_failed()


def driver_error(error: BaseException) -> psycopg.Error | None:
    """Return the error if it is one of the database."""
    return error if isinstance(error, psycopg.Error) else None
