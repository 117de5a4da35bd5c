"""SQLite under overload: another program holds the lock, and many requests arrive at once."""

import asyncio
import gc
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from clerkmap import Resolver
from clerkmap.adapters.asgi import AuthMiddleware
from clerkmap.core.records import FROM_TOKEN, ClerkUser
from clerkmap.repositories import SqliteRepository
from clerkmap.testing import FakeClerk

from .measure import Aim, Row, figure, progress
from .servers import plain

DAY = 86_400


def overload(short: bool) -> Iterator[Row]:
    """Return the rows of an overloaded file."""
    yield from _foreign_lock(2 if short else 60, 20 if short else 200)
    size, rounds = (200, 2) if short else (10_000, 5)
    yield _crowd(size, rounds, "new people", lambda clerk, size: [clerk.create_user() for _ in range(size)])
    yield _crowd(size, rounds, "one new person", lambda clerk, size: [clerk.create_user()] * size)


def _foreign_lock(seconds: float, new: int) -> Iterator[Row]:
    """Measure known callers and the application's threads while another program holds the lock and new users wait."""
    clerk = FakeClerk(1)
    known = [clerk.token(clerk.create_user(), expires_in=DAY) for _ in range(50)]
    unknown = [clerk.token(clerk.create_user(), expires_in=DAY) for _ in range(new)]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "app.db"
        repository = SqliteRepository.open(path)
        known_waits, thread_waits, answers = asyncio.run(
            _while_locked(Resolver(clerk.instance, repository), path, known, unknown, seconds)
        )
        repository.close()
    assert set(answers) == {503}, set(answers)
    what = f"while another program holds the lock for {seconds:g} s and {new} new people arrive"
    aim = Aim("99th percentile <= 50 ms", limit=50e-3)
    for name, waits in (("a known caller", known_waits), ("asyncio.to_thread", thread_waits)):
        yield Row("overload", f"{name} {what}, 99th percentile", figure([_p99(waits)]), aim=aim)


async def _while_locked(
    resolver: Resolver, path: Path, known: list[str], unknown: list[str], seconds: float
) -> tuple[list[float], list[float], list[int]]:
    app = AuthMiddleware(plain, resolver, require=True)
    for token in known:
        assert await _ask(app, token) == 200
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ends = perf_counter() + seconds
    waiting = [asyncio.create_task(_ask(app, token)) for token in unknown]
    known_waits, thread_waits = [], []
    while perf_counter() < ends:
        progress(f"another program holds the lock: {ends - perf_counter():.0f} s")
        for token in known:
            begin = perf_counter()
            assert await _ask(app, token) == 200
            known_waits.append(perf_counter() - begin)
        begin = perf_counter()
        await asyncio.to_thread(lambda: None)
        thread_waits.append(perf_counter() - begin)
        await asyncio.sleep(0.01)
    progress("")
    answers = await asyncio.gather(*waiting)
    other.execute("ROLLBACK")
    other.close()
    return known_waits, thread_waits, answers


def _crowd(size: int, rounds: int, who: str, make: Any) -> Row:
    """Compare requests at once through the middleware with the same number of puts in one thread."""
    pairs = []
    for number in range(rounds):
        clerk = FakeClerk(number)
        people = make(clerk, size)
        tokens: list[str] = []
        for person in people:
            progress(f"signing tokens: {len(tokens)} of {size}, round {number + 1} of {rounds}")
            tokens.append(clerk.token(person, session=f"sess_{person.id}", expires_in=DAY))
        with TemporaryDirectory() as folder:
            ours = _at_once(clerk, tokens, Path(folder) / "ours.db")
            theirs = _one_by_one(size, Path(folder) / "theirs.db")
        pairs.append((ours, theirs))
    progress("")
    mine, others = zip(*pairs, strict=True)
    return Row(
        "overload",
        f"{size:,} simultaneous first requests of {who}, SQLite, all answered",
        figure(mine),
        f"{size:,} puts of new people one after the other",
        figure(others),
        median(a / b for a, b in pairs),
        Aim("<= 1.3 times", ratio=1.3),
    )


def _at_once(clerk: FakeClerk, tokens: list[str], path: Path) -> float:
    repository = SqliteRepository.open(path)
    app = AuthMiddleware(plain, Resolver(clerk.instance, repository, keep=40_000), require=True)

    async def run() -> float:
        gc.collect()
        begin = perf_counter()
        answers = await asyncio.gather(*(_ask(app, token) for token in tokens))
        seconds = perf_counter() - begin
        assert set(answers) == {200}, set(answers)
        return seconds

    seconds = asyncio.run(run())
    repository.close()
    return seconds


def _one_by_one(size: int, path: Path) -> float:
    repository = SqliteRepository.open(path)
    records = [ClerkUser.make(FROM_TOKEN, "here", f"user_{number:027d}", observed_at=1) for number in range(size)]
    gc.collect()
    begin = perf_counter()
    for record in records:
        repository.put([record])
    seconds = perf_counter() - begin
    repository.close()
    return seconds


async def _ask(app: AuthMiddleware, token: str) -> int:
    """Send a request without a server, and return the status of the answer."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"authorization", b"Bearer " + token.encode())],
    }
    status: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    await app(scope, receive, send)
    return status[0]


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100)[98]
