"""Dependencies for FastAPI.

    clerk = Clerk(resolver)

    @app.get("/me")
    def me(user: Annotated[User, Depends(clerk.user)]): ...

Errors are raised as `ClerkHTTPException`. FastAPI's default handler would wrap the response body in a `detail`. So the
first error installs a handler for `ClerkHTTPException`, unless the application has its own handler for
`HTTPException` or the status.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from inspect import iscoroutinefunction
from typing import Annotated, Any, Generic, TypeVar, Unpack, cast

try:
    from fastapi import APIRouter, Depends, FastAPI, HTTPException
    from fastapi.exception_handlers import http_exception_handler
    from fastapi.openapi.models import APIKey, APIKeyIn, HTTPBearer
    from fastapi.openapi.models import SecurityBase as SchemeModel
    from fastapi.requests import HTTPConnection
    from fastapi.security.base import SecurityBase
    from pydantic import BaseModel
    from starlette.concurrency import run_in_threadpool
    from starlette.routing import Route
    from starlette.websockets import WebSocket, WebSocketState
except ModuleNotFoundError as _error:
    raise ImportError("this adapter needs FastAPI: pip install 'clerkmap[fastapi]'") from _error

from ..auth.resolver import Resolver
from ..auth.result import AuthResult, current_within
from ..core.http import SESSION_COOKIE, make_asgi_request
from ..core.model import IdT, Organization, User
from ..core.pages import PageOptions, Target
from ..core.principal import Principal
from ..core.requirements import Requirement, RequirementOptions
from ..core.responses import RawResponse, Remedy, error_response
from ..errors import ConfigurationError, OrganizationMissing, Refused, Unavailable
from ..webhooks import Reconciler
from .asgi import Receive, Scope, Send, WebhookEndpoint, authenticate, close_code, deny, respond
from .authenticator import Authenticator, requirement_of

__all__ = ["Clerk", "ClerkErrorBody", "ClerkHTTPException", "webhook"]

SessionT = TypeVar("SessionT")
_AUTHENTICATED = "clerkmap.fastapi"  # in a scope: a dependency has authenticated the request
_BODY_HEADERS = ("content-type", "content-length")  # a handler that writes another body sets its own


class ClerkHTTPException(HTTPException):
    """A clerkmap error as FastAPI's HTTPException. `detail` is the response's JSON, `error` the error itself."""

    def __init__(self, error: Refused | Unavailable, response: RawResponse) -> None:
        headers = {name: value for name, value in response.headers if name not in _BODY_HEADERS}
        super().__init__(response.status, json.loads(error_response(error).body) if response.body else None, headers)
        self.error: Refused | Unavailable = error
        self.response: RawResponse = response


class ClerkErrorBody(BaseModel):
    """The JSON of an error response, for OpenAPI. `remedy` is the next step of the front end.

    `clerk_error` makes Clerk's front end ask the user to verify again.
    """

    code: str
    remedy: Remedy | None
    message: str
    clerk_error: dict[str, Any] | None = None


# Without those of webhooks, and 303: OpenAPI describes the API, not the pages.
_RESPONSES = {
    400: "The request carries a token in a wrong way",
    401: "The token is missing or not accepted, or names no organization",
    403: "The user is locked out, or may not do this",
    503: "The signing keys or the database are not available",
}


class Clerk(Generic[IdT]):
    """The dependencies. They are async and do not block the event loop. A request is authenticated once for all of
    them, and `current_principal()` works until the path function returns.

    Args:
        resolver: Resolves tokens to principals.
        cookies: Whether to read Clerk's session cookie.
        origins: The origins that may send unsafe requests with a cookie, see `TokenFinder`.
        pages: `sign_in_page`, `refresh_page` and `organization_page` for browsers, see `Pages`.

    Attributes:
        resolver: Resolves tokens to principals.
        auth_result: The auth result: the principal, or the error that says why there is none.
        principal: The principal.
        optional_principal: The principal, or None if the request has no token. A refused token raises its error.
        user: Your user.
        optional_user: Your user, or None if the request has no token. A refused token raises its error.
        organization: The active organization. Raises `OrganizationMissing` if there is none.
        responses: The error responses for OpenAPI: `APIRouter(responses=clerk.responses)`.
    """

    def __init__(
        self,
        resolver: Resolver[IdT],
        *,
        cookies: bool = True,
        origins: Iterable[str] | None = None,
        **pages: Unpack[PageOptions],
    ) -> None:
        authenticator = self._authenticator = Authenticator(resolver, cookies=cookies, origins=origins, **pages)
        self.resolver: Resolver[IdT] = resolver
        self.responses: dict[int | str, dict[str, Any]] = {
            status: {"model": ClerkErrorBody, "description": text} for status, text in _RESPONSES.items()
        }
        self._requirements: dict[Requirement, Callable[..., Awaitable[Principal[IdT]]]] = {}
        self._sessions: dict[Callable[[], Any], Callable[..., Awaitable[Any]]] = {}
        in_header = self._in_header = _Scheme("Clerk", HTTPBearer(bearerFormat="JWT", description="A session token"))
        in_cookie = _Scheme("ClerkCookie", APIKey.model_validate({"in": APIKeyIn.cookie, "name": SESSION_COOKIE}))
        self._in_cookie: Any = in_cookie if authenticator.cookies else _nothing

        async def find(
            connection: HTTPConnection,
            _header: Annotated[None, Depends(in_header)],
            _cookie: Annotated[None, Depends(self._in_cookie)],
        ) -> AsyncGenerator[AuthResult]:
            result = await authenticate(authenticator, connection.scope)
            connection.scope[_AUTHENTICATED] = True
            with self._raising(connection), current_within(result):  # converts errors of the path function, too
                yield result

        # With scope="function" the block of `find` ends with the path function. After that, servers may start the next
        # request in this context.
        async def auth_result(found: Annotated[AuthResult, Depends(find, scope="function")]) -> AuthResult:
            return found

        async def principal(
            connection: HTTPConnection, result: Annotated[AuthResult, Depends(auth_result)]
        ) -> Principal:
            with self._raising(connection):
                return result.principal

        async def optional_principal(
            connection: HTTPConnection, result: Annotated[AuthResult, Depends(auth_result)]
        ) -> Principal | None:
            with self._raising(connection):
                return result.optional_principal

        async def user(connection: HTTPConnection, principal: Annotated[Principal, Depends(principal)]) -> User:
            with self._raising(connection):
                return principal.user

        async def optional_user(
            connection: HTTPConnection, principal: Annotated[Principal | None, Depends(optional_principal)]
        ) -> User | None:
            with self._raising(connection):
                return None if principal is None else principal.user

        async def organization(
            connection: HTTPConnection, principal: Annotated[Principal, Depends(principal)]
        ) -> Organization:
            with self._raising(connection):
                if principal.organization is None:
                    raise OrganizationMissing
                return principal.organization

        self.auth_result: Callable[..., Awaitable[AuthResult[IdT]]] = auth_result
        self.principal: Callable[..., Awaitable[Principal[IdT]]] = principal
        self.optional_principal: Callable[..., Awaitable[Principal[IdT] | None]] = optional_principal
        self.user: Callable[..., Awaitable[User[IdT]]] = user
        self.optional_user: Callable[..., Awaitable[User[IdT] | None]] = optional_user
        self.organization: Callable[..., Awaitable[Organization[IdT]]] = organization

    def require(
        self, requirement: Requirement | None = None, /, **options: Unpack[RequirementOptions]
    ) -> Callable[..., Awaitable[Principal[IdT]]]:
        """Return a dependency that checks a requirement and returns the principal. It takes a `Requirement` or the
        arguments of one. Equal requirements give the same dependency, so that tests can override it."""
        required = requirement_of(requirement, options)

        async def require(
            connection: HTTPConnection, result: Annotated[AuthResult, Depends(self.auth_result)]
        ) -> Principal:
            with self._raising(connection, required):
                return await result.arequire(required)

        return self._requirements.setdefault(required, require)

    def session(self, sessionmaker: Callable[[], SessionT]) -> Callable[..., Awaitable[SessionT]]:
        """Return a dependency that opens a session of SQLAlchemy and authenticates the request in it. So a new user is
        a part of your transaction. You commit; without a commit, the session is rolled back when the path function
        ends.

        It must come before the other dependencies of a request. An equal argument gives the same dependency.

        Args:
            sessionmaker: Your `async_sessionmaker`, or for a sync repository your `sessionmaker`. The repository must
                be an `AsyncSqlAlchemyRepository` or a `SqlAlchemyRepository`.
        """
        if not callable(sessionmaker):
            raise ConfigurationError(
                f"session() takes a sessionmaker such as async_sessionmaker(engine), not {type(sessionmaker).__name__}"
            )
        kind = getattr(sessionmaker, "class_", None)  # another callable tells its sessions only when it is called
        if kind is not None and iscoroutinefunction(kind.close) != self.resolver.is_async:
            needed = "async_sessionmaker(...)" if self.resolver.is_async else "sessionmaker(...)"
            raise ConfigurationError(
                f"session() got a sessionmaker of {kind.__name__}, and the repository is "
                f"{'async' if self.resolver.is_async else 'sync'}: pass {needed}, or use the other repository"
            )

        async def opened(
            connection: HTTPConnection,
            _header: Annotated[None, Depends(self._in_header)],
            _cookie: Annotated[None, Depends(self._in_cookie)],
        ) -> AsyncGenerator[SessionT]:
            if _AUTHENTICATED in connection.scope:
                raise ConfigurationError(
                    "the session must come before the other dependencies of the request: make it the first parameter, "
                    "or put it into dependencies= of the route or the router"
                )
            session: Any = sessionmaker()
            try:
                await authenticate(self._authenticator, connection.scope, session)
                yield session
            finally:
                closed = session.close() if iscoroutinefunction(session.close) else run_in_threadpool(session.close)
                await asyncio.shield(closed)

        async def session(found: Annotated[Any, Depends(opened, scope="function")]) -> Any:
            return found

        return self._sessions.setdefault(sessionmaker, session)

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None]:
        """Open the resolver's repository and API client, fetch the signing keys, and close both at the end.

        Pass it to the application, `FastAPI(lifespan=clerk.lifespan)`, or enter it in a lifespan of your own.
        """
        async with AsyncExitStack() as stack:
            resources: tuple[Any, ...] = (self.resolver.repository, self.resolver.api)
            for resource in resources:
                if hasattr(resource, "__aenter__"):
                    await stack.enter_async_context(resource)
                elif resource is not None:
                    stack.push_async_callback(asyncio.to_thread, resource.close)
            await self._authenticator.warm()
            yield

    @contextmanager
    def _raising(self, connection: HTTPConnection, required: Requirement | None = None) -> Generator[None]:
        """Convert clerkmap errors within the block to `ClerkHTTPException`."""
        try:
            yield
        except (Refused, Unavailable) as error:
            _install_handler(connection)
            scope = connection.scope
            told = self._authenticator.response_to(error, make_asgi_request(scope), Target.of_scope(scope), required)
            raise ClerkHTTPException(error, told) from error


def webhook(reconciler: Reconciler, path: str = "/webhooks/clerk") -> APIRouter:
    """Return a router with the endpoint for Clerk's webhooks. Dependencies of the application do not apply to it."""
    return APIRouter(routes=[Route(path, WebhookEndpoint(reconciler))])


