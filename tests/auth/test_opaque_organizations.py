"""An organization that calls with a key of its own: it is your organization, and nobody's user."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from clerkmap import Organization, Principal, Resolver, User, explain
from clerkmap.adapters.asgi import AuthMiddleware, principal_of
from clerkmap.adapters.fastapi import Clerk
from clerkmap.adapters.mcp import ClerkTokenVerifier
from clerkmap.adapters.starlette import scopes_of
from clerkmap.auth.lease import Lease
from clerkmap.core.model import Change
from clerkmap.core.records import ClerkOrganization
from clerkmap.errors import ApiKeyToken, NotForUs, OrganizationDeleted, PrincipalRefused, UserDeleted, UserMissing
from clerkmap.repositories import MemoryRepository
from opaque_world import World


class Calling(World):
    """A world in which Acme calls, and its principal."""

    def __init__(self) -> None:
        super().__init__()
        self.key = self.clerk.create_api_key(self.acme)
        self.principal = self.resolver.resolve(self.key.secret)

    def delete_acme(self) -> None:
        """What a webhook would tell."""
        now = self.clerk.moment() + 1
        self.repository.put([ClerkOrganization.deleted(self.instance.name, self.acme.id, observed_at=now)])


def test_it_is_your_organization_made_at_first_sight() -> None:
    """The very one that its members act in, and made once."""
    world = Calling()
    ours = world.principal.organization
    assert ours is not None
    assert world.resolver.resolve(world.key.secret) == world.principal
    assert asyncio.run(world.resolver.aresolve(world.key.secret)) == world.principal
    assert world.resolver.resolve_nowait(world.key.secret) is None  # what it is now, the repository is asked each time
    assert (world.principal.optional_user, world.principal.membership, world.principal.actor) == (None, None, None)
    assert world.principal.claims.kind == "organization_api_key"
    member = world.resolver.resolve(world.clerk.token(world.ann, world.acme))
    assert member.organization is not None
    assert member.organization.id == ours.id
    counts = world.repository.counts(world.instance.name)
    assert (counts["user"].from_token, counts["organization"].from_token) == (1, 1)
    assert world.api.count == 1


def test_it_is_nobodys_user() -> None:
    """Whoever asks for the user is told that there is none; a person's user is there as ever."""
    world = Calling()
    with pytest.raises(UserMissing):
        _ = world.principal.user
    person = world.resolver.resolve(world.clerk.token(world.ann))
    assert person.user is person.optional_user
    assert scopes_of(world.principal) == ["authenticated", "organization"]


def test_a_deleted_one_is_refused_at_once() -> None:
    """Although Clerk's word on the key still counts, in whatever way it is asked."""
    world = Calling()
    world.delete_acme()
    ways: list[Callable[[], Principal]] = [
        lambda: world.resolver.resolve(world.key.secret),
        lambda: asyncio.run(world.resolver.aresolve(world.key.secret)),
        lambda: world.resolver.confirm(world.principal),
        lambda: asyncio.run(world.resolver.aconfirm(world.principal)),
        lambda: asyncio.run(world.resolver.arecall(world.principal)),
    ]
    for ask in ways:
        with pytest.raises(OrganizationDeleted):
            ask()
    assert world.api.count == 1


def test_it_is_confirmed() -> None:
    """As a person is; in another repository it was never heard of."""
    world = Calling()
    assert world.resolver.confirm(world.principal) == world.principal
    assert world.resolver.confirm_nowait(world.principal) is None
    elsewhere = Resolver(world.instance, MemoryRepository(), verifier=world.verifier)
    with pytest.raises(OrganizationDeleted):
        elsewhere.confirm(world.principal)
    with pytest.raises(UserDeleted):
        elsewhere.confirm(world.resolver.resolve(world.clerk.token(world.ann)))


def test_your_hooks_hear_of_it() -> None:
    """It is made as any other way in would make it: with your row for it, in one transaction."""
    world = World()
    heard: list[Change] = []
    resolver = Resolver(
        world.instance, MemoryRepository(hooks=[lambda change, _: heard.append(change)]), verifier=world.verifier
    )
    secret = world.clerk.create_api_key(world.acme).secret
    for _ in range(2):
        resolver.resolve(secret)
    assert [(each.is_organization, each.made) for each in heard] == [(True, True)]


