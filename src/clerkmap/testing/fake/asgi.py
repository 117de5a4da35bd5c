"""The made-up Clerk as an ASGI application, for any server: `uvicorn.run(clerk.app)`.

It is for programs, not for web pages: a request that a browser sends for a page is refused, and so is one for a host
that is not this machine, which is how a page of a stranger would get at a server on localhost.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ...core.validation import LOOPBACK
from ..clock import Clock
from .api import MAX_BODY, Api
from .api_faults import left_to_wait
from .api_requests import ApiAnswer, ApiRequest, answer_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ClerkApp:
    """An API as an ASGI application.

    Args:
        api: The API.
        clock: What latency is measured with: a clock that stands still is moved on instead.
        hosts: The names it may be reached by.
    """

    def __init__(self, api: Api, clock: Clock, hosts: tuple[str, ...]) -> None:
        self._api = api
        self._clock = clock
        self._hosts = {*LOOPBACK, *hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await self._send(await self._answer(scope, receive), send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Scope, receive: Receive) -> ApiAnswer:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if refused := self._refused(headers):
            return refused
        body = await _body(receive)
        if body is None:
            return _refusal(400, "request_body_invalid", "The body was cut off")
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        return self._api(ApiRequest(scope["method"], path, scope["query_string"].decode("latin-1"), headers, body))

    def _refused(self, headers: dict[str, str]) -> ApiAnswer | None:
        host = headers.get("host", "")
        name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
        if name.lower() not in self._hosts:
            return _refusal(403, "host_invalid", "This host is not served here")
        if "origin" in headers:
            return _refusal(403, "origin_invalid", "The Backend API is not for web pages")
        return None

    async def _send(self, answer: ApiAnswer, send: Send) -> None:
        if seconds := left_to_wait(answer.delay, self._clock):
            from asyncio import sleep  # here, not above: who imports the test kit seldom runs a server

            await sleep(seconds)
        # Of an answer that is cut, at least one byte is announced that does not come: the server then closes.
        length = len(answer.body) if answer.cut is None else max(1, len(answer.body))
        headers = {**answer.headers, "content-length": str(length)}
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        body = answer.body if answer.cut is None else answer.body[: max(0, answer.cut)]
        await send({"type": "http.response.body", "body": body, "more_body": answer.cut is not None})


def _refusal(status: int, code: str, message: str) -> ApiAnswer:
    return answer_of({"errors": [{"message": message, "long_message": message, "code": code}]}, status)


async def _body(receive: Receive) -> bytes | None:
    """The body, of which no more is read than the API would take. None if it was cut off."""
    body = bytearray()
    while len(body) <= MAX_BODY:
        message = await receive()
        if message["type"] != "http.request":
            return None  # it was cut off, and nobody waits for an answer any more
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return bytes(body)


async def _live(receive: Receive, send: Send) -> None:
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})
