"""For FastAPI: who is calling, as dependencies.

    clerk = Clerk(resolver)

    @app.get("/me")
    def me(user: Annotated[User, Depends(clerk.user)]): ...

What is refused is raised as `Refusal`, an `HTTPException`. FastAPI's own handler would put a `detail` around the body
that every other framework answers with; so where that handler would be the one, the first refusal puts another in its
place, for `Refusal` alone. An application that handles `HTTPException` itself, or a status, keeps doing so.
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Annotated, Any, Unpack, cast

try:
    from fastapi import APIRouter, Depends, FastAPI, HTTPException
    from fastapi.exception_handlers import http_exception_handler
    from fastapi.openapi.models import APIKey, APIKeyIn, HTTPBearer
    from fastapi.openapi.models import SecurityBase as SchemeModel
    from fastapi.requests import HTTPConnection
    from fastapi.security.base import SecurityBase
    from starlette.routing import Route
    from starlette.websockets import WebSocket, WebSocketState
except ModuleNotFoundError as _error:
    raise ImportError("this adapter needs FastAPI: pip install 'clerkmap[fastapi]'") from _error

from ..auth.resolver import Resolver
from ..auth.result import AuthResult, current_within
from ..core.http import SESSION_COOKIE, make_asgi_request
from ..core.model import Organization, User
from ..core.principal import Principal
from ..core.requirements import Requirement, RequirementOptions
from ..core.responses import RawResponse, error_response
from ..errors import OrganizationMissing, Refused, Unavailable
from ..webhooks import Reconciler
from .asgi import authenticate
from .asgi_messages import Receive, Scope, Send, closing_code, deny, respond
from .asgi_webhooks import WebhookEndpoint
from .authenticator import Authenticator, requirement_of

__all__ = ["Clerk", "Refusal", "webhook"]

_OF_THE_FRAME = ("content-type", "content-length")  # true of our body, and of no other that a handler may write


class Refusal(HTTPException):
    """What clerkmap refuses, in FastAPI's words. `detail` is what the body tells; `error` is the error itself."""

    def __init__(self, error: Refused | Unavailable, told: RawResponse) -> None:
        headers = {name: value for name, value in told.headers if name not in _OF_THE_FRAME}
        super().__init__(told.status, json.loads(told.body) if told.body else None, headers)
        self.error: Refused | Unavailable = error
        self.answer: RawResponse = told


class Clerk:
    """The dependencies. Each is asynchronous and never blocks the event loop; those of one request find out once who
    is calling, and for all of them `current_principal()` works until the path function returns.

    Args:
        resolver: Whom tokens lead to.
        cookies: Whether to read Clerk's session cookie at all.
        origins: The pages that may do more than read on the strength of a cookie, see `TokenFinder`.

    Attributes:
        resolver: Whom tokens lead to.
        caller: Who is calling, or why nobody is. All the others ask this one.
        principal: Who is calling.
        optional_principal: None where the request carries no token at all. One that is refused is refused here, too.
        user: Your user who is calling.
        optional_user: The same for who may be anonymous.
        organization: The organization that is active; `OrganizationMissing` where none is.
    """

    def __init__(self, resolver: Resolver, *, cookies: bool = True, origins: Iterable[str] | None = None) -> None:
        authenticator = Authenticator(resolver, cookies=cookies, origins=origins)
        self.resolver: Resolver = resolver
        self._requirements: dict[Requirement, Callable[..., Awaitable[Principal]]] = {}
        in_header = _Scheme("Clerk", HTTPBearer(bearerFormat="JWT", description="A session token"))
        in_cookie = _Scheme("ClerkCookie", APIKey.model_validate({"in": APIKeyIn.cookie, "name": SESSION_COOKIE}))

        async def find(
            connection: HTTPConnection,
            _header: Annotated[None, Depends(in_header)],
            _cookie: Annotated[None, Depends(in_cookie if authenticator.cookies else _nothing)],
        ) -> AsyncGenerator[AuthResult]:
            caller = await authenticate(authenticator, connection.scope)
            with _telling(connection), current_within(caller):  # what the path function raises comes by here, too
                yield caller

        # The block of `find` ends with the path function: from then on servers may begin the next request in there.
        async def caller(found: Annotated[AuthResult, Depends(find, scope="function")]) -> AuthResult:
            return found

        async def principal(connection: HTTPConnection, caller: Annotated[AuthResult, Depends(caller)]) -> Principal:
            with _telling(connection):
                return caller.principal

        async def optional_principal(
            connection: HTTPConnection, caller: Annotated[AuthResult, Depends(caller)]
        ) -> Principal | None:
            with _telling(connection):
                return caller.optional_principal

        async def user(connection: HTTPConnection, principal: Annotated[Principal, Depends(principal)]) -> User:
            with _telling(connection):
                return principal.user

        async def optional_user(
            connection: HTTPConnection, principal: Annotated[Principal | None, Depends(optional_principal)]
        ) -> User | None:
            with _telling(connection):
                return None if principal is None else principal.user

        async def organization(
            connection: HTTPConnection, principal: Annotated[Principal, Depends(principal)]
        ) -> Organization:
            with _telling(connection):
                if principal.organization is None:
                    raise OrganizationMissing
                return principal.organization

        self.caller: Callable[..., Awaitable[AuthResult]] = caller
        self.principal: Callable[..., Awaitable[Principal]] = principal
        self.optional_principal: Callable[..., Awaitable[Principal | None]] = optional_principal
        self.user: Callable[..., Awaitable[User]] = user
        self.optional_user: Callable[..., Awaitable[User | None]] = optional_user
        self.organization: Callable[..., Awaitable[Organization]] = organization

    def require(
        self, requirement: Requirement | None = None, /, **options: Unpack[RequirementOptions]
    ) -> Callable[..., Awaitable[Principal]]:
        """A dependency that lets only those through who have all that is named, in the words of `Requirement`; it gives
        the principal. Naming the same again gives the same dependency, so that it can be overridden."""
        required = requirement_of(requirement, options)

        async def require(connection: HTTPConnection, caller: Annotated[AuthResult, Depends(self.caller)]) -> Principal:
            with _telling(connection, required.organization_page):
                return await caller.arequire(required)

        return self._requirements.setdefault(required, require)


