"""Claims: the facts that a verified token proves, in one vocabulary for every kind and version of token.

`read_claims` takes a payload with a valid signature, and checks types and ranges. A malformed claim about identity
makes the token invalid. A malformed grant (a permission, a feature or a plan) grants nothing.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast, get_args

from ..errors import ClaimInvalid, ClaimMissing, VersionUnknown
from .strict_json import fields, items

FactorLevel = Literal["first_factor", "second_factor", "multi_factor"]

# Clerk's presets: how long ago, in minutes, which factor must have been shown at the latest.
REVERIFICATION: Mapping[str, tuple[FactorLevel, int]] = {
    "strict_mfa": ("multi_factor", 10),
    "strict": ("second_factor", 10),
    "moderate": ("second_factor", 60),
    "lax": ("second_factor", 1440),
}
_MASK = re.compile(r"[0-9]{1,400}")
_SCOPES = {"o": "o", "org": "o", "organization": "o", "u": "u", "user": "u"}


def is_fresh(ages: tuple[int, int] | None, wanted: str | tuple[FactorLevel, int]) -> bool:
    """Return whether factors of these ages, in minutes, satisfy a preset, or a level and its minutes."""
    preset = REVERIFICATION.get(wanted) if isinstance(wanted, str) else wanted
    if ages is None or not isinstance(preset, tuple) or len(preset) != 2:
        return False
    level, minutes = preset
    if level not in get_args(FactorLevel) or type(minutes) is not int:
        return False
    first, second = (age != -1 and age < minutes for age in ages)
    if level == "first_factor" or ages[1] == -1:
        return first  # a user without a second factor proves the first
    if level == "second_factor":
        return second
    return first and second


def permissions_in(features: object, names: object, masks: object) -> frozenset[str]:
    """Return the permissions that a version 2 token encodes as bit masks.

    Bit j of a mask stands for the j-th name. Clerk's clients disagree about the feature of the i-th mask: the i-th of
    all features, or the i-th of the organization's features. A permission counts only if both readings grant it.
    """
    listed = [_scope_and_slug(item) for item in _items(features)]
    of_organization = [feature for feature in listed if feature is not None and "o" in feature[0]]
    bits = [int(mask) if _MASK.fullmatch(mask) else 0 for mask in _items(masks)]
    words = _items(names)

    def read(lined_up: list[tuple[str, str] | None] | list[tuple[str, str]]) -> frozenset[str]:
        return frozenset(
            f"org:{feature[1]}:{word}"
            for feature, mask in zip(lined_up, bits, strict=False)
            if feature is not None and "o" in feature[0]
            # No further than the mask goes: features times words would be more than linear in the token's size.
            for position, word in enumerate(words[: mask.bit_length()])
            if word and mask >> position & 1
        )

    return read(listed) & read(of_organization)


def _items(value: object) -> list[str]:
    return [item.strip() for item in value.split(",")] if isinstance(value, str) and value else []


def _scope_and_slug(item: str) -> tuple[str, str] | None:
    scope, colon, slug = item.partition(":")
    return (scope, slug) if colon and slug and scope in ("o", "u", "ou", "uo") else None


def scoped(value: object) -> frozenset[str]:
    pairs = [pair for pair in map(_scope_and_slug, _items(value)) if pair is not None]
    return frozenset(f"{letter}:{slug}" for scope, slug in pairs for letter in scope)


def grants(held: frozenset[str], wanted: object) -> bool:
    if not isinstance(wanted, str) or not wanted:
        return False
    scope, colon, slug = wanted.rpartition(":")
    if not colon:
        return f"o:{slug}" in held or f"u:{slug}" in held
    return scope in _SCOPES and f"{_SCOPES[scope]}:{slug}" in held


def is_grant(wanted: str) -> bool:
    """Return whether a feature or plan is spelled so that a token can grant it."""
    scope, colon, slug = wanted.rpartition(":")
    return bool(slug) and (not colon or scope in _SCOPES)


def prefixed(name: str) -> str:
    while name.startswith("org:"):
        name = name[4:]
    return f"org:{name}"


TokenKind = Literal["session", "oauth", "m2m", "api_key", "organization_api_key", "oidc", "oidc_machine"]
MACHINES: tuple[TokenKind, ...] = ("m2m", "oidc_machine")  # the kinds without a user

_ID = re.compile(r"[0-9A-Za-z_-]{1,128}")
_USER = re.compile(r"user_[0-9A-Za-z_-]{1,123}")
_MACHINE = re.compile(r"mch_[0-9A-Za-z_-]{1,124}")
_ORGANIZATION = re.compile(r"org_[0-9A-Za-z_-]{1,124}")
_MAX_SECONDS = 253_402_300_799  # the last second of the year 9999: later ones break every calendar downstream
_MAX_TEXT = 255
_MAX_CLIENT = 2_048  # a client may be named by the URL of its metadata document
MAX_PROFILE_TEXT = 1_000  # characters, as of a name or an address in a webhook
_MAX_ACTORS = 8
_CLIENT_GRANTS = ("client-credentials", "client_credentials")


@dataclass(frozen=True, slots=True)
class Actor:
    """The party that acts in the name of the subject: an impersonating user, an agent or another service.

    `id` is the actor's `sub`, or its `client_id` where a client acts. `previous` is the actor before it, where the
    token was delegated more than once.
    """

    id: str = field(repr=False)
    kind: str | None = None
    previous: "Actor | None" = None

    @property
    def chain(self) -> "tuple[Actor, ...]":
        """This actor and all previous actors. The current actor comes first."""
        return (self, *(self.previous.chain if self.previous is not None else ()))


@dataclass(frozen=True, slots=True)
class ActiveOrganization:
    """The organization that was active when the token was made, and the user's role in it."""

    id: str = field(repr=False)
    slug: str | None = field(default=None, repr=False)
    role: str | None = None


