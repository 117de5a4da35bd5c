"""The ASGI application of Clerk on localhost: the page and its events, Clerk's API, and the demo application."""

from pathlib import Path
from typing import Any

from ..adapters.asgi import Message, Receive, Scope, Send, respond
from ..core.responses import RawResponse
from ..core.strict_json import read_object
from ..testing import ClerkRefuses
from . import actions, wire_actions
from .demo import as_json
from .event_stream import stream
from .instance import Box
from .origin_guard import HEADERS, MOST_ASKED, OriginGuard, Stranger, too_large
from .requests import perform
from .snapshot import snapshot

PAGE = Path(__file__).parent / "page"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
__all__ = ["LocalApp", "actions", "wire_actions"]


class LocalApp:
    """The ASGI application.

    Args:
        box: The parts to show.
        port: The port of the server.
        page: The folder of the page. Only files that exist at the start are served.
    """

    def __init__(self, box: Box, port: int, *, page: Path = PAGE) -> None:
        self.address: str = f"http://127.0.0.1:{port}"
        self._box = box
        self._guard = OriginGuard(port)
        self._files = {f"/page/{file.name}": file for file in page.iterdir() if file.suffix in KINDS}
        self._files["/"] = page / "index.html"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            self._guard.check(scope)
            await self._route(scope, receive, send)
        except Stranger as stranger:
            await self._refuse(stranger.status, stranger.code, str(stranger), send)
        except ClerkRefuses as refusal:
            await self._refuse(refusal.status, refusal.code, refusal.message, send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.startswith("/demo/"):
            await self._box.demo(scope, receive, self._kept(scope, send))
        elif path == "/do":
            _check_method(scope, "POST")
            self._guard.check_asked(scope)
            asked = await _read(receive)
            await _send(as_json(200, await perform(self._box, asked)), send)
        elif path == "/live":
            _check_method(scope, "GET")
            await stream(self._box.changes, self.snapshot, list(HEADERS), receive, send)
        elif path == "/state":
            _check_method(scope, "GET")
            await _send(as_json(200, self.snapshot()), send)
        elif path in self._files:
            _check_method(scope, "GET")
            await _send(_file(self._files[path]), send)
        else:  # Clerk's API answers unknown paths itself
            await self._box.clerk.app(scope, receive, self._kept(scope, send))

    def snapshot(self) -> dict[str, Any]:
        """Return the state for the page."""
        return snapshot(self._box, self.address)

    def _kept(self, scope: Scope, send: Send) -> Send:
        """Save the changes of a request before it is answered."""
        if scope["method"] in ("GET", "HEAD") and not scope["path"].startswith("/demo/"):
            return send

        async def send_kept(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._box.changes.tell()
                self._box.keep()
            await send(message)

        return send_kept

    async def _refuse(self, status: int, code: str, message: str, send: Send) -> None:
        await _send(as_json(status, {"error": {"code": code, "message": message}}), send)


async def _send(answer: RawResponse, send: Send) -> None:
    safe = tuple((name.decode(), value.decode()) for name, value in HEADERS)
    await respond(RawResponse(answer.status, (*answer.headers, *safe), answer.body), send)


def _check_method(scope: Scope, method: str) -> None:
    if scope["method"] != method:
        raise Stranger(405, "method_refused", f"This address accepts only {method}")


async def _read(receive: Receive) -> dict[str, Any]:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Stranger(400, "body_incomplete", "The request is incomplete")
        body += message.get("body", b"")
        if len(body) > MOST_ASKED:
            raise too_large()
        if not message.get("more_body", False):
            break
    try:
        return read_object(bytes(body).strip())
    except ValueError as error:
        raise Stranger(400, "body_refused", f"The request is {error}") from None


def _file(path: Path) -> RawResponse:
    try:
        body = path.read_bytes()
    except OSError:
        raise Stranger(404, "not_found", "This page does not exist") from None
    return RawResponse(200, (("content-type", KINDS[path.suffix]), ("content-length", str(len(body)))), body)
