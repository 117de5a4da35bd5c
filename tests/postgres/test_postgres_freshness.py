"""What one process commits, another is shown within a second: at 500 changes a second, and whatever befalls listening.

The delay is the longest time after a commit at which somebody still asked and was shown what was there before it.
`CLERKMAP_SOAK=1` makes the measurement long.
"""

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from clerkmap.core.records import key_of
from clerkmap.repositories import AsyncPostgresRepository, PostgresRepository
from clerkmap.testing import Clock
from freshness_faults import cutting, stalling
from freshness_writers import Reader, World, number_of, until, write
from postgres_server import postgres

SECONDS = 300 if os.environ.get("CLERKMAP_SOAK") else 4
Keys = Collection[str] | None


@contextmanager
def listening(how: str, name: str) -> Iterator[bool | str]:
    """The option `listen`, and what befalls who listens."""
    own = make_conninfo(postgres(), application_name=name)
    if how == "cut":
        with cutting(name) as ended:
            yield own
        assert len(ended) >= SECONDS / 3
    elif how == "stalled":
        with stalling(own) as (conninfo, stalled):
            timers = [threading.Timer(at, stalled.set) for at in range(1, SECONDS, 3)]
            timers += [threading.Timer(at + 1.7, stalled.clear) for at in range(1, SECONDS, 3)]
            for timer in timers:
                timer.start()
            yield conninfo
            for timer in timers:
                timer.join()
    else:
        yield how == "listening"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["listening", "cut", "stalled", "not listening"])
def test_a_change_is_seen_within_a_second(postgres_schema: str, how: str) -> None:
    """At 500 changes a second, no request shows anything that was overwritten more than a second ago."""
    world = World()
    context = multiprocessing.get_context("spawn")
    theirs, said = context.Pipe(duplex=False)
    with listening(how, postgres_schema) as listen:
        repository = PostgresRepository.open(postgres(), schema=postgres_schema, listen=listen)
        reader = Reader(world, world.resolver(repository))
        reader.look()
        writer = context.Process(target=write, args=(postgres(), postgres_schema, listen is not False, SECONDS, said))
        writer.start()
        said.close()
        while not theirs.poll():
            reader.look()
            time.sleep(0.005)
        commits, rate = theirs.recv()
        ends = time.monotonic() + 1
        while time.monotonic() < ends:
            reader.look()
            time.sleep(0.005)
        writer.join()
        repository.close()
    theirs.close()
    assert writer.exitcode == 0
    delay = reader.delay(commits)
    print(
        f"{how}: {delay * 1000:.0f} ms at {rate:.0f} changes a second; {len(commits):,} concerned the reader, which "
        f"asked {reader.asked:,} times, of which memory answered {reader.remembered / reader.asked:.0%}, and was held "
        f"up for {reader.longest_pause * 1000:.0f} ms at most"
    )
    assert commits
    assert reader.remembered > reader.asked / 2  # who remembers nothing is never late
    assert delay - reader.longest_pause < 1.0


@contextmanager
def opened(schema: str) -> Iterator[PostgresRepository]:
    """A repository with a channel of its own: other tests write at the same time."""
    repository = PostgresRepository.open(postgres(), schema=schema, prefix=f"{schema}_")
    yield repository
    repository.close()


@contextmanager
def hearing(schema: str) -> Iterator[tuple[PostgresRepository, list[Keys]]]:
    """One that listens by now, and what its watchers are told."""
    told: list[Keys] = []

    def listens() -> bool:
        told.clear()
        here.poll()  # tells everybody to look again, unless what listens is believed
        return told == []

    with opened(schema) as here:
        here.listeners.watch(told.append)
        until(listens)
        yield here, told


class Fence:
    """A change of somebody else: whatever was to be heard before it, has been heard when it has."""

    def __init__(self, world: World, there: PostgresRepository, told: list[Keys]) -> None:
        self._world, self._there, self._told, self._number = world, there, told, 0

    def told_before(self) -> list[Keys]:
        """What has been told until now."""
        self._number += 1
        self._there.put([self._world.stranger(self._number, 1)])
        mine = [key_of(f"user_stranger{self._number}")]
        until(lambda: mine in self._told)
        told = self._told[: self._told.index(mine)]
        self._told.clear()
        return told


