"""A backfill of many: memory stays flat, a killed process loses nothing, and the limits say how long it takes.

`CLERKMAP_SOAK=1` makes the whole of it 200,000 people, 5,000 organizations and 300,000 memberships, and reads a
million people where it reads a hundred thousand otherwise.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import deque
from pathlib import Path
from random import Random
from typing import Any

import pytest

from backfill_crowd import Crowd, CrowdTransport, api_of, hurried, work
from backfill_world import World, everything_said, everything_stored
from clerkmap import Repository
from clerkmap.clerk import ClerkApi
from clerkmap.clerk.budget import DEVELOPMENT, PRODUCTION, Budget
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.sync import backfill, diff
from clerkmap.testing import Clock, FakeClerk
from clerkmap.testing.fake.api.faults import FATES
from killed import Child
from test_backfill_weather import Life
from uvicorn_server import serving

SOURCE = Path(__file__).parents[2] / "src"
PATIENCE = 120.0  # seconds after which a test that hangs is ended
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
    size = 2 if SOAK else 1
    few = peak_of(Crowd(size * 1_000, 10, 300), tmp_path / "few.db")
    many = peak_of(Crowd(size * 10_000, 100, 3_000), tmp_path / "many.db")
    assert many < few * 1.3 + 1_000_000


class Nowhere(MemoryRepository):
    """Forgets all that is put. For how often Clerk is asked, and when, it is as good as any."""

    def put(self, records: Any) -> list[Any]:
        return []


@pytest.mark.parametrize(("limit", "seconds"), [(PRODUCTION, 26 if SOAK else 0), (DEVELOPMENT, 284 if SOAK else 27)])
def test_a_million(limit: int, seconds: int) -> None:
    """A page for every 500, and six other questions: the keys, two counts, and the end of the list of each kind.

    The limits alone make a million half a minute in production, and less than five for a development instance. No
    window of ten seconds has more than nine tenths of what is allowed.
    """
    people = 1_000_000 if SOAK else 100_000
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

    transport = CrowdTransport(Bare(people), clerk, count)
    budget = Budget(limit, clock)
    api = ClerkApi(clerk.instance, transport=transport, budget=budget, clock=clock, sleep=clock.advance)
    report = backfill(api, Nowhere(), clock=clock)
    assert (report.listed["users"], report.complete) == (people, True)
    assert transport.requests == people // 500 + 6
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


class Sync:
    """`clerkmap sync`, a process of its own, to be killed or waited for. `peak` is the most memory it ever had."""

    def __init__(self, clerk: FakeClerk, address: tuple[str, int], path: Path) -> None:
        host, port = address
        settings = {"CLERK_API_URL": f"http://{host}:{port}", "CLERKMAP_DATABASE_URL": f"sqlite:///{path}"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "clerkmap", "sync", "--json", "--patience", "3600"],
            env={**os.environ, **clerk.environment(), **settings, "PYTHONPATH": str(SOURCE)},
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self._pipe = self._process.stdout
        self.peak = 0

    def kill(self) -> None:
        """As a power cut would. It must have been at work."""
        self._look()
        self._process.kill()
        assert self._process.wait(PATIENCE) == -signal.SIGKILL
        self._pipe.close()

    def report(self) -> dict[str, Any]:
        """What it says when it has come to its end, which must be a good one."""
        while self._process.poll() is None:
            self._look()
            time.sleep(0.02)
        assert self._process.returncode == 0
        with self._pipe:
            report: dict[str, Any] = json.loads(self._pipe.read())
        return report

    def _look(self) -> None:
        """At its own memory: what the system counts for children includes that of whoever started them."""
        status = Path(f"/proc/{self._process.pid}/status")
        if status.exists() and (found := re.search(r"VmHWM:\s+([0-9]+) kB", status.read_text())):  # only Linux has it
            self.peak = int(found[1]) * 1024


class Killed:
    """Lets life go on between two pages, and tells when so many have been asked for that it is time to kill."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._left = 0
        self.is_time = threading.Event()

    def after(self, pages: int) -> threading.Event:
        """Is set when so many more have been asked for."""
        self._left = pages
        self.is_time.clear()
        return self.is_time

    def __call__(self, request: object) -> None:
        self._life(request)
        self._left -= 1
        if self._left == 0:
            self.is_time.set()


def peopled(seed: int, people: int, organizations: int, repository: Repository) -> World:
    """A Clerk with half again as many memberships as people, each with two organizations or one."""
    world = World.of(seed, people, organizations, repository)
    with world.clerk.silence():
        companies = list(world.clerk.organizations.values())
        for number, person in enumerate(list(world.clerk.users.values())[: people // 2]):
            world.clerk.add_member(companies[(number + 1) % organizations], person)
    return world


def peak_of_a_process(people: int, organizations: int, path: Path) -> int:
    """The most memory that a whole run takes, in bytes."""
    SqliteRepository.open(path).close()
    clerk = peopled(84, people, organizations, MemoryRepository()).clerk
    with serving(clerk.app, log_level="critical") as address:
        sync = Sync(clerk, address, path)
        assert sync.report()["complete"]
    return sync.peak


def test_the_whole_of_it(tmp_path: Path) -> None:
    """`clerkmap sync`, killed five times at any moment, while life goes on, webhooks come in disorder, and a sixth of
    all answers fail. It ends equal to Clerk, and takes no more memory for ten times as many people."""
    people, organizations = (200_000, 5_000) if SOAK else (3_000, 75)
    began = time.monotonic()
    few = peak_of_a_process(max(people // 10, 1_000), max(organizations // 10, 25), tmp_path / "few.db")
    path, random = tmp_path / "app.db", Random(83)
    repository = SqliteRepository.open(path, durable=False)
    world = peopled(83, people, organizations, repository)
    clerk, life = world.clerk, Life(world, repository, 83)
    life.most = 1_000 if SOAK else 10
    killed = clerk.faults.between_pages = Killed(life)
    for fault in FATES:
        setattr(clerk.faults, fault, 0.03)
    pages = (people + organizations + people * 3 // 2) // 500
    peaks: list[int] = []
    ready = time.monotonic()
    with serving(clerk.app, log_level="critical") as address:  # of answers that are cut, it would tell
        for _ in range(5):
            is_time = killed.after(pages // 7)
            sync = Sync(clerk, address, path)
            assert is_time.wait(600)
            time.sleep(random.uniform(0, 0.1))  # somewhere on the way to the next page
            sync.kill()
            peaks.append(sync.peak)
        sync = Sync(clerk, address, path)
        report = sync.report()
        peaks.append(sync.peak)
    synced = time.monotonic()
    for fault in FATES:
        setattr(clerk.faults, fault, 0)
    clerk.faults.between_pages = None
    life.hear()
    assert (report["complete"], report["resumed"]) == (True, True)
    assert everything_stored(repository, clerk.instance.name) == everything_said(clerk)
    assert not diff(world.api, repository)
    repository.close()
    assert max(peaks) < few * 1.1 + 10_000_000
    print(
        f"made in {ready - began:.0f} s, copied in {synced - ready:.0f} s; {few:,} bytes of memory for a tenth, {peaks}"
    )
