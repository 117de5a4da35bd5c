"""Django's database errors as clerkmap's errors, and which of them to retry."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from django.db import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    ProgrammingError,
    connections,
)
from django.db.transaction import TransactionManagementError

from ...errors import ClerkmapError, ConfigurationError, RepositoryUnavailable
from ..sql.errors import GAVE_WAY, without_text
from ..sqlite.errors import fault, refusal

_MISSING = ("42P01", "42501", "3F000")  # undefined_table, insufficient_privilege, invalid_schema_name
_WRONG_USE = (ProgrammingError, IntegrityError, DataError, NotSupportedError)


@contextmanager
def told(alias: str) -> Generator[None, None, None]:
    """Return `RepositoryUnavailable` if a retry may help, or `ConfigurationError` if you must act.

    Neither shows the driver's text, which may contain a row."""
    try:
        yield
    except TransactionManagementError as error:
        told = "your transaction has failed already, or atomic() cannot be used in it: roll it back"
        raise ConfigurationError(told) from without_text(error)
    except (DatabaseError, InterfaceError) as error:
        if _sqlstate(error) in _MISSING:
            raise tables_missing() from without_text(error)
        if not isinstance(error, _WRONG_USE):
            raise _fault(error, alias) from without_text(error)
        raise _refused(error, alias) from None


def _fault(error: Error, alias: str) -> ClerkmapError:
    """Return the driver's error, which has more detail than Django's."""
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        return fault(cause, _place(alias))
    return RepositoryUnavailable(type(cause or error).__name__)


def _refused(error: Error, alias: str) -> ConfigurationError:
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        return refusal(cause, _place(alias))
    # The constraint's name without the text, which shows the row.
    constraint: str | None = getattr(getattr(cause, "diag", None), "constraint_name", None)
    code = _sqlstate(error) or "no code"
    told = f"{type(cause or error).__name__}, {code}, {constraint or 'no constraint'}"
    return ConfigurationError(f"the database refused a row or a value: {told}")


def unstorable(error: Exception) -> ConfigurationError:
    """Return the error for a value that no driver accepts, such as half a character."""
    return ConfigurationError(f"the database refused a row or a value: {type(error).__name__}")


def _place(alias: str) -> str:
    return str(connections[alias].settings_dict["NAME"])


def gave_way(error: BaseException | None) -> bool:
    """Return whether the transaction met another one and was rolled back, even inside a hook."""
    while error is not None:
        if isinstance(error, Error):
            return _sqlstate(error) in GAVE_WAY
        error = error.__cause__
    return False


def tables_missing() -> ConfigurationError:
    """Return the error for missing tables, which Django's migrations make."""
    return ConfigurationError("clerkmap's tables are missing, outdated or not writable: run manage.py migrate")


def _sqlstate(error: BaseException) -> str | None:
    return getattr(error.__cause__, "sqlstate", None)
