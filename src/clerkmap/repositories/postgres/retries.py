"""Decide whether and when to retry an operation that PostgreSQL has refused or lost."""

import re
from typing import NoReturn

import psycopg
from psycopg import errors
from psycopg_pool import PoolTimeout

from ...errors import ClerkmapError, CommitUnknown, ConfigurationError, HookFailed, RepositoryUnavailable
from ..sql.dialects import Names
from ..sql.errors import FIRST_PAUSE, GAVE_WAY, Backoff, without_text
from ..sql.schema import TABLES
from .connections import AnyConnection

# Refusals of a clerkmap row: by your constraint or trigger, or because the database does not accept a value.
REFUSALS = (psycopg.IntegrityError, psycopg.DataError, errors.RaiseException, UnicodeError)
_WORD = re.compile(r"\w+")
_NO_CONNECTION = "your pool gave no connection in time: see the log psycopg.pool for the cause"


class Attempts:
    """The attempts at one operation on tables, until a time has passed. If `again` is false, there is only one."""

    def __init__(self, names: Names, seconds: float, *, again: bool) -> None:
        self._names = names
        self._backoff = Backoff(seconds)
        self._again = again
        self.begin()

    def begin(self) -> None:
        """Begin the next attempt and return it. The caller records its progress there."""
        self.connection: AnyConnection | None = None
        self.is_committing = False

    @property
    def have_failed(self) -> bool:
        """Return whether an earlier attempt has failed."""
        return self._backoff.has_begun

    def is_unknown(self, error: Exception) -> bool:
        """Return whether the transaction may have been committed, because the answer to its commit was lost.

        A later query (`txid_status`) proves nothing: after a crash the server may give the same number to another
        transaction.
        """
        return self.is_committing and (self._is_lost or is_no_answer(error))

    @property
    def _is_lost(self) -> bool:
        return self.connection is not None and self.connection.closed

    def after(self, error: Exception, *, repeatable: bool = True) -> float:
        """Return how many seconds to wait before the next attempt. Raise the error if there is no further attempt."""
        if self.is_unknown(error) and not (repeatable and self._again):
            raise CommitUnknown from without_text(error)
        gave_way = _gave_way(error)
        self._backoff.begin()
        if not self._again or not (gave_way or self._is_lost) or self._backoff.is_over:
            self._raise(error)
        if not gave_way:  # after a restart the pool's connections are all lost: try the next one at once
            return FIRST_PAUSE
        return self._backoff.pause()

    def _raise(self, error: Exception) -> NoReturn:
        """Raise a database error as one of clerkmap's errors."""
        if isinstance(error, errors.InsufficientPrivilege):
            connection = self.connection
            role = "of this connection" if connection is None or connection.closed else connection.info.user
            told = f"the role {role} needs {missing_privilege(error, self._names)}: see Migrations in docs/postgres.md"
            raise ConfigurationError(told) from without_text(error)
        if isinstance(error, psycopg.Error):
            raise _translated(error) from without_text(error)
        raise error


def missing_privilege(error: errors.InsufficientPrivilege, names: Names) -> str:
    """Return the privilege that is missing, and on what.

    Of the server's text only names of clerkmap's own tables are returned: a trigger may have written the rest.
    """
    said = set(_WORD.findall(error.diag.message_primary or ""))
    for table in (f"{names.prefix}{name}" for name in ("schema", *TABLES)):
        if table in said:
            return f"SELECT, INSERT, UPDATE and DELETE on the table {table}"
        if f"{table}_id_seq" in said:
            return f"USAGE and UPDATE on the sequence {table}_id_seq"
    if names.schema in said:
        return f"USAGE on the schema {names.schema}"
    return "SELECT, INSERT, UPDATE and DELETE on the tables, and USAGE on their schema"


def refusal(error: Exception) -> ConfigurationError:
    """Return the error without psycopg's text, which shows the row. Raise it outside `except`, so without a context."""
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    constraint = error.diag.constraint_name if isinstance(error, psycopg.Error) else None
    told = f"the database refused a row or a value: {type(error).__name__}"
    return ConfigurationError(f"{told}, {state or 'no code'}, {constraint or 'no constraint'}")


def _gave_way(error: Exception) -> bool:
    """Return whether the transaction, or a hook in it, met another transaction and was rolled back."""
    cause = error.__cause__ if isinstance(error, HookFailed) else error
    return isinstance(cause, psycopg.Error) and cause.sqlstate in GAVE_WAY


def _translated(error: psycopg.Error) -> ClerkmapError:
    if isinstance(error, PoolTimeout):
        return RepositoryUnavailable(_NO_CONNECTION)
    if isinstance(error, errors.InFailedSqlTransaction):
        return ConfigurationError("your transaction has failed already: roll it back")
    if isinstance(error, (errors.InvalidSqlStatementName, errors.DuplicatePreparedStatement)):
        told = "a pooler in transaction mode loses prepared statements: connect with prepare_threshold=None"
        return ConfigurationError(told)
    if isinstance(error, errors.DuplicateTable):
        told = "a table of this name exists already, and clerkmap did not make it: open the repository before your "
        return ConfigurationError(f"{told}create_all(), or keep it out of your metadata")
    if isinstance(error, errors.ReadOnlySqlTransaction):
        told = "the server does not accept writes: if it is a standby, connect with target_session_attrs=read-write"
        return RepositoryUnavailable(told)
    if isinstance(error, errors.UndefinedTable):
        told = "UndefinedTable: a table is missing; run clerkmap migrate, or correct schema= or the search_path"
        return ConfigurationError(told)
    if isinstance(error, errors.InvalidSchemaName):
        told = "InvalidSchemaName: the schema does not exist; create it, or correct schema= or the search_path"
        return ConfigurationError(told)
    if isinstance(error, errors.ReservedName):
        return ConfigurationError("ReservedName: choose another schema or prefix, which the server does not reserve")
    if is_fault(error) or isinstance(error, errors.FeatureNotSupported):  # a table was altered: connect anew
        return RepositoryUnavailable(type(error).__name__)
    if isinstance(error, (psycopg.ProgrammingError, psycopg.NotSupportedError)):
        told = f"the database raised {type(error).__name__}: the tables differ from those that clerkmap makes"
        return ConfigurationError(told)
    return refusal(error)


def is_no_answer(error: BaseException | None) -> bool:
    """Return whether the outcome of a statement is unknown: the connection, the server or a pooler ended."""
    code = error.sqlstate if isinstance(error, psycopg.OperationalError) else "other"
    return code is None or code.startswith(("08", "57P0")) or code == "40003"  # statement_completion_unknown


def is_fault(error: BaseException) -> bool:
    """Return whether the database is at fault. A wrong use of it is not such a fault: a retry would not help."""
    wrong_use = (psycopg.ProgrammingError, psycopg.IntegrityError, psycopg.DataError, psycopg.NotSupportedError)
    return isinstance(error, psycopg.Error) and not isinstance(error, wrong_use)
