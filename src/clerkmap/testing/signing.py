"""Signing keys for tests, made from a seed: a seed gives the same key and the same tokens on every machine."""

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
# The first keys of the fakes with the seeds 0, 1, 2, ...: how many random numbers come before each of the two primes.
# The search for two primes takes most of a second.
_DRAWS_BEFORE_PRIMES = (
    (188, 56), (11, 359), (492, 493), (549, 1548), (450, 79), (365, 696), (128, 494), (44, 142), (558, 24), (216, 73),
    (1001, 136), (304, 1178), (212, 105), (88, 193), (2271, 699), (50, 1784), (337, 507), (1064, 444), (1309, 324),
    (272, 260), (153, 14), (66, 66), (98, 186), (418, 810), (548, 48), (784, 98), (780, 42), (158, 20), (300, 654),
    (334, 474), (24, 300), (193, 632), (290, 153), (1347, 166), (271, 2), (575, 822), (365, 916), (1, 218), (162, 150),
    (345, 268), (1841, 74), (392, 1039), (709, 934), (121, 498), (537, 242), (2, 51), (8, 604), (877, 18), (11, 495),
    (103, 483), (547, 210), (125, 187), (1056, 9), (27, 166), (273, 235), (854, 242), (824, 633), (441, 577), (78, 269),
    (239, 37), (177, 389), (239, 237), (254, 438), (419, 273), (2, 265), (73, 283), (442, 69), (141, 34), (205, 1156),
    (75, 327), (17, 1037), (190, 218), (744, 239), (61, 185), (123, 36), (72, 288), (214, 83), (902, 665), (155, 791),
    (1627, 328), (308, 60), (413, 728), (219, 172), (895, 79), (78, 45), (26, 327), (23, 932), (431, 148), (144, 202),
    (1003, 538), (55, 17), (240, 432), (140, 495), (294, 51), (1230, 215), (199, 802), (2022, 107), (407, 238),
    (156, 330), (939, 304),
)  # fmt: skip
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class SigningKey:
    """A private key with an id. Use it in tests only: it can be made again from its seed."""

    def __init__(self, seed: str, kid: str | None, algorithm: str = "RS256") -> None:
        self.kid: str | None = kid
        self.algorithm: str = algorithm
        self.private: PrivateKey = _make(seed, algorithm)

    def sign(self, header: Mapping[str, Any] | bytes, payload: Mapping[str, Any] | bytes) -> str:
        """Return a compact JWS of this header and payload, valid or not. Bytes are used unchanged."""
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
        """Return the public key as a member of a JWKS."""
        named = {"kid": self.kid} if self.kid is not None else {}
        return {"use": "sig", "alg": self.algorithm, **named, **_public_jwk(self.private)}

    def pem(self) -> str:
        """Return the public key in PEM format."""
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
        number = seed.removesuffix("/1")
        is_known = number != seed and number.isdecimal() and int(number) < len(_DRAWS_BEFORE_PRIMES)
        return _rsa(random, *_DRAWS_BEFORE_PRIMES[int(number)] if is_known else (0, 0))
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.from_private_bytes(random.randbytes(32))
    return ec.derive_private_key(random.getrandbits(250), {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1}[algorithm]())


def _rsa(random: Random, before_p: int, before_q: int) -> rsa.RSAPrivateKey:
    e = 65537
    p, q = _prime(random, before_p), _prime(random, before_q)
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), rsa.RSAPublicNumbers(e, p * q)
    )
    return numbers.private_key()


def _prime(random: Random, draws: int) -> int:
    """Return the next prime after so many draws: 1024 bits, the two highest set, so that the product has 2048."""
    for _ in range(draws):
        random.getrandbits(1024)
    while True:
        n = random.getrandbits(1024) | 3 << 1022 | 1
        if gcd(n, _SMALL_PRIMES) == 1 and (n - 1) % 65537 and pow(2, n - 1, n) == 1:
            return n
