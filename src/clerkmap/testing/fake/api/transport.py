"""A transport for `httpx.Client` and `httpx.AsyncClient` that calls the fake Clerk without a socket."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import httpx

from ...clock import Clock
from .backend_api import Api
from .faults import seconds_to_wait
from .requests import ApiAnswer, ApiRequest

_DISCONNECTED = "Server disconnected without sending a response."
_INCOMPLETE = "peer closed connection without sending complete message body"


class ClerkTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Passes requests for any host to an API: `httpx.Client(transport=clerk.transport())`."""

    def __init__(self, api: Api, clock: Clock) -> None:
        self._api = api
        self._clock = clock

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request in the caller's thread."""
        request.read()
        answer = self._api(_read(request))
        delay, error = _seen_by(request, answer)
        if seconds := seconds_to_wait(delay, self._clock):
            time.sleep(seconds)
        if error is not None:
            raise error
        return _response(answer)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request in the event loop, without blocking it."""
        await request.aread()
        answer = self._api(_read(request))
        delay, error = _seen_by(request, answer)
        if seconds := seconds_to_wait(delay, self._clock):
            await asyncio.sleep(seconds)
        if error is not None:
            raise error
        return _response(answer)


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of an answer, which may be cut."""

    def __init__(self, body: bytes, cut: int | None) -> None:
        self._body = body
        self._cut = cut

    def __iter__(self) -> Iterator[bytes]:
        yield self._body[: self._cut]
        if self._cut is not None:
            raise httpx.RemoteProtocolError(_INCOMPLETE)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


def _read(request: httpx.Request) -> ApiRequest:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return ApiRequest(request.method, request.url.path, request.url.query.decode("latin-1"), headers, request.content)


def _seen_by(request: httpx.Request, answer: ApiAnswer) -> tuple[float, httpx.TransportError | None]:
    """Return the delay until the client sees the answer or an error, and the error."""
    timeout = request.extensions.get("timeout", {}).get("read")
    if timeout is not None and answer.delay > timeout:
        return timeout, httpx.ReadTimeout("The read operation timed out", request=request)
    if answer.cut == -1:
        return answer.delay, httpx.RemoteProtocolError(_DISCONNECTED, request=request)
    return answer.delay, None


def _response(answer: ApiAnswer) -> httpx.Response:
    headers = {**answer.headers, "content-length": str(len(answer.body))}
    return httpx.Response(answer.status, headers=headers, stream=_Body(answer.body, answer.cut))
