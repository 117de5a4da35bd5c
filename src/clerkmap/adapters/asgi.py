"""Middleware and the webhook endpoint for any ASGI application.

    app = AuthMiddleware(app, resolver)                  # authenticate; anonymous requests pass
    app = AuthMiddleware(app, resolver, require=True)    # require a signed-in caller

Protection is never configured by URL path. Wrap the part to protect: a whole application, a mounted one or a single
route. If the middleware fails, the application is not called.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from typing import Any, Unpack

from ..auth.lease import GRACE, Lease, check_grace
from ..auth.resolver import Resolver
from ..auth.result import SIGNED_IN, AuthResult, enter, leave
from ..core.http import as_text, make_asgi_request
from ..core.pages import PageOptions, Target
from ..core.principal import Principal
from ..core.requirements import Requirement
from ..core.responses import RawResponse, error_response
from ..errors import (
    ClerkmapError,
    ConfigurationError,
    LockedOut,
    Refused,
    Unavailable,
    WebhookError,
    WebhookIncomplete,
    WebhookTooLarge,
)
from ..webhooks import Reconciler
from .authenticator import Authenticator, as_requirement
from .preflights import PREFLIGHT_TIMEOUT, REQUEST_HEADERS, Preflight, check_preflight, reduced_headers
from .webhook_responses import MAX_ENCODING, NOT_POST, accepted, check_encoding, failed, unreadable

__all__ = [
    "AuthMiddleware",
    "Require",
    "WebhookEndpoint",
    "auth_result_of",
    "lease_of",
    "optional_principal_of",
    "principal_of",
]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_TIMEOUT = 10.0  # seconds for a webhook's body to arrive; Clerk hangs up after 15

# Close codes of WebSockets. Codes from 4000 belong to the application, 1013 is "try again later".
LEASE_ENDED = 4401  # the client should get a new token and reconnect
TRY_LATER = 1013

_AUTH_RESULT = "clerkmap.auth_result"
_AUTHENTICATOR = "clerkmap.authenticator"
_LEASE = "clerkmap.lease"


def principal_of(scope: Scope) -> Principal:
    """Return the principal, or raise the error that says why there is none. An `AuthMiddleware` turns the error into a
    response."""
    return auth_result_of(scope).principal


def optional_principal_of(scope: Scope) -> Principal | None:
    """Return the principal, or None if the request has no token. A refused token raises its error."""
    return auth_result_of(scope).optional_principal


def lease_of(scope: Scope) -> Lease:
    """Return the caller's lease, to renew and check during a WebSocket or a stream that outlives the token."""
    lease: Lease | None = scope.get(_LEASE)
    if lease is None:
        lease = scope[_LEASE] = auth_result_of(scope).lease()
    return lease


def auth_result_of(scope: Scope) -> AuthResult:
    """Return the request's auth result: the principal, or the error that says why there is none."""
    result: AuthResult | None = scope.get(_AUTH_RESULT)
    if not isinstance(result, AuthResult):
        raise ConfigurationError("AuthMiddleware is not installed: wrap the application in it")
    return result


def response_to(error: ClerkmapError, scope: Scope, required: Requirement | None = None) -> RawResponse:
    """Return the response of the authenticator that found the caller."""
    authenticator = scope.get(_AUTHENTICATOR)
    if not isinstance(authenticator, Authenticator):
        return error_response(error)
    return authenticator.response_to(error, make_asgi_request(scope), Target.of_scope(scope), required)


async def authenticate(authenticator: Authenticator, scope: Scope, within: Any = None) -> AuthResult:
    """Authenticate a request inside an application, but only once: if an outer middleware has an equivalent
    authenticator, return its result. A new user is written in the session `within`, if there is one."""
    outer = scope.get(_AUTHENTICATOR)
    if isinstance(outer, Authenticator) and outer.is_equivalent_to(authenticator):
        return auth_result_of(scope)
    return await _authenticate(authenticator, scope, within)


