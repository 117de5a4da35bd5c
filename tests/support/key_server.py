"""The far end of a fetch: an httpx transport and a real server that publish keys, or fail in every way we know.

The keys are a FakeClerk's. The answers are written by hand: no server that is any good would give most of them, other
providers have their keys at other addresses, and a request must be held up for as long as a test likes.
"""

import gzip
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import httpx

from clerkmap.auth.verifier import Verifier
from clerkmap.clerk.jwks import RemoteKeys
from clerkmap.core.claims import Claims
from clerkmap.testing import Clock, FakeClerk

PATIENCE = 120.0  # seconds after which a test that hangs is ended
NOON = 1_750_000_000.0
Answer = Callable[[httpx.Request], httpx.Response]


def answer(body: bytes, status: int = 200, **headers: str) -> Answer:
    """Always the same answer. Header names are written with underscores."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: httpx.Response(status, headers=sent, stream=httpx.ByteStream(body), request=request)


def failure(error: Callable[[str], httpx.TransportError]) -> Answer:
    """No answer, but an exception of httpx."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise error("made up by the test")

    return fail


# Keys of somebody else: whoever takes them from a bad answer is found out.
_GOOD = json.dumps(FakeClerk(404).jwks()).encode()

# Whatever the far end may do instead of publishing keys. None of it may cost a key that is known.
TROUBLES: dict[str, Answer] = {
    "500": answer(b"", 500),
    "503 with the keys": answer(_GOOD, 503),
    "404": answer(b"not found", 404),
    "429": answer(b"", 429, retry_after="86400"),
    "204": answer(b"", 204),
    "206 with the keys": answer(_GOOD, 206),
    "redirect": answer(b"", 302, location="https://evil.example/jwks"),
    "html": answer(b"<!doctype html><title>Captive portal</title>", content_type="text/html"),
    "empty body": answer(b""),
    "no keys": answer(b'{"keys":[]}'),
    "keys as an object": answer(b'{"keys":{}}'),
    "keys as null": answer(b'{"keys":null}'),
    "another document": answer(b'{"errors":[]}'),
    "a list": answer(b"[" + _GOOD + b"]"),
    "keys twice": answer(b'{"keys":[],' + _GOOD[1:]),
    "truncated": answer(_GOOD[:-20]),
    "not UTF-8": answer(b"\xff\xfe" + _GOOD),
    "deep": answer(b'{"keys":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "a number of too many digits": answer(b'{"keys":' + b"9" * 5000 + b"}"),
    "only a bad key": answer(b'{"keys":[{"kty":"RSA","kid":"ins_1","n":"AA","e":"AQAB"}]}'),
    "huge": answer(b" " * 300_000 + _GOOD),
    "gzip": answer(gzip.compress(_GOOD), content_encoding="gzip"),
    "connection refused": failure(httpx.ConnectError),
    "connect timeout": failure(httpx.ConnectTimeout),
    "read timeout": failure(httpx.ReadTimeout),
    "connection lost": failure(httpx.RemoteProtocolError),
}


class KeyServer(httpx.BaseTransport):
    """An httpx transport at whose other end an instance publishes its keys. It counts, stalls and fails as told.

    `trouble` is what to answer instead of keys. `gate` is open unless a test closes it: then every request waits there.
    `documents` are further JSON documents, by path; `urls` is what was asked for.
    """

    def __init__(self, clerk: FakeClerk) -> None:
        self.clerk = clerk
        self.trouble: Answer | None = None
        self.documents: dict[str, Any] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()
        self.urls: list[str] = []
        self.requests: list[httpx.Request] = []

    @property
    def count(self) -> int:
        """How many requests have come."""
        return len(self.requests)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.urls.append(str(request.url))
        self.requests.append(request)
        self.reached.set()
        if not self.gate.wait(PATIENCE):
            raise httpx.ReadTimeout("the test has forgotten to open the gate")
        if self.trouble is not None:
            return self.trouble(request)
        document = self.documents.get(request.url.path, self.clerk.jwks())
        return answer(json.dumps(document).encode(), content_type="application/json")(request)


def settle() -> None:
    """Wait until no fetch is in the air."""
    for thread in threading.enumerate():
        if thread.name == "clerkmap-keys":
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a fetch hangs"


class World:
    """One instance with its key server, its remote keys on one clock and its verifier on another."""

    def __init__(self, seed: int = 1, **options: Any) -> None:
        self.wall = Clock(NOON)
        self.monotonic = Clock(5_000.0)
        self.clerk = FakeClerk(seed, clock=self.wall)
        self.server = KeyServer(self.clerk)
        self.instance = self.clerk.make_instance(jwks=None)
        self.keys = RemoteKeys(self.instance, transport=self.server, monotonic=self.monotonic, **options)
        self.verifier = Verifier(self.instance, keys=self.keys, clock=self.wall)
        self.user = self.clerk.create_user()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.wall.advance(seconds)
        self.monotonic.advance(seconds)

    def token(self) -> str:
        """A fresh token of the one user."""
        return self.clerk.token(self.user)

    def sign_in(self) -> Claims:
        """The user comes with a fresh token. Whatever this sets going behind their back is waited for."""
        claims = self.verifier.verify(self.token())
        settle()
        return claims


class RealServer:
    """A real HTTP server on this machine, that answers in a chosen manner until the block is left.

    good · long · endless · slow (a body that trickles) · late (headers that trickle) · gzip · redirect
    """

    def __init__(self, clerk: FakeClerk, manner: str = "good") -> None:
        self.clerk = clerk
        self.manner = manner
        self.over = threading.Event()
        self.seen: list[tuple[str, dict[str, str]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                with suppress(OSError):  # they have hung up, as they should
                    getattr(server, f"_{server.manner}")(self)
                self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = False  # so that leaving the block waits for them
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.over.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _start(self, handler: BaseHTTPRequestHandler, status: int = 200, **headers: str) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    def _good(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.dumps(self.clerk.jwks()).encode()
        self._start(handler, content_length=str(len(body)))
        handler.wfile.write(body)

    def _long(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.dumps(self.clerk.jwks()).encode().rjust(5_000_000)
        self._start(handler, content_length=str(len(body)))
        handler.wfile.write(body)

    def _endless(self, handler: BaseHTTPRequestHandler) -> None:
        self._start(handler)
        while not self.over.is_set():
            handler.wfile.write(b" " * 65_536)

    def _slow(self, handler: BaseHTTPRequestHandler) -> None:
        self._start(handler, content_length="1000")
        while not self.over.wait(0.05):
            handler.wfile.write(b" ")

    def _late(self, handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.over.wait(0.05):
            handler.wfile.write(b"a")

    def _gzip(self, handler: BaseHTTPRequestHandler) -> None:
        body = gzip.compress(json.dumps(self.clerk.jwks()).encode())
        self._start(handler, content_length=str(len(body)), content_encoding="gzip")
        handler.wfile.write(body)

    def _redirect(self, handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/elsewhere":
            self._good(handler)
        else:
            self._start(handler, 302, location="/elsewhere", content_length="0")
