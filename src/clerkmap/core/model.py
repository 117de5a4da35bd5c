"""Yours: the rows that your foreign keys point to, each with Clerk's word on it, and the principal made of them.

The ids are your own. What Clerk says may change or be taken back at any time; an id, once given, stays.
"""

import json
from dataclasses import dataclass
from typing import Any

from ..errors import LockedOut, MembershipDeleted, OrganizationDeleted, UserBanned, UserDeleted
from .claims import Actor, Claims
from .records import (
    SIGHTED,
    AnyRecord,
    ClerkMembership,
    ClerkOrganization,
    ClerkUser,
    current_membership,
)

Id = str | int


@dataclass(frozen=True, slots=True, repr=False)
class User:
    """Your user: an id of yours, and the identity at Clerk that led to it."""

    id: Id
    role: str | None
    created_at: int
    deleted_at: int | None
    clerk: ClerkUser

    @property
    def clerk_id(self) -> str | None:
        """The id at Clerk. None once the person has been deleted there."""
        return self.clerk.clerk_id

    @property
    def email(self) -> str | None:
        """The primary address, where Clerk has told it. Whether it is verified, `clerk.email_verified` says."""
        return self.clerk.email

    @property
    def name(self) -> str | None:
        """First and last name, where Clerk has told them."""
        return " ".join(part for part in (self.clerk.first_name, self.clerk.last_name) if part) or None

    @property
    def public_metadata(self) -> dict[str, Any]:
        """What your application keeps at Clerk about the person: a copy for each reader."""
        return _metadata(self.clerk)

    def __repr__(self) -> str:
        return f"User({self.id!r})"


@dataclass(frozen=True, slots=True, repr=False)
class Organization:
    """Your organization."""

    id: Id
    clerk: ClerkOrganization

    @property
    def clerk_id(self) -> str | None:
        """The id at Clerk. None once the organization has been deleted there."""
        return self.clerk.clerk_id

    @property
    def name(self) -> str | None:
        """The name, where Clerk has told it."""
        return self.clerk.name

    @property
    def slug(self) -> str | None:
        """The slug, where Clerk has told it. It may change: never key anything on it."""
        return self.clerk.slug

    @property
    def public_metadata(self) -> dict[str, Any]:
        """What your application keeps at Clerk about the organization: a copy for each reader."""
        return _metadata(self.clerk)

    def __repr__(self) -> str:
        return f"Organization({self.id!r})"


@dataclass(frozen=True, slots=True, repr=False)
class Membership:
    """A user's place in an organization."""

    clerk: ClerkMembership

    @property
    def clerk_id(self) -> str | None:
        """The membership's id at Clerk. None while it is only known from tokens."""
        return self.clerk.clerk_id

    @property
    def role(self) -> str | None:
        """The role, such as `org:admin`."""
        return self.clerk.role

    def __repr__(self) -> str:
        return f"Membership({self.role!r})"


Mapped = User | Organization | Membership


@dataclass(frozen=True, slots=True)
class Change:
    """What one `put` wrote about one thing: what stood there before, and what stands there now."""

    before: Mapped | None
    after: Mapped

    @property
    def made(self) -> bool:
        """Whether the thing was not known before."""
        return self.before is None

    @property
    def altered(self) -> bool:
        """Whether anything but the rank is another than before. A `put` returns only such changes."""
        return self.before is None or self.before.clerk.said() != self.after.clerk.said()

    @property
    def keys(self) -> list[str]:
        """The keys of whose standing this touches: the organization's, or the person's."""
        rows = [row for row in (self.before, self.after) if row is not None]
        return [row.clerk.user_key if isinstance(row, Membership) else row.clerk.key for row in rows]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a repository knows of a caller: the user, and of the organization in question all that was ever said.

    `settled` is False when it was read inside a transaction that may yet be undone.
    """

    user: User
    organization: Organization | None = None
    memberships: tuple[ClerkMembership, ...] = ()
    settled: bool = True


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling."""

    user: User
    organization: Organization | None
    membership: Membership | None
    claims: Claims

    @property
    def actor(self) -> Actor | None:
        """Who is really acting, when somebody is signed in as this user."""
        return self.claims.actor


def sightings(claims: Claims, standing: Standing | None) -> list[AnyRecord]:
    """What a token tells that the repository does not know yet. Never anything against a better source."""
    instance, observed_at, active = claims.instance, claims.issued_at * 1000, claims.organization
    found: list[AnyRecord] = []
    if standing is None:
        found.append(ClerkUser.make(SIGHTED, instance, claims.subject, observed_at=observed_at))
    if active is None or (standing is not None and _refusal(standing.user) is not None):
        return found
    organization = standing.organization if standing is not None else None
    if organization is None or _is_news(active.slug, organization.slug, organization.clerk, observed_at):
        found.append(ClerkOrganization.make(SIGHTED, instance, active.id, slug=active.slug, observed_at=observed_at))
    said = standing.memberships if standing is not None else ()
    current = current_membership(said)
    if current is None or _is_news(active.role, current.role, current, observed_at):
        sighted = ClerkMembership.sighted(
            instance,
            clerk_user_id=claims.subject,
            clerk_organization_id=active.id,
            role=active.role,
            observed_at=observed_at,
        )
        if current is not None or current_membership([*said, sighted]) is not None:
            found.append(sighted)
    return found


def _is_news(told: str | None, known: str | None, record: AnyRecord, observed_at: int) -> bool:
    """Whether a token tells something else than an earlier one did. Against anything better it tells nothing."""
    return told is not None and told != known and record.grade == SIGHTED and observed_at > record.observed_at


def admit(claims: Claims, standing: Standing) -> Principal:
    """Make a principal of claims and standing, or refuse: a good token does not outlive the person's welcome."""
    user = standing.user
    refusal = _refusal(user)
    if refusal is not None:
        raise refusal
    if claims.organization is None:
        return Principal(user, None, None, claims)
    organization = standing.organization
    if organization is None or organization.clerk.is_deleted:
        raise OrganizationDeleted
    current = current_membership(standing.memberships)
    if current is None:
        raise MembershipDeleted
    return Principal(user, organization, Membership(current), claims)


def _refusal(user: User) -> LockedOut | None:
    if user.clerk.is_deleted or user.deleted_at is not None:
        return UserDeleted()
    return UserBanned() if user.clerk.banned else None


def _metadata(record: ClerkUser | ClerkOrganization) -> dict[str, Any]:
    metadata: dict[str, Any] = json.loads(record.public_metadata)
    return metadata
