"""For any ASGI application: who is calling, on HTTP and on WebSockets.

    app = AuthMiddleware(app, resolver)                  # says who is calling, and lets everybody through
    app = AuthMiddleware(app, resolver, require=True)    # nobody gets through who is not signed in

Which requests are protected is never told by a path: wrap what is to be protected, a whole application, a mounted one
or a single route's. Whatever fails in here, the application is not reached.
"""

from collections.abc import Iterable
from contextlib import suppress

from ..auth.lease import GRACE, Lease, check_grace
from ..auth.resolver import Resolver
from ..auth.result import SIGNED_IN, AuthResult, enter, leave
from ..core.http import make_asgi_request
from ..core.principal import Principal
from ..core.requirements import Requirement
from ..core.responses import error_response
from ..errors import ConfigurationError, Refused, Unavailable
from .asgi_messages import App, Message, Receive, Scope, Send, closing_code, deny, respond
from .asgi_sockets import LeasedSocket
from .asgi_webhooks import WebhookEndpoint
from .authenticator import Authenticator, as_requirement
from .cors import Preflight, ReducedAsgi, check_preflight

__all__ = [
    "AuthMiddleware",
    "Require",
    "WebhookEndpoint",
    "auth_result_of",
    "lease_of",
    "optional_principal_of",
    "principal_of",
]

_CALLER = "clerkmap.auth_result"
_GATE = "clerkmap.authenticator"
_LEASE = "clerkmap.lease"


def principal_of(scope: Scope) -> Principal:
    """Who is calling. Where nobody is, this raises why, and an `AuthMiddleware` makes the answer of it."""
    return auth_result_of(scope).principal


def optional_principal_of(scope: Scope) -> Principal | None:
    """None where the request carries no token at all. One that is refused is refused here, too."""
    return auth_result_of(scope).optional_principal


def lease_of(scope: Scope) -> Lease:
    """The caller's admission, to be renewed and checked by what goes on longer than a token: a WebSocket, a stream."""
    lease: Lease | None = scope.get(_LEASE)
    if lease is None:
        lease = scope[_LEASE] = auth_result_of(scope).lease()
    return lease


def auth_result_of(scope: Scope) -> AuthResult:
    """Who is calling, or why nobody is."""
    caller = scope.get(_CALLER)
    if not isinstance(caller, AuthResult):
        raise ConfigurationError("nobody has looked who is calling: wrap the application in AuthMiddleware")
    return caller


async def authenticate(authenticator: Authenticator, scope: Scope) -> AuthResult:
    """Who is calling, for what stands within an application. If a gate that asks the same has been asked further out,
    its caller is taken: a request is looked at once."""
    asked = scope.get(_GATE)
    if isinstance(asked, Authenticator) and asked.asks_the_same_as(authenticator):
        return auth_result_of(scope)
    return await _look(authenticator, scope)


async def _look(authenticator: Authenticator, scope: Scope) -> AuthResult:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if type(headers) is not list or (headers and type(headers[0]) is not tuple):
        # By the specification these may be things that can be read once. Others want to read them, too.
        headers = scope["headers"] = [(name, value) for name, value in headers]
    caller = authenticator.recognise(headers)
    if caller is None:
        caller = await authenticator.aidentify_scope(scope)
    scope[_CALLER], scope[_GATE] = caller, authenticator
    scope.pop(_LEASE, None)
    return caller


class AuthMiddleware:
    """Finds out who is calling before an application is called.

    Args:
        app: The application.
        resolver: Whom tokens lead to.
        require: Whether to let through only who is signed in, or has all that a `Requirement` names.
        preflight: How a CORS preflight is treated, where something is required. "pass" lets it reach the application,
            and reduces the answer to its status, `Access-Control-*`, `Vary` and `Allow`, without a body. "refuse"
            requires of it what is required of any request: for a CORS middleware that stands outside.
        cookies: Whether to read Clerk's session cookie at all.
        origins: The pages that may do more than read on the strength of a cookie, see `TokenFinder`.
        grace: How many seconds a WebSocket stays open when its token has expired and nobody has renewed it.
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
    ) -> None:
        self.app: App = app
        self._authenticator = Authenticator(resolver, cookies=cookies, origins=origins)
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
            raise ConfigurationError("a connection that is neither http nor websocket cannot be told whose it is")
        lease = scope.get(_LEASE)
        caller = await _look(self._authenticator, scope)
        app = self.app
        if kind == "websocket" and caller.refusal is None:
            if isinstance(lease, Lease) and lease.resolver is self._authenticator.resolver:
                scope[_LEASE] = lease  # another middleware watches this socket already, and renewing is to renew that
            else:
                app = self._leased
        token = enter(caller)
        try:
            await _pass(app, self._required, self._passes_preflight, scope, receive, send)
        finally:
            leave(token)

    async def _leased(self, scope: Scope, receive: Receive, send: Send) -> None:
        lease = scope[_LEASE] = auth_result_of(scope).lease(grace=self._grace, required=self._required)
        await LeasedSocket(lease, receive, send).run(self.app, scope)


class Require:
    """Lets only those through who have what is required. Stands within an `AuthMiddleware`, around a mounted
    application or a single route's. `preflight` is that of `AuthMiddleware`."""

    def __init__(self, app: App, required: Requirement = SIGNED_IN, *, preflight: Preflight = "pass") -> None:
        self.app: App = app
        self._required = as_requirement(required, always=True)
        self._passes_preflight = check_preflight(preflight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        else:
            await _pass(self.app, self._required, self._passes_preflight, scope, receive, send)


async def _pass(
    app: App, required: Requirement | None, passes_preflight: bool, scope: Scope, receive: Receive, send: Send
) -> None:
    """Call an application if the caller has what is required. What either refuses becomes an answer, unless the
    application has begun one.

    What talks to the server does so with nobody as the current caller. In there servers begin what outlives this
    request: the task of the next one on the same connection, which may be somebody else's.
    """
    last_heard = last_told = None
    is_socket = scope["type"] == "websocket"

    async def hear() -> Message:
        nonlocal last_heard
        token = enter(None)
        try:
            message = await receive()
        finally:
            leave(token)
        last_heard = message["type"]
        return message

    async def tell(message: Message) -> None:
        nonlocal last_told
        last_told = message["type"]
        token = enter(None)
        try:
            await send(message)
        finally:
            leave(token)

    try:
        if required is not None:
            if passes_preflight and scope.get("method") == "OPTIONS" and make_asgi_request(scope).is_preflight:
                app = ReducedAsgi(app)
            else:
                await auth_result_of(scope).arequire(required)
        await app(scope, hear, tell)
    except (Refused, Unavailable) as refusal:
        if last_told is not None and not is_socket:
            raise
        page = required.organization_page if required is not None and make_asgi_request(scope).is_for_a_page else None
        told = error_response(refusal, organization_page=page, mounted_at=scope.get("root_path", ""))
        if not is_socket:
            await respond(told, send)
        elif last_told is None:
            await deny(told, refusal.code, scope, receive if last_heard is None else None, send)
        elif last_told in ("websocket.accept", "websocket.send") and last_heard != "websocket.disconnect":
            with suppress(OSError):  # they have hung up
                await send({"type": "websocket.close", "code": closing_code(refusal), "reason": refusal.code})
