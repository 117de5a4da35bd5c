"""The rows of the fake Clerk, as plain dataclasses. All times are in milliseconds."""

from dataclasses import dataclass, field
from typing import Any

Metadata = dict[str, Any]


class ClerkRefuses(Exception):
    """An error answer of Clerk: a status, a code and a message."""

    def __init__(self, status: int, code: str, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.status: int = status
        self.code: str = code
        self.message: str = message
        self.parameter: str | None = parameter


@dataclass(eq=False)
class FakeAddress:
    """An email address of a user."""

    id: str
    address: str
    verified: bool = True
    created_at: int = 0
    updated_at: int = 0


@dataclass(eq=False)
class FakeUser:
    """A user. Metadata that was replaced by null is None."""

    id: str
    first_name: str | None = None
    last_name: str | None = None
    username: str | None = None
    external_id: str | None = None
    addresses: list[FakeAddress] = field(default_factory=list[FakeAddress])
    primary_address_id: str | None = None
    public_metadata: Metadata | None = field(default_factory=dict[str, Any])
    private_metadata: Metadata | None = field(default_factory=dict[str, Any])
    unsafe_metadata: Metadata | None = field(default_factory=dict[str, Any])
    banned: bool = False
    locked: bool = False
    deprovisioned: bool = False
    created_at: int = 0
    updated_at: int = 0
    last_sign_in_at: int | None = None
    last_active_at: int | None = None

    @property
    def primary_address(self) -> FakeAddress | None:
        """The primary address."""
        return next((each for each in self.addresses if each.id == self.primary_address_id), None)

    @property
    def email(self) -> str | None:
        """The text of the primary address."""
        return self.primary_address.address if self.primary_address else None

    @property
    def identifier(self) -> str:
        """The name shown to other users: the address or the username."""
        return self.email or self.username or ""


@dataclass(eq=False)
class FakeOrganization:
    """An organization."""

    id: str
    name: str
    slug: str
    created_by: str | None = None
    public_metadata: Metadata | None = field(default_factory=dict[str, Any])
    private_metadata: Metadata | None = field(default_factory=dict[str, Any])
    max_allowed_memberships: int = 5
    admin_delete_enabled: bool = True
    created_at: int = 0
    updated_at: int = 0


@dataclass(eq=False)
class FakeMembership:
    """A membership of a user in an organization."""

    id: str
    organization_id: str
    user_id: str
    role: str = "org:member"
    public_metadata: Metadata = field(default_factory=dict[str, Any])
    private_metadata: Metadata = field(default_factory=dict[str, Any])
    created_at: int = 0
    updated_at: int = 0


@dataclass(eq=False)
class FakeInvitation:
    """An invitation of an address to an organization. Its status is pending, accepted, revoked or expired."""

    id: str
    organization_id: str
    email: str
    role: str = "org:member"
    inviter_id: str | None = None
    user_id: str | None = None
    status: str = "pending"
    public_metadata: Metadata = field(default_factory=dict[str, Any])
    private_metadata: Metadata = field(default_factory=dict[str, Any])
    expires_at: int = 0
    created_at: int = 0
    updated_at: int = 0


@dataclass(eq=False)
class FakeSession:
    """A session. Its status is active, pending, ended, removed or revoked."""

    id: str
    user_id: str
    client_id: str
    status: str = "active"
    organization_id: str | None = None
    actor: dict[str, Any] | None = None
    expires_at: int = 0
    abandoned_at: int = 0
    created_at: int = 0
    updated_at: int = 0


@dataclass(eq=False)
class FakeMachineToken:
    """An opaque token, which only the API can verify. Its kind is api_key, m2m_token or oauth_token."""

    id: str
    kind: str
    secret: str = field(repr=False)
    subject: str
    name: str = ""
    scopes: list[str] = field(default_factory=list[str])
    claims: Metadata | None = None
    client_id: str | None = None
    audience: str | list[str] | None = None
    actor: Metadata | None = None
    revoked: bool = False
    expires_at: int | None = None
    created_at: int = 0
    updated_at: int = 0


@dataclass(frozen=True)
class FakeRole:
    """A role in organizations, with its permissions. Permissions that begin with `org:sys_` are never in tokens."""

    key: str
    name: str
    permissions: tuple[str, ...] = ()


SYSTEM_ROLES = (
    FakeRole(
        "org:admin",
        "Admin",
        (
            "org:sys_profile:manage",
            "org:sys_profile:delete",
            "org:sys_memberships:read",
            "org:sys_memberships:manage",
            "org:sys_domains:read",
            "org:sys_domains:manage",
        ),
    ),
    FakeRole("org:member", "Member", ("org:sys_memberships:read",)),
)
