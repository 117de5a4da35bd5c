"""Your rows: users, organizations and memberships, each with its Clerk record, and the changes of them.

Your foreign keys point to these rows. Their ids are yours and never change, while Clerk's data may change at any time.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic

from .merging import representative_order
from .records import COLUMNS, ClerkMembership, ClerkOrganization, ClerkSession, ClerkUser
from .times import to_text


@dataclass(frozen=True, slots=True)
class Count:
    """The number and age of the records of one kind in one instance.

    told: The number of full and embedded records.
    from_token: The records from tokens alone. A membership has two records if Clerk sent it after a token named it.
    deleted: The tombstones.
    updated_at: Clerk's latest `updated_at` of the full and embedded records.
    observed_at: When Clerk last sent a record or a deletion. Tokens do not count.
    """

    told: int = 0
    from_token: int = 0
    deleted: int = 0
    updated_at: datetime | None = None
    observed_at: datetime | None = None

    @property
    def alive(self) -> int:
        """The number of records that are not tombstones."""
        return self.told + self.from_token


MAX_ROLE = 255  # characters

Id = str | int

# The type of your ids: `str` or `int`. `User` alone is `User[Any]`, which accepts both. A repository that you make
# without `ids=` makes text. Before Python 3.13 a type variable has no default, so only type checkers see it.
if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T")
    IdT = TypeVar("IdT", bound=Id, default=Any)
    NewIdT = TypeVar("NewIdT", bound=Id, default=str)
    OpenedIdT = TypeVar("OpenedIdT", bound=Id, default=str)  # of `open`, which cannot use the type of its class
else:
    from typing import TypeVar

    T, IdT = TypeVar("T"), TypeVar("IdT")
    NewIdT, OpenedIdT = TypeVar("NewIdT"), TypeVar("OpenedIdT")


class _PublicView:
    """The fields of a row that other users may see. A response model of Pydantic also takes the row itself."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema  # only Pydantic calls this

        return core_schema.no_info_before_validator_function(lambda row: getattr(row, "public", row), handler(source))


@dataclass(frozen=True, slots=True)
class PublicUser(_PublicView):
    """The public view of a user. It has no address, user name, role or metadata, and no id at Clerk."""

    id: Id
    name: str | None
    image_url: str | None


@dataclass(frozen=True, slots=True)
class PublicOrganization(_PublicView):
    """The public view of an organization."""

    id: Id
    name: str | None
    slug: str | None
    image_url: str | None


@dataclass(frozen=True, slots=True)
class PublicMember(_PublicView):
    """The public view of a member. The role is the one in the organization."""

    user: PublicUser
    organization: PublicOrganization
    role: str | None


@dataclass(frozen=True, slots=True, repr=False)
class User(Generic[IdT]):
    """Your user: your id, and the Clerk record of the identity that led to it.

    `User[int]` and `User[str]` say the type of the id, and `User` alone accepts both.

    Times are in UTC. Those of `clerk` are milliseconds since 1970, as in Clerk's JSON.
    """

    id: IdT
    role: str | None
    created_at: datetime
    deleted_at: datetime | None
    clerk: ClerkUser

    @property
    def clerk_id(self) -> str | None:
        """The id at Clerk, or None after a deletion there."""
        return self.clerk.clerk_id

    @property
    def email(self) -> str | None:
        """The primary address, or None. `clerk.email_verified` says whether it is verified."""
        return self.clerk.email

    @property
    def name(self) -> str | None:
        """The first and last name, or None."""
        return " ".join(part for part in (self.clerk.first_name, self.clerk.last_name) if part) or None

    @property
    def public_metadata(self) -> dict[str, Any]:
        """The user's public metadata at Clerk: a copy for each reader."""
        return _metadata(self.clerk)

    @property
    def public(self) -> PublicUser:
        """The fields that other users may see, ready for JSON."""
        return PublicUser(self.id, self.name, self.clerk.image_url)

    def __repr__(self) -> str:
        return f"User({self.id!r})"


