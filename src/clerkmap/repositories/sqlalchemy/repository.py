"""Users, organizations and memberships on your SQLAlchemy engine: PostgreSQL or SQLite, sync or async.

A write in your session is part of its transaction: the order and the user are committed together, or neither.
"""

import asyncio
import copy
from collections.abc import Callable
from typing import Any, ParamSpec, Self, TypeVar, Unpack
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session
from sqlalchemy.util import greenlet_spawn

from ...core.model import NewIdT
from ...hooks import Listeners, Then
from ...ports import documented
from ..sql.repository import AsyncSqlRepository, SqlRepository
from ..sql.statements import Work, Written
from .databases import SqlAlchemyOptions
from .transactions import Transactions

T = TypeVar("T")
P = ParamSpec("P")


@documented
class SqlAlchemyRepository(SqlRepository[NewIdT]):
    """A repository on your SQLAlchemy engine, with psycopg or sqlite3.

    It takes the tables as they are, unless you pass `migrate=True`. `repository.within(session)` joins the transaction
    of a session. `SqlAlchemyRepository(connection)` is for tests: it joins the transaction of your connection, so that
    each commit of the repository is a savepoint, and your rollback undoes all.

    Args:
        source: Your engine, or your connection.
        options: See `SqlAlchemyOptions` and `Options`. Hooks get the session that they were joined by as their
            transaction, and otherwise the `Connection`.
    """

    def __init__(self, source: Engine | Connection, **options: Unpack[SqlAlchemyOptions[NewIdT]]) -> None:
        self._transactions = Transactions(source, speaks_async=False, **options)
        self._tables = self._transactions.database.tables
        self.listeners: Listeners = self._transactions.listeners
        self.poll_every: float | None = self._transactions.poll_every
        self._transactions.prepare()

    def within(self, session: "Session | Connection | scoped_session[Any]") -> Self:
        """Return the same repository in your session or on your connection. Its writes join your transaction, and you
        commit.

        It never makes or changes tables. Closing it does not close your session.

        Raises:
            ConfigurationError: It is no open session or connection, is async, or is on another database.
        """
        part = copy.copy(self)
        part._transactions = self._transactions.within(session)
        return part

    def poll(self) -> None:
        self._transactions.poll()

    def close(self) -> None:
        self._transactions.stop_listening()
        self._transactions.close()

    def _is_settled(self) -> bool:
        return self._transactions.is_settled()

    def _is_erasing(self) -> bool:
        return self._transactions.is_erasing

    def _read(self, work: Callable[P, Work[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._transactions.read(lambda: work(*args, **kwargs))

    def _write(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._transactions.write(lambda: work(*args, **kwargs), repeatable=False)

    def _merge(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._transactions.write(lambda: work(*args, **kwargs), repeatable=True)

    def _write_then(self, then: Then, work: Callable[[], Work[Written[T]]], *, repeatable: bool) -> T:
        return self._transactions.write(work, then, repeatable=repeatable)


@documented
class AsyncSqlAlchemyRepository(AsyncSqlRepository[NewIdT]):
    """A repository on your async SQLAlchemy engine, with asyncpg, psycopg or aiosqlite.

    It checks the tables, or makes them with `migrate=True`, when its `async with` block begins or else at its first
    use. Hooks may be async functions.

    Args:
        source: Your async engine, or your async connection.
        options: See `SqlAlchemyOptions` and `Options`. Hooks get the `AsyncSession` that they were joined by as their
            transaction, and otherwise the `AsyncConnection`.
    """

    def __init__(self, source: AsyncEngine | AsyncConnection, **options: Unpack[SqlAlchemyOptions[NewIdT]]) -> None:
        self._transactions = Transactions(source, speaks_async=True, **options)
        self._tables = self._transactions.database.tables
        self.listeners: Listeners = self._transactions.listeners
        self.poll_every: float | None = self._transactions.poll_every
        self._whole = self._transactions
        self._preparing: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    def within(self, session: "AsyncSession | AsyncConnection | async_scoped_session[Any]") -> Self:
        """See `SqlAlchemyRepository.within`."""
        part = copy.copy(self)
        part._transactions = self._transactions.within(session)
        return part

    async def __aenter__(self) -> Self:
        try:
            await self._prepare()
        except BaseException:
            await self.close()
            raise
        return self

    async def poll(self) -> None:
        await self._prepare()
        await greenlet_spawn(self._transactions.poll)

    async def close(self) -> None:
        await asyncio.to_thread(self._transactions.stop_listening)
        self._transactions.close()

    def _is_settled(self) -> bool:
        return self._transactions.is_settled()

    def _is_erasing(self) -> bool:
        return self._transactions.is_erasing

    async def _prepare(self) -> None:
        """Check the tables, on the engine or connection of the repository."""
        if not self._whole.is_prepared:
            async with self._preparing.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
                if not self._whole.is_prepared:
                    await greenlet_spawn(self._whole.prepare)

    async def _read(self, work: Callable[P, Work[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await self._prepare()
        return await greenlet_spawn(lambda: self._transactions.read(lambda: work(*args, **kwargs)))

    async def _write(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._write_once(lambda: work(*args, **kwargs), None, repeatable=False)

    async def _merge(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._write_once(lambda: work(*args, **kwargs), None, repeatable=True)

    async def _write_then(self, then: Then, work: Callable[[], Work[Written[T]]], *, repeatable: bool) -> T:
        return await self._write_once(work, then, repeatable=repeatable)

    async def _write_once(self, work: Callable[[], Work[Written[T]]], then: Then | None, *, repeatable: bool) -> T:
        await self._prepare()
        return await greenlet_spawn(lambda: self._transactions.write(work, then, repeatable=repeatable))