async def _authenticate(authenticator: Authenticator, scope: Scope, within: Any = None) -> AuthResult:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if type(headers) is not list or (headers and type(headers[0]) is not tuple):
        # The specification allows an iterable that can be read only once, and the application reads it after us.
        headers = scope["headers"] = [(name, value) for name, value in headers]
    result = authenticator.identify_cached(headers)
    if result is None:
        result = await authenticator.aidentify_scope(scope, within)
    scope[_AUTH_RESULT], scope[_AUTHENTICATOR] = result, authenticator
    scope.pop(_LEASE, None)
    return result


class AuthMiddleware:
    """Authenticates each request before the application is called.

    Args:
        app: The application.
        resolver: Resolves tokens to principals.
        require: True to require a signed-in caller, or a `Requirement`.
        preflight: The treatment of CORS preflights if something is required. "pass" lets a preflight reach the
            application, and reduces the response to its status, `Access-Control-*`, `Vary` and `Allow`, without a body.
            "refuse" treats it like any request, for an application with an outer CORS middleware.
        cookies: Whether to read Clerk's session cookie.
        origins: The origins that may send unsafe requests with a cookie, see `TokenFinder`.
        grace: Seconds for which a WebSocket stays open after its token has expired without renewal.
        pages: `sign_in_page`, `refresh_page` and `organization_page` for browsers, see `Pages`.
    """

    def __init__(
        self,
        app: App,
        resolver: Resolver,
        *,
        require: bool | Requirement = False,
        preflight: Preflight = "pass",
        cookies: bool = True,
        origins: Iterable[str] | None = None,
        grace: float = GRACE,
        **pages: Unpack[PageOptions],
    ) -> None:
        self.app: App = app
        self._authenticator = Authenticator(resolver, cookies=cookies, origins=origins, **pages)
        self._required = as_requirement(require)
        self._passes_preflight = check_preflight(preflight)
        check_grace(grace)
        self._grace = grace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._authenticator.warm()
            await self.app(scope, receive, send)
            return
        if kind not in ("http", "websocket"):
            raise ConfigurationError("AuthMiddleware authenticates only http and websocket connections")
        lease: Lease | None = scope.get(_LEASE)
        result = await _authenticate(self._authenticator, scope)
        app = self.app
        if kind == "websocket" and result.error is None:
            if isinstance(lease, Lease) and lease.resolver is self._authenticator.resolver:
                scope[_LEASE] = lease  # an outer middleware watches this WebSocket, so its lease must be renewed
            else:
                app = self._leased
        token = enter(result)
        try:
            await _call(app, self._required, self._passes_preflight, scope, receive, send)
        finally:
            leave(token)

    async def _leased(self, scope: Scope, receive: Receive, send: Send) -> None:
        lease = scope[_LEASE] = auth_result_of(scope).lease(grace=self._grace, required=self._required)
        await LeasedSocket(lease, receive, send).run(self.app, scope)


