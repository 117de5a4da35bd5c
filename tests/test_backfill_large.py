"""A backfill of many: memory stays flat, a killed process loses nothing, and the limits say how long it takes.

`CLERKMAP_SOAK=1` makes it 200,000 people, 5,000 organizations and 300,000 memberships.
"""

import os
import tracemalloc
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from backfill_crowd import Crowd, CrowdTransport, api_of, hurried, work
from backfill_world import World
from clerkmap import Repository
from clerkmap.clerk import ClerkApi, backfill, diff
from clerkmap.clerk.budget import DEVELOPMENT, PRODUCTION, Budget
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.testing import Clock, FakeClerk
from killed import Child
from test_backfill_weather import Life, everything_said, everything_stored

SOAK = bool(os.environ.get("CLERKMAP_SOAK"))
pytestmark = pytest.mark.slow


def peak_of(crowd: Crowd, path: Path) -> int:
    """The most that was held at once while a crowd was copied into a file, in bytes."""
    repository, clerk = SqliteRepository.open(path, durable=False), FakeClerk(80)
    api = api_of(crowd, clerk)
    tracemalloc.start()
    try:
        report = backfill(api, repository)
        again = backfill(api, repository)  # and now everything is looked through for who has gone
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert report.complete
    assert report.listed["users"] == again.listed["users"] == crowd.users
    repository.close()
    return peak


def test_memory_is_flat(tmp_path: Path) -> None:
    """Ten times as many need no more of it: what is held is a page."""
    few = peak_of(Crowd(2_000, 10, 300), tmp_path / "few.db")
    many = peak_of(Crowd(20_000, 100, 3_000), tmp_path / "many.db")
    assert many < few * 1.3 + 1_000_000


class Nowhere(MemoryRepository):
    """Forgets all that is put. For how often Clerk is asked, and when, it is as good as any."""

    def put(self, records: Any) -> list[Any]:
        return []


@pytest.mark.parametrize(("limit", "seconds"), [(PRODUCTION, 26), (DEVELOPMENT, 284)])
def test_a_million(limit: int, seconds: int) -> None:
    """Two thousand pages and six other questions: the keys, a count before and after, and a list's end for each kind.

    The limits alone make it half a minute in production, and less than five for a development instance. No window of
    ten seconds has more than nine tenths of what is allowed.
    """
    clock, clerk = Clock(1_790_000_000.0), FakeClerk(82)
    began, asked, most = clock(), deque[float](), [0]

    def count() -> None:
        asked.append(clock())
        while asked[0] <= clock() - 10:
            asked.popleft()
        most[0] = max(most[0], len(asked))

    class Bare(Crowd):
        def user(self, number: int) -> dict[str, Any]:
            return {"id": f"user_{number}", "created_at": number + 1, "updated_at": number + 1}

    transport = CrowdTransport(Bare(1_000_000), clerk, count)
    budget = Budget(limit, clock)
    api = ClerkApi(clerk.instance, transport=transport, budget=budget, clock=clock, sleep=clock.advance)
    report = backfill(api, Nowhere(), clock=clock)
    assert (report.listed["users"], report.complete) == (1_000_000, True)
    assert transport.requests == 2_006
    assert round(clock() - began) == seconds
    assert most[0] <= limit * 0.9 + 1


def keys_of(repository: Repository, kind: Any, instance: str) -> int:
    """How many of a kind are there, stated in full and alive."""
    return repository.counts(instance)[kind].told


def test_a_process_that_is_killed_five_times(tmp_path: Path) -> None:
    """With `kill -9`, at any moment. The sixth goes on where the fifth was, and nobody is missing."""
    path, crowd = tmp_path / "app.db", Crowd(20_000, 500, 30_000)
    pages = 20_000 // 500 + 30_000 // 500
    clerk = FakeClerk(81)
    SqliteRepository.open(path).close()
    for number in range(5):
        child = Child(work, (path, crowd), "backfill_crowd")
        while child.said.count(b".") < pages // 7:
            assert child.listen()
        child.kill()
        child.bury()
        repository = SqliteRepository.open(path)
        assert keys_of(repository, "user", clerk.instance.name) >= min((number + 1) * pages // 7 * 400, 20_000) * 0.9
        repository.close()
    repository = SqliteRepository.open(path)
    report = backfill(api_of(crowd, clerk), repository, clock=hurried)
    assert (report.resumed, report.complete, report.departed) == (True, True, 0)
    assert sum(report.listed.values()) < 30_000
    assert [keys_of(repository, kind, clerk.instance.name) for kind in ("user", "organization", "membership")] == [
        *(20_000, 500, 30_000)
    ]
    assert not diff(api_of(crowd, clerk), repository)
    repository.close()


@pytest.mark.skipif(not SOAK, reason="takes many minutes: CLERKMAP_SOAK=1")
def test_the_whole_of_it(tmp_path: Path) -> None:
    """As large as promised, interrupted five times, with life going on, webhooks in disorder, and Clerk stumbling."""
    repository = SqliteRepository.open(tmp_path / "app.db", durable=False)
    world = World.of(83, people=200_000, organizations=5_000, repository=repository)
    clerk, companies = world.clerk, list(world.clerk.organizations.values())
    with clerk.silence():
        for number, person in enumerate(list(clerk.users.values())[:100_000]):
            clerk.add_member(companies[(number + 1) % len(companies)], person)
    life = Life(world, repository, 83)
    life.most = 1_000
    clerk.faults.between_pages = life
    for fault in ("cut_before", "cut_within", "cut_after", "server_error", "proxy_error", "too_many"):
        setattr(clerk.faults, fault, 0.03)
    for number in range(1, 6):
        left = [number * 60]

        def interrupt(_: object, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            backfill(world.api, repository, progress=interrupt)
    report = backfill(world.api, repository)
    assert (report.complete, report.resumed) == (True, True)
    clerk.faults.between_pages = None
    life.hear()
    assert everything_stored(repository, clerk.instance.name) == everything_said(clerk)
    assert not diff(world.api, repository)
    repository.close()
