"""Your connection, your pool, your transaction: what clerkmap writes there is a part of it, and you commit."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from clerkmap import (
    Change,
    ClerkmapError,
    ConfigurationError,
    HookFailed,
    OutboxEntry,
    RepositoryUnavailable,
    User,
    WriteBack,
)
from clerkmap.core.records import key_of
from clerkmap.core.times import to_datetime
from clerkmap.repositories import AsyncPostgresRepository, PostgresRepository
from clerkmap.testing.samples import ANN, BEA, HERE, found, person
from postgres_server import postgres

Connection = psycopg.Connection[Any]


@contextmanager
def opened(schema: str, **options: Any) -> Iterator[PostgresRepository]:
    repository = PostgresRepository.open(postgres(), schema=schema, **options)
    yield repository
    repository.close()


@asynccontextmanager
async def opened_async(schema: str, **options: Any) -> AsyncIterator[AsyncPostgresRepository]:
    repository = AsyncPostgresRepository.open(postgres(), schema=schema, **options)
    yield repository
    await repository.close()


@pytest.mark.parametrize("autocommit", [True, False])
def test_you_commit(postgres_schema: str, autocommit: bool) -> None:
    """The user and your order are there together, or not at all, and others see neither before you commit."""
    with opened(postgres_schema) as repository, psycopg.connect(postgres(), autocommit=autocommit) as connection:
        connection.execute(f"CREATE TABLE {postgres_schema}.orders (user_id text)".encode())
        connection.commit()
        for ending in ("ROLLBACK", "COMMIT"):
            if autocommit:
                connection.execute("BEGIN")
            (change,) = repository.within(connection).put([person()])
            connection.execute(f"INSERT INTO {postgres_schema}.orders VALUES (%s)".encode(), [change.after.id])  # type: ignore[union-attr]
            assert repository.find(HERE, ANN) is None
            standing = repository.within(connection).find(HERE, ANN)
            assert standing is not None
            assert not standing.settled
            connection.execute(ending.encode())
            assert (repository.find(HERE, ANN) is not None) is (ending == "COMMIT")
        rows = connection.execute(f"SELECT user_id FROM {postgres_schema}.orders".encode()).fetchall()
        assert rows == [(found(repository).id,)]


def tables_in(schema: str) -> int:
    with psycopg.connect(postgres()) as connection:
        row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = %s", [schema]).fetchone()
        assert row is not None
        return int(row[0])


def test_only_open_makes_tables(postgres_schema: str) -> None:
    """On your connection or pool the class takes the tables as they are, unless it may make them."""
    options: dict[str, Any] = {"schema": postgres_schema, "listen": False}
    with psycopg.connect(postgres()) as connection, ConnectionPool(postgres(), min_size=1, max_size=1) as pool:
        sources: list[Connection | ConnectionPool[Any]] = [connection, pool]
        for source in sources:
            with pytest.raises(ConfigurationError, match="migrate=True"):
                PostgresRepository(source, **options)
        assert tables_in(postgres_schema) == 0
        PostgresRepository(pool, migrate=True, **options).put([person()])
        connection.rollback()
        assert found(PostgresRepository(connection, **options)).clerk == person()


def test_only_open_makes_tables_in_async_code(postgres_schema: str) -> None:
    """The same on an async connection, at the first use."""

    async def use() -> None:
        async with await psycopg.AsyncConnection.connect(postgres()) as connection:
            with pytest.raises(ConfigurationError, match="migrate=True"):
                await AsyncPostgresRepository(connection, schema=postgres_schema, listen=False).find(HERE, ANN)

    asyncio.run(use())
    assert tables_in(postgres_schema) == 0


def test_within_makes_no_tables(postgres_schema: str) -> None:
    """It writes into the tables of the repository, or not at all."""
    with opened(postgres_schema) as repository, psycopg.connect(postgres()) as connection:
        before = tables_in(postgres_schema)
        connection.execute(f"DROP TABLE {postgres_schema}.clerkmap_outbox".encode())
        connection.commit()
        with pytest.raises(ClerkmapError):
            repository.within(connection).swap_outbox_entry(
                None, OutboxEntry(HERE, "user", key_of(ANN), to_datetime(1), to_datetime(1))
            )
        connection.rollback()
        assert tables_in(postgres_schema) == before - 1


def test_what_is_to_go_back_to_clerk_is_a_part_of_your_transaction(postgres_schema: str) -> None:
    """The note is there with the change, or not at all, also where one that is there already counts one more."""
    back = WriteBack(role="role")
    with opened(postgres_schema, write_back=back) as repository, psycopg.connect(postgres()) as connection:
        repository.put([person()])
        id, yours = found(repository).id, repository.within(connection)
        for role, end, noted in (
            ("author", connection.rollback, []),
            ("editor", connection.commit, [1]),
            ("admin", connection.rollback, [1]),
            ("owner", connection.commit, [2]),
        ):
            yours.set_role(id, role)
            end()
            assert [each.changes for each in repository.outbox(HERE)] == noted


def test_a_note_in_an_async_transaction(postgres_schema: str) -> None:
    """The same with a connection of yours that speaks async."""

    async def run() -> None:
        async with (
            opened_async(postgres_schema, write_back=WriteBack(role="role")) as repository,
            await psycopg.AsyncConnection.connect(postgres()) as connection,
        ):
            (change,) = await repository.put([person()])
            assert isinstance(change.after, User)
            yours = repository.within(connection)
            for role, end, noted in (("author", connection.rollback, []), ("editor", connection.commit, [1])):
                await yours.set_role(change.after.id, role)
                await end()
                assert [each.changes for each in await repository.outbox(HERE)] == noted

    asyncio.run(run())


def test_on_a_connection_of_yours_alone(postgres_schema: str) -> None:
    """In autocommit mode and outside a transaction each write is a transaction of its own."""
    with opened(postgres_schema) as repository, psycopg.connect(postgres(), autocommit=True) as connection:
        repository.within(connection).put([person()])
        assert repository.find(HERE, ANN) is not None
        standing = repository.within(connection).find(HERE, ANN)
        assert standing is not None
        assert standing.settled


def test_what_fails_leaves_your_transaction_usable(postgres_schema: str) -> None:
    """A hook that raises, also after an error of the database, undoes what was put, and nothing of yours."""

    def hook(change: Change, tx: Connection) -> None:
        tx.execute("SELECT 1 / 0")

    with opened(postgres_schema, hooks=[hook]) as repository, psycopg.connect(postgres()) as connection:
        connection.execute(f"CREATE TABLE {postgres_schema}.orders (id int)".encode())
        with pytest.raises(HookFailed):
            repository.within(connection).put([person()])
        connection.execute(f"INSERT INTO {postgres_schema}.orders VALUES (1)".encode())
        connection.commit()
        assert repository.find(HERE, ANN) is None


def test_a_race_inside_your_transaction(postgres_schema: str) -> None:
    """Somebody else makes the same person while your transaction is open: it gets theirs, and stays whole."""
    with (
        opened(postgres_schema) as repository,
        psycopg.connect(postgres()) as mine,
        psycopg.connect(postgres()) as other,
    ):
        repository.within(other).put([person()])
        put: list[Any] = []
        thread = threading.Thread(target=lambda: put.append(repository.within(mine).put([person(at=2, email="a@b.c")])))
        thread.start()
        time.sleep(0.2)  # it waits for the other one by then; if not, the test shows less, and does not fail
        other.commit()
        thread.join()
        mine.commit()
        assert [change.altered for change in put[0]] == [True]
        assert found(repository).email == "a@b.c"


@pytest.mark.parametrize("autocommit", [True, False])
def test_a_pool_of_yours(postgres_schema: str, autocommit: bool) -> None:
    """It is used in either mode, each write is committed, and it is not closed."""
    with ConnectionPool(postgres(), min_size=1, open=True, kwargs={"autocommit": autocommit}) as pool:
        repository = PostgresRepository(pool, schema=postgres_schema, migrate=True)
        repository.put([person()])
        with opened(postgres_schema) as other:
            assert found(other) == found(repository)
        repository.close()
        with pytest.raises(RepositoryUnavailable):
            repository.find(HERE, ANN)
        with pool.connection() as connection:
            assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_a_pool_of_yours_in_async(postgres_schema: str) -> None:
    """The tables are made at the first use, also if ten come at once."""

    async def use() -> None:
        async with AsyncConnectionPool(postgres(), min_size=1, open=False) as pool:
            repository = AsyncPostgresRepository(pool, schema=postgres_schema, migrate=True)
            made = await asyncio.gather(*(repository.put([person()]) for _ in range(10)))
            assert sum(len(changes) for changes in made) == 1
            await repository.close()

    asyncio.run(use())


def test_hooks_may_be_async(postgres_schema: str) -> None:
    """Where the transaction speaks async, so may hooks and what is called after the commit. Elsewhere it is refused."""
    told: list[str] = []

    async def hook(change: Change, tx: psycopg.AsyncConnection[Any]) -> None:
        await tx.execute(f"CREATE TABLE {postgres_schema}.made_by_hook (id int)".encode())

    async def after(change: Change) -> None:
        await asyncio.sleep(0)
        told.append("committed")

    async def use() -> None:
        async with opened_async(postgres_schema, hooks=[hook], after_commit=[after]) as repository:
            await repository.put([person()])

    asyncio.run(use())
    assert told == ["committed"]
    with psycopg.connect(postgres()) as connection:
        assert connection.execute(f"SELECT * FROM {postgres_schema}.made_by_hook".encode()).fetchall() == []
    with pytest.raises(ConfigurationError, match="await"), opened(postgres_schema, hooks=[hook]):
        pass


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK"])
def test_a_hook_must_not_end_the_transaction(postgres_schema: str, statement: str) -> None:
    """It is told so, and the connection is fit for the next one."""

    def hook(change: Change, tx: Connection) -> None:
        tx.execute(statement.encode())

    with opened(postgres_schema, hooks=[hook], pool_size=1) as repository:
        with pytest.raises(ConfigurationError, match="must not end"):
            repository.put([person()])
        assert repository.find(HERE, BEA) is None


def test_a_hook_that_swallows_an_error_is_found_out(postgres_schema: str) -> None:
    """PostgreSQL would answer COMMIT with a rollback: nothing is acknowledged that is not there."""

    def hook(change: Change, tx: Connection) -> None:
        with suppress(psycopg.Error):
            tx.execute("SELECT 1 / 0")

    with opened(postgres_schema, hooks=[hook]) as repository:
        with pytest.raises(HookFailed, match="savepoint"):
            repository.put([person()])
        assert repository.find(HERE, ANN) is None


def test_a_hook_may_use_a_savepoint(postgres_schema: str) -> None:
    """An error inside it is the hook's own affair."""

    def hook(change: Change, tx: Connection) -> None:
        with pytest.raises(psycopg.Error), tx.transaction():
            tx.execute("SELECT 1 / 0")

    with opened(postgres_schema, hooks=[hook]) as repository:
        assert len(repository.put([person()])) == 1


