"""With a streaming replica and synchronous commits, the loss of the primary loses nothing that was acknowledged.

The primary is stopped as by a power cut, in the middle of what several writers put, and its standby takes over. The
writers' repositories are opened once, with both servers in their connection string, and go on by themselves.

`CLERKMAP_SOAK=1` makes it many failovers, and long ones. `CLERKMAP_SEED` makes them other ones.
"""

import os
import time
from collections.abc import Callable
from random import Random

import psycopg
import pytest

from clerkmap.core.merging import winning_records
from clerkmap.repositories import PostgresRepository
from failover_writers import Writer, writing
from postgres_cluster import Cluster, clusters

SOAK = bool(os.environ.get("CLERKMAP_SOAK"))
SEED = os.environ.get("CLERKMAP_SEED", "1")
ROUNDS = 20 if SOAK else 1
THREADS = 4
TIMEOUT = 5  # seconds
WRITTEN = 50  # times that each must have been acknowledged before the failover, and after it

pytestmark = pytest.mark.slow


def replicated(new: Callable[[], Cluster]) -> tuple[Cluster, Cluster]:
    """A primary, and a standby without which nothing is committed there."""
    primary, standby = new(), new()
    primary.make()
    standby.copy_of(primary)
    # Not in the file that the standby has got a copy of: once promoted, it would wait for a standby of its own.
    with psycopg.connect(primary.uri, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        connection.execute("SELECT pg_reload_conf()")
        _until(lambda: bool(connection.execute(_IN_STEP).fetchall()), "the standby does not follow")
        assert connection.execute("SHOW synchronous_commit").fetchall() == [("on",)]
    return primary, standby


_IN_STEP = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"


def _until(holds: Callable[[], bool], otherwise: str, seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, otherwise
        time.sleep(0.02)


def _have_written(writers: list[Writer], since: float) -> bool:
    """Whether each has been acknowledged often enough. One that has died is found out at the end."""
    return all(writer.error or len(writer.since(since)) >= WRITTEN for writer in writers)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_nothing_acknowledged_is_lost_with_the_primary(number: int) -> None:
    """The same repositories go on writing on the promoted standby, where all that was ever acknowledged is found."""
    seed = f"{SEED}/{number}"
    print(f"CLERKMAP_SEED={SEED}, round {number}")
    random = Random(seed)
    outage = random.uniform(0, 20) if SOAK else random.uniform(0, 1)
    with clusters() as new:
        primary, standby = replicated(new)
        servers = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        conninfo = f"postgresql://postgres@{servers}/postgres?target_session_attrs=read-write"
        with writing(conninfo, seed, threads=THREADS, timeout=TIMEOUT) as writers:
            _until(lambda: _have_written(writers, 0), "nobody writes")
            time.sleep(random.uniform(0, 0.5))
            primary.stop("immediate")
            time.sleep(outage)
            standby.promote()
            promoted_at = time.monotonic()
            _until(lambda: _have_written(writers, promoted_at), "the repositories do not go on")

        acknowledged = [record for writer in writers for _, batch in writer.acknowledged for record in batch]
        with psycopg.connect(standby.uri) as connection:
            assert connection.execute("SHOW synchronous_standby_names").fetchall() == [("",)]
        repository = PostgresRepository.open(standby.uri)
        assert repository.put(winning_records(acknowledged)) == [], "something acknowledged is lost"
        repository.close()
    waited = max(writer.since(promoted_at)[0] for writer in writers) - promoted_at
    before = sum(1 for writer in writers for at, _ in writer.acknowledged if at <= promoted_at)
    after = sum(len(writer.since(promoted_at)) for writer in writers)
    print(
        f"{before} acknowledged before and {after} after an outage of {outage:.1f} s; {waited:.1f} s until all went on"
        f"; {sum(writer.refused for writer in writers)} refused meanwhile"
    )
    assert min(before, after) >= WRITTEN * (THREADS + 1)
