"""Ways to spoil a token: its text, the bytes of a part, the JSON of a part; some are signed again, most are not."""

import json
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from clerkmap.testing import SigningKey

TRANSLATED = bytes.maketrans(b"-_", b"+/")
BACK = bytes.maketrans(b"+/", b"-_")
CHARACTERS = "ABCXYZabcxyz0189-_-_AAAA....=+/~ \n\0\té．٣\ud800😀"
BYTES = b'{}[]",:\\0123456789eE.-+ntfu \n\0\x80\xc0\xed\xff'
TEXTS = (
    *(
        b"NaN",
        b"Infinity",
        b"1e400",
        b"null",
        b"true",
        b"{}",
        b"[]",
        b'""',
        b"\\ud800",
        b"\\u0000",
        b"9" * 25,
        b"[[[[[[",
    ),
    *(
        b'"sub":"user_x",',
        b'"exp":9999999999,',
        b'"alg":"none",',
        b'"kid":"x",',
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"-",
        b"1.",
    ),
)
NASTY: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 0.0, -0.0, 0.5, 1.5, 1e308, 5e-324, float("nan"), float("inf"), 2**31, 2**63),
    *(10**30, 10**400, "", " ", "0", "1", "-1", "\0", "\n", "a" * 300, "é", "\u0430", "\u200b", "\ud800", "😀"),
    *([], [[]], [None], [0], [0, -1], [-1, -1], ["a"], ["org:a:b", 5], {}, {"a": 1}, {"id": "org_a"}, {"id": None}),
    *({"sub": "user_a"}, {"sub": 5}, "user_a", "mch_a", "org_a", "sess_a", "client_a", "org:admin", "org:", "pending"),
    *("active", "o:a,u:b,ou:c", "o:a,,b,:,o:,x:y", "read,write", "1,2,3", "-1,1_0,0007, 3", "9" * 500, "o:" * 200),
    *(1_000_000, 1_700_000_000, 4_000_000_000, 253_402_300_799, 253_402_300_800, "https://app.example.com", "RS256"),
    *("cl_B7d4PD111AAA", "cl_B7d4PD222AAA", "cl_B7d4PD333AAA", "cl_I7d4PD111III", "JWT", "at+jwt", "none", "HS256"),
)
CLAIMS = (
    *(
        "iss",
        "sub",
        "sid",
        "exp",
        "iat",
        "nbf",
        "azp",
        "aud",
        "jti",
        "v",
        "o",
        "sts",
        "act",
        "fva",
        "fea",
        "pla",
        "cat",
    ),
    *(
        "org_id",
        "org_slug",
        "org_role",
        "org_permissions",
        "client_id",
        "scp",
        "scope",
        "scopes",
        "handshake",
        "custom",
    ),
)
PARAMETERS = ("alg", "typ", "cat", "kid", "jwk", "jku", "crit", "b64", "zip", "cty", "oiat", "custom")
MEMBERS = ("id", "slg", "rol", "per", "fpm", "sub", "type", "custom")


def decode(part: str) -> bytes:
    """The bytes of a part; of one that is misspelled, none."""
    try:
        return a2b_base64(part.encode().translate(TRANSLATED) + b"=" * (-len(part) % 4))
    except ValueError:
        return b""


def encode(data: bytes) -> str:
    return b2a_base64(data, newline=False).translate(BACK).rstrip(b"=").decode()


def spoiled_text(random: Random, token: str, others: Sequence[str]) -> str:
    """The token with a change in its text; `others` are there to take parts from."""
    chance = random.random
    at, how, size = int(chance() * (len(token) + 1)), int(chance() * 10), 1 + int(chance() ** 4 * 200)
    if how <= 2:
        return token[:at] + CHARACTERS[int(chance() * len(CHARACTERS))] + token[at + 1 :]
    if how == 3:
        return token[:at] + CHARACTERS[int(chance() * len(CHARACTERS))] * size + token[at:]
    if how == 4:
        return token[:at] + token[at + size :]
    if how == 5:
        return token[:at] if chance() < 0.5 else token[at:]
    if how == 6:
        return token[:at] + token[at : at + size] * 2 + token[at + size :]
    parts = token.split(".")
    if how == 7:
        random.shuffle(parts)
        return ".".join(parts)
    other = others[int(chance() * len(others))].split(".")
    which = int(chance() * len(parts))
    if how == 8:
        parts[which] = other[int(chance() * len(other))]
    else:
        parts.insert(which, other[int(chance() * len(other))])
    return ".".join(parts)


def spoiled_bytes(random: Random, data: bytes) -> bytes:
    """A text of JSON, or a signature, with a few bytes changed."""
    chance = random.random
    for _ in range(1 + int(chance() * 2.3)):
        at, how = int(chance() * (len(data) + 1)), int(chance() * 6)
        if how == 0 and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([data[at] ^ 1 << int(chance() * 8)]) + data[at + 1 :]
        elif how <= 2:
            data = data[:at] + BYTES[(b := int(chance() * len(BYTES))) : b + 1] + data[at + (how == 1) :]
        elif how == 3:
            data = data[:at] + TEXTS[int(chance() * len(TEXTS))] + data[at:]
        elif how == 4:
            data = data[:at] + data[at + 1 + int(chance() * 8) :]
        else:
            data = data[:at] + data[at : at + 20] + data[at:]
    return data


def spoiled_part(random: Random, token: str) -> str:
    """The token with other bytes in one of its parts, and its old signature."""
    parts = token.split(".")
    which = int(random.random() * len(parts))
    parts[which] = encode(spoiled_bytes(random, decode(parts[which]))) if parts[which].isascii() else ""
    return ".".join(parts)


def spoiled_json(random: Random, values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The header or payload with one to three members changed, added or taken away."""
    spoiled = dict(values)
    for _ in range(1 + int(random.random() ** 2 * 3)):
        name, value = random.choice(names), random.choice(NASTY)
        inner = spoiled.get(name)
        if random.random() < 0.2:
            spoiled.pop(name, None)
        elif isinstance(inner, dict) and random.random() < 0.8:
            spoiled[name] = {**inner, random.choice(MEMBERS): value}
        else:
            spoiled[name] = value
    return spoiled


def spoiled_and_signed(random: Random, key: SigningKey, header: Mapping[str, Any], payload: Mapping[str, Any]) -> str:
    """A good token with a change in its JSON, as members or as bytes, and a good signature over that."""
    if random.random() < 0.3:
        header = spoiled_json(random, header, PARAMETERS)
    else:
        payload = spoiled_json(random, payload, CLAIMS)
    texts = [json.dumps(values, separators=(",", ":")).encode() for values in (header, payload)]
    if random.random() < 0.25:
        which = int(random.random() * 2)
        texts[which] = spoiled_bytes(random, texts[which])
    return key.sign(*texts)
