"""The table of all checks of a token: name, errors, and a text with the compared values.

The table runs no check. `core/token_rules.py` and `core/principal.py` do, in this order; a test compares them.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..core.instance import Instance
from ..core.jose import MAX_TOKEN
from ..core.strict_json import fields
from ..core.token_rules import TokenRules
from ..errors import (
    AlgorithmRefused,
    ApiKeyToken,
    AudienceRefused,
    BadSignature,
    ClaimInvalid,
    ClaimMissing,
    ClerkmapError,
    HandshakeToken,
    HeaderRefused,
    IdToken,
    IssuerRefused,
    KeysUnavailable,
    LifetimeRefused,
    MachineToken,
    MembershipDeleted,
    OAuthToken,
    OrganizationDeleted,
    PartyRefused,
    SessionEnded,
    SessionPending,
    SessionToken,
    TemplateToken,
    TokenExpired,
    TokenIssuedInFuture,
    TokenMalformed,
    TokenNotYetValid,
    TokenTooLarge,
    TokenUnknown,
    UnknownKey,
    UnknownKind,
    UserBanned,
    UserDeleted,
    VersionUnknown,
)

MAX_SHOWN = 200  # characters of one value


@dataclass(frozen=True)
class Evidence:
    """The input of the checks: the rules, the time, and the content of the token."""

    rules: TokenRules
    now: float
    header: Mapping[str, Any]
    payload: Mapping[str, Any]

    @property
    def instance(self) -> Instance:
        """The instance of the accepted tokens."""
        return self.rules.instance

    def of_header(self, name: str) -> str:
        """Return a parameter of the header as safe text."""
        return _shown(self.header, name)

    def of_payload(self, name: str) -> str:
        """Return a claim as safe text."""
        return _shown(self.payload, name)

    @property
    def organization(self) -> str:
        """The id of the organization in the token, from a token of either version."""
        inner = fields(self.payload.get("o"))
        return _shown(inner, "id") if inner else self.of_payload("org_id")

    def time(self, name: str) -> str:
        """Return a time of the payload and its distance from now. An earlier check has made sure that it is a time."""
        if name not in self.payload:
            return "any time"
        at = int(self.payload[name])
        written = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        away = at - self.now
        return f"{written}, {_span(away)} from now" if away > 0 else f"{written}, {_span(abs(away))} ago"


@dataclass(frozen=True)
class ExplainedCheck:
    """One check: its subject, the errors that it raises, and a function that describes the compared values."""

    name: str
    about: str
    raises: tuple[type[ClerkmapError], ...]
    told: Callable[[Evidence], str]


def _told_of_time(name: str, word: str) -> Callable[[Evidence], str]:
    return lambda seen: f"The token {word} {seen.time(name)}; the clocks may differ by {seen.rules.leeway:g} s."


CHECKS: tuple[ExplainedCheck, ...] = (
    ExplainedCheck(
        "format",
        "The length of the token, its three parts and their JSON.",
        (TokenTooLarge, TokenMalformed, HeaderRefused),
        lambda seen: (
            f"A token has at most {MAX_TOKEN} characters: three parts of base64url with strict JSON. "
            "Its header has no parameter that changes the verification."
        ),
    ),
    ExplainedCheck(
        "algorithm",
        "The instance must sign with the algorithm in the header.",
        (AlgorithmRefused,),
        lambda seen: (
            f"The algorithm is {seen.of_header('alg')}; the instance signs with {_listed(seen.instance.algorithms)}."
        ),
    ),
    ExplainedCheck(
        "declared kind",
        "The kind of token in the header must be accepted.",
        (UnknownKind, TemplateToken, MachineToken, OAuthToken),
        lambda seen: (
            f"The header has typ {seen.of_header('typ')} and cat {seen.of_header('cat')}; "
            f"accepted: {_listed(seen.rules.accept)}."
        ),
    ),
    ExplainedCheck(
        "key",
        "The instance must have the key in the header.",
        (UnknownKey, KeysUnavailable),
        lambda seen: f"The key is {seen.of_header('kid')}; it must be a signing key of {seen.instance.name}.",
    ),
    ExplainedCheck(
        "signature",
        "The signature must have been made with this key.",
        (BadSignature, AlgorithmRefused),
        lambda seen: f"The signature must match the header, the payload and the key, by {seen.of_header('alg')}.",
    ),
    ExplainedCheck(
        "kind",
        "The kind of token, by its claims, must be accepted.",
        (TemplateToken, MachineToken, OAuthToken, IdToken, HandshakeToken, SessionToken),
        lambda seen: f"Clerk signs several kinds of tokens with one key; accepted: {_listed(seen.rules.accept)}.",
    ),
    ExplainedCheck(
        "issuer",
        "This instance must have issued the token.",
        (IssuerRefused,),
        lambda seen: f"The issuer is {seen.of_payload('iss')}; accepted: {_listed(seen.instance.issuers)}.",
    ),
    ExplainedCheck(
        "claims",
        "The required claims must be present and well formed.",
        (ClaimMissing, ClaimInvalid, VersionUnknown),
        lambda seen: f"The subject is {seen.of_payload('sub')}; ids, times and version must be well formed.",
    ),
    ExplainedCheck("expiry", "The token must not have expired.", (TokenExpired,), _told_of_time("exp", "expires at")),
    ExplainedCheck(
        "not before", "The token must be valid already.", (TokenNotYetValid,), _told_of_time("nbf", "is valid from")
    ),
    ExplainedCheck(
        "age",
        "The token must have been issued in the past.",
        (TokenIssuedInFuture,),
        _told_of_time("iat", "was issued at"),
    ),
    ExplainedCheck(
        "party",
        "The token must be for an authorized party.",
        (PartyRefused,),
        lambda seen: (
            f"The party is {seen.of_payload('azp')}; authorized parties: {_listed(seen.instance.parties) or 'any'}."
        ),
    ),
    ExplainedCheck(
        "audience",
        "The token must be for your API.",
        (AudienceRefused,),
        lambda seen: (
            f"The audience is {seen.of_payload('aud')}; accepted: {_listed(seen.instance.audiences) or 'none'}."
        ),
    ),
    ExplainedCheck(
        "session status",
        "The session must not be pending: the user must have finished all tasks.",
        (SessionPending,),
        lambda seen: f"The session status is {seen.of_payload('sts')}.",
    ),
    ExplainedCheck(
        "lifetime",
        "The token must expire before clerkmap forgets the end of its session.",
        (LifetimeRefused,),
        lambda seen: f"The token was issued at {seen.time('iat')}, and expires at {seen.time('exp')}.",
    ),
    ExplainedCheck(
        "user",
        "The user must be neither deleted nor banned.",
        (UserDeleted, UserBanned, MachineToken),
        lambda seen: f"{seen.of_payload('sub')} must be a user who is neither deleted nor banned.",
    ),
    ExplainedCheck(
        "session",
        "The session must not be over.",
        (SessionEnded,),
        lambda seen: f"The session {seen.of_payload('sid')} must not have been ended, removed or revoked.",
    ),
    ExplainedCheck(
        "organization",
        "The active organization must not be deleted.",
        (OrganizationDeleted,),
        lambda seen: f"The active organization, if any, must not be deleted: {seen.organization}.",
    ),
    ExplainedCheck(
        "membership",
        "The user must be a member of the active organization.",
        (MembershipDeleted,),
        lambda seen: f"The user must still be a member of the active organization: {seen.organization}.",
    ),
)
_ROWS = {row.name: row for row in CHECKS}
# From the lifetime on, the checks belong to the resolver.
KEY, SIGNATURE, LIFETIME = ([row.name for row in CHECKS].index(name) for name in ("key", "signature", "lifetime"))


# The checks of an opaque token. The answer from Clerk's API replaces the signature and the claims.
OPAQUE_CHECKS: tuple[ExplainedCheck, ...] = (
    ExplainedCheck(
        "declared kind",
        "The kind of token, by its prefix, must be accepted.",
        (MachineToken, OAuthToken, ApiKeyToken),
        lambda seen: f"The prefix shows the kind; accepted: {_listed(seen.rules.accept)}.",
    ),
    ExplainedCheck(
        "known to Clerk",
        "Clerk must know the token.",
        (TokenUnknown, TokenExpired),
        lambda seen: f"The token was looked up at {seen.instance.api_url}, now or a short time ago.",
    ),
    ExplainedCheck(
        "kind",
        "The kind of token, by Clerk's response, must be accepted.",
        (ApiKeyToken,),
        lambda seen: (
            f"API keys of users and organizations have the same prefix; accepted: {_listed(seen.rules.accept)}."
        ),
    ),
    *(_ROWS[name] for name in ("claims", "age", "audience")),
    *CHECKS[LIFETIME + 1 :],
)
WORD, OPAQUE_USER = ([row.name for row in OPAQUE_CHECKS].index(name) for name in ("known to Clerk", "user"))


def _shown(values: Mapping[str, Any], name: str) -> str:
    """Return an untrusted value, escaped so that it cannot control a terminal."""
    return json.dumps(values[name])[:MAX_SHOWN] if name in values else "nothing"


def _listed(values: Iterable[str]) -> str:
    return ", ".join(sorted(values))


def _span(seconds: float) -> str:
    for length, word in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {word}"
    return f"{seconds:.0f} s"
