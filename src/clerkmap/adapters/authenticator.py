"""From a request to its caller. What every adapter does first, in two colours."""

import asyncio
import logging
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from .._runtime.bounded import Bounded
from ..auth.resolver import Resolver
from ..auth.result import SIGNED_IN, AuthResult
from ..core.http import FoundToken, Request, TokenFinder, make_asgi_request
from ..core.opaque_tokens import prefix_of, request_source
from ..core.principal import Principal
from ..core.requirements import Requirement, RequirementOptions
from ..errors import ClerkmapError, ConfigurationError, TokenMissing, Unavailable, UnknownKey

logger: logging.Logger = logging.getLogger("clerkmap.adapters")

LONGEST_KEPT = 4_096
HEADERS_KEPT = 2_000  # of some two kilobytes each
_NOWHERE: AbstractContextManager[None] = nullcontext()
WARMING = 5.0  # seconds for which a start waits for the signing keys
LOG_EVERY = 10.0  # seconds between two lines about requests that are answered 503


class Authenticator:
    """Finds out who is calling.

    Args:
        resolver: Whom tokens lead to.
        cookies: Whether to read Clerk's session cookie at all.
        origins: The pages that may do more than read on the strength of a cookie, see `TokenFinder`.
    """

    def __init__(self, resolver: Resolver, *, cookies: bool = True, origins: Iterable[str] | None = None) -> None:
        self.resolver: Resolver = resolver
        self._finder = TokenFinder(resolver.verifier.instance, cookies=cookies, origins=origins)
        self._read: Bounded[bytes, FoundToken] = Bounded(HEADERS_KEPT)
        self._logged_at = float("-inf")
        self._answered = 0  # requests answered 503 since then

    @property
    def cookies(self) -> bool:
        """Whether the session cookie is read."""
        return self._finder.cookies

    def asks_the_same_as(self, other: "Authenticator") -> bool:
        """Whether the other would find the same caller on any request."""
        mine, theirs = self._finder, other._finder
        return self.resolver is other.resolver and (mine.cookies, mine.origins) == (theirs.cookies, theirs.origins)

    def identify(self, request: Request) -> AuthResult:
        """Who is calling. What is wrong with the request, and what is away, is in the caller: nothing of it raises."""
        try:
            found = self._finder.find(request)
            if found is None:
                return self._nobody()
            with _from(request, found):
                return self._caller(found, self.resolver.resolve(found.token))
        except ClerkmapError as refusal:
            return self._refused(refusal)

    async def aidentify(self, request: Request) -> AuthResult:
        """The same without holding up the event loop."""
        try:
            found = self._finder.find(request)
            if found is None:
                return self._nobody()
            with _from(request, found):
                return self._caller(found, await self.resolver.aresolve(found.token))
        except ClerkmapError as refusal:
            return self._refused(refusal)

    def recognise(self, headers: Iterable[tuple[bytes, bytes]]) -> AuthResult | None:
        """The caller whose Authorization is to the byte one that has led to somebody before, as a front end sends it
        for a minute: to read it again would take most of the time that is spent in here. None for anybody else."""
        sent = None
        for name, value in headers:
            if len(name) == 13 and name.lower() == b"authorization":
                if sent is not None:
                    return None
                sent = value
        found = self._read.get(sent) if type(sent) is bytes else None
        if found is None:
            return None
        try:
            principal = self.resolver.resolve_nowait(found.token)
            return None if principal is None else AuthResult(self.resolver, principal)
        except ClerkmapError as refusal:
            return self._refused(refusal)

    async def aidentify_scope(self, scope: Mapping[str, Any]) -> AuthResult:
        """Find the caller of an ASGI request that was not recognised. If its Authorization leads to a caller, its bytes
        are kept for `recognise`: a stranger cannot fill that memory. An opaque token may be good for years, and is kept
        nowhere."""
        request = make_asgi_request(scope)
        try:
            found = self._finder.find(request)
            if found is None:
                return self._nobody()
            with _from(request, found):
                caller = self._caller(found, await self.resolver.aresolve(found.token))
        except ClerkmapError as refusal:
            return self._refused(refusal)
        if found.carrier == "header" and prefix_of(found.token) is None:
            sent = next(value for name, value in scope["headers"] if name.lower() == b"authorization")
            if type(sent) is bytes and len(sent) <= LONGEST_KEPT:
                self._read.keep(sent, found)
        return caller

    def _nobody(self) -> AuthResult:
        # An error for each request: it takes the traceback, and the context it was raised in, along with it.
        return AuthResult(self.resolver, TokenMissing())

    def _caller(self, found: FoundToken, principal: Principal) -> AuthResult:
        found.check(principal.claims)
        return AuthResult(self.resolver, principal)

    def _refused(self, refusal: ClerkmapError) -> AuthResult:
        if isinstance(refusal, ConfigurationError):  # nobody's fault who calls
            raise refusal
        if isinstance(refusal, Unavailable):
            self._log(refusal)
        return AuthResult(self.resolver, refusal)

    def _log(self, error: Unavailable) -> None:
        """Log why requests are answered 503: one line for all of them, again and again while it lasts."""
        self._answered += 1
        now = time.monotonic()
        if now - self._logged_at < LOG_EVERY:
            return
        if error.is_logged and self._answered == 1:  # the line would be the second one about the same thing
            self._logged_at = now
        else:
            logger.warning("answering 503, %d times since the last line: %s", self._answered, error)
            self._logged_at, self._answered = now, 0

    async def warm(self) -> None:
        """Fetch the signing keys before the first request needs them. Without them the application starts all the
        same: until they can be had, who brings a token is answered 503."""
        try:
            await asyncio.wait_for(self.resolver.verifier.keys.aget(None), WARMING)
        except UnknownKey:
            pass  # of the key without a name that was asked for; the others are there now
        except Exception as error:  # noqa: BLE001 - a start that fails here would be one without the application's own
            logger.warning("the signing keys are not at hand yet: %s", type(error).__name__)


def _from(request: Request, found: FoundToken) -> AbstractContextManager[object]:
    """Tell where a request came from while its token is resolved, if that may matter: an opaque token may have to share
    the questions to Clerk with other sources."""
    return _at(request.source) if request.source and prefix_of(found.token) else _NOWHERE


@contextmanager
def _at(source: str) -> Generator[None]:
    before = request_source.set(source)
    try:
        yield
    finally:
        request_source.reset(before)


def as_requirement(require: bool | Requirement, *, always: bool = False) -> Requirement | None:
    """What `require=` means: nothing, that somebody is signed in, or all that a requirement names. `always` is for
    what stands there to require something: a False that got there by mistake would let everybody through."""
    if isinstance(require, Requirement):
        return require
    if type(require) is not bool or (always and not require):
        raise ConfigurationError("require is True, False, or a Requirement(...)")
    return SIGNED_IN if require else None


def requirement_of(requirement: Requirement | None, options: RequirementOptions) -> Requirement:
    """What is handed to a `require(...)`: the words of a requirement, or one that is made already."""
    if requirement is None:
        return Requirement(**options)
    if not isinstance(requirement, Requirement) or options:
        raise ConfigurationError("require takes a Requirement(...), or the arguments of one")
    return requirement
