"""Decide whether and when to retry an operation that PostgreSQL has refused or lost, and how to name its error.

An error is judged by its SQLSTATE, which is the same for each driver. An error of the driver itself has none. Then the
names of its classes tell what it is: PEP 249 defines them.
"""

import re
from collections.abc import Callable
from typing import Any, Protocol

from ...errors import ClerkmapError, CommitUnknown, ConfigurationError, HookFailed, RepositoryUnavailable
from .dialects import Names
from .errors import FIRST_PAUSE, GAVE_WAY, Backoff, without_text
from .schema import TABLES

# Classes of SQLSTATE that a retry does not help: the statement, its values or the tables are wrong.
_WRONG_USE = ("0A", "20", "21", "22", "23", "26", "34", "3D", "3F", "42", "44", "P0")
_WRONG_USE_NAMES = {"ProgrammingError", "IntegrityError", "DataError", "NotSupportedError"}
_RAISED = "P0001"  # RAISE EXCEPTION in a trigger
_TABLE_ALTERED = "0A000"  # a cached plan does not fit an altered table: connect anew
_NO_PRIVILEGE = "42501"
_READ_ONLY = "25006"  # the server has become a standby

_WORD = re.compile(r"\w+")
_TOLD: dict[str, str] = {
    "25P02": "your transaction has failed already: roll it back",
    "26000": "a pooler in transaction mode loses prepared statements: connect with prepare_threshold=None; with "
    "asyncpg, with statement_cache_size=0 and prepared_statement_cache_size=0",
    "42P07": "a table of this name exists already, and clerkmap did not make it: open the repository before your "
    "create_all(), or keep it out of your metadata",
    "42P01": "UndefinedTable: a table is missing; run clerkmap migrate, or correct schema= or the search_path",
    "3F000": "InvalidSchemaName: the schema does not exist; create it, or correct schema= or the search_path",
    "42939": "ReservedName: choose another schema or prefix, which the server does not reserve",
}
_TOLD["42P05"] = _TOLD["26000"]

DriverError = Callable[[BaseException], BaseException | None]


class HeldConnection(Protocol):
    """The connection of an attempt: whether it is closed, and in `info.user` the name of its role."""

    @property
    def closed(self) -> bool: ...
    @property
    def info(self) -> Any: ...


class Attempts:
    """The attempts at one operation on tables, until a time has passed. If `again` is false, there is only one.

    Args:
        names: The names of the tables.
        seconds: The time.
        driver_error: Returns the driver's error in an error, or None if it is no error of the database.
        again: Whether there may be more than one attempt.
    """

    def __init__(self, names: Names, seconds: float, driver_error: DriverError, *, again: bool) -> None:
        self._names = names
        self._backoff = Backoff(seconds)
        self._driver_error = driver_error
        self._again = again
        self.begin()

    def begin(self) -> None:
        """Begin the next attempt. The caller records its progress here."""
        self.connection: HeldConnection | None = None
        self.is_committing: bool = False

    @property
    def have_failed(self) -> bool:
        """Return whether an earlier attempt has failed."""
        return self._backoff.has_begun

    def is_unknown(self, error: Exception) -> bool:
        """Return whether the transaction may have been committed, because the answer to its commit was lost.

        A later query (`txid_status`) proves nothing: after a crash the server may give the same number to another
        transaction.
        """
        return self.is_committing and (self._is_lost or is_no_answer(self._driver_error(error)))

    @property
    def _is_lost(self) -> bool:
        return self.connection is not None and self.connection.closed

    def _role(self) -> str:
        return "of this connection" if self.connection is None or self._is_lost else str(self.connection.info.user)

    def after(self, error: Exception, *, repeatable: bool = True) -> float:
        """Return how many seconds to wait before the next attempt. Raise the error if there is no further attempt."""
        found = self._driver_error(error)
        if self.is_unknown(error) and not (repeatable and self._again):
            raise CommitUnknown from without_text(found or error)
        gave_way = self._gave_way(error)
        self._backoff.begin()
        if not self._again or not (gave_way or self._is_lost) or self._backoff.is_over:
            if found is None:
                raise error
            raise translated(found, self._names, self._role()) from without_text(found)
        if not gave_way:  # after a restart the pool's connections are all lost: try the next one at once
            return FIRST_PAUSE
        return self._backoff.pause()

    def _gave_way(self, error: Exception) -> bool:
        """Return whether the transaction, or a hook in it, met another transaction and was rolled back."""
        cause = error.__cause__ if isinstance(error, HookFailed) else error
        return cause is not None and sqlstate(self._driver_error(cause)) in GAVE_WAY