def test_a_locked_row_is_waited_for_in_vain(postgres_schema: str) -> None:
    """A transaction of yours that stays open holds up a write of the same person for the timeout, and no other."""
    with opened(postgres_schema, timeout=0.3) as repository, psycopg.connect(postgres()) as connection:
        repository.put([person()])
        repository.within(connection).put([person(at=2, email="a@b.c")])
        with pytest.raises(RepositoryUnavailable):
            repository.put([person(at=3, email="c@d.e")])
        repository.put([person(BEA)])
        connection.rollback()
        repository.put([person(at=3, email="c@d.e")])


def test_an_exhausted_pool_is_unavailable(postgres_schema: str) -> None:
    """Who gets no connection in time is told so."""
    with ConnectionPool(postgres(), min_size=1, max_size=1, open=True) as pool:
        repository = PostgresRepository(pool, schema=postgres_schema, timeout=0.2, migrate=True)
        with pool.connection(), pytest.raises(RepositoryUnavailable):
            repository.find(HERE, ANN)
        assert repository.find(HERE, ANN) is None


def test_in_a_session_of_sqlalchemy(postgres_schema: str) -> None:
    """The session commits both or undoes both."""
    engine = create_engine(postgres().replace("postgresql://", "postgresql+psycopg://"))
    with opened(postgres_schema) as repository:
        for ends in ("rollback", "commit"):
            with Session(engine) as session:
                connection = session.connection().connection.driver_connection
                assert isinstance(connection, psycopg.Connection)
                repository.within(connection).put([person()])
                assert session.execute(text(f"SELECT count(*) FROM {postgres_schema}.clerkmap_users")).scalar() == 1
                getattr(session, ends)()
            assert (repository.find(HERE, ANN) is not None) is (ends == "commit")
    engine.dispose()


