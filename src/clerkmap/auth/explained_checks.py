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
    return lambda seen: f"It {word} {seen.time(name)}; the two clocks may differ by {seen.rules.leeway:g} s."


CHECKS: tuple[ExplainedCheck, ...] = (
    ExplainedCheck(
        "spelling",
        "Its length, its three parts, and the JSON in them.",
        (TokenTooLarge, TokenMalformed, HeaderRefused),
        lambda seen: (
            f"It must be three parts of base64url and strict JSON, at most {MAX_TOKEN} characters, "
            "and its header may ask for nothing out of the ordinary."
        ),
    ),
    ExplainedCheck(
        "algorithm",
        "Whether the instance signs with that algorithm.",
        (AlgorithmRefused,),
        lambda seen: f"It says {seen.of_header('alg')}; the instance signs with {_listed(seen.instance.algorithms)}.",
    ),
    ExplainedCheck(
        "named kind",
        "The kind of token that its header names, if it names one.",
        (UnknownKind, TemplateToken, MachineToken, OAuthToken),
        lambda seen: (
            f"Its header says typ {seen.of_header('typ')} and cat {seen.of_header('cat')}; "
            f"accepted: {_listed(seen.rules.accept)}."
        ),
    ),
    ExplainedCheck(
        "key",
        "Whether the instance has the key that the header names.",
        (UnknownKey, KeysUnavailable),
        lambda seen: f"It names the key {seen.of_header('kid')}, to be found among those of {seen.instance.name}.",
    ),
    ExplainedCheck(
        "signature",
        "Whether that key made the signature.",
        (BadSignature, AlgorithmRefused),
        lambda seen: (
            f"The signature must be that key's, over this very header and payload, by {seen.of_header('alg')}."
        ),
    ),
    ExplainedCheck(
        "shown kind",
        "The kind of token that its claims show.",
        (TemplateToken, MachineToken, OAuthToken, IdToken, HandshakeToken, SessionToken),
        lambda seen: f"Several kinds are signed with one key; accepted: {_listed(seen.rules.accept)}.",
    ),
    ExplainedCheck(
        "issuer",
        "Whether this instance issued it.",
        (IssuerRefused,),
        lambda seen: f"It was issued by {seen.of_payload('iss')}; accepted: {_listed(seen.instance.issuers)}.",
    ),
    ExplainedCheck(
        "claims",
        "Whether each claim that decides something is there, and can be true.",
        (ClaimMissing, ClaimInvalid, VersionUnknown),
        lambda seen: f"It speaks for {seen.of_payload('sub')}; ids, times and version must be well formed.",
    ),
    ExplainedCheck("expiry", "Whether it has expired.", (TokenExpired,), _told_of_time("exp", "expires at")),
    ExplainedCheck("beginning", "Whether it is valid yet.", (TokenNotYetValid,), _told_of_time("nbf", "is valid from")),
    ExplainedCheck(
        "age", "Whether it was made in the past.", (TokenIssuedInFuture,), _told_of_time("iat", "was made at")
    ),
    ExplainedCheck(
        "party",
        "Whether it was made for a front end of yours.",
        (PartyRefused,),
        lambda seen: (
            f"It was made for {seen.of_payload('azp')}; authorized parties: {_listed(seen.instance.parties) or 'any'}."
        ),
    ),
    ExplainedCheck(
        "audience",
        "Whether it was made for your API.",
        (AudienceRefused,),
        lambda seen: (
            f"Its audience is {seen.of_payload('aud')}; accepted: {_listed(seen.instance.audiences) or 'none'}."
        ),
    ),
    ExplainedCheck(
        "session's state",
        "Whether the person has anything left to do before the session counts.",
        (SessionPending,),
        lambda seen: f"The session's state is {seen.of_payload('sts')}.",
    ),
    ExplainedCheck(
        "lifetime",
        "Whether it expires before the end of its session may be forgotten.",
        (LifetimeRefused,),
        lambda seen: f"It was made at {seen.time('iat')}, and expires at {seen.time('exp')}.",
    ),
    ExplainedCheck(
        "user",
        "Whether the person has been deleted or banned.",
        (UserDeleted, UserBanned, MachineToken),
        lambda seen: f"{seen.of_payload('sub')} must be neither deleted nor banned, and no machine.",
    ),
    ExplainedCheck(
        "session",
        "Whether the session is over.",
        (SessionEnded,),
        lambda seen: f"The session {seen.of_payload('sid')} must not have been ended, removed or revoked.",
    ),
    ExplainedCheck(
        "organization",
        "Whether the organization in the token has been deleted.",
        (OrganizationDeleted,),
        lambda seen: f"The organization in the token, if there is one, must still be there: {seen.organization}.",
    ),
    ExplainedCheck(
        "membership",
        "Whether the person is still a member of it.",
        (MembershipDeleted,),
        lambda seen: f"The person must still be in the organization in the token: {seen.organization}.",
    ),
)
_ROWS = {row.name: row for row in CHECKS}
# From the lifetime on, the checks belong to the resolver.
KEY, SIGNATURE, LIFETIME = ([row.name for row in CHECKS].index(name) for name in ("key", "signature", "lifetime"))


# The checks of an opaque token. The answer from Clerk's API replaces the signature and the claims.
OPAQUE_CHECKS: tuple[ExplainedCheck, ...] = (
    ExplainedCheck(
        "named kind",
        "The kind of token that its beginning names.",
        (MachineToken, OAuthToken, ApiKeyToken),
        lambda seen: f"Its first letters say what it is; accepted: {_listed(seen.rules.accept)}.",
    ),
    ExplainedCheck(
        "Clerk's word",
        "Whether Clerk knows it.",
        (TokenUnknown, TokenExpired),
        lambda seen: f"Clerk was asked at {seen.instance.api_url}, or has been lately, what it stands for.",
    ),
    ExplainedCheck(
        "shown kind",
        "The kind of token that it is by Clerk's word.",
        (ApiKeyToken,),
        lambda seen: f"A person's key and an organization's begin alike; accepted: {_listed(seen.rules.accept)}.",
    ),
    *(_ROWS[name] for name in ("claims", "age", "audience")),
    *CHECKS[LIFETIME + 1 :],
)
WORD, OPAQUE_USER = ([row.name for row in OPAQUE_CHECKS].index(name) for name in ("Clerk's word", "user"))


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