def sqlstate(error: BaseException | None) -> str | None:
    """Return the code of a driver's error, or None."""
    code: str | None = getattr(error, "sqlstate", None)
    return code


def refusal(error: BaseException) -> ConfigurationError:
    """Return the error without its text, which shows the row. Raise it outside `except`, so without a context."""
    origin = _origin(error)
    constraint = getattr(getattr(error, "diag", None), "constraint_name", None)
    constraint = constraint or getattr(origin, "constraint_name", None)
    told = f"the database refused a row or a value: {type(origin).__name__}"
    return ConfigurationError(f"{told}, {sqlstate(error) or 'no code'}, {constraint or 'no constraint'}")


def is_refusal(error: BaseException) -> bool:
    """Return whether the database or the driver refused a row or a value: a constraint, a trigger, a column's type."""
    code = sqlstate(error)
    if code is not None:
        return code.startswith(("22", "23")) or code == _RAISED
    # asyncpg checks values itself: its error is a ValueError, too.
    return bool(isinstance(error.__cause__, ValueError) or _names(error) & {"IntegrityError", "DataError"})


def missing_privilege(error: BaseException, names: Names) -> str:
    """Return the privilege that is missing, and on what.

    Of the server's text only names of clerkmap's own tables are returned: a trigger may have written the rest.
    """
    text = getattr(getattr(error, "diag", None), "message_primary", None) or getattr(_origin(error), "message", None)
    said = set(_WORD.findall(text or ""))
    for table in (f"{names.prefix}{name}" for name in ("schema", *TABLES)):
        if table in said:
            return f"SELECT, INSERT, UPDATE and DELETE on the table {table}"
        if f"{table}_id_seq" in said:
            return f"USAGE and UPDATE on the sequence {table}_id_seq"
    if names.schema in said:
        return f"USAGE on the schema {names.schema}"
    return "SELECT, INSERT, UPDATE and DELETE on the tables, and USAGE on their schema"


def translated(error: BaseException, names: Names, role: str) -> ClerkmapError:
    """Return a driver's error as one of clerkmap's errors."""
    code = sqlstate(error) or ""
    if code == _NO_PRIVILEGE:
        told = f"the role {role} needs {missing_privilege(error, names)}: see Migrations in docs/postgres.md"
        return ConfigurationError(told)
    if code in _TOLD:
        return ConfigurationError(_TOLD[code])
    if code == _READ_ONLY:
        told = "the server does not accept writes: if it is a standby, connect with target_session_attrs=read-write"
        return RepositoryUnavailable(told)
    if is_fault(error) or code == _TABLE_ALTERED:
        return RepositoryUnavailable(type(_origin(error)).__name__)
    if is_refusal(error):
        return refusal(error)
    told = f"the database raised {type(_origin(error)).__name__}: the tables differ from those that clerkmap makes"
    return ConfigurationError(told)


def is_no_answer(error: BaseException | None) -> bool:
    """Return whether the outcome of a statement is unknown: the connection, the server or a pooler ended."""
    code = sqlstate(error)
    if code is None:
        return isinstance(error, OSError) or (error is not None and "OperationalError" in _names(error))
    return code.startswith(("08", "57P0")) or code == "40003"  # statement_completion_unknown


def is_fault(error: BaseException) -> bool:
    """Return whether the database is at fault. A wrong use of it is not such a fault: a retry would not help."""
    code = sqlstate(error)
    return not (is_refusal(error) or _names(error) & _WRONG_USE_NAMES if code is None else code.startswith(_WRONG_USE))


def makes_useless(error: BaseException) -> bool:
    """Return whether a connection is useless after this error: its prepared statements do not fit an altered table, or
    its server has become a standby."""
    return sqlstate(error) in (_TABLE_ALTERED, _READ_ONLY)


def transaction_failed() -> HookFailed:
    """Return the error for a hook that has caught a database error: the transaction can only be rolled back."""
    return HookFailed(
        "a hook caught a database error, which rolls the transaction back: use a savepoint, or do not catch it"
    )


def _origin(error: BaseException) -> BaseException:
    """Return the driver's own error where SQLAlchemy has made another one of it."""
    cause = error.__cause__
    return cause if cause is not None and (sqlstate(cause) or isinstance(cause, ValueError)) else error


def _names(error: BaseException) -> set[str]:
    return {each.__name__ for each in type(error).__mro__}