def test_it_travels_and_nothing_is_slipped_in() -> None:
    """To a job and back; with a user, or without an organization, it is no principal."""
    world = Calling()
    packed = world.principal.to_dict()
    assert Principal.from_dict(packed) == world.principal
    person = world.resolver.resolve(world.clerk.token(world.ann, world.acme)).to_dict()
    for change in (
        {"user": person["user"]},
        {"organization": None},
        {"membership": person["membership"]},
        {"claims": person["claims"]},
    ):
        with pytest.raises(PrincipalRefused):
            Principal.from_dict(packed | change)
    with pytest.raises(PrincipalRefused):
        Principal.from_dict(person | {"user": None})
    other = world.resolver.resolve(world.clerk.create_api_key(world.clerk.create_organization("Umbrella")).secret)
    with pytest.raises(PrincipalRefused):
        Principal.from_dict(packed | {"organization": other.to_dict()["organization"]})


def test_a_lease_is_renewed_with_its_own_key_only() -> None:
    """It goes on for as long as the key is good, and not with somebody else's."""
    world = Calling()
    lease = Lease(world.resolver, world.principal, grace=30)
    world.advance(70)

    async def renewed() -> Principal:
        return await lease.renew(world.key.secret)

    assert asyncio.run(renewed()).claims.expires_at > world.principal.claims.expires_at
    assert lease.seconds_left == 90
    for stranger in (
        world.clerk.token(world.ann, world.acme),
        world.clerk.create_api_key(world.clerk.create_organization("Umbrella")).secret,
    ):
        with pytest.raises(NotForUs):
            asyncio.run(lease.renew(stranger))
    world.delete_acme()
    with pytest.raises(OrganizationDeleted):
        asyncio.run(lease.check())


def test_an_mcp_server_takes_people() -> None:
    """To the SDK it is a bad token."""
    world = Calling()
    assert (
        asyncio.run(ClerkTokenVerifier(world.resolver, resource="https://a.b/mcp").verify_token(world.key.secret))
        is None
    )


def test_a_page_that_needs_the_user_answers_403() -> None:
    """In FastAPI by its dependencies, also the one for who may be anonymous; elsewhere by asking the principal."""
    world = Calling()
    clerk = Clerk(world.resolver)
    app = FastAPI()

    @app.get("/user")
    def user(user: Annotated[User, Depends(clerk.user)]) -> Any:
        return user.id

    @app.get("/optional-user")
    def optional_user(user: Annotated[User | None, Depends(clerk.optional_user)]) -> Any:
        return user and user.id

    @app.get("/organization")
    def organization(organization: Annotated[Organization, Depends(clerk.organization)]) -> Any:
        return organization.id

    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        await JSONResponse(str(principal_of(scope).user.id))(scope, receive, send)

    bearer = {"authorization": f"Bearer {world.key.secret}"}
    one, other = TestClient(app), TestClient(AuthMiddleware(bare, resolver=world.resolver))
    for client, path in ((one, "/user"), (one, "/optional-user"), (other, "/")):
        answered = client.get(path, headers=bearer)
        assert (answered.status_code, answered.json()["code"]) == (403, "user_missing")
    assert world.principal.organization is not None
    assert one.get("/organization", headers=bearer).json() == world.principal.organization.id


def test_it_is_explained() -> None:
    """Clerk was asked, and what it becomes has no user."""
    world = Calling()
    explanation = explain(world.resolver, world.key.secret)
    told = explanation.to_dict()
    assert explanation.principal == world.principal
    assert told["principal"]["user"] is None
    assert {check["name"]: check["passed"] for check in told["checks"]}["known to Clerk"] is True
    assert world.key.secret not in str(told)
    world.delete_acme()
    explanation = explain(world.resolver, world.key.secret)
    failed = [check.name for check in explanation.checks if check.passed is False]
    assert failed == ["organization"]
    people_only = World(accept=("api_key",))
    explanation = explain(people_only.verifier, people_only.clerk.create_api_key(people_only.acme).secret)
    assert isinstance(explanation.error, ApiKeyToken)
    assert [check.name for check in explanation.checks if check.passed is False] == ["kind"]
