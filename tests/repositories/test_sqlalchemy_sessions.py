"""Your session: the user and the order are in one commit, and hooks work in it. Wrong engines are refused by name."""

import asyncio
import gc
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, ForeignKey, StaticPool, create_engine, event, func, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from clerkmap import Change, ConfigurationError, HookFailed, RepositoryUnavailable
from clerkmap.repositories import AsyncSqlAlchemyRepository, SqlAlchemyRepository
from clerkmap.testing.samples import ANN, BEA, HERE, found, person
from postgres_server import schemas
from sqlalchemy_ways import ASYNC, SYNC, async_engine_of, engine_of, url_of


class Base(DeclarativeBase):
    pass


class Order(Base):
    """A row of yours, which belongs to a user."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(unique=True)


class Item(Base):
    """A row that refers to an order."""

    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))


@contextmanager
def place(driver: str, folder: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """A URL, the options of a repository there, and those of an engine that finds your tables there."""
    with schemas() as new:
        if "sqlite" in driver:
            yield url_of(driver, folder), {}, {}
        else:
            schema = new()
            yield (
                url_of(driver, folder),
                {"schema": schema},
                {"execution_options": {"schema_translate_map": {None: schema}}},
            )


@pytest.fixture(params=SYNC)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Engine, dict[str, Any]]]:
    with place(request.param, tmp_path) as (url, options, of_engine):
        engine = engine_of(url, **of_engine)
        SqlAlchemyRepository(engine, migrate=True, listen=False, **options).close()
        Base.metadata.create_all(engine)
        yield engine, options
        engine.dispose()


@pytest.fixture(params=ASYNC)
def async_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    with place(request.param, tmp_path) as found:
        yield found


@asynccontextmanager
async def opened(
    place: tuple[str, dict[str, Any], dict[str, Any]], **more: Any
) -> AsyncIterator[tuple[AsyncEngine, AsyncSqlAlchemyRepository]]:
    url, options, of_engine = place
    engine = async_engine_of(url, **of_engine)
    async with AsyncSqlAlchemyRepository(engine, migrate=True, listen=False, **options, **more) as repository:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        yield engine, repository
    await engine.dispose()


def number_of_orders(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Order)) or 0


@pytest.mark.parametrize("ending", ["rollback", "commit"])
def test_the_user_and_the_order_in_one_commit(world: tuple[Engine, dict[str, Any]], ending: str) -> None:
    """Both are there after your commit, and neither after your rollback, whatever the session did before."""
    engine, options = world
    repository = SqlAlchemyRepository(engine, listen=False, **options)
    for reads_first in (True, False):
        with Session(engine) as session:
            if reads_first:
                assert number_of_orders(session) == 0
            (change,) = repository.within(session).put([person(f"user_{reads_first}")])
            session.add(Order(user_id=str(change.user.id)))  # type: ignore[union-attr]
            session.flush()
            assert repository.find(HERE, f"user_{reads_first}") is None
            assert repository.within(session).find(HERE, f"user_{reads_first}") is not None
            getattr(session, ending)()
            assert (repository.find(HERE, f"user_{reads_first}") is not None) is (ending == "commit")
            if ending == "commit":
                session.delete(session.scalars(select(Order)).one())
                session.commit()


def test_the_same_in_async_code(async_place: Any) -> None:
    """The `AsyncSession` commits both or undoes both."""

    async def run() -> None:
        async with opened(async_place) as (engine, repository):
            for ending in ("rollback", "commit"):
                async with AsyncSession(engine) as session:
                    (change,) = await repository.within(session).put([person()])
                    session.add(Order(user_id=str(change.user.id)))  # type: ignore[union-attr]
                    await session.flush()
                    assert await repository.find(HERE, ANN) is None
                    standing = await repository.within(session).find(HERE, ANN)
                    assert standing is not None
                    assert not standing.settled
                    await getattr(session, ending)()
                    assert (await repository.find(HERE, ANN) is not None) is (ending == "commit")

    asyncio.run(run())


def test_hooks_get_the_session_that_they_were_joined_by(world: tuple[Engine, dict[str, Any]]) -> None:
    """What a hook adds to it is flushed in the transaction. Otherwise they get the connection."""
    engine, options = world
    got: list[object] = []

    def hook(change: Change, tx: Session | Connection) -> None:
        got.append(tx)
        if isinstance(tx, Session):
            tx.add(Order(user_id=str(change.user.id)))  # type: ignore[union-attr]
        else:
            tx.execute(insert(Order).values(user_id=str(change.user.id)))  # type: ignore[union-attr]

    repository = SqlAlchemyRepository(engine, listen=False, hooks=[hook], **options)
    with Session(engine) as session, engine.connect() as connection:
        repository.within(session).put([person()])
        session.commit()
        repository.within(connection).put([person(BEA)])
        connection.commit()
        repository.put([person("user_cid")])
        assert got[:2] == [session, connection]
        assert isinstance(got[2], Connection)
        assert number_of_orders(session) == 3


def test_hooks_in_async_code(async_place: Any) -> None:
    """They get the `AsyncSession` or an `AsyncConnection`, and may be async."""
    got: list[object] = []

    async def hook(change: Change, tx: AsyncSession | AsyncConnection) -> None:
        got.append(tx)
        assert (await tx.execute(select(func.count()).select_from(Order))).scalar() == 0
        if isinstance(tx, AsyncSession):
            tx.add(Order(user_id=str(change.user.id)))  # type: ignore[union-attr]
        else:
            await tx.execute(insert(Order).values(user_id=str(change.user.id)))  # type: ignore[union-attr]

    async def run() -> None:
        async with opened(async_place, hooks=[hook]) as (engine, repository), AsyncSession(engine) as session:
            await repository.within(session).put([person()])
            await session.rollback()
            await repository.put([person()])
            assert await session.scalar(select(func.count()).select_from(Order)) == 1
            assert got[0] is session
            assert isinstance(got[1], AsyncConnection)

    asyncio.run(run())


@pytest.mark.parametrize("how", ["raises", "adds a row that is refused", "catches an error"])
def test_a_failing_hook_leaves_your_transaction_usable(world: tuple[Engine, dict[str, Any]], how: str) -> None:
    """It undoes what was put, and nothing of yours."""
    engine, options = world
    if how == "catches an error" and engine.dialect.name == "sqlite":
        pytest.skip("a failed statement undoes only itself there")

    def hook(change: Change, tx: Session) -> None:
        if how == "raises":
            tx.add(Order(user_id="another"))
            raise ValueError
        if how == "catches an error":
            with pytest.raises(Exception, match="division"):
                tx.connection().execute(text("SELECT 1 / 0"))
        else:
            tx.add(Order(user_id="mine"))

    repository = SqlAlchemyRepository(engine, listen=False, hooks=[hook], **options)
    with Session(engine) as session:
        session.add(Order(user_id="mine"))
        with pytest.raises(HookFailed):
            repository.within(session).put([person()])
        session.commit()
        assert [order.user_id for order in session.scalars(select(Order))] == ["mine"]
    assert repository.find(HERE, ANN) is None


@pytest.mark.parametrize("ending", ["commit", "rollback", "close"])
def test_a_hook_must_not_end_the_transaction(world: tuple[Engine, dict[str, Any]], ending: str) -> None:
    """It is told so, by the session and on a connection of the engine."""
    engine, options = world

    def hook(change: Change, tx: Session | Connection) -> None:
        getattr(tx, ending)()

    repository = SqlAlchemyRepository(engine, listen=False, hooks=[hook], **options)
    with Session(engine) as session, pytest.raises(ConfigurationError, match="must not end"):
        repository.within(session).put([person()])
    with pytest.raises(ConfigurationError, match="must not end"):
        repository.put([person(BEA)])
    assert SqlAlchemyRepository(engine, listen=False, **options).put([person("user_cid")])


def test_a_hook_that_swallows_an_error_is_found_out(async_place: Any) -> None:
    """PostgreSQL would answer COMMIT with a rollback: nothing is acknowledged that is not there."""
    if "sqlite" in async_place[0]:
        pytest.skip("a failed statement undoes only itself there")

    async def hook(change: Change, tx: AsyncConnection) -> None:
        with pytest.raises(Exception, match="division"):
            await tx.execute(text("SELECT 1 / 0"))

    async def run() -> None:
        async with opened(async_place, hooks=[hook]) as (_, repository):
            with pytest.raises(HookFailed, match="savepoint"):
                await repository.put([person()])
            assert await repository.find(HERE, ANN) is None

    asyncio.run(run())


def test_a_cancelled_write_is_undone(async_place: Any) -> None:
    """Its connection goes back, nothing of it stays, and whatever is cached is looked up again."""
    told: list[object] = []

    async def run() -> None:
        inside = asyncio.Event()

        async def hook(change: Change, tx: AsyncConnection) -> None:
            if change.user is not None and change.user.clerk_id == ANN:
                inside.set()
                await asyncio.Event().wait()

        async with opened(async_place, hooks=[hook]) as (_, repository):
            repository.listeners.watch(told.append)
            for _ in range(20):  # more than the pool has connections
                inside.clear()
                task = asyncio.create_task(repository.put([person()]))
                await inside.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert told == [None] * 20
            assert len(await repository.put([person(BEA)])) == 1
            assert await repository.find(HERE, ANN) is None

    asyncio.run(run())


class OwnSession(Session):
    pass


class OwnAsyncSession(AsyncSession):
    pass


def test_scoped_sessions(world: tuple[Engine, dict[str, Any]], async_place: Any) -> None:
    """Flask-SQLAlchemy's `db.session` is one. Its sessions are of a subclass, which type checkers accept, too."""
    engine, options = world
    session: scoped_session[OwnSession] = scoped_session(sessionmaker(engine, class_=OwnSession))
    SqlAlchemyRepository(engine, listen=False, **options).within(session).put([person()])
    session.rollback()
    assert SqlAlchemyRepository(engine, listen=False, **options).find(HERE, ANN) is None
    session.remove()

    async def run() -> None:
        async with opened(async_place) as (engine, repository):
            makes = async_sessionmaker(engine, class_=OwnAsyncSession)
            session: async_scoped_session[OwnAsyncSession]
            session = async_scoped_session(makes, scopefunc=asyncio.current_task)
            await repository.within(session).put([person()])
            await session.commit()
            assert await repository.find(HERE, ANN) is not None
            await session.remove()

    asyncio.run(run())


