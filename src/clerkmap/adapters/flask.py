"""The Flask extension. It sets `flask.g.clerk` and responds to errors.

    clerk = Clerk(app, resolver)      # or Clerk(), and clerk.init_app(app, resolver) in a factory

    @app.get("/me")
    @clerk.signed_in
    def me():
        return {"id": current_user.id}

    app.register_blueprint(webhook(reconciler), url_prefix="/webhooks/clerk")

`init_app` registers an error handler for clerkmap's errors. Your own handler for the same error, or for a subclass,
replaces it.
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

from flask.blueprints import BlueprintSetupState
from flask.sansio.app import App  # pyright: ignore[reportMissingTypeStubs]  # it has types of its own
from werkzeug.local import LocalProxy

from ..auth.resolver import Resolver
from ..auth.result import SIGNED_IN, AuthResult, enter, leave
from ..core.http import make_wsgi_request
from ..core.model import Organization, User
from ..core.pages import PageOptions
from ..core.requirements import Requirement, RequirementOptions
from ..core.responses import RawResponse
from ..errors import ClerkmapError, ConfigurationError, OrganizationMissing, Refused, Unavailable
from ..webhooks import Reconciler
from .authenticator import Authenticator, requirement_of, synchronous
from .wsgi import Isolated, WebhookEndpoint, is_isolated
from .wsgi import response_to as wsgi_response_to

__all__ = ["Clerk", "Guard", "current_organization", "current_user", "response_to", "webhook"]

_AUTH_RESULT = "clerkmap.auth_result"
_REQUIRED = "clerkmap.required"
_BEFORE = "clerkmap.before"
_AUTHENTICATOR = "clerkmap.authenticator"
_BLUEPRINTS = "clerkmap.blueprints"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")

View = TypeVar("View", bound=Callable[..., Any])

# Guarded views, and applications that may have registered one of them without its guard.
_GUARDED: WeakSet[Callable[..., Any]] = WeakSet()
_APPS: WeakSet[Flask] = WeakSet()


class Guard:
    """Checks a requirement: a decorator for sync and async views.

    Without a view it checks the current request, so you can pass it to `before_request` of a blueprint.
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
                raise ConfigurationError("decorate the view without parentheses: @clerk.signed_in")
            self._begin()
            auth_result().require(self._required)
            return None

        if isfunction(view):
            for app in list(_APPS):
                _check_order(app, {view})
            _GUARDED.add(view)

        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            self._begin()
            auth_result().require(self._required)
            return view(*args, **kwargs)

        @wraps(view)
        async def aguarded(*args: Any, **kwargs: Any) -> Any:
            self._begin()
            await auth_result().arequire(self._required)
            return await view(*args, **kwargs)

        return aguarded if iscoroutinefunction(view) else guarded

    def _begin(self) -> None:
        request.environ[_REQUIRED] = self._required  # an error may redirect to its organization page


class Clerk:
    """The extension. It authenticates each request and responds to errors.

    Args:
        app: The application. Without it, call `init_app`. With a blueprint, the options apply to its requests only.
        resolver: Resolves tokens to principals. Its repository must be synchronous. A blueprint takes that of its
            application by default.
        cookies: Whether to read Clerk's session cookie.
        origins: The origins that may send unsafe requests with a cookie, see `TokenFinder`.
        pages: `sign_in_page`, `refresh_page` and `organization_page` for browsers, see `Pages`.
    """

    signed_in: Guard = Guard()

    def __init__(
        self,
        app: Flask | Blueprint | Resolver | None = None,
        resolver: Resolver | None = None,
        *,
        cookies: bool = True,
        origins: Iterable[str] | None = None,
        **pages: Unpack[PageOptions],
    ) -> None:
        if not isinstance(app, (Flask, Blueprint)):
            app, resolver = None, app or resolver
        if resolver is not None:
            synchronous(resolver)
        self._resolver = resolver
        self._cookies = cookies
        self._pages = pages
        # Copied, because an iterator would serve only one application. The authenticator refuses a string.
        self._origins = origins if origins is None or isinstance(origins, str) else tuple(origins)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask | Blueprint, resolver: Resolver | None = None) -> None:
        """Register the extension with an application or a blueprint. One extension can serve several of them.

        A blueprint's extension only replaces the options of the application's, for requests of this blueprint. Without
        a resolver it takes that of the application, so that the blueprint can be a global of a module.
        """
        resolver = resolver or self._resolver
        if isinstance(app, Blueprint):
            own = None if resolver is None else self._authenticator(resolver)
            app.record(lambda state: _keep_for_blueprint(state, own or self._authenticator(_resolver_of(state.app))))
            return
        if resolver is None:
            raise ConfigurationError(
                "the extension has no resolver: call Clerk(app, resolver) or init_app(app, resolver)"
            )
        authenticator = self._authenticator(resolver)
        if "clerkmap" in app.extensions:
            raise ConfigurationError("the application already has a Clerk extension: call init_app once")
        app.extensions["clerkmap"] = authenticator
        # The current principal is set until the last piece of a stream and no longer: its context ends then, even if
        # another teardown function raises.
        app.wsgi_app = Isolated(app.wsgi_app)  # type: ignore[method-assign]  # as Flask's documentation does
        is_checked = False

        def begin() -> None:
            nonlocal is_checked
            if not is_checked:  # on the first request, because views may be registered after this extension
                _check_order(app, _GUARDED)
                is_checked = True
            _begin(_authenticator_of_blueprint(app) or authenticator)

        app.before_request(begin)
        got_request_exception.connect(_raise_errors, app)
        _APPS.add(app)
        app.teardown_request(_end)
        for kind in (Refused, Unavailable):
            if kind not in app.error_handler_spec[None][None]:
                app.register_error_handler(kind, _handle)

    def require(self, requirement: Requirement | None = None, /, **options: Unpack[RequirementOptions]) -> Guard:
        """Return a guard for a `Requirement` or the arguments of one."""
        return Guard(requirement_of(requirement, options))

    def _authenticator(self, resolver: Resolver) -> Authenticator:
        return Authenticator(synchronous(resolver), cookies=self._cookies, origins=self._origins, **self._pages)


