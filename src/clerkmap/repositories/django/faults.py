"""What Django raises when the database is at fault, as an error of ours; and what is worth another try."""

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
)
from django.db.transaction import TransactionManagementError

from ...errors import ConfigurationError, RepositoryUnavailable

# Nothing of such a transaction has been kept: it met another one, and the other was let through.
_GAVE_WAY = ("40001", "40P01")  # serialization_failure, deadlock_detected
_MISSING = ("42P01", "42501", "3F000")  # undefined_table, insufficient_privilege, invalid_schema_name
_WRONG_USE = (ProgrammingError, IntegrityError, DataError, NotSupportedError)


@contextmanager
def told() -> Generator[None, None, None]:
    """`RepositoryUnavailable` where trying again may help, `ConfigurationError` where you have to do something."""
    try:
        yield
    except TransactionManagementError as error:
        raise ConfigurationError("your transaction has failed before this, or is not to be managed so") from error
    except (DatabaseError, InterfaceError) as error:
        if _sqlstate(error) in _MISSING:
            raise tables_missing() from error
        if isinstance(error, _WRONG_USE):
            raise
        raise RepositoryUnavailable(type(error.__cause__ or error).__name__) from error


def gave_way(error: BaseException | None) -> bool:
    """Whether the transaction met another one and was undone, be it in a hook."""
    while error is not None:
        if isinstance(error, Error):
            return _sqlstate(error) in _GAVE_WAY
        error = error.__cause__
    return False


def tables_missing() -> ConfigurationError:
    """The tables come with Django's migrations."""
    return ConfigurationError("clerkmap's tables are missing, old or not to be written: run manage.py migrate")


def _sqlstate(error: BaseException) -> str | None:
    return getattr(error.__cause__, "sqlstate", None)
