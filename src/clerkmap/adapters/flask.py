"""For Flask: who is calling, on `flask.g.clerk`, and the answers to what is refused.

    clerk = Clerk(app, resolver)      # or Clerk(), and clerk.init_app(app, resolver) in a factory

    @app.get("/me")
    @clerk.signed_in
    def me():
        return {"id": current_user.id}

    app.register_blueprint(webhook(reconciler), url_prefix="/webhooks/clerk")

Errors take Flask's own way: they are raised, and a handler that `init_app` registers makes the answer of them. One of
yours for the same error, or a more special one, takes its place.
"""

from collections.abc import Callable, Iterable
from functools import wraps
from inspect import iscoroutinefunction, isfunction
from io import BytesIO
from typing import Any, TypeVar, Unpack, cast, overload
from weakref import WeakSet

try:
    from flask import Blueprint, Flask, Response, current_app, g, got_request_exception, has_request_context, request
except ModuleNotFoundError as _error:
    raise ImportError("this adapter needs Flask: pip install 'clerkmap[flask]'") from _error

from werkzeug.local import LocalProxy

from ..auth.resolver import Resolver
from ..auth.result import SIGNED_IN, AuthResult, enter, leave
from ..core.http import make_wsgi_request
from ..core.model import User
from ..core.requirements import Requirement, RequirementOptions
from ..core.responses import RawResponse, error_response
from ..errors import ClerkmapError, ConfigurationError, Refused, Unavailable
from ..webhooks import Reconciler
from .authenticator import Authenticator, requirement_of
from .wsgi import Isolated, WebhookEndpoint, is_isolated, mounted_at

__all__ = ["Clerk", "Guard", "current_user", "response_to", "webhook"]

_CALLER = "clerkmap.auth_result"
_REQUIRED = "clerkmap.required"
_BEFORE = "clerkmap.before"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")

View = TypeVar("View", bound=Callable[..., Any])

# The views that guards stand in front of, and the applications that could have one of them without its guard.
_GUARDED: WeakSet[Callable[..., Any]] = WeakSet()
_APPS: WeakSet[Flask] = WeakSet()


class Guard:
    """Lets only those through who have what is required: a decorator for views, synchronous and asynchronous ones.

    Called without a view it looks at the request at hand, so it can be given to `before_request` of a blueprint.
    """

    def __init__(self, required: Requirement = SIGNED_IN) -> None:
        self._required = required

    @overload
    def __call__(self) -> None: ...
    @overload
    def __call__(self, view: View) -> View: ...
    def __call__(self, view: Callable[..., Any] | None = None) -> Callable[..., Any] | None:
        if view is None:
            if not has_request_context():
                raise ConfigurationError("a guard stands above a view without parentheses: @clerk.signed_in")
            self._begin()
            caller().require(self._required)
            return None

        if isfunction(view):
            for app in list(_APPS):
                _check_order(app, {view})
            _GUARDED.add(view)

        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            self._begin()
            caller().require(self._required)
            return view(*args, **kwargs)

        @wraps(view)
        async def aguarded(*args: Any, **kwargs: Any) -> Any:
            self._begin()
            await caller().arequire(self._required)
            return await view(*args, **kwargs)

        return aguarded if iscoroutinefunction(view) else guarded

    def _begin(self) -> None:
        request.environ[_REQUIRED] = self._required  # the answer to a refusal may be its page


class Clerk:
    """The extension: finds out who is calling before each request, and answers what is refused.

    Args:
        app: The application; without one, call `init_app`.
        resolver: Whom tokens lead to, on a synchronous repository.
        cookies: Whether to read Clerk's session cookie at all.
        origins: The pages that may do more than read on the strength of a cookie, see `TokenFinder`.
    """

    signed_in: Guard = Guard()

    def __init__(
        self,
        app: Flask | Resolver | None = None,
        resolver: Resolver | None = None,
        *,
        cookies: bool = True,
        origins: Iterable[str] | None = None,
    ) -> None:
        if not isinstance(app, Flask):
            app, resolver = None, app or resolver
        self._resolver = resolver
        self._cookies = cookies
        # An iterator would serve one application only. A single text is refused where origins are checked.
        self._origins = origins if origins is None or isinstance(origins, str) else tuple(origins)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, resolver: Resolver | None = None) -> None:
        """Be the extension of an application. One can serve several of them."""
        resolver = resolver or self._resolver
        if resolver is None:
            raise ConfigurationError("there is no resolver: Clerk(app, resolver), or init_app(app, resolver)")
        if "clerkmap" in app.extensions:
            raise ConfigurationError("this application has its Clerk already")
        authenticator = app.extensions["clerkmap"] = Authenticator(
            resolver, cookies=self._cookies, origins=self._origins
        )
        # Whoever is made the current caller before a request is so until the last piece of a stream, and never longer:
        # the context is gone then, even if somebody else's function that is called at the end raises.
        app.wsgi_app = Isolated(app.wsgi_app)  # type: ignore[method-assign]  # as Flask's own documentation has it
        is_checked = False

        def begin() -> None:
            nonlocal is_checked
            if not is_checked:  # views of blueprints may be registered later than this extension
                _check_order(app, _GUARDED)
                is_checked = True
            _begin(authenticator)

        app.before_request(begin)
        got_request_exception.connect(_pass_refusals_on, app)
        _APPS.add(app)
        app.teardown_request(_end)
        for kind in (Refused, Unavailable):
            if kind not in app.error_handler_spec[None][None]:
                app.register_error_handler(kind, _answered)

    def require(self, requirement: Requirement | None = None, /, **options: Unpack[RequirementOptions]) -> Guard:
        """A guard that lets only those through who have all that is named, in the words of `Requirement`."""
        return Guard(requirement_of(requirement, options))