def test_a_session_with_an_engine_for_each_class(world: tuple[Engine, dict[str, Any]]) -> None:
    """It joins with the engine of the repository."""
    engine, options = world
    repository = SqlAlchemyRepository(engine, listen=False, **options)
    with Session(binds={Order: engine}) as session:
        repository.within(session).put([person()])
        session.add(Order(user_id="mine"))
        session.rollback()
        assert (repository.find(HERE, ANN), number_of_orders(session)) == (None, 0)


def test_the_transaction_of_a_test(world: tuple[Engine, dict[str, Any]]) -> None:
    """All that a repository on the connection of a test commits is undone by its rollback, and so are sessions."""
    engine, options = world
    seen: list[str] = []
    with engine.connect() as connection:
        outer = connection.begin()
        repository = SqlAlchemyRepository(connection, after_commit=[lambda change: seen.append("after")], **options)
        repository.put([person()])
        standing = repository.find(HERE, ANN)
        assert standing is not None
        assert (standing.settled, repository.in_transaction(), seen) == (True, False, ["after"])
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            part = repository.within(session)
            part.put([person(BEA)])
            session.rollback()
            part.put([person("user_cid")])
            session.commit()
        assert (repository.find(HERE, BEA), found(repository, "user_cid").clerk) == (None, person("user_cid"))
        outer.rollback()
    assert SqlAlchemyRepository(engine, listen=False, **options).find(HERE, ANN) is None


