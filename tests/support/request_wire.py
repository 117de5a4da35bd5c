"""A client that says exactly what it is told and reads exactly what comes back, also what should not have come."""

import socket
from typing import Literal, NamedTuple, Self

from requests_row import Headers

PATIENCE = 120.0  # seconds after which a test that hangs is ended
HOST = "app.example.com"


class Reply(NamedTuple):
    """What came back. Names of headers are in lower case, and a header that came twice is there twice."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def completed(method: str, headers: Headers) -> Headers:
    """With the Host that a client sends, and the length of the body there is not."""
    host = [] if any(name.lower() == "host" for name, _ in headers) else [("Host", HOST)]
    length = [("Content-Length", "0")] if method in ("POST", "PUT", "PATCH", "DELETE") else []
    return [*host, *headers, *length]


class Wire:
    """One connection."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=PATIENCE)
        self._heard = bytearray()
        self.is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def ask(self, method: str, path: str, headers: Headers, then: Literal["close", "keep-alive"]) -> Reply:
        """Send a request, one byte for each character, and read the answer.

        If it is the last one, all that comes behind it, although nothing should, is taken for a part of its body.
        """
        lines = [f"{name}: {value}" for name, value in [*completed(method, headers), ("Connection", then)]]
        self._socket.sendall("\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1"))
        first, *rest = self._line(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status = first.split(" ")[:2]
        assert version in ("HTTP/1.0", "HTTP/1.1"), f"this is no answer: {first!r}"
        pairs = [line.partition(":")[::2] for line in rest]
        told = [(name.lower(), value.strip()) for name, value in pairs]
        body = self._body(method, int(status), dict(told))
        if then == "close" or dict(told).get("connection", "").lower() == "close":
            self.is_over = True
            body += self._all()
        if status == "500":  # behind which a server may hang up without a word
            self.is_over = True
        return Reply(int(status), told, body)

    def _body(self, method: str, status: int, told: dict[str, str]) -> bytes:
        if method == "HEAD" or status in (204, 304):
            return b""
        if told.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self._line(b"\r\n"), 16):
                body += self._exactly(size)
                self._line(b"\r\n")
            self._line(b"\r\n")
            return body
        if "content-length" in told:
            return self._exactly(int(told["content-length"]))
        self.is_over = True
        return self._all()

    def _line(self, end: bytes) -> bytes:
        while end not in self._heard:
            assert self._more(), f"the server hung up behind {bytes(self._heard)!r}"
        line, _, rest = bytes(self._heard).partition(end)
        self._heard[:] = rest
        return line

    def _exactly(self, length: int) -> bytes:
        while len(self._heard) < length:
            assert self._more(), "the server hung up within a body"
        found, self._heard[:] = bytes(self._heard[:length]), self._heard[length:]
        return found

    def _all(self) -> bytes:
        while self._more():
            pass
        return bytes(self._heard)

    def _more(self) -> bool:
        try:
            piece = self._socket.recv(65_536)
        except ConnectionResetError:  # a server that refuses a request need not have read all of it
            return False
        self._heard += piece
        return bool(piece)
