"""A real HTTP server in Clerk's place, on this machine, whose answers a test writes by hand."""

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from clerkmap.testing import FakeClerk

PATIENCE = 120.0  # seconds after which a test that hangs is ended
GOOD = b'{"total_count": 5}'
CLERK = FakeClerk(31)  # the instance whose secret key is accepted here


class ApiServer:
    """Answers as `manner` says until the block is left, and keeps the path and the headers of each request.

    The check of the secret key is answered for the instance `CLERK`, and is not kept.
    """

    def __init__(self, manner: "Callable[[Self, BaseHTTPRequestHandler], object] | None" = None) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.reached = threading.Event()
        self.gate = threading.Event()  # what `stuck` waits for
        server, how = self, manner or type(self).good

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                if self.path == "/v1/jwks":
                    server.send(self, json.dumps(CLERK.jwks()).encode())
                    return
                server.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                server.reached.set()
                with suppress(OSError):  # they have hung up, as they should
                    how(server, self)

            do_POST = do_GET  # noqa: N815 - the name is the library's

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self._http.shutdown()
        self._thread.join(PATIENCE)
        self._http.server_close()

    def send(self, handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
        """An answer; `length=` announces another length than the body has."""
        handler.send_response(status)
        named = {"content_type": "application/json", "length": str(len(body))} | headers
        for name, value in named.items():
            handler.send_header({"length": "content-length"}.get(name, name.replace("_", "-")), value)
        handler.end_headers()
        handler.wfile.write(body)

    def good(self, handler: BaseHTTPRequestHandler) -> None:
        """Five people."""
        self.send(handler, GOOD)

    def stuck(self, handler: BaseHTTPRequestHandler) -> None:
        """Nothing, until the gate is opened; then five people."""
        if len(self.seen) == 1:
            self.gate.wait(PATIENCE)
        self.send(handler, GOOD)
