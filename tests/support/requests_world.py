"""The worlds that the table of requests is asked in: people and organizations, their tokens, and what is away.

Everything is made from one seed, so that a server in another process has the same people and takes the same tokens.
Tokens are made at NOW, what happened to people happened a second later, and requests come a second after that.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple, TypedDict

import httpx

from clerk_api_world import Far, failure
from clerkmap import Principal, Resolver, Verifier
from clerkmap.clerk import OpaqueTokens
from clerkmap.clerk.budget import Budget
from clerkmap.clerk.jwks import RemoteKeys
from clerkmap.core.principal import Standing
from clerkmap.core.records import ClerkMembership, ClerkOrganization, ClerkSession, ClerkUser
from clerkmap.core.requirements import Requirement
from clerkmap.errors import RepositoryUnavailable
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock, FakeClerk, FakeOrganization
from key_server import TROUBLES, KeyServer

NOW = 1_790_000_000
HAPPENED = NOW * 1000 + 1000
CLERK, NEIGHBOUR = FakeClerk(seed=61, clock=Clock(NOW)), FakeClerk(seed=62, clock=Clock(NOW))
SUFFIX, OTHER_SUFFIX = CLERK.instance.cookie_suffix, NEIGHBOUR.instance.cookie_suffix
APP, ADMIN, EVIL = "https://app.example.com", "https://admin.example.com", "https://evil.example"

_NAMES = ("ada", "bob", "nova", "eve", "dan", "erin", "rex", "olga", "mia", "zoe", "sid")
PEOPLE = {name: CLERK.create_user() for name in _NAMES}
ACME, GONE, FRESH = (CLERK.create_organization(name) for name in ("acme", "gone", "fresh"))
YOURS = {user.id: name for name, user in PEOPLE.items()} | {each.id: each.name for each in (ACME, GONE, FRESH)}


# Tokens of which only Clerk's API can tell anything.
KEYS = {name: CLERK.create_api_key(PEOPLE[name]) for name in ("ada", "nova", "eve", "dan")}
KEY_OF_ACME, KEY_OF_GONE, KEY_OF_FRESH = (CLERK.create_api_key(each) for each in (ACME, GONE, FRESH))
REVOKED = CLERK.create_api_key(PEOPLE["ada"])
READER = CLERK.create_api_key(PEOPLE["ada"], scopes=["notes:read"])
CLIENT_OF_ADA, MACHINE = CLERK.create_oauth_token(PEOPLE["ada"]), CLERK.create_machine_token()
CLERK.revoke_machine_token(REVOKED)


def token(name: str, organization: FakeOrganization | None = None, **more: Any) -> str:
    """A session token of somebody."""
    return CLERK.token(PEOPLE[name], organization, session=more.pop("session", f"sess_{name}"), **more)


def _id_of(record: ClerkUser | ClerkOrganization) -> str:
    return YOURS[record.clerk_id or ""]


CHOICES: dict[str, Any] = {"ids": _id_of, "clock": Clock(NOW + 2)}


class Ends(TypedDict):
    """The two ends of a membership."""

    clerk_user_id: str
    clerk_organization_id: str


def _fill(repository: MemoryRepository) -> None:
    """Ada administers Acme and is on the staff; Bob is a member; to the others happened what the table says."""
    name, before = CLERK.instance.name, NOW * 1000 - 10_000

    def member(who: str, where: FakeOrganization, role: str, observed_at: int = before) -> ClerkMembership:
        ends: Ends = {"clerk_user_id": PEOPLE[who].id, "clerk_organization_id": where.id}
        return ClerkMembership.full(name, f"orgmem_{who}", role=role, observed_at=observed_at, **ends)

    repository.put(
        [
            *(
                ClerkUser.full(name, user.id, observed_at=before, banned=who == "eve")
                for who, user in PEOPLE.items()
                if who != "nova"
            ),
            *(ClerkOrganization.full(name, each.id, name=each.name, observed_at=before) for each in (ACME, GONE)),
            *(member(who, ACME, "org:admin") for who in ("ada", "rex", "zoe")),
            *(member(who, ACME, "org:member") for who in ("bob", "eve")),
            member("olga", GONE, "org:admin"),
            member("mia", ACME, "org:member", HAPPENED),
        ]
    )
    ends: Ends = {"clerk_user_id": PEOPLE["rex"].id, "clerk_organization_id": ACME.id}
    repository.put(
        [
            ClerkUser.deleted(name, PEOPLE["dan"].id, observed_at=HAPPENED),
            ClerkOrganization.deleted(name, GONE.id, observed_at=HAPPENED),
            ClerkMembership.deleted(name, "orgmem_rex", observed_at=HAPPENED, **ends),
            ClerkSession.deleted(name, "sess_over", observed_at=HAPPENED),
        ]
    )
    repository.erase("erin")
    repository.set_role("ada", "staff")


class AwayRepository(MemoryRepository):
    """A database that answers about each person so many times, and never again. As on PostgreSQL in an outage, each
    poll makes everybody look again."""

    poll_every: float | None = 0.0

    def __init__(self, times: int) -> None:
        super().__init__(**CHOICES)
        self._times = times
        self._asked: dict[str, int] = {}

    def find(
        self,
        instance: str,
        clerk_user_id: str,
        clerk_organization_id: str | None = None,
        clerk_session_id: str | None = None,
    ) -> Standing | None:
        self._asked[clerk_user_id] = self._asked.get(clerk_user_id, 0) + 1
        if self._asked[clerk_user_id] > self._times:
            raise RepositoryUnavailable
        return super().find(instance, clerk_user_id, clerk_organization_id, clerk_session_id)

    def poll(self) -> None:
        self.listeners.keys_changed(None)


def _raise(_change: object, _database: object) -> None:
    raise ValueError("a hook of the application's own making")


class World(NamedTuple):
    """What an adapter is made with: a resolver, and options of `AuthMiddleware` by name."""

    resolver: Resolver
    options: dict[str, Any]


def _world(repository: MemoryRepository | None = None, settings: Mapping[str, Any] | None = None, **more: Any) -> World:
    """A world: its repository, settings of its instance, `accept` for its verifier, the `api`
    that tells what an opaque token is, and options of the adapter."""
    instance = CLERK.make_instance(**(settings or {}))
    keys = None
    if instance.local_keys is None:
        far_end = KeyServer(CLERK)
        far_end.trouble = TROUBLES["connection refused"]
        keys = RemoteKeys(instance, transport=far_end)
    policy: dict[str, Any] = {name: more.pop(name) for name in ("accept", "allow_pending") if name in more}
    far: httpx.BaseTransport | None = more.pop("api", None)
    if far is not None:
        often = Budget(1e6, time.monotonic)
        policy["opaque"] = OpaqueTokens(
            instance, transport=far, deadline=1, budget=often, strangers=often, clock=Clock(NOW + 2)
        )
    verifier = Verifier(instance, keys=keys, clock=Clock(NOW + 2), **policy)
    repository = MemoryRepository(**CHOICES) if repository is None else repository
    if "hooks" not in more:
        _fill(repository)
    more.pop("hooks", None)
    resolver = Resolver(instance, repository, verifier=verifier, serve_stale=more.pop("serve_stale", 0))
    return World(resolver, more)


def _trusting() -> World:
    """The user's id is taken from the token, for nothing has been heard of anybody for a long time."""
    clock = Clock(NOW - 600)
    repository = MemoryRepository(**CHOICES)
    _fill(repository)
    verifier = Verifier(CLERK.instance, own_id="own_id", clock=clock)
    resolver = Resolver(CLERK.instance, repository, verifier=verifier, trust_own_id=True)
    clock.advance(602)
    return World(resolver, {})


