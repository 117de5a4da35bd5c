"""The ways in which a repository comes to have connections to a PostgreSQL that fails."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from sqlalchemy import create_engine

from clerkmap.repositories import AsyncPostgresRepository, PostgresRepository, SqlAlchemyRepository
from clerkmap.testing.samples import HERE
from faulty_postgres import Dump, FaultyAsyncConnection, FaultyConnection, Server, dump


class Way:
    """How the repository comes to have connections: here it has a pool, and does again what was lost."""

    repeats = True  # what was lost is done again, as far as that does no harm
    joins = False  # it takes part in a transaction of yours

    def __init__(self, server: Server) -> None:
        self.server = server
        self._connect()

    def _connect(self) -> None:
        self.lent: Any = ConnectionPool(
            self.server.uri, min_size=1, max_size=1, kwargs={"autocommit": True}, connection_class=FaultyConnection,
            open=True,
        )  # fmt: skip

    def begin(self) -> None:
        """Before something is done."""

    def repository(self, options: dict[str, Any]) -> Any:
        return PostgresRepository(self.lent, durable=False, migrate=True, **options)

    def dump(self) -> Dump:
        """What you see."""
        return dump(self.server.sound)

    def commit(self) -> None:
        """What is yours to commit."""

    def close(self) -> None:
        self.lent.close()


class Asynchronously(Way):
    """The same for async code."""

    def _connect(self) -> None:
        self._runner = asyncio.Runner()
        self._runner.run(self._open())

    async def _open(self) -> None:
        self.lent = AsyncConnectionPool(
            self.server.uri, min_size=1, max_size=1, kwargs={"autocommit": True},
            connection_class=FaultyAsyncConnection, open=False,
        )  # fmt: skip
        await self.lent.open()

    def repository(self, options: dict[str, Any]) -> Any:
        repository = OnLoop(self._runner, AsyncPostgresRepository(self.lent, durable=False, migrate=True, **options))
        repository.find(HERE, "nobody")  # makes the tables
        return repository

    def close(self) -> None:
        self._runner.run(self.lent.close())
        self._runner.close()


class OnLoop:
    """An asynchronous repository as a synchronous one, on the thread that uses it."""

    def __init__(self, runner: asyncio.Runner, repository: AsyncPostgresRepository) -> None:
        self._runner = runner
        self._repository = repository
        self.poll_every = repository.poll_every
        self.listeners = repository.listeners
        self.max_token_lifetime = repository.max_token_lifetime
        self.needs_full_user = repository.needs_full_user

    def find(self, *args: Any) -> Any:
        return self._runner.run(self._repository.find(*args))

    def __getattr__(self, name: str) -> Any:
        return partial(self._call, getattr(self._repository, name))

    def _call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self._runner.run(method(*args, **kwargs))


class OnAnEngine(Way):
    """The repository is given an engine of SQLAlchemy."""

    def _connect(self) -> None:
        self.lent = create_engine(
            "postgresql+psycopg://", creator=lambda: FaultyConnection.connect(self.server.uri), pool_size=1,
            max_overflow=0,
        )  # fmt: skip
        self.lent.connect().close()  # SQLAlchemy asks the server for its version, once

    def repository(self, options: dict[str, Any]) -> Any:
        return SqlAlchemyRepository(self.lent, durable=False, migrate=True, **options)

    def close(self) -> None:
        self.lent.dispose()


class Yours(Way):
    """The repository is given a connection in autocommit mode."""

    repeats = False
    autocommit = True

    def _connect(self) -> None:
        self.lent = FaultyConnection.connect(self.server.uri, autocommit=self.autocommit)

    def begin(self) -> None:
        if self.lent.closed:
            self._connect()


class YoursInATransaction(Yours):
    """The repository is given a connection on which you have begun a transaction, and written."""

    joins = True
    autocommit = False

    def begin(self) -> None:
        super().begin()
        self.lent.execute("INSERT INTO orders VALUES (1)")

    def dump(self) -> Dump:
        """What you see inside your transaction, which must still be open and hold what is yours."""
        assert self.lent.info.transaction_status == TransactionStatus.INTRANS, "your transaction was ended"
        assert self.lent.execute("SELECT id FROM orders").fetchall() == [(1,)], "what you wrote was undone"
        return dump(self.lent)

    @property
    def goes_on(self) -> bool:
        """Whether the transaction can still be committed."""
        return not self.lent.closed and self.lent.info.transaction_status == TransactionStatus.INTRANS

    def undo(self) -> None:
        """Your transaction, as far as it is not undone."""
        with suppress(psycopg.OperationalError):
            self.lent.rollback()

    def commit(self) -> None:
        self.lent.commit()
