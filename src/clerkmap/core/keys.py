"""Signing keys: which keys of a JWKS are accepted.

`import_jwks` and `import_pem` make a `KeySet` out of untrusted input. PyJWT decodes the keys and checks signatures with
them. This module refuses the keys that PyJWT would accept without need. A verifier asks a `KeySource` for keys;
`key_refresh.py` decides when a source fetches them again. PyJWT and cryptography are imported at the first key, because
they take longer to import than everything else together.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Collection, Iterator, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast

from ..errors import ConfigurationError, TokenMalformed, UnknownKey
from .jose import MAX_PARAMETER, decode_base64url
from .strict_json import items

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

MAX_KEYS = 64  # in one JWKS; Clerk publishes one key, other providers a handful
RSA_BITS = range(2048, 8193)

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384"}
_NUMBERS = {"RSA": ("n", "e"), "EC": ("x", "y"), "OKP": ("x",)}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class VerifyingKey:
    """The public keys of one key id, and their one algorithm.

    There are two public keys while a provider replaces a key under the same id.
    """

    __slots__ = ("_verify", "algorithm", "kid", "publics")

    def __init__(self, kid: str | None, algorithm: str, publics: "tuple[PublicKey, ...]") -> None:
        from jwt.algorithms import get_default_algorithms

        self.kid: str | None = kid
        self.algorithm: str = algorithm
        self.publics: tuple[PublicKey, ...] = publics
        # A fresh table: an application can replace the algorithms in PyJWT's global one.
        self._verify: Callable[[bytes, Any, bytes], bool] = get_default_algorithms()[algorithm].verify

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        """Return whether one of the public keys verifies this signature over these bytes."""
        for public in self.publics:  # noqa: SIM110 - a generator in any() costs a tenth of a verification
            if self._verify(signed, public, signature):
                return True
        return False

    def __repr__(self) -> str:
        return f"VerifyingKey({self.algorithm})"


class KeySet:
    """The keys of one instance at one time. A key set never changes."""

    def __init__(self, keys: Mapping[str | None, VerifyingKey], *, any_kid: bool = False) -> None:
        self._keys = dict(keys)
        self._only = next(iter(keys.values())) if len(keys) == 1 else None
        self._any_kid = any_kid

    def find(self, kid: str | None) -> VerifyingKey | None:
        """Return the key with this id, or None. A token without a key id can only mean the only key."""
        if kid is None or self._any_kid:
            return self._only
        return self._keys.get(kid)

    def same_as(self, other: "KeySet | None") -> bool:
        """Return whether another set holds the same keys under the same ids."""
        return other is not None and self._facts() == other._facts()

    def shares_a_key(self, other: "KeySet") -> bool:
        """Return whether a public key is in both sets, under any id."""
        return not self._encoded().isdisjoint(other._encoded())

    def digest(self) -> bytes:
        """Return a digest of the public keys alone."""
        return sha256(b"".join(sorted(self._encoded()))).digest()

    def _encoded(self) -> set[bytes]:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return {
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            for key in self._keys.values()
            for public in key.publics
        }

    def _facts(self) -> "dict[str | None, tuple[str, tuple[PublicKey, ...]]]":
        return {kid: (key.algorithm, key.publics) for kid, key in self._keys.items()}

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[VerifyingKey]:
        return iter(self._keys.values())


def import_jwks(document: Mapping[str, Any], algorithms: Collection[str]) -> KeySet:
    """Return the usable public signing keys of a JWKS. A bad member is left out; the other members still count."""
    found: dict[str | None, VerifyingKey] = {}
    for member in items(document.get("keys"))[:MAX_KEYS]:
        imported = _import_jwk(cast("dict[str, Any]", member)) if isinstance(member, dict) else None
        if imported is None or imported[1] not in algorithms:
            continue
        kid, algorithm, public = imported
        known = found.get(kid)
        if known is None:
            found[kid] = VerifyingKey(kid, algorithm, (public,))
        elif known.algorithm == algorithm and len(known.publics) < 2 and public not in known.publics:
            found[kid] = VerifyingKey(kid, algorithm, (*known.publics, public))
    return KeySet(found)


def _import_jwk(jwk: dict[str, Any]) -> "tuple[str | None, str, PublicKey] | None":
    """Return the key id, algorithm and public key of one member, or None.

    PyJWT checks that the key is complete and its point is on its curve. The comments name the checks that PyJWT omits.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from jwt import PyJWK, PyJWTError

    kid = jwk.get("kid")
    # PyJWT takes any value as a key id.
    if kid is not None and not (
        isinstance(kid, str) and 0 < len(kid) <= MAX_PARAMETER and kid.isascii() and kid.isprintable()
    ):
        return None
    # PyJWT ignores `use`: a key for encryption would verify signatures.
    if jwk.get("use", "sig") != "sig":
        return None
    # PyJWT ignores `key_ops`, too.
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    # PyJWT imports private keys, and every reader of a JWKS can sign with a private key in it.
    if not _PRIVATE.isdisjoint(jwk):
        return None
    try:
        # PyJWT skips stray characters in base64url, so that one key would have many spellings.
        for name in _NUMBERS[jwk["kty"]]:
            decode_base64url(jwk[name].encode("ascii"))
        # Without its `alg`, PyJWT tells the algorithm from the key's kind; with it, PyJWT would believe `alg`.
        algorithm, public = _algorithm_of(PyJWK({**jwk, "alg": None}).key)
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError, TokenMalformed, UnsupportedAlgorithm):
        return None
    # PyJWT never compares `alg` with the curve.
    if jwk.get("alg", algorithm) != algorithm:
        return None
    return kid, algorithm, public


