"""Forgeries from the security advisories of PyJWT, joserfc, Authlib and other JWT libraries.

Each vector names its advisory and says what is forged. All else in the token is good. The verifier must refuse each
token with exactly this code.
"""

import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from clerkmap import ConfigurationError, Instance, KeysUnavailable, TokenError, Verifier
from clerkmap.clerk.jwks import RemoteKeys
from clerkmap.core.keys import import_jwks, import_pem
from clerkmap.testing import Clock, FakeClerk, SigningKey
from hostile_base import (
    ALGORITHM,
    BAD_SIGNATURE,
    CLERK,
    GOOD,
    GOOD_HEADER,
    GOOD_PAYLOAD,
    HEADER,
    HEADER_PART,
    INSTANCE,
    INVALID,
    ISSUER,
    MALFORMED,
    NOW,
    PAYLOAD_PART,
    SIGNATURE_PART,
    TOO_LARGE,
    UNKNOWN_KEY,
    USER,
    changed,
    encode,
    session,
    signed_text,
    written,
)
from key_server import World

JWK = CLERK.key.jwk()
PUBLIC = cast(rsa.RSAPublicKey, CLERK.key.private.public_key())
ATTACKER = SigningKey("an attacker", "attacker")
ELLIPTIC = SigningKey("elliptic", "elliptic", "ES256")
PROVIDER = FakeClerk(7, clock=Clock(NOW), algorithm="ES256")


class Forged(NamedTuple):
    """A forged token, the advisory or rule behind it, and the code of its refusal."""

    advisory: str
    forgery: str
    token: str
    code: str


def header_part(**changes: Any) -> str:
    """The good header with changes, encoded."""
    return encode(json.dumps(changed(GOOD_HEADER, changes)).encode())


def signed_by_hmac(secret: bytes, digest: str = "sha256", **header: Any) -> str:
    """The good payload under an HMAC."""
    signed = f"{header_part(alg=f'HS{digest[3:]}', **header)}.{PAYLOAD_PART}"
    return f"{signed}.{encode(hmac.digest(secret, signed.encode(), digest))}"


def algorithms() -> Iterator[Forged]:
    """The token chooses an algorithm that its key is not for."""
    secrets = {
        "the JWK as JSON": json.dumps(JWK).encode(),
        "the JWKS as JSON": json.dumps(CLERK.jwks()).encode(),
        "the JWK in a nested list": json.dumps([[JWK]]).encode(),
    }
    for name, secret in secrets.items():
        yield Forged("CVE-2026-48526", f"HS256 with {name} as its secret", signed_by_hmac(secret), ALGORITHM)
    spellings = {
        "PEM": PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "DER": PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "SSH": PUBLIC.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
    }
    for name, secret in spellings.items():
        for digest in ("sha256", "sha384", "sha512"):
            forgery = f"HMAC of {digest} with the public key as {name}"
            yield Forged("CVE-2022-29217", forgery, signed_by_hmac(secret, digest), ALGORITHM)
    for secret in (b"", b"\0", b"secret"):
        forgery = f"HS256 with a secret of {len(secret)} bytes"
        yield Forged("CVE-2026-49852", forgery, signed_by_hmac(secret), ALGORITHM)
    for name in ("none", "None", "NONE", ""):
        unsigned = f"{header_part(alg=name)}.{PAYLOAD_PART}"
        yield Forged("CVE-2015-9235", f"alg {name!r} and no signature", f"{unsigned}.", MALFORMED)
        yield Forged("CVE-2015-9235", f"alg {name!r} and any signature", f"{unsigned}.{SIGNATURE_PART}", ALGORITHM)
    other = ELLIPTIC.sign(GOOD_HEADER | {"alg": "ES256"}, GOOD_PAYLOAD)
    yield Forged("CVE-2026-48523", "ES256 under the id of an RSA key", other, ALGORITHM)
    other = ELLIPTIC.sign(GOOD_HEADER, GOOD_PAYLOAD)
    yield Forged("CVE-2026-48523", "an ECDSA signature called RS256", other, BAD_SIGNATURE)