class Require:
    """Checks a requirement before an application is called. Put it inside an `AuthMiddleware`, around a mounted
    application or a single route. `preflight` is the option of `AuthMiddleware`."""

    def __init__(self, app: App, required: Requirement = SIGNED_IN, *, preflight: Preflight = "pass") -> None:
        self.app: App = app
        self._required = as_requirement(required, always=True)
        self._passes_preflight = check_preflight(preflight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        else:
            await _call(self.app, self._required, self._passes_preflight, scope, receive, send)


async def _call(
    app: App, required: Requirement | None, passes_preflight: bool, scope: Scope, receive: Receive, send: Send
) -> None:
    """Check the requirement and call the application. Turn `Refused` and `Unavailable` of either into a response,
    unless the application has started one.

    The server's `receive` and `send` run without a current principal. Servers may start tasks in them that outlive this
    request, such as the next request on the same connection, which may be another caller's.
    """
    last_received = last_sent = None
    is_socket = scope["type"] == "websocket"

    async def app_receive() -> Message:
        nonlocal last_received
        token = enter(None)
        try:
            message = await receive()
        finally:
            leave(token)
        last_received = message["type"]
        return message

    async def app_send(message: Message) -> None:
        nonlocal last_sent
        last_sent = message["type"]
        token = enter(None)
        try:
            await send(message)
        finally:
            leave(token)

    try:
        if required is not None:
            if passes_preflight and scope.get("method") == "OPTIONS" and make_asgi_request(scope).is_preflight:
                app = PreflightApp(app)
            else:
                await auth_result_of(scope).arequire(required)
        await app(scope, app_receive, app_send)
    except (Refused, Unavailable) as error:
        if last_sent is not None and not is_socket:
            raise
        response = response_to(error, scope, required)
        if not is_socket:
            await respond(response, send)
        elif last_sent is None:
            await deny(response, error.code, scope, receive if last_received is None else None, send)
        elif last_sent in ("websocket.accept", "websocket.send") and last_received != "websocket.disconnect":
            with suppress(OSError):  # the client has hung up
                await send({"type": "websocket.close", "code": close_code(error), "reason": error.code})


async def respond(response: RawResponse, send: Send, *, to: str = "http") -> None:
    """Send a whole response. With `to="websocket"`, send it instead of opening a WebSocket."""
    prefix = "websocket.http" if to == "websocket" else "http"
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    await send({"type": f"{prefix}.response.start", "status": response.status, "headers": headers})
    await send({"type": f"{prefix}.response.body", "body": response.body})


async def deny(response: RawResponse, code: str, scope: Scope, receive: Receive | None, send: Send) -> None:
    """Refuse a WebSocket before it is open. Pass None for `receive` if `websocket.connect` has been received."""
    if receive is not None:
        await receive()  # the specification requires it before the first `send`
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await respond(response, send, to="websocket")
    else:  # the server responds with 403, and the browser sees neither code nor reason
        await send({"type": "websocket.close", "code": 4000 + response.status, "reason": code})


def close_code(error: Refused | Unavailable) -> int:
    """Return the close code for an open WebSocket whose application raised this error."""
    if isinstance(error, Unavailable):
        return TRY_LATER
    return LEASE_ENDED if isinstance(error, LockedOut) else 4000 + error_response(error).status


class LeasedSocket:
    """A WebSocket between server and application that ends with its caller's lease. Each message is checked, in both
    directions."""

    def __init__(self, lease: Lease, receive: Receive, send: Send) -> None:
        self._lease = lease
        self._receive = receive
        self._send = send
        self._is_open = False
        self._disconnect: Message | None = None  # set at the end of the lease
        self._unchecked: Message | None = None  # received but not checked; kept here for the case of a cancellation
        self._receiving = asyncio.Lock()
        self._sending = asyncio.Lock()  # the application and the end of the lease may send at the same time

    async def run(self, app: App, scope: Scope) -> None:
        """Run the application."""
        async with self._lease.watched(self._lease_ended):
            await app(scope, self.receive, self.send)

    async def receive(self) -> Message:
        """Return the client's next message, or a disconnect after the end of the lease."""
        async with self._receiving:
            if self._disconnect is not None:
                return await self._after_close(self._disconnect)
            if self._unchecked is None:
                self._unchecked = await self._receive()
            if self._unchecked["type"] == "websocket.receive":
                await self._check()
            elif self._unchecked["type"] == "websocket.disconnect":
                self._is_open = False
            message, self._unchecked = self._unchecked, None
            return message if self._disconnect is None else await self._after_close(self._disconnect)

    async def _after_close(self, disconnect: Message) -> Message:
        """Return the disconnect after the close frame was sent. An application that gets it earlier may return, and cut
        the frame off."""
        async with self._sending:
            return disconnect

    async def send(self, message: Message) -> None:
        """Send a message to the client. After the end of the lease, raise an OSError, as the ASGI specification
        requires."""
        if message["type"] == "websocket.send":
            await self._check()
        async with self._sending:
            if self._disconnect is not None:
                raise ConnectionAbortedError("the WebSocket was closed: its caller's lease has ended")
            if message["type"] == "websocket.accept":
                self._is_open = True
            elif message["type"] == "websocket.close":
                self._is_open = False
            await self._send(message)

    async def _check(self) -> None:
        try:
            await self._lease.check()
        except Unavailable as error:
            await self._close(TRY_LATER, error)
        except ClerkmapError as error:
            await self._close(LEASE_ENDED, error)

    async def _lease_ended(self, error: ClerkmapError) -> None:
        await self._close(LEASE_ENDED, error)

    async def _close(self, code: int, error: ClerkmapError) -> None:
        if self._disconnect is not None:
            return
        self._disconnect = {"type": "websocket.disconnect", "code": code, "reason": error.code}
        async with self._sending:
            if self._is_open:
                self._is_open = False
                with suppress(OSError):  # the client has hung up
                    await self._send({"type": "websocket.close", "code": code, "reason": error.code})


class PreflightApp:
    """An ASGI application that gets a CORS preflight, and its response reduced to the CORS headers. The body is
    discarded piece by piece. After `timeout` seconds the application is cancelled."""

    def __init__(self, app: App, *, timeout: float = PREFLIGHT_TIMEOUT) -> None:
        self._app = app
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        deadline = asyncio.timeout(None)
        is_sent = is_received = False
        headers = [(name, value) for name, value in scope["headers"] if name.lower().startswith(REQUEST_HEADERS)]
        scope = {**scope, "headers": headers, "query_string": b""}

        async def app_receive() -> Message:
            nonlocal is_received
            if is_received and not is_sent:
                return await receive()
            await asyncio.sleep(0)  # an application that receives in a loop must not block the deadline
            if is_sent:
                return {"type": "http.disconnect"}
            is_received = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def app_send(message: Message) -> None:
            nonlocal is_sent
            if is_sent:
                await asyncio.sleep(0)  # an endless stream must not block the deadline
            elif message["type"] == "http.response.start":
                is_sent = True
                deadline.reschedule(asyncio.get_running_loop().time() + self._timeout)
                status, pairs = message["status"], message.get("headers", ())
                kept = reduced_headers(
                    status, [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]
                )
                headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kept]
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        try:
            async with deadline:
                await self._app(scope, app_receive, app_send)
        except TimeoutError:
            if not deadline.expired():
                raise


