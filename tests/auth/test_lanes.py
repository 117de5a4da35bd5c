"""Async code calls a synchronous repository in threads of its own: writers that wait hold up nothing else."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, asynccontextmanager, closing
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from asgi_base import PATIENCE, Told, bearer, http_scope, told_by, until
from clerkmap import (
    AsyncRepository,
    Change,
    CommitUnknown,
    ConfigurationError,
    HookFailed,
    RepositoryUnavailable,
    Resolver,
    threaded,
)
from clerkmap._runtime.threads import Lane
from clerkmap.adapters.asgi import AuthMiddleware
from clerkmap.adapters.wsgi import AuthMiddleware as WsgiAuthMiddleware
from clerkmap.auth.verifier import Verifier
from clerkmap.repositories import MemoryRepository, RepositoryThreads, SqliteRepository, Threads
from clerkmap.repositories.lines import Line
from clerkmap.repositories.sqlite.connections import POLL_EVERY
from clerkmap.testing import Clock, FakeClerk
from clerkmap.testing.samples import ANN, HERE, person
from plain_apps import wsgi_plain

FIRST = "user_first"


class Hook:
    """Holds the first person's transaction until it is let go, and does what a test says with the others."""

    def __init__(self) -> None:
        self.holding, self.go = threading.Event(), threading.Event()
        self.actions: dict[str, Callable[[sqlite3.Connection], object]] = {}

    def __call__(self, change: Change, transaction: sqlite3.Connection) -> None:
        id = change.after.clerk_id  # type: ignore[union-attr]
        if id == FIRST:
            self.holding.set()
            assert self.go.wait(PATIENCE)
        if str(id) in self.actions:
            self.actions[str(id)](transaction)


@pytest.fixture
def hook() -> Hook:
    return Hook()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.fixture
def repository(path: Path, hook: Hook) -> Iterator[SqliteRepository]:
    repository = SqliteRepository.open(path, hooks=[hook], max_waiting=5)
    yield repository
    hook.go.set()
    repository.close()


@asynccontextmanager
async def held(repository: SqliteRepository, hook: Hook) -> AsyncGenerator[AsyncRepository, None]:
    """Within the block a write is under way: what is put there waits, and is written together afterwards."""
    lent = threaded(repository)
    async with asyncio.timeout(PATIENCE):
        first = asyncio.create_task(lent.put([person(FIRST)]))
        await until(hook.holding.is_set)
        yield lent
        hook.go.set()
        await first


def users_seen_by_others(path: Path) -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: _count(path)).result()