def test_in_an_async_session_of_sqlalchemy(postgres_schema: str) -> None:
    """The same for async code."""

    async def use() -> None:
        engine = create_async_engine(postgres().replace("postgresql://", "postgresql+psycopg://"))
        async with opened_async(postgres_schema) as repository:
            for ends in ("rollback", "commit"):
                async with AsyncSession(engine) as session:
                    raw = await (await session.connection()).get_raw_connection()
                    assert isinstance(raw.driver_connection, psycopg.AsyncConnection)
                    await repository.within(raw.driver_connection).put([person()])
                    await getattr(session, ends)()
                assert (await repository.find(HERE, ANN) is not None) is (ends == "commit")
        await engine.dispose()

    asyncio.run(use())


def test_uuids_of_the_database(postgres_schema: str) -> None:
    """With `id_type="uuid"` ids are UUIDs in the tables, text to you, and nothing else is one."""
    with opened(postgres_schema, id_type="uuid") as repository:
        repository.put([person()])
        id = found(repository).id
        assert isinstance(id, str)
        assert repository.user(id) == found(repository)
        assert repository.user("nobody") is None
        assert repository.user(id.upper()) is None
        assert repository.organization("nothing") is None
        with pytest.raises(ConfigurationError):
            repository.link(HERE, BEA, "mine")
        with psycopg.connect(postgres()) as connection:
            (row,) = connection.execute(f"SELECT id FROM {postgres_schema}.clerkmap_users".encode()).fetchall()
        assert str(row[0]) == id
        assert type(row[0]).__name__ == "UUID"
