"""After a change is committed, no request in this process sees the old state; in another process, within a second."""

import asyncio
import multiprocessing
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from clerkmap import ClerkUser, LockedOut, Repository, Resolver, Verifier
from clerkmap.core.records import FULL
from clerkmap.errors import RepositoryUnavailable
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.repositories.sqlite.connections import POLL_EVERY
from clerkmap.testing import Clock, FakeClerk

NOW = 1_790_000_000


class World:
    """A person and a token, the same in each process."""

    def __init__(self) -> None:
        self.clerk = FakeClerk(seed=2, clock=Clock(NOW))
        self.ann = self.clerk.create_user()
        self.token = self.clerk.token(self.ann)
        self.monotonic = Clock(0)

    def resolver(self, repository: Repository) -> Resolver:
        verifier = Verifier(self.clerk.instance, clock=self.clerk.clock)
        return Resolver(self.clerk.instance, repository, verifier=verifier, monotonic=self.monotonic)

    def named(self, number: int) -> ClerkUser:
        name = self.clerk.instance.name
        return ClerkUser.make(
            FULL, name, self.ann.id, updated_at=number, observed_at=number, first_name=f"Ann {number}"
        )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_no_request_in_this_process_sees_the_old_state(kind: str, tmp_path: Path) -> None:
    """While a writer commits change after change, no reader is shown less than was committed before it asked."""
    world = World()
    repository = MemoryRepository() if kind == "memory" else SqliteRepository.open(tmp_path / "app.db")
    resolver = world.resolver(repository)
    world.monotonic.advance(-1e9)  # no poll will ever be due: the watchers alone must do
    committed, done = [0], threading.Event()
    stale: list[tuple[int, str | None]] = []
    read = [0]

    def write() -> None:
        for number in range(1, 150):
            repository.put([world.named(number)])
            committed[0] = number
        done.set()

    def watch() -> None:
        while not done.is_set():
            at_least = committed[0]
            principal = resolver.resolve_nowait(world.token) or resolver.resolve(world.token)
            shown = int((principal.user.name or "Ann 0").split()[1])
            read[0] += 1
            if shown < at_least:
                stale.append((at_least, principal.user.name))

    threads = [threading.Thread(target=watch) for _ in range(4)] + [threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    repository.close()

    assert stale == []
    assert read[0] > 150


def test_a_change_from_elsewhere_is_seen_at_the_next_poll(tmp_path: Path) -> None:
    """What another connection commits is seen once the time between two polls has passed, and never without asking."""
    world = World()
    here, there = (SqliteRepository.open(tmp_path / "app.db") for _ in range(2))
    resolver = world.resolver(here)
    resolver.resolve(world.token)
    world.monotonic.advance(POLL_EVERY - 0.01)
    assert resolver.resolve_nowait(world.token) is not None

    there.put([world.named(1)])
    world.monotonic.advance(0.02)

    assert resolver.resolve_nowait(world.token) is None
    assert asyncio.run(resolver.aresolve(world.token)).user.name == "Ann 1"
    there.put([ClerkUser.deleted(world.clerk.instance.name, world.ann.id, observed_at=1)])
    world.monotonic.advance(POLL_EVERY)
    with pytest.raises(LockedOut):
        resolver.resolve(world.token)
    here.close()
    there.close()


def test_without_a_database_nothing_is_fresh(tmp_path: Path) -> None:
    """When the database cannot be asked, what is remembered is not served beyond its time."""
    world = World()
    repository = SqliteRepository.open(tmp_path / "app.db")
    resolver = world.resolver(repository)
    resolver.resolve(world.token)

    repository.close()
    world.monotonic.advance(POLL_EVERY)

    for _ in range(3):
        assert resolver.resolve_nowait(world.token) is None
        with pytest.raises(RepositoryUnavailable):
            resolver.resolve(world.token)


def _ask_until_changed(path: Path, signal: Path) -> float:
    """In another process: keep asking until the deletion shows. Return when the last admitted request began.

    When the refusal comes depends on how busy the machine is; when the last admitted request began does not.
    """
    world = World()
    repository = SqliteRepository.open(path)
    resolver = Resolver(world.clerk.instance, repository, verifier=Verifier(world.clerk.instance, clock=Clock(NOW)))
    resolver.resolve(world.token)
    signal.touch()
    last = began = time.time()
    ends = began + 60
    try:
        while began < ends:
            last, began = began, time.time()
            resolver.resolve_nowait(world.token) or resolver.resolve(world.token)
            time.sleep(0.005)
    except LockedOut:
        return last
    finally:
        repository.close()
    return float("inf")


@pytest.mark.slow
def test_another_process_sees_it_within_a_second(tmp_path: Path) -> None:
    """A person deleted here is locked out there, in a process that has them in memory."""
    world = World()
    repository = SqliteRepository.open(tmp_path / "app.db")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        signals = [tmp_path / "one", tmp_path / "two"]
        asked = [pool.submit(_ask_until_changed, tmp_path / "app.db", signal) for signal in signals]
        while not all(signal.exists() for signal in signals) and not any(future.done() for future in asked):
            time.sleep(0.01)
        repository.put([ClerkUser.deleted(world.clerk.instance.name, world.ann.id, observed_at=1)])
        committed = time.time()
        seen = [future.result() for future in asked]
    repository.close()

    assert max(seen) - committed < 1.0