def webhook(reconciler: Reconciler, path: str = "/webhooks/clerk") -> APIRouter:
    """The page to which Clerk delivers its webhooks, as a router to include. No dependency of the application stands in
    front of it."""
    return APIRouter(routes=[Route(path, WebhookEndpoint(reconciler))])


class _Scheme(SecurityBase):
    """Tells in OpenAPI how a token is sent. To read it is the gate's business."""

    def __init__(self, scheme_name: str, model: SchemeModel) -> None:
        self.scheme_name = scheme_name
        self.model = model

    async def __call__(self) -> None:
        pass


async def _nothing() -> None:
    """Stands where another instance has a scheme."""


@contextmanager
def _telling(connection: HTTPConnection, organization_page: str | None = None) -> Generator[None]:
    """What is refused within the block is raised as a `Refusal`."""
    try:
        yield
    except (Refused, Unavailable) as error:
        _see_to_the_answer(connection)
        page = organization_page if make_asgi_request(connection.scope).is_for_a_page else None
        told = error_response(error, organization_page=page, mounted_at=connection.scope.get("root_path", ""))
        raise Refusal(error, told) from error


def _see_to_the_answer(connection: HTTPConnection) -> None:
    """Have a `Refusal` answered as it is everywhere, unless the application has wishes of its own."""
    app = connection.scope.get("app")
    wanted = cast(dict[Any, Any], app.exception_handlers if isinstance(app, FastAPI) else {})
    if next((wanted[kind] for kind in Refusal.__mro__ if kind in wanted), None) is http_exception_handler:
        running = connection.scope.get("starlette.exception_handlers")  # the same, where they are looked up
        if isinstance(running, tuple) and isinstance(running[0], dict):
            cast(dict[Any, Any], running[0]).setdefault(Refusal, _tell)


async def _tell(connection: HTTPConnection, refusal: Refusal) -> "_Told":
    return _Told(refusal, connection)


class _Told:
    """A response: the answer, to the letter. On a WebSocket it is what comes instead of opening it, or closes it."""

    def __init__(self, refusal: Refusal, connection: HTTPConnection) -> None:
        self._refusal = refusal
        self._connection = connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        told, socket = self._refusal.answer, self._connection
        if not isinstance(socket, WebSocket):
            await respond(told, send)
        elif socket.client_state is WebSocketState.CONNECTING:
            await deny(told, self._refusal.error.code, scope, receive, send)
        elif WebSocketState.DISCONNECTED not in (socket.client_state, socket.application_state):
            await socket.close(closing_code(self._refusal.error), self._refusal.error.code)
