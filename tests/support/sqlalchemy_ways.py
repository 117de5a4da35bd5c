"""The drivers of the repositories on SQLAlchemy: how to make an engine, a repository, and a connection of yours."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from clerkmap import Repository
from clerkmap.repositories import AsyncSqlAlchemyRepository, SqlAlchemyRepository
from clerkmap.testing.blocking import Blocking
from clerkmap.testing.samples import MakeRepository
from postgres_server import postgres, schemas

SYNC = ("postgresql+psycopg", "sqlite")
ASYNC = ("postgresql+asyncpg", "postgresql+psycopg", "sqlite+aiosqlite")
_numbers = itertools.count()


def server(driver: str) -> str:
    """The URL of the server of the tests, for a driver."""
    return postgres().replace("postgresql://", f"{driver}://")


def url_of(driver: str, folder: Path) -> str:
    """The URL of the server, or of a new file."""
    return server(driver) if "postgresql" in driver else f"{driver}:///{folder / f'{next(_numbers)}.db'}"


def engine_of(url: str, **options: Any) -> Engine:
    engine = create_engine(url, **({"connect_args": {"timeout": 60}} if "sqlite" in url else {}), **options)
    _write_ahead(engine)
    return engine


def async_engine_of(url: str, **options: Any) -> AsyncEngine:
    engine = create_async_engine(url, **({"connect_args": {"timeout": 60}} if "sqlite" in url else {}), **options)
    _write_ahead(engine.sync_engine)
    return engine


def _write_ahead(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def set_up(connection: Any, _: object) -> None:
            for pragma in ("journal_mode = WAL", "foreign_keys = ON", "synchronous = OFF"):  # no test cuts the power
                connection.cursor().execute(f"PRAGMA {pragma}")


class ClosesItsEngine(SqlAlchemyRepository):
    """A repository that makes the tables, and disposes of its engine at the end."""

    def __init__(self, url: str, *, pool: dict[str, Any] | None = None, **options: Any) -> None:
        self.engine = engine_of(url, **(pool or {}))
        self._is_part = False
        super().__init__(self.engine, migrate=True, **options)

    def within(self, session: Any) -> Self:
        part = super().within(session)
        part._is_part = True
        return part

    def close(self) -> None:
        super().close()
        if not self._is_part:
            self.engine.dispose()


class OnYourConnection(SqlAlchemyRepository):
    """On the connection of a test, whose transaction is rolled back at the end."""

    def __init__(self, url: str, **options: Any) -> None:
        connect = {"connect_args": {"check_same_thread": False}} if "sqlite" in url else {}
        self.engine = create_engine(url, **connect)
        self.connection = self.engine.connect()
        super().__init__(self.connection, migrate=True, **options)
        self.connection.commit()  # PostgreSQL lets one transaction at a time make tables

    def close(self) -> None:
        super().close()
        self.connection.close()
        self.engine.dispose()


class BlockingOnEngine(Blocking):
    """An async repository whose engine can be had, and which joins a connection in its event loop."""

    def __init__(self, url: str, *, pool: dict[str, Any] | None = None, **options: Any) -> None:
        self.engine = async_engine_of(url, **(pool or {}))
        super().__init__(lambda **more: AsyncSqlAlchemyRepository(self.engine, migrate=True, **more), **options)

    def within(self, connection: Any) -> Self:
        return super().within(getattr(connection, "real", connection))

    def close(self) -> None:
        if not self._is_part and not self._loop.is_closed():
            self.wait(self.engine.dispose())
        super().close()


def sync_way(driver: str, folder: Path, **options: Any) -> Repository:
    return ClosesItsEngine(url_of(driver, folder), **options)


def async_way(driver: str, folder: Path, **options: Any) -> Repository:
    return BlockingOnEngine(url_of(driver, folder), **options)


def on_your_connection(driver: str, folder: Path, **options: Any) -> Repository:
    # Each has its own locks, which last until the transaction of the test ends.
    return OnYourConnection(url_of(driver, folder), prefix=f"p{next(_numbers)}_", **options)


WAYS: dict[str, Callable[..., Repository]] = {
    **{driver: lambda *args, driver=driver, **more: sync_way(driver, *args, **more) for driver in SYNC},
    **{f"async {driver}": lambda *args, driver=driver, **more: async_way(driver, *args, **more) for driver in ASYNC},
}
ON_YOURS: dict[str, Callable[..., Repository]] = {
    driver: lambda *args, driver=driver, **more: on_your_connection(driver, *args, **more) for driver in SYNC
}


def racer(way: str, url: str, size: int, **options: Any) -> Repository:
    """A repository for so many threads, which do not take more connections than they need."""
    make = BlockingOnEngine if way.startswith("async ") else ClosesItsEngine
    return make(url, pool={"pool_size": size, "max_overflow": 0}, **options)


@contextmanager
def fresh(way: Callable[..., Repository], name: str, folder: Path) -> Iterator[MakeRepository]:
    """Makes repositories, each on tables of its own. The last few stay open: a server has so many connections."""
    with schemas() as new:
        made: deque[Repository] = deque()

        def make_next(**options: Any) -> Repository:
            place = {"schema": new()} if "postgresql" in name else {}
            made.append(way(folder, **place, **options))
            if len(made) > 4:
                made.popleft().close()
            return made[-1]

        yield make_next
        for repository in made:
            repository.close()


class BlockingConnection:
    """An async connection in the event loop of a repository, for sync code."""

    def __init__(self, repository: BlockingOnEngine) -> None:
        self._wait = repository.wait
        self.real: AsyncConnection = self._wait(_started(repository.engine))

    def commit(self) -> None:
        self._wait(self.real.commit())

    def rollback(self) -> None:
        self._wait(self.real.rollback())

    def close(self) -> None:
        self._wait(self.real.close())


async def _started(engine: AsyncEngine) -> AsyncConnection:
    return await engine.connect()


def connect(repository: Any) -> Connection | BlockingConnection:
    """A connection of yours to the database of a repository."""
    return BlockingConnection(repository) if isinstance(repository, BlockingOnEngine) else repository.engine.connect()
