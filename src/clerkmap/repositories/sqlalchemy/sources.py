"""The source of a repository's connections: your engine, or your session or connection.

On an engine each write is its own transaction. A session or a connection is shared: each write becomes part of your
transaction, behind a savepoint, and you commit.
"""

import os
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import Connection, Engine, StaticPool
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from ..._runtime.forks import SurvivesForks
from ...errors import ConfigurationError, RepositoryUnavailable
from ..sql.errors import without_text
from ..sql.retries import Attempts, makes_useless
from ..sqlite.errors import MEMORY
from .databases import EngineDatabase, check_dialect, origin_of, run
from .waits import Waits, WorkTurns

Joined = Session | Connection


class OpenTransaction:
    """A connection in a transaction, and the object for hooks."""

    def __init__(self, connection: Connection, handle: object, flush: Callable[[], None] | None = None) -> None:
        self.connection = connection
        self.handle = handle
        self.flush = flush


class EngineSource(SurvivesForks):
    """Lends connections of an engine."""

    def __init__(self, engine: Engine | AsyncEngine, database: EngineDatabase, waits: Waits) -> None:
        self._async_engine = engine if isinstance(engine, AsyncEngine) else None
        self.engine: Engine = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
        self._database = database
        self._reading, self._writing = self.engine, self.engine
        if self.engine.dialect.name == "postgresql":
            # A look-up is one round trip, and not three. A write needs no more than this level, whatever yours is.
            self._reading = self.engine.execution_options(isolation_level="AUTOCOMMIT")
            self._writing = self.engine.execution_options(isolation_level="READ COMMITTED")
        self._is_single = isinstance(self.engine.pool, StaticPool)
        # SQLite itself polls with growing pauses, and starves some writers.
        self._turns = WorkTurns(waits, database.timeout, database.max_waiting) if database.changes is not None else None
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        """Leave the connections to the parent: two processes must not share one."""
        if not self._is_single:
            self.engine.dispose(close=False)

    @contextmanager
    def reading(self, attempts: Attempts) -> Generator[Connection, None, None]:
        """Lend a connection to read what is committed."""
        with (
            self._turn(is_needed=self._is_single),
            _connected(self._reading) as connection,
            _noted(connection, attempts),
        ):
            yield connection

    @contextmanager
    def writing(self, attempts: Attempts, *, is_ready: bool) -> Generator[OpenTransaction, None, None]:
        """Lend a connection in a transaction, which is committed at the end of the block."""
        with (
            self._turn(),
            _connected(self._writing) as connection,
            _noted(connection, attempts),
            connection.begin(),
        ):
            run(connection, self._database, self._database.begin(connection, is_ready=is_ready))
            yield OpenTransaction(connection, self._handle(connection))

    def _handle(self, connection: Connection) -> object:
        return connection if self._async_engine is None else AsyncConnection(self._async_engine, connection)

    def _turn(self, *, is_needed: bool = True) -> AbstractContextManager[None]:
        return nullcontext() if self._turns is None or not is_needed else self._turns.one()


class JoinedSource:
    """Lends your connection, or that of your session. It joins your transaction, and never ends it."""

    def __init__(self, given: object, database: EngineDatabase, waits: Waits, engine: Engine | None = None) -> None:
        self._handle, self._joined = _joinable(given, is_async=waits.is_async)
        self._database = database
        # The connection of a test may serve several threads. A session or a part of a request has one user.
        self._turns = WorkTurns(waits, database.timeout, database.max_waiting) if engine is None else None
        self._bind: Engine | None = None
        bind = self._bind_of(self._joined, engine)
        self.engine: Engine = bind.engine
        if engine is None:
            check_dialect(self.engine.dialect)
        else:
            _check_same_database(self.engine, engine)

    def _bind_of(self, joined: Joined, engine: Engine | None) -> Engine | Connection:
        if isinstance(joined, Connection):
            return joined
        if joined.bind is not None or engine is None:
            return joined.get_bind()
        self._bind = engine  # the session has an engine for each class
        return engine

    @contextmanager
    def reading(self, attempts: Attempts) -> Generator[Connection, None, None]:
        """Lend the connection, with what your transaction sees."""
        with nullcontext() if self._turns is None else self._turns.one():
            yield self._connection()

    @contextmanager
    def writing(self, attempts: Attempts, *, is_ready: bool) -> Generator[OpenTransaction, None, None]:
        """Lend the connection behind a savepoint."""
        with self.reading(attempts) as connection:
            # On SQLite a savepoint outside a transaction would be one, and its release a commit.
            run(connection, self._database, self._database.begin(connection, is_ready=False))
            with self._joined.begin_nested():
                flush = self._joined.flush if isinstance(self._joined, Session) else None
                connection = self._connection()  # a session sets its savepoint only now
                yield OpenTransaction(connection, self._handle, flush)

    def is_open(self) -> bool:
        """Return whether your transaction is still open."""
        return self._joined.in_transaction()

    def _connection(self) -> Connection:
        joined = self._joined
        if isinstance(joined, Connection):
            connection = joined
        else:
            connection = joined.connection(None if self._bind is None else {"bind": self._bind})
        if self._database.changes is not None:
            return connection
        if getattr(connection.connection.dbapi_connection, "autocommit", False):
            raise ConfigurationError(
                "the connection has the isolation level AUTOCOMMIT, so there is no transaction to join: use one "
                "without it"
            )
        return connection