def _count(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM clerkmap_identities").fetchone()[0])
    finally:
        connection.close()


def test_a_foreign_lock_holds_up_neither_known_callers_nor_the_application(path: Path) -> None:
    """While another program holds the lock, forty new people wait. All the rest goes on; then they are let in."""
    clerk, monotonic = FakeClerk(clock=Clock(1_790_000_000)), Clock(0)
    repository = SqliteRepository.open(path, timeout=60)
    verifier = Verifier(clerk.instance, clock=clerk.clock)
    resolver = Resolver(clerk.instance, repository, verifier=verifier, monotonic=monotonic)
    known = [clerk.token(clerk.create_user()) for _ in range(5)]
    new = [clerk.token(clerk.create_user()) for _ in range(40)]

    async def run() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        for token in known:
            await resolver.aresolve(token)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waiting = [asyncio.create_task(resolver.aresolve(token)) for token in new]
        for _ in range(20):
            monotonic.advance(POLL_EVERY)
            async with asyncio.timeout(PATIENCE):
                await asyncio.to_thread(lambda: None)
                for token in known:
                    await resolver.aresolve(token)
        assert not any(task.done() for task in waiting)
        other.execute("ROLLBACK")
        other.close()
        async with asyncio.timeout(PATIENCE):
            principals = await asyncio.gather(*waiting)
        assert len({principal.user.id for principal in principals}) == 40

    asyncio.run(run())
    repository.close()


def test_what_waits_is_refused_when_nothing_is_written_for_the_timeout(path: Path) -> None:
    """Everybody is told so, and nothing is left half done: the next write finds its turn."""
    repository = SqliteRepository.open(path, timeout=0.2)

    async def run() -> list[Any]:
        lent = threaded(repository)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(PATIENCE):
            puts = (lent.put([person(f"user_{number}")]) for number in range(600))
            refused = await asyncio.gather(*puts, return_exceptions=True)
        other.execute("ROLLBACK")
        other.close()
        await lent.put([person()])
        return refused

    refused = asyncio.run(run())
    assert {type(error) for error in refused} == {RepositoryUnavailable}
    assert len({id(error) for error in refused}) == 600  # each with a traceback of its own
    assert _count(path) == 1
    repository.close()


def test_a_refused_writer_is_answered_503_with_retry_after(path: Path) -> None:
    """A front end is told when to ask again; a caller who is known is let in meanwhile."""
    clerk = FakeClerk()
    repository = SqliteRepository.open(path, timeout=0.2)
    app = AuthMiddleware(plain, Resolver(clerk.instance, repository), require=True)
    known, new = (clerk.token(clerk.create_user()) for _ in range(2))

    async def run() -> list[Told]:
        await told_by(app, http_scope(bearer(known)))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        told = [await told_by(app, http_scope(bearer(token))) for token in (new, known)]
        other.close()
        return told

    refused, admitted = asyncio.run(run())
    assert (refused.status, refused.headers.get("retry-after"), admitted.status) == (503, "10", 200)
    repository.close()


@pytest.mark.parametrize("cause", ["a foreign lock", "max_waiting", "nothing written"])
def test_a_wsgi_writer_is_refused_with_503_and_retry_after(path: Path, hook: Hook, cause: str) -> None:
    """In threads of a server, too: a front end is told when to ask again, and a known caller is let in meanwhile."""
    clerk, timeout = FakeClerk(), 60 if cause == "max_waiting" else 0.2
    repository = SqliteRepository.open(path, hooks=[hook], timeout=timeout, max_waiting=1)
    app = WsgiAuthMiddleware(wsgi_plain, Resolver(clerk.instance, repository), require=True)
    known, new = (clerk.token(clerk.create_user()) for _ in range(2))
    assert ask(app, known) == (204, None)
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(3))
        stack.callback(hook.go.set)
        if cause == "a foreign lock":
            other = stack.enter_context(closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)))
            other.execute("BEGIN IMMEDIATE")
        else:
            pool.submit(repository.put, [person(FIRST)])
            assert hook.holding.wait(PATIENCE)
        if cause == "max_waiting":
            pool.submit(repository.put, [person("user_waits")])
            while not repository._connections._line._others:  # type: ignore[attr-defined]
                pass
        refused = pool.submit(ask, app, new)
        wait([refused], PATIENCE)
        assert ask(app, known) == (204, None)
    assert refused.result() == (503, "10")
    repository.close()


def ask(app: Any, token: str) -> tuple[int, str | None]:
    """The status and the `Retry-After` of a WSGI application's answer."""
    transport = httpx.WSGITransport(app)
    with httpx.Client(transport=transport, base_url="http://shop.example") as client:
        reply = client.get("/", headers={"Authorization": f"Bearer {token}"})
    return reply.status_code, reply.headers.get("retry-after")


def test_an_asgi_writer_beyond_max_waiting_is_answered_503_with_retry_after(
    repository: SqliteRepository, hook: Hook
) -> None:
    """At once, while a write is under way and as many wait as may; a known caller is let in meanwhile."""
    clerk = FakeClerk()
    app = AuthMiddleware(plain, Resolver(clerk.instance, repository), require=True)
    known, new = (clerk.token(clerk.create_user()) for _ in range(2))

    async def run() -> tuple[Told, Told]:
        await told_by(app, http_scope(bearer(known)))
        async with held(repository, hook) as lent:
            waiting = [asyncio.ensure_future(lent.put([person(f"user_{number}")])) for number in range(5)]
            await asyncio.sleep(0)
            refused = asyncio.create_task(told_by(app, http_scope(bearer(new))))
            await asyncio.wait([refused], timeout=PATIENCE / 2)
            admitted = await told_by(app, http_scope(bearer(known)))
        await asyncio.gather(*waiting)
        return await refused, admitted

    refused, admitted = asyncio.run(run())
    assert (refused.status, refused.headers.get("retry-after"), admitted.status) == (503, "10", 200)


