"""The middleware, which authenticates requests and responds to errors of views."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpResponse
from django.utils.cache import patch_vary_headers

from ...auth.result import AuthResult, enter, leave
from ...core.http import Request, make_asgi_request, make_wsgi_request
from ...core.pages import Target
from ...core.requirements import Requirement
from ...core.responses import RawResponse
from ...errors import ConfigurationError, Refused, TokenMissing, Unavailable, UserMissing
from . import settings as conf
from . import users

_LOGIN = "django.contrib.auth.middleware.LoginRequiredMiddleware"
_REQUIRED = "_clerkmap_required"


def auth_result_of(request: Any) -> AuthResult:
    """Return the request's auth result: the principal, or the error that says why there is none."""
    result: AuthResult | None = getattr(request, "clerk", None)
    if not isinstance(result, AuthResult):
        path = "clerkmap.adapters.django.AuthMiddleware"
        raise ConfigurationError(f"AuthMiddleware is not installed: add {path!r} to MIDDLEWARE")
    return result


def request_of(request: Any) -> Request:
    """Return the parts of a Django request that authenticate it."""
    scope = getattr(request, "scope", None)  # preferred, because META joins repeated headers differently
    return make_wsgi_request(request.META) if scope is None else make_asgi_request(scope)


def remember_requirement(request: Any, required: Requirement) -> None:
    """Remember the requirement of a view, because an error may redirect to its organization page."""
    setattr(request, _REQUIRED, required)


def respond(raw: RawResponse) -> Any:
    """Return a Django response."""
    response = HttpResponse(raw.body, status=raw.status)
    del response["Content-Type"]
    for name, value in raw.headers:
        response[name.title()] = value
    return response


def response_to(request: Any, error: Refused | Unavailable) -> Any:
    """Return the response to an error."""
    target = Target.of_path(request.META.get("SCRIPT_NAME", ""), request.get_full_path())
    required = getattr(request, _REQUIRED, None)
    response = respond(conf.authenticator().response_to(error, request_of(request), target, required))
    if request.method == "HEAD":  # some servers send the body of a HEAD
        response.content = b""
    return response


class AuthMiddleware:
    """Authenticates each request before the view is called, in sync and async code. It protects no view by itself.

    It sets `request.clerk` to the auth result and, if configured, `request.user` to the user of your own model. It
    turns clerkmap's errors in views into responses.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response
        self._is_async = bool(iscoroutinefunction(get_response))  # pyright: ignore[reportDeprecated]
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        if self._is_async:
            return self._acall(request)
        described = request_of(request)
        result = conf.authenticator().identify(described)
        self._set_attributes(request, described, result)
        token = enter(result)
        try:
            return _finish(result, self._get_response(request))
        finally:
            leave(token)

    async def _acall(self, request: Any) -> Any:
        authenticator, described = conf.authenticator(), request_of(request)
        result = await authenticator.aidentify(described)
        self._set_attributes(request, described, result)
        token = enter(result)
        try:
            return _finish(result, await cast(Awaitable[Any], self._get_response(request)))
        finally:
            leave(token)

    def process_view(self, request: Any, view: Any, _args: Any, _kwargs: Any) -> Any:
        """Respond to errors before Django's LoginRequiredMiddleware, which reads `request.user` and would turn an error
        into a 500."""
        result: AuthResult = request.clerk
        error = result.error
        if error is None and result.principal.optional_user is None:
            error = UserMissing()
        reads_user = users.are_configured() and _LOGIN in settings.MIDDLEWARE and getattr(view, "login_required", True)
        if not reads_user or not isinstance(error, (Refused, Unavailable)) or isinstance(error, TokenMissing):
            return None
        return response_to(request, error)

    def process_exception(self, request: Any, exception: Exception) -> Any:
        """Return the response to clerkmap's errors, and leave other exceptions to Django."""
        return response_to(request, exception) if isinstance(exception, (Refused, Unavailable)) else None

    def _set_attributes(self, request: Any, described: Request, result: AuthResult) -> None:
        request.clerk = result
        if result.error is None and "authorization" in described.headers:
            # Browsers do not send this header by themselves. Django's test client sets the same attribute.
            request._dont_enforce_csrf_checks = True
        if users.are_configured():
            users.set_user(request, result)


def _finish(result: AuthResult, response: Any) -> Any:
    """Set `Vary`, so that caches do not give one caller's response to another, and keep the principal while the
    response is streamed."""
    if not isinstance(result.error, TokenMissing):
        patch_vary_headers(response, ("Authorization", "Cookie"))
    if isinstance(result.error, Unavailable) and response.status_code == 503:
        response._has_been_logged = True  # Django would log each 503 as an error; the authenticator logs the cause
    if getattr(response, "streaming", False) and getattr(response, "file_to_stream", None) is None:
        stream = response.streaming_content
        response.streaming_content = _apieces(result, stream) if response.is_async else _pieces(result, stream)
    return response


def _pieces(result: AuthResult, stream: Iterator[bytes]) -> Iterator[bytes]:
    while True:
        token = enter(result)
        try:
            piece = next(stream, None)
        finally:
            leave(token)
        if piece is None:
            return
        yield piece


async def _apieces(result: AuthResult, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while True:
        token = enter(result)
        try:
            piece = await anext(stream, None)
        finally:
            leave(token)
        if piece is None:
            return
        yield piece
