"""Who writes and who reads while `test_postgres_freshness` measures: a process at a given rate, and a resolver."""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from clerkmap import AsyncRepository, ClerkUser, Principal, Repository, Resolver, Verifier
from clerkmap.core.records import FULL
from clerkmap.repositories import PostgresRepository
from clerkmap.testing import Clock, FakeClerk
from sqlalchemy_ways import racer

NOW = 1_790_000_000
RATE = 500  # changes a second
THREADS, BATCH = 4, 5
PEOPLE = 20  # whose requests are resolved; the other changes are about people nobody asks for
Commit = tuple[int, int, float]  # of a person's change: whose, which, and when it had been committed


class World:
    """The same people and tokens in each process."""

    def __init__(self) -> None:
        self.clerk = FakeClerk(seed=4, clock=Clock(NOW))
        self.people = [self.clerk.create_user() for _ in range(PEOPLE)]
        self.tokens = [self.clerk.token(person) for person in self.people]

    def resolver(
        self, repository: Repository | AsyncRepository, monotonic: Callable[[], float] = time.monotonic
    ) -> Resolver:
        verifier = Verifier(self.clerk.instance, clock=self.clerk.clock)
        return Resolver(self.clerk.instance, repository, verifier=verifier, monotonic=monotonic)

    def named(self, person: int, number: int) -> ClerkUser:
        """A change of one of the people, which shows in their name."""
        return self._record(self.people[person].id, number)

    def stranger(self, person: int, number: int) -> ClerkUser:
        return self._record(f"user_stranger{person}", number)

    def _record(self, clerk_id: str, number: int) -> ClerkUser:
        name = self.clerk.instance.name
        return ClerkUser.make(FULL, name, clerk_id, updated_at=number, observed_at=number, first_name=f"N {number}")


def number_of(principal: Principal) -> int:
    """Which change of a person is shown. None has been made at first."""
    return int((principal.user.name or "N 0").split()[1])


def write(conninfo: str, schema: str, listen: bool, seconds: float, said: Connection) -> None:
    """What a process does: write at the rate for so long, and tell at the end what was committed, and when."""
    _write(PostgresRepository.open(conninfo, schema=schema, listen=listen), seconds, said)


def write_on_an_engine(way: str, url: str, place: dict[str, Any], seconds: float, said: Connection) -> None:
    """The same on an engine of SQLAlchemy."""
    _write(racer(way, url, THREADS, **place), seconds, said)


def _write(repository: Repository, seconds: float, said: Connection) -> None:
    world, commits, counts = World(), list[Commit](), [0] * THREADS
    begun = time.monotonic()

    def run(thread: int) -> None:
        mine = range(thread, PEOPLE, THREADS)
        for number in range(1, int(seconds * RATE / THREADS / BATCH) + 1):
            time.sleep(max(0.0, begun + number * BATCH * THREADS / RATE - time.monotonic()))
            person = mine[number % len(mine)]
            batch = [world.stranger(thread * 100 + (number * BATCH + each) % 100, number) for each in range(BATCH - 1)]
            repository.put([*batch, world.named(person, number)])
            commits.append((person, number, time.monotonic()))
            counts[thread] += BATCH

    threads = [threading.Thread(target=run, args=(thread,)) for thread in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said.send((commits, sum(counts) / (time.monotonic() - begun)))
    repository.close()


def until(holds: Callable[[], object], seconds: float = 120) -> None:
    """Wait for what is to come about, on a busy machine too."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it does not come about"
        time.sleep(0.01)


class Reader:
    """Resolves everybody's requests again and again, and notes when it was shown something new."""

    def __init__(self, world: World, resolver: Resolver) -> None:
        self.asked = self.remembered = 0
        self.longest_pause = 0.0  # of its own: what a busy machine adds
        self._world, self._resolver = world, resolver
        self._shown: list[list[tuple[float, int]]] = [[] for _ in world.people]  # until when it was shown which
        self._last_round = time.monotonic()

    def look(self) -> None:
        """One request of each of the people."""
        begun = time.monotonic()
        self.longest_pause, self._last_round = max(self.longest_pause, begun - self._last_round), begun
        for token, shown in zip(self._world.tokens, self._shown, strict=True):
            at = time.monotonic()
            principal = self._resolver.resolve_nowait(token)
            self.asked += 1
            self.remembered += principal is not None
            number = number_of(principal or self._resolver.resolve(token))
            if shown and shown[-1][1] == number:
                shown.pop()
            shown.append((at, number))

    def shows(self, commits: list[Commit]) -> bool:
        """Look once more, and return whether each of the people is shown as the last commit left them."""
        self.look()
        last = {whose: number for whose, number, _ in sorted(commits)}
        return all(self._shown[whose][-1][1] == number for whose, number in last.items())

    def delay(self, commits: list[Commit]) -> float:
        """The longest time after a commit at which somebody asked and was not shown it."""
        longest = 0.0
        for person, shown in enumerate(self._shown):
            made = sorted((number, at) for whose, number, at in commits if whose == person)
            for asked_at, number in shown:
                next_one = bisect_left(made, (number + 1, 0.0))
                if next_one < len(made):
                    longest = max(longest, asked_at - made[next_one][1])
        return longest
