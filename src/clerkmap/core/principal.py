"""The principal: the caller of a request, made of the token's claims and the repository's standing."""

from dataclasses import dataclass
from typing import Any, Generic

from ..errors import UserMissing
from .claims import Actor, Claims
from .model import IdT, Membership, Organization, User
from .records import ClerkMembership
from .serialization import pack, unpack


@dataclass(frozen=True, slots=True)
class Standing(Generic[IdT]):
    """The repository's view of a caller: the user, and the organization with all records of the membership.

    `session_is_over` refers to the token's session. `settled` is False for a read inside a transaction that may be
    rolled back. `role_is_known` is False if only a token was read: it has the user's id, but no role.
    """

    user: User[IdT]
    organization: Organization[IdT] | None = None
    memberships: tuple[ClerkMembership, ...] = ()
    session_is_over: bool = False
    settled: bool = True
    role_is_known: bool = True


@dataclass(frozen=True, slots=True)
class Principal(Generic[IdT]):
    """The caller of a request: a user or, with an organization's API key, an organization.

    `role_is_known` is False if the user's id was taken from the token (`trust_own_id=True`). Then `user.role` is None,
    even if the user has a role. A requirement of a role reads the repository first, and so does `Resolver.confirm`.
    """

    optional_user: User[IdT] | None
    organization: Organization[IdT] | None
    membership: Membership | None
    claims: Claims
    role_is_known: bool = True

    @property
    def user(self) -> User[IdT]:
        """Your user. Raises `UserMissing` if the caller is an organization.

        This only happens if you accept `organization_api_key`. Use `optional_user` there.
        """
        if self.optional_user is None:
            raise UserMissing
        return self.optional_user

    @property
    def actor(self) -> Actor | None:
        """The actor that impersonates the user, or None."""
        return self.claims.actor

    def to_dict(self) -> dict[str, Any]:
        """Return the principal as plain JSON for a job queue. It contains personal data, but not the token."""
        return pack(self.optional_user, self.organization, self.membership, self.claims, self.role_is_known)

    @classmethod
    def from_dict(cls, value: object) -> "Principal":
        """Return the principal of `to_dict`, or raise `PrincipalRefused`. `Resolver.confirm` checks that it has access.

        A writer of the dictionary can become any user. Use `seal` and `unseal` if your code is not the only writer.
        """
        return cls(*unpack(value))