class Profile(NamedTuple):
    """The profile in custom claims of a token. It proves nothing: an address is not known to be verified."""

    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    username: str | None = None
    image_url: str | None = None

    def __repr__(self) -> str:
        return "Profile()"  # never personal: reprs end up in logs


ProfilePaths = tuple[tuple[str, tuple[str, ...]], ...]  # the field of each claim, and the names that lead to the claim


@dataclass(frozen=True, slots=True, repr=False)
class Claims:
    """The claims of one verified token. The values never change; `payload` is a copy for each reader.

    Times are seconds since 1970, as in the token: they are compared with other claims and with a clock, and every
    library that reads tokens has the same unit.
    """

    kind: TokenKind
    instance: str
    subject: str
    issued_at: int
    expires_at: int
    session_id: str | None
    party: str | None
    organization: ActiveOrganization | None
    actor: Actor | None
    _payload: dict[str, Any] = field(hash=False)
    # Your id, if the verifier has `own_id`. It is not serialized: another process must read it from the repository.
    own_id: str | int | None = field(default=None, compare=False)
    # The profile, if the verifier has `profile`; empty if the token has none. It is not serialized either.
    profile: Profile | None = field(default=None, compare=False)

    # The rarely used claims are read on access. `read_claims` has checked all of them.

    @property
    def issuer(self) -> str:
        """The issuer of the token: exactly one of the instance's issuers."""
        return str(self._payload["iss"])

    @property
    def token_id(self) -> str | None:
        """The token's own id (`jti`), or None."""
        value: str | None = self._payload.get("jti")
        return value

    @property
    def not_before(self) -> int | None:
        """The second from which the token is valid (`nbf`), or None."""
        return int(self._payload["nbf"]) if "nbf" in self._payload else None

    @property
    def version(self) -> int:
        """The version of a session token; 1 for other kinds."""
        return 2 if self.kind == "session" and self._payload.get("v") == 2 else 1

    @property
    def pending(self) -> bool:
        """Whether the user must finish a task before the session counts."""
        return self.kind == "session" and self._payload.get("sts") == "pending"

    @property
    def client_id(self) -> str | None:
        """The OAuth client that acts for the user."""
        value: str | None = self._payload.get("client_id")
        return value

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes of an OAuth client or an API key, or the machines that a machine may call. A session has none."""
        if self.kind == "session":
            return ()
        if self.kind == "oauth":
            return _words(self._payload, "scp" if "scp" in self._payload else "scope")
        if self.kind == "m2m" and "scopes" not in self._payload:  # as Clerk's own client reads them
            return _words({"aud": items(self._payload.get("aud"))}, "aud")
        if self.kind in ("oidc", "oidc_machine"):
            return _words(self._payload, "scope" if "scope" in self._payload else "scp")
        return _words(self._payload, "scopes")

    @property
    def payload(self) -> dict[str, Any]:
        """A copy of all claims in the token, custom claims included."""
        return copy.deepcopy(self._payload)

    @property
    def permissions(self) -> frozenset[str]:
        """The permissions in the active organization, such as `org:invoices:create`."""
        if self.organization is None:
            return frozenset()
        if self.version == 2:
            return permissions_in(
                self._payload.get("fea"), self._payload["o"].get("per"), self._payload["o"].get("fpm")
            )
        listed = items(self._payload.get("org_permissions"))
        return frozenset(prefixed(each) for each in listed if type(each) is str) - {"org:"}

    @property
    def features(self) -> frozenset[str]:
        """The features, each with its scope: `o:` for the organization's, `u:` for the user's own."""
        return scoped(self._payload.get("fea")) if self.version == 2 else frozenset()

    @property
    def plans(self) -> frozenset[str]:
        """The plans, each with its scope, like the features."""
        return scoped(self._payload.get("pla")) if self.version == 2 else frozenset()

    @property
    def factor_ages(self) -> tuple[int, int] | None:
        """The minutes between the first and the second factor and the making of the token; -1 for never."""
        ages = items(self._payload.get("fva")) if self.kind == "session" else []
        if len(ages) != 2 or any(type(age) is not int or age < -1 for age in ages):
            return None
        return ages[0], ages[1]

    def has(
        self,
        *,
        organization_role: str | None = None,
        permission: str | None = None,
        scope: str | None = None,
        feature: str | None = None,
        plan: str | None = None,
        reverified: str | tuple[FactorLevel, int] | None = None,
    ) -> bool:
        """Return whether the token proves all arguments. Without arguments, return False.

        Roles and permissions belong to the active organization, with or without the prefix `org:`. A scope belongs to
        an access token, an API key or a machine token. Features and plans
        belong to the organization or the user; the prefix `org:` or `user:` selects one of them. `reverified` is one of
        Clerk's presets, or a level and a number of minutes: `("second_factor", 30)`.
        """
        asked = [
            None if organization_role is None else self._has_role(organization_role),
            None if permission is None else isinstance(permission, str) and prefixed(permission) in self.permissions,
            None if scope is None else isinstance(scope, str) and scope in self.scopes,
            None if feature is None else grants(self.features, feature),
            None if plan is None else grants(self.plans, plan),
            None if reverified is None else is_fresh(self.factor_ages, reverified),
        ]
        answers = [answer for answer in asked if answer is not None]
        return bool(answers) and all(answers)

    def _has_role(self, role: str) -> bool:
        held = self.organization.role if self.organization is not None else None
        return held is not None and isinstance(role, str) and prefixed(role) == held

    def __repr__(self) -> str:
        return f"Claims({self.kind}, instance={self.instance!r})"  # never an id or a custom claim: reprs end up in logs


def client_of(payload: Mapping[str, Any]) -> str | None:
    """Return the client that an OpenID provider names: as `client_id`, `azp`, `cid` (Okta) or `appid` (Entra v1)."""
    names = (payload.get(name) for name in ("client_id", "azp", "cid", "appid"))
    return next((name for name in names if isinstance(name, str) and name), None)


def is_of_client(payload: Mapping[str, Any]) -> bool:
    """Return whether an OpenID provider's token came from the client credentials grant, so that it has no user.

    By RFC 9068, the subject is the client then. Providers mark the grant in these ways:

    - the subject is the client id: Logto, Amazon Cognito, Ory, Okta, WorkOS; with `@clients` behind it: Auth0
    - no subject at all: Duende, Kinde
    - `gty` or `grant_type`: Auth0, Kinde, FusionAuth
    - `idtyp` is `app`, or `oid` is the subject and there are no delegated scopes (`scp`): Entra
    - the user name of a service account: Keycloak
    """
    subject = payload.get("sub")
    clients = {payload.get(name) for name in ("client_id", "azp", "cid", "appid") if type(payload.get(name)) is str}
    if subject is None:
        return bool(clients)
    if subject in clients or (isinstance(subject, str) and subject.endswith("@clients")):
        return True
    grant = payload.get("gty", payload.get("grant_type"))
    if any(each in _CLIENT_GRANTS for each in ([grant] if isinstance(grant, str) else items(grant))):
        return True
    if payload.get("idtyp") == "app" or ("scp" not in payload and subject == payload.get("oid")):
        return True
    name = payload.get("preferred_username")
    return isinstance(name, str) and name.startswith("service-account-")


def read_claims(
    kind: TokenKind,
    instance: str,
    payload: dict[str, Any],
    own_id_at: Sequence[str] = (),
    profile_at: ProfilePaths = (),
) -> Claims:
    """Check types and ranges, and return the claims. The verifier checks time, party and audience."""
    if kind == "oidc_machine" and payload.get("sub") is None:
        subject = client_of(payload) or _text(payload, "sub", required=True)
    else:
        subject = _text(payload, "sub", required=True, limit=_MAX_CLIENT if kind == "oidc_machine" else _MAX_TEXT)
    if kind in ("session", "oauth", "api_key") and not _USER.fullmatch(subject):
        raise ClaimInvalid("sub must be the id of a Clerk user")
    if kind == "m2m" and not _MACHINE.fullmatch(subject):
        raise ClaimInvalid("sub must be the id of a Clerk machine")
    if kind == "organization_api_key" and not _ORGANIZATION.fullmatch(subject):
        raise ClaimInvalid("sub must be the id of a Clerk organization")
    issued_at = _seconds(payload, "iat", required=True)
    expires_at = _seconds(payload, "exp", required=True)
    if issued_at > expires_at:
        raise ClaimInvalid("iat is later than exp")
    _seconds(payload, "nbf")
    if not isinstance(payload.get("jti", ""), str):
        raise ClaimInvalid("jti")

    session_id, organization = None, None
    if kind == "session":
        session_id = _text(payload, "sid", required=True)
        if not _ID.fullmatch(session_id):
            raise ClaimInvalid("sid must be a session id")
        organization = _organization_v2(payload) if _version(payload) == 2 else _organization_v1(payload)
        if payload.get("sts", "active") not in ("active", "pending"):
            raise ClaimInvalid("sts")
    else:
        _text(payload, "client_id", required=kind == "oauth", limit=_MAX_CLIENT)
    if kind == "oauth":
        organization = _organization_v1(payload)
    if kind == "organization_api_key":
        organization = ActiveOrganization(subject)
    party = _text(payload, "azp", limit=_MAX_CLIENT)
    actor = _actor(payload)
    # The creator of an API key writes its name and claims, so that other kinds prove no id and no profile.
    has_custom_claims = kind in ("session", "oidc")
    own_id = _own_id(payload, own_id_at) if own_id_at and has_custom_claims else None
    profile = _profile(payload, profile_at) if profile_at and has_custom_claims else None
    people = (session_id, party, organization, actor)
    return Claims(kind, instance, subject, issued_at, expires_at, *people, payload, own_id, profile)


def _text(payload: Mapping[str, Any], name: str, required: bool = False, limit: int = _MAX_TEXT) -> Any:
    value = payload.get(name)
    if type(value) is str and 0 < len(value) <= limit and value.isprintable() and not value.isspace():
        return value
    return _absent(payload, name, required)


def _seconds(payload: Mapping[str, Any], name: str, required: bool = False) -> Any:
    value: Any = payload.get(name)
    if type(value) in (int, float) and 0 < value <= _MAX_SECONDS:  # not isinstance: True is no time
        return int(value)
    return _absent(payload, name, required)


def _absent(payload: Mapping[str, Any], name: str, required: bool) -> None:
    """Return None if the claim is optional and missing. Raise otherwise: a claim that is present is invalid here."""
    if name in payload:
        raise ClaimInvalid(name)
    if required:
        raise ClaimMissing(name)


def _at(payload: Mapping[str, Any], path: Sequence[str]) -> Any:
    value: Any = payload
    for name in path:
        value = fields(value).get(name)
    return value


def _profile(payload: Mapping[str, Any], paths: ProfilePaths) -> Profile:
    """Return the profile in custom claims. A claim that cannot be stored is ignored."""
    return Profile(**{field: value for field, path in paths if _is_profile_text(value := _at(payload, path))})


def _is_profile_text(value: object) -> bool:
    is_text = type(value) is str and 0 < len(value) <= MAX_PROFILE_TEXT
    return is_text and str(value).isprintable() and not str(value).isspace()


def _own_id(payload: Mapping[str, Any], path: Sequence[str]) -> str | int | None:
    """Return your id from a custom claim, or None. Without it, the resolver reads the id from the repository."""
    value = _at(payload, path)
    if type(value) is int:
        return value if -(2**63) <= value < 2**63 else None
    return value if type(value) is str and 0 < len(value) <= _MAX_TEXT and value.isprintable() else None


def _words(payload: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = payload.get(name)
    listed = value.split(" ") if isinstance(value, str) else items(value)
    return tuple(word for word in listed if isinstance(word, str) and word)


def _version(payload: Mapping[str, Any]) -> int:
    version = payload.get("v", 1)
    if type(version) is not int or version not in (1, 2):
        raise VersionUnknown
    return version


def _actor(payload: Mapping[str, Any], depth: int = 1) -> Actor | None:
    actor = _object(payload, "act")
    if actor is None:
        return None
    if depth > _MAX_ACTORS:
        raise ClaimInvalid("act is nested too deeply")
    name = "client_id" if "client_id" in actor and "sub" not in actor else "sub"
    id = _text(actor, name, required=True, limit=_MAX_CLIENT)
    return Actor(id, _text(actor, "type"), _actor(actor, depth + 1))


def _organization_v2(payload: Mapping[str, Any]) -> ActiveOrganization | None:
    organization = _object(payload, "o")
    if organization is None:
        return None
    return _organization(organization.get("id"), organization.get("slg"), organization.get("rol"))


def _organization_v1(payload: Mapping[str, Any]) -> ActiveOrganization | None:
    if payload.get("org_id") is None:
        return None
    return _organization(payload["org_id"], payload.get("org_slug"), payload.get("org_role"))


def _organization(clerk_id: object, slug: object, role: object) -> ActiveOrganization:
    if not isinstance(clerk_id, str) or not _ORGANIZATION.fullmatch(clerk_id):
        raise ClaimInvalid("the organization's id has the wrong form")
    role = prefixed(_label(role) or "")
    return ActiveOrganization(clerk_id, _label(slug), None if role == "org:" else role)


def _label(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not value.isprintable():
        raise ClaimInvalid("the organization's slug or role has the wrong form")
    return value


def _object(payload: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    value = payload.get(name)
    if value is not None and not isinstance(value, dict):
        raise ClaimInvalid(name)
    return cast(dict[str, Any] | None, value)
