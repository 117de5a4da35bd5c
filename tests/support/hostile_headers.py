"""Hostile tokens: algorithms, and header parameters that no token of ours carries."""

import hashlib
import hmac
import json
import zlib
from collections.abc import Iterator
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from clerkmap.testing import SigningKey
from hostile_base import (
    ABSENT,
    ALGORITHM,
    BAD_SIGNATURE,
    CLERK,
    GOOD,
    GOOD_HEADER,
    GOOD_PAYLOAD,
    HEADER,
    MALFORMED,
    PAYLOAD_PART,
    SIGNATURE_PART,
    UNKNOWN_KEY,
    UNKNOWN_KIND,
    Hostile,
    changed,
    encode,
    session,
    signed_text,
)

PRIVATE = cast(rsa.RSAPrivateKey, CLERK.key.private)
PEM = CLERK.key.pem()
STRANGER = SigningKey("a stranger", CLERK.key.kid)

OTHER_ALGORITHMS = (
    *("none", "None", "NONE", "nOnE", "noNe", "none ", " none", "none\0", "nоne"),  # the last with a Cyrillic o
    *("rs256", "Rs256", "RS256 ", " RS256", "RS256\0", "RS256\n", "RS-256", "RS_256", "ＲＳ256", "RS", "256"),
    *("RS1", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "ES256K", "EdDSA", "Ed25519"),
    *("HS256", "HS384", "HS512", "dir", "RSA1_5", "RSA-OAEP", "PBES2-HS256+A128KW", "sha256WithRSA", "", " ", "null"),
)
NO_NAMES: dict[str, Any] = {"missing": ABSENT, "null": None, "true": True, "zero": 0, "256": 256, "1.5": 1.5}
COMPOSED: dict[str, Any] = {
    "an empty list": [],
    "a list": ["RS256"],
    "an empty object": {},
    "an object": {"alg": "RS256"},
}

JWK = CLERK.key.jwk()
FORBIDDEN: dict[str, tuple[Any, ...]] = {
    "jwk": (JWK, STRANGER.jwk(), None, "", {}),
    "jku": ("https://evil.example/jwks.json", f"{CLERK.issuer}/.well-known/jwks.json", "", None),
    "x5u": ("https://evil.example/chain.pem", "file:///etc/passwd"),
    "x5c": (["MIIB"], [], "MIIB"),
    "x5t": ("dGh1bWI", ""),
    "x5t#S256": ("dGh1bWI",),
    "crit": ([], ["exp"], ["kid"], ["alg"], ["b64"], ["b64", "b64"], ["unheard-of"], [""], "exp", "", None, {}, True),
    "b64": (True, False, 0, 1, "false", None),
    "zip": ("DEF", "GZIP", "", None),
    "cty": ("JWT", "JSON", ""),
    "enc": ("A128GCM", "A256CBC-HS512", None),
    "epk": ({"kty": "EC"}, None),
    "p2c": (1, 2_147_483_647),
}


def tokens() -> Iterator[Hostile]:
    yield from _algorithms()
    yield from _secrets()
    yield from _other_rsa()
    yield from _forbidden()
    yield from _key_ids()
    yield from _types()


def _with(header: dict[str, Any]) -> str:
    """The good signature is that of the good token."""
    return f"{encode(json.dumps(changed(GOOD_HEADER, header)).encode())}.{PAYLOAD_PART}.{SIGNATURE_PART}"


def _algorithms() -> Iterator[Hostile]:
    for name in OTHER_ALGORITHMS:
        yield Hostile(f"alg: {name!r}, signed", session({}, {"alg": name}), ALGORITHM)
    for name in OTHER_ALGORITHMS[:9]:
        yield Hostile(f"alg: {name!r} with another signature", _with({"alg": name}), ALGORITHM)
        unsigned = session({}, {"alg": name}).rpartition(".")[0]
        yield Hostile(f"alg: {name!r} without a signature", f"{unsigned}.", MALFORMED)
    for name, value in NO_NAMES.items():
        yield Hostile(f"alg: {name}", session({}, {"alg": value}), ALGORITHM)
    for name, value in COMPOSED.items():
        yield Hostile(f"alg: {name}", session({}, {"alg": value}), HEADER)
    yield Hostile("alg: spelled ALG", session({}, {"alg": ABSENT, "ALG": "RS256"}), ALGORITHM)
    yield Hostile("alg: none beside ALG", session({}, {"alg": "none", "ALG": "RS256"}), ALGORITHM)


def _secrets() -> Iterator[Hostile]:
    """The public key, in every form somebody may hold it, as the secret of an HMAC."""
    public = PRIVATE.public_key()
    secrets = {
        "PEM": PEM,
        "PEM with CRLF": PEM.replace("\n", "\r\n"),
        "PEM, stripped": PEM.strip(),
        "PEM with escaped line breaks": PEM.replace("\n", "\\n"),
        "PEM of PKCS#1": public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        "the base64 between the armour": "".join(PEM.splitlines()[1:-1]),
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "DER of PKCS#1": public.public_bytes(Encoding.DER, PublicFormat.PKCS1),
        "SSH": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "JWK": json.dumps(JWK),
        "JWK, compact": json.dumps(JWK, separators=(",", ":")),
        "JWKS": json.dumps(CLERK.jwks()),
        "modulus": JWK["n"],
        "nothing": "",
    }
    for algorithm, digest in (("HS256", hashlib.sha256), ("HS384", hashlib.sha384), ("HS512", hashlib.sha512)):
        for name, secret in secrets.items():
            key = secret.encode() if isinstance(secret, str) else secret
            signed = session({}, {"alg": algorithm}).rpartition(".")[0]
            mac = hmac.new(key, signed.encode(), digest).digest()
            yield Hostile(f"{algorithm} with {name} as its secret", f"{signed}.{encode(mac)}", ALGORITHM)
            if algorithm == "HS256":
                signed = GOOD.rpartition(".")[0]
                mac = hmac.new(key, signed.encode(), digest).digest()
                yield Hostile(f"RS256, and an HMAC with {name}", f"{signed}.{encode(mac)}", BAD_SIGNATURE)


