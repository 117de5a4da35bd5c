"""`clerk.session`: the request is resolved in its session, so that a new user and the order are in one commit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from clerkmap import ConfigurationError, Resolver, User
from clerkmap.adapters.fastapi import Clerk
from clerkmap.repositories import AsyncSqlAlchemyRepository, MemoryRepository, SqlAlchemyRepository
from clerkmap.testing import FakeClerk
from postgres_server import schemas
from sqlalchemy_ways import ASYNC, SYNC, async_engine_of, engine_of, url_of

CLERK = FakeClerk(seed=8)


@pytest.fixture
def schema() -> Iterator[str]:
    with schemas() as new:
        yield new()


def options_of(driver: str, schema: str) -> dict[str, Any]:
    return {"schema": schema, "listen": False} if "postgresql" in driver else {}


def headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {CLERK.token(CLERK.create_user())}"}


def use(client: TestClient) -> None:
    """Order twice: first without a commit, then with one."""
    mine = headers()
    assert client.post("/orders?commit=false", headers=mine).json() == [1, False]
    assert client.post("/orders?commit=true", headers=mine).json() == [1, False]
    assert client.post("/orders?commit=true", headers=mine).json() == [1, True]
    assert client.post("/orders?commit=true").status_code == 401
    assert client.get("/users", headers=mine).json() == 1


@pytest.mark.parametrize("driver", ASYNC)
def test_one_commit_in_an_async_session(driver: str, schema: str, tmp_path: Path) -> None:
    """The user exists after your commit, and not before it. A known user is not written again."""
    engine = async_engine_of(url_of(driver, tmp_path))
    repository = AsyncSqlAlchemyRepository(engine, migrate=True, **options_of(driver, schema))
    clerk, sessions = Clerk(Resolver(CLERK.instance, repository)), async_sessionmaker(engine)
    app = FastAPI(lifespan=clerk.lifespan)

    @app.post("/orders")
    async def order(
        session: Annotated[AsyncSession, Depends(clerk.session(sessions))],
        same: Annotated[AsyncSession, Depends(clerk.session(sessions))],
        user: Annotated[User, Depends(clerk.user)],
        commit: bool,
    ) -> list[object]:
        assert session is same
        known = await repository.user(user.id) is not None
        seen = await repository.within(session).count_users()
        if commit:
            await session.commit()
        return [seen, known]

    @app.get("/users")
    async def users() -> int:
        return await repository.count_users()

    with TestClient(app) as client:
        use(client)
        assert client.portal is not None
        client.portal.call(engine.dispose)


@pytest.mark.parametrize("driver", SYNC)
def test_one_commit_in_a_session(driver: str, schema: str, tmp_path: Path) -> None:
    """The same with a sync repository."""
    engine = engine_of(url_of(driver, tmp_path))
    repository = SqlAlchemyRepository(engine, migrate=True, **options_of(driver, schema))
    clerk, sessions = Clerk(Resolver(CLERK.instance, repository)), sessionmaker(engine)
    app = FastAPI(lifespan=clerk.lifespan)

    @app.post("/orders")
    def order(
        session: Annotated[Session, Depends(clerk.session(sessions))],
        user: Annotated[User, Depends(clerk.user)],
        commit: bool,
    ) -> list[object]:
        known = repository.user(user.id) is not None
        seen = repository.within(session).count_users()
        if commit:
            session.commit()
        return [seen, known]

    @app.get("/users")
    def users() -> int:
        return repository.count_users()

    with TestClient(app) as client:
        use(client)
    engine.dispose()


def test_the_session_comes_first(tmp_path: Path) -> None:
    """After another dependency the user would be committed already: the error says where to put it."""
    engine = engine_of(f"sqlite:///{tmp_path / 'app.db'}")
    clerk = Clerk(Resolver(CLERK.instance, SqlAlchemyRepository(engine, migrate=True)))
    session = Depends(clerk.session(sessionmaker(engine)))
    app, router = FastAPI(), APIRouter(dependencies=[session])

    @app.get("/late")
    def late(user: Annotated[User, Depends(clerk.user)], session: Annotated[Session, session]) -> None:
        raise AssertionError

    @router.get("/first")
    def first(user: Annotated[User, Depends(clerk.user)], session: Annotated[Session, session]) -> bool:
        return session.scalar(select(func.count()).select_from(text("clerkmap_users"))) == 1

    app.include_router(router)
    with TestClient(app) as client:
        assert client.get("/first", headers=headers()).json() is True
        with pytest.raises(ConfigurationError, match="the session must come before"):
            client.get("/late", headers=headers())
    engine.dispose()


def test_the_session_is_closed_when_the_path_function_raises(tmp_path: Path) -> None:
    """What it has done is rolled back, and the new user with it."""
    engine = async_engine_of(f"sqlite+aiosqlite:///{tmp_path / 'app.db'}")
    repository = AsyncSqlAlchemyRepository(engine, migrate=True)
    clerk = Clerk(Resolver(CLERK.instance, repository))
    app, used = FastAPI(lifespan=clerk.lifespan), list[AsyncSession]()

    @app.get("/")
    async def fail(session: Annotated[AsyncSession, Depends(clerk.session(async_sessionmaker(engine)))]) -> None:
        used.append(session)
        raise ValueError("sold out")

    with TestClient(app) as client:
        with pytest.raises(ValueError, match="sold out"):
            client.get("/", headers=headers())
        assert not used[0].in_transaction()
        assert client.portal is not None
        assert client.portal.call(repository.count_users) == 0
        client.portal.call(engine.dispose)


def test_what_the_session_needs() -> None:
    """A sessionmaker, and a repository on SQLAlchemy."""
    clerk = Clerk(Resolver(CLERK.instance, MemoryRepository()))
    with pytest.raises(ConfigurationError, match=r"async_sessionmaker\(engine\), not NoneType"):
        clerk.session(None)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"AsyncSession, and the repository is sync: pass sessionmaker"):
        clerk.session(async_sessionmaker())
    engine = async_engine_of("sqlite+aiosqlite://")
    asynchronous = Clerk(Resolver(CLERK.instance, AsyncSqlAlchemyRepository(engine, listen=False)))
    with pytest.raises(ConfigurationError, match=r"Session, and the repository is async: pass async_sessionmaker"):
        asynchronous.session(sessionmaker())
    app = FastAPI()

    @app.get("/")
    def get(session: Annotated[Session, Depends(clerk.session(Session))]) -> None:
        raise AssertionError

    with TestClient(app) as client, pytest.raises(ConfigurationError, match="MemoryRepository"):
        client.get("/", headers=headers())
