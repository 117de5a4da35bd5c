"""Which kinds of opaque token there are, which of them pass where, and whom they stand for."""

from typing import Any

import pytest

from clerkmap import ConfigurationError, Principal, Verifier
from clerkmap.clerk import OpaqueTokens
from clerkmap.core.claims import TokenKind
from clerkmap.core.opaque_tokens import KINDS, Vouched, prefix_of
from clerkmap.errors import (
    ApiKeyToken,
    AudienceRefused,
    MachineToken,
    OAuthToken,
    TokenMalformed,
)
from opaque_world import EVERY_KIND, MAKERS, NOW, World

SUBJECTS = {"api_key": "user_", "organization_api_key": "org_", "m2m": "mch_", "oauth": "user_"}


@pytest.mark.parametrize("kind", MAKERS)
def test_what_a_good_one_proves(kind: TokenKind) -> None:
    """Each kind is told from the others, and proves whom it speaks for, and its scopes."""
    world = World()
    made = MAKERS[kind](world)
    claims = world.verifier.verify(made.secret)
    assert (claims.kind, claims.subject, claims.token_id) == (kind, made.subject, made.id)
    assert claims.subject.startswith(SUBJECTS[kind])
    assert claims.scopes == tuple(made.scopes)
    assert (claims.issued_at, claims.expires_at) == (NOW, NOW + 60)
    assert (claims.issuer, claims.session_id, claims.actor) == (world.clerk.issuer, None, None)
    assert claims.payload.get("claims") == made.claims
    assert claims.client_id == made.client_id
    assert not claims.has(organization_role="admin")
    assert (claims.organization is not None) == (kind == "organization_api_key")


@pytest.mark.parametrize("kind", ["api_key", "oauth"])
def test_it_resolves_to_your_user(kind: TokenKind) -> None:
    """The same one as the person's session does, made at first sight if need be; it can travel, too."""
    world = World()
    principal = world.resolver.resolve(MAKERS[kind](world).secret)
    assert world.resolver.resolve(world.clerk.token(world.ann)).user == principal.user
    assert (principal.organization, principal.membership, principal.actor) == (None, None, None)
    assert Principal.from_dict(principal.to_dict()) == principal
    assert world.resolver.confirm(principal) == principal


def test_a_machine_is_nobodys_user() -> None:
    """The verifier tells which one it is; a resolver has nobody for it, and writes nothing."""
    world = World()
    with pytest.raises(MachineToken):
        world.resolver.resolve(MAKERS["m2m"](world).secret)
    assert world.repository.counts(world.instance.name)["user"].from_token == 0


@pytest.mark.parametrize("accepted", EVERY_KIND)
@pytest.mark.parametrize("kind", MAKERS)
def test_a_kind_passes_where_it_is_accepted_and_nowhere_else(kind: TokenKind, accepted: TokenKind) -> None:
    """Where none of the kinds is accepted that it could be, nobody is even asked."""
    world = World(accept=(accepted,))
    secret = MAKERS[kind](world).secret
    prefix = prefix_of(secret)
    assert prefix is not None
    if kind == accepted:
        assert world.verifier.verify(secret).kind == kind
        return
    refusal = {"m2m": MachineToken, "oauth": OAuthToken}.get(kind, ApiKeyToken)
    with pytest.raises(refusal):
        world.verifier.verify(secret)
    assert world.api.count == (1 if accepted in KINDS[prefix] else 0)


@pytest.mark.parametrize(
    "token",
    [
        *("ak_", "mt_x", "oat_" + "a" * 15, "ak_" + "a" * 513, "ak_" + "a" * 32 + "\n", " ak_" + "a" * 32),
        *("AK_" + "a" * 32, "at_" + "a" * 32, "m2m_" + "a" * 32, "ak-" + "a" * 32, "ak_" + "a" * 31 + "é"),
        *("ak_" + "a" * 30 + ".b.c", "ak_" + "٣" * 32, "ak_" + "a" * 100_000, "ak_" + "a" * 31 + "\0"),
    ],
)
def test_what_does_not_look_like_one_is_asked_of_nobody(token: str) -> None:
    """A stranger's junk is refused as such."""
    world = World()
    with pytest.raises(TokenMalformed):
        world.resolver.resolve(token)
    assert world.api.count == 0


@pytest.mark.parametrize("token", [None, 5, b"ak_" + b"a" * 32, ["ak_"], {}])
def test_what_is_no_text_is_refused(token: Any) -> None:
    """It cannot be read, as without a source of opaque tokens."""
    with pytest.raises(TokenMalformed):
        World().resolver.resolve(token)


def test_audiences() -> None:
    """An OAuth token names none, and is refused where one is a must; a machine's are its scopes; a key needs none."""
    world = World(settings={"audience": "mch_b"})
    with pytest.raises(AudienceRefused):
        world.verifier.verify(MAKERS["oauth"](world).secret)
    with pytest.raises(AudienceRefused):
        world.verifier.verify(world.clerk.create_machine_token(scopes=["mch_c"]).secret)
    assert world.verifier.verify(MAKERS["m2m"](world).secret).scopes == ("mch_b",)
    assert world.verifier.verify(MAKERS["api_key"](world).secret).kind == "api_key"


def test_settings_that_cannot_work() -> None:
    """They are refused when the application starts."""
    world = World()
    for wrong in ({"keep_for": 0}, {"keep_for": 301}, {"keep_for": True}, {"keep": 1}, {"deadline": 0}):
        with pytest.raises(ConfigurationError):
            OpaqueTokens(world.instance, **wrong)
    with pytest.raises(ConfigurationError, match="secret_key"):
        OpaqueTokens(world.clerk.make_instance(secret_key=None))
    with pytest.raises(ConfigurationError, match="opaque"):
        Verifier(world.instance, accept=["api_key"])
    with pytest.raises(ConfigurationError, match="the same instance"):
        Verifier(world.clerk.make_instance(), accept=["api_key"], opaque=world.opaque)
    provider = world.clerk.make_oidc_instance("api")
    with pytest.raises(ConfigurationError, match="oidc"):
        Verifier(provider, accept=["api_key"])


def test_no_repr_shows_what_clerk_said() -> None:
    """It ends up in logs."""
    assert repr(Vouched("api_key", {"sub": "user_1"})) == "Vouched(api_key)"