def test_the_recipe_for_transactions_of_sqlite(tmp_path: Path) -> None:
    """Where the application begins transactions by a listener, a write waits for the lock from its beginning."""
    engine = engine_of(f"sqlite:///{tmp_path / 'app.db'}")

    @event.listens_for(engine, "connect")
    def no_legacy(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    repository = SqlAlchemyRepository(engine, migrate=True)
    repository.put([person()])
    with Session(engine) as session:
        repository.within(session).put([person(BEA)])
        session.rollback()
    assert (found(repository).clerk, repository.find(HERE, BEA)) == (person(), None)
    engine.dispose()


def test_a_database_in_memory() -> None:
    """With one connection for all, as tests have it, calls take turns."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    repository = SqlAlchemyRepository(engine, migrate=True)
    repository.put([person()])
    assert found(repository).clerk == person()
    engine.dispose()

    async def run() -> None:
        engine = create_async_engine("sqlite+aiosqlite://")
        async with AsyncSqlAlchemyRepository(engine, migrate=True) as repository:
            names = [f"user_{number}" for number in range(20)]
            await asyncio.gather(*(repository.put([person(name)]) for name in names))
            assert None not in await asyncio.gather(*(repository.find(HERE, name) for name in names))
        await engine.dispose()

    asyncio.run(run())


def test_a_constraint_of_yours_is_named(world: tuple[Engine, dict[str, Any]]) -> None:
    """A unique index of yours that refuses a row gives an error without the row."""
    engine, options = world
    table = ".".join([*options.values(), "clerkmap_identities"])
    with engine.begin() as connection:
        connection.execute(text(f"CREATE UNIQUE INDEX one_address ON {table} (email)"))
    repository = SqlAlchemyRepository(engine, listen=False, **options)
    repository.put([person(email="ann@example.com")])
    with pytest.raises(ConfigurationError, match=r"one_address|clerkmap_identities\.email") as refused:
        repository.put([person(BEA, email="ann@example.com")])
    assert "ann@example.com" not in str(refused.value)
    assert not isinstance(refused.value.__cause__, IntegrityError)


def test_an_exhausted_pool_is_unavailable(tmp_path: Path) -> None:
    """A request that gets no connection in time says which setting to raise."""
    engine = engine_of(f"sqlite:///{tmp_path / 'app.db'}", pool_size=1, max_overflow=0, pool_timeout=0.05)
    repository = SqlAlchemyRepository(engine, migrate=True)
    with engine.connect(), pytest.raises(RepositoryUnavailable, match="pool_size"):
        repository.find(HERE, ANN)
    assert repository.find(HERE, ANN) is None
    engine.dispose()


def test_a_server_that_is_away() -> None:
    """Each driver says it with the same class, and without the address."""
    address = "someone:secret@127.0.0.1:1/app"
    with pytest.raises(RepositoryUnavailable) as raised:
        SqlAlchemyRepository(create_engine(f"postgresql+psycopg://{address}"))
    repository = AsyncSqlAlchemyRepository(create_async_engine(f"postgresql+asyncpg://{address}"))
    with pytest.raises(RepositoryUnavailable) as raised_in_async_code:
        asyncio.run(repository.find(HERE, ANN))
    assert "127.0.0.1" not in str(raised.value) + str(raised_in_async_code.value)


_made: list[Engine] = []


def _memory(url: str = "sqlite://") -> Engine:
    _made.append(create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False}))
    return _made[-1]


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "a URL": (lambda _: SqlAlchemyRepository("sqlite://"), r"create_engine\(url\), not str"),  # type: ignore[arg-type]
    "a session": (lambda _: SqlAlchemyRepository(Session(_memory())), r"repository.within\(session\)"),  # type: ignore[arg-type]
    "an async engine": (
        lambda _: SqlAlchemyRepository(create_async_engine("sqlite+aiosqlite://")),  # type: ignore[arg-type]
        "AsyncEngine is async: use AsyncSqlAlchemyRepository",
    ),
    "an engine with an async driver": (
        lambda _: SqlAlchemyRepository(create_engine("sqlite+aiosqlite://", poolclass=StaticPool)),
        "the engine is async: use AsyncSqlAlchemyRepository",
    ),
    "a sync engine": (lambda _: AsyncSqlAlchemyRepository(_memory()), r"create_async_engine\(...\)"),  # type: ignore[arg-type]
    "no tables": (lambda _: SqlAlchemyRepository(_memory()), "pass migrate=True, run clerkmap migrate"),
    "a schema on SQLite": (lambda _: SqlAlchemyRepository(_memory(), schema="app"), "leave schema= out"),
    "uuid on SQLite": (lambda _: SqlAlchemyRepository(_memory(), id_type="uuid"), "text or bigint"),
    "a text as listen": (lambda _: SqlAlchemyRepository(_memory(), listen="postgresql://"), "leave listen= out"),
    "a sessionmaker": (lambda _: _in_memory().within(sessionmaker(_memory())), "sessionmaker: call it first"),  # type: ignore[arg-type]
    "an async session": (lambda _: _in_memory().within(AsyncSession()), "use AsyncSqlAlchemyRepository"),  # type: ignore[arg-type]
    "another database in memory": (lambda _: _in_memory().within(Session(_memory())), "another database in memory"),
    "another file": (
        lambda folder: _in_memory().within(Session(_memory(f"sqlite:///{folder / 'b.db'}"))),
        "a transaction must use one",
    ),
}


def _in_memory() -> SqlAlchemyRepository:
    return SqlAlchemyRepository(_memory(), migrate=True)


@pytest.mark.parametrize("name", WRONG)
def test_each_mistake_says_what_to_write(name: str, tmp_path: Path) -> None:
    """One sentence, at the construction."""
    make, told = WRONG[name]
    with pytest.raises(ConfigurationError, match=told):
        make(tmp_path)
    while _made:
        _made.pop().dispose()
    gc.collect()  # the engines that nothing disposes of warn here, and not during another test


def test_no_other_driver_is_needed() -> None:
    """With asyncpg, psycopg need not be installed. Without SQLAlchemy, the error names the extra."""
    on_asyncpg = """
import sys; sys.modules |= {"psycopg": None, "psycopg_pool": None}
from sqlalchemy.ext.asyncio import create_async_engine
from clerkmap.repositories import AsyncSqlAlchemyRepository
AsyncSqlAlchemyRepository(create_async_engine("postgresql+asyncpg://localhost/app"))
"""
    without = "import sys; sys.modules['sqlalchemy'] = None\nfrom clerkmap.repositories import SqlAlchemyRepository"
    for program, told in ((on_asyncpg, ""), (without, "pip install 'clerkmap[sqlalchemy]'")):
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert told in ended.stderr
        assert (ended.returncode == 0) is (told == "")


def test_drivers_that_are_not_supported() -> None:
    """psycopg2 is named with what to write in its place."""

    class Dialect:
        name, driver = "postgresql", "psycopg2"

    from clerkmap.repositories.sqlalchemy.databases import check_dialect

    with pytest.raises(ConfigurationError, match=r"postgresql\+psycopg, .* not on postgresql\+psycopg2"):
        check_dialect(Dialect())  # type: ignore[arg-type]
