"""Tokens and what other policies than the default say of them: a code, or None where they are let in."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from clerkmap.testing import Clock, FakeClerk, SigningKey
from hostile_base import (
    ABSENT,
    ALGORITHM,
    AUDIENCE,
    BAD_SIGNATURE,
    CLERK,
    EARLY,
    EXPIRED,
    GOOD,
    GOOD_PAYLOAD,
    INVALID,
    ISSUER,
    MACHINE,
    MISSING,
    NOW,
    OAUTH,
    ORIGIN,
    PARTY,
    UNKNOWN_KEY,
    UNKNOWN_KIND,
    USER,
    encode,
    session,
)

SESSION = "token_is_session"
MACHINE_CAT, SESSION_CAT, UNTAGGED_CAT = "cl_B7d4PD333AAA", "cl_B7d4PD111AAA", "cl_I7d4PD111III"
ELLIPTIC = FakeClerk(seed=41, clock=Clock(NOW), algorithm="ES256")
EDWARDS = FakeClerk(seed=41, clock=Clock(NOW), algorithm="EdDSA")
SECOND_KEY = SigningKey("second", "second")


class Case(NamedTuple):
    """How an instance and a verifier are set up, a token, and what becomes of it."""

    name: str
    token: str
    code: str | None
    policy: Mapping[str, Any]
    instance: Mapping[str, Any] = MappingProxyType({})
    oidc: FakeClerk | None = None


def machine(claims: dict[str, Any] | None = None, **header: Any) -> str:
    """A machine's token of this category, or of none."""
    payload = {"iss": CLERK.issuer, "sub": "mch_a", "iat": NOW, "exp": NOW + 60, **(claims or {})}
    return CLERK.sign(header, {name: value for name, value in payload.items() if value is not ABSENT})


def oauth(**claims: Any) -> str:
    return CLERK.oauth_token(USER, claims=claims)


def oidc(audience: str = "api", **claims: Any) -> str:
    return CLERK.oidc_token("auth0|1", audience, claims=claims)


def forged(clerk: FakeClerk, signature: bytes) -> str:
    return f"{clerk.oidc_token('auth0|1', 'api').rpartition('.')[0]}.{encode(signature)}"


ONE_KEY = {"jwt_key": CLERK.key.pem(), "jwks": None}
TWO_KEYS = {"jwks": {"keys": [CLERK.key.jwk(), SECOND_KEY.jwk()]}}
M2M, O2, ANY = {"accept": ["m2m"]}, {"accept": ["oauth"]}, {"accept": ["session", "oauth", "m2m"]}
PARTIES, API = {"authorized_parties": [ORIGIN]}, {"audience": ["api", "admin"]}
MACHINES = {"audience": ["mch_me"]}

