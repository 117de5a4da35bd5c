"""Thousands of first requests at once on PostgreSQL, next to a plain pool that runs the same statements.

Each side has a pool of the same size, its own event loop, and its own schema on one server. The sides alternate in
rounds. Only our side verifies the tokens.
"""

import asyncio
import resource
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import count
from statistics import median, quantiles
from typing import Any, LiteralString, NamedTuple, cast

import psycopg
from psycopg_pool import AsyncConnectionPool

from clerkmap import ClerkUser, Resolver
from clerkmap.core.records import FROM_TOKEN, key_of
from clerkmap.core.tombstone_retention import oldest_session_rank
from clerkmap.errors import Unavailable
from clerkmap.repositories import AsyncPostgresRepository
from clerkmap.repositories.options import uuid7
from clerkmap.repositories.sql.dialects import POSTGRES, Names
from clerkmap.repositories.sql.statements import Statements, user_row

from .measure import Aim, Figure, Row, figure, progress
from .people import DAY, INSTANCE, OBSERVED_AT, Crowd, clerk_id, crowd
from .postgres import server

POOL = 10
PLAIN = "a plain psycopg pool of the same size, running the same statements"
STRANGERS = (200, 1_000, 10_000)
_numbers = count(50_000_000)


def rush(short: bool) -> Iterator[Row]:
    """Return the rows of a rush."""
    size, rounds = (200, 2) if short else (10_000, 3)
    people = crowd(size + 50)
    with server() as uri:
        yield _compare(uri, "new people", people, lambda tokens: tokens[:size], lambda: _new(size), rounds)
        alone = [next(_numbers)] * size
        yield _compare(
            uri, "first requests of one person", people, lambda tokens: tokens[-1:] * size, lambda: alone, rounds
        )
        for strangers in STRANGERS[: 1 if short else None]:
            yield _beside(uri, people, strangers)


def _new(size: int) -> list[int]:
    return [next(_numbers) for _ in range(size)]


def _compare(
    uri: str,
    what: str,
    people: Crowd,
    ours: Callable[[list[str]], list[str]],
    theirs: Callable[[], list[int]],
    rounds: int,
) -> Row:
    pairs, size = [], 0
    for number in range(rounds):
        progress(f"{what}: round {number + 1} of {rounds}")
        _make(uri)
        tokens = ours(people.fresh()())
        size = len(tokens)
        pairs.append((asyncio.run(_ours(uri, people, tokens)), asyncio.run(_theirs(uri, theirs()))))
    progress("")
    mine, other = zip(*pairs, strict=True)
    ratio = median(a / b for a, b in pairs)
    return Row(
        "rush",
        f"{size:,} {what}, at once",
        figure(mine),
        PLAIN,
        figure(other),
        ratio,
        Aim("<= 1.3 times", ratio=1.3),
    )


def _make(uri: str) -> None:
    with psycopg.connect(uri, autocommit=True) as connection:
        for name in ("ours", "theirs"):
            connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())
            connection.execute(cast(LiteralString, AsyncPostgresRepository.ddl(schema=name)))


async def _ours(uri: str, people: Crowd, tokens: list[str]) -> float:
    repository = AsyncPostgresRepository.open(uri, schema="ours", pool_size=POOL)
    resolver = Resolver(people.instance, repository)
    await repository.find(INSTANCE, "user_nobody")
    seconds, outcomes = await _all_at_once(resolver.aresolve, tokens)
    await repository.close()
    _say("clerkmap", seconds, outcomes)
    return seconds.real


async def _theirs(uri: str, numbers: list[int]) -> float:
    async with AsyncConnectionPool(
        uri, min_size=POOL, max_size=POOL, open=False, timeout=600, kwargs={"autocommit": True}
    ) as pool:
        await pool.wait()
        seconds, outcomes = await _all_at_once(Plain(pool).first_request, numbers)
    _say("plain pool", seconds, outcomes)
    return seconds.real


