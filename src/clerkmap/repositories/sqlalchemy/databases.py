"""The differences between PostgreSQL and SQLite, and between their drivers, on a connection of SQLAlchemy."""

import re
import sqlite3
from collections.abc import Collection
from functools import lru_cache
from typing import Any, Protocol, TypeVar, Unpack

from sqlalchemy import Connection
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError, InvalidRequestError

from ..._runtime.driving import drive
from ..._runtime.threads import MAX_WAITING, checked_max_waiting
from ...core.model import Change, IdT
from ...errors import ClerkmapError, ConfigurationError, RepositoryUnavailable
from ...hooks import Listeners
from ..arguments import checked_timeout
from ..options import Configuration, IdType, Options
from ..sql.dialects import SQLITE, Names
from ..sql.errors import without_text
from ..sql.postgres_setup import Setup
from ..sql.repository import SqlTables
from ..sql.retries import is_refusal, refusal, sqlstate
from ..sql.schema import Schema
from ..sql.statements import Ask, Rows, Statements, Work, Written
from ..sqlite.change_log import ChangeLog
from ..sqlite.connections import LOG_PATIENCE, check_version
from ..sqlite.errors import MEMORY, fault
from ..sqlite.errors import REFUSALS as SQLITE_REFUSALS
from ..sqlite.errors import refusal as sqlite_refusal

T = TypeVar("T")
DRIVERS = {"postgresql": ("psycopg", "asyncpg"), "sqlite": ("pysqlite", "aiosqlite")}
_ID_TYPES: dict[IdType | None, str] = {"text": "TEXT", "bigint": "INTEGER", None: "ANY"}
_IDLE = 0  # libpq's PQTRANS_IDLE
_FAILED = "25P02"  # in_failed_sql_transaction
_PLACE = re.compile("%s")


class SqlAlchemyOptions(Options[IdT], total=False):
    """The options of every repository, and these.

    prefix: The beginning of the tables' names; `clerkmap_` by default.
    schema: PostgreSQL: the schema of the tables; without it, the first of the `search_path`.
    id_type: The column type of your ids: `text`, `bigint`, or on PostgreSQL `uuid`.
    listen: PostgreSQL: how changes by other processes are noticed. True: `LISTEN`, on a connection of its own that is
        made as those of your engine are. An engine: `LISTEN` with that one, if yours leads to a pooler. False: no
        `LISTEN` in any process; the cache is then cleared every 0.4 seconds.
    migrate: Whether clerkmap may make the tables and upgrade them; False by default.
    durable: PostgreSQL: whether to refuse a server that acknowledges a commit before it is on the disk.
    timeout: Seconds for which a transaction is retried that met another one or lost its connection. On SQLite, also
        seconds after which writers that wait are refused, if nothing was written meanwhile.
    max_waiting: SQLite: how many writers may wait. The others are refused at once: answer 503.
    """

    prefix: str
    schema: str | None
    id_type: IdType | None
    listen: Any
    migrate: bool
    durable: bool
    timeout: float
    max_waiting: int


class EngineDatabase(Protocol):
    """One of the databases."""

    names: Names
    tables: SqlTables
    listeners: Listeners
    changes: ChangeLog | None  # None if the database notifies; one that does not has one writer at a time
    timeout: float
    max_waiting: int

    def spelled(self, statement: str) -> str:
        """Return a statement with the placeholders of the driver."""
        ...

    def is_ready(self) -> Work[bool]:
        """Return whether the tables are at this version."""
        ...

    def migrate(self, *, alone: bool) -> Work[Written[None]]:
        """Make the tables, or upgrade them."""
        ...

    def begin(self, connection: Connection, *, is_ready: bool) -> Work[None]:
        """Return the work that comes first in a transaction, so that the work after it waits for other writers."""
        ...

    def notify(self, written: Collection[Change]) -> Work[None]:
        """Return the work that notifies other processes at the commit."""
        ...

    def check_after_hooks(self) -> Work[None]:
        """Return work that fails if the transaction can only be rolled back."""
        ...

    def is_failed_before(self, error: DBAPIError) -> bool:
        """Return whether a statement failed only because an earlier one had failed in its transaction."""
        ...

    def is_open(self, connection: Connection) -> bool:
        """Return whether a transaction is open in the database, even one that must be rolled back."""
        ...

    def driver_error(self, error: BaseException) -> BaseException | None:
        """Return the driver's error in an error that a retry may help."""
        ...

    def refused(self, error: BaseException) -> ClerkmapError | None:
        """Return the error for a driver's error that no retry helps."""
        ...

    def truncate_log(self) -> Work[bool]:
        """Remove erased data from the log. Return whether that is done or not needed."""
        ...


