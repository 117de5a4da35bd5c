"""What SQLite and PostgreSQL need to have done differently on a connection of Django's."""

import sqlite3
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Protocol, Unpack, cast

from ...core.model import Change
from ...errors import ConfigurationError, RepositoryUnavailable
from ...hooks import Listeners
from ..options import Configuration, IdType, Options
from ..sql.dialects import SQLITE, Names
from ..sql.repository import Tables
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
    """One of the databases. Where it does something there, it is as work on a cursor of Django's."""

    tables: Tables
    listeners: Listeners
    changes: ChangeLog | None  # None where other processes are not heard of

    def is_ready(self) -> Work[bool]:
        """Whether the tables are at this version's state."""
        ...

    def begin(self) -> Work[None]:
        """What comes first in a transaction of our own."""
        ...

    def notify(self, written: Collection[Change]) -> Work[None]:
        """What is told to other processes when the transaction is committed."""
        ...

    def protect(self) -> Work[None]:
        """Before a write: have the database overwrite what is deleted, where it can."""
        ...

    def truncate_log(self, connection: Any) -> bool:
        """Remove erased data from the log. Return whether that is done, or not needed."""
        ...

    def is_open(self, connection: Any) -> bool:
        """Whether a transaction is open on the driver's connection, be it to be undone."""
        ...

    def is_failed(self, connection: Any) -> bool:
        """Whether all it can still do is to be undone."""
        ...

    def is_lost(self, error: RepositoryUnavailable) -> bool:
        """Whether this is no answer of the database: it may have done what it was asked to."""
        ...


class Sqlite:
    """Statements with Django's placeholders, and the write lock before the first look."""

    def __init__(self, *, id_type: IdType | None, **options: Unpack[Options]) -> None:
        names, dialect = Names(PREFIX), replace(SQLITE, value="%s")  # Django makes question marks of them
        configuration = Configuration(id_type=id_type or ("text" if callable(options.get("ids")) else None), **options)
        assert configuration.id_type is not None
        if configuration.id_type not in ID_TYPES["sqlite"]:
            raise ConfigurationError("SQLite has no uuid: id_type is text or bigint")
        self._schema = Schema(dialect, names, ID_TYPES["sqlite"][configuration.id_type])
        self.listeners: Listeners = configuration.listeners
        self.tables: Tables = Tables(Statements(dialect, names, configuration.numbers), configuration)
        self.changes: ChangeLog | None = ChangeLog(dialect, names, self.listeners)
        # Changes nothing, and waits for whoever is writing: later the wait would be a failure.
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

    def is_failed(self, connection: Any) -> bool:  # a statement that fails undoes itself alone
        return False

    def is_lost(self, error: RepositoryUnavailable) -> bool:  # SQLite works in this process
        return False


class Postgres:
    """As every repository on PostgreSQL, which others may be listening to."""

    def __init__(self, *, id_type: IdType | None, **options: Unpack[Options]) -> None:
        from ..postgres.setup import Setup  # who uses SQLite may not have psycopg

        self._setup = Setup(speaks_async=False, prefix=PREFIX, id_type=id_type, **options)
        self.listeners: Listeners = self._setup.listeners
        self.tables: Tables = self._setup.tables
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
        from ..postgres.connections import is_open

        return is_open(connection)

    def is_failed(self, connection: Any) -> bool:
        from psycopg.pq import TransactionStatus

        return bool(connection.info.transaction_status == TransactionStatus.INERROR)

    def is_lost(self, error: RepositoryUnavailable) -> bool:
        from ..postgres.retries import is_no_answer

        return is_no_answer(error.__cause__ and error.__cause__.__cause__)


def database(vendor: str, *, id_type: IdType | None, **options: Unpack[Options]) -> Database:
    """The one that Django calls this."""
    if vendor == "sqlite":
        return Sqlite(id_type=id_type, **options)
    if vendor == "postgresql":
        return Postgres(id_type=id_type, **options)
    raise ConfigurationError(f"clerkmap's tables can be in SQLite and PostgreSQL, not in {vendor}")