async def plain(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def test_a_failure_refuses_what_has_waited_as_long_without_calling_it() -> None:
    """Forty thousand writers are not tried one after the other, each for the timeout."""
    lane = Lane("test", 1, timeout=0, max_waiting=100)
    called: list[int] = []
    go = threading.Event()

    def fail(number: int) -> None:
        called.append(number)
        assert go.wait(PATIENCE)
        raise RepositoryUnavailable("it is locked")

    async def run() -> list[Any]:
        calls = [asyncio.ensure_future(lane.call(partial(fail, number))) for number in range(50)]
        await asyncio.sleep(0)
        go.set()
        async with asyncio.timeout(PATIENCE):
            return await asyncio.gather(*calls, return_exceptions=True)

    refused = asyncio.run(run())
    assert {type(error) for error in refused} == {RepositoryUnavailable}
    assert called == [0]
    lane.close()


def test_a_lost_commit_is_about_one_write() -> None:
    """A call that waits behind it is made: of its own write, nobody has to wonder."""
    lane = Lane("test", 1, timeout=0, max_waiting=100)

    def lose() -> None:
        raise CommitUnknown

    async def run() -> list[Any]:
        return list(await asyncio.gather(lane.call(lose), lane.call(lambda: "made"), return_exceptions=True))

    lost, made = asyncio.run(run())
    assert (type(lost), made) == (CommitUnknown, "made")
    lane.close()


def test_an_error_that_several_are_told_is_logged_once() -> None:
    """Each gets a copy, and the copies know that the cause of the outage stands in the log already."""
    lane = Lane("test", 1, timeout=0, max_waiting=100)

    def fail() -> None:
        error = RepositoryUnavailable("it is locked")
        error.is_logged = True
        raise error from OSError("locked")

    async def run() -> list[Any]:
        return list(await asyncio.gather(lane.call(fail), lane.call(fail), return_exceptions=True))

    one, other = asyncio.run(run())
    assert one is not other
    assert [(each.is_logged, type(each.__cause__)) for each in (one, other)] == [(True, OSError)] * 2
    lane.close()


@pytest.mark.parametrize("timeout", [-1, 0, True, float("nan"), "5", 3601])
def test_a_timeout_that_is_none_is_refused(tmp_path: Path, timeout: Any) -> None:
    """On a file as on PostgreSQL."""
    with pytest.raises(ConfigurationError, match="timeout must be"):
        SqliteRepository.open(tmp_path / "app.db", timeout=timeout)


def test_a_failure_refuses_nobody_while_others_succeed() -> None:
    """However long a call has waited: what succeeded a moment ago shows that its turn will come."""
    lane = Lane("test", 1, timeout=1, max_waiting=100)
    longer = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            longer.wait(1.2)
        if number % 3 == 1:
            raise RepositoryUnavailable
        return number

    async def run() -> list[Any]:
        calls = (lane.call(partial(work, number)) for number in range(30))
        return await asyncio.gather(*calls, return_exceptions=True)

    done = asyncio.run(run())
    assert [each for each in done if isinstance(each, int)] == [number for number in range(30) if number % 3 != 1]
    lane.close()


def test_beyond_max_waiting_a_writer_is_refused_at_once(repository: SqliteRepository, hook: Hook) -> None:
    """The others are still written."""

    async def run() -> list[Any]:
        async with held(repository, hook) as lent:
            waiting = [asyncio.ensure_future(lent.put([person(f"user_{number}")])) for number in range(8)]
            await asyncio.sleep(0)
            await asyncio.wait(waiting[5:])
            assert not any(each.done() for each in waiting[:5])
        results: list[Any] = await asyncio.gather(*waiting, return_exceptions=True)
        return results

    done = asyncio.run(run())
    assert [type(each) for each in done] == [list] * 5 + [RepositoryUnavailable] * 3


def test_what_waits_is_committed_together(repository: SqliteRepository, hook: Hook, path: Path) -> None:
    """In one transaction: what the first of them has written, others do not see while the last is being written."""
    seen: list[int] = []
    hook.actions["user_4"] = lambda tx: seen.append(users_seen_by_others(path))

    async def run() -> None:
        async with held(repository, hook) as lent:
            waiting = [asyncio.ensure_future(lent.put([person(f"user_{number}")])) for number in range(5)]
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)

    asyncio.run(run())
    assert (seen, _count(path)) == ([1], 6)


