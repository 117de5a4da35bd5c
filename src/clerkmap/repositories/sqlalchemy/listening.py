"""`LISTEN` with the driver of an engine: a connection of its own, made as those of the engine are, for one thread.

An async driver gets an event loop of that thread. So the thread listens for all event loops of the application.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from ...errors import ConfigurationError
from ..sql.notifications import Connect

T = TypeVar("T")
_SESSION = "SELECT pg_backend_pid()"


def connects_to_listen(engine: Engine | AsyncEngine, listen: object) -> Connect | None:
    """Return a function that connects to listen. None for no listener."""
    if not isinstance(listen, (bool, Engine, AsyncEngine)):
        raise ConfigurationError("listen must be True, False, or an engine whose URL leads around the pooler")
    chosen = engine if isinstance(listen, bool) else listen
    if listen is False or chosen.dialect.name != "postgresql":
        return None
    if isinstance(chosen, Engine):
        return lambda: SyncListener(chosen)
    return lambda: AsyncListener(chosen)


class SyncListener:
    """A connection of psycopg that listens."""

    def __init__(self, engine: Engine) -> None:
        # Not one of your pool, which may have few. The new pool has the same settings, and makes one connection.
        self._driver: Any = _connect(engine)
        self._driver.autocommit = True

    def listen(self, channel: str) -> object:
        with self._driver.transaction():  # a pooler in between cannot give it to two sessions
            self._driver.execute(f"LISTEN {channel}")
            return self.session()

    def session(self) -> object:
        return self._driver.execute(_SESSION).fetchone()[0]

    def payloads(self, seconds: float) -> list[str]:
        return [notice.payload for notice in self._driver.notifies(timeout=seconds, stop_after=1)]

    def close(self) -> None:
        self._driver.close()


class AsyncListener:
    """A connection of asyncpg, or of psycopg in async code, that listens in an event loop of its thread."""

    def __init__(self, engine: AsyncEngine) -> None:
        # psycopg needs this event loop on Windows, and asyncpg takes it.
        self._runner = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
        self._heard: asyncio.Queue[str] = asyncio.Queue()
        try:
            self._driver: Any = self._run(greenlet_spawn(_connect, engine.sync_engine))
        except BaseException:
            self._runner.close()
            raise
        self._is_asyncpg = engine.dialect.driver == "asyncpg"

    def listen(self, channel: str) -> object:
        return self._run(self._listen(channel))

    def session(self) -> object:
        return self._run(self._session())

    def payloads(self, seconds: float) -> list[str]:
        return self._run(self._payloads(seconds))

    def close(self) -> None:
        try:
            self._run(self._close())
        finally:
            self._runner.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)

    async def _listen(self, channel: str) -> object:
        if not self._is_asyncpg:
            await self._driver.set_autocommit(True)
        async with self._driver.transaction():  # a pooler in between cannot give it to two sessions
            if self._is_asyncpg:
                await self._driver.add_listener(channel, self._hear)
            else:
                await self._driver.execute(f"LISTEN {channel}")
            return await self._session()

    def _hear(self, connection: object, session: int, channel: str, payload: str) -> None:
        self._heard.put_nowait(payload)

    async def _session(self) -> object:
        if self._is_asyncpg:
            return await self._driver.fetchval(_SESSION)
        return (await (await self._driver.execute(_SESSION)).fetchone())[0]

    async def _payloads(self, seconds: float) -> list[str]:
        if not self._is_asyncpg:
            return [notice.payload async for notice in self._driver.notifies(timeout=seconds, stop_after=1)]
        heard: list[str] = []
        try:
            heard.append(await asyncio.wait_for(self._heard.get(), seconds))
        except TimeoutError:
            return []
        while not self._heard.empty():
            heard.append(self._heard.get_nowait())
        return heard

    async def _close(self) -> None:
        if self._is_asyncpg:
            self._driver.terminate()
        else:
            await self._driver.close()


def _connect(engine: Engine) -> Any:
    """Return a new connection of the driver, which no pool takes back."""
    connection = engine.pool.recreate().connect()
    driver = connection.driver_connection
    connection.detach()
    return driver
