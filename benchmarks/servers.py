"""The cost of the ASGI middleware under a real server, measured by a client in a separate process."""

import asyncio
import multiprocessing
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Literal, get_args

import uvicorn

from clerkmap import Resolver
from clerkmap.adapters.asgi import AuthMiddleware, Receive, Scope, Send
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.testing import FakeClerk

from .measure import Aim, Figure, Row, Side, compare, constant, figure, progress

CONNECTIONS = 8  # enough that the server never waits for the client
CROWD = 200

Http = Literal[
    "h11", "httptools"
]  # the two HTTP parsers of uvicorn: the default, and the faster one if it is installed
HTTP: tuple[Http, ...] = get_args(Http)


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with the minimum."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


def serve(listening: socket.socket, kind: str, http: Http, folder: str) -> None:
    """Run a server until the process ends. A FakeClerk of the same seed has the same keys in every process."""
    instance = FakeClerk().instance
    app = plain
    if kind == "warm":
        app = AuthMiddleware(plain, Resolver(instance, MemoryRepository()), require=True)
    elif kind == "cold":
        app = AuthMiddleware(plain, Resolver(instance, SqliteRepository.open(Path(folder) / "app.db")))
    config = uvicorn.Config(
        app,
        http=http,
        loop="asyncio",
        lifespan="off",
        access_log=False,
        log_level="error",
        timeout_keep_alive=3600,
    )
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


def servers(short: bool) -> Iterator[Row]:
    """Return the rows of the ASGI middleware."""
    for http in HTTP:
        yield _throughput(http, 3 if short else 61, 5 if short else 250)
    yield _delay(1 if short else 9)


def _throughput(http: Http, rounds: int, times: int) -> Row:
    clerk = FakeClerk()
    token = clerk.token(clerk.create_user(), version=2)
    with server("bare", http) as bare, server("warm", http) as warm, ExitStack() as stack:
        ours = [stack.enter_context(closing(Client(warm, token))) for _ in range(CONNECTIONS)]
        theirs = [stack.enter_context(closing(Client(bare, token))) for _ in range(CONNECTIONS)]
        sides = [Side(ask_all, constant([clients] * times)) for clients in (ours, theirs)]
        mine, other, ratio = compare(sides[0], sides[1], rounds, f"requests under uvicorn, {http}")
    each = [Figure(*(value / CONNECTIONS for value in side)) for side in (mine, other)]
    aim = Aim("<= 1.05 times: 95 % of the requests", ratio=1 / 0.95)
    what = f"a request with a token seen before, under uvicorn ({http})"
    return Row("asgi", what, each[0], "the same application bare", each[1], ratio, aim)


def _delay(rounds: int) -> Row:
    """Measure the longest wait of a request without a token while many requests arrive at once.

    The crowd has tokens of new users on one side, and no tokens on the other.
    """
    clerk = FakeClerk()
    known, unknown = [], []
    with server("cold", "httptools") as address, closing(Client(address, None)) as passer_by:
        for number in range(rounds):
            progress(f"a crowd arrives: round {number + 1} of {rounds}")
            tokens = [clerk.token(clerk.create_user()) for _ in range(CROWD)]
            unknown.append(_longest_wait(passer_by, address, tokens))
            known.append(_longest_wait(passer_by, address, [None] * CROWD))
        progress("")
    aim = Aim("<= 20 ms", limit=20e-3)
    what = f"the longest wait of a plain request while {CROWD} unknown people arrive, SQLite"
    ratio = median(ours / theirs for ours, theirs in zip(unknown, known, strict=True))
    return Row("asgi", what, figure(unknown), "while as many arrive without a token", figure(known), ratio, aim)


def _longest_wait(passer_by: "Client", address: tuple[str, int], tokens: Sequence[str | None]) -> float:
    with ExitStack() as stack:
        crowd = [stack.enter_context(closing(Client(address, token))) for token in tokens]
        passer_by.ask()
        for client in crowd:
            client.send()
        longest = max(passer_by.ask() for _ in range(CROWD))
        for client in crowd:
            client.receive()
    return longest


def ask_all(clients: "list[Client]") -> None:
    """Send one request on each connection, and then wait for all responses."""
    for client in clients:
        client.send()
    for client in clients:
        client.receive()


class Client:
    """A keep-alive connection."""

    def __init__(self, address: tuple[str, int], token: str | None) -> None:
        headers = "" if token is None else f"Authorization: Bearer {token}\r\n"
        self._request = f"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n{headers}\r\n".encode()
        self._socket = socket.create_connection(address, timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self) -> None:
        """Send the request."""
        self._socket.sendall(self._request)

    def receive(self) -> None:
        """Wait for the response."""
        answer = self._socket.recv(65_536)
        while not answer.endswith(b"\r\n\r\nok"):
            piece = self._socket.recv(65_536)
            assert piece, answer
            answer += piece

    def ask(self) -> float:
        """Send the request, wait, and return the elapsed seconds."""
        begin = perf_counter()
        self.send()
        self.receive()
        return perf_counter() - begin

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


@contextmanager
def server(kind: str, http: Http) -> Iterator[tuple[str, int]]:
    """Run a server in a separate process, and yield its address."""
    # asyncio must know the protocol to send small responses at once.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    with tempfile.TemporaryDirectory() as folder, listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1024)
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(listening, kind, http, folder))
        process.start()
        try:
            yield listening.getsockname()
        finally:
            process.terminate()
            process.join()
