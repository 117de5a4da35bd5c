"""Fixtures for tests on PostgreSQL. clerkmap provides `clerk`.

Each worker of pytest-xdist has a database of its own. Each test has a transaction, which is rolled back at its end.
`DATABASE_URL` chooses the server and the driver. Its database is not changed; the others are named after it:

    DATABASE_URL=postgresql+asyncpg://localhost/courses pytest -n auto examples/courses
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from alembic import command
from alembic.config import Config
from fastapi import FastAPI
from sqlalchemy import NullPool, make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from clerkmap.testing import FakeClerk

from ..app import create_app

HERE = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests and fixtures on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def migrations() -> Config:
    """Return Alembic's configuration."""
    return Config(HERE / "alembic.ini")


@pytest.fixture(scope="session")
def database(migrations: Config) -> Iterator[str]:
    """Create a database for this worker and run the migrations in it. Drop it at the end of the run."""
    server = os.environ["DATABASE_URL"]
    name = f"{make_url(server).database}_{os.environ.get('PYTEST_XDIST_WORKER', 'test')}"
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    asyncio.run(execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DATABASE_URL", url)
        command.upgrade(migrations, "head")
        yield url
    asyncio.run(execute(server, f"DROP DATABASE {name} WITH (FORCE)"))


async def execute(url: str, *statements: str) -> None:
    """Execute statements outside a transaction."""
    engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        for statement in statements:
            await connection.execute(text(statement))


@pytest.fixture
async def connection(database: str) -> AsyncIterator[AsyncConnection]:
    """Return a connection in a transaction that is rolled back."""
    async with create_async_engine(database, poolclass=NullPool).connect() as connection:
        await connection.begin()
        yield connection
        await connection.rollback()


@pytest.fixture
def app(clerk: FakeClerk, connection: AsyncConnection) -> FastAPI:
    """Return the application. It reads the environment variables that `clerk` has set."""
    return create_app(connection)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client without a signed-in user."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://courses.test") as client:
        yield client
