"""What the table of requests is made of: two instances of Clerk, tokens, finders, and how a case is written."""

from typing import NamedTuple

from clerkmap.core.http import TokenFinder
from clerkmap.core.instance import Instance
from clerkmap.testing import Clock, FakeClerk

AUTHORIZATION = "authorization_refused"
SCHEME = "authorization_scheme_refused"
COOKIE = "cookie_refused"
ORIGIN = "origin_refused"
TOO_LARGE = "token_too_large"

NOW = 1_790_000_000
CLERK, NEIGHBOUR = FakeClerk(seed=51, clock=Clock(NOW)), FakeClerk(seed=52, clock=Clock(NOW))
INSTANCE = CLERK.instance
SUFFIX, OTHER_SUFFIX = INSTANCE.cookie_suffix, NEIGHBOUR.instance.cookie_suffix
USER = CLERK.create_user()
APP, ADMIN, EVIL = "https://app.example.com", "https://admin.example.com", "https://evil.example"

HEADER = "header"
Headers = list[tuple[str, str]]
Want = str | tuple[str, str] | None


def token(iat: int = NOW, **claims: object) -> str:
    """A session token made then."""
    return CLERK.token(USER, session="sess_1", claims={"iat": iat, "jti": None, **claims})


OLD, GOOD, NEW = token(NOW - 10), token(NOW), token(NOW + 10)
EXPIRED = token(NOW - 100, exp=NOW - 40)
FOREIGN = NEIGHBOUR.token(NEIGHBOUR.create_user())
NO_ISSUER = token(iss=None)

FINDERS = {
    "plain": TokenFinder(INSTANCE),
    "parties": TokenFinder(CLERK.make_instance(authorized_parties=[APP, "http://localhost:3000"])),
    "origins": TokenFinder(CLERK.make_instance(authorized_parties=[APP]), origins=[ADMIN, "chrome-extension://abcdef"]),
    "no cookies": TokenFinder(INSTANCE, cookies=False),
    "no suffix": TokenFinder(Instance(issuer=CLERK.issuer, jwks=CLERK.jwks())),
    "proxy": TokenFinder(CLERK.make_instance(extra_issuers=["https://app.example.com/__clerk"])),
    "oidc": TokenFinder(CLERK.make_oidc_instance("api")),
}


class Case(NamedTuple):
    """A request as it goes over the wire, and what it must come to.

    That is a carrier and a token, None for a request without one, or the code of a refusal.
    """

    name: str
    headers: Headers
    want: Want
    method: str = "GET"
    finder: str = "plain"


def authorization(*values: str, cookie: str | None = None) -> Headers:
    """Authorization headers, and perhaps a cookie that must not make up for them."""
    more = [] if cookie is None else [("Cookie", cookie)]
    return [("Host", "app.example.com"), *(("Authorization", value) for value in values), *more]


def cookies(*headers: str) -> Headers:
    """Cookie headers."""
    return [("Host", "app.example.com"), *(("Cookie", header) for header in headers)]


def session(value: str, updated: str | None = "1") -> str:
    """A Cookie header with the plain session cookie."""
    return f"__session={value}" + (f"; __client_uat={updated}" if updated is not None else "")
