"""Which members of a JWKS are taken, and which key a token gets. A bad member spoils no other."""

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from clerkmap.core.keys import KeySet, LocalKeys, import_jwks
from clerkmap.errors import UnknownKey
from clerkmap.testing import SigningKey

ALL = ("RS256", "ES256", "ES384", "EdDSA")
RSA = SigningKey("keys", "rsa").jwk()
EC = SigningKey("keys", "ec", "ES256").jwk()
OKP = SigningKey("keys", "okp", "EdDSA").jwk()
GOOD = SigningKey("good", "good", "EdDSA")


def number(value: int) -> str:
    """A number as a JWK has it."""
    return urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8)).rstrip(b"=").decode()


def without(jwk: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The same key lacking some members."""
    return {name: value for name, value in jwk.items() if name not in names}


def kids(*members: object, algorithms: tuple[str, ...] = ALL) -> set[str | None]:
    """The ids of the keys that are taken from these members."""
    return {key.kid for key in import_jwks({"keys": list(members)}, algorithms)}


def modulus(bits: int) -> dict[str, Any]:
    """An RSA key of that size: nobody has its private half, but it looks like any other."""
    return {**RSA, "n": number((1 << (bits - 1)) | 1)}


def odd_curve() -> dict[str, Any]:
    """A key on a curve that is not ours."""
    numbers = ec.derive_private_key(7, ec.SECP521R1()).public_key().public_numbers()
    return {**EC, "crv": "P-521", "x": number(numbers.x), "y": number(numbers.y), "alg": "ES512"}


@pytest.mark.parametrize("algorithm", ALL)
@pytest.mark.parametrize("lacking", [(), ("use",), ("alg",), ("use", "alg")])
def test_each_kind_of_public_key_is_taken_and_verifies(algorithm: str, lacking: tuple[str, ...]) -> None:
    """RSA, both curves and Ed25519, whether or not they say what they are for."""
    signer = SigningKey("keys", "k", algorithm)
    signed, _, signature = signer.sign({"alg": algorithm}, {}).rpartition(".")
    (key,) = import_jwks({"keys": [without(signer.jwk(), *lacking)]}, ALL)
    raw = bytes(_decode(signature))
    assert (key.kid, key.algorithm) == ("k", algorithm)
    assert key.verifies(signed.encode(), raw)
    assert not key.verifies(signed.encode() + b"x", raw)
    assert not key.verifies(signed.encode(), raw[:-1] + bytes([raw[-1] ^ 1]))
    assert not key.verifies(signed.encode(), b"")


def _decode(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


TAKEN: list[Any] = [
    pytest.param({**RSA, "use": "sig"}, id="for signatures"),
    pytest.param({**RSA, "key_ops": ["verify"]}, id="operation: verify"),
    pytest.param({**RSA, "key_ops": ["sign", "verify"]}, id="operations: more than verify"),
    pytest.param({**RSA, "x5c": ["MIIB"], "x5t": "x", "nbf": 1}, id="further members"),
    pytest.param({**RSA, "e": number(65539)}, id="e of 65539"),
    pytest.param(modulus(2048), id="2048 bits"),
    pytest.param(modulus(3072), id="3072 bits"),
    pytest.param(modulus(4096), id="4096 bits"),
    pytest.param(modulus(8192), id="8192 bits"),
    pytest.param({**RSA, "kid": "../../etc/passwd' OR 1=1 --"}, id="a kid with odd but harmless characters"),
    pytest.param({**RSA, "kid": "k" * 200}, id="the longest kid"),
    pytest.param(without(RSA, "kid"), id="no kid"),
    pytest.param({**RSA, "kid": None}, id="kid: null"),
]


@pytest.mark.parametrize("member", TAKEN)
def test_what_is_taken(member: dict[str, Any]) -> None:
    """A public signing key of a sound size, whatever else is written next to it."""
    assert kids(member) == {member.get("kid")}


_NO_KEYS: tuple[object, ...] = (None, 1, "RSA", [RSA], True, {})
_OTHER_USES: tuple[object, ...] = ([], ["encrypt"], ["sign"], "verify", None)
REFUSED: list[Any] = [
    # Not a key at all.
    *(pytest.param(value, id=f"a {type(value).__name__}") for value in _NO_KEYS),
    # The key's kind.
    pytest.param({"kty": "oct", "kid": "x", "k": "AAAA"}, id="symmetric"),
    pytest.param({"kty": "oct", "kid": "x"}, id="symmetric, empty"),
    pytest.param({**RSA, "kty": "rsa"}, id="kty in lower case"),
    pytest.param({**RSA, "kty": ["RSA"]}, id="kty as a list"),
    pytest.param(without(RSA, "kty"), id="no kty"),
    pytest.param(without(RSA, "n", "e") | {"x5c": ["MIIB"]}, id="only a certificate"),
    # What it is for.
    *(pytest.param({**RSA, "use": use}, id=f"use: {use}") for use in ("enc", "", None, ["sig"], "SIG")),
    *(
        pytest.param({**RSA, "key_ops": ops}, id=f"key_ops: {ops}")
        for ops in ([], ["encrypt"], ["sign"], "verify", None)
    ),
    *(
        pytest.param({**RSA, "alg": alg}, id=f"alg: {alg}")
        for alg in ("RS512", "PS256", "none", "", None, ["RS256"], {"RS256": 1}, 256, "rs256", "ES256", "RSA-OAEP")
    ),
    # Private halves.
    *(pytest.param({**RSA, part: "AQAB"}, id=f"private: {part}") for part in ("d", "p", "q", "dp", "dq", "qi", "k")),
    pytest.param({**RSA, "oth": []}, id="private: oth"),
    pytest.param({**RSA, "d": None}, id="private: an empty d"),
    pytest.param({**EC, "d": "AQAB"}, id="private: EC"),
    pytest.param({**OKP, "d": "AQAB"}, id="private: OKP"),
    # RSA numbers.
    *(pytest.param(modulus(bits), id=f"{bits} bits") for bits in (512, 1024, 2047, 8193, 16_384, 65_536)),
    *(pytest.param({**RSA, "e": number(e)}, id=f"e of {e}") for e in (1, 2, 3, 17, 257, 65_535, 65_536)),
    pytest.param({**RSA, "e": "AA"}, id="e of zero"),
    pytest.param({**RSA, "e": RSA["n"]}, id="e as large as n"),
    *(
        pytest.param({**RSA, part: bad}, id=f"{part}: {str(bad)[:12]!r}")
        for part in ("n", "e")
        for bad in ("", "AQAB=", "AQ+B", "AQ B", "AQ\nB", "\u00e4\u00f6", 65537, None, ["AQAB"], "A")
    ),
    pytest.param(without(RSA, "n"), id="no n"),
    pytest.param(without(RSA, "e"), id="no e"),
    # Curves.
    pytest.param({**EC, "y": EC["x"]}, id="a point off its curve"),
    pytest.param({**EC, "crv": "P-384"}, id="a point of another curve"),
    pytest.param({**EC, "crv": "secp256k1", "alg": "ES256K"}, id="a curve that is not taken"),
    pytest.param(odd_curve(), id="P-521"),
    pytest.param({**EC, "crv": ["P-256"]}, id="crv as a list"),
    pytest.param(without(EC, "crv"), id="no crv"),
    pytest.param({**OKP, "crv": "X25519"}, id="a key for agreement"),
    pytest.param({**OKP, "crv": "Ed448"}, id="Ed448"),
    pytest.param({**OKP, "x": "AQAB"}, id="Ed25519 too short"),
    pytest.param({**OKP, "x": 1}, id="Ed25519 as a number"),
    # The id.
    *(
        pytest.param({**RSA, "kid": kid}, id=f"kid: {str(kid)[:8]!r}")
        for kid in ("", 1, 0, False, ["a"], {"a": 1}, "a\0b", "a\nb", "k\u00e4y", "\u202e", "k" * 201, "k" * 1_000_000)
    ),
]


@pytest.mark.parametrize("member", REFUSED)
def test_what_is_left_out_spoils_nothing(member: object) -> None:
    """Before, between and after good keys: the bad one is left out, and the good ones work."""
    assert kids(member) == set()
    assert kids(member, GOOD.jwk(), member, OKP, member) == {"good", "okp"}


@pytest.mark.parametrize(
    "document",
    [{}, *({"keys": value} for value in (None, {}, "", "RSA", 1, True, [], [None], {"kid": RSA}))],
    ids=str,
)
def test_a_document_without_keys_gives_none(document: dict[str, Any]) -> None:
    """An empty set, which whoever asked must treat as no answer."""
    assert len(import_jwks(document, ALL)) == 0


@pytest.mark.parametrize(
    ("expected", "algorithms"),
    [({"rsa"}, ("RS256",)), ({"ec", "okp"}, ("ES256", "EdDSA")), (set[str](), ("ES384",)), ({"rsa", "ec", "okp"}, ALL)],
)
def test_only_keys_for_the_instances_algorithms(expected: set[str], algorithms: tuple[str, ...]) -> None:
    """Clerk signs with RS256: a key of any other kind among its keys is nobody's."""
    assert kids(RSA, EC, OKP, algorithms=algorithms) == expected


def test_two_keys_of_one_id_both_work_and_a_third_is_ignored() -> None:
    """A key that is replaced in place may be published next to the old one for a while."""
    signers = [SigningKey(f"copy {number}", "same", "EdDSA") for number in range(3)]
    (key,) = import_jwks({"keys": [signer.jwk() for signer in signers]}, ALL)
    assert [_verifies(key, signer) for signer in signers] == [True, True, False]


def test_the_same_key_twice_is_one_key() -> None:
    """Saying it twice takes nobody else's place."""
    first, second = SigningKey("copy 0", "same", "EdDSA"), SigningKey("copy 1", "same", "EdDSA")
    (key,) = import_jwks({"keys": [first.jwk(), first.jwk(), second.jwk()]}, ALL)
    assert [_verifies(key, first), _verifies(key, second), len(key.publics)] == [True, True, 2]


def test_one_id_has_one_algorithm() -> None:
    """Two keys of one id and different kinds: the first is the one. A token cannot choose between algorithms."""
    (key,) = import_jwks({"keys": [{**EC, "kid": "same"}, {**OKP, "kid": "same"}]}, ALL)
    assert (key.algorithm, len(key.publics)) == ("ES256", 1)


def _verifies(key: Any, signer: SigningKey) -> bool:
    signed, _, signature = signer.sign({}, {}).rpartition(".")
    return bool(key.verifies(signed.encode(), _decode(signature)))


def test_no_more_than_64_members_are_read() -> None:
    """Ten thousand keys cost no more than sixty-four."""
    members = [{**OKP, "kid": f"k{index}"} for index in range(10_000)]
    assert kids(*members) == {f"k{index}" for index in range(64)}


@pytest.mark.parametrize(
    ("expected", "published", "asked"),
    [
        ("a", ["a"], "a"),
        ("a", ["a"], None),
        ("b", ["a", "b"], "b"),
        (None, [None], None),
        ("a", [None, "a"], "a"),
    ],
)
def test_find_by_id(expected: str | None, published: list[str | None], asked: str | None) -> None:
    """By its id, and without one only where there is no choice."""
    keys = LocalKeys(_set(*published))
    assert keys.get(asked).kid == expected
    assert keys.peek(asked) is keys.get(asked)
    assert keys.get(asked, keys.get(asked)) is keys.get(asked), "there is never a newer one"
    assert keys.generation == 0


@pytest.mark.parametrize(
    ("published", "asked"),
    [(["a"], "b"), (["a"], ""), (["a"], "A"), (["a", "b"], None), ([None, "a"], None), ([None], "a")],
)
def test_an_id_that_is_not_there_is_unknown(published: list[str | None], asked: str | None) -> None:
    """In all three colours, and no key is guessed."""
    keys = LocalKeys(_set(*published))
    for ask in (keys.get, keys.peek, lambda kid: asyncio.run(keys.aget(kid))):
        with pytest.raises(UnknownKey):
            ask(asked)


def test_the_three_colours_give_the_same_key() -> None:
    """Asked from memory, from a thread or from a task."""
    keys = LocalKeys(_set("a"))
    assert keys.peek("a") is keys.get("a") is asyncio.run(keys.aget("a"))


@pytest.mark.parametrize(
    ("expected", "other"),
    [(True, ["a", "b"]), (True, ["b", "a"]), (False, ["a"]), (False, ["a", "c"]), (False, ["a", "b", "c"])],
)
def test_the_same_keys_are_the_same(expected: bool, other: list[str | None]) -> None:
    """Whatever their order. That decides whether what was verified must be verified again."""
    assert _set("a", "b").same_as(_set(*other)) is expected
    assert not _set("a", "b").same_as(None)


def test_no_repr_shows_a_key() -> None:
    """Reprs end up in logs, and a key set may hold what somebody should not have published."""
    keys = _set("a", "b")
    shown = repr(keys) + "".join(map(repr, keys)) + repr(LocalKeys(keys))
    assert "VerifyingKey(EdDSA)" in shown
    assert OKP["x"] not in shown


def _set(*published: str | None) -> KeySet:
    members = [{**without(OKP, "kid"), **({} if kid is None else {"kid": kid})} for kid in published]
    return import_jwks({"keys": members}, ALL)
