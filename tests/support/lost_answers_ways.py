"""Repositories whose database commits a write and whose answer to that commit is lost: each kind that there is."""

import itertools
import sqlite3
import tempfile
from abc import abstractmethod
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import psycopg
from django.db import connections
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from sqlalchemy import create_engine

from clerkmap import Repository
from clerkmap.repositories import AsyncPostgresRepository, PostgresRepository, SqlAlchemyRepository, SqliteRepository
from clerkmap.repositories.django import DjangoRepository
from clerkmap.testing.blocking import Blocking
from django_databases import add_database
from faulty import Faults, FaultyConnection, FaultyFile
from postgres_cluster import Cluster
from sqlalchemy_ways import BlockingOnEngine, ClosesItsEngine
from tcp_proxy import COMMIT, TcpProxy

Do = Callable[[], object]
_numbers = itertools.count()


class Way:
    """How a repository comes to its database. `other` writes to the same database, and never loses an answer."""

    repository: Repository
    other: Repository
    repeats_puts = False  # by itself, where an answer was lost

    def __init__(self, stack: ExitStack, options: dict[str, Any]) -> None:
        self.stack = stack
        self.options = options
        self._open()
        stack.callback(self.other.close)
        stack.callback(self.repository.close)

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def lose_answer(self, meanwhile: Do) -> None:
        """Lose the answer to the next commit, and do something in between."""

    def commit(self) -> None:
        """Commit where the transaction is the caller's."""


class OnPostgres(Way):
    """A repository with a pool of its own, behind a proxy that loses the answer."""

    repeats_puts = True
    words = COMMIT
    cluster: Cluster
    proxy: TcpProxy

    def _open(self) -> None:
        schema = self.schema = f"s{next(_numbers)}"
        with psycopg.connect(self.cluster.uri) as connection:
            connection.execute(f"CREATE SCHEMA {schema}".encode())
        direct = f"{self.cluster.uri}?options=-csearch_path%3D{schema}"
        self.uri = direct.replace(f":{self.cluster.port}/", f":{self.proxy.port}/")
        self.other = PostgresRepository.open(direct, **self.options)
        self._connect()

    def _connect(self) -> None:
        self.repository = PostgresRepository.open(self.uri, **self.options)

    def lose_answer(self, meanwhile: Do) -> None:
        self.proxy.lose_answer(self.words, meanwhile)


class OnPostgresAsync(OnPostgres):
    """The same in async code."""

    def _connect(self) -> None:
        self.repository = Blocking(AsyncPostgresRepository.open, conninfo=self.uri, **self.options)


class OnYourPool(OnPostgres):
    """A repository on a pool of the application."""

    def _connect(self) -> None:
        pool = self.stack.enter_context(ConnectionPool(self.uri, min_size=1, kwargs={"autocommit": True}))
        self.repository = PostgresRepository(pool, migrate=True, **self.options)


class OnYourPoolAsync(OnPostgres):
    """The same in async code."""

    def _connect(self) -> None:
        self.repository = Blocking(self._on_a_pool, **self.options)
        self.repository.poll()  # makes the tables and the pool

    def _on_a_pool(self, **options: Any) -> AsyncPostgresRepository:
        pool = AsyncConnectionPool(self.uri, min_size=1, kwargs={"autocommit": True}, open=False)
        return _ClosesItsPool(pool, **options)


class _ClosesItsPool(AsyncPostgresRepository):
    """The pool is opened at the first use, in the event loop of the repository."""

    def __init__(self, pool: AsyncConnectionPool[Any], **options: Any) -> None:
        super().__init__(pool, **options)
        self._pool = pool

    async def __aenter__(self) -> Self:
        await self._pool.open()
        return await super().__aenter__()

    async def close(self) -> None:
        await super().close()
        await self._pool.close()


class OnYourConnection(OnPostgres):
    """A repository on a connection of the application in autocommit mode."""

    repeats_puts = False
    autocommit = True

    def _connect(self) -> None:
        self._connection = self.stack.enter_context(psycopg.connect(self.uri, autocommit=self.autocommit))
        self.repository = PostgresRepository(self._connection, migrate=True, **self.options)
        self._connection.commit()