def _connected(engine: Engine) -> Connection:
    try:
        return engine.connect()
    except OSError as error:  # asyncpg lets these through; their text shows the server's address
        raise RepositoryUnavailable(type(error).__name__) from without_text(error)


class _Held:
    """The connection of an attempt."""

    def __init__(self, engine: Engine) -> None:
        self.closed: bool = False
        self.info: Any = SimpleNamespace(user=engine.url.username)


@contextmanager
def _noted(connection: Connection, attempts: Attempts) -> Generator[None, None, None]:
    """Note it if the connection is lost, and let the pool replace a useless one."""
    held = attempts.connection = _Held(connection.engine)
    try:
        yield
    except BaseException as error:
        held.closed = connection.invalidated
        if makes_useless(origin_of(error)):
            connection.invalidate()
        raise


def _joinable(given: object, *, is_async: bool) -> tuple[object, Joined]:
    """Return the object for hooks, and the sync session or connection in it."""
    if isinstance(given, (scoped_session, async_scoped_session)):
        return _joinable(cast("Callable[[], object]", given)(), is_async=is_async)
    if is_async and isinstance(given, AsyncSession):
        return given, given.sync_session
    if is_async and isinstance(given, AsyncConnection):
        if given.sync_connection is None:
            raise ConfigurationError("the connection is not open: write `async with engine.connect() as connection`")
        return given, given.sync_connection
    if not is_async and isinstance(given, (Session, Connection)):
        return given, given
    wanted = "an AsyncSession or an AsyncConnection" if is_async else "a Session or a Connection of SQLAlchemy"
    hint = ""
    if isinstance(given, (Session, Connection)):
        hint = ": with sync sessions use SqlAlchemyRepository"
    elif isinstance(given, (AsyncSession, AsyncConnection)):
        hint = ": with async sessions use AsyncSqlAlchemyRepository"
    elif callable(given):
        hint = ": call it first"
    raise ConfigurationError(f"within() takes {wanted}, not {type(given).__name__}{hint}")


def _check_same_database(mine: Engine, whole: Engine) -> None:
    """Raise `ConfigurationError` if a session is on another database, as far as the URLs tell."""
    if mine is whole:
        return
    drivers = [f"{each.dialect.name}+{each.dialect.driver}" for each in (mine, whole)]
    if drivers[0] != drivers[1]:
        raise ConfigurationError(f"the session uses {drivers[0]}, and the repository {drivers[1]}: use one engine")
    names = [each.url.database or MEMORY for each in (mine, whole)]
    # Each pool has a database in memory of its own.
    if names == [MEMORY, MEMORY] and mine.dialect.name == "sqlite" and mine.pool is not whole.pool:
        raise ConfigurationError("the session uses another database in memory than the repository: use one engine")
    if MEMORY not in names and mine.dialect.name == "sqlite":
        names = [os.path.realpath(str(name)) for name in names]
    if names[0] != names[1]:
        raise ConfigurationError(
            f"the session uses the database {names[0]}, and the repository {names[1]}: a transaction must use one"
        )
