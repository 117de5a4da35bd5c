"""Run the migrations with the driver of `DATABASE_URL`."""

import asyncio
import os

from alembic import context
from sqlalchemy import Connection, NullPool
from sqlalchemy.ext.asyncio import create_async_engine

from examples.courses.models import Base, tables


def migrate(connection: Connection) -> None:
    """Run the migrations on a connection."""
    context.configure(connection=connection, target_metadata=Base.metadata, include_object=tables.include_object)
    with context.begin_transaction():
        context.run_migrations()


async def main() -> None:
    """Connect."""
    engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)


asyncio.run(main())
