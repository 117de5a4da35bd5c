"""Middleware and the webhook endpoint for any WSGI application, with the names and responses of `asgi.py`.

app = AuthMiddleware(app, resolver)                  # authenticate; anonymous requests pass
app = AuthMiddleware(app, resolver, require=True)    # require a signed-in caller
"""

import contextvars
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any, Never, Unpack

from ..auth.resolver import Resolver
from ..auth.result import SIGNED_IN, AuthResult, enter
from ..core.http import make_wsgi_request
from ..core.pages import PageOptions, Target
from ..core.principal import Principal
from ..core.requirements import Requirement
from ..core.responses import RawResponse, error_response
from ..errors import (
    ClerkmapError,
    ConfigurationError,
    Refused,
    Unavailable,
    WebhookError,
    WebhookIncomplete,
)
from ..webhooks import Reconciler
from .authenticator import Authenticator, as_requirement, synchronous
from .preflights import ENVIRON_HEADERS, Preflight, check_preflight, reduced_headers
from .webhook_responses import (
    NOT_POST,
    accepted,
    check_encoding,
    check_length,
    declared_length,
    failed,
    read_body,
    unreadable,
)

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication

__all__ = ["AuthMiddleware", "Require", "WebhookEndpoint", "auth_result_of", "optional_principal_of", "principal_of"]

_AUTH_RESULT = "clerkmap.auth_result"
_AUTHENTICATOR = "clerkmap.authenticator"
_ISOLATED = "clerkmap.isolated"
_STATUS = re.compile(r"[1-9][0-9]{2}(?![0-9])")
_PHRASES = {status.value: status.phrase for status in HTTPStatus}

Environ = dict[str, Any]


def principal_of(environ: Environ) -> Principal:
    """Return the principal, or raise the error that says why there is none. An `AuthMiddleware` turns the error into a
    response."""
    return auth_result_of(environ).principal


def optional_principal_of(environ: Environ) -> Principal | None:
    """Return the principal, or None if the request has no token. A refused token raises its error."""
    return auth_result_of(environ).optional_principal


def auth_result_of(environ: Environ) -> AuthResult:
    """Return the request's auth result: the principal, or the error that says why there is none."""
    result: AuthResult | None = environ.get(_AUTH_RESULT)
    if not isinstance(result, AuthResult):
        raise ConfigurationError("AuthMiddleware is not installed: wrap the application in it")
    return result


def response_to(error: ClerkmapError, environ: Environ, required: Requirement | None = None) -> RawResponse:
    """Return the response of the authenticator that found the caller."""
    authenticator = environ.get(_AUTHENTICATOR)
    if not isinstance(authenticator, Authenticator):
        return error_response(error)
    return authenticator.response_to(error, make_wsgi_request(environ), Target.of_environ(environ), required)


class AuthMiddleware:
    """Authenticates each request before the application is called.

    Args:
        app: The application.
        resolver: Resolves tokens to principals.
        require: True to require a signed-in caller, or a `Requirement`.
        preflight: The treatment of CORS preflights if something is required. "pass" lets a preflight reach the
            application, and reduces the response to its status, `Access-Control-*`, `Vary` and `Allow`, without a body.
            "respond_to_error" treats it like any request, for an application with an outer CORS middleware.
        cookies: Whether to read Clerk's session cookie.
        origins: The origins that may send unsafe requests with a cookie, see `TokenFinder`.
        pages: `sign_in_page`, `refresh_page` and `organization_page` for browsers, see `Pages`.
    """

    def __init__(
        self,
        app: "WSGIApplication",
        resolver: Resolver,
        *,
        require: bool | Requirement = False,
        preflight: Preflight = "pass",
        cookies: bool = True,
        origins: Iterable[str] | None = None,
        **pages: Unpack[PageOptions],
    ) -> None:
        self.app = app
        self._authenticator = Authenticator(synchronous(resolver), cookies=cookies, origins=origins, **pages)
        self._required = as_requirement(require)
        self._passes_preflight = check_preflight(preflight)

    def __call__(self, environ: Environ, start_response: "StartResponse") -> Iterable[bytes]:
        result = environ[_AUTH_RESULT] = self._authenticator.identify(make_wsgi_request(environ))
        environ[_AUTHENTICATOR] = self._authenticator
        context = contextvars.copy_context()  # for this request only, also while its body is sent
        context.run(enter, result)
        return _call(self.app, self._required, self._passes_preflight, environ, start_response, context)


class Require:
    """Checks a requirement before an application is called. Put it inside an `AuthMiddleware`, around a mounted
    application or a single route. `preflight` is the option of `AuthMiddleware`."""

    def __init__(
        self, app: "WSGIApplication", required: Requirement = SIGNED_IN, *, preflight: Preflight = "pass"
    ) -> None:
        self.app = app
        self._required = as_requirement(required, always=True)
        self._passes_preflight = check_preflight(preflight)

    def __call__(self, environ: Environ, start_response: "StartResponse") -> Iterable[bytes]:
        context = contextvars.copy_context()
        return _call(self.app, self._required, self._passes_preflight, environ, start_response, context)


class Isolated:
    """Runs each request of an application in its own context. The current principal ends exactly with the request,
    also if a function fails. For frameworks that authenticate requests themselves."""

    def __init__(self, app: "WSGIApplication") -> None:
        self.app = app

    def __call__(self, environ: Environ, start_response: "StartResponse") -> Iterable[bytes]:
        environ[_ISOLATED] = True
        return _call(self.app, None, False, environ, start_response, contextvars.copy_context())


def is_isolated(environ: Environ) -> bool:
    """Return whether a request came through `Isolated`."""
    return _ISOLATED in environ


