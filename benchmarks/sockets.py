"""Ten thousand idle WebSockets under a real server, while another process writes to the same SQLite file."""

import asyncio
import multiprocessing
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import uvicorn

from clerkmap import Resolver
from clerkmap.adapters.asgi import AuthMiddleware, Receive, Scope, Send
from clerkmap.core.records import FULL, ClerkUser
from clerkmap.repositories import SqliteRepository
from clerkmap.testing import FakeClerk

from .measure import Aim, Figure, Row, figure, progress

FOREIGN_COMMITS = 2  # a second
_UPGRADE = (
    "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer {}\r\n\r\n"
)


async def idle(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept the connection, and wait for its end."""
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


def serve(listening: socket.socket, path: str) -> None:
    """Run a server until the process ends. Pings are off, because their cost is not a cost of clerkmap."""
    _allow_files()
    app = AuthMiddleware(idle, Resolver(FakeClerk(1).instance, SqliteRepository.open(path), keep=40_000), require=True)
    config = uvicorn.Config(app, lifespan="off", log_level="error", ws_ping_interval=None, backlog=4096)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


def sockets(short: bool) -> Iterator[Row]:
    """Measure the time until a ban in another process closes the socket, and the cost of idle sockets."""
    size, seconds, bans = (200, 2, 2) if short else (10_000, 20, 10)
    _allow_files()
    clerk = FakeClerk(1)
    tokens: dict[str, str] = {}
    for number in range(size):
        progress(f"signing tokens: {number} of {size}")
        user = clerk.create_user()
        tokens[user.id] = clerk.token(user, expires_in=86_400)
    with TemporaryDirectory() as folder, socket.socket() as listening:
        path = str(Path(folder) / "app.db")
        writer = SqliteRepository.open(path)
        listening.bind(("127.0.0.1", 0))
        listening.listen(4096)
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(listening, path))
        process.start()
        try:
            assert process.pid is not None
            cpu, waits = asyncio.run(
                _measure(listening.getsockname(), tokens, writer, clerk.instance.name, process.pid, seconds, bans)
            )
        finally:
            process.kill()
            process.join()
            writer.close()
    what = f"{size:,} idle WebSockets, {FOREIGN_COMMITS} foreign commits a second"
    yield Row("sockets", f"{what}: until a ban closes its socket", figure(waits), aim=Aim("<= 1 s", limit=1))
    yield Row("sockets", f"{what}: CPU in one second", Figure(cpu, cpu), aim=Aim("<= 30 % of a core", limit=0.3))


async def _measure(
    address: tuple[str, int],
    tokens: dict[str, str],
    writer: SqliteRepository,
    instance: str,
    pid: int,
    seconds: int,
    bans: int,
) -> tuple[float, list[float]]:
    """Return the CPU seconds per second, and the time of each ban."""
    closed: dict[str, asyncio.Event] = {}
    readers: list[Any] = []
    for number, (user, token) in enumerate(tokens.items()):
        progress(f"opening WebSockets: {number} of {len(tokens)}")
        reader, stream = await asyncio.open_connection(*address)
        stream.write(_UPGRADE.format(token).encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in answer, answer
        closed[user] = asyncio.Event()
        readers.append((asyncio.create_task(_wait(reader, closed[user])), stream))
    random, now = Random(1), 2_000_000_000_000
    people = list(tokens)

    def write(user: str, **said: Any) -> None:
        nonlocal now
        now += 1
        writer.put([ClerkUser.make(FULL, instance, user, observed_at=now, updated_at=now, **said)])

    await asyncio.sleep(2)  # all first requests are answered
    begin, used = perf_counter(), _cpu(pid)
    for number in range(FOREIGN_COMMITS * seconds):
        progress(f"foreign commits: {number} of {FOREIGN_COMMITS * seconds}")
        write(random.choice(people), first_name=f"Ann {number}")
        await asyncio.sleep(max(0, begin + (number + 1) / FOREIGN_COMMITS - perf_counter()))
    cpu = (_cpu(pid) - used) / (perf_counter() - begin)
    waits = []
    for user in random.sample(people, bans):
        await asyncio.sleep(random.random())
        write(user, banned=True)
        committed = perf_counter()
        await asyncio.wait_for(closed[user].wait(), 60)
        waits.append(perf_counter() - committed)
    assert sum(event.is_set() for event in closed.values()) == bans
    progress("")
    for task, stream in readers:
        task.cancel()
        stream.transport.abort()
    await asyncio.wait([task for task, _ in readers])
    return cpu, waits


async def _wait(reader: asyncio.StreamReader, closed: asyncio.Event) -> None:
    frame = await reader.read(256)
    assert frame[:1] == b"\x88", frame  # the server closes
    assert int.from_bytes(frame[2:4], "big") == 4401, frame
    closed.set()


def _cpu(pid: int) -> float:
    """Return the CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _allow_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
