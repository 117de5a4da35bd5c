"""Databases for SQLAlchemy: SQLite, and PostgreSQL with each driver, with the repositories that write to them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from clerkmap.repositories import PostgresRepository, SqliteRepository
from clerkmap.repositories.options import IdType
from clerkmap.testing.samples import made_by
from postgres_server import postgres, url_of_a_new_schema

# Each database, with each type of ids that it can hold.
PLACES: list[tuple[str, IdType]] = [
    *(("sqlite", "text"), ("sqlite", "bigint")),
    *(("postgresql", "text"), ("postgresql", "bigint"), ("postgresql", "uuid")),
]


@dataclass
class Place:
    """An empty database."""

    name: str
    path: Path
    schema: str
    id_type: IdType = "text"

    def __post_init__(self) -> None:
        if self.name == "postgresql":
            self._url = url_of_a_new_schema(self.schema)

    def engine(self) -> Engine:
        """Connections that close when they are returned."""
        url = f"sqlite:///{self.path}" if self.name == "sqlite" else self._url.replace(":", "+psycopg:", 1)
        return create_engine(url, poolclass=NullPool)

    @contextmanager
    def repository(self, **options: Any) -> Iterator[PostgresRepository | SqliteRepository]:
        """A repository on connections of its own. It makes the tables unless it is told not to."""
        options = {**made_by(int if self.id_type == "bigint" else "uuid7"), **options}
        made: PostgresRepository | SqliteRepository
        if self.name == "sqlite":
            made = SqliteRepository.open(self.path, **options)
        else:
            made = PostgresRepository.open(self._url, **{"id_type": self.id_type, "listen": False, **options})
        with made:
            yield made


async def run_on_asyncpg(schema: str, function: Callable[[Connection], Any]) -> Any:
    """Call a function with a connection of asyncpg, in one transaction."""
    settings = {"server_settings": {"search_path": schema}}
    url = make_url(postgres()).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, poolclass=NullPool, connect_args=settings)
    async with engine.begin() as connection:
        return await connection.run_sync(function)