def header_parameters() -> Iterator[Forged]:
    """The header brings its own key, or asks for rules that the verifier does not know."""
    for critical in (["x-policy"], ["b64"], ["exp"], [], "exp", None):
        yield Forged("CVE-2026-32597", f"crit: {critical!r}", session({}, {"crit": critical}), HEADER)
    known = {"crit": ["x-policy"], "x-policy": True}
    yield Forged("CVE-2025-59420", "crit, and the parameter that it names", session({}, known), HEADER)
    for detached in (PAYLOAD_PART, "", json.dumps(GOOD_PAYLOAD), "!" * 4_000):
        unencoded = f"{header_part(b64=False, crit=['b64'])}.{detached}"
        forgery = f"b64 false and a payload of {len(detached)} characters"
        token = signed_text(*unencoded.split(".", 1))
        # A payload of JSON has dots in it, so that the token has more than three parts.
        yield Forged("CVE-2026-48525", forgery, token, MALFORMED if "." in detached else HEADER)
    unencoded = f"{header_part(b64=False, crit=['b64'])}.{'x' * 200_000}.{SIGNATURE_PART}"
    yield Forged("CVE-2026-48990", "b64 false and a payload over every limit", unencoded, TOO_LARGE)
    own = ATTACKER.jwk()
    for name, value in {
        "jwk": own,
        "jku": "https://evil.example/jwks",
        "x5u": "https://evil.example",
        "x5c": ["MII"],
    }.items():
        for kid in (JWK["kid"], own["kid"]):
            token = ATTACKER.sign(GOOD_HEADER | {name: value, "kid": kid}, GOOD_PAYLOAD)
            yield Forged("CVE-2018-0114", f"the attacker's key in {name}, kid {kid}", token, HEADER)
    for name in ("PBES2-HS256+A128KW", "PBES2-HS512+A256KW", "RS256"):
        work = {"alg": name, "p2c": 2_147_483_647, "p2s": "c2FsdA", "enc": "A128GCM"}
        token = f"{header_part(**work)}.{PAYLOAD_PART}.{SIGNATURE_PART}"
        yield Forged("CVE-2026-27932", f"{name} with two billion iterations", token, HEADER)
        yield Forged("CVE-2026-27932", f"the same as a JWE of five parts, {name}", f"{token}.AAAA.AAAA", MALFORMED)
    token = f"{header_part(alg='dir', enc='A128GCM')}..AAAA.AAAA.AAAA"
    yield Forged("CVE-2022-3102", "a JWE where a JWS is expected", token, MALFORMED)
    yield Forged("CVE-2022-3102", "a JWS with the header of a JWE", session({}, {"enc": "A128GCM"}), HEADER)
    yield Forged("CVE-2022-3102", "a JWS that says it holds a JWT", session({}, {"cty": "JWT"}), HEADER)
    yield Forged("CVE-2025-62706", "a compressed payload", session({}, {"zip": "DEF"}), HEADER)


def key_ids() -> Iterator[Forged]:
    """The key id is no text, or leads out of the instance's keys."""
    for kid in (0, 1.5, True, None, [JWK["kid"]], {"kid": JWK["kid"]}):
        yield Forged("key id", f"kid: {kid!r}", session({}, {"kid": kid}), HEADER)
    for text in ("../../dev/null", "file:///dev/null", "' UNION SELECT 'AA", ""):
        yield Forged("key id", f"kid: {text!r}", ATTACKER.sign(GOOD_HEADER | {"kid": text}, GOOD_PAYLOAD), UNKNOWN_KEY)


