"""SQLite's errors as clerkmap's errors: each names the problem, the place, and the next step.

A wrong setup is a `ConfigurationError`. A temporary fault is a `RepositoryUnavailable`, and may be retried.
"""

import os
import re
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from ...errors import ClerkmapError, ConfigurationError, RepositoryUnavailable
from ..sql.errors import without_text

MEMORY = "a database in memory"
# SQLite raises these for a refused row or value: by the application's constraint or trigger, or by the column's type.
REFUSALS = (sqlite3.IntegrityError, sqlite3.DataError, UnicodeError, OverflowError)
# The names in an error of SQL are those of tables and columns. The rest of such a text may quote a value.
_NAMES = re.compile(r"no such \w+: [\w.]+|\w+ \w+ already exists|table \w+ has no column named \w+")
_CONSTRAINT = re.compile(r"\w+( \w+)? constraint failed(: .*)?|cannot store \w+ value in \w+ column .*", re.DOTALL)
_UNOPENED = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOTADB)


def execute(at: sqlite3.Connection | sqlite3.Cursor, statement: str, place: str, values: Any = ()) -> sqlite3.Cursor:
    """Execute a statement, and raise SQLite's errors as clerkmap's errors. `place` is the file."""
    try:
        return at.execute(statement, values)
    except REFUSALS as error:
        raise refusal(error, place) from None  # a trigger's text may show the row
    except sqlite3.Error as error:
        raise fault(error, place) from without_text(error)


@contextmanager
def translated(place: str) -> Generator[None, None, None]:
    """Raise SQLite's errors as clerkmap's errors. `place` is the file."""
    try:
        yield
    except REFUSALS as error:
        raise refusal(error, place) from None  # a trigger's text may show the row
    except sqlite3.Error as error:
        raise fault(error, place) from without_text(error)


@contextmanager
def faults_translated(place: str) -> Generator[None, None, None]:
    """Do so, except for refusals. For the application's functions: they may handle their own refusals."""
    try:
        yield
    except sqlite3.Error as error:
        if not is_fault(error):
            raise
        raise fault(error, place) from without_text(error)


def is_fault(error: BaseException) -> bool:
    """Return whether the database is at fault, or its setup, and not the statement."""
    wrong_use = (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.DataError)
    return isinstance(error, sqlite3.Error) and not isinstance(error, wrong_use)


def will_stay(error: sqlite3.Error) -> bool:
    """Return whether a retry is useless: the file cannot be opened or written."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNOPENED


def refusal(error: Exception, place: str) -> ConfigurationError:
    """Return the error for a row or a value that the database refuses. It names the constraint and shows no value."""
    name: str = getattr(error, "sqlite_errorname", type(error).__name__)
    named = _CONSTRAINT.fullmatch(str(error)) if name != "SQLITE_CONSTRAINT_TRIGGER" else None
    told = name if named is None else named[0]
    return ConfigurationError(f"the database refused a row or a value: {told}, in {place}")


def fault(error: sqlite3.Error, place: str) -> ClerkmapError:
    """Return the error for every other SQLite error."""
    full_code: int = getattr(error, "sqlite_errorcode", 0)
    code = full_code & 0xFF
    if isinstance(error, sqlite3.ProgrammingError):
        return _wrong_use(error, place)
    if full_code == sqlite3.SQLITE_BUSY_SNAPSHOT:
        return RepositoryUnavailable(
            f"another transaction wrote to {place} after your transaction read from it: roll back, and retry"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return RepositoryUnavailable(
            f"another connection held the lock of {place} for too long. "
            "If it is your own transaction, write in it with repository.within(connection)"
        )
    if code == sqlite3.SQLITE_FULL:
        return RepositoryUnavailable(f"the disk or the database is full: {place}")
    if code == sqlite3.SQLITE_CORRUPT:
        return RepositoryUnavailable(f"{place} is damaged: restore it from a backup, then run `clerkmap sync`")
    if code in _UNOPENED:
        return _unopened(code, place)
    if code == sqlite3.SQLITE_ERROR:
        return _wrong_tables(error, place)
    return RepositoryUnavailable(f"{getattr(error, 'sqlite_errorname', type(error).__name__)}, in {place}")


def _wrong_use(error: sqlite3.ProgrammingError, place: str) -> ClerkmapError:
    if "closed" in str(error):
        return RepositoryUnavailable(f"the connection to {place} is closed")
    if "thread" in str(error):
        return ConfigurationError(
            f"the connection to {place} belongs to another thread: make one for each thread, "
            "or connect with check_same_thread=False"
        )
    return ConfigurationError(f"the connection to {place} cannot be used: {type(error).__name__}")


def _unopened(code: int, place: str) -> ClerkmapError:
    folder = os.path.dirname(place)
    if code == sqlite3.SQLITE_NOTADB:
        return ConfigurationError(f"{place} is not an SQLite database")
    if os.path.isdir(place):
        return ConfigurationError(f"{place} is a folder: name a file in it")
    if place != MEMORY and not os.path.isdir(folder):
        return ConfigurationError(f"there is no folder {folder}: create it, or name another file")
    if code == sqlite3.SQLITE_CANTOPEN and os.access(folder, os.W_OK) and _is_readable(place):
        return RepositoryUnavailable(f"{place} cannot be opened now: check whether too many files are open")
    return ConfigurationError(f"{place} cannot be written: this user needs write access to the file and to its folder")


def _is_readable(path: str) -> bool:
    return not os.path.exists(path) or os.access(path, os.R_OK | os.W_OK)


def _wrong_tables(error: sqlite3.Error, place: str) -> ConfigurationError:
    named = _NAMES.search(str(error))
    told = f"the tables in {place} differ from those that clerkmap makes: {named[0] if named else type(error).__name__}"
    if named is not None and named[0].endswith("already exists"):
        told += "; open the repository before your create_all(), or keep a table of that name out of your metadata"
    return ConfigurationError(told)
