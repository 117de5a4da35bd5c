"""A client of an OpenID provider that calls for itself is a machine, and never becomes a user."""

import asyncio
from typing import Any

import pytest

from clerkmap import Resolver, Verifier
from clerkmap.core.responses import error_response
from clerkmap.errors import AudienceRefused, ClaimMissing, ConfigurationError, MachineToken, PartyRefused, TokenError
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk

API = "https://api.example.com"
ENTRA = "6731de76-14a6-49ae-97bc-6eba6914391e"
CIMD = "https://client.example.com/" + "a" * 1_900
GONE = {"client_id": None, "scope": None}

# By provider: the claims of a token from the client credentials grant, and the id of the machine.
MACHINES: dict[str, tuple[dict[str, Any], str]] = {
    "Logto": ({"sub": "m2m_app_1", "client_id": "m2m_app_1"}, "m2m_app_1"),
    "Auth0": ({**GONE, "sub": "abc123@clients", "azp": "abc123", "gty": "client-credentials"}, "abc123@clients"),
    "Auth0 without gty": ({**GONE, "sub": "abc123@clients", "azp": "abc123"}, "abc123@clients"),
    "Keycloak": (
        {"sub": "0d7ae0c5", "azp": "svc", "client_id": "svc", "preferred_username": "service-account-svc"},
        "0d7ae0c5",
    ),
    "Entra": ({**GONE, "sub": ENTRA, "oid": ENTRA, "azp": "app", "roles": ["Read.All"], "idtyp": "app"}, ENTRA),
    "Entra without idtyp": ({**GONE, "sub": ENTRA, "oid": ENTRA, "appid": "app", "roles": ["Read.All"]}, ENTRA),
    "Okta": ({**GONE, "sub": "0oa1", "cid": "0oa1", "scp": ["read"]}, "0oa1"),
    "Cognito": ({"sub": "1example", "client_id": "1example", "token_use": "access"}, "1example"),
    "Kinde": ({**GONE, "sub": None, "azp": "d4d3", "gty": ["client_credentials"], "scp": ["read"]}, "d4d3"),
    "Duende": ({"sub": None, "client_id": "svc"}, "svc"),
    "FusionAuth": ({"sub": "entity_1", "gty": ["client_credentials"]}, "entity_1"),
    "a grant type": ({"sub": "entity_1", "grant_type": "client_credentials"}, "entity_1"),
    "a client with a URL": ({"sub": CIMD, "client_id": CIMD}, CIMD),
}
PEOPLE: dict[str, dict[str, Any]] = {
    "Logto": {"sub": "usr_1", "client_id": "spa"},
    "Auth0": {**GONE, "sub": "auth0|abc123", "azp": "abc123", "gty": ["refresh_token", "authorization_code"]},
    "Keycloak": {"sub": "f1d2", "azp": "spa", "client_id": None, "preferred_username": "ann"},
    "Entra": {**GONE, "sub": "AAAA", "oid": ENTRA, "azp": "app", "scp": "Read", "idtyp": "user"},
    "Entra, the same ids": {**GONE, "sub": ENTRA, "oid": ENTRA, "azp": "app", "scp": "Read"},
    "Okta": {**GONE, "sub": "ann@example.com", "cid": "0oa1", "uid": "00u1", "scp": ["read"]},
    "no client": {**GONE, "sub": "usr_1"},
    "odd claims": {"sub": "usr_1", "gty": 5, "preferred_username": 7, "azp": "b", "client_id": "c"},
}


class World:
    """A provider, and what is stored of its users."""

    def __init__(self, **options: Any) -> None:
        self.clerk = FakeClerk(61)
        self.instance = self.clerk.make_oidc_instance(API, **options)
        self.repository = MemoryRepository()

    def token(self, claims: dict[str, Any], audience: str = API) -> str:
        """A token with these claims."""
        return self.clerk.oidc_token("nobody", audience, claims=claims)

    def resolver(self, **options: Any) -> Resolver:
        """A resolver of its tokens."""
        return Resolver(self.instance, self.repository, verifier=Verifier(self.instance, **options))

    @property
    def people(self) -> int:
        """How many users there are."""
        return self.repository.counts(self.instance.name)["user"].from_token


def refused(resolver: Resolver, token: str) -> list[TokenError]:
    """The errors with which a token is refused, in both colours."""
    found: list[TokenError] = []
    for resolve in (resolver.resolve, lambda token: asyncio.run(resolver.aresolve(token))):
        with pytest.raises(TokenError) as caught:
            resolve(token)
        found.append(caught.value)
    return found


@pytest.mark.parametrize("provider", MACHINES)
def test_a_machine_is_refused_before_a_row_is_made(provider: str) -> None:
    """By default, and by a resolver also where machines are accepted: it has no user."""
    world = World()
    token = world.token(MACHINES[provider][0])
    for options in ({}, {"accept": ["oidc", "oidc_machine"]}):
        for error in refused(world.resolver(**options), token):
            assert type(error) is MachineToken
            assert error_response(error).status == 401
    assert world.people == 0


@pytest.mark.parametrize("provider", MACHINES)
def test_a_machine_is_accepted_by_a_verifier_that_asks_for_it(provider: str) -> None:
    """It proves which client calls, and its scopes."""
    world = World()
    claims, subject = MACHINES[provider]
    found = Verifier(world.instance, accept=["oidc_machine"]).verify(world.token(claims))
    assert (found.kind, found.subject) == ("oidc_machine", subject)
    assert found.scopes == (("read",) if "scp" in claims else () if "scope" in claims else ("openid",))


@pytest.mark.parametrize("provider", PEOPLE)
def test_a_person_is_none(provider: str) -> None:
    """Tokens of the same providers that a user is behind are let in; a verifier of machines alone refuses them."""
    world = World()
    token = world.token(PEOPLE[provider])
    assert world.resolver().resolve(token).claims.kind == "oidc"
    assert world.people == 1
    with pytest.raises(TokenError):
        Verifier(world.instance, accept=["oidc_machine"]).verify(token)


def test_a_token_without_subject_and_client() -> None:
    """It stands for nothing, and is refused whatever is accepted."""
    world = World()
    token = world.token({"sub": None, "client_id": None})
    with pytest.raises(ClaimMissing):
        Verifier(world.instance, accept=["oidc", "oidc_machine"]).verify(token)


def test_a_machine_is_held_to_audience_and_parties() -> None:
    """As users are."""
    world = World(authorized_parties=["https://app.example.com"])
    verifier = Verifier(world.instance, accept=["oidc_machine"])
    claims = MACHINES["Logto"][0]
    with pytest.raises(PartyRefused):
        verifier.verify(world.token({**claims, "azp": "m2m_app_1"}))
    with pytest.raises(AudienceRefused):
        Verifier(World().instance, accept=["oidc_machine"]).verify(world.token(claims, "https://other.example.com"))


def test_the_kind_belongs_to_openid_providers() -> None:
    """Clerk's own machines are `m2m`."""
    odd: Any = ["oidc_machine"]
    with pytest.raises(ConfigurationError, match="accept must be one or more of"):
        Verifier(FakeClerk().instance, accept=odd)
