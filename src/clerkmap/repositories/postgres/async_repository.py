"""Users, organizations and memberships in PostgreSQL, for async code. See `repository.py`."""

import asyncio
import copy
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, LiteralString, ParamSpec, Self, TypeVar, Unpack, cast
from weakref import WeakKeyDictionary

from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from ..._runtime.driving import adrive
from ...core.model import NewIdT, OpenedIdT
from ...errors import ClerkmapError
from ...hooks import Listeners, Then, written_from_within
from ...ports import documented, served_first
from ..arguments import not_a_connection
from ..sql.lending import Lending
from ..sql.notifications import POLL_EVERY, Notifications
from ..sql.postgres_setup import PostgresOptions, Setup
from ..sql.repository import AsyncSqlRepository
from ..sql.retries import Attempts, refusal
from ..sql.statements import Ask, Rows, Work, Written
from .connections import REFUSALS, check_hooks_left_it_usable, driver_error, is_open
from .listening import connects_to_listen
from .pools import AsyncOpenedPool
from .repository import PostgresRepository
from .sources import AsyncSource

T = TypeVar("T")
P = ParamSpec("P")


@documented
class AsyncPostgresRepository(AsyncSqlRepository[NewIdT]):
    """A repository in PostgreSQL, for async code.

        async with AsyncPostgresRepository.open("postgresql://...") as repository:
            ...

    It connects, and makes the tables, when the block begins or else at its first use. So you can also call `open` next
    to your app, outside any event loop. `AsyncPostgresRepository(source)` takes the tables as they are, unless you pass
    `migrate=True`.

    Args:
        source: Your `AsyncConnection` or `AsyncConnectionPool`.
        options: See `PostgresOptions` and `Options`. Hooks get the `psycopg.AsyncConnection` as their transaction.
    """

    poll_every: float | None = POLL_EVERY

    def __init__(
        self,
        source: AsyncConnection[Any] | AsyncConnectionPool[Any] | AsyncOpenedPool,
        **options: Unpack[PostgresOptions[NewIdT]],
    ) -> None:
        self._setup = Setup(speaks_async=True, **options)
        self._tables = self._setup.tables
        self._lending = Lending()
        self.listeners: Listeners = self._setup.listeners
        self._source = AsyncSource(source, self._setup.timeout, self._setup.max_waiting)
        connect = connects_to_listen(source, self._setup.listen, self._setup.timeout)
        self._notifications = connect and Notifications(connect, self._setup.channel, self.listeners.keys_changed)
        self._is_part = False
        self._whole = self
        self._preparing: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    @classmethod
    def open(
        cls, conninfo: str, *, pool_size: int = 10, **options: Unpack[PostgresOptions[OpenedIdT]]
    ) -> "AsyncPostgresRepository[OpenedIdT]":
        """Return a repository with its own pool. It connects when its `async with` block begins, or at first use.

        Then it also makes the tables if they are missing, and upgrades old tables.

        Args:
            conninfo: A URL, or another connection string of libpq.
            pool_size: How many connections to have at most, besides the one that listens.
            options: See `PostgresOptions` and `Options`.
        """
        make = cast("type[AsyncPostgresRepository[OpenedIdT]]", cls)  # checkers take `cls` for the class with text ids
        options.setdefault("migrate", True)
        return make(AsyncOpenedPool(conninfo, pool_size, options.get("timeout", 5)), **options)

    @staticmethod
    def ddl(*, since: int = 0, **options: Unpack[PostgresOptions]) -> str:
        """See `PostgresRepository.ddl`."""
        return PostgresRepository.ddl(since=since, **options)

    def within(self, connection: AsyncConnection[Any]) -> Self:
        """See `PostgresRepository.within`."""
        if not isinstance(connection, AsyncConnection):
            raise not_a_connection("psycopg.AsyncConnection", connection)
        part = copy.copy(self)
        part._source, part._is_part = AsyncSource(connection), True
        return part

    async def __aenter__(self) -> Self:
        try:
            await self._prepare()
        except BaseException:
            await self.close()
            raise
        return self

    async def poll(self) -> None:
        self._source.check_open()
        listening = self._notifications
        if listening is None or not listening.are_heard():
            self.listeners.keys_changed(None)
        # Not in your transaction, which would send it only at its end, if at all.
        if listening is not None and self._is_settled() and (proof := listening.wanted()) is not None:
            with (
                suppress(ClerkmapError),
                served_first(),
            ):  # without it the cache is cleared often, which is correct, too
                await self._ask(lambda: self._setup.prove(proof))
                listening.sent()

    async def close(self) -> None:
        if self._notifications is not None and not self._is_part:
            await asyncio.to_thread(self._notifications.close)
        await self._source.close()

    def _is_settled(self) -> bool:
        return self._source.is_settled() and self._lending.connection() is None

    async def _prepare(self) -> None:
        """Make the tables if they are missing, on the connection or pool of the repository."""
        if not self._setup.prepared:
            async with self._preparing.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
                if not self._setup.prepared and not await self._whole._ask(self._setup.is_ready):
                    migrate = partial(self._setup.migrate, alone=self._whole._source.is_settled())
                    await self._whole._transact(migrate, repeatable=True)
                self._setup.prepared = True

    async def _read(self, work: Callable[P, Work[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await self._prepare()
        return await self._ask(lambda: work(*args, **kwargs))

    async def _ask(self, work: Callable[[], Work[T]]) -> T:
        lent = self._lending.connection()
        if lent is not None:
            return await _arun(self._source.cursor(lent), work())
        attempts = self._attempts()
        while True:
            try:
                async with self._source.borrowed(again=attempts.have_failed) as connection:
                    attempts.connection = connection
                    return await _arun(self._source.cursor(connection), work())
            except Exception as error:  # noqa: BLE001 - it is raised, unless there is another attempt
                pause = attempts.after(error)
            await asyncio.sleep(pause)
            attempts.begin()

    async def _write(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await self._prepare()
        return await self._transact(lambda: work(*args, **kwargs), repeatable=False)

    async def _merge(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await self._prepare()
        return await self._transact(lambda: work(*args, **kwargs), repeatable=True)

    async def _write_then(self, then: Then, work: Callable[[], Work[Written[T]]], *, repeatable: bool) -> T:
        await self._prepare()
        return await self._transact(work, repeatable=repeatable, then=then)

    async def _transact(self, work: Callable[[], Work[Written[T]]], *, repeatable: bool, then: Then | None = None) -> T:
        if self._lending.connection() is not None:
            raise written_from_within()
        attempts = self._attempts()
        while True:
            try:
                async with self._source.borrowed(again=attempts.have_failed) as connection:
                    attempts.connection = connection
                    async with self._source.transaction(connection) as joins:
                        written, result = await self._work_in(connection, work(), then)
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
                await self.listeners.atell(written, committed=not joins)
                return result
            await asyncio.sleep(pause)
            attempts.begin()

    async def _work_in(self, connection: AsyncConnection[Any], work: Work[Written[T]], then: Then | None) -> Written[T]:
        with self._lending.of(connection):
            cursor = self._source.cursor(connection)
            written, result = await _arun(cursor, self._tables.write(work))
            await _arun(cursor, self._setup.notify(written))
            then = then if result is not None else None
            if self.listeners.has_hooks or then is not None:
                await self.listeners.acall(written, connection, lambda: is_open(connection), then)
            await _arun(cursor, self._tables.users.check_rows(written))
        check_hooks_left_it_usable(connection)
        return written, result

    def _attempts(self) -> Attempts:
        return Attempts(self._setup.names, self._setup.timeout, driver_error, again=not self._source.is_yours)


async def _arun(cursor: AsyncCursor[TupleRow], work: Work[T]) -> T:
    async def answer(ask: Ask) -> Rows:
        try:
            await cursor.execute(cast(LiteralString, ask[0]), ask[1])
            return await cursor.fetchall() if cursor.rownumber is not None else []
        except REFUSALS as error:
            refused = refusal(error)
        raise refused  # outside the `except`, so that psycopg's error is not its context

    return await adrive(work, answer)
