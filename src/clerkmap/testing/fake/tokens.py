"""Signing keys and tokens of the fake Clerk: each kind of token, valid or invalid on purpose."""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, TypedDict

from ...core.strict_json import fields
from ...core.token_rules import MACHINE_CATEGORY, SESSION_CATEGORY, TEMPLATE_CATEGORY
from ..signing import SigningKey
from .objects import ClerkRefuses, FakeMachineToken, FakeOrganization, FakeSession, FakeUser, Metadata
from .store import Store, serialized

ORIGIN = "https://app.example.com"

_SHORTCODE = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")


class TemplateTokenOptions(TypedDict, total=False):
    """The options of `FakeClerk.template_token`.

    party: The origin in `azp`.
    expires_in: The lifetime in seconds; a negative one makes an expired token.
    claims, header: Claims and header parameters to add or replace. None removes one.
    """

    party: str | None
    expires_in: int
    claims: Mapping[str, Any] | None
    header: Mapping[str, Any] | None


class TokenOptions(TemplateTokenOptions, total=False):
    """The options of `FakeClerk.token`: those of `TemplateTokenOptions`, and these.

    role: The role in the organization; that of the membership by default, or `org:member`.
    permissions: Permissions such as `org:invoices:read`; those of the role by default.
    features: Features with their scope: `o:invoices`, `u:themes`.
    plan: A plan with its scope: `o:pro`.
    version: The version of Clerk's session token: 1 or 2.
    session: The session or its id; a new id by default.
    pending: Whether the session has pending tasks.
    actor: The id of a user that impersonates the subject.
    factor_ages: The minutes since the first and the second factor were verified.
    template: The name of a JWT template: return a `template_token`, without session and organization.
    """

    role: str | None
    permissions: Iterable[str] | None
    features: Iterable[str]
    plan: str | None
    version: int
    session: FakeSession | str | None
    pending: bool
    actor: str | None
    factor_ages: tuple[int, int]
    template: str | None


