"""Signing keys: which of those offered are taken, and which one a token asks for.

`import_jwks` and `import_pem` turn what was offered into a `KeySet`. `KeySource` is what a verifier is handed.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from hashlib import sha256
from typing import Any, Literal, Protocol, cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from ..errors import ConfigurationError, TokenMalformed, UnknownKey
from .jose import decode_base64url
from .strict_json import items

MAX_KEYS = 64  # in one JWKS; Clerk publishes one, others a handful
RSA_BITS = range(2048, 8193)
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

# What a signature must be for each algorithm: a function that raises InvalidSignature.
_Check = Callable[[Any, bytes, bytes], None]


def _check_rsa(public: rsa.RSAPublicKey, signed: bytes, signature: bytes) -> None:
    public.verify(signature, signed, PKCS1v15(), SHA256())


def _check_ecdsa(digest: HashAlgorithm, size: int) -> _Check:
    def check(public: ec.EllipticCurvePublicKey, signed: bytes, signature: bytes) -> None:
        if len(signature) != 2 * size:
            raise InvalidSignature
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(digest))

    return check


def _check_eddsa(public: ed25519.Ed25519PublicKey, signed: bytes, signature: bytes) -> None:
    public.verify(signature, signed)


_CHECKS: dict[str, _Check] = {
    "RS256": _check_rsa,
    "ES256": _check_ecdsa(SHA256(), 32),
    "ES384": _check_ecdsa(SHA384(), 48),
    "EdDSA": _check_eddsa,
}
_CURVES: dict[str, tuple[str, type[ec.EllipticCurve]]] = {
    "P-256": ("ES256", ec.SECP256R1),
    "P-384": ("ES384", ec.SECP384R1),
}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class VerifyingKey:
    """One key id, its one algorithm, and the public keys behind it: two, while a provider replaces one in place."""

    __slots__ = ("_check", "algorithm", "kid", "publics")

    def __init__(self, kid: str | None, algorithm: str, publics: tuple[PublicKey, ...]) -> None:
        self.kid: str | None = kid
        self.algorithm: str = algorithm
        self.publics: tuple[PublicKey, ...] = publics
        self._check = _CHECKS[algorithm]

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        """Whether the signature over these bytes is this key's."""
        for public in self.publics:
            try:
                self._check(public, signed, signature)
            except InvalidSignature:
                continue
            return True
        return False

    def __repr__(self) -> str:
        return f"VerifyingKey({self.algorithm})"


class KeySet:
    """The keys of one instance at one time. Never empty, never changed."""

    def __init__(self, keys: Mapping[str | None, VerifyingKey], *, any_kid: bool = False) -> None:
        self._keys = dict(keys)
        self._only = next(iter(keys.values())) if len(keys) == 1 else None
        self._any_kid = any_kid

    def find(self, kid: str | None) -> VerifyingKey | None:
        """The key of that id. A token that names none may only mean the only one."""
        if kid is None or self._any_kid:
            return self._only
        return self._keys.get(kid)

    def same_as(self, other: "KeySet | None") -> bool:
        """Whether another set holds the same keys under the same ids."""
        return other is not None and self._facts() == other._facts()

    def shares_a_key(self, other: "KeySet") -> bool:
        """Return whether a public key is in both sets, under whatever id."""
        return not self._spelled().isdisjoint(other._spelled())

    def digest(self) -> bytes:
        """Return a digest of the public keys alone."""
        return sha256(b"".join(sorted(self._spelled()))).digest()

    def _spelled(self) -> set[bytes]:
        return {
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            for key in self._keys.values()
            for public in key.publics
        }

    def _facts(self) -> dict[str | None, tuple[str, tuple[PublicKey, ...]]]:
        return {kid: (key.algorithm, key.publics) for kid, key in self._keys.items()}

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[VerifyingKey]:
        return iter(self._keys.values())


def import_jwks(document: Mapping[str, Any], algorithms: Collection[str]) -> KeySet:
    """Take the usable public signing keys from a JWKS. Each bad member is left out, and spoils no other."""
    found: dict[str | None, VerifyingKey] = {}
    for member in items(document.get("keys"))[:MAX_KEYS]:
        taken = _import_jwk(cast(dict[str, Any], member)) if isinstance(member, dict) else None
        if taken is None or taken[1] not in algorithms:
            continue
        kid, algorithm, public = taken
        known = found.get(kid)
        if known is None:
            found[kid] = VerifyingKey(kid, algorithm, (public,))
        elif known.algorithm == algorithm and len(known.publics) < 2 and public not in known.publics:
            found[kid] = VerifyingKey(kid, algorithm, (*known.publics, public))
    return KeySet(found)


