"""CORS preflights that pass a `require=`: the application answers them, and its answer is reduced to the CORS headers.

A browser sends a preflight without a token before a request from another origin. A CORS middleware may stand inside the
protected application, so the preflight has to reach it. The application cannot tell a browser from any other client
that sends the same headers, so nothing of its answer passes that is not about CORS.
"""

import asyncio
import contextvars
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal, Never

from ..errors import ConfigurationError
from .asgi_messages import App, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

Preflight = Literal["pass", "refuse"]

PATIENCE = 5.0  # seconds that an ASGI application may go on with an answer that has been sent
# The only headers that the application is handed. It might obey others, or a query or form that overrides the method,
# and a stranger has sent them.
_ASKED = (b"origin", b"host", b"access-control-request-")
_ASKED_IN_ENVIRON = ("HTTP_ORIGIN", "HTTP_HOST", "HTTP_ACCESS_CONTROL_REQUEST_")
_KEPT = ("access-control-", "vary", "allow")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # not every server refuses a line break in a header
_STATUS = re.compile(r"[1-9][0-9]{2}(?![0-9])")
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


def check_preflight(preflight: str) -> bool:
    """Return whether preflights pass, or raise if the option is neither of its two values."""
    if preflight not in ("pass", "refuse"):
        raise ConfigurationError("preflight must be 'pass' or 'refuse'")
    return preflight == "pass"


class ReducedAsgi:
    """An ASGI application whose answer is reduced. A body is discarded as it comes, and never kept; an application that
    goes on with it for longer than `patience` seconds is cancelled."""

    def __init__(self, app: App, *, patience: float = PATIENCE) -> None:
        self._app = app
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ending = asyncio.timeout(None)
        is_sent = is_heard = False
        headers = [(name, value) for name, value in scope["headers"] if name.lower().startswith(_ASKED)]
        scope = {**scope, "headers": headers, "query_string": b""}

        async def hear() -> Message:
            nonlocal is_heard
            if is_heard and not is_sent:
                return await receive()
            await asyncio.sleep(0)  # an application that asks again and again must not keep the loop from ending it
            if is_sent:
                return {"type": "http.disconnect"}
            is_heard = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def tell(message: Message) -> None:
            nonlocal is_sent
            if is_sent:
                await asyncio.sleep(0)  # an endless stream must not keep the event loop from ending it
            elif message["type"] == "http.response.start":
                is_sent = True
                ending.reschedule(asyncio.get_running_loop().time() + self._patience)
                status, pairs = message["status"], message.get("headers", ())
                told = _reduced(status, [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs])
                headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told]
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        try:
            async with ending:
                await self._app(scope, hear, tell)
        except TimeoutError:
            if not ending.expired():
                raise


class _Answered(BaseException):
    """Raised where an application writes its body. An application that catches every `Exception` is ended, too."""


def reduced_wsgi(
    app: "WSGIApplication",
    environ: dict[str, Any],
    start_response: "StartResponse",
    context: contextvars.Context,
) -> list[bytes]:
    """Call a WSGI application within a context and reduce its answer. Of the body, nothing is asked for that is not
    needed to make the application begin its answer. The first call of `write` ends the application."""
    others = {name for name in environ if name.startswith("HTTP_") and not name.startswith(_ASKED_IN_ENVIRON)}
    asked = {name: value for name, value in environ.items() if name not in others}
    environ = {**asked, "QUERY_STRING": "", "CONTENT_LENGTH": "0", "CONTENT_TYPE": "", "wsgi.input": BytesIO()}
    begun: list[tuple[str, list[tuple[str, str]]]] = []

    def begin(status: str, headers: list[tuple[str, str]], *_error: Any) -> Callable[[bytes], object]:
        begun[:] = [(status, headers)]
        return _write

    with suppress(_Answered):
        body = context.run(app, environ, begin)
        try:
            if not begun:  # a generator begins when its first piece is asked for
                context.run(next, context.run(iter, body), b"")
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                context.run(close)
    for line, headers in begun:  # without any, the server has its own word for an application that never answers
        status = _status(line)
        start_response(f"{status} {_PHRASES.get(status, 'Unknown')}", _reduced(status, headers))
    return []


def _write(_piece: bytes) -> Never:
    raise _Answered


def _status(line: str) -> int:
    """Return the number in a status line. The reason phrase does not pass: it may hold a line break, or a secret."""
    found = _STATUS.match(line)
    if found is None:
        raise ValueError("the application's status line must begin with three digits, such as '204 No Content'")
    return int(found[0])


def _reduced(status: int, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers that may pass, and the length of no body where an answer of this status has a length."""
    plain = [(name, value) for name, value in headers if not _CONTROL.search(name + value)]
    kept = [(name, value) for name, value in plain if name.lower().startswith(_KEPT[0]) or name.lower() in _KEPT[1:]]
    return kept if status < 200 or status in (204, 304) else [*kept, ("content-length", "0")]
