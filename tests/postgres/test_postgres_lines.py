"""Requests that wait for a connection: each is answered, unless nothing comes back, or too many wait already."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from clerkmap import Change, RepositoryUnavailable, Resolver
from clerkmap.errors import ConfigurationError
from clerkmap.repositories import AsyncPostgresRepository, PostgresRepository
from clerkmap.repositories.lines import AsyncLine
from clerkmap.repositories.postgres.pools import OpenedPool
from clerkmap.testing import FakeClerk
from clerkmap.testing.samples import ANN, HERE, person
from forking import run_script
from freshness_writers import until
from postgres_server import postgres, url_of_a_new_schema

Hook = Callable[[Change, Any], object]


def opened(schema: str, hook: Hook, **options: Any) -> PostgresRepository:
    return PostgresRepository.open(postgres(), schema=schema, listen=False, hooks=[hook], **options)


def aopened(schema: str, hook: Hook, **options: Any) -> AsyncPostgresRepository:
    return AsyncPostgresRepository.open(postgres(), schema=schema, listen=False, hooks=[hook], **options)


async def outcome(work: Awaitable[object]) -> str:
    try:
        await work
    except RepositoryUnavailable as error:
        return str(error.args[0]).split(",")[0].lstrip("0123456789 ")
    return "answered"


class Authenticator:
    """A hook that holds the connection of the first put until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def __call__(self, change: Change, tx: object) -> None:
        self.reached.set()
        await self.opened.wait()


def test_tasks_wait_for_longer_than_the_timeout(postgres_schema: str) -> None:
    """While connections come back, the last in line is answered too, however long that takes."""

    async def slow(change: Change, tx: object) -> None:
        await asyncio.sleep(0.05)

    async def run() -> Counter[str]:
        repository = aopened(postgres_schema, slow, pool_size=1, timeout=2)
        try:
            puts = (outcome(repository.put([person(f"user_{number}")])) for number in range(80))
            return Counter(await asyncio.gather(*puts))
        finally:
            await repository.close()

    assert asyncio.run(run()) == {"answered": 80}


