"""A server that is away: the first requests wait for it, all further ones are refused at once, and one thread looks
whether it is back.

Connections are counted in the network before the server: who is refused at once has not tried to connect.
"""

import asyncio
import errno
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, cast

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from clerkmap import RepositoryUnavailable
from clerkmap.repositories import AsyncPostgresRepository, PostgresRepository
from clerkmap.repositories.postgres import outages
from clerkmap.repositories.postgres.outages import Health, Loan
from clerkmap.repositories.postgres.pools import AsyncOpenedPool, OpenedPool
from clerkmap.repositories.postgres.sources import AsyncSource, Source
from clerkmap.testing.samples import ANN, HERE, person
from freshness_writers import until
from postgres_cluster import Cluster, clusters
from tcp_proxy import TcpProxy

Break = Callable[[TcpProxy], object]
BREAKS: dict[str, tuple[Break, str]] = {
    "refuses": (TcpProxy.cut, "the connection was closed"),
    "hangs": (TcpProxy.stall, "the server does not answer"),
}
TIMEOUT = 2


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with clusters() as new:
        made = new()
        made.make(fsync="off", max_connections="60")
        yield made


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[TcpProxy]:
    with TcpProxy(cluster.port) as made:
        yield made
        made.heal()  # or else what has stalled would be waited for


def url(proxy: TcpProxy) -> str:
    return f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres?sslmode=disable&gssencmode=disable"


class Way:
    """A repository of either colour, used by threads."""

    def __init__(self, proxy: TcpProxy, *, pool_size: int = 3, **options: Any) -> None:
        self._repository = PostgresRepository.open(
            url(proxy), pool_size=pool_size, timeout=TIMEOUT, listen=False, durable=False, **options
        )

    def find(self) -> object:
        return self._repository.find(HERE, ANN)

    def many(self, number: int) -> list[BaseException | object]:
        """What comes of so many requests at once."""

        def one(_: int) -> BaseException | object:
            try:
                return self.find()
            except RepositoryUnavailable as error:
                return error

        with ThreadPoolExecutor(number) as threads:
            return list(threads.map(one, range(number)))

    def close(self) -> None:
        self._repository.close()