def test_one_that_fails_fails_alone(repository: SqliteRepository, hook: Hook, path: Path) -> None:
    """A hook that raises undoes its own write; those before and after it in the same transaction stay."""

    def refuse(transaction: sqlite3.Connection) -> None:
        raise ZeroDivisionError

    hook.actions["user_1"] = refuse

    async def run() -> list[Any]:
        async with held(repository, hook) as lent:
            puts = [lent.put([person(f"user_{number}")]) for number in range(3)]
            waiting = [*map(asyncio.ensure_future, puts), asyncio.ensure_future(lent.set_role("nobody", "admin"))]
            await asyncio.sleep(0)
        results: list[Any] = await asyncio.gather(*waiting, return_exceptions=True)
        return results

    first, second, third, fourth = asyncio.run(run())
    assert (len(first), type(second), len(third), fourth.code) == (1, HookFailed, 1, "user_unknown")
    assert isinstance(second.__cause__, ZeroDivisionError)
    assert [repository.find(HERE, f"user_{number}") is not None for number in range(3)] == [True, False, True]
    assert _count(path) == 3


@pytest.mark.parametrize(
    "statement", ["COMMIT", "ROLLBACK", "RELEASE clerkmap_each", "ROLLBACK TO clerkmap_each", "SAVEPOINT clerkmap_each"]
)
def test_a_hook_cannot_end_what_it_shares_with_others(
    repository: SqliteRepository, hook: Hook, path: Path, statement: str
) -> None:
    """Not the transaction, and not the savepoint that it is in."""
    hook.actions["user_1"] = lambda tx: tx.execute(statement)

    async def run() -> list[Any]:
        async with held(repository, hook) as lent:
            waiting = [asyncio.ensure_future(lent.put([person(f"user_{number}")])) for number in range(3)]
            await asyncio.sleep(0)
        results: list[Any] = await asyncio.gather(*waiting, return_exceptions=True)
        return results

    assert [type(each) for each in asyncio.run(run())] == [list, HookFailed, list]
    assert _count(path) == 3


@pytest.mark.parametrize(
    "undo",
    [
        sqlite3.Connection.close,
        lambda tx: tx.execute("INSERT OR ROLLBACK INTO clerkmap_checkpoints VALUES ('a', ''), ('a', '')"),
    ],
)
def test_a_hook_that_undoes_the_transaction_undoes_them_all(
    repository: SqliteRepository, hook: Hook, path: Path, undo: Callable[[sqlite3.Connection], object]
) -> None:
    """Nobody is told that something was written which was not: the others may try again."""
    hook.actions["user_1"] = undo

    async def run() -> list[Any]:
        async with held(repository, hook) as lent:
            waiting = [asyncio.ensure_future(lent.put([person(f"user_{number}")])) for number in range(3)]
            await asyncio.sleep(0)
        results: list[Any] = await asyncio.gather(*waiting, return_exceptions=True)
        return results

    errors = [RepositoryUnavailable, ConfigurationError, RepositoryUnavailable]
    assert [type(each) for each in asyncio.run(run())] == errors
    assert _count(path) == 1
    assert len(repository.put([person()])) == 1


