"""A Clerk in your test's own process: people, organizations, and real signed tokens, all from one seed."""

import string
import threading
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from ..core.instance import Instance
from ..core.records import ClerkUser
from ..core.verifier import MACHINE_CATEGORY, SESSION_CATEGORY, TEMPLATE_CATEGORY
from ..verifier import Verifier
from .clock import Clock
from .signing import SigningKey

ORIGIN = "https://app.example.com"


@dataclass(frozen=True)
class FakeUser:
    """A person at the fake Clerk."""

    id: str
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None


@dataclass(frozen=True)
class FakeOrganization:
    """An organization at the fake Clerk, with the role of each member."""

    id: str
    name: str
    slug: str
    roles: dict[str, str] = field(default_factory=dict[str, str])


_making = threading.Lock()


class FakeClerk:
    """One Clerk environment. Two of the same seed make the same ids, keys and tokens.

    Args:
        seed: What everything is made from.
        clock: The time that tokens are made at; the real one by default.
        algorithm: What tokens are signed with. Clerk signs with RS256; others serve `oidc_token`.
        kid: The id of the signing key. As at Clerk, it is the instance's own, unless you choose.
    """

    def __init__(
        self, seed: int = 0, *, clock: Clock | None = None, algorithm: str = "RS256", kid: str | None = None
    ) -> None:
        self.seed: int = seed
        self.clock: Clock = Clock() if clock is None else clock
        self._random = Random(f"clerkmap {seed}")  # reproducible on purpose
        self._keys_made = 0
        self._instance: Instance | None = None
        self._algorithm = algorithm
        self.frontend_api: str = f"seed-{seed}.clerk.accounts.dev"
        self.issuer: str = f"https://{self.frontend_api}"
        self.publishable_key: str = "pk_test_" + b64encode(f"{self.frontend_api}$".encode()).decode().rstrip("=")
        self.key: SigningKey = self._new_key(self.new_id("ins") if kid is None else kid)

    @property
    def instance(self) -> Instance:
        """This environment as clerkmap sees it, with its keys in hand: no socket is opened."""
        if self._instance is None:
            with _making:  # of several threads that ask at once, all are to be given the same
                self._instance = self._instance or self.make_instance()
        return self._instance

    def make_instance(self, **options: Any) -> Instance:
        """The same with options of `Instance`; `jwks=None` leaves the keys to be fetched."""
        settings: dict[str, Any] = {"publishable_key": self.publishable_key, "jwks": self.jwks(), **options}
        return Instance(**settings)

    def make_oidc_instance(self, audience: str, **options: Any) -> Instance:
        """This environment as if it were another OpenID provider."""
        settings: dict[str, Any] = {"issuer": self.issuer, "audience": audience, "jwks": self.jwks(), **options}
        return Instance.oidc(**settings)

    def verifier(self, **policy: Any) -> Verifier:
        """A verifier of `instance` that goes by this environment's clock."""
        return Verifier(self.instance, clock=self.clock, **policy)

    def record(self, who: FakeUser, **said: Any) -> ClerkUser:
        """What Clerk would say now of a person, and with it whatever you add: `banned=True`."""
        now = int(self.clock() * 1000)
        profile: dict[str, Any] = {"email": who.email, "first_name": who.first_name, "last_name": who.last_name}
        return ClerkUser.stated(self.instance.name, who.id, observed_at=now, updated_at=now, **(profile | said))

    def jwks(self) -> dict[str, Any]:
        """The public keys, as they are published."""
        return {"keys": [self.key.jwk()]}

    def rotate_key(self, kid: str | None = None) -> SigningKey:
        """Replace the signing key. Its id stays, as it does at Clerk, unless a new one is given.

        An instance that was made before keeps the key it was given.
        """
        self._instance = None
        self.key = self._new_key(self.key.kid if kid is None else kid)
        return self.key

    def new_id(self, prefix: str) -> str:
        """An id as Clerk writes them."""
        return f"{prefix}_{''.join(self._random.choices(string.ascii_letters + string.digits, k=27))}"

    def create_user(
        self, email: str | None = None, *, first_name: str | None = None, last_name: str | None = None
    ) -> FakeUser:
        """Sign a person up."""
        return FakeUser(self.new_id("user"), email, first_name, last_name)

    def create_organization(
        self, name: str = "Acme", *, slug: str | None = None, created_by: FakeUser | None = None
    ) -> FakeOrganization:
        """Make an organization. Who makes one is its administrator."""
        organization = FakeOrganization(self.new_id("org"), name, slug or name.lower().replace(" ", "-"))
        if created_by is not None:
            self.add_member(organization, created_by, role="org:admin")
        return organization

    def add_member(self, organization: FakeOrganization, user: FakeUser, *, role: str = "org:member") -> None:
        """Give a person a role in an organization, or another one."""
        organization.roles[user.id] = role

    def token(
        self,
        user: FakeUser,
        organization: FakeOrganization | None = None,
        *,
        role: str | None = None,
        permissions: Iterable[str] = (),
        features: Iterable[str] = (),
        plan: str | None = None,
        version: int = 2,
        session: str | None = None,
        party: str | None = ORIGIN,
        pending: bool = False,
        actor: str | None = None,
        factor_ages: tuple[int, int] = (0, -1),
        expires_in: int = 60,
        claims: Mapping[str, Any] | None = None,
        header: Mapping[str, Any] | None = None,
    ) -> str:
        """A session token. In `claims` and `header`, what is given is added or replaced, and None takes it away.

        Permissions are written `org:invoices:read`, features and plans with their scope: `o:invoices`, `u:themes`.
        """
        payload = self._times(expires_in) | {
            "sub": user.id,
            "sid": session or self.new_id("sess"),
            "azp": party,
            "fva": list(factor_ages),
            "jti": self.new_id("jti"),
            "sts": "pending" if pending else "active",
            "act": {"sub": actor, "iss": "https://dashboard.clerk.com"} if actor else None,
        }
        role = role or (organization.roles.get(user.id, "org:member") if organization else None)
        if version == 1:
            payload |= _organization_v1(organization, role, permissions)
        else:
            payload |= {"v": 2, "pla": plan} | _organization_v2(organization, role, permissions, features)
        return self.sign({"cat": SESSION_CATEGORY} | dict(header or {}), payload | dict(claims or {}))

    def template_token(self, user: FakeUser, *, expires_in: int = 60, claims: Mapping[str, Any] | None = None) -> str:
        """A token made from a JWT template: not tied to a session."""
        payload = self._times(expires_in) | {"sub": user.id, "azp": ORIGIN, "jti": self.new_id("jti")}
        return self.sign({"cat": TEMPLATE_CATEGORY}, payload | dict(claims or {}))

    def machine_token(self, *, scopes: Iterable[str] = (), claims: Mapping[str, Any] | None = None) -> str:
        """A machine's token for other machines, whose ids are its scopes."""
        payload = self._times(3600) | {"sub": self.new_id("mch"), "jti": self.new_id("mt"), "scopes": " ".join(scopes)}
        return self.sign({"cat": MACHINE_CATEGORY}, payload | dict(claims or {}))

    def oauth_token(
        self, user: FakeUser, *, scopes: Iterable[str] = ("profile",), claims: Mapping[str, Any] | None = None
    ) -> str:
        """An OAuth access token: a client acting for a person."""
        payload = {"sub": user.id, "client_id": self.new_id("client"), "jti": self.new_id("oat"), "scp": list(scopes)}
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