def _import_jwk(jwk: Mapping[str, Any]) -> tuple[str | None, str, PublicKey] | None:
    """One member, or None where it is not a public signing key of a size and kind that is taken."""
    kid = jwk.get("kid")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= 200 and kid.isascii() and kid.isprintable()):
        return None
    if jwk.get("use", "sig") != "sig" or not _PRIVATE.isdisjoint(jwk):
        return None
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        algorithm, public = _import_public(jwk)
    except (ValueError, TypeError, KeyError, AttributeError, TokenMalformed, UnsupportedAlgorithm):
        return None
    if jwk.get("alg", algorithm) != algorithm:
        return None
    return kid, algorithm, public


def _import_public(jwk: Mapping[str, Any]) -> tuple[str, PublicKey]:
    def number(name: str) -> int:
        return int.from_bytes(decode_base64url(jwk[name].encode("ascii")))

    kty = jwk["kty"]
    if kty == "RSA":
        return _suitable(rsa.RSAPublicNumbers(e=number("e"), n=number("n")).public_key())
    if kty == "EC":
        _algorithm, curve = _CURVES[jwk["crv"]]
        return _suitable(ec.EllipticCurvePublicNumbers(number("x"), number("y"), curve()).public_key())
    if kty == "OKP" and jwk["crv"] == "Ed25519":
        return _suitable(ed25519.Ed25519PublicKey.from_public_bytes(decode_base64url(jwk["x"].encode("ascii"))))
    raise ValueError("a kind of key that is not taken")


def _suitable(public: object) -> tuple[str, PublicKey]:
    """The one algorithm a key is good for, or ValueError."""
    if isinstance(public, rsa.RSAPublicKey):
        if public.key_size in RSA_BITS and public.public_numbers().e >= 65537:
            return "RS256", public
    elif isinstance(public, ec.EllipticCurvePublicKey):
        for algorithm, curve in _CURVES.values():
            if isinstance(public.curve, curve):
                return algorithm, public
    elif isinstance(public, ed25519.Ed25519PublicKey):
        return "EdDSA", public
    raise ValueError("a key that is not taken")


def import_pem(text: str, algorithms: Collection[str]) -> KeySet:
    """Read one public key however it was pasted; it serves every key id, for it was given for this very instance."""
    plain = text.replace("\\r", "").replace("\\n", "\n").strip().strip("\"'")
    try:
        if "-----BEGIN" in plain:
            armoured = re.search(r"-----BEGIN PUBLIC KEY-----(.*?)-----END PUBLIC KEY-----", plain, re.DOTALL)
            # The line breaks may have become blanks on the way through an environment variable.
            body = "".join(armoured[1].split()) if armoured else ""
            loaded = load_pem_public_key(f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n".encode())
        else:
            loaded = load_der_public_key(_standard_base64("".join(plain.split())))
        algorithm, public = _suitable(loaded)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError("jwt_key must be a public key in PEM form, or the base64 between its armour") from None
    if algorithm not in algorithms:
        raise ConfigurationError(
            f"jwt_key is for {algorithm}; this instance signs with {', '.join(sorted(algorithms))}"
        )
    return KeySet({None: VerifyingKey(None, algorithm, (public,))}, any_kid=True)


def _standard_base64(text: str) -> bytes:
    from base64 import b64decode

    return b64decode(text + "=" * (-len(text) % 4), validate=True)


class KeySource(Protocol):
    """Where a verifier gets its keys.

    `rejected` is a key that was handed out and whose signature did not match: is there a newer one of that id? Where
    there is none, the same key comes back. Both methods raise `UnknownKey` for an id the instance does not publish, and
    `KeysUnavailable` when nobody can tell.
    """

    @property
    def generation(self) -> int:
        """Grows with each change of keys: what was verified under an older generation must be verified again."""
        ...

    def peek(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey | None:
        """Answer from memory. None means that only `get` can tell."""
        ...

    def get(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey:
        """Answer, after a fetch if need be."""
        ...

    async def aget(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey:
        """Answer, after a fetch if need be, without holding up the event loop."""
        ...


class LocalKeys:
    """Keys that were given. No socket is ever opened for them."""

    generation: Literal[0] = 0

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    def peek(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey:
        return self.get(kid, rejected)

    def get(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey:
        key = self._keys.find(kid)
        if key is None:
            raise UnknownKey
        return key

    async def aget(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey:
        return self.get(kid, rejected)