def test_threads_wait_for_longer_than_the_timeout(postgres_schema: str) -> None:
    """The same for threads."""
    pause, outcomes = threading.Event(), list[str]()
    repository = opened(postgres_schema, lambda change, tx: pause.wait(0.05), pool_size=1, timeout=2)

    def put(number: int) -> None:
        try:
            repository.put([person(f"user_{number}")])
        except RepositoryUnavailable as error:
            outcomes.append(str(error))
        else:
            outcomes.append("answered")

    threads = [threading.Thread(target=put, args=(number,)) for number in range(80)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    repository.close()
    assert Counter(outcomes) == {"answered": 80}


def test_tasks_beyond_the_bounds(postgres_schema: str) -> None:
    """Beyond `max_waiting` a task is refused at once, and after a silence all are; then the pool goes on."""

    async def run() -> None:
        authenticator = Authenticator()
        repository = aopened(postgres_schema, authenticator, pool_size=1, max_waiting=2, timeout=0.4)
        holder = asyncio.create_task(repository.put([person("user_holder")]))
        await authenticator.reached.wait()
        finds = [outcome(repository.find(HERE, ANN)) for _ in range(5)]
        assert Counter(await asyncio.gather(*finds)) == {
            "requests are already waiting for a connection: see max_waiting": 3,
            "all connections have been busy for 0.4 seconds": 2,
        }
        authenticator.opened.set()
        await holder
        assert await repository.find(HERE, ANN) is None
        await repository.close()

    asyncio.run(run())


def test_threads_beyond_the_bounds(postgres_schema: str) -> None:
    """The same for threads."""
    reached, opening, refused = threading.Event(), threading.Event(), list[str]()

    def hold(change: Change, tx: object) -> None:
        reached.set()
        opening.wait()

    repository = opened(postgres_schema, hold, pool_size=1, max_waiting=2, timeout=0.4)

    def find() -> None:
        try:
            repository.find(HERE, ANN)
        except RepositoryUnavailable as error:
            refused.append(str(error))

    holder = threading.Thread(target=repository.put, args=([person("user_holder")],))
    holder.start()
    reached.wait()
    threads = [threading.Thread(target=find) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 5
    assert sum("max_waiting" in text for text in refused) == 3
    opening.set()
    holder.join()
    assert repository.find(HERE, ANN) is None
    repository.close()


def test_tasks_that_are_cancelled_in_line(postgres_schema: str) -> None:
    """Whoever hangs up in line, also in the moment of its turn, leaves the turn to the others."""

    async def run() -> None:
        authenticator = Authenticator()
        repository = aopened(postgres_schema, authenticator, pool_size=1, timeout=20)
        holder = asyncio.create_task(repository.put([person("user_holder")]))
        await authenticator.reached.wait()
        waiters = [asyncio.create_task(outcome(repository.find(HERE, ANN))) for _ in range(50)]
        await asyncio.sleep(0)
        for waiter in waiters[::3]:
            waiter.cancel()
        authenticator.opened.set()
        assert len(await holder) == 1
        done = await asyncio.gather(*waiters, return_exceptions=True)
        assert [done[number] for number in range(50) if number % 3] == ["answered"] * 33
        await repository.close()

    asyncio.run(run())


def test_a_task_that_is_cancelled_in_the_moment_of_its_turn() -> None:
    """A turn that was given to a task, and not taken, is the next one's."""

    async def run() -> None:
        line = AsyncLine(lambda: 1, 20, 10)
        await line.enter()
        first, second = (asyncio.create_task(line.enter()) for _ in range(2))
        await asyncio.sleep(0)
        line.leave(moved=True)
        first.cancel()
        await asyncio.wait_for(second, 20)
        assert first.cancelled()

    asyncio.run(run())


def test_known_callers_before_strangers() -> None:
    """Who is to be served first waits for others of that kind alone, in threads and in tasks."""

    async def run() -> list[str]:
        line, order = AsyncLine(lambda: 1, 20, 10), list[str]()
        await line.enter()

        async def wait(name: str) -> None:
            await line.enter(first=name.startswith("known"))
            order.append(name)
            line.leave(moved=True)

        tasks = [asyncio.create_task(wait(name)) for name in ("stranger", "known 1", "other", "known 2")]
        await asyncio.sleep(0)
        line.leave(moved=True)
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(run()) == ["known 1", "known 2", "stranger", "other"]


def test_known_callers_beside_a_crowd(postgres_schema: str) -> None:
    """When memory is dropped in a rush, a known caller is not looked up behind all the strangers."""
    clerk, order = FakeClerk(1), list[str]()

    async def run() -> None:
        authenticator = Authenticator()
        authenticator.opened.set()
        repository = aopened(postgres_schema, authenticator, pool_size=1, timeout=20)
        resolver = Resolver(clerk.instance, repository)
        known, *crowd = (clerk.token(clerk.create_user()) for _ in range(21))
        another = Resolver(clerk.instance, repository)
        for token in crowd:  # who are in the repository, and new to the first resolver: one look-up each
            await another.aresolve(token)
        await resolver.aresolve(known)
        repository.listeners.keys_changed(None)
        authenticator.opened.clear()
        authenticator.reached.clear()

        async def resolve(name: str, token: str) -> None:
            await resolver.aresolve(token)
            order.append(name)

        tasks = [asyncio.create_task(resolve("first", clerk.token(clerk.create_user())))]
        await authenticator.reached.wait()
        tasks += [asyncio.create_task(resolve("stranger", token)) for token in crowd]
        for _ in range(20):
            await asyncio.sleep(0)
        tasks.append(asyncio.create_task(resolve("known", known)))
        for _ in range(20):
            await asyncio.sleep(0)
        authenticator.opened.set()
        await asyncio.gather(*tasks)
        await repository.close()

    asyncio.run(run())
    assert order[0] == "known"


def test_closed_while_tasks_wait(postgres_schema: str) -> None:
    """Closing a repository refuses those who wait, and lets the one that works come to its end."""

    async def run() -> None:
        authenticator = Authenticator()
        repository = aopened(postgres_schema, authenticator, pool_size=1, timeout=20)
        holder = asyncio.create_task(repository.put([person("user_holder")]))
        await authenticator.reached.wait()
        waiters = [asyncio.create_task(outcome(repository.find(HERE, ANN))) for _ in range(20)]
        await asyncio.sleep(0)
        await repository.close()
        authenticator.opened.set()
        assert len(await holder) == 1
        assert Counter(await asyncio.gather(*waiters)) == {"the repository is closed": 20}

    asyncio.run(run())


def test_a_server_that_takes_few_connections(postgres_schema: str) -> None:
    """Where the server takes fewer connections than the pool may have, those that there are serve everybody."""
    url = url_of_a_new_schema(postgres_schema)
    role = f"{postgres_schema}_few"
    PostgresRepository.open(url, listen=False).close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 2".encode())
        connection.execute(f"GRANT ALL ON SCHEMA {postgres_schema} TO {role}".encode())
        connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {postgres_schema} TO {role}".encode())

    async def run() -> Counter[str]:
        separator = "&" if "?" in url else "?"
        repository = AsyncPostgresRepository.open(
            f"{url}{separator}user={role}", listen=False, pool_size=8, timeout=20, migrate=False
        )
        try:
            return Counter(await asyncio.gather(*(outcome(repository.find(HERE, ANN)) for _ in range(100))))
        finally:
            await repository.close()

    try:
        assert asyncio.run(run()) == {"answered": 100}
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


FORKED = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from forking import child, ended
from postgres_server import postgres, new_schema, schemas
from clerkmap.repositories import PostgresRepository
from clerkmap.testing.samples import ANN, HERE, person

reached, opening = threading.Event(), threading.Event()
def hold(change, tx):
    if change.after.clerk.clerk_id == "user_holder":
        reached.set()
        opening.wait()

with schemas() as new:
    repository = PostgresRepository.open(postgres(), schema=new(), listen=False, hooks=[hold], pool_size=1, timeout=9)
    threads = [threading.Thread(target=repository.put, args=([person("user_holder")],))]
    threads[0].start()
    reached.wait()
    threads += [threading.Thread(target=repository.find, args=(HERE, ANN)) for _ in range(5)]
    for thread in threads[1:]:
        thread.start()
    code = ended(child(lambda: repository.put([person("user_of_the_child")])))
    opening.set()
    for thread in threads:
        thread.join()
    found = [repository.find(HERE, name) is not None for name in ("user_holder", "user_of_the_child")]
    repository.close()
print(code, found)
"""


def test_a_fork_while_threads_wait() -> None:
    """The child has a line of its own, and the parent's goes on."""
    done = run_script(FORKED)
    assert done.stdout.split("\n")[0] == "0 [True, True]", done.stderr


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "many"])
def test_a_number_that_cannot_be(wrong: Any) -> None:
    """`max_waiting` is a number of requests."""
    with pytest.raises(ConfigurationError, match="max_waiting"):
        AsyncPostgresRepository.open(postgres(), max_waiting=wrong)


def test_idle_connections_that_the_server_has_ended() -> None:
    """A connection that was ended while it was idle is not used: no request meets it, so no commit is in doubt."""
    with OpenedPool(postgres(), 2, 5) as pool, psycopg.connect(postgres(), autocommit=True) as other:
        first = pool.take(lambda: None)
        pid = first.info.backend_pid
        pool.give(first)
        assert pool.take(lambda: None) is first
        pool.give(first)
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
        gone = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
        until(lambda: other.execute(gone, [pid]).fetchone() is None)
        time.sleep(0.1)  # what was in use until a moment ago is used without a look
        second = pool.take(lambda: None)
        assert second.execute("SELECT 1").fetchone() == (1,)
        pool.give(second)
        assert pool.number == 1
