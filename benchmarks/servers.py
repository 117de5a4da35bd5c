"""What the ASGI middleware costs under a real server, seen by a client in a process of its own."""

import asyncio
import multiprocessing
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import perf_counter

import uvicorn

from clerkmap import Resolver
from clerkmap.adapters.asgi import AuthMiddleware
from clerkmap.adapters.asgi_messages import Receive, Scope, Send
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.testing import FakeClerk

from .measure import Aim, Figure, Row, Side, compare, constant, figure, progress

CONNECTIONS = 8  # enough that the server never waits for the client
CROWD = 200


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    """The least that an application can do."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


def serve(listening: socket.socket, kind: str, folder: str) -> None:
    """A server's whole life. A FakeClerk of the same seed has the same keys in every process."""
    instance = FakeClerk().instance
    app = plain
    if kind == "warm":
        app = AuthMiddleware(plain, Resolver(instance, MemoryRepository()), require=True)
    elif kind == "cold":
        app = AuthMiddleware(plain, Resolver(instance, SqliteRepository.open(Path(folder) / "app.db")))
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="asyncio",
        lifespan="off",
        access_log=False,
        log_level="error",
        timeout_keep_alive=3600,
    )
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


def servers(short: bool) -> Iterator[Row]:
    """The rows of the ASGI middleware."""
    yield _throughput(3 if short else 61, 5 if short else 250)
    yield _delay(1 if short else 9)


def _throughput(rounds: int, times: int) -> Row:
    clerk = FakeClerk()
    token = clerk.token(clerk.create_user(), version=2)
    with server("bare") as bare, server("warm") as warm, ExitStack() as stack:
        ours = [stack.enter_context(closing(Client(warm, token))) for _ in range(CONNECTIONS)]
        theirs = [stack.enter_context(closing(Client(bare, token))) for _ in range(CONNECTIONS)]
        sides = [Side(ask_all, constant([clients] * times)) for clients in (ours, theirs)]
        mine, other, ratio = compare(sides[0], sides[1], rounds, "requests under uvicorn")
    each = [Figure(*(value / CONNECTIONS for value in side)) for side in (mine, other)]
    aim = Aim("<= 1.05 times: 95 % of the requests", ratio=1 / 0.95)
    what = "a request with a token seen before, under uvicorn"
    return Row("asgi", what, each[0], "the same application bare", each[1], ratio, aim)


def _delay(rounds: int) -> Row:
    """The longest that anybody without a token waits while a crowd of people whom nobody has seen arrives at once."""
    clerk = FakeClerk()
    waits, alone = [], []
    with server("cold") as address, closing(Client(address, None)) as passer_by:
        for number in range(rounds):
            progress(f"a crowd arrives: round {number + 1} of {rounds}")
            with ExitStack() as stack:
                tokens = [clerk.token(clerk.create_user()) for _ in range(CROWD)]
                crowd = [stack.enter_context(closing(Client(address, token))) for token in tokens]
                alone.append(max(passer_by.ask() for _ in range(CROWD)))
                for client in crowd:
                    client.send()
                waits.append(max(passer_by.ask() for _ in range(CROWD)))
                for client in crowd:
                    client.receive()
        progress("")
    aim = Aim("<= 20 ms longer", limit=20e-3)
    longer = [wait - before for wait, before in zip(waits, alone, strict=True)]
    what = f"how much longer a plain request waits while {CROWD} unknown people arrive, SQLite"
    return Row("asgi", what, figure(longer), "the longest wait before that", figure(alone), aim=aim)


def ask_all(clients: "list[Client]") -> None:
    """One request on each connection, all under way at once."""
    for client in clients:
        client.send()
    for client in clients:
        client.receive()


class Client:
    """One connection that is kept open."""

    def __init__(self, address: tuple[str, int], token: str | None) -> None:
        headers = "" if token is None else f"Authorization: Bearer {token}\r\n"
        self._request = f"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n{headers}\r\n".encode()
        self._socket = socket.create_connection(address, timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self) -> None:
        """Ask."""
        self._socket.sendall(self._request)

    def receive(self) -> None:
        """Wait for the answer."""
        answer = self._socket.recv(65_536)
        while not answer.endswith(b"\r\n\r\nok"):
            piece = self._socket.recv(65_536)
            assert piece, answer
            answer += piece

    def ask(self) -> float:
        """Ask, wait, and tell how long it took."""
        begin = perf_counter()
        self.send()
        self.receive()
        return perf_counter() - begin

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


@contextmanager
def server(kind: str) -> Iterator[tuple[str, int]]:
    """A server in a process of its own, and where it is."""
    # The protocol is named so that asyncio knows it, and sends small answers at once.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    with tempfile.TemporaryDirectory() as folder, listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1024)
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(listening, kind, folder))
        process.start()
        try:
            yield listening.getsockname()
        finally:
            process.terminate()
            process.join()
