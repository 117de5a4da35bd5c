"""The checks of a token, in a fixed order. The first check that fails names the refusal.

    1  read     the header, the spelling, the algorithm, the kind in the header      (nothing is proven yet)
    2  key      the instance's key with the token's key id
    3  sign     the signature
    4  kind     the kind in the claims
    5  claims   the issuer; types and ranges
    6  time     expired, not yet valid, from the future
    7  us       the party, the audience, the state of the session

A refusal before step 4 says nothing about the claims. Clerk signs several kinds of token with one key, so a valid
signature alone makes no session.
"""

from collections.abc import Collection, Generator, Mapping
from copy import copy
from typing import Any, cast

from ..errors import (
    AlgorithmRefused,
    ApiKeyToken,
    AudienceRefused,
    BadSignature,
    ConfigurationError,
    HandshakeToken,
    IdToken,
    IssuerRefused,
    MachineToken,
    OAuthToken,
    PartyRefused,
    SessionPending,
    SessionToken,
    TemplateToken,
    TokenExpired,
    TokenIssuedInFuture,
    TokenNotYetValid,
    UnknownKey,
    UnknownKind,
)
from .claims import Claims, Profile, ProfilePaths, TokenKind, is_of_client, read_claims
from .instance import Instance
from .jose import UnverifiedToken, read_token
from .keys import VerifyingKey
from .opaque_tokens import KINDS, Prefix, Vouched
from .strict_json import items
from .validation import check_url, strings

# The header `cat` is the only difference between some kinds of Clerk's tokens.
SESSION_CATEGORY = "cl_B7d4PD111AAA"
TEMPLATE_CATEGORY = "cl_B7d4PD222AAA"
MACHINE_CATEGORY = "cl_B7d4PD333AAA"
UNTAGGED_CATEGORY = "cl_I7d4PD111III"  # of instances without tagging: it names no kind

MAX_HEADERS = 64  # an instance's tokens have one header for each kind and key

_ACCESS_TOKEN_TYPES = ("at+jwt", "application/at+jwt")
_REFUSALS = {
    "session": SessionToken,
    "oauth": OAuthToken,
    "m2m": MachineToken,
    "api_key": ApiKeyToken,
    "organization_api_key": ApiKeyToken,
    "oidc": UnknownKind,
    "oidc_machine": MachineToken,
}

# The kinds of token that a verifier can accept. The first of each is the default.
CLERK_KINDS: tuple[TokenKind, ...] = ("session", "oauth", "m2m", "api_key", "organization_api_key")
OIDC_KINDS: tuple[TokenKind, ...] = ("oidc", "oidc_machine")
KeyWanted = tuple[str | None, VerifyingKey | None]


