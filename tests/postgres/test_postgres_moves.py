"""On PostgreSQL, people who lead to one user, and who are moved, while others write about them: all of it happens."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from random import Random

import psycopg
import pytest

from clerkmap import LinkRefused, Repository
from clerkmap.core.records import ClerkUser
from clerkmap.repositories import MemoryRepository, PostgresRepository
from clerkmap.testing.samples import ANN, BEA, HERE, THERE, member, person
from postgres_deadlocks import cluster as cluster
from postgres_deadlocks import deadlocks, gone
from postgres_deadlocks import uri as uri
from postgres_racers import together

SEED = os.environ.get("CLERKMAP_SEED", "1")
ROUNDS = 500 if os.environ.get("CLERKMAP_SOAK") else 40

pytestmark = pytest.mark.slow


def test_two_people_of_one_user(uri: str) -> None:
    """Who writes of one of them, and who writes of both, do not wait for each other: on your connections, it would
    be your transaction that gave way."""
    begun, go_on = threading.Event(), threading.Event()

    def pausing(record: ClerkUser) -> None:
        """A linker that knows nobody. It is asked in the middle of the put."""
        begun.set()
        assert go_on.wait(60)

    repository = PostgresRepository.open(uri, linker=pausing)
    with closing(repository), psycopg.connect(uri) as one, psycopg.connect(uri) as other:
        for instance in (HERE, THERE):
            repository.link(instance, ANN, "mine", shared=True)
        both = [person(at=2), person(BEA, instance="nobody's"), person(at=2, instance=THERE)]

        def write() -> None:
            repository.within(one).put(both)
            one.commit()

        def write_of_one() -> None:
            assert begun.wait(60)
            repository.within(other).put([person(at=3, instance=THERE)])
            other.commit()

        def look_on() -> None:
            with psycopg.connect(uri, autocommit=True) as look:
                while look.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (0,):
                    time.sleep(0.01)
            go_on.set()

        together(write, write_of_one, look_on)
    assert deadlocks(uri) == 0


def test_identities_that_are_swapped(uri: str) -> None:
    """Two users' identities are relinked in opposite directions, and unlinked, at once: none is lost, none is torn."""
    identities, start, refused = ("user_0", "user_1", "user_2"), threading.Barrier(4), list[LinkRefused]()

    def swap(repository: PostgresRepository, number: int) -> None:
        random = Random(f"{SEED}/{number}")
        for _ in range(ROUNDS):
            clerk_id = identities[number % 3]
            standing = repository.find(HERE, clerk_id)
            assert standing is not None
            start.wait(60)
            try:
                if random.random() < 0.2:
                    repository.unlink(HERE, clerk_id, standing.user.id)
                else:
                    to = random.choice([f"mine-{each}" for each in range(2)])
                    repository.relink(HERE, clerk_id, standing.user.id, to=to)
            except LinkRefused as error:  # somebody else had it moved in between
                refused.append(error)

    with closing(PostgresRepository.open(uri, timeout=30)) as repository:
        for number, clerk_id in enumerate(identities):
            repository.put([person(clerk_id)])
            standing = repository.find(HERE, clerk_id)
            assert standing is not None
            repository.link(HERE, f"user_stays_{number}", f"mine-{number}")
        began = time.perf_counter()
        together(*(partial(swap, repository, number) for number in range(4)))
        print(f"{4 * ROUNDS} moves, {len(refused)} refused, {time.perf_counter() - began:.1f} seconds")
        assert len(refused) <= 2 * ROUNDS
        for clerk_id in identities:
            standing = repository.find(HERE, clerk_id)
            assert standing is not None
            assert standing.user.name == person(clerk_id).first_name
            assert standing.user.deleted_at is None
    with psycopg.connect(uri, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM clerkmap_identities").fetchone() == (6,)
    print(f"{deadlocks(uri)} deadlocks were resolved")


def test_moves_that_race_puts(uri: str) -> None:
    """An identity is moved while it is deleted, told of anew, and its new user loses another one: all of it happens."""
    met = threading.Barrier(4)
    team = [person(f"user_team_{number}") for number in range(25)]  # for the statements that write many

    def moving(repository: Repository, number: int) -> None:
        repository.relink(HERE, f"user_{number}", f"mine-{number}", to=f"theirs-{number}")

    def deleting(repository: Repository, number: int) -> None:
        repository.put([gone(HERE, f"user_{number}")])

    def telling(repository: Repository, number: int) -> None:
        news = [person(f"user_{kind}{number}", at=5, first_name="Ann") for kind in ("", "stays_", "goes_")]
        repository.put([*news, *team])

    def losing(repository: Repository, number: int) -> None:
        repository.put([gone(HERE, f"user_goes_{number}"), member(user=f"user_goes_{number}")])

    def run(repository: Repository, do: Callable[[Repository, int], None]) -> None:
        for number in range(ROUNDS):
            met.wait(60)
            do(repository, number)

    memory, racing = MemoryRepository(clock=lambda: 1.0), (moving, deleting, telling, losing)
    with closing(PostgresRepository.open(uri, timeout=30, clock=lambda: 1.0)) as repository:
        for number in range(ROUNDS):
            for each in (repository, memory):
                each.link(HERE, f"user_{number}", f"mine-{number}")
                each.link(HERE, f"user_stays_{number}", f"mine-{number}", shared=True)
                each.link(HERE, f"user_goes_{number}", f"theirs-{number}")
            for do in racing:
                do(memory, number)
        together(*(partial(run, repository, do) for do in racing))
        for number in range(ROUNDS):
            for id in (f"mine-{number}", f"theirs-{number}"):
                mine, theirs = repository.user(id), memory.user(id)
                assert mine is not None
                assert mine == theirs
                assert repository.export(id) == memory.export(id)
    print(f"{4 * ROUNDS} transactions, {deadlocks(uri)} deadlocks were resolved")
