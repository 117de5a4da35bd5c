"""The checks a token goes through, in their order. The order is a promise: the first that fails names the refusal.

    1  read     its header, its spelling, its algorithm, the kind its header names      (nothing is proven yet)
    2  key      the instance's key of that id
    3  sign     the signature
    4  kind     the kind its claims show
    5  claims   the issuer; types and ranges
    6  time     expired, not yet, from the future
    7  us       the party, the audience, the session's state

Nothing about the claims is told to anybody who could not have signed them. Several kinds of token are signed with one
key, so a good signature alone never makes a session.
"""

from collections.abc import Collection, Generator, Mapping
from copy import copy
from typing import Any

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
from .claims import Claims, TokenKind, is_of_client, read_claims
from .instance import Instance
from .jose import UnverifiedToken, read_token
from .keys import VerifyingKey
from .opaque_tokens import KINDS, Prefix, Vouched
from .strict_json import items
from .validation import check_url, strings

# The protected header `cat`: the only mark that tells some kinds of Clerk's tokens apart.
SESSION_CATEGORY = "cl_B7d4PD111AAA"
TEMPLATE_CATEGORY = "cl_B7d4PD222AAA"
MACHINE_CATEGORY = "cl_B7d4PD333AAA"
UNTAGGED_CATEGORY = "cl_I7d4PD111III"  # of instances with tagging turned off: says nothing

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

# The kinds of token that can be accepted; the first of each is, unless others are asked for.
CLERK_KINDS: tuple[TokenKind, ...] = ("session", "oauth", "m2m", "api_key", "organization_api_key")
OIDC_KINDS: tuple[TokenKind, ...] = ("oidc", "oidc_machine")
KeyWanted = tuple[str | None, VerifyingKey | None]


