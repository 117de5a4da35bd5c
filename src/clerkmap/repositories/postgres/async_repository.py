"""The same as `repository.py`, for async code."""

import asyncio
import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, LiteralString, ParamSpec, Self, TypeVar, Unpack, cast

from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from ...core.principal import Standing
from ...driving import adrive
from ...listeners import Listeners, written_from_within
from ..putting import Written
from ..shells import AsyncSqlRepository
from ..work import Ask, Rows, Work
from .attempts import Attempt, Attempts
from .lending import is_open, lending, lent_by
from .pools import AsyncConnections, AsyncOpenedPool, OpenedPool
from .repository import POLL_EVERY, PostgresRepository, listener_of
from .setup import PostgresOptions, Setup

T = TypeVar("T")
P = ParamSpec("P")


class AsyncPostgresRepository(AsyncSqlRepository):
    """The same for async code: with an `AsyncConnection` or an `AsyncConnectionPool`.

    `open` is no coroutine, so it can stand beside your app. It makes the tables before it returns; the class itself
    does so when it is first used.
    """

    poll_every: float | None = POLL_EVERY

    def __init__(
        self,
        source: AsyncConnection[Any] | AsyncConnectionPool[Any] | AsyncOpenedPool,
        **options: Unpack[PostgresOptions],
    ) -> None:
        self._setup = Setup(speaks_async=True, **options)
        self._tables = self._setup.tables
        self.listeners: Listeners = self._setup.listeners
        self._connections = AsyncConnections(source)
        self._listener = listener_of(source, self._setup)
        self._is_ready = False
        self._preparing = asyncio.Lock()

    @classmethod
    def open(cls, conninfo: str, *, pool_size: int = 10, **options: Unpack[PostgresOptions]) -> Self:
        """Connect to a server, making the tables if need be."""
        without_functions: PostgresOptions = {**options, "hooks": (), "after_commit": ()}
        with OpenedPool(conninfo, 1, options.get("timeout", 5)) as pool:
            PostgresRepository(pool, **without_functions)
        repository = cls(AsyncOpenedPool(conninfo, pool_size, options.get("timeout", 5)), **options)
        repository._is_ready = True
        return repository

    def within(self, connection: AsyncConnection[Any]) -> Self:
        """The same repository on a connection of yours, in whose transaction it takes part: you commit."""
        joined = copy.copy(self)
        joined._connections = AsyncConnections(connection)
        return joined

    async def find(
        self,
        instance: str,
        clerk_user_id: str,
        clerk_organization_id: str | None = None,
        clerk_session_id: str | None = None,
    ) -> Standing | None:
        standing = await super().find(instance, clerk_user_id, clerk_organization_id, clerk_session_id)
        if standing is None or (self._connections.is_settled() and lent_by(self._setup) is None):
            return standing
        return replace(standing, settled=False)

    async def poll(self) -> None:
        self._connections.check_open()
        if self._listener is None or not self._listener.is_listening():
            self.listeners.heard(None)

    async def close(self) -> None:
        if self._listener is not None:
            await asyncio.to_thread(self._listener.close)
        await self._connections.close()

    async def _prepare(self) -> None:
        if not self._is_ready:
            async with self._preparing:
                if not self._is_ready and not await self._ask(self._setup.is_ready):
                    await self._transact(self._setup.migrate, repeatable=True)
                self._is_ready = True

    async def _read(self, work: Callable[P, Work[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await self._prepare()
        return await self._ask(lambda: work(*args, **kwargs))

    async def _ask(self, begin: Callable[[], Work[T]]) -> T:
        lent = lent_by(self._setup)
        if lent is not None:
            return await _arun(self._connections.cursor(lent), begin())
        attempts = Attempts(self._setup.timeout, again=not self._connections.are_yours)
        while True:
            attempt = Attempt()
            try:
                async with self._connections.borrowed(attempts.seconds_left) as connection:
                    attempt.connection = connection
                    return await _arun(self._connections.cursor(connection), begin())
            except Exception as error:  # noqa: BLE001 - it comes out, unless there is to be another attempt
                pause = attempts.after(error, attempt)
            await asyncio.sleep(pause)

    async def _write(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await self._prepare()
        return await self._transact(lambda: work(*args, **kwargs), repeatable=True)

    async def _write_once(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await self._prepare()
        return await self._transact(lambda: work(*args, **kwargs), repeatable=False)

    async def _transact(self, begin: Callable[[], Work[Written[T]]], *, repeatable: bool) -> T:
        if lent_by(self._setup) is not None:
            raise written_from_within()
        attempts = Attempts(self._setup.timeout, again=not self._connections.are_yours)
        while True:
            attempt = Attempt()
            try:
                async with self._connections.borrowed(attempts.seconds_left) as connection:
                    attempt.connection = connection
                    async with self._connections.transaction(connection) as joins:
                        written, result = await _arun(self._connections.cursor(connection), begin())
                        await _arun(self._connections.cursor(connection), self._setup.notify(written))
                        if self.listeners.has_hooks and any(change.is_news for change in written):
                            with lending(self._setup, connection):
                                await self.listeners.acall(written, connection, lambda: is_open(connection))
                        attempt.is_committing = not joins
            except Exception as error:  # noqa: BLE001 - it comes out, unless there is to be another attempt
                if attempt.is_unknown:
                    self.listeners.heard(None)
                pause = attempts.after(error, attempt, repeatable=repeatable)
            except BaseException:  # a cancellation, too, may come in the middle of the commit
                self.listeners.heard(None)
                raise
            else:
                await self.listeners.atell(written, committed=not joins)
                return result
            await asyncio.sleep(pause)


async def _arun(cursor: AsyncCursor[TupleRow], work: Work[T]) -> T:
    async def answer(ask: Ask) -> Rows:
        await cursor.execute(cast(LiteralString, ask[0]), ask[1])
        return await cursor.fetchall() if cursor.rownumber is not None else []

    return await adrive(work, answer)
