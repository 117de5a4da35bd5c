"""Authentication for Starlette, with `request.user` and `request.auth`.

Middleware(AuthenticationMiddleware, backend=ClerkBackend(resolver), on_error=on_error)
"""

from collections.abc import Iterable
from typing import Unpack

try:
    from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, BaseUser
    from starlette.requests import HTTPConnection
    from starlette.responses import PlainTextResponse, Response
except ModuleNotFoundError as _error:
    raise ImportError("this adapter needs Starlette: pip install 'clerkmap[starlette]'") from _error

from ..auth.resolver import Resolver
from ..core.model import User
from ..core.pages import PageOptions, Target
from ..core.principal import Principal
from ..core.requirements import Requirement
from ..core.responses import RawResponse
from ..errors import NotAllowed, Refused, Unavailable
from .asgi import authenticate, response_to
from .authenticator import Authenticator

__all__ = ["ClerkAuthenticationError", "ClerkBackend", "SignedInUser", "on_error", "scopes_of"]


class ClerkAuthenticationError(AuthenticationError):
    """A clerkmap error as Starlette's AuthenticationError. `error` is the error, `response` its response."""

    def __init__(self, error: Refused | Unavailable, response: RawResponse) -> None:
        super().__init__(error.text)
        self.error: Refused | Unavailable = error
        self.response: RawResponse = response


class SignedInUser(BaseUser):
    """`request.user` of a signed-in caller."""

    def __init__(self, principal: Principal) -> None:
        self.principal: Principal = principal

    @property
    def user(self) -> User:
        """Your user."""
        return self.principal.user

    @property
    def is_authenticated(self) -> bool:
        """Always True. An anonymous caller is Starlette's `UnauthenticatedUser`."""
        return True

    @property
    def display_name(self) -> str:
        """The name or the address if Clerk has one, otherwise your id."""
        return self.user.name or self.user.email or self.identity

    @property
    def identity(self) -> str:
        """The id of your user, as a string."""
        return str(self.user.id)


class ClerkBackend(AuthenticationBackend):
    """Authenticates requests for Starlette's `AuthenticationMiddleware`.

    Args:
        resolver: Resolves tokens to principals.
        cookies: Whether to read Clerk's session cookie.
        origins: The origins that may send unsafe requests with a cookie, see `TokenFinder`.
        pages: `sign_in_page`, `refresh_page` and `organization_page` for browsers, see `Pages`.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        cookies: bool = True,
        origins: Iterable[str] | None = None,
        **pages: Unpack[PageOptions],
    ) -> None:
        self._authenticator = Authenticator(resolver, cookies=cookies, origins=origins, **pages)

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        """Return the credentials and the user, or None if the request has no token. A refused token raises
        `ClerkAuthenticationError`, so that the caller does not become anonymous. Only the sign-in, refresh and
        organization pages open for a refused token, too: their visitor is anonymous."""
        result = await authenticate(self._authenticator, conn.scope)
        try:
            principal = result.optional_principal
            if principal is not None:  # the role is a scope
                principal = await result.awith_role()
        except (Refused, Unavailable) as error:
            if isinstance(error, Refused) and self._authenticator.is_page(Target.of_scope(conn.scope)):
                return None
            raise ClerkAuthenticationError(error, response_to(error, conn.scope)) from error
        return None if principal is None else (AuthCredentials(scopes_of(principal)), SignedInUser(principal))


def on_error(conn: HTTPConnection, error: AuthenticationError) -> Response:
    """Return the standard response to a refused request. Starlette's default is 400 for all errors."""
    if not isinstance(error, ClerkAuthenticationError):  # of another backend
        return PlainTextResponse(str(error), 400)
    return Response(error.response.body, error.response.status, dict(error.response.headers))


def scopes_of(principal: Principal) -> list[str]:
    """Return the scopes for `@requires`: `authenticated`, `organization`, `organization_role:org:admin`,
    `user_role:editor`, `permission:org:invoices:create` and `scope:notes:read`. A scope is present if a `Requirement`
    for it would pass."""
    scopes = ["authenticated"]
    if principal.organization is not None:
        scopes.append("organization")
    if principal.membership is not None and principal.membership.role is not None:
        scopes.append(f"organization_role:{principal.membership.role}")
    if principal.optional_user is not None and principal.optional_user.role is not None:
        scopes.append(f"user_role:{principal.optional_user.role}")
    scopes += [f"permission:{each}" for each in sorted(principal.claims.permissions) if _permits(principal, each)]
    scopes += [f"scope:{each}" for each in principal.claims.scopes]
    return scopes


def _permits(principal: Principal, permission: str) -> bool:
    """Return whether the permission is valid. A token's permissions are void after the caller's role has changed."""
    try:
        Requirement(permission=permission).check(principal)
    except NotAllowed:
        return False
    return True
