"""Users, organizations and memberships in an SQLite file: for one machine, any number of threads and processes.

Each `put` is one transaction with one conditional upsert a record. What is committed is on the disk when `put` returns.
"""

import logging
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar, Unpack

from ..core.model import Change, Id, Organization, User
from ..core.principal import Standing
from ..core.records import AnyRecord
from ..driving import drive
from ..errors import ConfigurationError
from ..listeners import Listeners
from .choices import Choices, Options, id_taken
from .connections import Connections, SharedConnection, check_version, is_open, plain_cursor
from .file_connections import FileConnections
from .sql import SCHEMA_VERSION, Statements
from .tables import Ask, Rows, Tables, Work, Written

logger: logging.Logger = logging.getLogger("clerkmap.repositories")
T = TypeVar("T")


class SqliteRepository:
    """Keeps everything in SQLite.

    `SqliteRepository.open("app.db")` handles its own connections. `SqliteRepository(connection)` uses yours, and takes
    part in your transaction if one is open.

    Args:
        connection: A connection of yours.
        prefix: What the tables' names begin with.
        options: See `Options`. The transaction that hooks are called with is the `sqlite3.Connection`.
    """

    def __init__(
        self,
        connection: sqlite3.Connection | Connections,
        *,
        prefix: str = "clerkmap_",
        **options: Unpack[Options],
    ) -> None:
        check_version()
        if isinstance(connection, sqlite3.Connection):
            connection = SharedConnection(connection, owned=False)
        self._connections = connection
        choices = Choices(**options)
        self.listeners: Listeners = choices.listeners
        self._id_type = "ANY" if callable(choices.ids) else "INTEGER" if choices.ids == "integer" else "TEXT"
        self._sql = Statements(prefix, self._id_type)
        self._tables = Tables(self._sql, choices)
        self.poll_every: float | None = connection.poll_every
        self._migrate()

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        durable: bool = True,
        timeout: float = 5,
        prefix: str = "clerkmap_",
        **options: Unpack[Options],
    ) -> Self:
        """Open a file, making it if need be, or `:memory:`. The options of the class are taken here too.

        Args:
            path: The file.
            durable: Whether a commit must have reached the disk. If not, a power cut may take the last ones back.
            timeout: Seconds to wait for another process that is writing.
            prefix: What the tables' names begin with.
            options: See `Options`.
        """
        connections: Connections
        if str(path) == ":memory:":
            connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            connections = SharedConnection(connection, owned=True)
        else:
            connections = FileConnections(Path(path), durable=durable, timeout=timeout)
        try:
            return cls(connections, prefix=prefix, **options)
        except BaseException:
            connections.close()
            raise

    def put(self, records: Iterable[AnyRecord]) -> list[Change]:
        return self._write(self._tables.put(records))

    def find(
        self,
        instance: str,
        clerk_user_id: str,
        clerk_organization_id: str | None = None,
        clerk_session_id: str | None = None,
    ) -> Standing | None:
        with self._connections.reading() as connection:
            settled = self._connections.is_settled()
            work = self._tables.find(instance, clerk_user_id, clerk_organization_id, clerk_session_id)
            standing = _run(connection, work)
        return standing if settled or standing is None else replace(standing, settled=False)

    def user(self, id: Id) -> User | None:
        return self._read(self._tables.user(id))

    def organization(self, id: Id) -> Organization | None:
        return self._read(self._tables.organization(id))

    def set_role(self, id: Id, role: str | None) -> User:
        return self._write(self._tables.set_role(id, role))

    def link(self, instance: str, clerk_id: str, id: Id) -> User:
        return self._write(self._tables.link(instance, clerk_id, id))

    def unlink(self, instance: str, clerk_id: str, id: Id) -> User:
        return self._write(self._tables.unlink(instance, clerk_id, id))

    def relink(self, instance: str, clerk_id: str, id: Id, *, to: Id) -> User:
        return self._write(self._tables.relink(instance, clerk_id, id, to))

    def export(self, id: Id) -> dict[str, Any]:
        return self._read(self._tables.export(id))

    def erase(self, id: Id) -> User:
        return self._write(self._tables.erase(id))

    def poll(self) -> None:
        self._connections.poll(lambda: self.listeners.tell(None))

    def close(self) -> None:
        self._connections.close()

    def _read(self, work: Work[T]) -> T:
        with self._connections.reading() as connection:
            return _run(connection, work)

    def _write(self, work: Work[Written[T]]) -> T:
        try:
            with self._connections.writing() as connection:
                written, result = _run(connection, work)
                if self.listeners.has_hooks and any(change.is_news for change in written):
                    with self._connections.lend(connection):
                        self.listeners.call(written, connection, lambda: is_open(connection))
            # Whether a transaction of yours will be committed, nobody but you knows.
            self.listeners.tell(written, committed=self._connections.is_settled())
        except Exception:
            raise
        except BaseException:  # it may have come between the two
            self.listeners.tell(None, committed=False)
            raise
        return result

    def _migrate(self) -> None:
        """Bring the tables to this version's state. However many processes start at once, one does it."""
        with self._connections.writing() as connection:
            cursor = plain_cursor(connection)
            cursor.execute(self._sql.create_schema)
            row = cursor.execute(self._sql.select_schema).fetchone()
            if row is None:
                for statement in self._sql.schema:
                    cursor.execute(statement)
                cursor.execute(self._sql.insert_schema, (SCHEMA_VERSION, self._id_type))
                logger.info("made the tables, at schema version %d", SCHEMA_VERSION)
                return
        version, id_type = row
        if version > SCHEMA_VERSION:
            raise ConfigurationError(f"the tables are at schema version {version}: a newer clerkmap made them; upgrade")
        if id_type != self._id_type:
            raise ConfigurationError(f"the tables hold ids of type {id_type}, and ids= asks for {self._id_type}")


def _run(connection: sqlite3.Connection, work: Work[T]) -> T:
    cursor = plain_cursor(connection)

    def answer(ask: Ask) -> Rows:
        return cursor.execute(*ask).fetchall()

    try:
        return drive(work, answer)
    except sqlite3.IntegrityError as error:
        if getattr(error, "sqlite_errorname", None) in ("SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE"):
            raise id_taken() from None
        raise