def _other_rsa() -> Iterator[Hostile]:
    """Good signatures of this very key under other rules, called what they are and called RS256."""
    rules: list[tuple[str, HashAlgorithm, bool]] = [
        ("RS1", SHA1(), False),
        ("RS384", SHA384(), False),
        ("RS512", SHA512(), False),
        ("PS256", SHA256(), True),
        ("PS384", SHA384(), True),
        ("PS512", SHA512(), True),
    ]
    for algorithm, digest, pss in rules:
        how = padding.PSS(padding.MGF1(digest), digest.digest_size) if pss else padding.PKCS1v15()
        for named, code in ((algorithm, ALGORITHM), ("RS256", BAD_SIGNATURE)):
            signed = session({}, {"alg": named}).rpartition(".")[0]
            signature = PRIVATE.sign(signed.encode(), how, digest)
            yield Hostile(f"a signature of {algorithm}, named {named}", f"{signed}.{encode(signature)}", code)


def _forbidden() -> Iterator[Hostile]:
    for parameter, values in FORBIDDEN.items():
        for number, value in enumerate(values):
            name = f"header: {parameter}, value {number}: {str(value)[:40]!r}"
            yield Hostile(name, session({}, {parameter: value}), HEADER)
    for parameter, value in {"jwk": STRANGER.jwk(), "jku": "https://evil.example/jwks.json"}.items():
        token = STRANGER.sign(changed(GOOD_HEADER, {parameter: value, "kid": "stranger"}), GOOD_PAYLOAD)
        yield Hostile(f"header: {parameter}, and the stranger's signature", token, HEADER)
    packed = encode(zlib.compress(json.dumps(GOOD_PAYLOAD).encode())[2:-4])
    header_part = encode(json.dumps({**GOOD_HEADER, "zip": "DEF"}).encode())
    yield Hostile("header: zip, and the payload is packed", signed_text(header_part, packed), HEADER)
    for name, value in COMPOSED.items():
        yield Hostile(f"header: an unheard-of parameter is {name}", session({}, {"unheard-of": value}), HEADER)


def _key_ids() -> Iterator[Hostile]:
    kid = GOOD_HEADER["kid"]
    unknown = (
        *("", " ", "ins_unknown", kid + " ", " " + kid, kid[:-1], kid + "A", kid.swapcase(), "None", "null", "0", "*"),
        *("../../../dev/null", "/etc/passwd", "' OR '1'='1", "https://evil.example/key", "|cat /etc/passwd", "x" * 200),
    )
    for name in unknown:
        yield Hostile(f"kid: {name[:40]!r}", session({}, {"kid": name}), UNKNOWN_KEY)
    for value in (None, True, 0, 1.5, "\0", kid + "\0", kid + "\n", "ins_é", kid + "\u200b", "x" * 201, "x" * 5000):
        yield Hostile(f"kid: {str(value)[:40]!r} of length {len(str(value))}", session({}, {"kid": value}), HEADER)
    for name, value in COMPOSED.items():
        yield Hostile(f"kid: {name}", session({}, {"kid": value}), HEADER)
    yield Hostile("kid: missing", session({}, {"kid": ABSENT}), UNKNOWN_KEY)
    yield Hostile(
        "kid: missing, and a stranger's signature", STRANGER.sign({"alg": "RS256"}, GOOD_PAYLOAD), UNKNOWN_KEY
    )


def _types() -> Iterator[Hostile]:
    kinds = (
        "jwt",
        "Jwt",
        "JWT ",
        "JWS",
        "JWE",
        "JOSE",
        "",
        "at+JWT",
        "AT+JWT",
        "at+jwt ",
        "id+jwt",
        "dpop+jwt",
        "+jwt",
    )
    for name in (*kinds, "logout+jwt", "secevent+jwt", "application/jwt", "application/at+JWT", "application/json"):
        yield Hostile(f"typ: {name!r}", session({}, {"typ": name}), UNKNOWN_KIND)
    categories = ("", " ", "session", "cl_B7d4PD444AAA", "cl_b7d4pd111aaa", "CL_B7D4PD111AAA", "cl_B7d4PD111AAA ")
    for name in (*categories, "cl_B7d4PD111AA", "cl_B7d4PD111AAAA", "cl_I7d4PD222III"):
        yield Hostile(f"cat: {name!r}", session({}, {"cat": name}), UNKNOWN_KIND)
    for parameter in ("typ", "cat"):
        for value in (None, True, 1, 1.5, "\0", "JWT\n", "JWТ", "x" * 201):
            yield Hostile(f"{parameter}: {str(value)[:20]!r}", session({}, {parameter: value}), HEADER)
        for name, value in COMPOSED.items():
            yield Hostile(f"{parameter}: {name}", session({}, {parameter: value}), HEADER)