def _check_order(app: Flask, guarded: Iterable[Callable[..., Any]]) -> None:
    """Refuse an application in which a view stands bare although a guard was put above its route."""
    bare = set(filter(isfunction, app.view_functions.values())).intersection(guarded)
    if bare:
        names = ", ".join(sorted(view.__qualname__ for view in bare))
        raise ConfigurationError(
            f"a guard stands above the route of {names}, and guards nothing there: put the guard below the route"
        )


def _pass_refusals_on(_app: Flask, exception: BaseException, **_rest: Any) -> None:
    """Raise a refusal that nothing has answered through to `Isolated`, which answers it.

    Flask raises it itself in testing and debugging, and would make it a 500 in production.
    """
    if isinstance(exception, (Refused, Unavailable)):
        raise exception


def caller() -> AuthResult:
    """Who is calling, or why nobody is."""
    found = request.environ.get(_CALLER)
    if not isinstance(found, AuthResult):
        raise ConfigurationError("nobody has looked who is calling: make a Clerk(app, resolver)")
    return found


current_user: User = cast(User, LocalProxy(lambda: caller().principal.user))


def webhook(reconciler: Reconciler) -> Blueprint:
    """The page to which Clerk delivers its webhooks, as a blueprint. It stands at `/webhooks/clerk`, or at the
    `url_prefix` with which it is registered."""
    endpoint = WebhookEndpoint(reconciler)
    page = Blueprint("clerk_webhook", __name__, url_prefix="/webhooks/clerk")

    @page.route("", methods=_METHODS, strict_slashes=False)
    def receive() -> Response:
        environ = request.environ
        read = getattr(request, "_cached_data", None)
        if read is not None:  # a function before the request has asked for the body; this is where Werkzeug keeps it
            environ = {**environ, "wsgi.input": BytesIO(read)}
        return _respond(endpoint.answer(environ))

    return page


def _begin(authenticator: Authenticator) -> None:
    found = request.environ[_CALLER] = authenticator.identify(make_wsgi_request(request.environ))
    request.environ[_BEFORE] = enter(found), g.get("clerk")
    g.clerk = found


def _end(_error: BaseException | None) -> None:
    """All is as it was before the request. `g` may be older than it, and live on: it is the application context's."""
    if _BEFORE not in request.environ:  # something before ours has answered, or a test comes by once more
        return
    token, before = request.environ.pop(_BEFORE)
    if not is_isolated(request.environ):  # as in a test that pushes a request's context itself
        leave(token)
    g.pop("clerk", None)
    if before is not None:
        g.clerk = before


def _answered(error: ClerkmapError) -> Any:
    own = current_app.error_handler_spec[None][None].get(ClerkmapError)
    if own is not None:  # Flask prefers ours, which is for something more special; but theirs was meant for this, too
        return current_app.ensure_sync(own)(error)
    return response_to(error)


def response_to(error: ClerkmapError) -> Response:
    """Return the extension's own answer to an error, for an error handler that only adds something to it."""
    required = request.environ.get(_REQUIRED, SIGNED_IN)
    page = required.organization_page if make_wsgi_request(request.environ).is_for_a_page else None
    return _respond(error_response(error, organization_page=page, mounted_at=mounted_at(request.environ)))


def _respond(told: RawResponse) -> Response:
    response = Response(told.body, told.status)
    response.headers.clear()  # a type of content that Flask would add, also where there is no content
    response.headers.extend(told.headers)
    return response