class AsyncWay(Way):
    """The same in an event loop."""

    def __init__(self, proxy: TcpProxy, *, pool_size: int = 3, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._async = AsyncPostgresRepository.open(
            url(proxy), pool_size=pool_size, timeout=TIMEOUT, listen=False, durable=False, **options
        )
        asyncio.run_coroutine_threadsafe(self._async.__aenter__(), self._loop).result()

    def find(self) -> object:
        return asyncio.run_coroutine_threadsafe(self._async.find(HERE, ANN), self._loop).result()

    def many(self, number: int) -> list[BaseException | object]:
        async def all_of_them() -> list[BaseException | object]:
            finds = (self._async.find(HERE, ANN) for _ in range(number))
            results: list[BaseException | object] = await asyncio.gather(*finds, return_exceptions=True)
            return results

        return asyncio.run_coroutine_threadsafe(all_of_them(), self._loop).result()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._async.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


WAYS = {"sync": Way, "async": AsyncWay}


def is_answered(way: Way) -> bool:
    try:
        way.find()
    except RepositoryUnavailable:
        return False
    return True


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", BREAKS)
def test_an_outage(proxy: TcpProxy, caplog: pytest.LogCaptureFixture, how: str, way: str) -> None:
    """Those that come first fail together; after them a thousand are refused without a connection; then it is over."""
    breaks, cause = BREAKS[how]
    mine = WAYS[way](proxy)
    try:
        assert mine.many(20) == [None] * 20
        breaks(proxy)
        first = mine.many(40)
        assert [type(error) for error in first] == [RepositoryUnavailable] * 40
        assert any(str(error).endswith(cause) for error in first)  # the others wait for a connection, in vain
        before = proxy.accepted
        for _ in range(1_000):
            with pytest.raises(RepositoryUnavailable, match=cause):
                mine.find()
        # Each of a thousand would have been one, or several. The thread that looks makes two in a second, or fewer.
        assert proxy.accepted - before < 100
        warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert [record.getMessage() for record in warnings] == [f"PostgreSQL is not available: {cause}"]
        proxy.heal()
        until(lambda: is_answered(mine))
        assert mine.many(40) == [None] * 40
        assert [thread.name for thread in threading.enumerate()].count("clerkmap-watch") <= 1
    finally:
        proxy.heal()
        mine.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_short_one_is_waited_for(proxy: TcpProxy, way: str) -> None:
    """What comes while the server is away for less than the timeout is answered."""
    mine = WAYS[way](proxy)
    try:
        assert mine.many(10) == [None] * 10
        proxy.cut()
        tried = proxy.accepted

        def heal() -> None:
            until(lambda: proxy.accepted > tried)
            proxy.heal()

        healing = threading.Thread(target=heal)
        healing.start()
        assert mine.many(40) == [None] * 40
        healing.join()
    finally:
        mine.close()


def test_what_takes_long_is_no_outage(proxy: TcpProxy, caplog: pytest.LogCaptureFixture) -> None:
    """While a hook holds a connection for longer than the timeout, the server is asked, and its answer is believed."""
    reached, opening, raised = threading.Event(), threading.Event(), list[BaseException]()

    def hold(change: object, tx: object) -> None:
        reached.set()
        opening.wait()

    repository = PostgresRepository.open(
        url(proxy), pool_size=3, timeout=TIMEOUT, listen=False, durable=False, hooks=[hold]
    )

    def write() -> None:
        try:
            repository.put([person("user_slow")])
        except BaseException as error:
            raised.append(error)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        reached.wait()
        before, ends = proxy.accepted, time.monotonic() + 2 * TIMEOUT  # nothing else is answered meanwhile
        until(lambda: proxy.accepted > before and time.monotonic() > ends)
        assert repository.find(HERE, ANN) is None
    finally:
        opening.set()
        writing.join()
    assert raised == []
    assert repository.find(HERE, "user_slow") is not None
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    repository.close()


@pytest.mark.parametrize("way", WAYS)
def test_too_many_connections(cluster: Cluster, proxy: TcpProxy, way: str) -> None:
    """Where not one connection can be had, the cause says so, and all is well when there is room again."""
    mine = WAYS[way](proxy)
    try:
        assert mine.many(5) == [None] * 5
        proxy.cut()
        with pytest.raises(RepositoryUnavailable):
            mine.find()
        taken = []
        while True:
            try:
                taken.append(psycopg.connect(cluster.uri))
            except psycopg.OperationalError:
                break
        proxy.heal()
        until(lambda: "too many connections" in str(mine.many(1)))
        for connection in taken:
            connection.close()
        until(lambda: is_answered(mine))
    finally:
        mine.close()


def test_an_answer_ends_an_outage(cluster: Cluster) -> None:
    """Where the server lets in fewer than have tried, the ones that are in go on, though nobody else can connect."""
    health = Health("host=127.0.0.1 port=1", {}, TIMEOUT)
    with psycopg.connect(cluster.uri) as connection:
        loan = health.lend()
        health.connected(loan, connection)
        health.cannot_connect(psycopg.OperationalError("FATAL:  too many connections for role"))
        assert health.is_away
        health.take_back(loan)
        assert not health.is_away
    health.close()


@pytest.mark.parametrize("connects", ["before the outage", "in the outage"])
def test_whoever_begins_an_outage_a_silent_connection_is_cut(cluster: Cluster, connects: str) -> None:
    """Also if a pool of yours noticed it first, or if the connection was lent in the moment in which it began."""
    health, loan = Health("host=127.0.0.1 port=1", {}, 0.2), Loan()
    with psycopg.connect(cluster.uri) as connection:
        for step in ("before the outage", "in the outage"):
            if step == "in the outage":
                health.cannot_connect(psycopg.OperationalError("Connection refused"))
            if step == connects:
                loan = health.lend()
                health.connected(loan, connection)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT pg_sleep(600)")
    health.close()


def test_a_long_statement_survives_an_outage_that_a_probe_ends(cluster: Cluster) -> None:
    """A request may have taken a long pause of the process for an outage of the server."""
    health = Health(cluster.uri, {}, 0.2)
    with psycopg.connect(cluster.uri) as connection:
        loan = health.lend()
        health.connected(loan, connection)
        until(lambda: time.monotonic() - loan.connected_at > 0.2)
        health.cannot_connect(psycopg.OperationalError("Connection refused"))
        assert connection.execute("SELECT 1 FROM pg_sleep(1)").fetchone() == (1,)
        assert health.take_back(loan)
        assert not health.is_away
    health.close()


def test_a_probe_that_cannot_begin(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no file left for a probe, there are more of them, and one of these ends the outage."""
    tried: list[None] = []

    def no_loop() -> asyncio.AbstractEventLoop:
        tried.append(None)
        raise OSError(errno.EMFILE, "Too many open files")

    health = Health(cluster.uri, {}, TIMEOUT)
    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "SelectorEventLoop", no_loop)
        health.lend()
        health.cannot_connect(psycopg.OperationalError("Connection refused"))
        until(lambda: len(tried) > 1)
        assert health.is_away
    until(lambda: not health.is_away)
    health.close()


def test_no_file_is_left_is_no_answer() -> None:
    """The server has not said it, so it says nothing about the server's connections."""
    assert outages.cause_of(OSError(errno.EMFILE, "Too many open files")) == "this process has too many open files"


def test_a_look_that_fails(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The log tells what the watching thread failed with, once and without its text, and the thread goes on."""
    failed: list[None] = []

    def fail(_: Health) -> None:
        failed.append(None)
        raise LookupError("10.1.2.3")

    health = Health(cluster.uri, {}, TIMEOUT)
    with monkeypatch.context() as patch:
        patch.setattr(Health, "probe_if_due", fail)
        health.lend()
        until(lambda: len(failed) > 2)
    health.cannot_connect(psycopg.OperationalError("Connection refused"))
    until(lambda: not health.is_away)
    health.close()
    told = [record.getMessage() for record in caplog.records if "LookupError" in record.getMessage()]
    assert told == ["the check of PostgreSQL failed, and will be repeated: LookupError"]
    assert "10.1.2.3" not in caplog.text


def test_a_thread_that_has_died(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next request starts another one, which ends the outage."""
    ended = threading.Event()
    health = Health(cluster.uri, {}, TIMEOUT)
    with monkeypatch.context() as patch:
        patch.setattr(outages, "_watch", lambda *_: ended.set())
        health.lend()
        ended.wait()
    health.cannot_connect(psycopg.OperationalError("Connection refused"))

    def is_back() -> bool:
        health.take_back(health.lend())
        return not health.is_away

    until(is_back)
    health.close()


def test_the_log_of_an_outage_shows_no_address() -> None:
    """Not in the error's causes either, which a traceback quotes."""
    health = Health(None, {}, 0.01)
    health.cannot_connect(psycopg.OperationalError('connection to "10.1.2.3", port 5432 failed: Connection refused'))
    raised: list[RepositoryUnavailable] = []

    def is_refused() -> bool:
        try:
            health.check()
        except RepositoryUnavailable as error:
            raised.append(error)
        return bool(raised)

    until(is_refused)
    told = "".join(traceback.format_exception(raised[0]))
    assert "connection refused" in told
    assert "10.1.2.3" not in told


def without_thread(patch: pytest.MonkeyPatch, name: str) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    patch.setattr(threading.Thread, "start", refuse)


@pytest.mark.parametrize("name", ["clerkmap-watch", "clerkmap-connect"])
def test_no_thread_can_be_started(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A request is refused by an error of ours, and does not keep its place in the line."""
    source = Source(OpenedPool(cluster.uri, 1, TIMEOUT), TIMEOUT)
    with monkeypatch.context() as patch:
        without_thread(patch, name)
        for _ in range(2):
            with pytest.raises(RepositoryUnavailable, match="no thread can be started") as raised, source.borrowed():
                pass
            assert isinstance(raised.value.__cause__, RuntimeError)
    with source.borrowed() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    source.close()


def test_no_thread_can_be_started_in_async_code(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same. Here a connection needs no thread."""

    async def borrow(source: AsyncSource) -> object:
        async with source.borrowed() as connection:
            return await (await connection.execute("SELECT 1")).fetchone()

    async def run() -> None:
        source = AsyncSource(AsyncOpenedPool(cluster.uri, 1, TIMEOUT), TIMEOUT)
        with monkeypatch.context() as patch:
            without_thread(patch, "clerkmap-watch")
            for _ in range(2):
                with pytest.raises(RepositoryUnavailable, match="no thread can be started") as raised:
                    await borrow(source)
                assert isinstance(raised.value.__cause__, RuntimeError)
        assert await borrow(source) == (1,)
        await source.close()

    asyncio.run(asyncio.wait_for(run(), 60))


class Unreturnable(OpenedPool):
    """A pool that keeps what is given back, and then raises."""

    def __init__(self, conninfo: str, error: BaseException) -> None:
        super().__init__(conninfo, 1, TIMEOUT)
        self._error = error

    def give(self, connection: psycopg.Connection[Any]) -> None:
        super().give(connection)
        raise self._error


class AsyncUnreturnable(AsyncOpenedPool):
    """The same in async code."""

    def __init__(self, conninfo: str, error: BaseException) -> None:
        super().__init__(conninfo, 1, TIMEOUT)
        self._error = error

    def give(self, connection: psycopg.AsyncConnection[Any]) -> None:
        super().give(connection)
        raise self._error


class Stop(BaseException):
    """What ends a program, such as `KeyboardInterrupt`."""


@pytest.mark.parametrize("error", [ValueError("a secret"), Stop()])
def test_a_connection_that_cannot_be_given_back(
    cluster: Cluster, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    """The work is done, so an error of the pool is logged without its text; and no place in the line is lost."""
    source = Source(Unreturnable(cluster.uri, error), TIMEOUT)
    for _ in range(3):
        with nullcontext() if isinstance(error, Exception) else pytest.raises(Stop), source.borrowed() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    source.close()
    told = "returning a connection failed: ValueError"
    assert [each.getMessage() for each in caplog.records] == ([told] * 3 if isinstance(error, Exception) else [])


@pytest.mark.parametrize("error", [ValueError("a secret"), Stop()])
def test_an_async_connection_that_cannot_be_given_back(
    cluster: Cluster, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    """The same in async code."""

    async def borrow(source: AsyncSource) -> None:
        async with source.borrowed() as connection:
            assert await (await connection.execute("SELECT 1")).fetchone() == (1,)

    async def run() -> None:
        source = AsyncSource(AsyncUnreturnable(cluster.uri, error), TIMEOUT)
        for _ in range(3):
            with nullcontext() if isinstance(error, Exception) else pytest.raises(Stop):
                await borrow(source)
        await source.close()

    asyncio.run(asyncio.wait_for(run(), 60))
    told = "returning a connection failed: ValueError"
    assert [each.getMessage() for each in caplog.records] == ([told] * 3 if isinstance(error, Exception) else [])


class WithoutFile:
    """A connection whose file number the system does not know, or cannot double."""

    closed = False

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def fileno(self) -> int:
        if self._error is not None:
            raise self._error
        return 1_000_000


@pytest.mark.parametrize("error", [None, psycopg.OperationalError("the connection is closed")])
def test_a_line_that_cannot_be_doubled(error: Exception | None) -> None:
    """The request goes on with its connection, which the watch cannot cut then."""
    health, loan, connection = Health("host=127.0.0.1 port=1", {}, TIMEOUT), Loan(), WithoutFile(error)
    health.connected(loan, cast(Any, connection))
    assert (cast(Any, loan.connection), loan.socket) == (connection, None)
    assert health.take_back(loan)
    health.close()


@pytest.mark.parametrize(
    ("where", "cause"),
    [
        ("postgresql://nobody.invalid/app", "the host name was not found"),
        ("postgresql://postgres@127.0.0.1:1/app", "connection refused"),
        ("postgresql:///app?host=/nowhere", "connection refused"),
    ],
)
def test_the_cause_of_an_outage(where: str, cause: str) -> None:
    """The error tells why nobody could connect, and shows neither the server's name nor its address."""
    with pytest.raises(RepositoryUnavailable) as raised:
        PostgresRepository.open(where, timeout=0.2, listen=False)
    assert str(raised.value).endswith(f": {cause}")


def test_a_pool_of_yours_that_hangs(proxy: TcpProxy) -> None:
    """On a pool of yours, too, all that wait for a silent server are refused after the timeout, and then at once."""
    with ConnectionPool(url(proxy), min_size=2, max_size=2, open=True, reconnect_timeout=0) as pool:
        repository = PostgresRepository(pool, timeout=TIMEOUT, listen=False, durable=False, migrate=True)
        assert repository.find(HERE, ANN) is None
        proxy.stall()
        for _ in range(20):
            with pytest.raises(RepositoryUnavailable):
                repository.find(HERE, ANN)
        proxy.heal()
        until(lambda: _finds(repository))
        repository.close()


def _finds(repository: PostgresRepository) -> bool:
    try:
        repository.find(HERE, ANN)
    except RepositoryUnavailable:
        return False
    return True


def test_an_async_pool_of_yours_that_hangs(proxy: TcpProxy) -> None:
    """The same in async code."""

    async def run() -> None:
        async with AsyncConnectionPool(url(proxy), min_size=2, max_size=2, open=False, reconnect_timeout=0) as pool:
            repository = AsyncPostgresRepository(pool, timeout=TIMEOUT, listen=False, durable=False, migrate=True)
            assert await repository.find(HERE, ANN) is None
            proxy.stall()
            found = await asyncio.gather(*(repository.find(HERE, ANN) for _ in range(20)), return_exceptions=True)
            assert [type(each) for each in found] == [RepositoryUnavailable] * 20
            proxy.heal()
            while True:
                try:
                    await repository.find(HERE, ANN)
                except RepositoryUnavailable:
                    await asyncio.sleep(0.02)
                else:
                    break
            await repository.close()

    asyncio.run(asyncio.wait_for(run(), 60))