class EnginePostgres:
    """PostgreSQL, on psycopg or asyncpg."""

    changes: ChangeLog | None = None

    def __init__(self, dialect: Dialect, *, speaks_async: bool, **options: Any) -> None:
        self._is_numbered = dialect.driver == "asyncpg"
        listen = options.pop("listen", True)
        self.setup: Setup = Setup(speaks_async=speaks_async, listen=listen is not False, **options)
        self.names: Names = self.setup.names
        self.tables: SqlTables = self.setup.tables
        self.listeners: Listeners = self.setup.listeners
        self.timeout: float = self.setup.timeout
        self.max_waiting: int = self.setup.max_waiting

    def spelled(self, statement: str) -> str:
        return _numbered(statement) if self._is_numbered else statement

    def is_ready(self) -> Work[bool]:
        return self.setup.is_ready()

    def migrate(self, *, alone: bool) -> Work[Written[None]]:
        return self.setup.migrate(alone=alone)

    def begin(self, connection: Connection, *, is_ready: bool) -> Work[None]:
        yield from ()

    def notify(self, written: Collection[Change]) -> Work[None]:
        return self.setup.notify(written)

    def check_after_hooks(self) -> Work[None]:
        yield "SELECT 1", ()

    def is_failed_before(self, error: DBAPIError) -> bool:
        return sqlstate(error.orig) == _FAILED

    def is_open(self, connection: Connection) -> bool:
        driver = _driver_connection(connection)
        if driver is None:
            return connection.invalidated  # a lost connection: no hook has ended its transaction
        if self._is_numbered:
            return bool(driver.is_closed() or driver.is_in_transaction())
        return bool(driver.closed or driver.info.transaction_status != _IDLE)

    def driver_error(self, error: BaseException) -> BaseException | None:
        if isinstance(error, DBAPIError):
            return error.orig
        return error if isinstance(error, OSError) else None

    def refused(self, error: BaseException) -> ClerkmapError | None:
        return refusal(error) if is_refusal(error) else None

    def truncate_log(self) -> Work[bool]:  # old versions of a row stay until VACUUM
        yield from ()
        return True


@lru_cache(maxsize=1024)
def _numbered(statement: str) -> str:
    """Return a statement with numbered placeholders."""
    parts = _PLACE.split(statement)
    return parts[0] + "".join(f"${number}{part}" for number, part in enumerate(parts[1:], 1))