def sizes_and_spellings() -> Iterator[Forged]:
    """The token is spelled in a second way, or costs more to read than a token may."""
    for part in range(3):
        parts = [HEADER_PART, PAYLOAD_PART, SIGNATURE_PART]
        parts[part] += "=" * (-len(parts[part]) % 4 or 4)
        yield Forged("GHSA-5jhw-7jv7-qcqq", f"padding after part {part}", ".".join(parts), MALFORMED)
    for filler in ("\n", " ", "*", "%3D"):
        yield Forged("GHSA-5jhw-7jv7-qcqq", f"{filler!r} in the signature", GOOD[:-8] + filler + GOOD[-8:], MALFORMED)
    for place, name in enumerate(("header", "payload", "signature")):
        parts = [HEADER_PART, PAYLOAD_PART, SIGNATURE_PART]
        parts[place] = "A" * 1_000_000
        yield Forged("CVE-2025-61920", f"a {name} of a million characters", ".".join(parts), TOO_LARGE)
    yield Forged("CVE-2025-65015", "a token of ten million characters", GOOD + "A" * 10_000_000, TOO_LARGE)
    deep = '{"a":' + "[" * 2_000 + "]" * 2_000 + "}"
    yield Forged("recursion", "a header of great depth", written(header=deep), MALFORMED)
    yield Forged("recursion", "a payload of great depth", written(payload=deep), MALFORMED)
    digits = json.dumps(GOOD_PAYLOAD)[:-1] + ',"n":' + "9" * 5_000 + "}"
    yield Forged("CVE-2020-10735", "a number of five thousand digits", written(payload=digits), MALFORMED)
    twice = json.dumps(GOOD_HEADER)[:-1] + ',"alg":"none"}'
    yield Forged("RFC 7515 section 4", "a second alg in the header", written(header=twice), MALFORMED)
    twice = json.dumps(GOOD_PAYLOAD)[:-1] + ',"sub":"user_admin"}'
    yield Forged("RFC 7515 section 4", "a second sub in the payload", written(payload=twice), MALFORMED)
    whole = json.dumps({"protected": HEADER_PART, "payload": PAYLOAD_PART, "signature": SIGNATURE_PART})
    yield Forged("CVE-2022-39227", "JSON serialization of a JWS", whole, MALFORMED)
    forged = json.dumps({f"{HEADER_PART}.{PAYLOAD_PART}.{SIGNATURE_PART}": 1, "payload": "e30"})
    yield Forged("CVE-2022-39227", "a compact token inside a JSON serialization", forged, MALFORMED)


def claims() -> Iterator[Forged]:
    """A claim has the wrong type, or matches in part only."""
    issuer = CLERK.issuer
    for value in (issuer[:-1], issuer[1:], issuer + "/", issuer + ".evil.example", issuer.upper(), "", "https://"):
        yield Forged("CVE-2024-53861", f"iss: {value!r}", session({"iss": value}), ISSUER)
    others: tuple[Any, ...] = ([issuer], {issuer: 1}, None, 1, True)
    for other in others:
        yield Forged("CVE-2024-53861", f"iss: {other!r}", session({"iss": other}), ISSUER)
    subjects: tuple[Any, ...] = (1, [USER.id], {"id": USER.id}, True, None)
    for subject in subjects:
        yield Forged("types of claims", f"sub: {subject!r}", session({"sub": subject}), INVALID)
    for token_id in (1, ["jti"], None):
        yield Forged("types of claims", f"jti: {token_id!r}", session({"jti": token_id}), INVALID)
    for name in ("exp", "iat", "nbf"):
        for moment in (str(NOW), [NOW], {"t": NOW}, True):
            yield Forged("types of claims", f"{name}: {moment!r}", session({name: moment}), INVALID)
    for word in ("NaN", "Infinity", "1e999"):
        text = json.dumps(GOOD_PAYLOAD | {"exp": 0}).replace('"exp": 0', f'"exp": {word}')
        yield Forged("types of claims", f"exp: {word}", written(payload=text), MALFORMED)


FORGED = [*algorithms(), *header_parameters(), *key_ids(), *sizes_and_spellings(), *claims()]


@pytest.mark.parametrize("forged", FORGED, ids=lambda forged: f"{forged.advisory}: {forged.forgery}"[:90])
def test_a_forgery_is_refused_with_its_code(forged: Forged) -> None:
    """The error says nothing of the token, which may be megabytes long (CVE-2025-65015)."""
    verifier = Verifier(INSTANCE, clock=Clock(NOW))
    assert verifier.verify(GOOD).subject == USER.id
    with pytest.raises(TokenError) as caught:
        verifier.verify(forged.token)
    assert caught.value.code == forged.code
    assert len(str(caught.value)) < 200
    assert caught.value.__cause__ is None


