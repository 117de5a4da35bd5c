"""Users, organizations and memberships on Django's own connection, SQLite or PostgreSQL.

A write in Django's transaction is part of it: the order and the user are committed together, or neither. The migrations
of the app `clerkmap.adapters.django` make the tables.

Django has a connection for each thread, and may replace it at any time. So the repository gets it at each use.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, ParamSpec, TypeVar, Unpack

from asgiref.sync import sync_to_async
from django.db import connections, transaction

from ..._runtime.driving import drive
from ..._runtime.threads import Threads
from ...core.model import NewIdT
from ...errors import CommitUnknown, ConfigurationError, HookFailed, RepositoryUnavailable
from ...hooks import Listeners, Then, written_from_within
from ..options import IdType, Options
from ..sql.errors import Backoff
from ..sql.repository import SqlRepository
from ..sql.statements import Ask, Rows, Work, Written
from .databases import Database, database
from .errors import gave_way, tables_missing, told, unstorable

T = TypeVar("T")
P = ParamSpec("P")

POLL_EVERY = 0.4  # seconds: another process must see a change within one second


class _DjangosThread:
    """Call a repository on Django's connection from async code.

    The calls run in the thread in which Django has the connection and the transactions of this request. Afterwards,
    connections that are due are closed there.
    """

    async def read(self, function: Callable[..., T], /, *args: Any) -> T:
        result: T = await sync_to_async(function, thread_sensitive=True)(*args)
        return result

    async def write(self, function: Callable[..., T], /, *args: Any) -> T:
        return await self.read(function, *args)

    async def read_or_write(
        self, read: Callable[[], T | None], write: Callable[[], Any], then: Callable[[], T], /
    ) -> T:
        def run() -> T:
            found = read()
            if found is not None:
                return found
            write()
            return then()

        return await self.read(run)


class DjangoRepository(SqlRepository[NewIdT]):
    """A repository in Django's database.

    Args:
        alias: The name in `DATABASES`.
        id_type: The column type of your ids: `text`, `bigint` or `uuid`. It must equal the setting `ID_TYPE`, which the
            migration uses for the tables.
        timeout: Seconds for which a transaction that met another one is retried.
        options: See `Options`. Hooks get Django's connection as their transaction, and may use the models of that
            database.
    """

    poll_every: float | None = POLL_EVERY

    def __init__(
        self,
        alias: str = "default",
        *,
        id_type: IdType | None = None,
        timeout: float = 5,
        **options: Unpack[Options[NewIdT]],
    ) -> None:
        self._alias = alias
        self._database: Database = database(connections[alias].vendor, id_type=id_type, **options)
        self._tables = self._database.tables
        self.listeners: Listeners = self._database.listeners
        self._timeout = timeout
        self._is_ready = self._closed = False
        self._erases = False  # whether the write-ahead log of SQLite may hold erased data
        self._here = threading.local()
        self.threads: Threads = _DjangosThread()

    def within(self, connection: object) -> NoReturn:
        """Raise `ConfigurationError`: this repository is always on Django's connection, inside your `atomic` blocks."""
        raise ConfigurationError(
            "DjangoRepository writes on Django's connection already: to join a transaction, call it in "
            f"transaction.atomic(using={self._alias!r})"
        )

    def poll(self) -> None:
        """Drop cached data that other processes have changed. On PostgreSQL, without `LISTEN`, drop everything."""
        self._check_open()
        if self._database.changes is None:
            self.listeners.keys_changed(None)
        else:
            self._database.changes.poll(self._read_committed)
        self._truncate_log()

    def close(self) -> None:
        """Refuse further calls. Django closes the connections."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise RepositoryUnavailable("the repository is closed")

    def _is_settled(self) -> bool:
        with told(self._alias):
            return not self._joins()

    def in_transaction(self) -> bool:
        """Return whether your transaction is open, as `atomic(durable=True)` sees it: that of a `TestCase` does not
        count."""
        self._check_open()
        blocks = connections[self._alias].atomic_blocks
        return not getattr(blocks[-1], "_from_testcase", False) if blocks else self._joins()

    def _joins(self) -> bool:
        """Return whether work now is part of your transaction."""
        connection = connections[self._alias]
        return bool(connection.in_atomic_block or not connection.get_autocommit())

    def _read(self, work: Callable[P, Work[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        self._check_open()
        with told(self._alias):
            self._make_ready()
            return self._run(work(*args, **kwargs))

    def _read_committed(self, work: Work[T]) -> T | None:
        with told(self._alias):
            self._make_ready()
            return None if self._joins() else self._run(work)

    def _write(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._write_and_call(lambda: work(*args, **kwargs), None)

    def _write_then(self, then: Then, work: Callable[[], Work[Written[T]]], *, repeatable: bool) -> T:
        return self._write_and_call(work, then)

    def _write_and_call(self, work: Callable[[], Work[Written[T]]], then: Then | None) -> T:
        if getattr(self._here, "is_writing", False):
            raise written_from_within()
        self._check_open()
        backoff = Backoff(self._timeout)
        while True:
            self._here.is_committing = False
            try:
                with told(self._alias):
                    joins = self._joins()
                    written, result = self._transact(work(), then, joins=joins)
            except (RepositoryUnavailable, HookFailed) as error:
                if isinstance(error, RepositoryUnavailable):  # it may have interrupted the commit
                    self.listeners.keys_changed(None)
                    if self._here.is_committing and self._database.is_lost(error):
                        raise CommitUnknown from error.__cause__
                backoff.begin()
                if self._is_in_one() or not gave_way(error) or backoff.is_over:
                    raise
            except Exception:
                raise
            except BaseException:
                self.listeners.keys_changed(None)
                raise
            else:
                self._tell(written, joins=joins)
                return result
            time.sleep(backoff.pause())

    def _transact(self, work: Work[Written[T]], then: Then | None, *, joins: bool) -> Written[T]:
        self._here.is_writing = True
        try:
            self._make_ready()
            if joins and not self._is_in_one():  # begin your transaction: without autocommit, a savepoint does not
                self._run(self._database.begin())
            self._run(self._database.protect())
            with transaction.atomic(using=self._alias):
                if not joins:
                    self._run(self._database.begin())
                written, result = self._run(self._tables.write(work))
                self._run(self._database.notify(written))
                self._call_hooks(written, then if result is not None else None)
                self._run(self._tables.users.check_rows(written))
                self._here.is_committing = not joins
        finally:
            self._here.is_writing = False
        return written, result

    def _call_hooks(self, written: list[Any], then: Then | None) -> None:
        if self.listeners.has_hooks or then is not None:
            connection = connections[self._alias]
            self.listeners.call(written, connection, lambda: self._database.is_open(connection.connection), then)
            if connection.needs_rollback or self._database.is_failed(connection.connection):
                told = "a hook caught a database error, which rolls the transaction back: put atomic() around it"
                raise HookFailed(told)

    def _tell(self, written: list[Any], *, joins: bool) -> None:
        """Notify the watchers. In your transaction, the cache drops the entries at once, so that you see your writes.

        It drops them again when you commit: until then other callers have read the old state.
        """
        self.listeners.tell(written, committed=not joins)
        if joins and self._is_in_one():
            transaction.on_commit(partial(self.listeners.tell, written), using=self._alias)
        if self._erases or any(change.erases for change in written):
            self._erases = True
            transaction.on_commit(self._truncate_log, using=self._alias)

    def _truncate_log(self) -> None:
        if self._erases and not self._joins():
            self._erases = not self._database.truncate_log(connections[self._alias].connection)

    def _is_erasing(self) -> bool:
        return self._erases or not self._is_settled()

    def _is_in_one(self) -> bool:
        return bool(connections[self._alias].in_atomic_block)

    def _make_ready(self) -> None:
        """Check at the first use that the tables exist."""
        if not self._is_ready:
            if not self._run(self._database.is_ready()):
                raise tables_missing()
            self._is_ready = True

    def _run(self, work: Work[T]) -> T:
        with connections[self._alias].cursor() as cursor:

            def answer(ask: Ask) -> Rows:
                statement, values = ask
                try:
                    if isinstance(values, list):
                        cursor.executemany(statement, values)
                        return [(cursor.rowcount,)]
                    cursor.execute(statement, values)
                    return cursor.fetchall() if cursor.description is not None else []
                except (UnicodeError, OverflowError) as error:  # for a value that no driver accepts
                    raise unstorable(error) from None

            return drive(work, answer)