class Tokens:
    """Holds the keys of one fake Clerk, and signs tokens with them.

    Args:
        store: The tables.
        algorithm: The signature algorithm.
        kid: The id of the signing key; the instance id by default, as at Clerk.
        host: The host of the Frontend API; derived from the seed by default.
    """

    def __init__(self, store: Store, algorithm: str, kid: str | None, host: str | None) -> None:
        self.store: Store = store
        self.algorithm: str = algorithm
        self.keys_made: int = 0
        self.old_keys: list[tuple[SigningKey, float]] = []  # each with the time until which it is published
        self.frontend_api: str = host or f"seed-{store.seed}.clerk.accounts.dev"
        self.issuer: str = f"https://{self.frontend_api}"
        self.publishable_key: str = "pk_test_" + b64encode(f"{self.frontend_api}$".encode()).decode().rstrip("=")
        self.secret_key: str = f"sk_test_{Random(f'sk {store.seed}').randbytes(20).hex()}"
        self.session_claims: dict[str, str] = {}
        self.key: SigningKey = self._new_key(store.instance_id if kid is None else kid)

    def jwks(self) -> dict[str, Any]:
        """Return the published keys as a JWKS."""
        return {"keys": [key.jwk() for key in self.published_keys()]}

    def published_keys(self) -> list[SigningKey]:
        """Return the signing key, and the old keys that are still published."""
        now = self.store.clock()
        return [self.key, *(key for key, until in self.old_keys if now < until)]

    def rotate_key(self, kid: str | None, keep_for: float) -> SigningKey:
        """Replace the signing key. The old key stays published for `keep_for` seconds."""
        self.old_keys.insert(0, (self.key, self.store.clock() + keep_for))
        self.key = self._new_key(self.key.kid if kid is None else kid)
        return self.key

    def token(
        self,
        user: FakeUser,
        organization: FakeOrganization | None = None,
        *,
        role: str | None = None,
        permissions: Iterable[str] | None = None,
        features: Iterable[str] = (),
        plan: str | None = None,
        version: int = 2,
        session: FakeSession | str | None = None,
        party: str | None = ORIGIN,
        pending: bool = False,
        actor: str | None = None,
        factor_ages: tuple[int, int] = (0, -1),
        template: str | None = None,
        expires_in: int = 60,
        claims: Mapping[str, Any] | None = None,
        header: Mapping[str, Any] | None = None,
    ) -> str:
        """Return a session token; see `FakeClerk.token`."""
        if template is not None:
            return self.template_token(user, party=party, expires_in=expires_in, claims=claims, header=header)
        sid = session.id if isinstance(session, FakeSession) else session
        payload = self._times(expires_in) | {
            "sub": user.id,
            "sid": sid or self.store.new_id("sess"),
            "azp": party,
            "fva": list(factor_ages),
            "jti": self.store.new_id("jti"),
            "sts": "pending" if pending else "active",
            "act": {"sub": actor, "iss": "https://dashboard.clerk.com"} if actor else None,
        }
        if organization is not None:
            membership = self.store.membership(organization, user)
            role = role or (membership.role if membership else "org:member")
        if permissions is None:
            permissions = [each for each in self.store.role(role or "").permissions if not each.startswith("org:sys_")]
        if version == 1:
            payload |= _organization_v1(organization, role, permissions)
        else:
            payload |= {"v": 2, "pla": plan} | _organization_v2(organization, role, permissions, features)
        payload |= {name: fill_shortcodes(template, user) for name, template in self.session_claims.items()}
        # As at Clerk, the header holds the time at which the session was last read: here, now.
        usual = {"cat": SESSION_CATEGORY, "oiat": int(self.store.clock())}
        return self.sign(usual | dict(header or {}), payload | dict(claims or {}))

    def template_token(
        self,
        user: FakeUser,
        *,
        party: str | None = ORIGIN,
        expires_in: int = 60,
        claims: Mapping[str, Any] | None = None,
        header: Mapping[str, Any] | None = None,
    ) -> str:
        """Return a token of a JWT template."""
        payload = self._times(expires_in) | {"sub": user.id, "azp": party, "jti": self.store.new_id("jti")}
        return self.sign({"cat": TEMPLATE_CATEGORY} | dict(header or {}), payload | dict(claims or {}))

    def machine_token(self, *, scopes: Iterable[str] = (), claims: Mapping[str, Any] | None = None) -> str:
        """Return a machine token (JWT)."""
        payload = self._times(3600) | {
            "sub": self.store.new_id("mch"),
            "jti": self.store.new_token_id("mt"),
            "scopes": " ".join(scopes),
        }
        return self.sign({"cat": MACHINE_CATEGORY}, payload | dict(claims or {}))

    def oauth_token(
        self, user: FakeUser, *, scopes: Iterable[str] = ("profile",), claims: Mapping[str, Any] | None = None
    ) -> str:
        """Return an OAuth access token (JWT)."""
        payload = {
            "sub": user.id,
            "client_id": self.store.new_id("client"),
            "jti": self.store.new_token_id("oat"),
            "scp": list(scopes),
        }
        return self.sign({"typ": "at+jwt"}, self._times(86_400) | payload | dict(claims or {}))

    def id_token(self, user: FakeUser, *, claims: Mapping[str, Any] | None = None) -> str:
        """Return an OpenID Connect ID token."""
        payload = self._times(86_400) | {"sub": user.id, "aud": self.store.new_id("client"), "nonce": "n"}
        return self.sign({}, payload | dict(claims or {}))

    def handshake_token(self) -> str:
        """Return a handshake token, which carries cookies."""
        return self.sign({"cat": SESSION_CATEGORY}, {"handshake": ["__session=; Path=/"]})

    def oidc_token(self, subject: str, audience: str, *, claims: Mapping[str, Any] | None = None) -> str:
        """Return an access token of another OpenID provider."""
        payload = self._times(3600) | {"sub": subject, "aud": audience, "client_id": "spa", "scope": "openid"}
        return self.sign({"typ": "at+jwt"}, payload | dict(claims or {}))

    # Opaque tokens: only the API can verify them

    def create_api_key(
        self,
        subject: FakeUser | FakeOrganization,
        *,
        name: str = "key",
        scopes: Iterable[str] = (),
        claims: Metadata | None = None,
        expires_in: int | None = None,
    ) -> FakeMachineToken:
        """Create an API key."""
        self.store.require(subject)
        return self._machine_token(
            "api_key", "ak", subject.id, expires_in, name=name, scopes=list(scopes), claims=claims
        )

    def create_machine_token(
        self, *, scopes: Iterable[str] = (), claims: Metadata | None = None, expires_in: int | None = None
    ) -> FakeMachineToken:
        """Create an opaque machine token."""
        machine = self.store.new_id("mch")
        return self._machine_token("m2m_token", "mt", machine, expires_in, scopes=list(scopes), claims=claims)

    def create_oauth_token(
        self,
        user: FakeUser,
        *,
        scopes: Iterable[str] = ("profile",),
        expires_in: int = 86_400,
        client_id: str | None = None,
        audience: str | list[str] | None = None,
        actor: Metadata | None = None,
    ) -> FakeMachineToken:
        """Create an opaque OAuth access token."""
        self.store.require(user)
        granted = {"client_id": client_id or self.store.new_id("client"), "audience": audience, "actor": actor}
        return self._machine_token("oauth_token", "oat", user.id, expires_in, scopes=list(scopes), **granted)

    def revoke_machine_token(self, token: FakeMachineToken) -> None:
        """Revoke an opaque token."""
        if self.store.machine_tokens.get(token.secret) is not token:
            raise ClerkRefuses(404, "resource_not_found", f"No token was found with id {token.id}")
        token.revoked = True
        token.updated_at = self.store.moment()

    @serialized
    def _machine_token(
        self, kind: str, prefix: str, subject: str, expires_in: int | None, /, **fields: Any
    ) -> FakeMachineToken:
        now = self.store.moment()
        token = FakeMachineToken(self.store.new_token_id(prefix), kind, self.store.new_id(prefix), subject, **fields)
        token.expires_at = None if expires_in is None else now + expires_in * 1000
        token.created_at = token.updated_at = now
        self.store.machine_tokens[token.secret] = token
        return token

    def sign(self, header: Mapping[str, Any], payload: Mapping[str, Any]) -> str:
        """Sign any payload with the signing key. None in the header or payload removes a name."""
        full = {"alg": self.key.algorithm, "kid": self.key.kid, "typ": "JWT"} | dict(header)
        return self.key.sign(_present(full), _present(payload))

    def _new_key(self, kid: str | None) -> SigningKey:
        self.keys_made += 1
        return SigningKey(f"{self.store.seed}/{self.keys_made}", kid, self.algorithm)

    def _times(self, expires_in: int) -> dict[str, Any]:
        # A token that has expired is made earlier, so that its age is its only fault.
        made = int(self.store.clock()) + min(expires_in - 60, 0) * (expires_in <= 0)
        return {"iss": self.issuer, "iat": made, "nbf": made - 10, "exp": int(self.store.clock()) + expires_in}


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _organization_v1(
    organization: FakeOrganization | None, role: str | None, permissions: Iterable[str]
) -> dict[str, Any]:
    if organization is None:
        return {}
    listed = {"org_role": role, "org_permissions": list(permissions)}
    return {"org_id": organization.id, "org_slug": organization.slug} | listed