class _Scheme(SecurityBase):
    """Describes in OpenAPI how a token is sent. The authenticator reads it."""

    def __init__(self, scheme_name: str, model: SchemeModel) -> None:
        self.scheme_name = scheme_name
        self.model = model

    async def __call__(self) -> None:
        pass


async def _nothing() -> None:
    """Do nothing, in place of the cookie scheme."""


def _install_handler(connection: HTTPConnection) -> None:
    """Install the handler for `ClerkHTTPException`, unless the application has its own handler for it."""
    app = connection.scope.get("app")
    handlers = cast(dict[Any, Any], app.exception_handlers if isinstance(app, FastAPI) else {})
    current = next((handlers[kind] for kind in ClerkHTTPException.__mro__ if kind in handlers), None)
    if current is http_exception_handler:
        running = connection.scope.get("starlette.exception_handlers")  # where Starlette looks handlers up
        if isinstance(running, tuple) and isinstance(running[0], dict):
            cast(dict[Any, Any], running[0]).setdefault(ClerkHTTPException, _handle)


async def _handle(connection: HTTPConnection, exception: ClerkHTTPException) -> "_ErrorResponse":
    return _ErrorResponse(exception, connection)


class _ErrorResponse:
    """Sends the response of an exception unchanged. A WebSocket is denied before it is open, and closed afterwards."""

    def __init__(self, exception: ClerkHTTPException, connection: HTTPConnection) -> None:
        self._exception = exception
        self._connection = connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response, error, socket = self._exception.response, self._exception.error, self._connection
        if not isinstance(socket, WebSocket):
            await respond(response, send)
        elif socket.client_state is WebSocketState.CONNECTING:
            await deny(response, error.code, scope, receive, send)
        elif WebSocketState.DISCONNECTED not in (socket.client_state, socket.application_state):
            await socket.close(close_code(error), error.code)
