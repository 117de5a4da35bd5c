"""The tokens that the made-up Clerk signs: every kind there is, and every way in which one can be wrong."""

from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any

from ...core.verification import MACHINE_CATEGORY, SESSION_CATEGORY, TEMPLATE_CATEGORY
from ..clock import Clock
from ..signing import SigningKey
from .objects import ClerkRefuses, FakeMachineToken, FakeOrganization, FakeSession, FakeUser, Metadata
from .organizations import Organizations
from .shortcodes import filled
from .store import one_at_a_time

ORIGIN = "https://app.example.com"


class Mint(Organizations):
    """Organizations whose people have tokens, signed with the instance's own key."""

    def __init__(
        self,
        seed: int,
        clock: Clock,
        *,
        algorithm: str = "RS256",
        kid: str | None = None,
        host: str | None = None,
        ids: str = "",
    ) -> None:
        super().__init__(seed, clock, ids)
        self._algorithm = algorithm
        self._keys_made = 0
        self._old_keys: list[tuple[SigningKey, float]] = []
        self.frontend_api: str = host or f"seed-{seed}.clerk.accounts.dev"
        self.issuer: str = f"https://{self.frontend_api}"
        self.publishable_key: str = "pk_test_" + b64encode(f"{self.frontend_api}$".encode()).decode().rstrip("=")
        # What the dashboard adds to every session token: `{"userId": "{{user.public_metadata.userId}}"}`.
        self.session_claims: dict[str, str] = {}
        self.key: SigningKey = self._new_key(self.instance_id if kid is None else kid)

    def jwks(self) -> dict[str, Any]:
        """The public keys, as they are published."""
        return {"keys": [key.jwk() for key in self.published_keys()]}

    def published_keys(self) -> list[SigningKey]:
        """The signing key, and those before it that are still published."""
        now = self.clock()
        return [self.key, *(key for key, until in self._old_keys if now < until)]

    def rotate_key(self, kid: str | None = None, *, keep_for: float = 0) -> SigningKey:
        """Replace the signing key. Its id stays, as it does at Clerk, unless a new one is given.

        For `keep_for` seconds the old one is published beside it, so that tokens signed with it can be verified.
        """
        self._old_keys.insert(0, (self.key, self.clock() + keep_for))
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
        """A session token. In `claims` and `header`, what is given is added or replaced, and None takes it away.

        Permissions are written `org:invoices:read`, features and plans with their scope: `o:invoices`, `u:themes`. The
        role and its permissions are those that the person has, and `org:member` for who is not in the organization.
        Of a JWT `template`, whatever its name, the token is a `template_token`, which knows no session or organization.
        """
        if template is not None:
            return self.template_token(user, party=party, expires_in=expires_in, claims=claims, header=header)
        sid = session.id if isinstance(session, FakeSession) else session
        payload = self._times(expires_in) | {
            "sub": user.id,
            "sid": sid or self.new_id("sess"),
            "azp": party,
            "fva": list(factor_ages),
            "jti": self.new_id("jti"),
            "sts": "pending" if pending else "active",
            "act": {"sub": actor, "iss": "https://dashboard.clerk.com"} if actor else None,
        }
        if organization is not None:
            membership = self.membership(organization, user)
            role = role or (membership.role if membership else "org:member")
        if permissions is None:
            permissions = [each for each in self.role(role or "").permissions if not each.startswith("org:sys_")]
        if version == 1:
            payload |= _organization_v1(organization, role, permissions)
        else:
            payload |= {"v": 2, "pla": plan} | _organization_v2(organization, role, permissions, features)
        payload |= {name: filled(template, user) for name, template in self.session_claims.items()}
        # As at Clerk, each token's header tells when the session was last looked up: here, at this moment.
        usual = {"cat": SESSION_CATEGORY, "oiat": int(self.clock())}
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
        """A token made from a JWT template: not tied to a session. What the template adds stands in `claims`."""
        payload = self._times(expires_in) | {"sub": user.id, "azp": party, "jti": self.new_id("jti")}
        return self.sign({"cat": TEMPLATE_CATEGORY} | dict(header or {}), payload | dict(claims or {}))

    def machine_token(self, *, scopes: Iterable[str] = (), claims: Mapping[str, Any] | None = None) -> str:
        """A machine's token for other machines, whose ids are its scopes."""
        payload = self._times(3600) | {
            "sub": self.new_id("mch"),
            "jti": self.new_token_id("mt"),
            "scopes": " ".join(scopes),
        }
        return self.sign({"cat": MACHINE_CATEGORY}, payload | dict(claims or {}))

    def oauth_token(
        self, user: FakeUser, *, scopes: Iterable[str] = ("profile",), claims: Mapping[str, Any] | None = None
    ) -> str:
        """An OAuth access token: a client acting for a person."""
        payload = {
            "sub": user.id,
            "client_id": self.new_id("client"),
            "jti": self.new_token_id("oat"),
            "scp": list(scopes),
        }
        return self.sign({"typ": "at+jwt"}, self._times(86_400) | payload | dict(claims or {}))

    def id_token(self, user: FakeUser, *, claims: Mapping[str, Any] | None = None) -> str:
        """An ID token: tells a client who somebody is."""
        payload = self._times(86_400) | {"sub": user.id, "aud": self.new_id("client"), "nonce": "n"}
        return self.sign({}, payload | dict(claims or {}))

    def handshake_token(self) -> str:
        """A handshake: carries cookies."""
        return self.sign({"cat": SESSION_CATEGORY}, {"handshake": ["__session=; Path=/"]})

    def oidc_token(self, subject: str, audience: str, *, claims: Mapping[str, Any] | None = None) -> str:
        """An access token as other OpenID providers make them."""
        payload = self._times(3600) | {"sub": subject, "aud": audience, "client_id": "spa", "scope": "openid"}
        return self.sign({"typ": "at+jwt"}, payload | dict(claims or {}))

    # Opaque tokens, of which only the API can tell anything

    def create_api_key(
        self,
        subject: FakeUser | FakeOrganization,
        *,
        name: str = "key",
        scopes: Iterable[str] = (),
        claims: Metadata | None = None,
        expires_in: int | None = None,
    ) -> FakeMachineToken:
        """A key that belongs to a person or an organization. Its `secret` is what is sent."""
        self.must_be_here(subject)
        return self._machine_token(
            "api_key", "ak", subject.id, expires_in, name=name, scopes=list(scopes), claims=claims
        )

    def create_machine_token(
        self, *, scopes: Iterable[str] = (), claims: Metadata | None = None, expires_in: int | None = None
    ) -> FakeMachineToken:
        """A machine's token for other machines."""
        machine = self.new_id("mch")
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
        """What a client acting for a person sends. The audience is the resource it was granted for."""
        self.must_be_here(user)
        said = {"client_id": client_id or self.new_id("client"), "audience": audience, "actor": actor}
        return self._machine_token("oauth_token", "oat", user.id, expires_in, scopes=list(scopes), **said)

    def revoke_machine_token(self, token: FakeMachineToken) -> None:
        """From now on its verification fails."""
        if self.machine_tokens.get(token.secret) is not token:
            raise ClerkRefuses(404, "resource_not_found", f"No token was found with id {token.id}")
        token.revoked = True
        token.updated_at = self.moment()

    @one_at_a_time
    def _machine_token(
        self, kind: str, prefix: str, subject: str, expires_in: int | None, /, **said: Any
    ) -> FakeMachineToken:
        now = self.moment()
        token = FakeMachineToken(self.new_token_id(prefix), kind, self.new_id(prefix), subject, **said)
        token.expires_at = None if expires_in is None else now + expires_in * 1000
        token.created_at = token.updated_at = now
        self.machine_tokens[token.secret] = token
        return token

    def sign(self, header: Mapping[str, Any], payload: Mapping[str, Any]) -> str:
        """Sign what you like with this environment's key, under its usual header. None takes a parameter away."""
        full = {"alg": self.key.algorithm, "kid": self.key.kid, "typ": "JWT"} | dict(header)
        return self.key.sign(_present(full), _present(payload))

    def _new_key(self, kid: str | None) -> SigningKey:
        self._keys_made += 1
        return SigningKey(f"{self.seed}/{self._keys_made}", kid, self._algorithm)

    def _times(self, expires_in: int) -> dict[str, Any]:
        # A token that has expired already was made before that, so that its age is all that is wrong with it.
        made = int(self.clock()) + min(expires_in - 60, 0) * (expires_in <= 0)
        return {"iss": self.issuer, "iat": made, "nbf": made - 10, "exp": int(self.clock()) + expires_in}


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
    """Permissions as Clerk packs them: one mask per feature, one bit per name."""
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
