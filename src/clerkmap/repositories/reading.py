"""What the SQL repositories read, statement by statement."""

from typing import Any

from ..core.model import Id, Organization, User, exported, spokesman
from ..core.principal import Standing
from ..core.records import ClerkMembership, ClerkOrganization, ClerkUser, key_of
from ..errors import UserUnknown
from .options import Configuration
from .sql import ORGANIZATION_COLUMNS, USER_COLUMNS, Statements
from .work import Rows, Work

_EMAIL_VERIFIED, _BANNED = USER_COLUMNS.index("email_verified"), USER_COLUMNS.index("banned")
# The columns of the statement that finds a standing in an organization: the user's, whether the session is over, ...
_OVER = len(USER_COLUMNS) + 4
_MEMBERSHIP = _OVER + 1 + len(ORGANIZATION_COLUMNS) + 1


class Reading:
    """What is there."""

    def __init__(self, sql: Statements, configuration: Configuration) -> None:
        self._sql = sql
        self._configuration = configuration

    def find(
        self, instance: str, user_id: str, organization_id: str | None, session_id: str | None
    ) -> Work[Standing | None]:
        session = None if session_id is None else key_of(session_id), self._configuration.forgotten_below()
        person = instance, key_of(user_id)
        if organization_id is None:
            rows = yield self._sql.select_standing, (*session, *person)
            return Standing(user_of(rows[0]), None, (), bool(rows[0][_OVER])) if rows else None
        organization = key_of(organization_id)
        rows = yield self._sql.select_standing_in, (*session, organization, organization, *person)
        return _standing_in(rows) if rows else None

    def user(self, id: Id) -> Work[User | None]:
        users = yield from self._identities_of(id)
        return spokesman(users)

    def organization(self, id: Id) -> Work[Organization | None]:
        rows = (yield self._sql.select_organization_by_id, (id,)) if self._configuration.is_id(id) else []
        return organization_of(rows[0]) if rows and rows[0][-1] == id else None

    def export(self, id: Id) -> Work[dict[str, Any]]:
        users = yield from self._known(id)
        return exported(users, (yield from self._all_memberships(users)))

    def _known(self, id: Id) -> Work[list[User]]:
        users = yield from self._identities_of(id)
        if not users:
            raise UserUnknown
        return users

    def _identities_of(self, id: Id) -> Work[list[User]]:
        rows = (yield self._sql.select_identities, (id,)) if self._configuration.is_id(id) else []
        users = [user_of(row) for row in sorted(rows)]
        return [user for user in users if user.id == id]  # SQLite finds the user 7 by "7", too

    def _user_at(self, instance: str, key: str) -> Work[User | None]:
        rows = yield self._sql.select_user, (instance, key)
        return user_of(rows[0]) if rows else None

    def _user_to_write(self, instance: str, key: str) -> Work[User | None]:
        rows = yield self._sql.select_user_to_write, (instance, key)
        return user_of(rows[0]) if rows else None

    def _organization_at(self, instance: str, key: str) -> Work[Organization | None]:
        rows = yield self._sql.select_organization, (instance, key)
        return organization_of(rows[0]) if rows else None

    def _memberships_of(self, instance: str, user_key: str, organization_key: str) -> Work[tuple[ClerkMembership, ...]]:
        rows = yield self._sql.select_memberships, (instance, user_key, organization_key)
        return tuple(ClerkMembership(*row) for row in sorted(rows))

    def _all_memberships(self, users: list[User]) -> Work[list[ClerkMembership]]:
        found: list[ClerkMembership] = []
        for user in users:
            rows = yield self._sql.select_all_memberships, (user.clerk.instance, user.clerk.key)
            found.extend(ClerkMembership(*row) for row in sorted(rows))
        return found


def _standing_in(rows: Rows) -> Standing:
    """From the rows of a person in an organization, one for each membership, or one without any."""
    first = rows[0]
    organization = organization_of(first[_OVER + 1 : _MEMBERSHIP]) if first[_OVER + 1] is not None else None
    memberships = [ClerkMembership(*row[_MEMBERSHIP:]) for row in rows if row[_MEMBERSHIP] is not None]
    memberships.sort(key=lambda record: record.key)
    return Standing(user_of(first), organization, tuple(memberships), bool(first[_OVER]))


def user_of(row: tuple[Any, ...]) -> User:
    id, role, created_at, deleted_at = row[len(USER_COLUMNS) : len(USER_COLUMNS) + 4]
    return User(id, role, created_at, deleted_at, clerk_user_of(row))


def clerk_user_of(row: tuple[Any, ...]) -> ClerkUser:
    said = list(row[: len(USER_COLUMNS)])
    said[_EMAIL_VERIFIED] = bool(said[_EMAIL_VERIFIED])
    said[_BANNED] = bool(said[_BANNED])
    return ClerkUser(*said)


def organization_of(row: tuple[Any, ...]) -> Organization:
    return Organization(row[-1], ClerkOrganization(*row[: len(ORGANIZATION_COLUMNS)]))