def _resolver_of(app: App) -> Resolver:
    """Return the resolver of the application, for a blueprint that has none."""
    authenticator: Authenticator | None = app.extensions.get("clerkmap")
    if authenticator is None:
        raise ConfigurationError(
            "the blueprint's extension has no resolver: pass one, or call Clerk(app, resolver) before "
            "register_blueprint"
        )
    return authenticator.resolver


def _keep_for_blueprint(state: BlueprintSetupState, authenticator: Authenticator) -> None:
    name = f"{state.name_prefix}.{state.name}".lstrip(".")  # as in `request.blueprints`
    state.app.extensions.setdefault(_BLUEPRINTS, {})[name] = authenticator


def _authenticator_of_blueprint(app: Flask) -> Authenticator | None:
    """Return the authenticator of the innermost blueprint of the request that has one."""
    own: dict[str, Authenticator] | None = app.extensions.get(_BLUEPRINTS)
    return None if own is None else next((own[name] for name in request.blueprints if name in own), None)


def _check_order(app: Flask, guarded: Iterable[Callable[..., Any]]) -> None:
    """Refuse an application that has registered a view without its guard, because the guard is above the route."""
    unguarded = set(filter(isfunction, app.view_functions.values())).intersection(guarded)
    if unguarded:
        names = ", ".join(sorted(view.__qualname__ for view in unguarded))
        raise ConfigurationError(
            f"a guard above the route has no effect on {names}: put the guard below the route decorator"
        )


def _raise_errors(_app: Flask, exception: BaseException, **_rest: Any) -> None:
    """Raise an error without a handler through to `Isolated`, which responds to it.

    Flask itself raises it in testing and debugging, and would respond with 500 in production.
    """
    if isinstance(exception, (Refused, Unavailable)):
        raise exception


def auth_result() -> AuthResult:
    """Return the current request's auth result: the principal, or the error that says why there is none."""
    result: AuthResult | None = request.environ.get(_AUTH_RESULT)
    if not isinstance(result, AuthResult):
        raise ConfigurationError("the extension is not installed: call Clerk(app, resolver)")
    return result


def _organization() -> Organization:
    organization = auth_result().principal.organization
    if organization is None:
        raise OrganizationMissing
    return organization


current_user: User = cast(User, LocalProxy(lambda: auth_result().principal.user))
current_organization: Organization = cast(Organization, LocalProxy(_organization))


def webhook(reconciler: Reconciler) -> Blueprint:
    """Return a blueprint with the endpoint for Clerk's webhooks, at `/webhooks/clerk` or the `url_prefix` of its
    registration."""
    endpoint = WebhookEndpoint(reconciler)
    blueprint = Blueprint("clerk_webhook", __name__, url_prefix="/webhooks/clerk")

    @blueprint.route("", methods=_METHODS, strict_slashes=False)
    def receive() -> Response:
        environ = request.environ
        body = getattr(request, "_cached_data", None)
        if body is not None:  # a `before_request` function has read the body; Werkzeug keeps it here
            environ = {**environ, "wsgi.input": BytesIO(body)}
        return _respond(endpoint.response(environ))

    return blueprint


def _begin(authenticator: Authenticator) -> None:
    result = request.environ[_AUTH_RESULT] = authenticator.identify(make_wsgi_request(request.environ))
    request.environ[_AUTHENTICATOR] = authenticator
    request.environ[_BEFORE] = enter(result), g.get("clerk")
    g.clerk = result


def _end(_error: BaseException | None) -> None:
    """Restore the state before the request. `g` belongs to the application context, which may outlive the request."""
    if _BEFORE not in request.environ:  # an earlier function has responded, or a test has run the teardown twice
        return
    token, before = request.environ.pop(_BEFORE)
    if not is_isolated(request.environ):  # as in a test that pushes a request context itself
        leave(token)
    g.pop("clerk", None)
    if before is not None:
        g.clerk = before


def _handle(error: ClerkmapError) -> Any:
    own = current_app.error_handler_spec[None][None].get(ClerkmapError)
    if own is not None:  # Flask prefers our handler for subclasses, but the application's is meant for them, too
        return current_app.ensure_sync(own)(error)
    return response_to(error)


def response_to(error: ClerkmapError) -> Response:
    """Return the extension's response to an error, for an error handler that changes it."""
    return _respond(wsgi_response_to(error, request.environ, request.environ.get(_REQUIRED)))


def _respond(raw: RawResponse) -> Response:
    response = Response(raw.body, raw.status)
    response.headers.clear()  # Flask sets a content type even without content
    response.headers.extend(raw.headers)
    return response