def _organization_v2(
    organization: FakeOrganization | None, role: str | None, permissions: Iterable[str], features: Iterable[str]
) -> dict[str, Any]:
    """Pack permissions as Clerk does: one mask per feature, one bit per permission name."""
    pairs = [permission.removeprefix("org:").partition(":")[::2] for permission in permissions]
    named = list(dict.fromkeys([*features, *(f"o:{feature}" for feature, _ in pairs)]))
    if organization is None:
        return {"fea": ",".join(named) or None}
    words = list(dict.fromkeys(word for _, word in pairs))
    masks = [sum(1 << words.index(word) for slug, word in pairs if name == f"o:{slug}") for name in named]
    packed = {"per": ",".join(words), "fpm": ",".join(map(str, masks))} if words else {}
    short_role = (role or "").removeprefix("org:")
    return {
        "fea": ",".join(named) or None,
        "o": {"id": organization.id, "slg": organization.slug, "rol": short_role, **packed},
    }


def fill_shortcodes(template: str, user: FakeUser) -> Any:
    """Fill a claim of Clerk's session token template: `"{{user.public_metadata.userId}}"`.

    A claim that is a single shortcode becomes the value itself, otherwise text. A shortcode can list alternatives; the
    first that the user has is used: `{{user.external_id || user.id}}`. None omits the claim.
    """
    whole = _SHORTCODE.fullmatch(template)
    if whole is not None:
        return _shortcode_value(whole[1], user)
    return _SHORTCODE.sub(lambda code: str(_shortcode_value(code[1], user)), template)


def _shortcode_value(code: str, user: FakeUser) -> Any:
    profile = {
        **{name: getattr(user, name) for name in ("id", "external_id", "username", "first_name", "last_name")},
        "public_metadata": user.public_metadata,
        "primary_email_address": user.email,
        "full_name": " ".join(name for name in (user.first_name, user.last_name) if name) or None,
    }
    for alternative in code.split("||"):
        value: Any = {"user": profile}
        for name in alternative.strip().split("."):
            value = fields(value).get(name)
        if value is not None:
            return value
    return None