@dataclass(frozen=True, slots=True, repr=False)
class Organization(Generic[IdT]):
    """Your organization."""

    id: IdT
    clerk: ClerkOrganization

    @property
    def clerk_id(self) -> str | None:
        """The id at Clerk, or None after a deletion there."""
        return self.clerk.clerk_id

    @property
    def name(self) -> str | None:
        """The name, or None."""
        return self.clerk.name

    @property
    def slug(self) -> str | None:
        """The slug, or None. It may change, so do not use it as a key."""
        return self.clerk.slug

    @property
    def public_metadata(self) -> dict[str, Any]:
        """The organization's public metadata at Clerk: a copy for each reader."""
        return _metadata(self.clerk)

    @property
    def public(self) -> PublicOrganization:
        """The fields that other users may see, ready for JSON."""
        return PublicOrganization(self.id, self.name, self.slug, self.clerk.image_url)

    def __repr__(self) -> str:
        return f"Organization({self.id!r})"


@dataclass(frozen=True, slots=True, repr=False)
class Membership:
    """A user's place in an organization.

    It is current while the user and the organization exist, the user is not banned, and Clerk has not ended it.
    """

    clerk: ClerkMembership
    is_current: bool = True

    @property
    def clerk_id(self) -> str | None:
        """The membership's id at Clerk, or None if only tokens have named the membership."""
        return self.clerk.clerk_id

    @property
    def role(self) -> str | None:
        """The role, such as `org:admin`."""
        return self.clerk.role

    def __repr__(self) -> str:
        return f"Membership({self.role!r})"


@dataclass(frozen=True, slots=True, repr=False)
class Member(Generic[IdT]):
    """A user in an organization, with the membership that counts now."""

    user: User[IdT]
    organization: Organization[IdT]
    membership: Membership

    @property
    def role(self) -> str | None:
        """The role in the organization, such as `org:admin`."""
        return self.membership.role

    @property
    def public(self) -> PublicMember:
        """The fields that other users may see, ready for JSON."""
        return PublicMember(self.user.public, self.organization.public, self.role)

    def __repr__(self) -> str:
        return f"Member({self.user.id!r}, {self.organization.id!r})"


@dataclass(frozen=True, slots=True)
class ResultPage(Generic[T]):
    """A part of a list. Pass `after` to the same method to get the next page; it is None on the last one."""

    items: tuple[T, ...]
    after: str | None


@dataclass(frozen=True, slots=True, repr=False)
class Session:
    """A session that is over."""

    clerk: ClerkSession

    def __repr__(self) -> str:
        return "Session()"


Mapped = User[IdT] | Organization[IdT] | Membership | Session


@dataclass(frozen=True, slots=True)
class Erasure(Generic[IdT]):
    """The result of `erase`: your user after the erasure.

    `is_pending` is True while a file may still hold the erased data: your transaction is open, or another connection to
    the SQLite file has an old snapshot. The repository finishes the erasure at its next write or `poll`.
    """

    user: User[IdT]
    is_pending: bool


