"""What the tests of single frameworks share: people, their tokens, resolvers in trouble, and what must be answered."""

from typing import Any, NamedTuple

from clerkmap import AsyncCoreRepository, ClerkMembership, Principal, Resolver
from clerkmap.auth.verifier import Verifier
from clerkmap.clerk.jwks import RemoteKeys
from clerkmap.core.principal import Standing
from clerkmap.core.responses import RawResponse, error_response
from clerkmap.errors import (
    ClerkmapError,
    KeysUnavailable,
    MembershipDeleted,
    OrganizationMissing,
    PermissionMissing,
    RepositoryUnavailable,
    ReverificationNeeded,
    SchemeRefused,
    TokenExpired,
    TokenMalformed,
    TokenMissing,
    UserBanned,
)
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk
from key_server import TROUBLES, KeyServer

CLERK = FakeClerk(62)


def token(*who: Any, **said: Any) -> str:
    """A token that lasts as long as the tests do, unless it is said to have expired."""
    return CLERK.token(*who, **{"expires_in": 3600, **said})


ADA, BANNED, LEFT = (CLERK.create_user(f"{name}@example.com", first_name=name) for name in ("ada", "bob", "cid"))
ACME = CLERK.create_organization("Acme", created_by=ADA)
PERMISSION = "org:invoices:create"

TOKEN = token(ADA, ACME, permissions=[PERMISSION])
NO_ORGANIZATION = token(ADA)
NOT_FRESH = token(ADA, ACME, factor_ages=(90, -1))


class Away(MemoryRepository):
    """A database that does not answer."""

    def find(
        self, instance: str, clerk_user_id: str, clerk_organization_id: str | None = None, session: str | None = None
    ) -> Standing | None:
        raise RepositoryUnavailable


class Counted(Resolver):
    """Counts how often the token of an ASGI request is resolved, from the cached header or without it."""

    looked = 0

    def resolve_nowait(self, token: str) -> Principal | None:
        self.looked += 1
        return super().resolve_nowait(token)

    async def aresolve(self, token: str, *, within: AsyncCoreRepository | None = None) -> Principal:
        self.looked += 1
        return await super().aresolve(token, within=within)


def make_resolver(trouble: str = "") -> Resolver:
    """A resolver to which one person is banned and another has left; keys or database may be away."""
    if trouble == "keys":
        server = KeyServer(CLERK)
        server.trouble = TROUBLES["500"]
        instance = CLERK.make_instance(jwks=None)
        verifier = Verifier(instance, keys=RemoteKeys(instance, transport=server), clock=CLERK.clock)
        return Resolver(instance, MemoryRepository(), verifier=verifier)
    repository = Away() if trouble == "database" else MemoryRepository()
    left = ClerkMembership.deleted(
        CLERK.instance.name,
        CLERK.new_id("orgmem"),
        clerk_user_id=LEFT.id,
        clerk_organization_id=ACME.id,
        observed_at=int(CLERK.clock() * 1000) + 90_000,
    )
    repository.put([CLERK.record(BANNED, banned=True), left])
    return Resolver(CLERK.instance, repository)


class Case(NamedTuple):
    """A request that is refused, and why."""

    name: str
    headers: dict[str, str]
    error: ClerkmapError
    trouble: str = ""
    page: str = "/user"


def bearer(token: str) -> dict[str, str]:
    """A header with a token in it."""
    return {"authorization": f"Bearer {token}"}


# Refused on every page that asks who is calling.
REFUSED = [
    Case("bad", bearer("nonsense"), TokenMalformed()),
    Case("another scheme", {"authorization": "Basic YTpi"}, SchemeRefused()),
    Case("expired", bearer(token(ADA, expires_in=-60)), TokenExpired()),
    Case("banned", bearer(token(BANNED)), UserBanned()),
    Case("left the organization", bearer(token(LEFT, ACME)), MembershipDeleted()),
    Case("keys away", bearer(TOKEN), KeysUnavailable(), "keys"),
    Case("database away", bearer(TOKEN), RepositoryUnavailable(), "database"),
]
MISSING = Case("missing", {}, TokenMissing())
# Refused on the pages that ask for more.
NOT_ENOUGH = [
    Case("no organization", bearer(NO_ORGANIZATION), OrganizationMissing(), page="/organization"),
    Case("no permission", bearer(NOT_FRESH), PermissionMissing(), page="/permission"),
    Case("not fresh", bearer(NOT_FRESH), ReverificationNeeded(("second_factor", 30)), page="/reverified"),
]


def shown(status: int, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    """An answer as it arrives, without what a server adds to every one."""
    return status, {name: value for name, value in headers.items() if name not in ("date", "server")}, body


def redirected(location: str) -> RawResponse:
    """The answer that sends a browser without a session cookie to a page."""
    cookie = "__clerkmap_sent=1-e3b0c442; Path=/; Max-Age=30; HttpOnly; SameSite=Lax"
    headers = {"location": location, "content-length": "0", "cache-control": "no-store", "set-cookie": cookie}
    return RawResponse(303, tuple(headers.items()), b"")


def wanted(error: ClerkmapError, page: str | None = None) -> tuple[int, dict[str, str], bytes]:
    """The answer that every framework must give."""
    told = error_response(error) if page is None else redirected(page)
    return told.status, dict(told.headers), told.body