def test_listeners_are_called_for_each_after_the_commit(path: Path, hook: Hook) -> None:
    """In the context of whoever wrote, and only of what was committed. One that raises is nobody else's matter."""
    caller: ContextVar[str] = ContextVar("caller")
    told: list[tuple[str, str, int]] = []
    repository = SqliteRepository.open(path, hooks=[hook])

    def listener(change: Change) -> None:
        told.append((str(change.after.clerk_id), caller.get(), _count(path)))  # type: ignore[union-attr]

    repository.listeners.after_commit(listener)
    hook.actions["user_1"] = lambda tx: 1 / 0

    async def put(lent: AsyncRepository, number: int) -> list[Change]:
        caller.set(f"caller {number}")
        return await lent.put([person(f"user_{number}")])

    async def run() -> None:
        caller.set("caller")
        async with held(repository, hook) as lent:
            waiting = [asyncio.ensure_future(put(lent, number)) for number in range(3)]
            await asyncio.sleep(0)
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(run())
    assert told == [(FIRST, "caller", 1), ("user_0", "caller 0", 3), ("user_2", "caller 2", 3)]
    repository.close()


def test_a_hook_among_several_must_not_write_through_the_repository(
    repository: SqliteRepository, hook: Hook, path: Path
) -> None:
    """As in a transaction of its own; but it may read what has been written."""
    seen: list[bool] = []

    def act(transaction: sqlite3.Connection) -> None:
        seen.append(repository.find(HERE, "user_1") is not None)
        repository.put([person(ANN)])

    hook.actions["user_1"] = act

    async def run() -> list[Any]:
        async with held(repository, hook) as lent:
            waiting = [asyncio.ensure_future(lent.put([person(f"user_{number}")])) for number in range(3)]
            await asyncio.sleep(0)
        results: list[Any] = await asyncio.gather(*waiting, return_exceptions=True)
        return results

    first, second, third = asyncio.run(run())
    assert (type(first), type(second.__cause__), type(third)) == (list, ConfigurationError, list)
    assert seen == [True]


def test_whoever_has_gone_is_not_written_for(repository: SqliteRepository, hook: Hook, path: Path) -> None:
    """A request that was cancelled while it waited costs no transaction."""

    async def run() -> None:
        async with held(repository, hook) as lent:
            waiting = [asyncio.ensure_future(lent.put([person(f"user_{number}")])) for number in range(3)]
            await asyncio.sleep(0)
            waiting[1].cancel()
            await asyncio.wait(waiting[1:2])
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(run())
    assert [repository.find(HERE, f"user_{number}") is not None for number in range(3)] == [True, False, True]


def test_several_loops_at_once_and_one_after_the_other(path: Path) -> None:
    """Each gets its own answers, and one that has ended in the middle of a call harms none."""
    repository = SqliteRepository.open(path)
    lent = threaded(repository)

    async def work(number: int) -> int:
        changes = await asyncio.gather(*(lent.put([person(f"user_{number}_{each}")]) for each in range(20)))
        found = await asyncio.gather(*(lent.find(HERE, f"user_{number}_{each}") for each in range(20)))
        return sum(map(len, changes)) + sum(standing is not None for standing in found)

    left: list[asyncio.Future[Any]] = []

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lent.put([person("user_left")]), 0)
        left.append(asyncio.ensure_future(lent.put([person("user_left")])))
        await asyncio.sleep(0)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda number: asyncio.run(work(number)), range(4))) == [40] * 4
    asyncio.run(leave())
    assert asyncio.run(work(4)) == 40
    repository.close()


def test_threads_are_few_and_end_when_it_is_closed(path: Path) -> None:
    """However much is asked at once. A closed repository answers nothing more, and no thread of it is left."""
    before = set(threading.enumerate())
    repository = SqliteRepository.open(path)
    lent = threaded(repository)

    def made() -> set[threading.Thread]:
        return set(threading.enumerate()) - before

    async def ask() -> int:
        calls = [lent.find(HERE, ANN) for _ in range(500)] + [lent.put([person(f"user_{n}")]) for n in range(500)]
        await asyncio.gather(*calls)
        return len(made())

    async def ask_again() -> None:
        for call in (lent.find(HERE, ANN), lent.put([person()]), lent.poll()):
            with pytest.raises(RepositoryUnavailable):
                await call

    assert 2 <= asyncio.run(ask()) <= 5
    repository.close()
    assert made() == set()
    asyncio.run(ask_again())
    asyncio.run(lent.close())


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "10", None])
def test_max_waiting_is_a_number(path: Path, value: Any) -> None:
    """What cannot be one is refused when the repository is made."""
    with pytest.raises(ConfigurationError, match="max_waiting"):
        SqliteRepository.open(path, max_waiting=value)
    with pytest.raises(ConfigurationError, match="max_waiting"):
        RepositoryThreads(max_waiting=value)