def _lost(**options: Any) -> World:
    """Ada has been there before the database went away."""
    world = _world(AwayRepository(times=1), **options)
    world.resolver.resolve(token("ada"))
    return world


# By the first segment of a path.
WORLDS: dict[str, Callable[[], World]] = {
    "clerk": _world,
    "parties": lambda: _world(settings={"authorized_parties": [APP]}),
    "origins": lambda: _world(origins=[ADMIN]),
    "no-cookies": lambda: _world(cookies=False),
    "clients": lambda: _world(accept=["session", "oauth"]),
    "machines": lambda: _world(accept=["session", "oauth", "api_key"], api=CLERK.transport()),
    "organizations": lambda: _world(accept=["organization_api_key"], api=CLERK.transport()),
    "api-down": lambda: _world(accept=["session", "api_key"], api=Far(failure(httpx.ReadTimeout))),
    "pending": lambda: _world(allow_pending=True),
    "keys-down": lambda: _world(settings={"jwks": None}),
    "database-down": lambda: _world(AwayRepository(times=0)),
    "database-lost": _lost,
    "served-stale": lambda: _lost(serve_stale=3600),
    "trusting": _trusting,
    "hook-fails": lambda: _world(MemoryRepository(**CHOICES, hooks=[_raise]), hooks=True),
}


