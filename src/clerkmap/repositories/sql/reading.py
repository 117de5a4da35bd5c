"""The queries of the SQL repositories: a caller's standing, your users and organizations, and pages of all records."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, make_dataclass
from itertools import groupby
from typing import Any, TypeVar, cast

from ...core.model import Count, Id, Member, Membership, Organization, User, exported, representative
from ...core.principal import Standing
from ...core.records import (
    DELETED,
    EMBEDDED,
    FROM_TOKEN,
    FULL,
    AnyRecord,
    ClerkMembership,
    ClerkOrganization,
    ClerkUser,
    Ends,
    Kind,
    Place,
    ends_of,
    key_of,
    place_of,
)
from ...core.times import to_datetime
from ...core.writeback import OutboxKind
from ...errors import UserUnknown
from ..arguments import (
    LISTED,
    check_after,
    check_keys,
    check_kind,
    check_limit,
    check_outbox_kind,
    is_storable,
)
from ..options import Configuration
from .statements import ORGANIZATION_COLUMNS, USER_COLUMNS, Ask, Rows, Statements, Work

Made = TypeVar("Made")

_EMAIL_VERIFIED, _BANNED = USER_COLUMNS.index("email_verified"), USER_COLUMNS.index("banned")
# The columns of a user: those of the Clerk record, and yours.
_CLERKS, _YOURS = slice(len(USER_COLUMNS)), slice(len(USER_COLUMNS), len(USER_COLUMNS) + 4)
# The columns of the statement that finds a standing in an organization: the user's, whether the session has ended, ...
_OVER = len(USER_COLUMNS) + 4
_MEMBERSHIP = _OVER + 1 + len(ORGANIZATION_COLUMNS) + 1


class SqlReading:
    """The queries."""

    def __init__(self, sql: Statements, configuration: Configuration) -> None:
        self._sql = sql
        self._configuration = configuration

    def find(
        self, instance: str, user_id: str, organization_id: str | None, session_id: str | None
    ) -> Work[Standing | None]:
        rows = yield self.standing_wanted(instance, user_id, organization_id, session_id)
        return standing_of(rows, in_organization=organization_id is not None)

    def standing_wanted(self, instance: str, user_id: str, organization_id: str | None, session_id: str | None) -> Ask:
        """Return the question for a caller's standing. `standing_of` reads the answer."""
        session = None if session_id is None else key_of(session_id), self._configuration.oldest_session_rank()
        user = instance, key_of(user_id)
        if organization_id is None:
            return self._sql.select_standing, (*session, *user)
        organization = key_of(organization_id)
        return self._sql.select_standing_in, (*session, organization, organization, *user)

    def user(self, id: Id) -> Work[User | None]:
        users = yield from self.identities_of(id)
        return representative(users)

    def organization(self, id: Id | None) -> Work[Organization | None]:
        rows = (yield self._sql.select_organization_by_id, (id,)) if self._configuration.is_id(id) else []
        return organization_of(rows[0]) if rows and rows[0][-1] == id else None

    def row(self, kind: OutboxKind, instance: str, key: str) -> Work[User | Organization | None]:
        check_outbox_kind(kind)
        if not is_storable(key):
            return None
        if kind == "user":
            return (yield from self.user_at(instance, key))
        return (yield from self.organization_at(instance, key))

    def export(self, id: Id) -> Work[dict[str, Any]]:
        users = yield from self.known(id)
        return exported(users, (yield from self.all_memberships(users)))

    def records(self, kind: Kind, instance: str, after: str, limit: int) -> Work[list[AnyRecord]]:
        place = (instance, check_after(after), check_limit(limit))
        rows = yield self._sql.select_page[check_kind(kind)], place
        return [_RECORD_OF[kind](row) for row in rows if row[0] == instance]  # it is the first column of each

    def record(self, kind: Kind, instance: str, key: str) -> Work[AnyRecord | None]:
        statement = self._sql.select_record[check_kind(kind)]
        rows = (yield statement, (instance, key)) if is_storable(key) else []
        return _RECORD_OF[kind](rows[0]) if rows else None

    def ranks(self, kind: Kind, instance: str, keys: Sequence[str]) -> Work[dict[str, str]]:
        statement = self._sql.select_ranks[check_kind(kind)]
        wanted = [key for key in check_keys(keys) if is_storable(key)]
        return dict((yield statement, (instance, json.dumps(wanted)))) if wanted else {}

    def counts(self, instance: str) -> Work[dict[Kind, Count]]:
        found: dict[Kind, Count] = {}
        for kind in LISTED:
            found[kind] = _counted((yield self._sql.count_records[kind], (instance,)))
        return found

    def known(self, id: Id) -> Work[list[User]]:
        """Return the identities of your user, or raise `UserUnknown`."""
        users = yield from self.identities_of(id)
        if not users:
            raise UserUnknown
        return users

    def identities_of(self, id: Id) -> Work[list[User]]:
        """Return your user once for each identity."""
        rows = (yield self._sql.select_identities, (id,)) if self._configuration.is_id(id) else []
        users = [user_of(row) for row in sorted(rows)]
        return [user for user in users if user.id == id]  # SQLite finds the user 7 by "7", too

    def user_at(self, instance: str, key: str) -> Work[User | None]:
        """Return your user by an identity."""
        rows = yield self._sql.select_user, (instance, key)
        return user_of(rows[0]) if rows else None

    def user_to_write(self, instance: str, key: str) -> Work[User | None]:
        """Return your user by an identity, and lock both rows."""
        rows = yield self._sql.select_user_to_write, (instance, key)
        return user_of(rows[0]) if rows else None

    def organization_at(self, instance: str, key: str) -> Work[Organization | None]:
        """Return your organization by the key of Clerk's record."""
        rows = yield self._sql.select_organization, (instance, key)
        return organization_of(rows[0]) if rows else None

    def memberships_of(self, instance: str, user_key: str, organization_key: str) -> Work[tuple[ClerkMembership, ...]]:
        """Return the memberships between a user and an organization."""
        rows = yield self._sql.select_memberships, (instance, user_key, organization_key)
        return tuple(_clerk_membership_of(row) for row in sorted(rows))

    def all_memberships(self, users: Iterable[User]) -> Work[list[ClerkMembership]]:
        """Return the memberships of all these identities."""
        found: list[ClerkMembership] = []
        for user in users:
            rows = yield self._sql.select_all_memberships, place_of(user.clerk)
            found.extend(_clerk_membership_of(row) for row in sorted(rows))
        return found

    def users_at(self, places: Iterable[Place], *, to_write: bool = False) -> Work[dict[Place, User]]:
        """Return many users by their identities, and lock the rows if they are `to_write`."""
        statement = self._sql.select_users_to_write if to_write else self._sql.select_users
        rows = yield from _rows_at(places, statement)
        return {place_of(user.clerk): user for user in map(user_of, rows)}

    def organizations_at(self, places: Iterable[Place], *, to_write: bool = False) -> Work[dict[Place, Organization]]:
        """Return many organizations by the keys of Clerk's records, and lock the rows if they are `to_write`."""
        statement = self._sql.select_organizations_to_write if to_write else self._sql.select_organizations
        rows = yield from _rows_at(places, statement)
        return {place_of(organization.clerk): organization for organization in map(organization_of, rows)}

    def memberships_between(self, records: Iterable[ClerkMembership]) -> Work[dict[Ends, dict[str, ClerkMembership]]]:
        """Return all memberships with the same ends as one of these, by their ends and keys."""
        found: dict[Ends, dict[str, ClerkMembership]] = {}
        for instance, group in groupby(records, key=lambda record: record.instance):
            pairs = json.dumps([(record.user_key, record.organization_key) for record in group])
            for row in (yield self._sql.select_memberships_between, (instance, pairs)):
                record = _clerk_membership_of(row)
                found.setdefault(ends_of(record), {})[record.key] = record
        return found

    def current_of_users_to_write(self, users: Iterable[Place]) -> Work[list[ClerkMembership]]:
        """Return the current memberships of these users, and lock their rows."""
        rows = yield from _rows_at(users, self._sql.select_memberships_of_users_to_write)
        return [_clerk_membership_of(row[:-1]) for row in rows if row[-1]]

    def current_in_organizations_to_write(self, organizations: Iterable[Place]) -> Work[list[ClerkMembership]]:
        """Return the current memberships in these organizations, and lock their rows."""
        rows = yield from _rows_at(organizations, self._sql.select_current_in_organizations_to_write)
        return [_clerk_membership_of(row) for row in rows]


