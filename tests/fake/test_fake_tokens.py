"""The tokens of the made-up Clerk: verified for what they are, wrong where they should be, made anew by the seed."""

import json
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from clerkmap import Instance, Reconciler, TokenError, Verifier
from clerkmap.errors import BadSignature, IssuerRefused, PartyRefused, SessionPending, TokenExpired, UnknownKey
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock, FakeClerk
from clerkmap.testing.fake.tokens import ORIGIN
from clerkmap.testing.signing import SigningKey, _rsa

NOW = 1_790_000_000


def clerk_at(now: float = NOW, seed: int = 9, **options: Any) -> FakeClerk:
    return FakeClerk(seed, clock=Clock(now), **options)


def test_a_session_token_says_who_where_and_in_which_role() -> None:
    """The role is the one that the person has, unless another is given."""
    clerk = clerk_at()
    ada, bea = clerk.create_user(), clerk.create_user()
    acme = clerk.create_organization("Acme", created_by=ada)
    verify = clerk.verifier().verify
    for version in (1, 2):
        claims = verify(clerk.token(ada, acme, version=version))
        assert (claims.subject, claims.version, claims.party) == (ada.id, version, ORIGIN)
        assert claims.organization is not None
        assert (claims.organization.id, claims.organization.slug) == (acme.id, "acme")
        assert claims.has(organization_role="org:admin")
        assert verify(clerk.token(bea, acme, version=version)).has(organization_role="org:member")
        assert verify(clerk.token(ada, acme, role="org:editor", version=version)).has(organization_role="editor")
        assert verify(clerk.token(ada, version=version)).organization is None


def test_what_a_role_permits_is_in_the_token() -> None:
    """But for the system's own permissions, which Clerk keeps out of tokens; given ones replace them."""
    clerk = clerk_at()
    ada = clerk.create_user()
    acme = clerk.create_organization(created_by=ada)
    clerk.create_role("org:editor", permissions=["org:invoices:read", "org:invoices:write", "org:sys_profile:manage"])
    clerk.add_member(acme, ada, role="org:editor")
    verify = clerk.verifier().verify
    for version in (1, 2):
        granted = verify(clerk.token(ada, acme, version=version)).permissions
        assert granted == {"org:invoices:read", "org:invoices:write"}
        assert verify(clerk.token(ada, acme, permissions=["org:a:b"], version=version)).permissions == {"org:a:b"}
        assert verify(clerk.token(ada, acme, permissions=[], version=version)).permissions == frozenset()
    claims = verify(clerk.token(ada, acme, features=["o:invoices", "u:themes"], plan="o:pro"))
    assert claims.features == {"o:invoices", "u:themes"}
    assert claims.plans == {"o:pro"}
    assert claims.permissions == {"org:invoices:read", "org:invoices:write"}


def test_the_session_of_a_token() -> None:
    """One of the ledger, one of any name, or a new one for each token."""
    clerk = clerk_at()
    ada = clerk.create_user()
    session = clerk.sign_in(ada)
    verify = clerk.verifier().verify
    assert verify(clerk.token(ada, session=session)).session_id == session.id
    assert verify(clerk.token(ada, session="sess_a")).session_id == "sess_a"
    assert verify(clerk.token(ada)).session_id != verify(clerk.token(ada)).session_id


def test_other_states() -> None:
    """An actor, the ages of factors, claims and headers of one's own, and what is taken away."""
    clerk = clerk_at()
    ada = clerk.create_user()
    verify = clerk.verifier(allow_pending=True).verify
    actor = verify(clerk.token(ada, actor="user_support")).actor
    assert actor is not None
    assert actor.id == "user_support"
    assert verify(clerk.token(ada, factor_ages=(3, 7))).factor_ages == (3, 7)
    assert verify(clerk.token(ada, pending=True)).pending
    claims = verify(clerk.token(ada, claims={"mine": {"a": 1}, "azp": None}, header={"typ": None}))
    assert (claims.payload["mine"], claims.party) == ({"a": 1}, None)


