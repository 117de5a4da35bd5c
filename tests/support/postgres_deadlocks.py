"""A PostgreSQL that looks for deadlocks as soon as anybody waits, and how many it has found."""

from collections.abc import Iterator

import psycopg
import pytest

from clerkmap.core.records import ClerkUser
from postgres_cluster import Cluster, clusters, settle


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
    return cluster.new_database()


def deadlocks(uri: str) -> int:
    """How many the server has counted. A back end reports what it counted, at the latest, when it ends."""
    settle(uri)
    with psycopg.connect(uri, autocommit=True) as connection:
        row = connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    assert row is not None
    count: int = row[0]
    return count


def gone(instance: str, clerk_id: str) -> ClerkUser:
    """The tombstone of a person."""
    return ClerkUser.deleted(instance, clerk_id, observed_at=9)
