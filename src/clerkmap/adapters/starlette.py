"""For Starlette: who is calling, as `request.user` and `request.auth`.

Middleware(AuthenticationMiddleware, backend=ClerkBackend(resolver), on_error=on_error)
"""

from collections.abc import Iterable

try:
    from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, BaseUser
    from starlette.requests import HTTPConnection
    from starlette.responses import PlainTextResponse, Response
except ModuleNotFoundError as _error:
    raise ImportError("this adapter needs Starlette: pip install 'clerkmap[starlette]'") from _error

from ..auth.resolver import Resolver
from ..core.model import User
from ..core.principal import Principal
from ..core.requirements import Requirement
from ..core.responses import RawResponse, error_response
from ..errors import NotAllowed, Refused, Unavailable
from .asgi import authenticate
from .authenticator import Authenticator

__all__ = ["ClerkBackend", "ClerkUser", "Refusal", "on_error", "scopes_of"]


class Refusal(AuthenticationError):
    """What clerkmap refuses, in Starlette's words. `error` is the error itself, `answer` what to answer."""

    def __init__(self, error: Refused | Unavailable) -> None:
        super().__init__(error.text)
        self.error: Refused | Unavailable = error
        self.answer: RawResponse = error_response(error)


class ClerkUser(BaseUser):
    """`request.user` of who is signed in."""

    def __init__(self, principal: Principal) -> None:
        self.principal: Principal = principal

    @property
    def user(self) -> User:
        """Your user."""
        return self.principal.user

    @property
    def is_authenticated(self) -> bool:
        """Always. Who is not signed in is Starlette's own `UnauthenticatedUser`."""
        return True

    @property
    def display_name(self) -> str:
        """The name or the address, where Clerk has told one of them; otherwise your id."""
        return self.user.name or self.user.email or self.identity

    @property
    def identity(self) -> str:
        """Your id of the user, as text."""
        return str(self.user.id)


class ClerkBackend(AuthenticationBackend):
    """Finds out who is calling, for Starlette's `AuthenticationMiddleware`.

    Args:
        resolver: Whom tokens lead to.
        cookies: Whether to read Clerk's session cookie at all.
        origins: The pages that may do more than read on the strength of a cookie, see `TokenFinder`.
    """

    def __init__(self, resolver: Resolver, *, cookies: bool = True, origins: Iterable[str] | None = None) -> None:
        self._authenticator = Authenticator(resolver, cookies=cookies, origins=origins)

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        """None where the request carries no token. One that is refused raises `Refusal`: nobody becomes anonymous by
        accident."""
        caller = await authenticate(self._authenticator, conn.scope)
        try:
            principal = caller.optional_principal
            if principal is not None:  # the role is a scope
                principal = await caller.awith_role()
        except (Refused, Unavailable) as error:
            raise Refusal(error) from error
        return None if principal is None else (AuthCredentials(scopes_of(principal)), ClerkUser(principal))


def on_error(conn: HTTPConnection, error: AuthenticationError) -> Response:
    """The answer to what is refused, the same as everywhere. Starlette's own would be 400 to all of it."""
    if not isinstance(error, Refusal):  # another backend's
        return PlainTextResponse(str(error), 400)
    return Response(error.answer.body, error.answer.status, dict(error.answer.headers))


def scopes_of(principal: Principal) -> list[str]:
    """What `@requires` can ask for: `authenticated`, `organization`, `role:org:admin`, `user_role:editor` and
    `permission:org:invoices:create`, each where a `Requirement` of the same name would be met."""
    scopes = ["authenticated"]
    if principal.organization is not None:
        scopes.append("organization")
    if principal.membership is not None and principal.membership.role is not None:
        scopes.append(f"role:{principal.membership.role}")
    if principal.optional_user is not None and principal.optional_user.role is not None:
        scopes.append(f"user_role:{principal.optional_user.role}")
    scopes += [f"permission:{each}" for each in sorted(principal.claims.permissions) if _permits(principal, each)]
    return scopes


def _permits(principal: Principal, permission: str) -> bool:
    """Whether it counts: of what a token permits, nothing does any more once the person's role has changed."""
    try:
        Requirement(permission=permission).check(principal)
    except NotAllowed:
        return False
    return True
