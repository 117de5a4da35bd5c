"""Strict reading of a compact JWS and of JSON. What lives here trusts nothing and decides nothing.

Every token has exactly one spelling that is read; each other spelling of the same bytes is refused. That is what lets a
cache use the token's text as its key, and what keeps two readers of one token from seeing two people in it. All limits
on what a stranger may send in a token stand in this file.
"""

import json
import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from ..errors import HeaderRefused, TokenMalformed, TokenTooLarge

MAX_TOKEN = 8192  # a browser stores no cookie over 4 KiB; servers commonly stop reading headers at 8
MAX_DEPTH = 32  # Clerk's own claims nest two deep; what people add to them is metadata written by hand
MAX_PARAMETER = 200  # of a key id, the longest text a header has

# A token of ours never carries these: keys to be fetched or trusted, packing, other signing rules, other contents.
_FORBIDDEN = frozenset(
    {"jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "cty", "enc", "epk", "p2c"}
)

# base64url, translated for a decoder of base64. "+", "/" and "=" become a character that no alphabet has.
_ALPHABET = bytes.maketrans(b"-_+/=", b"+/***")
# A last character that carries unused bits must have them at zero, or the same bytes have several spellings.
_ENDS = {0: (None, b""), 2: (frozenset(b"AQgw"), b"=="), 3: (frozenset(b"AEIMQUYcgkosw048"), b"=")}
_JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)  # one that never ends reaches to the end


class Reading(NamedTuple):
    """A token as it is written. Nothing in it is proven."""

    header_part: bytes
    header: Mapping[str, Any]
    payload: dict[str, Any]
    signed: bytes
    signature: bytes


def read_token(token: str, known_headers: Mapping[bytes, Mapping[str, Any]]) -> Reading:
    """Take a compact JWS apart, or raise `TokenMalformed`.

    `known_headers` are headers that were read before, by their encoded form: all tokens of one key share one.
    """
    if not isinstance(token, str):
        raise TokenMalformed("a token is text")
    if len(token) > MAX_TOKEN:
        raise TokenTooLarge(f"more than {MAX_TOKEN} characters")
    try:
        raw = token.encode("ascii")
    except UnicodeEncodeError:
        raise TokenMalformed("a character outside its alphabet") from None
    parts = raw.split(b".", 3)
    if len(parts) != 3:
        raise TokenMalformed("a token has three parts")
    header = known_headers.get(parts[0]) or _read_header(parts[0])
    payload = read_json_object(decode_base64url(parts[1]))
    return Reading(parts[0], header, payload, raw[: -len(parts[2]) - 1], decode_base64url(parts[2]))


def _read_header(part: bytes) -> dict[str, Any]:
    header = read_json_object(decode_base64url(part))
    for name, value in header.items():
        if name in _FORBIDDEN:
            raise HeaderRefused("a parameter that no token of this instance carries")
        if isinstance(value, (dict, list)):
            raise HeaderRefused("a parameter that is not a plain value")
    for name in ("kid", "typ", "cat"):
        value = header.get(name, "")
        if not isinstance(value, str) or len(value) > MAX_PARAMETER or not (value.isascii() and value.isprintable()):
            raise HeaderRefused(f"{name} is not a short text")
    return header


def decode_base64url(text: bytes) -> bytes:
    """Decode unpadded, canonical base64url, or raise `TokenMalformed`."""
    if not text or len(text) % 4 == 1:
        raise TokenMalformed("a part is not of a length that base64url has")
    last, padding = _ENDS[len(text) % 4]
    if last is not None and text[-1] not in last:
        raise TokenMalformed("a part is not canonical base64url")
    try:
        return a2b_base64(text.translate(_ALPHABET) + padding, strict_mode=True)
    except Base64Error:
        raise TokenMalformed("a part is not base64url") from None


def read_json_object(data: bytes) -> dict[str, Any]:
    """Parse one JSON object written in UTF-8: no key twice, no NaN, no lone surrogate, no great depth."""
    try:
        text = data.decode("utf-8")
        if text[:1] != "{" or text[-1:] != "}":
            raise TokenMalformed("a part is not a JSON object")
        if text.count("[") + text.count("{") > MAX_DEPTH:
            _check_depth(text)
        value: dict[str, Any]
        value, end = _DECODER.raw_decode(text)
        if end != len(text):
            raise TokenMalformed("a part is more than a JSON object")
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # fails on half of a surrogate pair
    except (ValueError, RecursionError):  # UnicodeDecodeError, JSONDecodeError, and integers of too many digits
        raise TokenMalformed("a part is not strict JSON in UTF-8") from None
    return value


def items(value: object) -> list[Any]:
    """The members of a JSON array; of anything else, none."""
    return cast(list[Any], value) if isinstance(value, list) else []


def _check_depth(text: str) -> None:
    depth = 0
    for character in re.sub(r"[^][{}]", "", _JSON_STRING.sub("", text)):
        depth += 1 if character in "[{" else -1
        if depth > MAX_DEPTH:
            raise TokenMalformed("its JSON is nested too deeply")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number too large to be one")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_each_key_once, parse_float=_finite, parse_constant=_no_constant)
