"""Yours: the rows that your foreign keys point to, each with Clerk's word on it, and what changes about them.

The ids are your own. What Clerk says may change or be taken back at any time; an id, once given, stays.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .merging import speaks_first
from .records import COLUMNS, ClerkMembership, ClerkOrganization, ClerkSession, ClerkUser


@dataclass(frozen=True, slots=True)
class Count:
    """How many there are of one kind in one instance, and how new they are. Times are milliseconds since 1970.

    told: Those of which Clerk has told, in full or inside another object.
    sighted: Those that nothing but tokens has named. A membership that Clerk has told of later is counted twice: what
        tokens say of one is a record of its own.
    deleted: The tombstones.
    updated_at: When Clerk last changed one of those told.
    observed_at: When Clerk last told something of any, a deletion too; tokens do not count.
    """

    told: int = 0
    from_token: int = 0
    deleted: int = 0
    updated_at: int | None = None
    observed_at: int | None = None

    @property
    def alive(self) -> int:
        """All that are not deleted."""
        return self.told + self.from_token


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


@dataclass(frozen=True, slots=True, repr=False)
class Session:
    """A session that is over."""

    clerk: ClerkSession

    def __repr__(self) -> str:
        return "Session()"


Mapped = User | Organization | Membership | Session


@dataclass(frozen=True, slots=True)
class Erasure:
    """The result of `erase`: your user, as it is now.

    `is_pending` says that a file may still hold the erased data: your transaction is open, or another connection to the
    SQLite file is reading the past. The repository finishes by itself, at its next write or `poll`.
    """

    user: User
    is_pending: bool


@dataclass(frozen=True, slots=True)
class Change:
    """What was written about one thing of yours: what stood there before, and what stands there now.

    It was either `made`, `altered`, `deleted` or `regained`. `user` and `organization` are those of yours that it is
    about: a membership's are its two ends, each None while it has not been heard of. `linked` is True where a linker or
    `link` tied a new person to a user you have: a hook makes no row for that user.
    """

    before: Mapped | None
    after: Mapped
    user: User | None = None
    organization: Organization | None = None
    linked: bool = False
    also_touches: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @property
    def made(self) -> bool:
        """It was not known before, and is there now."""
        return self.before is None and _is_there(self.after)

    @property
    def altered(self) -> bool:
        """It was there, and is there still."""
        return self.before is not None and _is_there(self.before) and _is_there(self.after)

    @property
    def deleted(self) -> bool:
        """It is there no longer. What was deleted before anything else was heard of it has no `before`."""
        return (self.before is None or _is_there(self.before)) and not _is_there(self.after)

    @property
    def regained(self) -> bool:
        """It had been deleted, and is there again: somebody has joined again, or a user has a new identity."""
        return self.before is not None and not _is_there(self.before) and _is_there(self.after)

    @property
    def erases(self) -> bool:
        """Personal data or a name was removed for good."""
        return self.deleted and not self.is_membership

    @property
    def is_user(self) -> bool:
        """Whether it is about a user."""
        return isinstance(self.after, User)

    @property
    def is_organization(self) -> bool:
        """Whether it is about an organization."""
        return isinstance(self.after, Organization)

    @property
    def is_membership(self) -> bool:
        """Whether it is about a user's place in an organization."""
        return isinstance(self.after, Membership)

    @property
    def membership(self) -> Membership | None:
        """The place in an organization, if it is about one."""
        return self.after if isinstance(self.after, Membership) else None

    @property
    def is_news(self) -> bool:
        """Whether anything but the rank is another than before. Others are not returned, and no hook hears of them.

        Nobody joins who is deleted, and nobody joins what is: such a membership never counts.
        """
        ends = [end for end in (self.user, self.organization) if end is not None]
        if self.is_membership and _is_there(self.after) and any(end.clerk.is_deleted for end in ends):
            return False
        if self.before is None:
            return True
        if not _is_there(self.before) and not _is_there(self.after):
            return False
        return _content(self.before) != _content(self.after)

    @property
    def touches(self) -> tuple[str, ...]:
        """The keys of whose standing this touches: the person's, the organization's, the session's."""
        clerk = self.after.clerk
        return (clerk.user_key if isinstance(clerk, ClerkMembership) else clerk.key, *self.also_touches)


def spokesman(identities: Iterable[User]) -> User | None:
    """Of several identities of one user, the one that speaks for them."""
    return max(identities, key=lambda user: speaks_first(user.clerk), default=None)


def without_role(change: Change) -> Change:
    """The same change of a user who has lost the role with it."""
    if not isinstance(change.after, User):
        return change
    after = replace(change.after, role=None)
    return replace(change, after=after, user=after)


def keys_of(users: Iterable[User]) -> tuple[str, ...]:
    """The keys of the identities through which these users are shown."""
    return tuple(user.clerk.key for user in users)


def _is_there(row: Mapped) -> bool:
    return row.deleted_at is None if isinstance(row, User) else not row.clerk.is_deleted


def _content(row: Mapped) -> tuple[Any, ...]:
    yours = (row.id, row.role, row.deleted_at) if isinstance(row, User) else ()
    return row.clerk.said(), yours


def _metadata(record: ClerkUser | ClerkOrganization) -> dict[str, Any]:
    metadata: dict[str, Any] = json.loads(record.public_metadata)
    return metadata


def exported(identities: Sequence[User], memberships: Sequence[ClerkMembership]) -> dict[str, Any]:
    """All that is stored of a user, ready for JSON. There is at least one identity."""
    user = identities[0]
    yours = {"id": user.id, "role": user.role, "created_at": user.created_at, "deleted_at": user.deleted_at}
    return {
        "user": yours,
        "identities": [_as_json(each.clerk) for each in identities],
        "memberships": [_as_json(each) for each in sorted(memberships, key=lambda each: (each.instance, each.key))],
    }


def _as_json(record: ClerkUser | ClerkMembership) -> dict[str, Any]:
    told = {name: getattr(record, name) for name in COLUMNS[record.kind]}
    if isinstance(record, ClerkUser):
        told["public_metadata"] = json.loads(record.public_metadata)
    return told | {"updated_at": record.updated_at, "observed_at": record.observed_at}
