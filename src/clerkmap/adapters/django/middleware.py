"""The middleware: who is calling, before a view is called; and answers of what a view refuses."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpResponse
from django.utils.cache import patch_vary_headers

from ...auth.result import AuthResult, enter, leave
from ...core.http import Request, make_asgi_request, make_wsgi_request
from ...core.responses import RawResponse, error_response
from ...errors import ConfigurationError, Refused, TokenMissing, Unavailable, UserMissing
from . import settings as conf
from . import users

_LOGIN = "django.contrib.auth.middleware.LoginRequiredMiddleware"
_PAGE = "_clerkmap_organization_page"


def auth_result_of(request: Any) -> AuthResult:
    """Who is calling, or why nobody is."""
    caller = getattr(request, "clerk", None)
    if not isinstance(caller, AuthResult):
        path = "clerkmap.adapters.django.AuthMiddleware"
        raise ConfigurationError(f"nobody has looked who is calling: add {path!r} to MIDDLEWARE")
    return caller


def request_of(request: Any) -> Request:
    """What of a request of Django's tells who sent it."""
    scope = getattr(request, "scope", None)  # Django would join headers in a way of its own
    return make_wsgi_request(request.META) if scope is None else make_asgi_request(scope)


def remember_page(request: Any, page: str | None) -> None:
    """Where to send the browser of somebody who has no organization, whatever it is that finds out."""
    setattr(request, _PAGE, page)


def respond(told: RawResponse) -> Any:
    """An answer in the words of Django."""
    response = HttpResponse(told.body, status=told.status)
    del response["Content-Type"]
    for name, value in told.headers:
        response[name.title()] = value
    return response


def refuse(request: Any, refusal: Refused | Unavailable) -> Any:
    """The answer to a request that was refused."""
    page = getattr(request, _PAGE, None) if request_of(request).is_for_a_page else None
    response = respond(error_response(refusal, organization_page=page, mounted_at=request.META.get("SCRIPT_NAME", "")))
    if request.method == "HEAD":  # not every server takes the body away
        response.content = b""
    return response


class AuthMiddleware:
    """Finds out who is calling before a view is called, in sync and in async code. It decides nothing by itself.

    The view finds a `Caller` in `request.clerk`, and, if the settings say so, a user of your own model in
    `request.user`. What a view refuses becomes an answer here.
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
        told = request_of(request)
        caller = conf.authenticator().identify(told)
        self._introduce(request, told, caller)
        token = enter(caller)
        try:
            return _as_for(caller, self._get_response(request))
        finally:
            leave(token)

    async def _acall(self, request: Any) -> Any:
        authenticator, told = conf.authenticator(), request_of(request)
        caller = await authenticator.aidentify(told)
        self._introduce(request, told, caller)
        token = enter(caller)
        try:
            return _as_for(caller, await cast(Awaitable[Any], self._get_response(request)))
        finally:
            leave(token)

    def process_view(self, request: Any, view: Any, _args: Any, _kwargs: Any) -> Any:
        """Django's LoginRequiredMiddleware asks for `request.user` before a view, where a refusal would be a 500."""
        caller: AuthResult = request.clerk
        refusal = caller.refusal
        if refusal is None and caller.principal.optional_user is None:
            refusal = UserMissing()
        asks = users.are_wanted() and _LOGIN in settings.MIDDLEWARE and getattr(view, "login_required", True)
        if not asks or not isinstance(refusal, (Refused, Unavailable)) or isinstance(refusal, TokenMissing):
            return None
        return refuse(request, refusal)

    def process_exception(self, request: Any, exception: Exception) -> Any:
        """The answer to what a view has refused. Anything else is Django's."""
        return refuse(request, exception) if isinstance(exception, (Refused, Unavailable)) else None

    def _introduce(self, request: Any, told: Request, caller: AuthResult) -> None:
        request.clerk = caller
        if caller.refusal is None and "authorization" in told.headers:
            request._dont_enforce_csrf_checks = True  # as Django's own test client does: no browser sends it by itself
        if users.are_wanted():
            users.introduce(request, caller)


def _as_for(caller: AuthResult, response: Any) -> Any:
    """What was made for somebody is nobody else's: caches, Django's own among them, go by `Vary`."""
    if not isinstance(caller.refusal, TokenMissing):
        patch_vary_headers(response, ("Authorization", "Cookie"))
    if isinstance(caller.refusal, Unavailable) and response.status_code == 503:
        response._has_been_logged = True  # Django would log each as an error; the gate logs their cause
    return _streaming_as(caller, response)


def _streaming_as(caller: AuthResult, response: Any) -> Any:
    """What is streamed is made after all this has returned, and still for this caller. Files need nobody."""
    if getattr(response, "streaming", False) and getattr(response, "file_to_stream", None) is None:
        stream = response.streaming_content
        response.streaming_content = _apieces(caller, stream) if response.is_async else _pieces(caller, stream)
    return response


def _pieces(caller: AuthResult, stream: Iterator[bytes]) -> Iterator[bytes]:
    while True:
        token = enter(caller)
        try:
            piece = next(stream, None)
        finally:
            leave(token)
        if piece is None:
            return
        yield piece


async def _apieces(caller: AuthResult, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while True:
        token = enter(caller)
        try:
            piece = await anext(stream, None)
        finally:
            leave(token)
        if piece is None:
            return
        yield piece