class Route(NamedTuple):
    """A page of the application: whether it asks who is calling at all, and what it requires then."""

    asks: bool = True
    required: Requirement | None = None


# By what follows in the path. Every adapter protects these in its own manner.
ROUTES: dict[str, Route] = {
    "/blind": Route(asks=False),
    "/open": Route(),
    "/signed-in": Route(required=Requirement()),
    "/role": Route(required=Requirement(organization_role="admin")),
    "/user-role": Route(required=Requirement(user_role="staff")),
    "/user-roles": Route(required=Requirement(user_role=("staff", "author"))),
    "/roles": Route(required=Requirement(organization_role=("admin", "billing"))),
    "/scope": Route(required=Requirement(scope="notes:read")),
    "/scopes": Route(required=Requirement(scope=("notes:read", "notes:write"))),
    "/permissions": Route(required=Requirement(permission=("invoices:create", "invoices:approve"))),
    "/features": Route(required=Requirement(feature=["invoices", "user:themes"])),
    "/plans": Route(required=Requirement(plan={"org:pro", "org:team"})),
    "/permission": Route(required=Requirement(permission="org:invoices:create")),
    "/feature": Route(required=Requirement(feature="invoices")),
    "/own-feature": Route(required=Requirement(feature="user:themes")),
    "/plan": Route(required=Requirement(plan="org:pro")),
    "/organization": Route(required=Requirement(organization=True)),
    "/page": Route(required=Requirement(organization=True, organization_page="/choose?next=%2F")),
    "/role-page": Route(required=Requirement(organization_role="org:admin", organization_page="/choose")),
    "/reverified": Route(required=Requirement(reverified="strict")),
    "/reverified-lately": Route(required=Requirement(reverified=("first_factor", 5))),
    "/in-person": Route(required=Requirement(not_impersonated=True)),
    "/fresh": Route(required=Requirement(fresh_membership=True)),
    "/everything": Route(
        required=Requirement(
            organization_role="admin",
            user_role="staff",
            permission="invoices:create",
            feature="invoices",
            plan="pro",
            organization=True,
            reverified=("multi_factor", 10),
            not_impersonated=True,
            fresh_membership=True,
        )
    ),
}


def words(required: Requirement) -> dict[str, Any]:
    """What a requirement names, as keywords: frameworks have a `require(...)` that takes those."""
    named = {each.name: _written(getattr(required, each.name)) for each in fields(required)}
    return {name: value for name, value in named.items() if value is not None and value is not False}


def _written(value: Any) -> Any:
    """Return an option as an application writes it: one name, or a tuple of names of which any suffices."""
    named_once = isinstance(value, tuple) and len(value) == 1
    return value[0] if named_once else value


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def told(principal: Principal | None) -> dict[str, str | None]:
    """What every page that asks answers: who is calling, in your own ids. It is sent as JSON."""
    found: dict[str, str | None] = dict.fromkeys(("user", "organization", "role", "actor"))
    if principal is not None:
        found["user"] = None if principal.optional_user is None else str(principal.optional_user.id)
        found["organization"] = None if principal.organization is None else str(principal.organization.id)
        found["role"] = None if principal.membership is None else principal.membership.role
        found["actor"] = None if principal.actor is None else principal.actor.id
    return found
