"""The made-up Clerk behind httpx, without a socket: for `httpx.Client` and `httpx.AsyncClient` alike."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import httpx

from ..clock import Clock
from .api import Api
from .api_faults import left_to_wait
from .api_requests import ApiAnswer, ApiRequest

_NO_ANSWER = "Server disconnected without sending a response."
_HALF_AN_ANSWER = "peer closed connection without sending complete message body"


class ClerkTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Hands requests to an API, whatever host they are for: `httpx.Client(transport=clerk.transport())`."""

    def __init__(self, api: Api, clock: Clock) -> None:
        self._api = api
        self._clock = clock

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Ask and answer in the caller's thread."""
        request.read()
        answer = self._api(_asked(request))
        delay, error = _seen_by(request, answer)
        if seconds := left_to_wait(delay, self._clock):
            time.sleep(seconds)
        if error is not None:
            raise error
        return _response(answer)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The same in the event loop, which goes on while an answer is late."""
        await request.aread()
        answer = self._api(_asked(request))
        delay, error = _seen_by(request, answer)
        if seconds := left_to_wait(delay, self._clock):
            await asyncio.sleep(seconds)
        if error is not None:
            raise error
        return _response(answer)


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of an answer, which may end too early."""

    def __init__(self, body: bytes, cut: int | None) -> None:
        self._body = body
        self._cut = cut

    def __iter__(self) -> Iterator[bytes]:
        yield self._body[: self._cut]
        if self._cut is not None:
            raise httpx.RemoteProtocolError(_HALF_AN_ANSWER)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


def _asked(request: httpx.Request) -> ApiRequest:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return ApiRequest(request.method, request.url.path, request.url.query.decode("latin-1"), headers, request.content)


def _seen_by(request: httpx.Request, answer: ApiAnswer) -> tuple[float, httpx.TransportError | None]:
    """After how many seconds the client sees something, and what it is if it is not the answer."""
    patience = request.extensions.get("timeout", {}).get("read")
    if patience is not None and answer.delay > patience:
        return patience, httpx.ReadTimeout("The read operation timed out", request=request)
    if answer.cut == -1:
        return answer.delay, httpx.RemoteProtocolError(_NO_ANSWER, request=request)
    return answer.delay, None


def _response(answer: ApiAnswer) -> httpx.Response:
    headers = {**answer.headers, "content-length": str(len(answer.body))}
    return httpx.Response(answer.status, headers=headers, stream=_Body(answer.body, answer.cut))
