"""A PostgreSQL that looks for deadlocks as soon as anybody waits, and how many it has found."""

import time
from collections.abc import Iterator

import psycopg
import pytest

from clerkmap.core.records import ClerkUser
from postgres_cluster import Cluster, clusters


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server of its own, where nothing else counts."""
    with clusters() as new:
        server: Cluster = new()
        server.make(fsync="off", deadlock_timeout="20ms")
        yield server


@pytest.fixture
def uri(cluster: Cluster) -> str:
    """A database of its own, empty."""
    name = f"d{time.monotonic_ns()}"
    with psycopg.connect(cluster.uri, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"{cluster.uri.rsplit('/', 1)[0]}/{name}"


def deadlocks(uri: str) -> int:
    """How many the server has counted. A back end reports what it counted, at the latest, when it ends."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(uri, autocommit=True) as connection:
        while connection.execute(others).fetchone() != (0,):
            time.sleep(0.01)
        connection.execute("SELECT pg_stat_clear_snapshot()")
        row = connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    assert row is not None
    count: int = row[0]
    return count


def gone(instance: str, clerk_id: str) -> ClerkUser:
    """The tombstone of a person."""
    return ClerkUser.deleted(instance, clerk_id, observed_at=9)
