"""Strict reading of a compact JWS. What lives here trusts nothing and decides nothing.

The same bytes have exactly one spelling that is read, so that two readers of one token never see two people in it. A
token's text is still no identifier: an ECDSA signature (r, s) has a twin (r, n - s) that verifies as well. Whatever is
remembered under a text must follow from the claims, as it does in the resolver. All limits on the content of a token
stand in this file.
"""

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import HeaderRefused, TokenMalformed, TokenTooLarge
from .strict_json import read_object

MAX_TOKEN = 8192  # a browser stores no cookie over 4 KiB; servers commonly stop reading headers at 8
MAX_PARAMETER = 200  # of a key id, the longest text a header has

# A token of ours never carries these: keys to be fetched or trusted, packing, other signing rules, other contents.
_FORBIDDEN = frozenset(
    {"jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "cty", "enc", "epk", "p2c"}
)

# When Clerk last looked up the session, as a parameter of its tokens' headers. Any number like this can stand there.
_OIAT = re.compile(rb'"oiat":[1-9][0-9]{0,11}(?=[,}])')

# base64url, translated for a decoder of base64. "+", "/" and "=" become a character that no alphabet has.
_ALPHABET = bytes.maketrans(b"-_+/=", b"+/***")
# A last character that carries unused bits must have them at zero, or the same bytes have several spellings.
_ENDS = {0: (None, b""), 2: (frozenset(b"AQgw"), b"=="), 3: (frozenset(b"AEIMQUYcgkosw048"), b"=")}


class UnverifiedToken(NamedTuple):
    """A token as it is written. Nothing in it is proven."""

    header_key: bytes
    header: Mapping[str, Any]
    payload: dict[str, Any]
    signed: bytes
    signature: bytes

    def __repr__(self) -> str:
        return "UnverifiedToken()"


def read_token(token: str, known_headers: Mapping[bytes, Mapping[str, Any]]) -> UnverifiedToken:
    """Take a compact JWS apart, or raise `TokenMalformed`.

    `known_headers` are headers that were read before, by their `header_key`: all tokens of one key share one, but for
    the `oiat` of session tokens. That is a time of the session which nothing here reads, so it is left out of the key,
    and the header of such a token may show the `oiat` of another.
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


def _read_object(part: bytes) -> dict[str, Any]:
    try:
        return read_object(decode_base64url(part))
    except ValueError as fault:
        raise TokenMalformed(str(fault)) from None