class TokenRules:
    """The rules of one verifier.

    `check` is a generator that sync and async verifiers share. It yields a key id (and the key that did not match, the
    second time), receives a key, and returns claims.
    """

    def __init__(
        self,
        instance: Instance,
        *,
        accept: Collection[TokenKind] | None = None,
        leeway: float = 5,
        allow_pending: bool = False,
        allow_no_party: bool = False,
        own_id: str | None = None,
        profile: Mapping[str, str] | None = None,
    ) -> None:
        if type(leeway) not in (int, float) or not 0 <= leeway <= 60:
            raise ConfigurationError("leeway must be a number of seconds from 0 to 60")
        if type(allow_pending) is not bool or type(allow_no_party) is not bool:
            raise ConfigurationError("allow_pending and allow_no_party must be True or False")
        possible = CLERK_KINDS if instance.is_clerk else OIDC_KINDS
        wanted = possible[:1] if accept is None else strings("accept", accept)
        if not wanted or not set(wanted) <= set(possible):
            raise ConfigurationError(f"accept must be one or more of: {', '.join(possible)}")
        self.own_id_at: tuple[str, ...] = () if own_id is None else _path("own_id", own_id)
        self.profile_at: ProfilePaths = () if profile is None else _profile_paths(profile)
        self.instance: Instance = instance
        self.accept: frozenset[str] = frozenset(wanted)
        self.leeway: float = leeway
        # All of Clerk's tokens have a key id. A key from `jwt_key` has no id to compare with.
        self._wants_kid = instance.is_clerk and instance.jwt_key is None
        self._allow_pending = allow_pending
        self._allow_no_party = allow_no_party
        self._resource: str | None = None
        self._allow_no_audience = False
        # The headers of verified tokens, and the kind of each: all tokens of one key share a header.
        self._headers: dict[bytes, Mapping[str, Any]] = {}
        self._kinds: dict[bytes, TokenKind | None] = {}

    def for_resource(self, resource: str, *, allow_no_audience: bool) -> "TokenRules":
        """Return rules for the tokens of one resource (RFC 8707). The resource's URL replaces the audience.

        This affects access tokens: `oauth`, and the tokens of an OpenID provider.
        """
        check_url("resource", resource)
        if type(allow_no_audience) is not bool:
            raise ConfigurationError("allow_no_audience must be True or False")
        if allow_no_audience and not self.instance.is_clerk:
            raise ConfigurationError(
                "allow_no_audience is for Clerk only: tokens of other providers must have an audience"
            )
        bound = copy(self)
        bound._resource = _without_query(resource)
        bound._allow_no_audience = allow_no_audience
        return bound

    def check(self, token: str, now: float) -> Generator[KeyWanted, VerifyingKey, Claims]:
        """Run steps 1 to 7."""
        unverified = read_token(token, self._headers)
        header_key = unverified.header_key
        known = header_key in self._kinds
        header_kind = self._kinds[header_key] if known else self._kind_in_header(unverified)
        kid = unverified.header.get("kid")
        if kid is None and self._wants_kid:
            raise UnknownKey
        key = yield kid, None
        if not self._is_signed_with(unverified, key):
            newer = yield kid, key
            if newer is key or not self._is_signed_with(unverified, newer):
                raise BadSignature
        if not known and len(self._headers) < MAX_HEADERS:
            # After the signature, so that forged tokens cannot fill the caches.
            self._kinds[header_key] = header_kind
            self._headers[header_key] = unverified.header
        return self._check_claims(self._kind_in_claims(unverified, header_kind), unverified.payload, now)

    def check_prefix(self, prefix: Prefix) -> None:
        """Refuse an opaque token before a request to Clerk if no kind with this prefix is accepted."""
        if self.accept.isdisjoint(KINDS[prefix]):
            raise _REFUSALS[KINDS[prefix][0]]

    def check_vouched(self, vouched: Vouched, now: float) -> Claims:
        """Run steps 4 to 7 for an opaque token, with Clerk's statement as its claims."""
        return self._check_claims(vouched.kind, vouched.payload, now)

    def _check_claims(self, kind: TokenKind, payload: dict[str, Any], now: float) -> Claims:
        claims = self._read_claims(self._refuse_unless_accepted(kind), payload)
        self._check_time(claims, now)
        self._check_party_and_audience(claims, payload)
        return claims

    def _is_signed_with(self, unverified: UnverifiedToken, key: VerifyingKey) -> bool:
        if unverified.header["alg"] != key.algorithm:
            raise AlgorithmRefused
        return key.verifies(unverified.signed, unverified.signature)

    def _kind_in_header(self, unverified: UnverifiedToken) -> TokenKind | None:
        """Return the kind that the header names, or None. Refuse a kind that is not accepted."""
        header = unverified.header
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self.instance.algorithms:
            raise AlgorithmRefused
        typ = header.get("typ", "JWT")
        category = header.get("cat", UNTAGGED_CATEGORY)
        if not self.instance.is_clerk:
            if typ != "JWT" and typ not in _ACCESS_TOKEN_TYPES:
                raise UnknownKind
            return "oidc"
        if typ in _ACCESS_TOKEN_TYPES:
            return self._refuse_unless_accepted("oauth")
        if typ != "JWT":
            raise UnknownKind
        if category == TEMPLATE_CATEGORY:
            raise TemplateToken
        if category == MACHINE_CATEGORY:
            return self._refuse_unless_accepted("m2m")
        if category not in (SESSION_CATEGORY, UNTAGGED_CATEGORY):
            raise UnknownKind
        return "session" if category == SESSION_CATEGORY else None

    def _kind_in_claims(self, unverified: UnverifiedToken, named: TokenKind | None) -> TokenKind:
        """Return the kind that the claims show. The header may name none, or a wrong one."""
        payload = unverified.payload
        if named == "oidc":
            return "oidc_machine" if is_of_client(payload) else "oidc"
        if named in ("oauth", "m2m"):
            return named
        if "handshake" in payload and "sub" not in payload:
            raise HandshakeToken
        subject = payload.get("sub")
        if isinstance(subject, str) and subject.startswith("mch_"):
            # Old machine tokens have no category. A machine token with another category is refused.
            if "cat" in unverified.header:
                raise MachineToken
            return "m2m"
        if "client_id" in payload:
            raise OAuthToken
        if "sid" not in payload:
            raise IdToken if "aud" in payload else TemplateToken
        return "session"

    def _refuse_unless_accepted(self, kind: TokenKind) -> TokenKind:
        if kind not in self.accept:
            raise _REFUSALS[kind]
        return kind

    def _read_claims(self, kind: TokenKind, payload: dict[str, Any]) -> Claims:
        issuer = payload.get("iss")
        if not isinstance(issuer, str) or issuer not in self.instance.issuers:
            raise IssuerRefused
        return read_claims(kind, self.instance.name, payload, self.own_id_at, self.profile_at)

    def _check_time(self, claims: Claims, now: float) -> None:
        if claims.expires_at + self.leeway <= now:
            raise TokenExpired
        if claims.not_before is not None and claims.not_before - self.leeway > now:
            raise TokenNotYetValid
        if claims.issued_at - self.leeway > now:
            raise TokenIssuedInFuture

    def _check_party_and_audience(self, claims: Claims, payload: Mapping[str, Any]) -> None:
        instance = self.instance
        if instance.parties and claims.kind in ("session", *OIDC_KINDS):
            excused = claims.party is None and self._allow_no_party
            if claims.party not in instance.parties and not excused:
                raise PartyRefused
        audience = payload.get("aud")
        if self._resource is not None and claims.kind in ("oauth", *OIDC_KINDS):
            self._check_resource(audience, self._resource)
        # An API key belongs to the whole instance and has no audience.
        elif (instance.audiences or audience is not None) and claims.kind not in KINDS["ak"]:
            self._check_audience(claims, audience)
        if claims.pending and not self._allow_pending:
            raise SessionPending

    def _check_resource(self, audience: object, resource: str) -> None:
        if audience is None and self._allow_no_audience:
            return
        if resource not in map(_without_query, _listed(audience)):
            raise AudienceRefused("it was made for another resource")

    def _check_audience(self, claims: Claims, audience: object) -> None:
        listed = _listed(audience)
        if claims.kind == "m2m":
            # A machine token may have its audience in its scopes: the ids of the machines that it may call.
            if self.instance.audiences and self.instance.audiences.isdisjoint((*listed, *claims.scopes)):
                raise AudienceRefused
        elif self.instance.audiences.isdisjoint(listed):
            raise AudienceRefused


