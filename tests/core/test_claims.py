"""What a verified token proves: who somebody is, in which organization, and for whom they act."""

import copy
import json
import pickle
from base64 import urlsafe_b64decode
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from claims_in_hand import organized, read
from clerkmap import ActiveOrganization, Actor
from clerkmap.core.claims import TokenKind, read_claims
from clerkmap.errors import ClaimInvalid, ClaimMissing
from clerkmap.testing import FakeClerk

EACH_OWN = {"org_id": "org_a", "org_slug": "acme", "org_role": "org:admin", "org_permissions": ["org:invoices:read"]}
HOLDER = organized(rol="admin", fea="o:invoices", per="read", fpm="1")


def test_both_versions_give_the_same() -> None:
    """A person's place in an organization reads the same whichever version the token is of."""
    clerk = FakeClerk(seed=1)
    ann = clerk.create_user()
    acme = clerk.create_organization("Acme", created_by=ann)
    granted = ["org:invoices:read", "org:invoices:create", "org:members:read"]
    both = []
    for version in (1, 2):
        part = clerk.token(ann, acme, permissions=granted, version=version).split(".")[1]
        payload = json.loads(urlsafe_b64decode(part + "=="))
        both.append(read_claims("session", "a.b", payload))
    assert [claims.version for claims in both] == [1, 2]
    assert [claims.organization for claims in both] == [ActiveOrganization(acme.id, "acme", "org:admin")] * 2
    assert [claims.permissions for claims in both] == [frozenset(granted)] * 2
    assert all(claims.has(organization_role="admin") and claims.has(organization_role="org:admin") for claims in both)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"v": 2}, None),
        ({"v": 2, "o": None}, None),
        ({"v": 2, **EACH_OWN}, None),  # claims of version 1 are custom claims in version 2
        ({"v": 2, "o": None, **EACH_OWN}, None),
        ({"v": 2, "o": {"id": "org_b"}, **EACH_OWN}, ActiveOrganization("org_b")),
        ({"v": 2, "o": {"id": "org_b", "slg": "", "rol": ""}}, ActiveOrganization("org_b")),
        ({"v": 2, "o": {"id": "org_b", "slg": None, "rol": None}}, ActiveOrganization("org_b")),
        ({"v": 2, "o": {"id": "org_b", "rol": "admin"}}, ActiveOrganization("org_b", None, "org:admin")),
        ({"v": 2, "o": {"id": "org_b", "rol": "org:admin"}}, ActiveOrganization("org_b", None, "org:admin")),
        ({"v": 2, "o": {"id": "org_b", "rol": "org:org:org:admin"}}, ActiveOrganization("org_b", None, "org:admin")),
        ({"v": 2, "o": {"id": "org_b", "rol": "org:a:b"}}, ActiveOrganization("org_b", None, "org:a:b")),
        ({"v": 2, "o": {"id": "org_b", "slg": "b"}}, ActiveOrganization("org_b", "b")),
        ({}, None),
        ({"org_id": None, "org_role": "org:admin"}, None),
        ({"o": {"id": "org_b"}}, None),  # and the other way round
        ({"v": 1, "o": 5, **EACH_OWN}, ActiveOrganization("org_a", "acme", "org:admin")),
        ({"org_id": "org_a", "org_role": "admin"}, ActiveOrganization("org_a", None, "org:admin")),
        ({"org_id": "org_a", "org_role": "org:org:admin"}, ActiveOrganization("org_a", None, "org:admin")),
        ({"org_id": "org_a"}, ActiveOrganization("org_a")),
        ({"v": 2, "o": {"id": "org_b", "rol": "org:"}}, ActiveOrganization("org_b")),
        ({"org_id": "org_b", "org_role": "org:org:"}, ActiveOrganization("org_b")),
    ],
)
def test_the_active_organization(claims: dict[str, Any], expected: ActiveOrganization | None) -> None:
    """Each version has its own claims for it; a role has one `org:` in front, and a bare `org:` is no role."""
    found = read(**claims)
    assert found.organization == expected
    assert not found.has(organization_role="")
    assert not found.has(organization_role="org:")


@pytest.mark.parametrize(
    ("kind", "claims", "expected"),
    [
        ("oauth", {"scp": ["profile", "email"]}, ("profile", "email")),
        ("oauth", {"scp": "profile email"}, ("profile", "email")),
        ("oauth", {"scope": "profile email"}, ("profile", "email")),
        ("oauth", {"scp": ["profile"], "scope": "admin"}, ("profile",)),
        ("oauth", {"scp": ["profile", 5, None, "", ["a"]]}, ("profile",)),
        ("oauth", {"scp": [], "scope": "admin"}, ()),
        ("oauth", {"scp": 5, "scope": {"admin": 1}}, ()),
        ("oauth", {}, ()),
        ("m2m", {"scopes": "mch_b mch_c"}, ("mch_b", "mch_c")),
        ("m2m", {"scopes": ["mch_b"]}, ("mch_b",)),
        ("m2m", {"scopes": " mch_b  mch_c "}, ("mch_b", "mch_c")),
        ("m2m", {"scopes": ""}, ()),
        ("m2m", {"scope": "admin", "scp": ["admin"]}, ()),
        ("oidc", {"scope": "openid email"}, ("openid", "email")),
        ("session", {"scope": "admin", "scp": ["admin"], "scopes": "admin"}, ()),
    ],
)
def test_scopes(kind: TokenKind, claims: dict[str, Any], expected: tuple[str, ...]) -> None:
    """Each kind has its own claim for them: one text or a list, and nothing that is no text."""
    subject = {"session": "user_a", "oauth": "user_a", "m2m": "mch_a", "oidc": "auth0|1"}[kind]
    found = read(kind, sub=subject, **({"client_id": "c"} if kind == "oauth" else {}), **claims)
    assert found.scopes == expected