class TokenRules:
    """What one verifier demands of a token.

    `check` is the whole procedure as a generator: it yields the key it wants (an id, and perhaps a key that did not
    fit), is sent a key, and returns claims. Whoever drives it decides how keys are had, and in which colour.
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
    ) -> None:
        if type(leeway) not in (int, float) or not 0 <= leeway <= 60:
            raise ConfigurationError("leeway must be from 0 to 60 seconds")
        if type(allow_pending) is not bool or type(allow_no_party) is not bool:
            raise ConfigurationError("allow_pending and allow_no_party are True or False")
        possible = CLERK_KINDS if instance.is_clerk else OIDC_KINDS
        wanted = possible[:1] if accept is None else strings("accept", accept)
        if not wanted or not set(wanted) <= set(possible):
            raise ConfigurationError(f"accept must be some of: {', '.join(possible)}")
        self.own_id_at: tuple[str, ...] = _path(own_id)
        self.instance: Instance = instance
        self.accept: frozenset[str] = frozenset(wanted)
        self.leeway: float = leeway
        # All tokens of Clerk's name their key. A key that was pasted has no name to compare with.
        self._wants_kid = instance.is_clerk and instance.jwt_key is None
        self._allow_pending = allow_pending
        self._allow_no_party = allow_no_party
        self._resource: str | None = None
        self._allow_no_audience = False
        # Headers that were signed, and the kind each names: all tokens of one key share one.
        self._headers: dict[bytes, Mapping[str, Any]] = {}
        self._kinds: dict[bytes, TokenKind | None] = {}

    def for_resource(self, resource: str, *, allow_no_audience: bool) -> "TokenRules":
        """Return the same rules for the tokens of one resource (RFC 8707), whose URL takes the place of the audience.

        It concerns access tokens: `oauth`, and those of an OpenID provider.
        """
        check_url("resource", resource)
        if type(allow_no_audience) is not bool:
            raise ConfigurationError("allow_no_audience is True or False")
        if allow_no_audience and not self.instance.is_clerk:
            raise ConfigurationError("allow_no_audience is for Clerk: a token of an OpenID provider must name one")
        bound = copy(self)
        bound._resource = _without_query(resource)
        bound._allow_no_audience = allow_no_audience
        return bound

    def check(self, token: str, now: float) -> Generator[KeyWanted, VerifyingKey, Claims]:
        """Steps 1 to 7."""
        unverified = read_token(token, self._headers)
        header_key = unverified.header_key
        known = header_key in self._kinds
        header_kind = self._kinds[header_key] if known else self._kind_in_header(unverified)
        kid = unverified.header.get("kid")
        if kid is None and self._wants_kid:
            raise UnknownKey
        key = yield kid, None
        if not self._signed(unverified, key):
            newer = yield kid, key
            if newer is key or not self._signed(unverified, newer):
                raise BadSignature
        if not known and len(self._headers) < MAX_HEADERS:
            # Only now: a stranger must not fill these.
            self._kinds[header_key] = header_kind
            self._headers[header_key] = unverified.header
        return self._judge(self._kind_in_claims(unverified, header_kind), unverified.payload, now)

    def check_prefix(self, prefix: Prefix) -> None:
        """Refuse an opaque token, before anybody is asked about it, if none of the kinds is accepted that it may be."""
        if self.accept.isdisjoint(KINDS[prefix]):
            raise _REFUSALS[KINDS[prefix][0]]

    def check_vouched(self, vouched: Vouched, now: float) -> Claims:
        """Steps 4 to 7, of an opaque token: Clerk itself has told what stands in the place of its claims."""
        return self._judge(vouched.kind, vouched.payload, now)

    def _judge(self, kind: TokenKind, payload: dict[str, Any], now: float) -> Claims:
        claims = self._claims(self._accepted(kind), payload)
        self._check_time(claims, now)
        self._check_purpose(claims, payload)
        return claims

    def _signed(self, unverified: UnverifiedToken, key: VerifyingKey) -> bool:
        if unverified.header["alg"] != key.algorithm:
            raise AlgorithmRefused
        return key.verifies(unverified.signed, unverified.signature)

    def _kind_in_header(self, unverified: UnverifiedToken) -> TokenKind | None:
        """The kind the header names, if it does; refused at once if that is none of ours."""
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
            return self._accepted("oauth")
        if typ != "JWT":
            raise UnknownKind
        if category == TEMPLATE_CATEGORY:
            raise TemplateToken
        if category == MACHINE_CATEGORY:
            return self._accepted("m2m")
        if category not in (SESSION_CATEGORY, UNTAGGED_CATEGORY):
            raise UnknownKind
        return "session" if category == SESSION_CATEGORY else None

    def _kind_in_claims(self, unverified: UnverifiedToken, named: TokenKind | None) -> TokenKind:
        """The kind the claims show, where the header names none or could be wearing another's mark."""
        payload = unverified.payload
        if named == "oidc":
            return "oidc_machine" if is_of_client(payload) else "oidc"
        if named in ("oauth", "m2m"):
            return named
        if "handshake" in payload and "sub" not in payload:
            raise HandshakeToken
        subject = payload.get("sub")
        if isinstance(subject, str) and subject.startswith("mch_"):
            # Old machine tokens carry no category. One that says "untagged" or "session" is neither.
            if "cat" in unverified.header:
                raise MachineToken
            return "m2m"
        if "client_id" in payload:
            raise OAuthToken
        if "sid" not in payload:
            raise IdToken if "aud" in payload else TemplateToken
        return "session"

    def _accepted(self, kind: TokenKind) -> TokenKind:
        if kind not in self.accept:
            raise _REFUSALS[kind]
        return kind

    def _claims(self, kind: TokenKind, payload: dict[str, Any]) -> Claims:
        issuer = payload.get("iss")
        if not isinstance(issuer, str) or issuer not in self.instance.issuers:
            raise IssuerRefused
        return read_claims(kind, self.instance.name, payload, self.own_id_at)

    def _check_time(self, claims: Claims, now: float) -> None:
        if claims.expires_at + self.leeway <= now:
            raise TokenExpired
        if claims.not_before is not None and claims.not_before - self.leeway > now:
            raise TokenNotYetValid
        if claims.issued_at - self.leeway > now:
            raise TokenIssuedInFuture

    def _check_purpose(self, claims: Claims, payload: Mapping[str, Any]) -> None:
        instance = self.instance
        if instance.parties and claims.kind in ("session", *OIDC_KINDS):
            excused = claims.party is None and self._allow_no_party
            if claims.party not in instance.parties and not excused:
                raise PartyRefused
        audience = payload.get("aud")
        if self._resource is not None and claims.kind in ("oauth", *OIDC_KINDS):
            self._check_resource(audience, self._resource)
        # An API key is made for the whole instance: it has no audience, and that it is accepted says enough.
        elif (instance.audiences or audience is not None) and claims.kind not in KINDS["ak"]:
            self._check_audience(claims, audience)
        if claims.pending and not self._allow_pending:
            raise SessionPending

    def _check_resource(self, audience: object, resource: str) -> None:
        if audience is None and self._allow_no_audience:
            return
        if resource not in map(_without_query, _listed(audience)):
            raise AudienceRefused("it is for another resource")

    def _check_audience(self, claims: Claims, audience: object) -> None:
        listed = _listed(audience)
        if claims.kind == "m2m":
            # A machine's audience may be written as its scopes: the ids of the machines it may talk to.
            if self.instance.audiences and self.instance.audiences.isdisjoint((*listed, *claims.scopes)):
                raise AudienceRefused
        elif self.instance.audiences.isdisjoint(listed):
            raise AudienceRefused


def _listed(audience: object) -> list[str]:
    """Return the audiences that a token names. One that names none in a way of its own is refused."""
    listed = [audience] if isinstance(audience, str) else items(audience)
    if not all(isinstance(each, str) for each in listed) or (audience is not None and not listed):
        raise AudienceRefused
    return listed


def _without_query(url: str) -> str:
    """Return what tells one resource from another: no query, and no slash at the end."""
    return url.partition("?")[0].removesuffix("/")


def _path(own_id: str | None) -> tuple[str, ...]:
    """The names that lead to a claim, from the outermost on."""
    if own_id is None:
        return ()
    path = tuple(own_id.split(".")) if isinstance(own_id, str) else ("",)
    if not all(path) or path[0] == "unsafe_metadata":  # people write those themselves
        raise ConfigurationError("own_id is the name of a claim of your own making, as in userId or metadata.userId")
    return path
