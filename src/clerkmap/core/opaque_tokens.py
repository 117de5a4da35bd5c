"""Opaque tokens: API keys, and machine and OAuth tokens that are no JWT. Nothing is in them; only Clerk can tell.

What lives here knows how they look, and reads what Clerk says of one. Whoever asks Clerk is an `OpaqueSource`. Its word
is put as the claims of a token are, so that it is judged by the same rules.
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

MAX_WORD = 65_536  # characters of JSON that are kept of one answer; Clerk's have about 500
MILLISECONDS = 100_000_000_000  # as seconds this is the year 5138, as milliseconds it is 1973

_BEGINNINGS = ("ak_", "mt_", "oat_")
# Clerk documents no check digits. A secret is base64 of one alphabet or the other, padded at its end if at all.
_SHAPE = re.compile(r"(ak|mt|oat)_[0-9A-Za-z+/_-]{16,510}={0,2}", re.ASCII)
_OBJECTS: Mapping[Prefix, str] = {
    "ak": "api_key",
    "mt": "machine_to_machine_token",
    "oat": "clerk_idp_oauth_access_token",
}
# The facts of an answer that mean the same as the claims of these names. A JWT of the same grant has them, too.
_COPIED = ("client_id", "name", "claims", "aud", "act", "org_id", "org_slug", "org_role")
_LAST_SECOND = 253_402_300_799  # of the year 9999

# What a token with such a beginning may turn out to be.
KINDS: Mapping[Prefix, tuple[TokenKind, ...]] = {
    "ak": ("api_key", "organization_api_key"),
    "mt": ("m2m",),
    "oat": ("oauth",),
}


# The address that a request came from, while its token is resolved. Adapters set it where they know it.
request_source: ContextVar[str] = ContextVar("clerkmap_request_source", default="")


class Vouched(NamedTuple):
    """What Clerk says of a token, in the words of a token's claims. `exp` is how long its word counts."""

    kind: TokenKind
    payload: dict[str, Any]

    def __repr__(self) -> str:
        return f"Vouched({self.kind})"


class OpaqueSource(Protocol):
    """Who can tell what an opaque token stands for.

    All three raise `TokenUnknown` or `TokenExpired` for one that stands for nobody, and an `ApiError` where nobody can
    tell.
    """

    @property
    def instance(self) -> Instance:
        """Whose tokens."""
        ...

    def peek(self, token: str) -> Vouched | None:
        """Answer from memory. None means that only `get` can tell."""
        ...

    def get(self, token: str) -> Vouched:
        """Answer, and ask Clerk if need be."""
        ...

    async def aget(self, token: str) -> Vouched:
        """The same without holding up the event loop."""
        ...


def prefix_of(token: object) -> Prefix | None:
    """How an opaque token begins; None for what is not one, to the letter."""
    if not isinstance(token, str) or not token.startswith(_BEGINNINGS):
        return None
    if not _SHAPE.fullmatch(token):
        return None
    return "ak" if token[0] == "a" else "mt" if token[0] == "m" else "oat"


def read_word(prefix: Prefix, said: Mapping[str, Any], issuer: str, now: float, keep_for: float) -> Vouched:
    """What Clerk's answer tells of a token; or `TokenUnknown`, `TokenExpired` or `ClaimInvalid` if it stands for nobody
    who could call; or a ValueError where the answer is not one that Clerk gives."""
    if said.get("active") is False:  # with the status of success
        raise TokenUnknown
    if said.get("object") != _OBJECTS[prefix] or said.get("active", True) is not True:
        raise ValueError("it is about something else")
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
    if len(text) > MAX_WORD:
        raise ValueError("it is too long")
    return Vouched(kind, read_object(text.encode()))


def _kind(prefix: Prefix, subject: object) -> TokenKind:
    kinds = KINDS[prefix]
    if len(kinds) == 1:
        return kinds[0]
    for kind, beginning in zip(kinds, ("user_", "org_"), strict=True):
        if isinstance(subject, str) and subject.startswith(beginning):
            return kind
    raise ClaimInvalid("sub is neither a Clerk user nor a Clerk organization")


def _flag(said: Mapping[str, Any], name: str) -> bool:
    value = said[name]
    if type(value) is not bool:
        raise ValueError("a flag is neither true nor false")
    return value


def _seconds(value: object) -> float:
    """A time, which Clerk writes in milliseconds, and in places in seconds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("a time is no number")
    seconds = value / 1000 if value > MILLISECONDS else float(value)
    if not 0 < seconds <= _LAST_SECOND:
        raise ValueError("a time is out of range")
    return seconds