def _algorithm_of(public: object) -> "tuple[str, PublicKey]":
    """Return the one algorithm that a key serves, and the key. Raise ValueError for a key that is refused."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(public, rsa.RSAPublicKey):
        # PyJWT takes any size and exponent. Short keys can be factored; large keys make every check slow.
        if public.key_size in RSA_BITS and public.public_numbers().e >= 65537:
            return "RS256", public
    elif isinstance(public, ec.EllipticCurvePublicKey):
        # PyJWT takes P-521 and secp256k1, too: no provider signs with them.
        if public.curve.name in _CURVES:
            return _CURVES[public.curve.name], public
    elif isinstance(public, ed25519.Ed25519PublicKey):
        return "EdDSA", public
    raise ValueError("a key of this type is not accepted")


def import_pem(text: str, algorithms: Collection[str]) -> KeySet:
    """Return the public key in a PEM text, for every key id: the key was given for exactly this instance.

    Line breaks may be missing, escaped or replaced by blanks, as environment variables and dashboards do. The base64
    between the armour lines is enough.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    body = text.replace("\\r", "").replace("\\n", "\n").strip().strip("\"'")
    if "-----BEGIN" in body:
        armoured = re.search(r"-----BEGIN PUBLIC KEY-----(.*?)-----END PUBLIC KEY-----", body, re.DOTALL)
        body = armoured[1] if armoured else ""
    body = "".join(body.split())
    try:
        loaded = load_der_public_key(b64decode(body + "=" * (-len(body) % 4), validate=True))
        algorithm, public = _algorithm_of(loaded)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError(
            "jwt_key must be a PEM public key, or the base64 between its BEGIN and END lines: copy it from the API "
            "keys page of Clerk's dashboard"
        ) from None
    if algorithm not in algorithms:
        raise ConfigurationError(
            f"jwt_key is for {algorithm}; this instance signs with {', '.join(sorted(algorithms))}"
        )
    return KeySet({None: VerifyingKey(None, algorithm, (public,))}, any_kid=True)


class KeySource(Protocol):
    """Where a verifier gets its keys.

    `rejected` is a key that the source returned before and that did not match the signature. The source returns a newer
    key with that id, or the same key if there is no newer one. All methods raise `UnknownKey` for an id that the
    instance does not publish, and `KeysUnavailable` when the keys cannot be fetched.
    """

    @property
    def generation(self) -> int:
        """A number that grows with each change of keys. Tokens verified under an older one must be verified again."""
        ...

    def peek(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey | None:
        """Return a key from memory, or None if only `get` can find it."""
        ...

    def get(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey:
        """Return a key, after a fetch if necessary."""
        ...

    async def aget(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey:
        """Return a key, after a fetch if necessary, without blocking the event loop."""
        ...


class LocalKeys:
    """Keys from the configuration. They are never fetched."""

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
