"""The authenticator, which finds the caller of a request. Use it to support a framework that has no adapter."""

import asyncio
import logging
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Generic, Unpack

from .._runtime.bounded import Bounded
from ..auth.resolver import Resolver
from ..auth.result import SIGNED_IN, AuthResult, enter, leave
from ..core.http import FoundToken, Request, TokenFinder, make_asgi_request, make_request, make_wsgi_request
from ..core.model import IdT
from ..core.opaque_tokens import prefix_of, request_source
from ..core.pages import Page, PageOptions, Pages, Target, redirect
from ..core.principal import Principal
from ..core.requirements import Requirement, RequirementOptions
from ..core.responses import RawResponse, error_response, html_response, remedy_of
from ..errors import ClerkmapError, ConfigurationError, TokenMissing, Unavailable, UnknownKey

# Everything that an adapter needs, so that an adapter outside of clerkmap imports only this module.
__all__ = [
    "AuthResult",
    "Authenticator",
    "FoundToken",
    "Pages",
    "RawResponse",
    "Request",
    "Target",
    "TokenFinder",
    "as_requirement",
    "enter",
    "error_response",
    "leave",
    "make_asgi_request",
    "make_request",
    "make_wsgi_request",
    "requirement_of",
    "synchronous",
]

logger: logging.Logger = logging.getLogger("clerkmap.adapters")

MAX_CACHED_HEADER = 4_096  # bytes
CACHED_HEADERS = 2_000  # of about two kilobytes each
WARM_TIMEOUT = 5.0  # seconds for which the start of an application waits for the signing keys
LOG_INTERVAL = 10.0  # seconds between two log lines about 503 responses
_NO_SOURCE: AbstractContextManager[None] = nullcontext()


class Authenticator(Generic[IdT]):
    """Finds the caller of a request.

    Args:
        resolver: Resolves tokens to principals.
        cookies: Whether to read Clerk's session cookie.
        origins: The origins that may send unsafe requests with a cookie, see `TokenFinder`.
        pages: `sign_in_page`, `refresh_page` and `organization_page` for browsers, see `Pages`.
    """

    def __init__(
        self,
        resolver: Resolver[IdT],
        *,
        cookies: bool = True,
        origins: Iterable[str] | None = None,
        **pages: Unpack[PageOptions],
    ) -> None:
        self.resolver: Resolver[IdT] = check_resolver(resolver)
        self._finder = TokenFinder(resolver.verifier.instance, cookies=cookies, origins=origins)
        self._pages = Pages(**pages)
        if not self._finder.cookies and (self._pages.sign_in_page or self._pages.refresh_page):
            raise ConfigurationError("sign_in_page and refresh_page are for browsers: they need Clerk's session cookie")
        self._headers: Bounded[bytes, FoundToken] = Bounded(CACHED_HEADERS)
        self._logged_at = float("-inf")
        self._unavailable = 0  # 503 responses since then

    @property
    def cookies(self) -> bool:
        """Whether the authenticator reads the session cookie."""
        return self._finder.cookies

    def is_equivalent_to(self, other: "Authenticator") -> bool:
        """Return whether both find the same caller for every request."""
        mine, theirs = self._finder, other._finder
        return self.resolver is other.resolver and (mine.cookies, mine.origins) == (theirs.cookies, theirs.origins)

    def identify(self, request: Request) -> AuthResult[IdT]:
        """Authenticate a request. The result holds the error of a refused request, or of an outage; neither raises."""
        try:
            found = self._finder.find(request)
            if found is None:
                return self._no_token()
            with _from(request, found):
                return self._result(found, self.resolver.resolve(found.token))
        except ClerkmapError as error:
            return self._error(error)

    async def aidentify(self, request: Request) -> AuthResult[IdT]:
        """Authenticate a request without blocking the event loop."""
        try:
            found = self._finder.find(request)
            if found is None:
                return self._no_token()
            with _from(request, found):
                return self._result(found, await self.resolver.aresolve(found.token))
        except ClerkmapError as error:
            return self._error(error)

    def identify_cached(self, headers: Iterable[tuple[bytes, bytes]]) -> AuthResult[IdT] | None:
        """Return the auth result for an Authorization header that has led to a principal before, or None.

        A front end sends the same header for about a minute, and parsing it again would take most of the time of a
        request.
        """
        sent = None
        for name, value in headers:
            if len(name) == 13 and name.lower() == b"authorization":
                if sent is not None:
                    return None
                sent = value
        found = self._headers.get(sent) if type(sent) is bytes else None
        if found is None:
            return None
        try:
            principal = self.resolver.resolve_nowait(found.token)
            return None if principal is None else AuthResult(self.resolver, principal)
        except ClerkmapError as error:
            return self._error(error)

    async def aidentify_scope(self, scope: Mapping[str, Any], within: Any = None) -> AuthResult[IdT]:
        """Authenticate an ASGI request that is not cached. A new user is written in the session `within`, if there is
        one.

        Cache its Authorization header for `identify_cached` if it leads to a principal, so that strangers cannot fill
        the cache. An opaque token is never cached, because it may be valid for years.
        """
        request = make_asgi_request(scope)
        try:
            found = self._finder.find(request)
            if found is None:
                return self._no_token()
            with _from(request, found):
                result = self._result(found, await self._aresolve(found.token, within))
        except ClerkmapError as error:
            return self._error(error)
        if found.carrier == "header" and prefix_of(found.token) is None:
            sent = next(value for name, value in scope["headers"] if name.lower() == b"authorization")
            if type(sent) is bytes and len(sent) <= MAX_CACHED_HEADER:
                self._headers.keep(sent, found)
        return result

    async def _aresolve(self, token: str, within: Any) -> Principal[IdT]:
        if within is None:
            return await self.resolver.aresolve(token)
        known = self.resolver.resolve_nowait(token)
        repository: Any = self.resolver.repository
        joined = repository.within(within)
        return known or await self.resolver.aresolve(token, within=joined)

    def response_to(
        self, error: ClerkmapError, request: Request, target: Target, required: Requirement | None = None
    ) -> RawResponse:
        """Return the response to an error: for a browser that loads a page, a redirect to the page that helps.

        If no page helps, an application with pages for browsers responds to a browser with HTML.

        Args:
            error: The error.
            request: The request.
            target: The address of the request.
            required: The requirement that was checked. Its `organization_page` comes before the authenticator's.
        """
        response = None
        page = self._page_for(error, request, required) if request.is_for_a_page else None
        if page is not None:
            renews = page is self._pages.refresh_page
            response = redirect(page, request, target, self._finder.session_cookie(request), renews=renews)
        if response is None:
            response = html_response(error) if self._pages and request.is_for_a_page else error_response(error)
        logger.debug("responded with %d to a refused request: %s", response.status, error)
        return response

    def is_page(self, target: Target) -> bool:
        """Return whether a request is for one of the pages, which must open for every browser."""
        return self._pages.include(target)

    def _page_for(self, error: ClerkmapError, request: Request, required: Requirement | None) -> Page | None:
        remedy, pages = remedy_of(error), self._pages
        if remedy == "pick_organization":
            own = None if required is None else required.organization_page
            return pages.organization_page if own is None else own
        if "authorization" in request.headers:  # the page would change only the cookie
            return None
        if remedy == "refresh_token":
            return pages.refresh_page or pages.sign_in_page
        if remedy == "sign_in":
            renew = isinstance(error, TokenMissing) and self._finder.has_clerk_session(request)
            return (pages.refresh_page if renew else None) or pages.sign_in_page
        return None

    def _no_token(self) -> AuthResult[IdT]:
        # A new error for each request, because raising it sets its traceback and context.
        return AuthResult(self.resolver, TokenMissing())

    def _result(self, found: FoundToken, principal: Principal[IdT]) -> AuthResult[IdT]:
        found.check(principal.claims)
        return AuthResult(self.resolver, principal)

    def _error(self, error: ClerkmapError) -> AuthResult[IdT]:
        if isinstance(error, ConfigurationError):  # not the caller's fault
            raise error
        if isinstance(error, Unavailable):
            self._log(error)
        return AuthResult(self.resolver, error)

    def _log(self, error: Unavailable) -> None:
        """Log the cause of 503 responses, with their number, at most once in `LOG_INTERVAL`."""
        self._unavailable += 1
        now = time.monotonic()
        if now - self._logged_at < LOG_INTERVAL:
            return
        if error.is_logged and self._unavailable == 1:  # the component that failed has logged this error
            self._logged_at = now
        else:
            logger.warning("responded with 503, %d times since the last line: %s", self._unavailable, error)
            self._logged_at, self._unavailable = now, 0

    async def warm(self) -> None:
        """Fetch the signing keys before the first request. If that fails, the application starts anyway, and requests
        with a token get 503 until the keys are available."""
        try:
            await asyncio.wait_for(self.resolver.verifier.keys.aget(None), WARM_TIMEOUT)
        except UnknownKey:
            pass  # there is no key without an id, but the fetch has cached the others
        except Exception as error:  # noqa: BLE001 - the application must start without the keys
            logger.warning("the signing keys are not available yet: %s", type(error).__name__)