@pytest.mark.parametrize(
    ("kind", "claims", "error"),
    [
        ("session", {"sub": "mch_a"}, ClaimInvalid),
        ("oauth", {"sub": "mch_a", "client_id": "c"}, ClaimInvalid),
        ("oauth", {"sub": "user_a"}, ClaimMissing),
        ("m2m", {"sub": "user_a"}, ClaimInvalid),
        ("m2m", {"sub": "mch_a", "client_id": 5}, ClaimInvalid),
        ("m2m", {}, ClaimMissing),
        ("oidc", {"sub": ""}, ClaimInvalid),
        ("oidc", {"sub": "a" * 256}, ClaimInvalid),
        ("session", {"sid": "a b"}, ClaimInvalid),
        ("session", {"iat": 1_790_000_061}, ClaimInvalid),
        ("session", {"act": {}}, ClaimMissing),
        ("session", {"act": {"sub": ""}}, ClaimInvalid),
    ],
)
def test_what_tells_who_somebody_is_must_be_well_formed(
    kind: TokenKind, claims: dict[str, Any], error: type[Exception]
) -> None:
    """A subject is one of the kind's own, and what is malformed is refused and never guessed at."""
    with pytest.raises(error):
        read(kind, **claims)


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (None, None),
        ({"sub": "user_admin", "iss": "https://dashboard.clerk.com"}, Actor("user_admin")),
        ({"sub": "user_admin", "type": "agent"}, Actor("user_admin", "agent")),
        ({"sub": "whoever it is"}, Actor("whoever it is")),
    ],
)
def test_actor(act: object, expected: Actor | None) -> None:
    """Who is really acting is told, and is never the subject."""
    found = read(act=act)
    assert found.actor == expected
    assert found.subject == "user_a"


def test_facts_of_a_session() -> None:
    """The rest is read as it stands, and seconds are whole."""
    found = read(nbf=1_790_000_000.75, exp=1_790_000_060.5, azp="https://app.example.com", jti="jti_a", sts="pending")
    assert (found.not_before, found.issued_at, found.expires_at) == (1_790_000_000, 1_790_000_000, 1_790_000_060)
    assert (found.kind, found.instance, found.subject, found.session_id) == ("session", "a.b", "user_a", "sess_a")
    assert (found.party, found.token_id, found.issuer) == ("https://app.example.com", "jti_a", "https://a.b")
    assert (found.pending, found.client_id, found.version) == (True, None, 1)
    bare = read()
    assert (bare.not_before, bare.party, bare.token_id, bare.pending) == (None, None, None, False)


def test_payload_is_a_copy() -> None:
    """Who changes the payload changes a copy: the next reader sees the token's claims."""
    found = organized(fea="o:a", per="read", fpm="1", metadata={"list": [1, {"x": 2}]})
    before = copy.deepcopy(found.payload)
    mine = found.payload
    mine["sub"] = "user_b"
    mine["o"]["per"] = "write"
    mine["metadata"]["list"][1]["x"] = 3
    mine["metadata"]["list"].append(4)
    assert found.payload == before
    assert found.payload is not found.payload
    assert found.permissions == {"org:a:read"}


@pytest.mark.parametrize("name", ["subject", "kind", "organization", "payload", "permissions", "unheard_of"])
def test_claims_are_never_changed(name: str) -> None:
    """No attribute can be set or taken away."""
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        setattr(HOLDER, name, "user_b")
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        delattr(HOLDER, name)


def test_claims_can_be_compared_hashed_and_pickled() -> None:
    """They are values."""
    assert organized(rol="admin") == organized(rol="admin")
    assert organized(rol="admin") != organized(rol="member")
    assert len({organized(rol="admin"), organized(rol="admin"), organized(rol="member")}) == 2
    assert pickle.loads(pickle.dumps(HOLDER)).payload == HOLDER.payload


def test_repr_names_nobody() -> None:
    """A repr ends up in logs: it holds the kind and the instance, and no id and no custom claim."""
    found = organized(jti="jti_a", act={"sub": "user_admin"}, azp="https://app.example.com", secret="hunter2")
    assert repr(found) == "Claims(session, instance='a.b')"
    assert f"{found}" == repr(found)


@pytest.mark.parametrize(("kind", "subject"), [("organization_api_key", "user_1"), ("api_key", "org_1")])
def test_a_key_is_of_whom_its_kind_says(kind: TokenKind, subject: str) -> None:
    """An organization's is of an organization, and a person's of a person."""
    with pytest.raises(ClaimInvalid, match="sub"):
        read_claims(kind, "a.b", {"iss": "x", "sub": subject, "iat": 1, "exp": 2})
