"""A fake Clerk in the process of your tests: users, organizations, real signed tokens, webhooks and the Backend API."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, Unpack

from ..auth.verifier import Verifier
from ..core.instance import Instance
from ..core.records import ClerkUser
from .clients import renewing
from .clock import Clock
from .fake.api.asgi import ClerkApp
from .fake.api.backend_api import Api
from .fake.api.calls import Parts
from .fake.api.faults import Faults
from .fake.api.lists import Lists
from .fake.callers import Callers, check_user
from .fake.objects import (
    FakeAddress,
    FakeInvitation,
    FakeMachineToken,
    FakeMembership,
    FakeOrganization,
    FakeRole,
    FakeSession,
    FakeUser,
    Metadata,
)
from .fake.organizations import InvitationOptions, MemberOptions, OrganizationDirectory
from .fake.shapes import Shape, image_url
from .fake.store import DAY, Row, Store
from .fake.tokens import ORIGIN, TemplateTokenOptions, TokenOptions, Tokens
from .fake.users import SessionEnd, UserDirectory
from .fake.webhook_delivery import Delivery, Wire
from .signing import SigningKey

if TYPE_CHECKING:
    from .fake.api.transport import ClerkTransport

__all__ = ["ORIGIN", "FakeClerk"]

Client = TypeVar("Client")

_making = threading.Lock()


class FakeClerk:
    """One Clerk instance. Two fakes with the same arguments make the same ids, keys and tokens.

    Times are milliseconds since 1970, as in Clerk's JSON. Lifetimes are seconds.

    Args:
        seed: Seeds the keys, secrets and ids.
        clock: The time of tokens and changes; the real time by default.
        algorithm: The signature algorithm. Clerk uses RS256; choose another one for `oidc_token`.
        kid: The id of the signing key; the instance id by default, as at Clerk.
        host: The host of the Frontend API; derived from the seed by default.
        ids: Seeds the ids as well. Fakes with the same seed and different `ids` share keys and secrets, but no ids.
    """

    _store_type: ClassVar[type[Store]] = Store

    def __init__(
        self,
        seed: int = 0,
        *,
        clock: Clock | None = None,
        algorithm: str = "RS256",
        kid: str | None = None,
        host: str | None = None,
        ids: str = "",
    ) -> None:
        self.clock: Clock = Clock() if clock is None else clock
        self.store: Store = self._store_type(seed, self.clock, ids)
        self.tokens: Tokens = Tokens(self.store, algorithm, kid, host)
        self.faults: Faults = Faults()
        self._users = UserDirectory(self.store)
        self._organizations = OrganizationDirectory(self.store, self._users)
        self._callers = Callers(self._users, self._organizations, self.tokens)
        lists = Lists(self.store)
        self.api: Api = Api(Parts(self.store, self._users, self._organizations, self.tokens, self.faults, lists))
        self.app: ClerkApp = ClerkApp(self.api, self.clock, (self.tokens.frontend_api, "api.clerk.com"))
        self._instance: Instance | None = None
        self._instance_of: object = None

        self.seed: int = seed
        self.instance_id: str = self.store.instance_id
        self.frontend_api: str = self.tokens.frontend_api
        self.publishable_key: str = self.tokens.publishable_key
        self.wire: Wire = self.store.wire
        self.users: dict[str, FakeUser] = self.store.users
        self.organizations: dict[str, FakeOrganization] = self.store.organizations
        self.memberships: dict[str, FakeMembership] = self.store.memberships
        self.invitations: dict[str, FakeInvitation] = self.store.invitations
        self.sessions: dict[str, FakeSession] = self.store.sessions
        self.machine_tokens: dict[str, FakeMachineToken] = self.store.machine_tokens
        self.roles: dict[str, FakeRole] = self.store.roles

    # Configuration of clerkmap

    @property
    def issuer(self) -> str:
        """The issuer in the tokens. Assign another one to serve the keys elsewhere."""
        return self.tokens.issuer

    @issuer.setter
    def issuer(self, issuer: str) -> None:
        self.tokens.issuer = issuer

    @property
    def instance(self) -> Instance:
        """This instance as clerkmap's configuration, with its keys and secrets: nothing is fetched."""
        with _making:  # threads that ask at the same time get the same object
            secrets = self.tokens.published_keys(), self.wire.secrets
            if self._instance is None or self._instance_of != secrets:
                self._instance, self._instance_of = self.make_instance(), secrets
            return self._instance

    def make_instance(self, **options: Any) -> Instance:
        """Return an `Instance` with these options; with `jwks=None` the keys are fetched."""
        settings: dict[str, Any] = {
            "publishable_key": self.publishable_key,
            "secret_key": self.secret_key,
            "jwks": self.jwks(),
            "webhook_secrets": self.wire.secrets,
            "instance_id": self.instance_id,
            **options,
        }
        return Instance(**settings)

    def make_oidc_instance(self, audience: str, **options: Any) -> Instance:
        """Return an `Instance` for this issuer as a plain OpenID provider."""
        settings: dict[str, Any] = {"issuer": self.issuer, "audience": audience, "jwks": self.jwks(), **options}
        return Instance.oidc(**settings)

    def environment(self) -> dict[str, str]:
        """Return Clerk's environment variables for `Instance.from_env`, keys included: nothing is fetched."""
        return {
            "CLERK_PUBLISHABLE_KEY": self.publishable_key,
            "CLERK_SECRET_KEY": self.secret_key,
            "CLERK_JWT_KEY": self.key.pem(),
            "CLERK_WEBHOOK_SIGNING_SECRET": ",".join(self.wire.secrets),
        }

    def verifier(self, **policy: Any) -> Verifier:
        """Return a `Verifier` for `instance` with this fake's clock."""
        return Verifier(self.instance, clock=self.clock, **policy)

    def transport(self) -> "ClerkTransport":
        """Return a transport for httpx without sockets: `httpx.Client(transport=clerk.transport())`."""
        from .fake.api.transport import ClerkTransport  # imported here: a fake without requests needs no httpx

        return ClerkTransport(self.api, self.clock)

    # Users

    def create_user(
        self,
        email: str | None = None,
        *more_emails: str,
        first_name: str | None = None,
        last_name: str | None = None,
        username: str | None = None,
        external_id: str | None = None,
        verified: bool = True,
        public_metadata: Metadata | None = None,
        private_metadata: Metadata | None = None,
        unsafe_metadata: Metadata | None = None,
        banned: bool = False,
        locked: bool = False,
        created_at: int | None = None,
        id: str | None = None,
    ) -> FakeUser:
        """Create a user. The first address is the primary one."""
        user = FakeUser(id or "", first_name, last_name, username, external_id, banned=banned, locked=locked)
        user.public_metadata, user.private_metadata = public_metadata, private_metadata
        user.unsafe_metadata = unsafe_metadata
        emails = () if email is None else (email, *more_emails)
        return self._users.create(user, emails, verified=verified, created_at=created_at)

    def update_user(self, user: FakeUser, /, **changes: Any) -> FakeUser:
        """Change `first_name`, `last_name`, `username`, `external_id`, `primary_address_id` or `created_at`."""
        return self._users.update(user, **changes)

    def add_address(self, user: FakeUser, email: str, *, verified: bool = True, primary: bool = False) -> FakeAddress:
        """Add an email address to a user."""
        return self._users.add_address(user, email, verified=verified, primary=primary)

    def remove_address(self, user: FakeUser, address: FakeAddress) -> None:
        """Remove an email address. If it was the primary one, the first of the others becomes primary."""
        self._users.remove_address(user, address)

    def ban(self, user: FakeUser) -> None:
        """Ban a user and revoke the user's sessions."""
        self._users.ban(user)

    def unban(self, user: FakeUser) -> None:
        """Lift a ban."""
        self._users.unban(user)

    def lock(self, user: FakeUser, *, locked: bool = True) -> None:
        """Lock a user, as Clerk does for an hour after too many wrong passwords; or unlock it."""
        self._users.lock(user, locked)

    def deprovision(self, user: FakeUser, *, deprovisioned: bool = True) -> None:
        """Deprovision a user, as a company's directory does, and revoke the sessions; or provision it again."""
        self._users.deprovision(user, deprovisioned)

    def delete_user(self, user: FakeUser) -> None:
        """Delete a user, with memberships and sessions. As at Clerk, those send no events."""
        self._users.delete(user)

    def merge_metadata(self, row: FakeUser | FakeOrganization | FakeMembership, /, **patches: Metadata | None) -> None:
        """Merge into `public_metadata`, `private_metadata` or `unsafe_metadata` at every level. None deletes a key."""
        if isinstance(row, FakeUser):
            self._users.merge_metadata(row, patches)
        else:
            self._organizations.merge_metadata(row, patches)

    def replace_metadata(self, row: FakeUser | FakeOrganization, /, **values: Metadata | None) -> None:
        """Replace each given kind of metadata as a whole."""
        if isinstance(row, FakeUser):
            self._users.replace_metadata(row, values)
        else:
            self._organizations.replace_metadata(row, values)

    def sign_in(
        self,
        user: FakeUser,
        organization: FakeOrganization | None = None,
        *,
        pending: bool = False,
        actor: dict[str, Any] | None = None,
    ) -> FakeSession:
        """Start a session of a user, with an active organization if one is given."""
        return self._users.sign_in(user, organization, pending=pending, actor=actor)

    def end_session(self, session: FakeSession, how: SessionEnd = "ended") -> None:
        """End a session: the user has `ended` or `removed` it, or the application has `revoked` it."""
        self._users.end_session(session, how)

    def sessions_of(self, user: FakeUser) -> list[FakeSession]:
        """Return the sessions of a user."""
        return self.store.sessions_of(user)

    def record(self, user: FakeUser, **changes: Any) -> ClerkUser:
        """Return clerkmap's record of a user as of now, with these attributes changed: `banned=True`."""
        now = self.moment()
        address = user.primary_address
        profile: dict[str, Any] = {
            "email": user.email,
            "email_verified": address is not None and address.verified,
            "first_name": user.first_name,
            "last_name": user.last_name,
            "username": user.username,
            "image_url": image_url(user.id),
            "external_id": user.external_id,
            "banned": user.banned or user.deprovisioned,
            "public_metadata": user.public_metadata,
            "created_at": user.created_at,
        }
        return ClerkUser.full(self.instance.name, user.id, observed_at=now, updated_at=now, **(profile | changes))

    # Organizations

    def create_organization(
        self,
        name: str = "Acme",
        *,
        slug: str | None = None,
        created_by: FakeUser | None = None,
        public_metadata: Metadata | None = None,
        private_metadata: Metadata | None = None,
        max_allowed_memberships: int = 5,
        created_at: int | None = None,
        id: str | None = None,
    ) -> FakeOrganization:
        """Create an organization. The user in `created_by` becomes an admin."""
        organization = FakeOrganization(id or "", name, slug or "", max_allowed_memberships=max_allowed_memberships)
        organization.public_metadata, organization.private_metadata = public_metadata, private_metadata
        return self._organizations.create(organization, created_by, created_at=created_at)

    def update_organization(self, organization: FakeOrganization, /, **changes: Any) -> FakeOrganization:
        """Change `name`, `slug`, `max_allowed_memberships`, `admin_delete_enabled` or `created_at`."""
        return self._organizations.update(organization, **changes)

    def delete_organization(self, organization: FakeOrganization) -> None:
        """Delete an organization, with memberships and invitations. As at Clerk, those send no events."""
        self._organizations.delete(organization)

    def add_member(
        self, organization: FakeOrganization, user: FakeUser, **options: Unpack[MemberOptions]
    ) -> FakeMembership:
        """Make a user a member, or give a member another role. See `MemberOptions`."""
        return self._organizations.add_member(organization, user, **options)

    def remove_member(self, organization: FakeOrganization, user: FakeUser) -> FakeMembership:
        """Remove a member. A user that joins again gets a new membership."""
        return self._organizations.remove_member(organization, user)

    def members_of(self, organization: FakeOrganization) -> list[FakeMembership]:
        """Return the memberships in an organization."""
        return self.store.members_of(organization)

    def memberships_of(self, user: FakeUser) -> list[FakeMembership]:
        """Return the memberships of a user."""
        return self.store.memberships_of(user)

    def membership(self, organization: FakeOrganization, user: FakeUser) -> FakeMembership | None:
        """Return the user's membership in the organization, or None."""
        return self.store.membership(organization, user)

    def create_role(self, key: str, *, permissions: Iterable[str] = (), name: str | None = None) -> FakeRole:
        """Create or replace a role: `create_role("org:editor", permissions=["org:invoices:read"])`."""
        return self._organizations.create_role(key, permissions, name)

    def invite(
        self, organization: FakeOrganization, email: str, **options: Unpack[InvitationOptions]
    ) -> FakeInvitation:
        """Invite an email address to an organization. See `InvitationOptions`."""
        return self._organizations.invite(organization, email, **options)

    def accept_invitation(self, invitation: FakeInvitation, user: FakeUser | None = None) -> FakeUser:
        """Accept an invitation as this user, or as the user with its address, created if missing."""
        return self._organizations.accept_invitation(invitation, user)

    def revoke_invitation(self, invitation: FakeInvitation) -> FakeInvitation:
        """Revoke a pending invitation."""
        return self._organizations.revoke_invitation(invitation)

    def invitations_to(self, organization: FakeOrganization) -> list[FakeInvitation]:
        """Return the invitations to an organization."""
        return self.store.invitations_to(organization)

    # Keys and tokens

    @property
    def secret_key(self) -> str:
        """The secret key of the Backend API."""
        return self.tokens.secret_key

    @property
    def session_claims(self) -> dict[str, str]:
        """Claims added to each session token, with Clerk's shortcodes: `{"userId": "{{user.external_id}}"}`."""
        return self.tokens.session_claims

    @session_claims.setter
    def session_claims(self, claims: dict[str, str]) -> None:
        self.tokens.session_claims = claims

    @property
    def key(self) -> SigningKey:
        """The signing key of tokens."""
        return self.tokens.key

    def jwks(self) -> dict[str, Any]:
        """Return the published keys as a JWKS."""
        return self.tokens.jwks()

    def rotate_key(self, kid: str | None = None, *, keep_for: float = 0) -> SigningKey:
        """Replace the signing key but not its id, unless you give one. Publish the old key for `keep_for` seconds."""
        return self.tokens.rotate_key(kid, keep_for)

    def token(
        self, user: FakeUser, organization: FakeOrganization | None = None, **options: Unpack[TokenOptions]
    ) -> str:
        """Return a session token of a user with this active organization. See `TokenOptions`."""
        check_user(user)
        return self.tokens.token(user, organization, **options)

    def template_token(self, user: FakeUser, **options: Unpack[TemplateTokenOptions]) -> str:
        """Return a token of a JWT template, which has no session. Give the claims of the template in `claims`."""
        check_user(user)
        return self.tokens.template_token(user, **options)

    def machine_token(self, *, scopes: Iterable[str] = (), claims: Mapping[str, Any] | None = None) -> str:
        """Return a machine token (JWT). Its scopes are the ids of the machines that it is for."""
        return self.tokens.machine_token(scopes=scopes, claims=claims)

    def oauth_token(
        self, user: FakeUser, *, scopes: Iterable[str] = ("profile",), claims: Mapping[str, Any] | None = None
    ) -> str:
        """Return an OAuth access token (JWT) of a client that acts for a user."""
        return self.tokens.oauth_token(user, scopes=scopes, claims=claims)

    def id_token(self, user: FakeUser, *, claims: Mapping[str, Any] | None = None) -> str:
        """Return an OpenID Connect ID token."""
        return self.tokens.id_token(user, claims=claims)

    def handshake_token(self) -> str:
        """Return a handshake token, which carries cookies."""
        return self.tokens.handshake_token()

    def oidc_token(self, subject: str, audience: str, *, claims: Mapping[str, Any] | None = None) -> str:
        """Return an access token of another OpenID provider."""
        return self.tokens.oidc_token(subject, audience, claims=claims)

    def create_api_key(
        self,
        subject: FakeUser | FakeOrganization,
        *,
        name: str = "key",
        scopes: Iterable[str] = (),
        claims: Metadata | None = None,
        expires_in: int | None = None,
    ) -> FakeMachineToken:
        """Create an API key of a user or an organization. Send its `secret` as the token."""
        return self.tokens.create_api_key(subject, name=name, scopes=scopes, claims=claims, expires_in=expires_in)

    def create_machine_token(
        self, *, scopes: Iterable[str] = (), claims: Metadata | None = None, expires_in: int | None = None
    ) -> FakeMachineToken:
        """Create an opaque machine token. Send its `secret` as the token."""
        return self.tokens.create_machine_token(scopes=scopes, claims=claims, expires_in=expires_in)

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
        """Create an opaque OAuth access token. Its audience is the resource that it was granted for."""
        return self.tokens.create_oauth_token(
            user, scopes=scopes, expires_in=expires_in, client_id=client_id, audience=audience, actor=actor
        )

    def revoke_machine_token(self, token: FakeMachineToken) -> None:
        """Revoke an opaque token."""
        self.tokens.revoke_machine_token(token)

    def sign(self, header: Mapping[str, Any], payload: Mapping[str, Any]) -> str:
        """Sign any payload with the signing key. None in the header or payload removes a name."""
        return self.tokens.sign(header, payload)

    # Signed-in requests

    def auth(
        self,
        user: FakeUser | None = None,
        organization: FakeOrganization | None = None,
        **token: Unpack[TokenOptions],
    ) -> dict[str, str]:
        """Return the headers of a signed-in request: `client.get("/", headers=clerk.auth())`.

        Args:
            user: The caller; by default that of `set_caller`, or `somebody()`. If the default caller has another role
                in the organization, a user with the role is chosen or created.
            organization: The active organization; the user becomes a member. If only a role or permissions are given,
                it is the first organization, or a new one named "Acme".
            token: See `TokenOptions`. The session is the user's newest one, or a new one.
        """
        return {"Authorization": self._callers.bearer(self._callers.caller(user, organization, token))}

    def signed_in(
        self,
        client: Client,
        user: FakeUser | None = None,
        organization: FakeOrganization | None = None,
        **token: Unpack[TokenOptions],
    ) -> Client:
        """Sign a test client in: each of its requests carries a new token. Arguments are those of `auth`.

        The client is one of httpx, Starlette, FastAPI, Django or Flask. A request with its own header keeps it.
        """
        caller = self._callers.caller(user, organization, token)
        return renewing(client, lambda: self._callers.bearer(caller))

    def set_caller(
        self,
        user: FakeUser | None = None,
        organization: FakeOrganization | None = None,
        **token: Unpack[TokenOptions],
    ) -> None:
        """Set the default caller and token of `auth` and `signed_in`."""
        self._callers.default = self._callers.caller(user, organization, token)

    def somebody(self) -> FakeUser:
        """Return the first user; create one if there is none."""
        return self._callers.any_user()

    # Webhooks, ids and time

    @property
    def webhook_secret(self) -> str:
        """The newest webhook secret."""
        return self.store.webhook_secret

    def rotate_webhook_secret(self, *, keep_for: float = DAY) -> str:
        """Replace the webhook secret. The old secret signs as well for `keep_for` seconds."""
        return self.store.rotate_webhook_secret(keep_for)

    def deliveries(
        self, *, shuffle: bool = False, duplicate: float = 0, drop: float = 0, late: float = 0
    ) -> Iterator[Delivery]:
        """Yield the webhook deliveries that are due, signed, in the order of their events.

        `duplicate`, `drop` and `late` are probabilities: a late event comes after all others. A delivery counts as
        successful; call `delivery.failed()` to have Clerk retry it later.
        """
        return self.wire.deliveries(shuffle=shuffle, duplicate=duplicate, drop=drop, late=late)

    def say(self, type: str, data: Shape) -> None:
        """Send an event of any type. Use it for events that no method sends, such as `sms.created`."""
        self.store.say(type, data)

    def silence(self) -> AbstractContextManager[None]:
        """Send no events for the changes in a `with` block."""
        return self.store.silence()

    def shape(self, row: Row) -> Shape:
        """Return a row in the JSON of Clerk's API."""
        return self.store.shape(row)

    def new_id(self, prefix: str) -> str:
        """Return a new id in Clerk's format."""
        return self.store.new_id(prefix)

    def moment(self) -> int:
        """Return the time in milliseconds, later than the result of every earlier call."""
        return self.store.moment()
