"""Opaque tokens: API keys, and machine and OAuth tokens that are not JWTs. Only Clerk knows their claims.

This module recognizes them and reads Clerk's response about one. An `OpaqueSource` sends the request. The response
becomes the claims of a token, so that the same rules apply.
"""

import json
import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple, Protocol

from ..errors import ClaimInvalid, TokenExpired, TokenUnknown
from .claims import TokenKind
from .instance import Instance
from .strict_json import items, read_object

Prefix = Literal["ak", "mt", "oat"]

MAX_ANSWER = 65_536  # characters of JSON kept of one response; Clerk's have about 500
MILLISECONDS = 100_000_000_000  # as seconds this is the year 5138, as milliseconds it is 1973

_BEGINNINGS = ("ak_", "mt_", "oat_")
# Clerk documents no check digits. The secret is base64 or base64url, perhaps padded.
_SHAPE = re.compile(r"(ak|mt|oat)_[0-9A-Za-z+/_-]{16,510}={0,2}", re.ASCII)
_OBJECTS: Mapping[Prefix, str] = {
    "ak": "api_key",
    "mt": "machine_to_machine_token",
    "oat": "clerk_idp_oauth_access_token",
}
# The fields of a response that are claims of the same name in a JWT of the same grant.
_COPIED = ("client_id", "name", "claims", "aud", "act", "org_id", "org_slug", "org_role")
_LAST_SECOND = 253_402_300_799  # of the year 9999

# The kinds of token that have each prefix.
KINDS: Mapping[Prefix, tuple[TokenKind, ...]] = {
    "ak": ("api_key", "organization_api_key"),
    "mt": ("m2m",),
    "oat": ("oauth",),
}


# The client's address while its token is resolved. Adapters set it if they know it.
request_source: ContextVar[str] = ContextVar("clerkmap_request_source", default="")


class Vouched(NamedTuple):
    """Clerk's statement about a token, as claims. It may be cached until `exp`."""

    kind: TokenKind
    payload: dict[str, Any]

    def __repr__(self) -> str:
        return f"Vouched({self.kind})"


class OpaqueSource(Protocol):
    """A source of the claims of opaque tokens.

    All methods raise `TokenUnknown` or `TokenExpired` for a token that is not valid, and `ApiError` without an answer
    from Clerk.
    """

    @property
    def instance(self) -> Instance:
        """The instance of the tokens."""
        ...

    def peek(self, token: str) -> Vouched | None:
        """Return the claims from memory, or None if only `get` can find them."""
        ...

    def get(self, token: str) -> Vouched:
        """Return the claims, after a request to Clerk if necessary."""
        ...

    async def aget(self, token: str) -> Vouched:
        """Return the claims, after a request to Clerk if necessary, without blocking the event loop."""
        ...


def prefix_of(token: object) -> Prefix | None:
    """Return the prefix of an opaque token, or None if the text is not exactly one."""
    if not isinstance(token, str) or not token.startswith(_BEGINNINGS):
        return None
    if not _SHAPE.fullmatch(token):
        return None
    return "ak" if token[0] == "a" else "mt" if token[0] == "m" else "oat"


def read_answer(prefix: Prefix, said: Mapping[str, Any], issuer: str, now: float, keep_for: float) -> Vouched:
    """Return the claims in Clerk's response about a token.

    Raise `TokenUnknown`, `TokenExpired` or `ClaimInvalid` if the token gives no access, and ValueError for a response
    that Clerk never sends.
    """
    if said.get("active") is False:  # with the status of success
        raise TokenUnknown
    if said.get("object") != _OBJECTS[prefix] or said.get("active", True) is not True:
        raise ValueError("the response has another object")
    revoked, expired = _flag(said, "revoked"), _flag(said, "expired")
    made, expiration = _seconds(said["created_at"]), said["expiration"]
    ends = _LAST_SECOND if expiration is None else _seconds(expiration)
    if revoked:
        raise TokenUnknown
    if expired or ends <= now:
        raise TokenExpired
    kind = _kind(prefix, said["subject"])
    payload: dict[str, Any] = {
        "iss": issuer,
        "sub": said["subject"],
        "iat": int(made),
        "exp": int(min(ends, now + keep_for)),
        "jti": said["id"],
    }
    if said.get("scopes") is not None:
        scopes = [each for each in items(said["scopes"]) if type(each) is str]
        payload["scp" if prefix == "oat" else "scopes"] = scopes
    payload |= {name: said[name] for name in _COPIED if said.get(name) is not None}
    text = json.dumps(payload)
    if len(text) > MAX_ANSWER:
        raise ValueError("the response is too long")
    return Vouched(kind, read_object(text.encode()))


def _kind(prefix: Prefix, subject: object) -> TokenKind:
    kinds = KINDS[prefix]
    if len(kinds) == 1:
        return kinds[0]
    for kind, beginning in zip(kinds, ("user_", "org_"), strict=True):
        if isinstance(subject, str) and subject.startswith(beginning):
            return kind
    raise ClaimInvalid("sub must be the id of a Clerk user or organization")


def _flag(said: Mapping[str, Any], name: str) -> bool:
    value = said[name]
    if type(value) is not bool:
        raise ValueError("a flag must be true or false")
    return value


def _seconds(value: object) -> float:
    """Return a time in seconds. Clerk writes milliseconds in most responses, and seconds in some."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("a time must be a number")
    seconds = value / 1000 if value > MILLISECONDS else float(value)
    if not 0 < seconds <= _LAST_SECOND:
        raise ValueError("a time is out of range")
    return seconds