def test_an_iterator_that_ends_is_no_end_of_the_thread() -> None:
    """StopIteration is an error like others to whoever waits, and the next call is answered."""

    def stop() -> None:
        raise StopIteration

    async def run() -> int:
        lane = Lane("test", 1, timeout=1, max_waiting=10)
        with pytest.raises(RuntimeError):
            await lane.call(stop)
        return int(await lane.call(partial(int, "7")))

    assert asyncio.run(run()) == 7


def test_in_threads_of_your_own_the_line_keeps_its_order(path: Path, hook: Hook) -> None:
    """Synchronous writers run in the threads they are called from, one after the other as they came."""
    repository = SqliteRepository.open(path, hooks=[hook], max_waiting=8)
    order: list[str] = []
    line = repository._connections._line  # type: ignore[attr-defined]

    def write(name: str) -> None:
        repository.put([person(name)])
        order.append(threading.current_thread().name)

    threads = [threading.Thread(target=write, args=(FIRST,), name=FIRST)]
    threads[0].start()
    assert hook.holding.wait(PATIENCE)
    for number in range(8):
        hook.actions[f"user_{number}"] = partial(_append, order, f"user_{number}")
        threads.append(threading.Thread(target=repository.put, args=([person(f"user_{number}")],)))
        threads[-1].start()
        while len(line._others) <= number:
            pass
    with pytest.raises(RepositoryUnavailable, match="are already waiting for a turn to write"):
        repository.put([person("user_late")])
    hook.go.set()
    for thread in threads:
        thread.join()
    assert [name for name in order if name != FIRST] == [f"user_{number}" for number in range(8)]
    repository.close()


def test_a_line_waits_on_while_it_moves() -> None:
    """Whoever waits is refused only when nothing has moved for the timeout, however many are before."""
    line, turns = Line(lambda: 1, timeout=0.5, max_waiting=10), threading.Semaphore(0)
    line.enter()
    outcome: list[bool] = []

    def wait() -> None:
        try:
            line.enter()
            outcome.append(True)
            line.leave(moved=False)
        except RepositoryUnavailable:
            outcome.append(False)

    thread = threading.Thread(target=wait)
    thread.start()
    for _ in range(8):
        turns.acquire(timeout=0.2)
        line.moved()
    line.leave(moved=False)
    thread.join()
    assert outcome == [True]
    line.enter()
    wait()
    assert outcome == [True, False]
    line.leave(moved=False)
    wait()
    assert outcome == [True, False, True]


def _append(order: list[str], name: str, _: sqlite3.Connection) -> None:
    order.append(name)


FORKED = """
import asyncio, os, sys
from clerkmap import threaded
from clerkmap.repositories import SqliteRepository
from clerkmap.testing.samples import HERE, person
repository = SqliteRepository.open(sys.argv[1])
lent = threaded(repository)
async def work(name):
    await asyncio.gather(*(lent.put([person(f"{name}_{n}")]) for n in range(20)))
    assert await lent.find(HERE, f"{name}_7") is not None
asyncio.run(work("user_before"))
child = os.fork()
asyncio.run(work("user_child" if child == 0 else "user_parent"))
if child == 0:
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

LOCKED_OUT = """
import asyncio, sqlite3, sys
from clerkmap import threaded
from clerkmap.repositories import SqliteRepository
from clerkmap.testing.samples import person
repository = SqliteRepository.open(sys.argv[1], timeout=3600)
other = sqlite3.connect(sys.argv[1], isolation_level=None)
other.execute("BEGIN IMMEDIATE")
async def run():
    try:
        await asyncio.wait_for(threaded(repository).put([person()]), 0.2)
    except TimeoutError:
        print("left")