class WebhookEndpoint:
    """An ASGI application that receives Clerk's webhooks: `mount("/webhooks/clerk", WebhookEndpoint(reconciler))`.

    It responds with 2xx after the commit, with 4xx to requests that are not Clerk's, and with 5xx to faults of the
    application, so that Clerk delivers again.

    Args:
        reconciler: Verifies and stores the deliveries.
        body_timeout: Seconds for a body to arrive.
    """

    def __init__(self, reconciler: Reconciler, *, body_timeout: float = BODY_TIMEOUT) -> None:
        reconciler.check_receives()
        self._reconciler = reconciler
        self._body_timeout = body_timeout
        self._max_digits = len(str(reconciler.max_body))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4000 + NOT_POST.status})
        elif scope["type"] == "http":
            await respond(await self._response(scope, receive), send)

    async def _response(self, scope: Scope, receive: Receive) -> RawResponse:
        if scope["method"] != "POST":
            return NOT_POST
        headers = list(scope["headers"])
        try:
            for name, value in headers:
                if name == b"content-encoding":
                    check_encoding(as_text(value, MAX_ENCODING + 1))
                elif name == b"content-length" and len(value.lstrip(b"0")) > self._max_digits and value.isdigit():
                    raise WebhookTooLarge  # without waiting for the body
            body = await self._body(receive)
        except WebhookError as error:
            return unreadable(error)
        try:
            return accepted(await self._reconciler.areceive(headers, body))
        except ClerkmapError as error:
            return failed(error)

    async def _body(self, receive: Receive) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_timeout):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise WebhookIncomplete("the client disconnected before the end of the body")
                    body += message.get("body", b"")
                    if len(body) > self._reconciler.max_body:
                        raise WebhookTooLarge
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise WebhookIncomplete(f"the body did not arrive within {self._body_timeout:g} seconds") from None