def _rows_at(places: Iterable[Place], statement: str) -> Work[Rows]:
    found: Rows = []
    for instance, group in groupby(places, key=lambda place: place[0]):
        found += yield statement, (instance, json.dumps([key for _, key in group]))
    return found


def _maker(cls: type[Made]) -> Callable[..., Made]:
    """Return a function that makes a frozen dataclass from all its fields, in a third of the time of its constructor.

    That sets each field with a call of `object.__setattr__`. Here the object is first one of a subclass that is not
    frozen, so that each field is an ordinary assignment.
    """
    plain: Any = make_dataclass(cls.__name__, [field.name for field in fields(cast(Any, cls))])
    writable = {"__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    thawed: Any = type(cls.__name__, (cls,), {"__slots__": (), "__init__": plain.__init__, **writable})

    def make(*values: Any) -> Made:
        made: Any = thawed(*values)
        made.__class__ = cls
        return cast(Made, made)

    return make


_make_user, _make_clerk_user, _make_member = _maker(User), _maker(ClerkUser), _maker(Member)
_make_membership, _make_clerk_membership = _maker(Membership), _maker(ClerkMembership)


def user_of(row: tuple[Any, ...]) -> User:
    created_at: int
    deleted_at: int | None
    id, role, created_at, deleted_at = row[_YOURS]
    return _make_user(id, role, to_datetime(created_at), to_datetime(deleted_at), _clerk_user_of(row))


def member_of(user: tuple[Any, ...], organization: Organization, membership: tuple[Any, ...]) -> Member:
    """Return a current member."""
    return _make_member(user_of(user), organization, _make_membership(_clerk_membership_of(membership), True))


def organization_of(row: tuple[Any, ...]) -> Organization:
    return Organization(row[-1], ClerkOrganization(*row[: len(ORGANIZATION_COLUMNS)]))


def _clerk_user_of(row: tuple[Any, ...]) -> ClerkUser:
    said = list(row[_CLERKS])
    said[_EMAIL_VERIFIED] = bool(said[_EMAIL_VERIFIED])
    said[_BANNED] = bool(said[_BANNED])
    return _make_clerk_user(*said)


def _clerk_organization_of(row: tuple[Any, ...]) -> ClerkOrganization:
    return ClerkOrganization(*row)


def _clerk_membership_of(row: tuple[Any, ...]) -> ClerkMembership:
    return _make_clerk_membership(*row)


_RECORD_OF: dict[Kind, Callable[[tuple[Any, ...]], AnyRecord]] = {
    "user": _clerk_user_of,
    "organization": _clerk_organization_of,
    "membership": _clerk_membership_of,
}


def standing_of(rows: Rows, *, in_organization: bool) -> Standing | None:
    """Return a user's standing from its rows: in an organization, one for each membership, or one without any."""
    if not rows:
        return None
    first = rows[0]
    if not in_organization:
        return Standing(user_of(first), None, (), bool(first[_OVER]))
    organization = organization_of(first[_OVER + 1 : _MEMBERSHIP]) if first[_OVER + 1] is not None else None
    memberships = [_clerk_membership_of(row[_MEMBERSHIP:]) for row in rows if row[_MEMBERSHIP] is not None]
    memberships.sort(key=lambda record: record.key)
    return Standing(user_of(first), organization, tuple(memberships), bool(first[_OVER]))


def _counted(rows: Rows) -> Count:
    """Return the number of records and their newest times, from one row for each grade."""
    grades = {grade: (number, int(updated), int(observed)) for grade, number, updated, observed in rows}
    none = (0, 0, 0)
    told = [grades.get(grade, none) for grade in (EMBEDDED, FULL)]
    return Count(
        told=sum(number for number, _, _ in told),
        from_token=grades.get(FROM_TOKEN, none)[0],
        deleted=grades.get(DELETED, none)[0],
        updated_at=to_datetime(max(updated for _, updated, _ in told) or None),
        observed_at=to_datetime(
            max((observed for grade, (_, _, observed) in grades.items() if grade != FROM_TOKEN), default=None)
        ),
    )