WRONG: dict[str, tuple[dict[str, Any], type[TokenError]]] = {
    "expired": ({"expires_in": -10}, TokenExpired),
    "pending": ({"pending": True}, SessionPending),
    "of a foreign front end": ({"party": "https://evil.example"}, PartyRefused),
    "of a foreign issuer": ({"claims": {"iss": "https://evil.example"}}, IssuerRefused),
    "of an unknown key": ({"header": {"kid": "ins_other"}}, UnknownKey),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_token_is_the_only_thing(name: str) -> None:
    """It is refused for just that."""
    said, error = WRONG[name]
    clerk = clerk_at()
    verifier = Verifier(clerk.make_instance(authorized_parties=[ORIGIN]), clock=clerk.clock)
    ada = clerk.create_user()
    verifier.verify(clerk.token(ada))
    with pytest.raises(error):
        verifier.verify(clerk.token(ada, **said))


def test_each_other_kind_is_of_that_kind() -> None:
    """None of them signs anybody in, and those that can be asked for are what they say."""
    clerk = clerk_at()
    ada = clerk.create_user()
    tokens = {
        "token_is_template": clerk.template_token(ada),
        "token_is_machine": clerk.machine_token(scopes=["mch_other"]),
        "token_is_oauth": clerk.oauth_token(ada, scopes=["profile", "email"]),
        "token_is_id_token": clerk.id_token(ada),
        "token_is_handshake": clerk.handshake_token(),
    }
    for code, token in (*tokens.items(), ("token_is_template", clerk.token(ada, template="mine"))):
        with pytest.raises(TokenError) as refused:
            clerk.verifier().verify(token)
        assert refused.value.code == code
    assert clerk.verifier(accept=["m2m"]).verify(tokens["token_is_machine"]).scopes == ("mch_other",)
    claims = clerk.verifier(accept=["oauth"]).verify(tokens["token_is_oauth"])
    assert (claims.subject, claims.scopes) == (ada.id, ("profile", "email"))
    other = clerk_at(algorithm="ES256")
    verifier = Verifier(other.make_oidc_instance("api"), clock=other.clock)
    assert verifier.verify(other.oidc_token("auth0|1", "api")).subject == "auth0|1"


def test_a_token_expires_as_the_clock_is_moved() -> None:
    """Sixty seconds, and the leeway."""
    clerk = clerk_at()
    token = clerk.token(clerk.create_user())
    verifier = clerk.verifier()
    clerk.clock.advance(64)
    verifier.verify(token)
    clerk.clock.advance(1)
    with pytest.raises(TokenExpired):
        verifier.verify(token)


def test_a_rotated_key_replaces_the_old_one_at_once() -> None:
    """In place, under its id, as at Clerk: who has the new keys refuses old tokens, and the other way round."""
    clerk = clerk_at()
    ada = clerk.create_user()
    before, old = clerk.verifier(), clerk.token(ada)
    kid = clerk.key.kid
    assert clerk.rotate_key() is clerk.key
    assert clerk.key.kid == kid
    assert len(clerk.jwks()["keys"]) == 1
    after, new = clerk.verifier(), clerk.token(ada)
    assert (before.verify(old).subject, after.verify(new).subject) == (ada.id, ada.id)
    for verifier, token in ((before, new), (after, old)):
        with pytest.raises(BadSignature):
            verifier.verify(token)


@pytest.mark.parametrize("kid", [None, "ins_next"])
def test_a_key_can_stay_published_beside_the_new_one(kid: str | None) -> None:
    """Under the same id or another: tokens of both are verified until the old one goes."""
    clerk = clerk_at()
    ada = clerk.create_user()
    old = clerk.token(ada, expires_in=3600)
    clerk.rotate_key(kid, keep_for=600)
    new = clerk.token(ada, expires_in=3600)
    assert [clerk.verifier().verify(token).subject for token in (old, new)] == [ada.id, ada.id]
    assert len(clerk.jwks()["keys"]) == 2
    clerk.clock.advance(600)
    assert clerk.verifier().verify(new).subject == ada.id
    with pytest.raises(TokenError):
        clerk.verifier().verify(old)


def test_the_instance_is_made_anew_only_when_it_has_changed() -> None:
    """Everybody who asks gets the same one, so that a resolver and a verifier fit each other."""
    clerk = clerk_at()
    first = clerk.instance
    assert clerk.instance is first
    clerk.rotate_key()
    second = clerk.instance
    assert second is not first
    clerk.rotate_webhook_secret()
    assert clerk.instance is not second
    assert list(clerk.instance.webhook_secrets) == clerk.wire.secrets
    assert clerk.instance is clerk.instance


def test_the_environment_makes_the_same_instance() -> None:
    """What an application would be started with is enough, and no key is fetched."""
    clerk = clerk_at()
    ada = clerk.create_user()
    instance = Instance.from_env(clerk.environment())
    assert instance.name == clerk.instance.name
    assert Verifier(instance, clock=clerk.clock).verify(clerk.token(ada)).subject == ada.id
    reconciler = Reconciler(instance, MemoryRepository(), clock=clerk.clock)
    assert [reconciler.receive(each.headers, each.body).kind for each in clerk.deliveries()] == ["applied"]


def test_several_instances_do_not_know_each_other() -> None:
    """Another seed: another host, key, secret and people. The same people of both are two."""
    here, there = clerk_at(), clerk_at(seed=10)
    assert here.issuer != there.issuer
    assert {here.secret_key, here.webhook_secret}.isdisjoint({there.secret_key, there.webhook_secret})
    with pytest.raises(UnknownKey):
        there.verifier().verify(here.token(here.create_user()))
    with pytest.raises(IssuerRefused):
        here.verifier().verify(here.token(here.create_user(), claims={"iss": there.issuer}))


def test_the_same_seed_makes_the_same_of_everything() -> None:
    """Ids, tokens, secrets, bodies: to the letter, whenever and wherever it is made."""

    def everything(seed: int) -> str:
        clerk = clerk_at(seed=seed)
        ada = clerk.create_user("ada@example.com")
        acme = clerk.create_organization(created_by=ada)
        clerk.accept_invitation(clerk.invite(acme, "bea@example.com"))
        tokens = [clerk.token(ada, acme), clerk.machine_token(), clerk.oauth_token(ada), clerk.template_token(ada)]
        secrets = [clerk.create_api_key(ada).secret, clerk.create_machine_token().secret]
        bodies = [message.body.decode() for message in clerk.wire.messages.values()]
        clerk.rotate_key()
        clerk.rotate_webhook_secret()
        return json.dumps([tokens, secrets, bodies, [*clerk.wire.messages], clerk.jwks(), clerk.environment()])

    assert everything(9) == everything(9)
    assert everything(9) != everything(10)


def test_a_record_of_a_person_is_what_clerk_would_say() -> None:
    """To be put into a repository by hand, with whatever is added."""
    clerk = clerk_at()
    ada = clerk.create_user("ada@example.com", first_name="Ada")
    record = clerk.record(ada, banned=True)
    assert (record.clerk_id, record.email, record.first_name, record.banned) == (ada.id, ada.email, "Ada", True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 50, 99])
def test_a_key_that_was_found_before_is_the_one_that_is_found(seed: int) -> None:
    """The table of the first seeds is a short way to the same primes."""
    key, long_way = SigningKey(f"{seed}/1", None).private, _rsa(Random(f"clerkmap RS256 {seed}/1"), 0, 0)
    assert isinstance(key, RSAPrivateKey)
    assert key.private_numbers() == long_way.private_numbers()
