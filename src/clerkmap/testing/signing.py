"""Throw-away signing keys, made from a seed: the same seed makes the same key and the same token on every machine."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from functools import lru_cache
from math import gcd, prod
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_SMALL_PRIMES = prod(n for n in range(3, 2000, 2) if all(n % d for d in range(3, int(n**0.5) + 1, 2)))
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class SigningKey:
    """A private key with an id. Never use one outside a test: anybody can make it again."""

    def __init__(self, seed: str, kid: str | None, algorithm: str = "RS256") -> None:
        self.kid: str | None = kid
        self.algorithm: str = algorithm
        self.private: PrivateKey = _make(seed, algorithm)

    def sign(self, header: Mapping[str, Any] | bytes, payload: Mapping[str, Any] | bytes) -> str:
        """A compact JWS over exactly this header and payload, however odd; bytes are taken as they are."""
        signed = f"{_segment(header)}.{_segment(payload)}"
        return f"{signed}.{_base64url(self._signature(signed.encode()))}"

    def _signature(self, signed: bytes) -> bytes:
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(signed, PKCS1v15(), SHA256())
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(signed)
        digest, size = (SHA256(), 32) if self.algorithm == "ES256" else (SHA384(), 48)
        r, s = decode_dss_signature(self.private.sign(signed, ec.ECDSA(digest, deterministic_signing=True)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    def jwk(self) -> dict[str, Any]:
        """The public half, as a member of a JWKS."""
        named = {"kid": self.kid} if self.kid is not None else {}
        return {"use": "sig", "alg": self.algorithm, **named, **_public_jwk(self.private)}

    def pem(self) -> str:
        """The public half, in PEM form."""
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _public_jwk(private: PrivateKey) -> dict[str, str]:
    if isinstance(private, rsa.RSAPrivateKey):
        numbers = private.public_key().public_numbers()
        return {"kty": "RSA", "n": _number(numbers.n, 256), "e": _number(numbers.e, 3)}
    if isinstance(private, ed25519.Ed25519PrivateKey):
        raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "x": _base64url(raw)}
    point, size = private.public_key().public_numbers(), private.key_size // 8
    return {"kty": "EC", "crv": f"P-{private.key_size}", "x": _number(point.x, size), "y": _number(point.y, size)}


def _number(value: int, size: int) -> str:
    return _base64url(value.to_bytes(size, "big"))


def _segment(value: Mapping[str, Any] | bytes) -> str:
    return _base64url(value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


@lru_cache(maxsize=256)
def _make(seed: str, algorithm: str) -> PrivateKey:
    random = Random(f"clerkmap {algorithm} {seed}")  # reproducible on purpose, and never used for real
    if algorithm == "RS256":
        return _rsa(random)
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.from_private_bytes(random.randbytes(32))
    return ec.derive_private_key(random.getrandbits(250), {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1}[algorithm]())


def _rsa(random: Random) -> rsa.RSAPrivateKey:
    e = 65537
    p, q = _prime(random), _prime(random)
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), rsa.RSAPublicNumbers(e, p * q)
    )
    return numbers.private_key()


def _prime(random: Random) -> int:
    """A prime of 1024 bits, the two highest set, so that the product of two has 2048."""
    while True:
        n = random.getrandbits(1024) | 3 << 1022 | 1
        if gcd(n, _SMALL_PRIMES) == 1 and (n - 1) % 65537 and pow(2, n - 1, n) == 1:
            return n
