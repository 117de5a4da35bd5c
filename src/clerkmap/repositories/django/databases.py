"""The differences between SQLite and PostgreSQL on Django's connection."""

import sqlite3
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Protocol, Unpack, cast

from ...core.model import Change
from ...errors import ConfigurationError, RepositoryUnavailable
from ...hooks import Listeners
from ..options import Configuration, IdType, Options, is_function
from ..sql.dialects import SQLITE, Names
from ..sql.postgres_setup import Setup
from ..sql.repository import SqlTables
from ..sql.retries import is_no_answer
from ..sql.schema import Schema
from ..sql.statements import Statements, Work
from ..sqlite.change_log import ChangeLog
from ..sqlite.connections import is_open, truncate_log

PREFIX = "clerkmap_"
ID_TYPES: dict[str, dict[IdType, str]] = {
    "sqlite": {"text": "TEXT", "bigint": "INTEGER"},
    "postgresql": {"text": "text", "bigint": "bigint", "uuid": "uuid"},
}


class Database(Protocol):
    """One of the databases. Its work runs on Django's cursor."""

    tables: SqlTables
    listeners: Listeners
    changes: ChangeLog | None  # None if changes by other processes are not noticed

    def is_ready(self) -> Work[bool]:
        """Return whether the tables are at this version."""
        ...

    def begin(self) -> Work[None]:
        """Return the work that comes first in clerkmap's own transaction."""
        ...

    def notify(self, written: Collection[Change]) -> Work[None]:
        """Return the work that notifies other processes at the commit."""
        ...

    def protect(self) -> Work[None]:
        """Make the database overwrite deleted data, if it can. Call this before a write."""
        ...

    def truncate_log(self, connection: Any) -> bool:
        """Remove erased data from the log. Return whether that is done or not needed."""
        ...

    def is_open(self, connection: Any) -> bool:
        """Return whether a transaction is open on the driver's connection, even one that must be rolled back."""
        ...

    def is_failed(self, connection: Any) -> bool:
        """Return whether the transaction can only be rolled back."""
        ...

    def is_lost(self, error: RepositoryUnavailable) -> bool:
        """Return whether the database did not answer: it may have run the statement."""
        ...


class Sqlite:
    """SQLite: statements with Django's placeholders, and the write lock before the first read."""

    def __init__(self, *, id_type: IdType | None, **options: Unpack[Options]) -> None:
        names, dialect = Names(PREFIX), replace(SQLITE, value="%s")  # Django turns them into question marks
        configuration = Configuration(
            id_type=id_type or ("text" if is_function(options.get("ids")) else None), **options
        )
        assert configuration.id_type is not None
        if configuration.id_type not in ID_TYPES["sqlite"]:
            raise ConfigurationError("SQLite has no uuid: id_type must be text or bigint")
        self._schema = Schema(dialect, names, ID_TYPES["sqlite"][configuration.id_type])
        self.listeners: Listeners = configuration.listeners
        self.tables: SqlTables = SqlTables(Statements(dialect, names, configuration.numbers), configuration)
        self.changes: ChangeLog | None = ChangeLog(dialect, names, self.listeners)
        # Changes nothing, and waits for the current writer: a later wait would be an error.
        self._lock = f"UPDATE {self._schema.table} SET version = version WHERE 0"

    def is_ready(self) -> Work[bool]:
        is_ready = yield from self._schema.is_ready("SELECT 1 FROM sqlite_master WHERE name = %s")
        if is_ready:
            yield from self.tables.users.check_numbers()
        return is_ready

    def begin(self) -> Work[None]:
        yield self._lock, ()

    def notify(self, written: Collection[Change]) -> Work[None]:  # triggers have written the keys
        yield from ()

    def protect(self) -> Work[None]:
        yield "PRAGMA secure_delete = ON", ()

    def truncate_log(self, connection: Any) -> bool:
        return truncate_log(cast(sqlite3.Connection, connection))

    def is_open(self, connection: Any) -> bool:
        return is_open(cast(sqlite3.Connection, connection))

    def is_failed(self, connection: Any) -> bool:  # a failed statement undoes only itself
        return False

    def is_lost(self, error: RepositoryUnavailable) -> bool:  # SQLite works in this process
        return False


class Postgres:
    """PostgreSQL: notifications as in every repository, since other processes may listen."""

    def __init__(self, *, id_type: IdType | None, **options: Unpack[Options]) -> None:
        # Django's migrations make the tables, and the repository says so itself if they are missing.
        self._setup = Setup(speaks_async=False, prefix=PREFIX, id_type=id_type, migrate=True, **options)
        self.listeners: Listeners = self._setup.listeners
        self.tables: SqlTables = self._setup.tables
        self.changes: ChangeLog | None = None

    def is_ready(self) -> Work[bool]:
        return self._setup.is_ready()

    def begin(self) -> Work[None]:
        yield from ()

    def notify(self, written: Collection[Change]) -> Work[None]:
        return self._setup.notify(written)

    def protect(self) -> Work[None]:
        yield from ()

    def truncate_log(self, connection: Any) -> bool:  # old versions of a row stay until VACUUM
        return True

    def is_open(self, connection: Any) -> bool:
        from ..postgres.connections import is_open  # psycopg may be missing beside SQLite

        return is_open(connection)

    def is_failed(self, connection: Any) -> bool:
        from psycopg.pq import TransactionStatus

        return bool(connection.info.transaction_status == TransactionStatus.INERROR)

    def is_lost(self, error: RepositoryUnavailable) -> bool:
        return is_no_answer(error.__cause__ and error.__cause__.__cause__)


def database(vendor: str, *, id_type: IdType | None, **options: Unpack[Options]) -> Database:
    """Return the database for Django's name of it."""
    if vendor == "sqlite":
        return Sqlite(id_type=id_type, **options)
    if vendor == "postgresql":
        return Postgres(id_type=id_type, **options)
    raise ConfigurationError(f"clerkmap supports SQLite and PostgreSQL, not {vendor}")
