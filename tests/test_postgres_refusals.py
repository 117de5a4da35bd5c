"""What PostgreSQL or psycopg would answer wrongly, or with a text that tells too much, is refused in words of ours."""

import asyncio
from typing import Any

import psycopg
import pytest

from clerkmap import Change, ConfigurationError, HookFailed
from clerkmap.repositories import AsyncPostgresRepository
from clerkmap.testing.samples import ANN, BEA, HERE, person
from postgres_server import postgres
from schema_descriptions import connected, opened


def test_a_connection_in_pipeline_mode(postgres_schema: str) -> None:
    """There each answer would look like none: nothing is read, nothing is written, and it is said."""
    with opened(postgres_schema) as repository, connected() as connection:
        repository.put([person()])
        yours = repository.within(connection)
        with connection.pipeline():
            with pytest.raises(ConfigurationError, match="pipeline"):
                yours.find(HERE, ANN)
            with pytest.raises(ConfigurationError, match="pipeline"):
                yours.put([person(BEA)])
            with connection.transaction(), pytest.raises(ConfigurationError, match="pipeline"):
                yours.put([person(BEA)])
        assert yours.find(HERE, ANN) is not None
        assert repository.find(HERE, BEA) is None


def test_a_hook_in_pipeline_mode(postgres_schema: str) -> None:
    """A hook that reads in a pipeline of its own is told so, and nothing is written."""

    def hook(change: Change, tx: psycopg.Connection[Any]) -> None:
        with tx.pipeline():
            repository.find(HERE, ANN)

    with opened(postgres_schema, hooks=[hook]) as repository:
        with pytest.raises(HookFailed) as raised:
            repository.put([person()])
        assert isinstance(raised.value.__cause__, ConfigurationError)
        assert repository.find(HERE, ANN) is None


def test_an_async_connection_in_pipeline_mode(postgres_schema: str) -> None:
    """The same in async code."""

    async def use() -> None:
        async with await psycopg.AsyncConnection.connect(postgres(), autocommit=True) as connection:
            repository = AsyncPostgresRepository(connection, schema=postgres_schema)
            await repository.put([person()])
            async with connection.pipeline():
                with pytest.raises(ConfigurationError, match="pipeline"):
                    await repository.find(HERE, ANN)
                with pytest.raises(ConfigurationError, match="pipeline"):
                    await repository.put([person(BEA)])
            assert await repository.find(HERE, BEA) is None

    asyncio.run(use())
