"""Strict reading of a compact JWS, before its signature is checked.

Each token has exactly one accepted spelling, so that two readers always see the same user in it. The text of a token is
still no identifier: an ECDSA signature (r, s) has a twin (r, n - s) that verifies as well. A cache that is keyed by the
text must only hold values that follow from the claims. This file has all limits on the content of a token.
"""

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import HeaderRefused, TokenMalformed, TokenTooLarge
from .strict_json import read_object

MAX_TOKEN = 8192  # browsers store cookies of up to 4 KiB; most servers read headers of up to 8 KiB
MAX_PARAMETER = 200  # of a key id, the longest text a header has

# Clerk's tokens never have these: they name other keys, compression, other signing rules or other contents.
_FORBIDDEN = frozenset(
    {"jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "cty", "enc", "epk", "p2c"}
)

# `oiat`, a header parameter of Clerk's session tokens, is the time when Clerk last read the session.
_OIAT = re.compile(rb'"oiat":[1-9][0-9]{0,11}(?=[,}])')

# base64url, translated for a decoder of base64. "+", "/" and "=" become a character that no alphabet has.
_ALPHABET = bytes.maketrans(b"-_+/=", b"+/***")
# The unused bits of the last character must be zero. Otherwise the same bytes would have several spellings.
_ENDS = {0: (None, b""), 2: (frozenset(b"AQgw"), b"=="), 3: (frozenset(b"AEIMQUYcgkosw048"), b"=")}


class UnverifiedToken(NamedTuple):
    """The parts of a token with an unchecked signature."""

    header_key: bytes
    header: Mapping[str, Any]
    payload: dict[str, Any]
    signed: bytes
    signature: bytes

    def __repr__(self) -> str:
        return "UnverifiedToken()"


def read_token(token: str, known_headers: Mapping[bytes, Mapping[str, Any]]) -> UnverifiedToken:
    """Split and decode a compact JWS, or raise `TokenMalformed`.

    `known_headers` has the headers of earlier tokens by their `header_key`. All tokens of one key share a header,
    except for the `oiat` of session tokens. No check reads `oiat`, so `header_key` leaves it out, and a header from
    `known_headers` may have the `oiat` of another token.
    """
    if not isinstance(token, str):
        raise TokenMalformed("a token must be a string")
    if len(token) > MAX_TOKEN:
        raise TokenTooLarge(f"it has more than {MAX_TOKEN} characters")
    try:
        raw = token.encode("ascii")
    except UnicodeEncodeError:
        raise TokenMalformed("it has a character that tokens never have") from None
    parts = raw.split(b".", 3)
    if len(parts) != 3:
        raise TokenMalformed("a token must have three parts")
    key = parts[0]
    header = known_headers.get(key)
    if header is None:
        written = decode_base64url(key)
        time = _OIAT.search(written)
        if time is not None:  # the brace is in no base64url, so that this is no encoded header
            key = b"{" + written[: time.start()] + written[time.end() :]
            header = known_headers.get(key)
        if header is None:
            header = _read_header(written)
    payload = _read_object(parts[1])
    return UnverifiedToken(key, header, payload, raw[: -len(parts[2]) - 1], decode_base64url(parts[2]))


def _read_header(written: bytes) -> dict[str, Any]:
    try:
        header = read_object(written)
    except ValueError as fault:
        raise TokenMalformed(str(fault)) from None
    for name, value in header.items():
        if name in _FORBIDDEN:
            raise HeaderRefused("it has a parameter that tokens of this instance never have")
        if isinstance(value, (dict, list)):
            raise HeaderRefused("a parameter must not be an object or a list")
    for name in ("kid", "typ", "cat"):
        value = header.get(name, "")
        if not isinstance(value, str) or len(value) > MAX_PARAMETER or not (value.isascii() and value.isprintable()):
            raise HeaderRefused(f"{name} must be short printable ASCII text")
    return header


def decode_base64url(text: bytes) -> bytes:
    """Decode unpadded, canonical base64url, or raise `TokenMalformed`."""
    if not text or len(text) % 4 == 1:
        raise TokenMalformed("a part has a length that base64url cannot have")
    last, padding = _ENDS[len(text) % 4]
    if last is not None and text[-1] not in last:
        raise TokenMalformed("a part is not canonical base64url")
    try:
        return a2b_base64(text.translate(_ALPHABET) + padding, strict_mode=True)
    except Base64Error:
        raise TokenMalformed("a part is not base64url") from None


def _read_object(part: bytes) -> dict[str, Any]:
    try:
        return read_object(decode_base64url(part))
    except ValueError as fault:
        raise TokenMalformed(str(fault)) from None