class EngineSqlite:
    """SQLite, on sqlite3 or aiosqlite."""

    def __init__(
        self,
        dialect: Dialect,
        *,
        speaks_async: bool,
        place: str | None,
        prefix: str = "clerkmap_",
        schema: str | None = None,
        id_type: IdType | None = None,
        listen: bool = True,
        migrate: bool = False,
        durable: bool = True,
        timeout: float = 5,
        max_waiting: int = MAX_WAITING,
        **options: Unpack[Options],
    ) -> None:
        check_version()
        if schema is not None:
            raise ConfigurationError("SQLite has no schemas: leave schema= out, and choose a prefix=")
        if id_type == "uuid":
            raise ConfigurationError("SQLite has no uuid: id_type must be text or bigint")
        if not isinstance(listen, bool):
            raise ConfigurationError("SQLite does not notify: leave listen= out")
        self.timeout: float = checked_timeout(timeout)
        self.max_waiting: int = checked_max_waiting(max_waiting)
        self._place = place or MEMORY
        self._migrates = migrate
        names = Names(prefix)
        self.names: Names = names
        configuration = Configuration(speaks_async=speaks_async, id_type=id_type, **options)
        self._schema = Schema(SQLITE, names, _ID_TYPES[configuration.id_type])
        self.listeners: Listeners = configuration.listeners
        self.tables: SqlTables = SqlTables(Statements(SQLITE, names, configuration.numbers), configuration)
        self.changes: ChangeLog | None = ChangeLog(SQLITE, names, self.listeners)
        # Changes nothing, and waits for the current writer: a later wait would be an error.
        self._lock = f"UPDATE {self._schema.table} SET version = version WHERE 0"

    def spelled(self, statement: str) -> str:
        return statement

    def is_ready(self) -> Work[bool]:
        is_ready = yield from self._schema.is_ready("SELECT 1 FROM sqlite_master WHERE name = ?")
        # Before the tables are made: if the users table is missing, no tables are left behind.
        yield from self.tables.users.check_numbers()
        if not is_ready and not self._migrates:
            raise ConfigurationError(
                f"the tables in {self._place} are missing or outdated: pass migrate=True, run clerkmap migrate, or "
                "run your Alembic migrations"
            )
        return is_ready

    def migrate(self, *, alone: bool) -> Work[Written[None]]:
        yield from self._schema.migrate()
        return [], None

    def begin(self, connection: Connection, *, is_ready: bool) -> Work[None]:
        yield "PRAGMA secure_delete = ON", ()  # not every build overwrites deleted data
        driver = _driver_connection(connection)
        if driver is not None and not driver.in_transaction:
            yield "BEGIN IMMEDIATE", ()
        elif is_ready:  # your application or its listeners have begun a transaction already
            yield self._lock, ()

    def notify(self, written: Collection[Change]) -> Work[None]:  # triggers have written the keys
        yield from ()

    def check_after_hooks(self) -> Work[None]:  # a failed statement undoes only itself
        yield from ()

    def is_failed_before(self, error: DBAPIError) -> bool:
        return False

    def is_open(self, connection: Connection) -> bool:
        driver = _driver_connection(connection)
        try:
            return driver is not None and bool(driver.in_transaction)
        except (ValueError, sqlite3.ProgrammingError):  # it is closed
            return False

    def driver_error(self, error: BaseException) -> BaseException | None:  # SQLite works in this process
        return None

    def refused(self, error: BaseException) -> ClerkmapError | None:
        if isinstance(error, SQLITE_REFUSALS):
            return sqlite_refusal(error, self._place)
        return fault(error, self._place) if isinstance(error, sqlite3.Error) else None

    def truncate_log(self) -> Work[bool]:
        ((patience,),) = yield "PRAGMA busy_timeout", ()
        yield f"PRAGMA busy_timeout = {min(int(patience), LOG_PATIENCE)}", ()
        ((is_busy, *_),) = yield "PRAGMA wal_checkpoint(TRUNCATE)", ()
        yield f"PRAGMA busy_timeout = {patience}", ()
        return not is_busy


def run(connection: Connection, database: EngineDatabase, work: Work[T]) -> T:
    """Do work on a connection. Raise clerkmap's error for what the database refuses."""

    def answer(ask: Ask) -> Rows:
        statement, values = ask
        try:
            result = connection.exec_driver_sql(database.spelled(statement), values)
            if isinstance(values, list):
                return [(result.rowcount,)]
            return [tuple(row) for row in result] if result.returns_rows else []
        except OSError as error:  # asyncpg lets these through
            raise RepositoryUnavailable(type(error).__name__) from without_text(error)
        except (DBAPIError, UnicodeError, OverflowError) as error:
            origin = origin_of(error)
            refused = database.refused(origin)
            if refused is None:
                raise
            cause = without_text(origin) if isinstance(refused, RepositoryUnavailable) else None
        raise refused from cause  # outside the `except`, so that the driver's error is not its context

    return drive(work, answer)


def origin_of(error: BaseException) -> BaseException:
    """Return the driver's error in one of SQLAlchemy, and any other error as it is."""
    return error.orig or error if isinstance(error, DBAPIError) else error


def _driver_connection(connection: Connection) -> Any:
    """Return the driver's connection. None if it is closed or lost."""
    try:
        return None if connection.invalidated else connection.connection.driver_connection
    except InvalidRequestError:  # a hook has closed it
        return None


def check_dialect(dialect: Dialect) -> None:
    """Raise `ConfigurationError` for a database or a driver that is not supported."""
    if dialect.driver.removesuffix("_async") not in DRIVERS.get(dialect.name, ()):
        raise ConfigurationError(
            "the repository works on engines for postgresql+psycopg, postgresql+asyncpg, sqlite and sqlite+aiosqlite, "
            f"and not on {dialect.name}+{dialect.driver}: write one of these before :// in the URL"
        )


def database_of(
    dialect: Dialect, place: str | None, *, speaks_async: bool, **options: Unpack[SqlAlchemyOptions]
) -> EngineDatabase:
    """Return the database of an engine."""
    check_dialect(dialect)
    if dialect.name == "sqlite":
        return EngineSqlite(dialect, speaks_async=speaks_async, place=place, **options)
    return EnginePostgres(dialect, speaks_async=speaks_async, **options)
