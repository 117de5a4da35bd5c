"""Who is calling: the principal, made of what a token proves and of what is known of its bearer."""

from dataclasses import dataclass
from typing import Any

from ..errors import (
    LockedOut,
    MembershipDeleted,
    OrganizationDeleted,
    SessionEnded,
    UserBanned,
    UserDeleted,
    UserMissing,
)
from .claims import Actor, Claims
from .merging import current_membership
from .model import Membership, Organization, User
from .records import FROM_TOKEN, AnyRecord, ClerkMembership, ClerkOrganization, ClerkUser
from .serialization import pack, unpack


@dataclass(frozen=True, slots=True)
class Standing:
    """What a repository knows of a caller: the user, and of the organization in question all that was ever said.

    `session_is_over` is about the session that was asked for. `settled` is False when it was read inside a
    transaction that may yet be undone. `role_is_known` is False where no repository was asked: a token names the user's
    id, and not the role.
    """

    user: User
    organization: Organization | None = None
    memberships: tuple[ClerkMembership, ...] = ()
    session_is_over: bool = False
    settled: bool = True
    role_is_known: bool = True


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: a person; or, with an API key of its own, an organization.

    `role_is_known` is False where the user's id was taken from the token (`trust_own_id=True`): `user.role` is None
    then, whichever role the user has. A requirement of a role asks the repository first, and `Resolver.confirm` does.
    """

    optional_user: User | None
    organization: Organization | None
    membership: Membership | None
    claims: Claims
    role_is_known: bool = True

    @property
    def user(self) -> User:
        """Your user. Where an organization is calling, this raises `UserMissing`: only who accepts the kind of token
        `organization_api_key` ever meets one, and asks for `optional_user`."""
        if self.optional_user is None:
            raise UserMissing
        return self.optional_user

    @property
    def actor(self) -> Actor | None:
        """Who is really acting, when somebody is signed in as this user."""
        return self.claims.actor

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON, for a job queue of your own. Personal data is in it; the token is not."""
        return pack(self.optional_user, self.organization, self.membership, self.claims, self.role_is_known)

    @classmethod
    def from_dict(cls, value: object) -> "Principal":
        """The same principal again, or `PrincipalRefused`. Whether they still may come in, `Resolver.confirm` says.

        Whoever can write the dictionary can be anybody. Where that is not only you, `unseal` what you have sealed.
        """
        return cls(*unpack(value))


def admit_organization(claims: Claims, organization: Organization) -> Principal:
    """The same of an organization that is calling itself."""
    if organization.clerk.is_deleted:
        raise OrganizationDeleted
    return Principal(None, organization, None, claims)


def token_records(claims: Claims, standing: Standing | None) -> list[AnyRecord]:
    """What a token tells that the repository does not know yet. Never anything against a better source."""
    instance, observed_at, active = claims.instance, claims.issued_at * 1000, claims.organization
    found: list[AnyRecord] = []
    if standing is None:
        found.append(ClerkUser.make(FROM_TOKEN, instance, claims.subject, observed_at=observed_at))
    if active is None or (standing is not None and _refusal(standing) is not None):
        return found
    organization = standing.organization if standing is not None else None
    if organization is None or _is_news(active.slug, organization.slug, organization.clerk, observed_at):
        found.append(ClerkOrganization.make(FROM_TOKEN, instance, active.id, slug=active.slug, observed_at=observed_at))
    said = standing.memberships if standing is not None else ()
    current = current_membership(said)
    if current is None or _is_news(active.role, current.role, current, observed_at):
        from_token = ClerkMembership.from_token(
            instance,
            clerk_user_id=claims.subject,
            clerk_organization_id=active.id,
            role=active.role,
            observed_at=observed_at,
        )
        if current is not None or current_membership([*said, from_token]) is not None:
            found.append(from_token)
    return found


def _is_news(told: str | None, known: str | None, record: AnyRecord, observed_at: int) -> bool:
    """Whether a token tells something else than an earlier one did. Against anything better it tells nothing."""
    return told is not None and told != known and record.grade == FROM_TOKEN and observed_at > record.observed_at


def admit(claims: Claims, standing: Standing) -> Principal:
    """Make a principal of claims and standing, or refuse: a good token does not outlive the person's welcome."""
    user = standing.user
    refusal = _refusal(standing)
    if refusal is not None:
        raise refusal
    if claims.organization is None:
        return Principal(user, None, None, claims, standing.role_is_known)
    organization = standing.organization
    if organization is None or organization.clerk.is_deleted:
        raise OrganizationDeleted
    current = current_membership(standing.memberships)
    if current is None:
        raise MembershipDeleted
    return Principal(user, organization, Membership(current), claims, standing.role_is_known)


def _refusal(standing: Standing) -> LockedOut | None:
    user = standing.user
    if user.clerk.is_deleted or user.deleted_at is not None:
        return UserDeleted()
    if user.clerk.banned:
        return UserBanned()
    return SessionEnded() if standing.session_is_over else None