asyncio.run(run())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_has_threads_of_its_own(path: Path) -> None:
    """Those of the parent are not copied by a fork."""
    quiet = ["-W", "ignore::DeprecationWarning"]
    subprocess.run([sys.executable, *quiet, "-c", FORKED, str(path)], check=True, timeout=120)
    assert _count(path) == 60


def test_a_process_can_end_while_a_writer_waits(path: Path) -> None:
    """The interpreter does not wait for a lock that another program holds for an hour."""
    ended = subprocess.run(
        [sys.executable, "-c", LOCKED_OUT, str(path)], check=True, timeout=120, capture_output=True, text=True
    )
    assert ended.stdout == "left\n"


def test_a_first_sight_that_waited_with_others_is_remembered(path: Path, hook: Hook) -> None:
    """What is read after the common commit is settled: the next request asks the repository nothing."""
    clerk = FakeClerk()
    repository = SqliteRepository.open(path, hooks=[hook])
    resolver = Resolver(clerk.instance, repository)
    tokens = [clerk.token(clerk.create_user()) for _ in range(4)]

    async def run() -> None:
        async with held(repository, hook):
            waiting = [asyncio.ensure_future(resolver.aresolve(token)) for token in tokens]
            await until(lambda: len(repository.threads._writers._waiting) == 4)  # type: ignore[union-attr]
        found = await asyncio.gather(*waiting)
        assert [resolver.resolve_nowait(token) for token in tokens] == found

    asyncio.run(run())
    repository.close()


def test_a_connection_of_yours_keeps_out_of_the_common_transaction(path: Path) -> None:
    """`within` writes on your connection, in your transaction, also when async code calls it."""
    repository = SqliteRepository.open(path)
    mine = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    mine.execute("BEGIN IMMEDIATE")
    lent = threaded(repository.within(mine))

    async def run() -> None:
        await asyncio.gather(*(lent.put([person(f"user_{number}")]) for number in range(10)))

    asyncio.run(run())
    assert _count(path) == 0
    mine.execute("COMMIT")
    assert _count(path) == 10
    mine.close()
    repository.close()


def test_repositories_without_threads_share_a_few() -> None:
    """Many that are made for a moment bring no threads along."""
    before = threading.active_count()

    async def run() -> None:
        await asyncio.gather(*(threaded(MemoryRepository()).put([person()]) for _ in range(200)))

    asyncio.run(run())
    assert threading.active_count() - before <= 16


def test_a_repository_with_threads_of_its_own() -> None:
    """It goes on while the threads that others share are all held up."""
    held_up, go = threading.Semaphore(0), threading.Event()

    class Held(MemoryRepository):
        def user(self, id: object) -> None:
            held_up.release()
            assert go.wait(PATIENCE)

    class Secluded(MemoryRepository):
        threads: Threads = RepositoryThreads(readers=1, writers=1)

    async def run() -> None:
        holding = [asyncio.ensure_future(threaded(Held()).user("x")) for _ in range(8)]
        await asyncio.to_thread(lambda: [held_up.acquire(timeout=PATIENCE) for _ in range(8)])
        assert await threaded(Secluded()).checkpoint("x") is None
        go.set()
        await asyncio.gather(*holding)

    asyncio.run(run())