class WebhookEndpoint:
    """A WSGI application that receives Clerk's webhooks.

    It responds with 2xx after the commit, with 4xx to requests that are not Clerk's, and with 5xx to faults of the
    application, so that Clerk delivers again. The server limits the time for a body to arrive.
    """

    def __init__(self, reconciler: Reconciler) -> None:
        reconciler.check_receives(synchronous=True)
        self._reconciler = reconciler

    def __call__(self, environ: Environ, start_response: "StartResponse") -> Iterable[bytes]:
        return _respond(self.response(environ), environ, start_response)

    def response(self, environ: Environ) -> RawResponse:
        """Receive a delivery and return the response as a value, for frameworks with their own response classes."""
        if environ["REQUEST_METHOD"] != "POST":
            return NOT_POST
        try:
            check_encoding(environ.get("HTTP_CONTENT_ENCODING", ""))
            body = self._body(environ)
        except WebhookError as error:
            return unreadable(error)
        headers = {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
        try:
            return accepted(self._reconciler.receive(headers, body))
        except ClerkmapError as error:
            return failed(error)

    def _body(self, environ: Environ) -> bytes:
        max_body = self._reconciler.max_body
        declared = declared_length(environ, max_body)
        if declared is None and not environ.get("wsgi.input_terminated"):  # then the server marks the end of chunks
            raise WebhookIncomplete("the request has no Content-Length")
        length = max_body + 1 if declared is None else declared
        return check_length(read_body(environ["wsgi.input"], length), declared, max_body)


def _call(
    app: "WSGIApplication",
    required: Requirement | None,
    passes_preflight: bool,
    environ: Environ,
    start_response: "StartResponse",
    context: contextvars.Context,
) -> Iterable[bytes]:
    """Check the requirement and call the application. Turn `Refused` and `Unavailable` of either into a response,
    unless the application's response is on its way."""

    has_begun = False

    def begin(status: str, headers: list[tuple[str, str]], *error: Any) -> Callable[[bytes], object]:
        nonlocal has_begun
        has_begun = True
        return start_response(status, headers, *error)

    def respond_to_error(error: Refused | Unavailable) -> Iterable[bytes]:
        # With exc_info the server replaces a response that has begun, or raises the error if headers have been sent.
        exc_info = sys.exc_info() if has_begun else None
        return _respond(response_to(error, environ, required), environ, start_response, exc_info)

    try:
        if required is not None:
            may_pass = passes_preflight and environ["REQUEST_METHOD"] == "OPTIONS"
            if may_pass and make_wsgi_request(environ).is_preflight:
                return _preflight(app, environ, start_response, context)
            auth_result_of(environ).require(required)
        return _Body(context.run(app, environ, begin), context, respond_to_error)
    except (Refused, Unavailable) as error:
        return respond_to_error(error)


class _Body:
    """An application's response body. Each piece is produced in the context of the request.

    An application that is a generator starts with the first piece, so it may respond_to_error the request there.
    """

    def __init__(
        self,
        body: Iterable[bytes],
        context: contextvars.Context,
        respond_to_error: Callable[[Refused | Unavailable], Iterable[bytes]],
    ) -> None:
        self._body = body
        self._context = context
        self._respond_to_error = respond_to_error
        self._pieces: Iterator[bytes] = context.run(iter, body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return self._context.run(next, self._pieces)
        except (Refused, Unavailable) as error:
            self._pieces = iter(self._respond_to_error(error))
            return next(self._pieces)

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            self._context.run(close)


def _respond(
    response: RawResponse, environ: Environ, start_response: "StartResponse", exc_info: "OptExcInfo | None" = None
) -> list[bytes]:
    start_response(f"{response.status} {HTTPStatus(response.status).phrase}", list(response.headers), exc_info)
    return [response.body] if environ["REQUEST_METHOD"] != "HEAD" else []  # some servers send the body of a HEAD


class _BodyStarted(BaseException):
    """Raised when an application writes its body. A BaseException, so that `except Exception` does not catch it."""


def _preflight(
    app: "WSGIApplication",
    environ: Environ,
    start_response: "StartResponse",
    context: contextvars.Context,
) -> list[bytes]:
    """Call the application with a CORS preflight, and reduce its response to the CORS headers.

    Read no more of the body than the application needs to begin its response. The first `write` ends the application.
    """
    others = {name for name in environ if name.startswith("HTTP_") and not name.startswith(ENVIRON_HEADERS)}
    environ = {name: value for name, value in environ.items() if name not in others}
    environ |= {"QUERY_STRING": "", "CONTENT_LENGTH": "0", "CONTENT_TYPE": "", "wsgi.input": BytesIO()}
    begun: list[tuple[str, list[tuple[str, str]]]] = []

    def begin(status: str, headers: list[tuple[str, str]], *_error: Any) -> Callable[[bytes], object]:
        begun[:] = [(status, headers)]
        return _write

    with suppress(_BodyStarted):
        body = context.run(app, environ, begin)
        try:
            if not begun:  # a generator begins its response with the first piece
                context.run(next, context.run(iter, body), b"")
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                context.run(close)
    for line, headers in begun:  # if empty, the server handles the application without a response
        status = _status(line)
        start_response(f"{status} {_PHRASES.get(status, 'Unknown')}", reduced_headers(status, headers))
    return []


def _write(_piece: bytes) -> Never:
    raise _BodyStarted


def _status(line: str) -> int:
    """Return the number in a status line. The reason phrase is dropped: it may hold a line break, or a secret."""
    found = _STATUS.match(line)
    if found is None:
        raise ValueError("the application's status line must begin with three digits, such as '204 No Content'")
    return int(found[0])
