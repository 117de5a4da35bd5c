"""The fake Clerk as an ASGI application, for any server: `uvicorn.run(clerk.app)`.

It serves programs, not web pages: a request with an `Origin` header is refused, and so is a `Host` other than this
machine. Otherwise any web page could reach a server on localhost.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ....core.validation import LOOPBACK
from ...clock import Clock
from .backend_api import MAX_BODY, Api
from .faults import seconds_to_wait
from .requests import ApiAnswer, ApiRequest, answer_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ClerkApp:
    """An API as an ASGI application.

    Args:
        api: The API.
        clock: Measures latency. A frozen clock is advanced instead of waiting.
        hosts: The host names that are served, besides those of this machine.
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
        if seconds := seconds_to_wait(answer.delay, self._clock):
            from asyncio import sleep  # imported here: most users of FakeClerk run no server

            await sleep(seconds)
        # A cut answer announces at least one byte that is never sent, so that the server closes the connection.
        length = len(answer.body) if answer.cut is None else max(1, len(answer.body))
        headers = {**answer.headers, "content-length": str(length)}
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        body = answer.body if answer.cut is None else answer.body[: max(0, answer.cut)]
        await send({"type": "http.response.body", "body": body, "more_body": answer.cut is not None})


def _refusal(status: int, code: str, message: str) -> ApiAnswer:
    return answer_of({"errors": [{"message": message, "long_message": message, "code": code}]}, status)


async def _body(receive: Receive) -> bytes | None:
    """Return the body, up to just over the limit of the API. None if the client disconnected."""
    body = bytearray()
    while len(body) <= MAX_BODY:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return bytes(body)


async def _live(receive: Receive, send: Send) -> None:
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})
