"""For any WSGI application: who is calling. The same names and answers as in `asgi.py`.

app = AuthMiddleware(app, resolver)                  # says who is calling, and lets everybody through
app = AuthMiddleware(app, resolver, require=True)    # nobody gets through who is not signed in
"""

import contextvars
import sys
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ..auth.resolver import Resolver
from ..auth.result import SIGNED_IN, AuthResult, enter
from ..core.http import make_wsgi_request
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
from .authenticator import Authenticator, as_requirement
from .cors import Preflight, check_preflight, reduced_wsgi
from .webhook_responses import NOT_POST, check_encoding, check_length, length_told, read, refused, taken_in, unread

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication

__all__ = ["AuthMiddleware", "Require", "WebhookEndpoint", "auth_result_of", "optional_principal_of", "principal_of"]

_CALLER = "clerkmap.auth_result"
_ISOLATED = "clerkmap.isolated"

Environ = dict[str, Any]


def principal_of(environ: Environ) -> Principal:
    """Who is calling. Where nobody is, this raises why, and an `AuthMiddleware` makes the answer of it."""
    return auth_result_of(environ).principal


def optional_principal_of(environ: Environ) -> Principal | None:
    """None where the request carries no token at all. One that is refused is refused here, too."""
    return auth_result_of(environ).optional_principal


def auth_result_of(environ: Environ) -> AuthResult:
    """Who is calling, or why nobody is."""
    caller = environ.get(_CALLER)
    if not isinstance(caller, AuthResult):
        raise ConfigurationError("nobody has looked who is calling: wrap the application in AuthMiddleware")
    return caller


def mounted_at(environ: Environ) -> str:
    """Return the path at which the application is mounted. WSGI hands over UTF-8 as if it were Latin-1."""
    return str(environ.get("SCRIPT_NAME", "")).encode("latin-1", "replace").decode("utf-8", "replace")


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
    ) -> None:
        self.app = app
        self._authenticator = Authenticator(resolver, cookies=cookies, origins=origins)
        self._required = as_requirement(require)
        self._passes_preflight = check_preflight(preflight)

    def __call__(self, environ: Environ, start_response: "StartResponse") -> Iterable[bytes]:
        caller = environ[_CALLER] = self._authenticator.identify(make_wsgi_request(environ))
        context = contextvars.copy_context()  # of this request alone, also while its body is being sent
        context.run(enter, caller)
        return _entered(self.app, self._required, self._passes_preflight, environ, start_response, context)


class Require:
    """Lets only those through who have what is required. Stands within an `AuthMiddleware`, around a mounted
    application or a single route's. `preflight` is that of `AuthMiddleware`."""

    def __init__(
        self, app: "WSGIApplication", required: Requirement = SIGNED_IN, *, preflight: Preflight = "pass"
    ) -> None:
        self.app = app
        self._required = as_requirement(required, always=True)
        self._passes_preflight = check_preflight(preflight)

    def __call__(self, environ: Environ, start_response: "StartResponse") -> Iterable[bytes]:
        context = contextvars.copy_context()
        return _entered(self.app, self._required, self._passes_preflight, environ, start_response, context)


class Isolated:
    """An application each of whose requests has a context of its own, so that whoever it makes the current caller is
    gone with the request, whatever fails, and not before. For frameworks that look themselves who is calling."""

    def __init__(self, app: "WSGIApplication") -> None:
        self.app = app

    def __call__(self, environ: Environ, start_response: "StartResponse") -> Iterable[bytes]:
        environ[_ISOLATED] = True
        return _entered(self.app, None, False, environ, start_response, contextvars.copy_context())


def is_isolated(environ: Environ) -> bool:
    """Whether a request came through `Isolated`."""
    return _ISOLATED in environ


class WebhookEndpoint:
    """Takes in deliveries: a WSGI application of one page. It answers 2xx once they are committed, 4xx to what is not
    Clerk's, and 5xx to what is our own fault, after which Clerk delivers again.

    How long a body may take to arrive, the server decides.
    """

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler

    def __call__(self, environ: Environ, start_response: "StartResponse") -> Iterable[bytes]:
        return _tell(self.answer(environ), environ, start_response)

    def answer(self, environ: Environ) -> RawResponse:
        """The same as a value, for frameworks with responses of their own."""
        if environ["REQUEST_METHOD"] != "POST":
            return NOT_POST
        try:
            check_encoding(environ.get("HTTP_CONTENT_ENCODING", ""))
            body = self._body(environ)
        except WebhookError as error:
            return unread(error)
        headers = {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
        try:
            return taken_in(self._reconciler.receive(headers, body))
        except ClerkmapError as error:
            return refused(error)

    def _body(self, environ: Environ) -> bytes:
        most = self._reconciler.max_body
        told = length_told(environ, most)
        if told is None and not environ.get("wsgi.input_terminated"):  # otherwise the server knows where chunks end
            raise WebhookIncomplete("its length is not told")
        return check_length(read(environ["wsgi.input"], most + 1 if told is None else told), told, most)


def _entered(
    app: "WSGIApplication",
    required: Requirement | None,
    passes_preflight: bool,
    environ: Environ,
    start_response: "StartResponse",
    context: contextvars.Context,
) -> Iterable[bytes]:
    """Call an application if the caller has what is required. What either refuses becomes an answer, unless the
    application has begun one."""

    begun = False

    def begin(status: str, headers: list[tuple[str, str]], *error: Any) -> Callable[[bytes], object]:
        nonlocal begun
        begun = True
        return start_response(status, headers, *error)

    def refuse(refusal: Refused | Unavailable) -> Iterable[bytes]:
        page = required.organization_page if required is not None and make_wsgi_request(environ).is_for_a_page else None
        # What the application has begun is replaced, unless it is on its way: then the server raises the refusal.
        error = sys.exc_info() if begun else None
        told = error_response(refusal, organization_page=page, mounted_at=mounted_at(environ))
        return _tell(told, environ, start_response, error)

    try:
        if required is not None:
            is_asked = passes_preflight and environ["REQUEST_METHOD"] == "OPTIONS"
            if is_asked and make_wsgi_request(environ).is_preflight:
                return reduced_wsgi(app, environ, start_response, context)
            auth_result_of(environ).require(required)
        return _Body(context.run(app, environ, begin), context, refuse)
    except (Refused, Unavailable) as refusal:
        return refuse(refusal)


class _Body:
    """An application's body, each piece of which is made in the context of its request.

    An application that is a generator begins only when the first piece is asked for, so it may refuse there, too.
    """

    def __init__(
        self,
        body: Iterable[bytes],
        context: contextvars.Context,
        refuse: Callable[[Refused | Unavailable], Iterable[bytes]],
    ) -> None:
        self._body = body
        self._context = context
        self._refuse = refuse
        self._pieces: Iterator[bytes] = context.run(iter, body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return self._context.run(next, self._pieces)
        except (Refused, Unavailable) as refusal:
            self._pieces = iter(self._refuse(refusal))
            return next(self._pieces)

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            self._context.run(close)


def _tell(
    told: RawResponse, environ: Environ, start_response: "StartResponse", error: "OptExcInfo | None" = None
) -> list[bytes]:
    """An answer in the words of WSGI."""
    start_response(f"{told.status} {HTTPStatus(told.status).phrase}", list(told.headers), error)
    return [told.body] if environ["REQUEST_METHOD"] != "HEAD" else []  # not every server takes it away