def elliptic(signature: Callable[[bytes], bytes]) -> str:
    """A good token of a provider that signs with ES256, with another signature."""
    token = PROVIDER.oidc_token("auth0|1", "api")
    signed = token.rpartition(".")[0]
    return f"{signed}.{encode(signature(signed.encode()))}"


PRIVATE = cast(ec.EllipticCurvePrivateKey, PROVIDER.key.private)
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SIGNATURES: dict[str, Callable[[bytes], bytes]] = {
    "CVE-2022-21449: r and s are zero": lambda _: bytes(64),
    "CVE-2022-21449: r and s are the order of the curve": lambda _: ORDER.to_bytes(32, "big") * 2,
    "CVE-2022-21449: r is zero": lambda _: bytes(32) + b"\1" * 32,
    "a signature in DER, with a second spelling": lambda signed: PRIVATE.sign(signed, ec.ECDSA(SHA256())),
    "half a signature": lambda _: b"\1" * 32,
    "a signature of P-384": lambda _: b"\1" * 96,
    "a byte more": lambda _: b"\1" * 65,
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_forged_ecdsa_signature_is_refused(name: str) -> None:
    """Zero, out of range, of another length or in another form: the code is always that of a bad signature."""
    verifier = Verifier(PROVIDER.make_oidc_instance("api"), clock=Clock(NOW))
    assert verifier.verify(PROVIDER.oidc_token("auth0|1", "api")).subject == "auth0|1"
    with pytest.raises(TokenError) as caught:
        verifier.verify(elliptic(SIGNATURES[name]))
    assert caught.value.code == BAD_SIGNATURE


def test_a_provider_with_two_algorithms_binds_each_key_to_its_own() -> None:
    """CVE-2026-48523: both algorithms are allowed, and the token names the other key's."""
    both = {"keys": [CLERK.key.jwk(), ELLIPTIC.jwk()]}
    instance = Instance.oidc(issuer=CLERK.issuer, audience="api", algorithms=["RS256", "ES256"], jwks=both)
    verifier = Verifier(instance, clock=Clock(NOW))
    payload = {"iss": CLERK.issuer, "sub": "1", "aud": "api", "iat": NOW, "exp": NOW + 60}
    assert verifier.verify(ELLIPTIC.sign({"alg": "ES256", "kid": "elliptic"}, payload)).subject == "1"
    for algorithm, kid in (("RS256", "elliptic"), ("ES256", JWK["kid"])):
        for signer in (ELLIPTIC, CLERK.key):
            with pytest.raises(TokenError) as caught:
                verifier.verify(signer.sign({"alg": algorithm, "kid": kid}, payload))
            assert caught.value.code == ALGORITHM


def weak_rsa(bits: int, exponent: int = 65537) -> rsa.RSAPublicKey:
    """A public key of that size; no private key belongs to it."""
    return rsa.RSAPublicNumbers(exponent, (1 << (bits - 1)) | 1).public_key()


def jwk_of(public: rsa.RSAPublicKey) -> dict[str, Any]:
    """The key as a JWK."""
    numbers = public.public_numbers()
    n, e = (encode(value.to_bytes((value.bit_length() + 7) // 8)) for value in (numbers.n, numbers.e))
    return {"kty": "RSA", "kid": "weak", "alg": "RS256", "use": "sig", "n": n, "e": e}


@pytest.mark.parametrize(("bits", "exponent"), [(512, 65537), (1024, 65537), (2047, 65537), (2048, 3), (2048, 17)])
def test_a_weak_rsa_key_verifies_nothing(bits: int, exponent: int) -> None:
    """CVE-2025-45768: a short modulus or a small exponent, in a JWKS or as a PEM."""
    public = weak_rsa(bits, exponent)
    instance = CLERK.make_instance(jwks={"keys": [jwk_of(public), JWK]})
    with pytest.raises(TokenError) as caught:
        Verifier(instance, clock=Clock(NOW)).verify(session({}, {"kid": "weak"}))
    assert caught.value.code == UNKNOWN_KEY
    with pytest.raises(ConfigurationError, match="no public signing key"):
        CLERK.make_instance(jwks={"keys": [jwk_of(public)]})
    with pytest.raises(ConfigurationError, match="jwt_key must be a PEM public key"):
        import_pem(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(), ["RS256"])


SECRETS: dict[str, dict[str, Any]] = {
    "CVE-2026-49852: an empty secret": {"kty": "oct", "k": "", "alg": "HS256"},
    "CVE-2026-49852: no secret": {"kty": "oct", "alg": "HS256"},
    "a short secret": {"kty": "oct", "k": "AAAA", "alg": "HS256"},
    "CVE-2026-48526: an RSA key that is for HMAC": JWK | {"alg": "HS256"},
    "CVE-2026-48526: an RSA key with a secret": JWK | {"k": "AAAA"},
    "an RSA key for encryption": JWK | {"use": "enc"},
    "an RSA key that may only sign": JWK | {"key_ops": ["sign"]},
    "a curve that is not the algorithm's": ELLIPTIC.jwk() | {"alg": "ES384"},
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_jwks_with_such_a_key_verifies_nothing_with_it(name: str) -> None:
    """The member is left out, and an HMAC with its secret is refused like any other."""
    member = SECRETS[name] | {"kid": "bad"}
    assert [key.kid for key in import_jwks({"keys": [member, JWK]}, ["RS256", "ES256", "ES384"])] == [JWK["kid"]]
    verifier = Verifier(CLERK.make_instance(jwks={"keys": [member, JWK]}), clock=Clock(NOW))
    for token, code in ((signed_by_hmac(b"", kid="bad"), ALGORITHM), (session({}, {"kid": "bad"}), UNKNOWN_KEY)):
        with pytest.raises(TokenError) as caught:
            verifier.verify(token)
        assert caught.value.code == code


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://evil.example/jwks", "data:application/json,{}", "//x/jwks"]
)
def test_keys_are_fetched_over_https_alone(url: str) -> None:
    """CVE-2026-48522: neither a setting nor a discovery document leads to a file or to another scheme."""
    with pytest.raises(ConfigurationError, match="https://"):
        Instance.oidc(issuer=CLERK.issuer, audience="api", jwks_url=url)
    world = World()
    world.server.documents["/.well-known/openid-configuration"] = {"issuer": world.clerk.issuer, "jwks_uri": url}
    instance = Instance.oidc(issuer=world.clerk.issuer, audience="api")
    keys = RemoteKeys(instance, transport=world.server, monotonic=world.monotonic)
    with pytest.raises(KeysUnavailable):
        keys.get("ins_1")
    assert world.server.urls == [f"{world.clerk.issuer}/.well-known/openid-configuration"]


def test_a_failed_fetch_does_not_forget_the_keys() -> None:
    """CVE-2026-48524: one bad answer of the key endpoint refused every token until the next good one."""
    world = World()
    assert world.sign_in().subject == world.user.id
    for kid in ("unknown", "attacker"):
        world.advance(10)
        world.server.documents["/.well-known/jwks.json"] = {"keys": []}
        with pytest.raises((TokenError, KeysUnavailable)):
            world.verifier.verify(world.clerk.token(world.user, header={"kid": kid}))
        assert world.sign_in().subject == world.user.id
    assert world.keys.generation == 1


def test_the_vectors_cover_each_class() -> None:
    """A class of forgeries that lost its vectors fails here, and all names differ."""
    names = [f"{forged.advisory}: {forged.forgery}" for forged in FORGED]
    assert len(names) == len(set(names)) > 100
    assert {forged.code for forged in FORGED} >= {ALGORITHM, HEADER, MALFORMED, TOO_LARGE, ISSUER, INVALID, UNKNOWN_KEY}