def _listed(audience: object) -> list[str]:
    """Return the audiences in a token. Raise if the claim is present, but names none."""
    listed = [audience] if isinstance(audience, str) else items(audience)
    if not all(isinstance(each, str) for each in listed) or (audience is not None and not listed):
        raise AudienceRefused
    return listed


def _without_query(url: str) -> str:
    """Return a resource's URL without its query and its last slash, for comparison."""
    return url.partition("?")[0].removesuffix("/")


def _path(option: str, claim: object) -> tuple[str, ...]:
    """Return the path of names that leads to a claim."""
    path = tuple(claim.split(".")) if isinstance(claim, str) else ("",)
    if not all(path) or path[0] == "unsafe_metadata":  # users write their own unsafe_metadata
        raise ConfigurationError(f"{option} must be the name of a custom claim, such as userId or metadata.userId")
    return path


def _profile_paths(profile: object) -> ProfilePaths:
    """Return the path of the claim for each field. A full name is stored as the first name: see `Verifier`."""
    claims: Mapping[object, object] = {}
    if isinstance(profile, Mapping):
        claims = cast(Mapping[object, object], profile)
    known = (*Profile._fields, "name")
    if not claims or not set(claims) <= set(known):
        raise ConfigurationError(
            f"profile must be a dictionary from one or more of {', '.join(known)} to the names of custom claims"
        )
    if "name" in claims and not claims.keys().isdisjoint(("first_name", "last_name")):
        raise ConfigurationError("profile must have name, or first_name and last_name, and not both")
    fields = [("first_name" if field == "name" else str(field), claim) for field, claim in claims.items()]
    return tuple((field, _path(f"profile[{field!r}]", claim)) for field, claim in fields)
