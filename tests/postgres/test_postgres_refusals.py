"""What PostgreSQL or psycopg would answer wrongly, or with a text that tells too much, is refused in words of ours."""

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from clerkmap import Change, ConfigurationError, HookFailed, RepositoryUnavailable
from clerkmap.repositories import AsyncPostgresRepository, PostgresRepository
from clerkmap.testing.samples import ANN, BEA, HERE, found, person
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
            repository = AsyncPostgresRepository(connection, schema=postgres_schema, migrate=True)
            await repository.put([person()])
            async with connection.pipeline():
                with pytest.raises(ConfigurationError, match="pipeline"):
                    await repository.find(HERE, ANN)
                with pytest.raises(ConfigurationError, match="pipeline"):
                    await repository.put([person(BEA)])
            assert await repository.find(HERE, BEA) is None

    asyncio.run(use())


UNREADABLE = (
    "postgresql//bob:s3cret@127.0.0.1/postgres",
    "host=127.0.0.1 pasword=s3cret",
    "host=127.0.0.1 password=my s3cret user=x",
    "postgresql://bob:s3%zzcret@127.0.0.1/x",
    "postgresql://bob:s3cret@127.0.0.1/x?foo=s3cret",
)


@pytest.mark.parametrize("conninfo", UNREADABLE)
@pytest.mark.parametrize("how", ["open", "open in async", "listen"])
def test_a_connection_string_that_cannot_be_read(conninfo: str, how: str) -> None:
    """It is refused, and neither the text nor what is behind it shows the password."""
    opening: dict[str, Callable[[], object]] = {
        "open": lambda: PostgresRepository.open(conninfo),
        "open in async": lambda: AsyncPostgresRepository.open(conninfo),
        "listen": lambda: PostgresRepository.open(postgres(), listen=conninfo),
    }
    with pytest.raises(ConfigurationError, match="connection string") as raised:
        opening[how]()
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    assert "cret" not in str(raised.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"prefix": None}, {"prefix": 7}, {"prefix": ""}, {"schema": 7}, {"schema": "A"}, {"conninfo": None},
        {"conninfo": 7}, {"timeout": "5"}, {"timeout": None}, {"timeout": float("nan")}, {"timeout": 0},
        {"pool_size": "5"}, {"pool_size": 0}, {"ids": ["uuid7"]}, {"ids": None}, {"id_type": ["text"]},
        {"hooks": None}, {"hooks": 7}, {"hooks": [7]}, {"after_commit": None}, {"clock": 7}, {"linker": "me"},
        {"first_role": 7}, {"listen": 7}, {"listen": ""},
    ],
)  # fmt: skip
def test_options_that_cannot_work(wrong: dict[str, Any]) -> None:
    """Each is refused with an error of ours, before anybody connects."""
    options: dict[str, Any] = {"conninfo": "postgresql://127.0.0.1:1/nowhere", "timeout": 1, **wrong}
    for open_ in (PostgresRepository.open, AsyncPostgresRepository.open):
        with pytest.raises(ConfigurationError):
            open_(**options)


@pytest.mark.parametrize(
    "names", [{"schema": "user"}, {"schema": "pg_mine"}, {"schema": "left"}, {"prefix": "current_"}]
)
def test_words_of_sql_as_names(names: dict[str, Any]) -> None:
    """They are refused, and it is said why."""
    with pytest.raises(ConfigurationError, match=r"reserved word of SQL|ReservedName"):
        PostgresRepository.open(postgres(), **names)


def test_a_server_that_is_not_there() -> None:
    """Whoever cannot connect is told why."""
    with pytest.raises(RepositoryUnavailable, match="connection refused"):
        PostgresRepository.open("postgresql://127.0.0.1:1/nowhere", timeout=0.3)


def test_a_database_of_another_encoding(postgres_schema: str) -> None:
    """It could not keep everybody's name, so it is refused."""
    with connected() as connection:
        connection.execute(
            f"CREATE DATABASE {postgres_schema} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0".encode()
        )
        with (
            pytest.raises(ConfigurationError, match="LATIN1"),
            opened(None, make_conninfo(postgres(), dbname=postgres_schema)),
        ):
            pass
        connection.execute(f"DROP DATABASE {postgres_schema} WITH (FORCE)".encode())


def test_a_connection_of_another_encoding(postgres_schema: str) -> None:
    """One of yours is refused; those that `open` makes speak UTF-8, whatever the connection string says."""
    latin = make_conninfo(postgres(), client_encoding="latin1")
    with psycopg.connect(latin) as connection, pytest.raises(ConfigurationError, match="client_encoding"):
        PostgresRepository(connection, schema=postgres_schema, migrate=True)
    with opened(postgres_schema, latin) as repository:
        repository.put([person(first_name="Żółć")])
        assert found(repository).name == "Żółć"


STUBS = {
    "another's table": "CREATE TABLE {s}.clerkmap_users (id text PRIMARY KEY)",
    "another's columns": "CREATE TABLE {s}.clerkmap_schema (number int)",
}


@pytest.mark.parametrize("name", STUBS)
def test_tables_that_are_not_those_of_clerkmap(postgres_schema: str, name: str) -> None:
    """A stub that `create_all` made before `open`, or another table of the name, is an invalid configuration."""
    says = {"another's table": "before your create_all", "another's columns": "differ from those that clerkmap makes"}[
        name
    ]
    with connected() as connection:
        connection.execute(f"CREATE SCHEMA {postgres_schema}".encode())
        connection.execute(STUBS[name].format(s=postgres_schema).encode())

    async def enter() -> None:
        async with AsyncPostgresRepository.open(postgres(), schema=postgres_schema):
            pass

    with pytest.raises(ConfigurationError, match=says):
        PostgresRepository.open(postgres(), schema=postgres_schema)
    with pytest.raises(ConfigurationError, match=says):
        asyncio.run(enter())


def test_a_server_that_takes_no_writes(postgres_schema: str) -> None:
    """A write to a standby is told as what it is: a trouble that a failover or a better address ends."""
    with opened(postgres_schema):
        pass
    read_only = make_conninfo(postgres(), options="-cdefault_transaction_read_only=on")
    with (
        opened(postgres_schema, read_only, timeout=1) as repository,
        pytest.raises(RepositoryUnavailable, match="standby"),
    ):
        repository.put([person()])