@dataclass(frozen=True, slots=True)
class Change(Generic[IdT]):
    """One change to a user, organization, membership or session: its state before and after.

    Exactly one of `made`, `altered`, `deleted` and `regained` is True. `user` and `organization` are your rows; for a
    membership they are its two ends. `linked` is True if a linker or `link` joined a new identity to an existing user:
    a hook makes no row for that user. `follows` is True if a membership begins or ends because of its user or
    organization, and is itself unchanged at Clerk.
    """

    before: Mapped[IdT] | None
    after: Mapped[IdT]
    user: User[IdT] | None = None
    organization: Organization[IdT] | None = None
    linked: bool = False
    follows: bool = field(default=False, compare=False, repr=False)
    also_touches: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @property
    def made(self) -> bool:
        """Whether the row is new."""
        return self.before is None and _is_there(self.after)

    @property
    def altered(self) -> bool:
        """Whether the row existed before and still exists."""
        return self.before is not None and _is_there(self.before) and _is_there(self.after)

    @property
    def deleted(self) -> bool:
        """Whether the row was deleted. `before` is None if the deletion arrived first."""
        return (self.before is None or _is_there(self.before)) and not _is_there(self.after)

    @property
    def regained(self) -> bool:
        """Whether a deleted row exists again: a member has joined again, or a user has a new identity.

        A membership is also regained when the ban of its user ends.
        """
        return self.before is not None and not _is_there(self.before) and _is_there(self.after)

    @property
    def erases(self) -> bool:
        """Whether the change removes personal data or a name for good."""
        return self.deleted and not self.is_membership

    @property
    def is_user(self) -> bool:
        """Whether the row is a user."""
        return isinstance(self.after, User)

    @property
    def is_organization(self) -> bool:
        """Whether the row is an organization."""
        return isinstance(self.after, Organization)

    @property
    def is_membership(self) -> bool:
        """Whether the row is a membership."""
        return isinstance(self.after, Membership)

    @property
    def membership(self) -> Membership | None:
        """The membership after the change, or None if the row is no membership."""
        return self.after if isinstance(self.after, Membership) else None

    @property
    def member(self) -> Member[IdT] | None:
        """The user, the organization and the membership after the change; also of a membership that has ended.

        It is None if the row is no membership. A hook gets a membership always with both ends.
        """
        if self.membership is None or self.user is None or self.organization is None:
            return None
        return Member(self.user, self.organization, self.membership)

    @property
    def is_news(self) -> bool:
        """Whether more than the rank changed. Only such changes are returned and passed to hooks.

        A membership that is current neither before nor after is no news.
        """
        if self.before is None:
            return _is_there(self.after) or not self.is_membership
        if not _is_there(self.before) and not _is_there(self.after):
            return False
        return _content(self.before) != _content(self.after)

    @property
    def touches(self) -> tuple[str, ...]:
        """The keys of all standings that this change affects: the user's, the organization's or the session's."""
        clerk = self.after.clerk
        if self.follows:  # the change of the user or organization touches them
            return ()
        return (clerk.user_key if isinstance(clerk, ClerkMembership) else clerk.key, *self.also_touches)


def representative(identities: Iterable[User]) -> User | None:
    """Return the one of several identities that represents their user, or None."""
    return max(identities, key=lambda user: representative_order(user.clerk), default=None)


def without_role(change: Change) -> Change:
    """Return the change with the user's role removed."""
    if not isinstance(change.after, User):
        return change
    after = replace(change.after, role=None)
    return replace(change, after=after, user=after)


def keys_of(users: Iterable[User]) -> tuple[str, ...]:
    """Return the keys of the identities that represent these users."""
    return tuple(user.clerk.key for user in users)


def _is_there(row: Mapped) -> bool:
    if isinstance(row, Membership):
        return row.is_current
    return row.deleted_at is None if isinstance(row, User) else not row.clerk.is_deleted


def _content(row: Mapped) -> tuple[Any, ...]:
    if isinstance(row, User):
        return row.clerk.said(), (row.id, row.role, row.deleted_at)
    return row.clerk.said(), isinstance(row, Membership) and row.is_current


def _metadata(record: ClerkUser | ClerkOrganization) -> dict[str, Any]:
    metadata: dict[str, Any] = json.loads(record.public_metadata)
    return metadata


def exported(identities: Sequence[User], memberships: Sequence[ClerkMembership]) -> dict[str, Any]:
    """Return all stored data of a user as JSON. There is at least one identity."""
    user = identities[0]
    deleted_at = None if user.deleted_at is None else user.deleted_at.isoformat()
    return {
        "user": {
            "id": user.id,
            "role": user.role,
            "created_at": user.created_at.isoformat(),
            "deleted_at": deleted_at,
        },
        "identities": [_as_json(each.clerk) for each in identities],
        "memberships": [_as_json(each) for each in sorted(memberships, key=lambda each: (each.instance, each.key))],
    }


def _as_json(record: ClerkUser | ClerkMembership) -> dict[str, Any]:
    told = {name: getattr(record, name) for name in COLUMNS[record.kind]}
    if isinstance(record, ClerkUser):
        told["public_metadata"] = json.loads(record.public_metadata)
    told |= {"created_at": to_text(record.created_at), "updated_at": to_text(record.updated_at)}
    return told | {"observed_at": to_text(record.observed_at or None)}


def is_role(role: object) -> bool:
    """Return whether a value is a role that every database can store."""
    return isinstance(role, str) and 0 < len(role) <= MAX_ROLE and role.isprintable()


def role_in_metadata(record: ClerkUser) -> str | None:
    """Return the role in `public_metadata.role`, or None."""
    if '"role"' not in record.public_metadata:
        return None
    role: str | None = json.loads(record.public_metadata).get("role")
    return role if is_role(role) else None
