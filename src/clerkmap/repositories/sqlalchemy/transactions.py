"""The transactions of a repository on SQLAlchemy: reads, writes, retries, hooks. Written once, for sync and async code.

In async code these functions run in a greenlet, see `waits.py`.
"""

import copy
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ...core.model import Change
from ...errors import ClerkmapError, ConfigurationError, HookFailed, RepositoryUnavailable
from ...hooks import Listeners, Then, written_from_within
from ...ports import served_first
from ..sql.errors import without_text
from ..sql.lending import Lending
from ..sql.notifications import POLL_EVERY, Notifications
from ..sql.retries import Attempts, transaction_failed
from ..sql.statements import Rows, Work, Written
from ..sqlite.connections import POLL_EVERY as LOOK_EVERY
from ..sqlite.connections import Erasures
from .databases import EngineDatabase, EnginePostgres, database_of, origin_of, run
from .listening import connects_to_listen
from .sources import EngineSource, JoinedSource, OpenTransaction
from .waits import AsyncWaits, SyncWaits, Waits

T = TypeVar("T")


class Transactions:
    """The work of one repository on its engine, or on your session or connection."""

    def __init__(self, source: object, *, speaks_async: bool, **options: Any) -> None:
        self._waits: Waits = AsyncWaits() if speaks_async else SyncWaits()
        engine = _engine_of(source, is_async=speaks_async)
        self.database: EngineDatabase = database_of(
            engine.dialect, engine.url.database, speaks_async=speaks_async, **options
        )
        self.listeners: Listeners = self.database.listeners
        self._source: EngineSource | JoinedSource
        self._notifications: Notifications | None = None
        if isinstance(source, (Engine, AsyncEngine)):
            self._source = EngineSource(source, self.database, self._waits)
            connect = connects_to_listen(source, options.get("listen", True))
            if connect is not None and isinstance(self.database, EnginePostgres):
                channel = self.database.setup.channel
                self._notifications = Notifications(connect, channel, self.listeners.keys_changed)
        else:
            self._source = JoinedSource(source, self.database, self._waits)
        self.poll_every: float = POLL_EVERY if self.database.changes is None else LOOK_EVERY
        self._lending = Lending()
        self._erasures = Erasures()
        self._is_part = False  # on an engine or the connection of a test, a write is committed, or a savepoint
        self._closed = False
        self.is_prepared: bool = False  # whether the tables have been found at this version

    def within(self, given: object) -> Self:
        """Return the same on a session or a connection."""
        part = copy.copy(self)
        part._source = JoinedSource(given, self.database, self._waits, self._source.engine)
        part._is_part, part._closed = True, False
        return part

    def prepare(self) -> None:
        """Check the tables, and make them if that is allowed."""
        if not self.read(self.database.is_ready):
            alone = isinstance(self._source, EngineSource)
            self._transact(lambda: self.database.migrate(alone=alone), None, repeatable=True, is_ready=False)
        if self.database.changes is not None:
            self.poll()  # what was written before is no news
        self.is_prepared = True

    def is_settled(self) -> bool:
        """Return whether a state that is read now is committed."""
        return not self._is_part and self._lending.connection() is None

    @property
    def is_erasing(self) -> bool:
        """Return whether a file may still hold erased data."""
        return self._erasures.are_pending

    def close(self) -> None:
        self._closed = True

    def stop_listening(self) -> None:
        """Wait for the thread that listens."""
        if self._notifications is not None and not self._is_part:
            self._notifications.close()

    def poll(self) -> None:
        """Drop cached data that other processes have changed."""
        self._check_open()
        if self.database.changes is not None:
            self.database.changes.poll(self._read_committed)
            self._erasures.finish(self._truncate_log)
            return
        listening = self._notifications
        if listening is None or not listening.are_heard():
            self.listeners.keys_changed(None)
        # Not in your transaction, which would send it only at its end, if at all.
        if listening is not None and self.is_settled() and (proof := listening.wanted()) is not None:
            assert isinstance(self.database, EnginePostgres)
            prove = self.database.setup.prove
            # Without it the cache is cleared often, which is correct, too.
            with suppress(ClerkmapError), served_first():
                self.read(lambda: prove(proof))
                listening.sent()

    def _check_open(self) -> None:
        if self._closed:
            raise RepositoryUnavailable("the repository is closed")

    def _read_committed(self, work: Work[Rows]) -> Rows | None:
        return self.read(lambda: work) if self.is_settled() else None

    def _truncate_log(self) -> bool:
        with suppress(RepositoryUnavailable):
            return self.read(self.database.truncate_log)
        return False

    def read(self, work: Callable[[], Work[T]]) -> T:
        """Do work that reads."""
        lent = self._lending.connection()
        if lent is not None:
            return run(lent, self.database, work())
        attempts = self._attempts()
        while True:
            try:
                self._check_open()
                with self._translated(), self._source.reading(attempts) as connection:
                    return run(connection, self.database, work())
            except Exception as error:  # noqa: BLE001 - it is raised, unless there is another attempt
                pause = attempts.after(error)
            self._waits.pause(pause)
            attempts.begin()

    def write(self, work: Callable[[], Work[Written[T]]], then: Then | None = None, *, repeatable: bool) -> T:
        """Do work in one transaction, and then call a function in it, unless the result of the work is None."""
        return self._transact(work, then, repeatable=repeatable, is_ready=True)

    def _transact(
        self, work: Callable[[], Work[Written[T]]], then: Then | None, *, repeatable: bool, is_ready: bool
    ) -> T:
        if self._lending.connection() is not None:
            raise written_from_within()
        attempts, joins = self._attempts(), self._is_part
        while True:
            try:
                self._check_open()
                with self._translated(), self._source.writing(attempts, is_ready=is_ready) as transaction:
                    written, result = self._work_in(transaction, work(), then)
                    attempts.is_committing = not joins
            except Exception as error:  # noqa: BLE001 - it is raised, unless there is another attempt
                if attempts.is_unknown(error):
                    self.listeners.keys_changed(None)
                pause = attempts.after(error, repeatable=repeatable)
            except BaseException:  # a cancellation, too, may interrupt the commit
                self.listeners.keys_changed(None)
                raise
            else:
                # Only the application knows whether its transaction will be committed.
                self._waits.tell(self.listeners, written, committed=not joins)
                self._empty_log_after(written)
                return result
            self._waits.pause(pause)
            attempts.begin()

    def _work_in(self, transaction: OpenTransaction, work: Work[Written[T]], then: Then | None) -> Written[T]:
        connection, database = transaction.connection, self.database
        with self._lending.of(connection):
            written, result = run(connection, database, database.tables.write(work))
            run(connection, database, database.notify(written))
            then = then if result is not None else None
            if then is not None or (self.listeners.has_hooks and any(change.is_news for change in written)):
                self._call_hooks(transaction, written, then)
            run(connection, database, database.tables.users.check_rows(written))
        return written, result

    def _call_hooks(self, transaction: OpenTransaction, written: Sequence[Change], then: Then | None) -> None:
        connection, database = transaction.connection, self.database
        is_open: Callable[[], bool] = lambda: database.is_open(connection)  # noqa: E731
        self._waits.call(self.listeners, written, transaction.handle, is_open, then)
        try:
            if transaction.flush is not None:
                transaction.flush()
            run(connection, database, database.check_after_hooks())
        except PendingRollbackError:
            raise transaction_failed() from None
        except DBAPIError as error:
            if database.is_failed_before(error):
                raise transaction_failed() from None
            raise HookFailed(f"the rows that a hook added were refused: {type(error).__name__}") from error

    def _empty_log_after(self, written: Sequence[Change]) -> None:
        if self.database.changes is None:
            return
        if [change for change in written if change.erases]:
            source = self._source
            self._erasures.add(source.is_open if isinstance(source, JoinedSource) else bool)
        if self.is_settled():
            self._erasures.finish(self._truncate_log)

    def _attempts(self) -> Attempts:
        def driver_error(error: BaseException) -> BaseException | None:
            # A function of yours that is called in the transaction may raise an OSError, too.
            is_ours = isinstance(error, DBAPIError) or attempts.is_committing
            return self.database.driver_error(error) if is_ours else None

        again = isinstance(self._source, EngineSource)
        attempts = Attempts(self.database.names, self.database.timeout, driver_error, again=again)
        return attempts

    @contextmanager
    def _translated(self) -> Generator[None, None, None]:
        """Raise clerkmap's errors for a full pool, and for what the database refuses at the commit."""
        refused: ClerkmapError
        try:
            yield
        except PoolTimeout:
            told = "your engine's pool gave no connection in time: raise pool_size= or max_overflow= of the engine"
            refused = RepositoryUnavailable(told)
        except DBAPIError as error:
            origin = origin_of(error)
            found = self.database.refused(origin)
            if found is None:
                raise
            refused = found
            refused.__cause__ = without_text(origin) if isinstance(found, RepositoryUnavailable) else None
        else:
            return
        raise refused


def _engine_of(source: object, *, is_async: bool) -> Engine:
    """Return the sync engine behind the argument of a repository, or raise `ConfigurationError`."""
    if is_async and isinstance(source, (AsyncEngine, AsyncConnection)):
        return source.sync_engine if isinstance(source, AsyncEngine) else source.engine.sync_engine
    if not is_async and isinstance(source, (Engine, Connection)):
        if source.dialect.is_async:
            raise ConfigurationError(f"the engine is {_ASYNC}")
        return source.engine
    if isinstance(source, (AsyncEngine, AsyncConnection)):
        raise ConfigurationError(f"{type(source).__name__} is {_ASYNC}")
    if isinstance(source, (Engine, Connection)):
        raise ConfigurationError(
            f"{type(source).__name__} is sync: pass create_async_engine(...), or use SqlAlchemyRepository"
        )
    wanted = "create_async_engine(url)" if is_async else "create_engine(url)"
    hint = "; a session joins with repository.within(session)" if "Session" in type(source).__name__ else ""
    raise ConfigurationError(f"the repository takes {wanted}, not {type(source).__name__}{hint}")


_ASYNC = "async: use AsyncSqlAlchemyRepository, or pass create_engine(...)"
