"""An SQLite file of a command."""

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from ..errors import ConfigurationError, RepositoryUnavailable
from ..ports import Repository
from ..repositories.options import Options
from ..repositories.sql.dialects import SQLITE, Names
from ..repositories.sql.schema import Schema
from ..repositories.sqlite import SqliteRepository
from ..repositories.sqlite.connections import SharedConnection
from .database import CommandDatabase, DatabaseState, NewIds, found

_TYPES: dict[NewIds | None, str] = {"uuid7": "TEXT", "clerk": "TEXT", "integer": "INTEGER"}
_EXAMPLE = "SELECT user_id, clerk_id FROM clerkmap_identities WHERE clerk_id IS NOT NULL LIMIT 1"


class SqliteDatabase(CommandDatabase):
    """One SQLite file. Only `migrate` creates it."""

    to_write = "Run this as the user of your application, and allow that user to write to the file and its folder"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.shown: str = str(path)

    def look(self) -> DatabaseState:
        """Return the state of the file."""
        if not self._path.exists():
            if not self._path.absolute().parent.is_dir():
                raise ConfigurationError(f"there is no folder {self._path.absolute().parent}")
            return DatabaseState(exists=False)
        if not self._path.is_file():
            raise ConfigurationError(f"{self.shown} is not a file")
        with self._connected() as connection:
            tables = connection.execute("SELECT name FROM sqlite_schema WHERE name = 'clerkmap_schema'").fetchall()
            if not tables:
                return DatabaseState()
            rows = connection.execute("SELECT version, id_type FROM clerkmap_schema").fetchall()
            return found(rows, connection.execute(_EXAMPLE).fetchone())

    def check_writable(self) -> bool:
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")  # a plain BEGIN would only read
            try:
                connection.execute("UPDATE clerkmap_schema SET version = version WHERE 0")
            finally:
                connection.execute("ROLLBACK")
        return True

    def open(self, found: DatabaseState, *, writes: bool) -> Repository:
        """Open the file to write as an application does, or to read without changing its journal mode."""
        with _faults(self.shown):
            if writes:
                return SqliteRepository.open(self._path, **_ids(found))
            connection = self._connect()
            try:
                return SqliteRepository(SharedConnection(connection, owned=True), **_ids(found))
            except BaseException:
                connection.close()
                raise

    def migrate(self, ids: NewIds | None, found: DatabaseState) -> None:
        with _faults(self.shown):
            SqliteRepository.open(self._path, **_ids(replace(found, ids=ids or found.ids))).close()

    def ddl(self, since: int, ids: NewIds | None, found: DatabaseState) -> str:
        return ddl(since, ids, found.id_type)

    @contextmanager
    def trying(self, found: DatabaseState) -> Generator[Repository]:
        with self._connected() as connection:
            repository = SqliteRepository(connection, **_ids(found))
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield repository
            finally:
                connection.execute("ROLLBACK")
                repository.close()

    @contextmanager
    def _connected(self) -> Generator[sqlite3.Connection]:
        with _faults(self.shown), closing(self._connect()) as connection:
            yield connection

    def _connect(self) -> sqlite3.Connection:
        """Connect to the existing file, and change no setting."""
        return sqlite3.connect(
            f"file:{quote(os.fsencode(self._path))}?mode=rw", uri=True, timeout=5, isolation_level=None
        )


def ddl(since: int, ids: NewIds | None, id_type: str, *, prefix: str = "clerkmap_") -> str:
    """Return the tables as a script, without a database."""
    made = _TYPES[ids or "uuid7"]
    if ids is not None and id_type not in ("", made):
        raise ConfigurationError(f"--ids {ids} cannot make ids of type {id_type}")
    return Schema(SQLITE, Names(prefix), id_type or made).ddl(since)


def _ids(found: DatabaseState) -> Options:
    """Return the options for ids in these tables.

    For ids from a function of the application, another function stands in.
    """
    if found.id_type == "ANY" and found.ids is None:
        return {"ids": lambda record: record.key}
    if found.ids == "integer":
        return {"ids": int, "first_id": found.first_id}
    return {"ids": found.ids or "uuid7"}


@contextmanager
def _faults(shown: str) -> Generator[None]:
    """Turn errors of SQLite into errors that name the cause."""
    try:
        yield
    except (sqlite3.Error, RepositoryUnavailable) as error:
        cause = error.__cause__ if isinstance(error, RepositoryUnavailable) else error
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_NOTADB:
            raise ConfigurationError(f"{shown} is not an SQLite database") from None
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise RepositoryUnavailable(f"another process has locked {shown}") from None
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            raise RepositoryUnavailable(
                f"this user may not open {shown}, or may not write to it or its folder"
            ) from None
        if code == sqlite3.SQLITE_CORRUPT:
            raise RepositoryUnavailable(f"{shown} is damaged: restore it from a backup, then `clerkmap sync`") from None
        if isinstance(error, RepositoryUnavailable):
            raise
        raise RepositoryUnavailable(f"{type(error).__name__} in {shown}") from None