CASES: list[Case] = [
    Case("machine", machine(cat=MACHINE_CAT), None, M2M),
    Case("machine of old, without a category", machine(), None, M2M),
    Case("machine with the category that says nothing", machine(cat=UNTAGGED_CAT), MACHINE, M2M),
    Case("machine with the session's category", machine(cat=SESSION_CAT), MACHINE, M2M),
    Case("machine among all kinds", machine(cat=MACHINE_CAT), None, ANY),
    Case("machine of old among all kinds", machine(), None, ANY),
    Case("machine of old where it is not accepted", machine(), MACHINE, O2),
    Case("machine that names no party", machine(cat=MACHINE_CAT), None, M2M, PARTIES),
    Case("machine's category on a person", machine({"sub": USER.id}, cat=MACHINE_CAT), INVALID, M2M),
    Case("machine without sub", machine({"sub": ABSENT}, cat=MACHINE_CAT), MISSING, M2M),
    Case("machine with an empty id", machine({"sub": "mch_"}, cat=MACHINE_CAT), INVALID, M2M),
    Case("machine with an odd id", machine({"sub": "mch_a b"}, cat=MACHINE_CAT), INVALID, M2M),
    Case("machine without exp", machine({"exp": ABSENT}, cat=MACHINE_CAT), MISSING, M2M),
    Case("machine of another issuer", machine({"iss": "https://evil.example"}, cat=MACHINE_CAT), ISSUER, M2M),
    Case("machine expired", machine({"iat": 1, "exp": 2}, cat=MACHINE_CAT), EXPIRED, M2M),
    Case("machine for us, by its scopes", machine({"scopes": "mch_x mch_me"}, cat=MACHINE_CAT), None, M2M, MACHINES),
    Case("machine for us, by its audience", machine({"aud": ["mch_me"]}, cat=MACHINE_CAT), None, M2M, MACHINES),
    Case("machine for others", machine({"scopes": "mch_x"}, cat=MACHINE_CAT), AUDIENCE, M2M, MACHINES),
    Case("machine for nobody", machine({"scopes": ""}, cat=MACHINE_CAT), AUDIENCE, M2M, MACHINES),
    Case("machine for parts of us", machine({"scopes": "mch_m mch_me_"}, cat=MACHINE_CAT), AUDIENCE, M2M, MACHINES),
    Case("machine with an audience of numbers", machine({"aud": [1]}, cat=MACHINE_CAT), AUDIENCE, M2M),
    Case("machine with an empty audience", machine({"aud": []}, cat=MACHINE_CAT), AUDIENCE, M2M),
    Case("session where machines are accepted", GOOD, SESSION, M2M),
    Case("session, untagged, where machines are accepted", session({}, {"cat": UNTAGGED_CAT}), SESSION, M2M),
    Case("OAuth where machines are accepted", oauth(), OAUTH, M2M),
    Case("OAuth", oauth(), None, O2),
    Case("OAuth among all kinds", oauth(), None, ANY),
    Case("OAuth that names no party", oauth(), None, O2, PARTIES),
    Case("OAuth without client_id", oauth(client_id=None), MISSING, O2),
    Case("OAuth with an empty client_id", oauth(client_id=""), INVALID, O2),
    Case("OAuth with a client_id that is a number", oauth(client_id=1), INVALID, O2),
    Case("OAuth of a machine", oauth(sub="mch_a"), INVALID, O2),
    Case("OAuth of an organization", oauth(sub="org_a"), INVALID, O2),
    Case("OAuth with an organization's bad id", oauth(org_id="acme"), INVALID, O2),
    Case("OAuth with an audience", oauth(aud="api"), AUDIENCE, O2),
    Case("OAuth but for its type", session({"client_id": "a", "sid": ABSENT}), OAUTH, O2),
    Case("OAuth but for its type, among all kinds", session({"client_id": "a"}), OAUTH, ANY),
    Case("session where OAuth is accepted", GOOD, SESSION, O2),
    Case("session without the audience", GOOD, AUDIENCE, {}, API),
    Case("session with the audience", session({"aud": "api"}), None, {}, API),
    Case("session with one of the audiences", session({"aud": ["x", "admin"]}), None, {}, API),
    Case("session with another audience", session({"aud": "apis"}), AUDIENCE, {}, API),
    Case("session with part of an audience", session({"aud": ["ap", "a"]}), AUDIENCE, {}, API),
    Case("session with no audience in a list", session({"aud": []}), AUDIENCE, {}, API),
    Case("session with null for an audience", session({"aud": None}), AUDIENCE, {}, API),
    Case("session with the audience and a number", session({"aud": ["api", 1]}), AUDIENCE, {}, API),
    Case("session with the audience as a key", session({"aud": {"api": True}}), AUDIENCE, {}, API),
    Case("session without a party, none configured", session({"azp": ABSENT}), None, {}),
    Case("session without a party, excused", session({"azp": ABSENT}), None, {"allow_no_party": True}, PARTIES),
    Case("foreign party, not excused", session({"azp": "https://a.b"}), PARTY, {"allow_no_party": True}, PARTIES),
    Case("pending, allowed", session({"sts": "pending"}), None, {"allow_pending": True}),
    Case("an issuer more", session({"iss": "https://p.io"}), None, {}, {"extra_issuers": ["https://p.io"]}),
    Case("an issuer less", session({"iss": "https://p.io/"}), ISSUER, {}, {"extra_issuers": ["https://p.io"]}),
    Case("no leeway, one second left", session({"exp": NOW + 1}), None, {"leeway": 0}),
    Case("no leeway, none left", session({"exp": NOW}), EXPIRED, {"leeway": 0}),
    Case("no leeway, begins now", session({"nbf": NOW}), None, {"leeway": 0}),
    Case("no leeway, begins in a second", session({"nbf": NOW + 1}), EARLY, {"leeway": 0}),
    Case("a minute's leeway, one second left", session({"iat": 1, "exp": NOW - 59}), None, {"leeway": 60}),
    Case("a minute's leeway, none left", session({"iat": 1, "exp": NOW - 60}), EXPIRED, {"leeway": 60}),
    Case("two keys, and none named", session({}, {"kid": ABSENT}), UNKNOWN_KEY, {}, TWO_KEYS),
    Case("two keys, and the other named", session({}, {"kid": "second"}), BAD_SIGNATURE, {}, TWO_KEYS),
    Case("a key of no name, and none named", session({}, {"kid": ABSENT}), None, {}, ONE_KEY),
    Case("a key of no name, and any named", session({}, {"kid": "any"}), None, {}, ONE_KEY),
    Case("OpenID", oidc(), None, {}, {}, CLERK),
    Case("OpenID, typ JWT", CLERK.sign({}, {**GOOD_PAYLOAD, "aud": "api"}), None, {}, {}, CLERK),
    Case("OpenID, typ of tomorrow", CLERK.sign({"typ": "x+jwt"}, GOOD_PAYLOAD), UNKNOWN_KIND, {}, {}, CLERK),
    Case("OpenID, an id token by its type", CLERK.sign({"typ": "id+jwt"}, {}), UNKNOWN_KIND, {}, {}, CLERK),
    Case("OpenID, another audience", oidc("other"), AUDIENCE, {}, {}, CLERK),
    Case("OpenID, no audience", oidc(aud=None), AUDIENCE, {}, {}, CLERK),
    Case("OpenID, no issuer", oidc(iss=None), ISSUER, {}, {}, CLERK),
    Case("OpenID, no subject", oidc(sub=None), MACHINE, {}, {}, CLERK),
    Case("OpenID, a blank subject", oidc(sub=" "), INVALID, {}, {}, CLERK),
    Case("OpenID, no party", oidc(), PARTY, {}, PARTIES, CLERK),
    Case("OpenID, the party", oidc(azp=ORIGIN), None, {}, PARTIES, CLERK),
    Case("OpenID, not the key's algorithm", CLERK.sign({"alg": "ES256"}, GOOD_PAYLOAD), ALGORITHM, {}, {}, CLERK),
    Case("OpenID, no algorithm of ours", CLERK.sign({"alg": "HS256"}, GOOD_PAYLOAD), ALGORITHM, {}, {}, CLERK),
    Case("ES256", ELLIPTIC.oidc_token("auth0|1", "api"), None, {}, {}, ELLIPTIC),
    Case("ES256, a psychic signature", forged(ELLIPTIC, bytes(64)), BAD_SIGNATURE, {}, {}, ELLIPTIC),
    Case("ES256, a signature of ones", forged(ELLIPTIC, b"\xff" * 64), BAD_SIGNATURE, {}, {}, ELLIPTIC),
    Case("ES256, in DER", forged(ELLIPTIC, bytes.fromhex("3006020101020101")), BAD_SIGNATURE, {}, {}, ELLIPTIC),
    Case("ES256, a signature too long", forged(ELLIPTIC, bytes(66)), BAD_SIGNATURE, {}, {}, ELLIPTIC),
    Case("ES256, one byte", forged(ELLIPTIC, b"\1"), BAD_SIGNATURE, {}, {}, ELLIPTIC),
    Case("ES256, named EdDSA", ELLIPTIC.sign({"alg": "EdDSA"}, {}), ALGORITHM, {}, {}, ELLIPTIC),
    Case("EdDSA", EDWARDS.oidc_token("auth0|1", "api"), None, {}, {}, EDWARDS),
    Case("EdDSA, zeros", forged(EDWARDS, bytes(64)), BAD_SIGNATURE, {}, {}, EDWARDS),
    Case("EdDSA, the neutral point", forged(EDWARDS, b"\1" + bytes(63)), BAD_SIGNATURE, {}, {}, EDWARDS),
    Case("EdDSA, one byte", forged(EDWARDS, b"\1"), BAD_SIGNATURE, {}, {}, EDWARDS),
]  # fmt: skip
