"""On PostgreSQL, whatever the order in which many processes write, and whichever are killed: the end is the right one.

`CLERKMAP_SOAK=1` makes it a million events. `CLERKMAP_SEED` makes it other ones.
"""

import multiprocessing
import os
import random as randomness
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from itertools import chain, combinations
from multiprocessing.connection import wait

import psycopg
import pytest

from clerkmap import Repository
from clerkmap.core.records import AnyRecord
from clerkmap.repositories import MemoryRepository, PostgresRepository
from crash_writers import organizations, users
from histories import OPTIONS, Row, shown
from killed import Child
from postgres_cluster import Cluster, clusters, settle
from postgres_writers import TWICE, Ranks, Share, greatest, held, taken_in, work, write
from sample_bodies import NAME

SOAK = bool(os.environ.get("CLERKMAP_SOAK"))
SEED = os.environ.get("CLERKMAP_SEED", "1")
WRITERS = 8
EVENTS = 1_000_000 if SOAK else 8_000
TEAMS = tuple(range(EVENTS // 100))  # of some thirty things each
KILLED, ROUNDS = 5, 300 if SOAK else 12

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server of its own, for speed: what is lost with the machine is no matter here."""
    with clusters() as new:
        server: Cluster = new()
        server.make(fsync="off", full_page_writes="off")
        yield server


@pytest.fixture
def uri(cluster: Cluster) -> str:
    """A database of its own, with the tables."""
    uri = cluster.new_database()
    PostgresRepository.open(uri, **OPTIONS).close()
    return uri


def all_of(repository: Repository, teams: Sequence[int]) -> list[Row]:
    """What a repository shows of these teams."""
    people = [user for team in teams for user in users(team)]
    companies = [organization for team in teams for organization in organizations(team)]
    pairs = [(user, company) for team in teams for user in users(team) for company in organizations(team)]
    return list(shown(repository, NAME, people, companies, pairs))


def check_all(uri: str, records: Sequence[AnyRecord], teams: Sequence[int]) -> None:
    """Everything shown is what memory shows that was told it in this order; and no row is without its other half."""
    memory = MemoryRepository(**OPTIONS)
    memory.put(records)
    with closing(PostgresRepository.open(uri, **OPTIONS)) as repository:
        for mine, theirs in zip(all_of(repository, teams), all_of(memory, teams), strict=True):
            assert mine == theirs
    orphans = "SELECT count(*) FROM clerkmap_users WHERE id NOT IN (SELECT user_id FROM clerkmap_identities)"
    with psycopg.connect(uri, autocommit=True) as connection:
        assert connection.execute(orphans).fetchone() == (0,), "a user was made, and the identity was not"


def test_shuffled_events_end_alike(uri: str) -> None:
    """Eight processes write shuffled events, a tenth of them twice: of each thing the greatest record stays."""
    shares = [Share(uri, SEED, writer, WRITERS, TEAMS, EVENTS // WRITERS) for writer in range(WRITERS)]
    looked_at = tuple(randomness.Random(f"{SEED}/teams").sample(TEAMS, 40))
    began = time.perf_counter()
    with ProcessPoolExecutor(WRITERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        written = list(pool.map(write, shares, [looked_at] * WRITERS))
    seconds = time.perf_counter() - began
    expected: Ranks = {}
    for each in written:
        for place, rank in each.ranks.items():
            expected[place] = max(rank, expected.get(place, ""))
    events, transactions = sum(each.events for each in written), sum(each.transactions for each in written)
    print(f"CLERKMAP_SEED={SEED}: {events:,} events in {transactions:,} transactions of {WRITERS} processes about "
          f"{len(expected):,} things, {seconds:.1f} seconds, {events / seconds:,.0f} events a second")  # fmt: skip

    assert events == EVENTS + EVENTS // TWICE
    found = held(uri)
    assert len(found) == len(expected)
    assert found == expected
    check_all(uri, [record for each in written for record in each.looked_at], looked_at)


def crash(random: randomness.Random, shares: Sequence[Share]) -> list[Child[Share]]:
    """Have processes write, and kill them: while they begin, or after so many deliveries and a moment."""
    children = [Child(work, share, "postgres_writers") for share in shares]
    wanted = random.choice((0, random.randrange(1, 10), random.randrange(10, 300)))
    while sum(len(child.said) for child in children) < wanted:
        ready = wait([child.pipe for child in children], 60)
        assert ready, "nobody writes"
        for child in children:
            assert child.pipe not in ready or child.listen(), f"a process has ended by itself: {child.said[-200:]!r}"
    time.sleep(random.uniform(0, 0.003 if wanted else 0.2))
    for child in random.sample(children, len(children)):
        child.kill()
        time.sleep(random.choice((0, 0, random.uniform(0, 0.01))))  # those that are left go on for a while
    for child in children:
        child.bury()
    return children


@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
def test_what_was_acknowledged_survives(uri: str) -> None:
    """Whenever writers are killed, what they have acknowledged is there, and of the rest all or nothing."""
    seen: Counter[str] = Counter()
    certain: Ranks = {}
    history: list[AnyRecord] = []
    began = time.perf_counter()
    for number in range(ROUNDS):
        random = randomness.Random(f"{SEED}/{number}")
        teams = (number, number + 1)
        children = crash(random, [Share(uri, f"{SEED}/{number}", each, KILLED, teams, 0) for each in range(KILLED)])
        settle(uri)
        taken = [taken_in(child.orders, len(child.said)) for child in children]
        acknowledged, unsure = [record for known, _ in taken for record in known], [each for _, each in taken]
        certain = greatest(acknowledged, certain)
        found = held(uri)
        lost = {place for place, rank in certain.items() if found.get(place, "") < rank}
        assert not lost, f"something acknowledged is lost, CLERKMAP_SEED={SEED}, round {number}"
        for chosen in chain.from_iterable(combinations(unsure, count) for count in range(KILLED + 1)):
            kept = [record for records in chosen for record in records]
            if greatest(kept, certain) == found:
                break
        else:
            pytest.fail(f"something is half-applied, CLERKMAP_SEED={SEED}, round {number}")
        history += [*acknowledged, *kept]
        seen["acknowledged"] += sum(len(child.said) for child in children)
        seen["committed, not yet acknowledged"] += bool(chosen)
        seen["not committed"] += greatest([record for each in unsure for record in each], found) != found
        certain = found
    print(f"CLERKMAP_SEED={SEED}: {ROUNDS} rounds of {KILLED} processes, {time.perf_counter() - began:.1f} seconds: "
          f"{dict(seen)}")  # fmt: skip
    check_all(uri, history, range(ROUNDS + 1))
    # Kills that come before or after all the work would show nothing.
    assert seen["acknowledged"] > ROUNDS
    assert seen["not committed"] >= ROUNDS // 4
    if SOAK:  # a short run may have none of these
        assert seen["committed, not yet acknowledged"] >= ROUNDS // 60