class Plain:
    """Hand-written code for the same tables: look up, write if necessary, look up again."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        sql = Statements(POSTGRES, Names("clerkmap_", "theirs"), None)
        self._pool = pool
        self._select = cast(LiteralString, sql.select_standing)
        self._select_to_write = cast(LiteralString, sql.select_user_to_write)
        self._insert_user = cast(LiteralString, sql.insert_user)
        self._insert_identity = cast(LiteralString, sql.insert_identity)

    async def first_request(self, number: int) -> None:
        record = ClerkUser.make(FROM_TOKEN, INSTANCE, clerk_id(number), observed_at=OBSERVED_AT)
        session = key_of(f"sess_{number}"), oldest_session_rank(OBSERVED_AT, DAY * 30_000), INSTANCE, record.key
        if await self._find(session) is None:
            await self._write(record)
            assert await self._find(session) is not None

    async def _find(self, values: tuple[Any, ...]) -> Any:
        async with self._pool.connection() as connection:
            return await (await connection.execute(self._select, values)).fetchone()

    async def _write(self, record: ClerkUser) -> None:
        async with self._pool.connection() as connection, connection.transaction():
            cursor = await connection.execute(self._select_to_write, (record.instance, record.key))
            if await cursor.fetchone() is not None:
                return
            id = uuid7()
            await connection.execute(self._insert_user, (id, None, None, OBSERVED_AT, None))
            row = (*user_row(record), id)
            if (await connection.execute(self._insert_identity, row)).rowcount == 1:
                await connection.execute("SELECT pg_notify('clerkmap_changes', %s)", (record.key,))
            else:  # another request was first
                await connection.execute("DELETE FROM theirs.clerkmap_users WHERE id = %s", (id,))


class Seconds(NamedTuple):
    """The elapsed time, and the CPU time of this process without the server."""

    real: float
    computed: float


async def _all_at_once(
    call: Callable[[Any], Awaitable[object]], arguments: Sequence[Any]
) -> tuple[Seconds, Counter[str]]:
    async def one(argument: Any) -> str:
        try:
            await call(argument)
        except Unavailable as error:
            return f"{type(error).__name__}: {error.args[0]}"
        return "answered"

    begin, computed = time.perf_counter(), time.process_time()
    outcomes = Counter(await asyncio.gather(*map(one, arguments)))
    return Seconds(time.perf_counter() - begin, time.process_time() - computed), outcomes


def _beside(uri: str, people: Crowd, strangers: int) -> Row:
    """Measure the 99th percentile of known users' requests, during first requests of new users."""
    _make(uri)
    tokens = people.fresh()()
    calm, rushed = asyncio.run(_known(uri, people, tokens[:strangers], tokens[-50:]))
    what = f"a known person's request beside {strangers:,} strangers, 99th percentile"
    return Row("rush", what, rushed, "the same without strangers", calm, rushed.median / calm.median)


async def _known(uri: str, people: Crowd, strangers: list[str], known: list[str]) -> tuple[Figure, Figure]:
    repository = AsyncPostgresRepository.open(uri, schema="ours", pool_size=POOL)
    resolver = Resolver(people.instance, repository)
    for token in known:
        await resolver.aresolve(token)

    async def ask(until: Callable[[], bool]) -> list[float]:
        times: list[float] = []
        for number in count():
            if until() and number >= 200:
                return times
            begin = time.perf_counter()
            await resolver.aresolve(known[number % len(known)])
            times.append(time.perf_counter() - begin)
            await asyncio.sleep(0.002)
        raise AssertionError

    calm = await ask(lambda: True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    all_of_them = [asyncio.create_task(resolver.aresolve(token)) for token in strangers]
    rushed = await ask(lambda: all(task.done() for task in all_of_them))
    failed = sum(task.exception() is not None for task in all_of_them)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    await repository.close()
    print(
        f"beside {len(strangers):,} strangers: {len(rushed):,} requests of known people, median "
        f"{median(rushed) * 1e3:.2f} ms, longest {max(rushed) * 1e3:.0f} ms; {failed} strangers refused; "
        f"{grown / 1024:.0f} MiB more at most",
        file=sys.stderr,
    )
    return _percentile(calm), _percentile(rushed)


def _percentile(values: list[float]) -> Figure:
    return Figure(quantiles(values, n=100)[-1], min(values))


def _say(side: str, seconds: Seconds, outcomes: Counter[str]) -> None:
    told = f"{side}: {seconds.real:.2f} s, of which {seconds.computed:.2f} s in this process; {dict(outcomes)}"
    print(told, file=sys.stderr)