def test_a_change_drops_one_standing(postgres_schema: str) -> None:
    """Elsewhere, too, only the person that a change is about is looked up again."""
    world = World()
    with hearing(postgres_schema) as (here, told), opened(postgres_schema) as there:
        fence, resolver = Fence(world, there, told), world.resolver(here, monotonic=Clock(0))
        for token in world.tokens:
            resolver.resolve(token)
        fence.told_before()  # what we have written ourselves is heard, too
        for token in world.tokens:
            resolver.resolve(token)
        there.put([world.named(3, 1)])
        assert fence.told_before() == [[key_of(world.people[3].id)]]
        remembered = [resolver.resolve_nowait(token) is not None for token in world.tokens]
        assert remembered == [person != 3 for person in range(len(world.tokens))]
        assert number_of(resolver.resolve(world.tokens[3])) == 1


def test_what_is_undone_is_not_told(postgres_schema: str) -> None:
    """A transaction of yours is heard of when you commit, and never if you roll it back."""
    world = World()
    with (
        hearing(postgres_schema) as (_, told),
        opened(postgres_schema) as there,
        psycopg.connect(postgres()) as connection,
    ):
        fence = Fence(world, there, told)
        for end, heard in ((connection.rollback, []), (connection.commit, [[key_of(world.people[0].id)]])):
            there.within(connection).put([world.named(0, 1)])
            assert fence.told_before() == []
            end()
            assert fence.told_before() == heard


def test_sql_of_your_own(postgres_schema: str) -> None:
    """An empty notification makes everybody look again."""
    world = World()
    with (
        hearing(postgres_schema) as (here, told),
        opened(postgres_schema) as there,
        psycopg.connect(postgres(), autocommit=True) as connection,
    ):
        fence, resolver = Fence(world, there, told), world.resolver(here, monotonic=Clock(0))
        assert [resolver.resolve(token).user.role for token in world.tokens] == [None] * len(world.tokens)
        fence.told_before()
        connection.execute(f"UPDATE {postgres_schema}.{postgres_schema}_users SET role = 'staff'".encode())
        connection.execute(f"NOTIFY {postgres_schema}_changes".encode())
        assert fence.told_before() == [None]
        assert [resolver.resolve(token).user.role for token in world.tokens] == ["staff"] * len(world.tokens)


def test_a_watcher_that_fails_leaves_the_resolver_right(postgres_schema: str) -> None:
    """One of yours that raises at each change is logged; what is resolved stays fresh, and nothing is refused."""
    world, raised = World(), [0]

    def fail(keys: Keys) -> None:
        if keys is not None:
            raised[0] += 1
            raise RuntimeError("a watcher of yours")

    with hearing(postgres_schema) as (here, _), opened(postgres_schema) as there:
        resolver = world.resolver(here)
        here.listeners.watch(fail)
        there.put([world.named(0, 1)])
        resolver.resolve(world.tokens[0])
        for number in range(2, 10):
            there.put([world.named(0, number)])
            committed_at = asked_at = time.monotonic()
            while number_of(resolver.resolve(world.tokens[0])) < number:
                assert asked_at - committed_at < 1.0
                time.sleep(0.005)
                asked_at = time.monotonic()
    assert raised[0] > 0


def test_in_async_code(postgres_schema: str) -> None:
    """An asynchronous repository hears as well, and exactly."""
    world = World()

    async def use(there: PostgresRepository) -> None:
        here = AsyncPostgresRepository.open(postgres(), schema=postgres_schema, prefix=f"{postgres_schema}_")
        resolver = world.resolver(here)
        told: list[Keys] = []
        here.listeners.watch(told.append)
        changes = 0
        while [key_of(world.people[0].id)] not in told:
            changes += 1
            there.put([world.named(0, changes)])
            committed_at = asked_at = time.monotonic()
            while number_of(await resolver.aresolve(world.tokens[0])) < changes:
                assert asked_at - committed_at < 1.0
                await asyncio.sleep(0.005)
                asked_at = time.monotonic()
        await here.close()

    with opened(postgres_schema) as there:
        asyncio.run(asyncio.wait_for(use(there), 20))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork(postgres_schema: str) -> None:
    """A child has a listener of its own, and its parent's goes on."""
    quiet = ["-W", "ignore::DeprecationWarning"]  # Python warns of forks with threads, which is what this is about
    program = Path(__file__).parents[1] / "support" / "forked_listeners.py"
    done = subprocess.run(
        [sys.executable, *quiet, str(program), postgres(), postgres_schema],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "[0, 0, 0, 0, 0]\n"
    assert done.stderr == ""