def _from(request: Request, found: FoundToken) -> AbstractContextManager[object]:
    """Set the request's source while an opaque token is resolved: the source limits the calls to Clerk."""
    return _at(request.source) if request.source and prefix_of(found.token) else _NO_SOURCE


@contextmanager
def _at(source: str) -> Generator[None]:
    before = request_source.set(source)
    try:
        yield
    finally:
        request_source.reset(before)


def synchronous(resolver: Resolver[IdT]) -> Resolver[IdT]:
    """Return a resolver for a synchronous framework, or raise `ConfigurationError` if its repository is async."""
    if check_resolver(resolver).is_async:
        raise ConfigurationError(
            "this framework needs a resolver with a synchronous repository, such as PostgresRepository, "
            "SqlAlchemyRepository or SqliteRepository"
        )
    return resolver


def check_resolver(resolver: Resolver[IdT]) -> Resolver[IdT]:
    """Return a resolver, or raise `ConfigurationError` if it is something else, such as its repository."""
    if not isinstance(resolver, Resolver):
        raise ConfigurationError(
            f"the adapter takes a resolver, Resolver(instance, repository); got {type(resolver).__name__}"
        )
    return resolver


def as_requirement(require: bool | Requirement, *, always: bool = False) -> Requirement | None:
    """Return the requirement that the option `require=` stands for, or None for False.

    With `always`, False is refused: a `Require` with a False by mistake would admit every request.
    """
    if isinstance(require, Requirement):
        return require
    if type(require) is not bool or (always and not require):
        raise ConfigurationError("require must be True, False or a Requirement(...)")
    return SIGNED_IN if require else None


def requirement_of(requirement: Requirement | None, options: RequirementOptions) -> Requirement:
    """Return the requirement for the arguments of a `require(...)`: a `Requirement`, or the arguments of one."""
    unknown = sorted(options.keys() - RequirementOptions.__optional_keys__)
    if unknown:
        raise ConfigurationError(
            f"require has no option {', '.join(unknown)}: choose from {', '.join(RequirementOptions.__annotations__)}"
        )
    if requirement is None:
        return Requirement(**options)
    if not isinstance(requirement, Requirement) or options:
        raise ConfigurationError("require takes a Requirement(...) or its arguments, not both")
    return requirement