class InYourTransaction(OnYourConnection):
    """The transaction is the application's, and so is its commit."""

    autocommit = False

    def commit(self) -> None:
        with suppress(psycopg.OperationalError):
            self._connection.commit()


class OnDjangosPostgres(OnPostgres):
    """A repository on the connection of Django."""

    repeats_puts = False

    def _connect(self) -> None:
        said = conninfo_to_dict(self.uri)
        names = {"NAME": "dbname", "USER": "user", "HOST": "host", "PORT": "port"}
        options = {"options": said["options"]}
        alias = add_database("postgresql", OPTIONS=options, **{name: str(said[key]) for name, key in names.items()})
        self.stack.callback(connections[alias].close)
        self.repository = DjangoRepository(alias, **self.options)


class OnSqlAlchemy(OnPostgres):
    """A repository on an engine of SQLAlchemy."""

    driver = "postgresql+psycopg"

    def _connect(self) -> None:
        self.repository = ClosesItsEngine(self.url, schema=self.schema, **self.options)

    @property
    def url(self) -> str:
        # asyncpg does not read the options of libpq.
        return self.uri.partition("?")[0].replace("postgresql://", f"{self.driver}://")


class OnAsyncSqlAlchemy(OnSqlAlchemy):
    """The same in async code."""

    def _connect(self) -> None:
        self.repository = BlockingOnEngine(self.url, schema=self.schema, **self.options)


class OnAsyncpg(OnAsyncSqlAlchemy):
    """The same with asyncpg."""

    driver = "postgresql+asyncpg"
    words = b"COMMIT;\0"


class OnSqlite(Way):
    """A repository on a file. Its database reports an error after the commit."""

    def _open(self) -> None:
        self._faults = _LostAnswer()
        self._path = Path(self.stack.enter_context(tempfile.TemporaryDirectory()), "app.db")
        self.other = SqliteRepository.open(self._path, **self.options)
        self._connect()

    def _connect(self) -> None:
        self.repository = SqliteRepository(FaultyFile(self._path, self._faults), migrate=True, **self.options)

    def lose_answer(self, meanwhile: Do) -> None:
        self._faults.meanwhile = meanwhile
        self._faults.on = True

    def _losing(self) -> type[sqlite3.Connection]:
        """The class of a connection that loses the answer to `commit`."""
        faults = self._faults

        class Losing(sqlite3.Connection):
            def commit(self) -> None:
                faults.execute("COMMIT", super().commit)

        return Losing


class OnSqlAlchemysSqlite(OnSqlite):
    """A repository on an engine of SQLAlchemy."""

    def _connect(self) -> None:
        engine = create_engine(f"sqlite:///{self._path}", connect_args={"factory": self._losing()})
        self.stack.callback(engine.dispose)
        self.repository = SqlAlchemyRepository(engine, migrate=True, **self.options)


class OnYourSqliteConnection(OnSqlite):
    """A repository on a connection of the application."""

    def _connect(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None, factory=FaultyConnection)
        self.stack.callback(connection.close)
        connection.faults = self._faults
        self.repository = SqliteRepository(connection, migrate=True, **self.options)


class OnDjangosSqlite(OnSqlite):
    """A repository on the connection of Django."""

    def _connect(self) -> None:
        alias = add_database("sqlite", NAME=str(self._path), OPTIONS={"factory": self._losing()})
        self.stack.callback(connections[alias].close)
        self.repository = DjangoRepository(alias, **self.options)


class _LostAnswer(Faults):
    """Loses the answer to the next commit."""

    meanwhile: Do

    def execute(self, statement: str, take_effect: Callable[[], Any]) -> Any:
        result = take_effect()
        if self.on and self.commits(statement):
            self.on = False
            self.meanwhile()
            raise sqlite3.OperationalError("disk I/O error")
        return result