@pytest.mark.parametrize("how", ["cancelled", "closed"])
def test_a_caller_that_has_left_waits_no_more(how: str) -> None:
    """Its place in a full lane is free at once, and nothing of it is kept."""
    holding, go = threading.Event(), threading.Event()
    lane = Lane("test", 1, timeout=PATIENCE, max_waiting=2)

    def hold() -> None:
        holding.set()
        assert go.wait(PATIENCE)

    async def call(number: int) -> int:
        return int(await lane.call(lambda: number))

    async def run() -> list[int]:
        first = asyncio.ensure_future(lane.call(hold))
        await until(holding.is_set)
        for _ in range(3):
            if how == "cancelled":
                leaving = [asyncio.ensure_future(call(number)) for number in range(2)]
                await asyncio.sleep(0)
                for task in leaving:
                    task.cancel()
                await asyncio.wait(leaving)
            else:
                calls = [call(number) for number in range(2)]
                for each in calls:
                    each.send(None)
                    each.close()
        waiting = [asyncio.ensure_future(call(number)) for number in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(RepositoryUnavailable, match="too many calls"):
            await call(3)
        go.set()
        await first
        return list(await asyncio.gather(*waiting))

    try:
        assert asyncio.run(run()) == [0, 1]
    finally:
        go.set()
        lane.close()


def test_a_call_that_has_read_goes_on_where_writes_run() -> None:
    """It writes only if it has found nothing; one that fails, fails where it is; and one that leaves writes nothing."""
    holding, go = threading.Event(), threading.Event()
    threads, ran = RepositoryThreads(writers=1), list[str]()

    def hold() -> None:
        holding.set()
        assert go.wait(PATIENCE)

    def note(what: str) -> str:
        ran.append(f"{what} in {threading.current_thread().name}")
        return what

    def fail() -> None:
        raise ValueError("it cannot be read")

    async def run() -> None:
        assert await threads.read_or_write(lambda: note("found"), hold, lambda: "never") == "found"
        with pytest.raises(ValueError, match="cannot be read"):
            await threads.read_or_write(fail, hold, lambda: None)
        first = asyncio.ensure_future(threads.write(hold))
        await until(holding.is_set)
        calls = [
            asyncio.ensure_future(threads.read_or_write(lambda: None, partial(note, f"written {number}"), str))
            for number in range(2)
        ]
        await until(lambda: len(threads._writers._waiting) == 2)
        calls[0].cancel()
        await asyncio.wait(calls[:1])
        assert len(threads._writers._waiting) == 1
        go.set()
        await first
        assert await calls[1] == ""

    try:
        asyncio.run(run())
    finally:
        go.set()
        threads.close()
    assert ran == ["found in clerkmap-read", "written 1 in clerkmap-write"]


@pytest.mark.parametrize(("readers", "where"), [(2, "read"), (1, "write")])
def test_a_call_that_has_read_writes_in_its_own_thread_if_no_other_write_runs(readers: int, where: str) -> None:
    """Meanwhile other writes run where writes run, and the only thread for reads keeps to them."""
    holding, go = threading.Event(), threading.Event()
    threads, ran = RepositoryThreads(readers=readers, writers=1), list[str]()

    def note() -> None:
        ran.append(threading.current_thread().name)

    def hold() -> None:
        note()
        holding.set()
        assert go.wait(PATIENCE)

    async def run() -> None:
        first = asyncio.ensure_future(threads.read_or_write(lambda: None, hold, str))
        await until(holding.is_set)
        second = asyncio.ensure_future(threads.read_or_write(lambda: None, note, str))
        await until(lambda: len(threads._writers._threads) + len(threads._writers._waiting) > (readers == 1))
        assert await threads.read(lambda: "read meanwhile") == "read meanwhile"
        go.set()
        assert [await first, await second] == ["", ""]

    try:
        asyncio.run(run())
    finally:
        go.set()
        threads.close()
    assert ran == [f"clerkmap-{where}", "clerkmap-write"]


def test_a_write_in_a_thread_for_reads_does_not_hide_the_reads_that_succeeded_meanwhile() -> None:
    """A lane refuses calls only if nothing has succeeded for the time-out: the last success counts."""
    holding, go = threading.Event(), threading.Event()
    threads = RepositoryThreads(readers=2, writers=1)

    def hold() -> None:
        holding.set()
        assert go.wait(PATIENCE)

    async def run() -> None:
        write = asyncio.ensure_future(threads.read_or_write(lambda: None, hold, str))
        await until(holding.is_set)
        await threads.read(str)
        succeeded_at = threads._readers._moved_at
        go.set()
        await write
        await until(lambda: threads._readers._idle == 2)
        assert threads._readers._moved_at >= succeeded_at

    try:
        asyncio.run(run())
    finally:
        go.set()
        threads.close()
