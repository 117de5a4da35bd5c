"""What the SQL repositories do, statement by statement, said once for all of them.

Each method is a generator: it yields a statement with its values and is sent the rows. Who runs it chooses the driver,
sync or async, and holds the transaction around it. `memory_tables.py` says the same without SQL.
"""

from collections.abc import Generator, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from ..core.conclusions import deleted_at, forgotten_below, last_word
from ..core.model import Change, Id, Membership, Organization, Session, User, exported, keys_of, spokesman
from ..core.principal import Standing
from ..core.records import (
    SIGHTED,
    AnyRecord,
    ClerkMembership,
    ClerkOrganization,
    ClerkSession,
    ClerkUser,
    fold,
    key_of,
)
from ..errors import LinkRefused, UserUnknown
from .choices import Choices, FirstRoles, check_role, is_id, no_other_id
from .sql import (
    ORGANIZATION_COLUMNS,
    USER_COLUMNS,
    Statements,
    membership_row,
    organization_row,
    session_row,
    user_row,
)

T = TypeVar("T")
Ask = tuple[str, tuple[Any, ...]]  # a statement and its values
Rows = list[tuple[Any, ...]]
Work = Generator[Ask, Rows, T]
Written = tuple[list[Change], T]  # what was written, and what the caller is to get

_EMAIL_VERIFIED, _BANNED = USER_COLUMNS.index("email_verified"), USER_COLUMNS.index("banned")


class Tables:
    """Reading and writing the tables. Everything that writes is one transaction of whoever runs it."""

    def __init__(self, sql: Statements, choices: Choices) -> None:
        self._sql = sql
        self._choices = choices

    def find(
        self, instance: str, user_id: str, organization_id: str | None, session_id: str | None
    ) -> Work[Standing | None]:
        user_key = key_of(user_id)
        session_key = None if session_id is None else key_of(session_id)
        forgotten = forgotten_below(self._choices.now())
        rows = yield self._sql.select_standing, (session_key, forgotten, instance, user_key)
        if not rows:
            return None
        user, session_is_over = _user(rows[0]), bool(rows[0][-1])
        if organization_id is None:
            return Standing(user, None, (), session_is_over)
        organization = yield from self._organization_at(instance, key_of(organization_id))
        memberships = yield from self._memberships_of(instance, user_key, key_of(organization_id))
        return Standing(user, organization, memberships, session_is_over)

    def user(self, id: Id) -> Work[User | None]:
        users = yield from self._identities_of(id)
        return spokesman(users)

    def organization(self, id: Id) -> Work[Organization | None]:
        rows = (yield self._sql.select_organization_by_id, (id,)) if is_id(id) else []
        return _organization(rows[0]) if rows and rows[0][-1] == id else None

    def export(self, id: Id) -> Work[dict[str, Any]]:
        users = yield from self._known(id)
        return exported(users, (yield from self._all_memberships(users)))

    def put(self, records: Iterable[AnyRecord]) -> Work[Written[list[Change]]]:
        records, written = list(records), list[Change]()
        roles = self._choices.first_roles(records)
        for record in fold(records):
            change = yield from self._put(record, roles)
            if change is not None:
                written.append(change)
        written = yield from self._with_ends(written)
        return written, [change for change in written if change.is_news]

    def set_role(self, id: Id, role: str | None) -> Work[Written[User]]:
        check_role(role)
        users = yield from self._known(id)
        yield self._sql.set_role, (role, id)
        before = spokesman(users)
        assert before is not None
        after = replace(before, role=role)
        return [Change(before, after, after, also_touches=keys_of(users))], after

    def link(self, instance: str, clerk_id: str, id: Id) -> Work[Written[User]]:
        self._choices.check_id(id)
        known = yield from self._user_at(instance, key_of(clerk_id))
        if known is not None:
            if known.id != id:
                raise LinkRefused
            return [], known
        before = yield from self.user(id)
        sighted = ClerkUser.make(SIGHTED, instance, clerk_id, observed_at=0)
        yield self._sql.insert_user_if_new, (id, self._choices.now())
        yield self._sql.upsert_identity, (*user_row(sighted), id)
        return (yield from self._tied_anew(before, sighted, id))

    def unlink(self, instance: str, clerk_id: str, id: Id) -> Work[Written[User]]:
        before = yield from self._tied(instance, clerk_id, id)
        made = self._choices.make_id(before.clerk)
        if made is not None and (yield self._sql.select_id, (made,)):
            raise no_other_id()
        ((to,),) = yield self._sql.insert_user, (made, None, "", self._choices.now(), None)  # the role is yours to say
        return (yield from self._move(before, to))

    def relink(self, instance: str, clerk_id: str, id: Id, to: Id) -> Work[Written[User]]:
        self._choices.check_id(to)
        before = yield from self._tied(instance, clerk_id, id)
        if not (yield self._sql.select_id, (to,)):
            raise UserUnknown
        return (yield from self._move(before, to))

    def erase(self, id: Id) -> Work[Written[User]]:
        users = yield from self._known(id)
        memberships = yield from self._all_memberships(users)
        yield self._sql.set_role, (None, id)
        now = self._choices.now()
        said: list[AnyRecord] = [*(user.clerk for user in users), *memberships]
        written, _ = yield from self.put(record.tombstone(now) for record in said)
        user = yield from self.user(id)
        assert user is not None
        return written, user

    def _put(self, record: AnyRecord, roles: FirstRoles) -> Work[Change | None]:
        if isinstance(record, ClerkUser):
            return (yield from self._put_user(record, *roles.get((record.instance, record.key), (None, None))))
        if isinstance(record, ClerkOrganization):
            return (yield from self._put_organization(record))
        if isinstance(record, ClerkMembership):
            return (yield from self._put_membership(record))
        return (yield from self._put_session(record))

    def _put_user(self, record: ClerkUser, role: str | None, role_rank: str | None) -> Work[Change | None]:
        known = yield from self._user_at(record.instance, record.key)
        id = self._choices.linked_id(record) if known is None else known.id
        if id is None:
            return (yield from self._make_user(record, role, role_rank))
        before = known
        if known is None:
            before = yield from self.user(id)  # who has other identities already, perhaps
            yield self._sql.insert_user_if_new, (id, self._choices.now())
        is_written = yield self._sql.upsert_identity, (*user_row(record), id)
        is_given = (yield self._sql.give_role, (role, role_rank, id, role_rank)) if role is not None else []
        if not is_written and not is_given:
            return None
        if known is None or record.is_deleted or is_given:
            ((change,), _) = yield from self._tied_anew(before, record, id)
            return change
        after = replace(known, clerk=record)
        return Change(before, after, after)

    def _make_user(self, record: ClerkUser, role: str | None, role_rank: str | None) -> Work[Change]:
        now, gone = self._choices.now(), deleted_at([record])
        ((id,),) = yield self._sql.insert_user, (self._choices.make_id(record), role, role_rank, now, gone)
        yield self._sql.upsert_identity, (*user_row(record), id)
        user = User(id, role, now, gone, record)
        return Change(None, user, user)

    def _put_organization(self, record: ClerkOrganization) -> Work[Change | None]:
        before = yield from self._organization_at(record.instance, record.key)
        id = self._choices.make_id(record) if before is None else before.id
        written = yield self._sql.upsert_organization, (*organization_row(record), id)
        if not written:
            return None
        after = Organization(written[0][0], record)
        return Change(before, after, organization=after)

    def _put_membership(self, record: ClerkMembership) -> Work[Change | None]:
        said = yield from self._memberships_of(record.instance, record.user_key, record.organization_key)
        if not (yield self._sql.upsert_membership, membership_row(record)):
            return None
        before = last_word(said)
        after = last_word([*(each for each in said if each.key != record.key), record])
        assert after is not None
        return Change(None if before is None else Membership(before), Membership(after))

    def _put_session(self, record: ClerkSession) -> Work[Change | None]:
        forgotten = forgotten_below(self._choices.now())
        if record.rank < forgotten:
            return None
        is_new = not (yield self._sql.select_session, (record.instance, record.key))
        written = yield self._sql.upsert_session, session_row(record)
        yield self._sql.forget_sessions, (forgotten,)
        return Change(None, Session(record)) if written and is_new else None  # it was over before

    def _with_ends(self, written: list[Change]) -> Work[list[Change]]:
        """The same changes, those of memberships with the user and the organization that they are about."""
        complete: list[Change] = []
        for change in written:
            clerk = change.after.clerk
            if isinstance(clerk, ClerkMembership) and change.is_news:
                user = yield from self._user_at(clerk.instance, clerk.user_key)
                organization = yield from self._organization_at(clerk.instance, clerk.organization_key)
                change = replace(change, user=user, organization=organization)
            complete.append(change)
        return complete

    def _tied(self, instance: str, clerk_id: str, id: Id) -> Work[User]:
        """The user that an identity is tied to, if that is the one you say."""
        user = yield from self._user_at(instance, key_of(clerk_id))
        if user is None or user.id != id:
            raise LinkRefused("it is not linked to the user you named")
        return user

    def _move(self, before: User, to: Id) -> Work[Written[User]]:
        yield self._sql.move_identity, (to, before.clerk.instance, before.clerk.key)
        left = yield from self._identities_of(before.id)
        yield self._sql.set_deleted_at, (deleted_at(user.clerk for user in left), before.id)
        ((change,), after) = yield from self._tied_anew(before, before.clerk, to)
        return [replace(change, also_touches=(*change.also_touches, *keys_of(left)))], after

    def _tied_anew(self, before: User | None, record: ClerkUser, id: Id) -> Work[Written[User]]:
        """What follows for a user from another set of identities, one of which is this record's."""
        users = yield from self._identities_of(id)
        gone = deleted_at(user.clerk for user in users)
        yield self._sql.set_deleted_at, (gone, id)
        (after,) = (user for user in users if (user.clerk.instance, user.clerk.key) == (record.instance, record.key))
        after = replace(after, deleted_at=gone)
        return [Change(before, after, after, also_touches=keys_of(users))], after

    def _known(self, id: Id) -> Work[list[User]]:
        users = yield from self._identities_of(id)
        if not users:
            raise UserUnknown
        return users

    def _identities_of(self, id: Id) -> Work[list[User]]:
        rows = (yield self._sql.select_identities, (id,)) if is_id(id) else []
        users = [_user(row) for row in sorted(rows)]
        return [user for user in users if user.id == id]  # SQLite finds the user 7 by "7", too

    def _user_at(self, instance: str, key: str) -> Work[User | None]:
        rows = yield self._sql.select_user, (instance, key)
        return _user(rows[0]) if rows else None

    def _organization_at(self, instance: str, key: str) -> Work[Organization | None]:
        rows = yield self._sql.select_organization, (instance, key)
        return _organization(rows[0]) if rows else None

    def _memberships_of(self, instance: str, user_key: str, organization_key: str) -> Work[tuple[ClerkMembership, ...]]:
        rows = yield self._sql.select_memberships, (instance, user_key, organization_key)
        return tuple(ClerkMembership(*row) for row in sorted(rows))

    def _all_memberships(self, users: list[User]) -> Work[list[ClerkMembership]]:
        found: list[ClerkMembership] = []
        for user in users:
            rows = yield self._sql.select_all_memberships, (user.clerk.instance, user.clerk.key)
            found.extend(ClerkMembership(*row) for row in sorted(rows))
        return found


def _user(row: tuple[Any, ...]) -> User:
    said = list(row[: len(USER_COLUMNS)])
    said[_EMAIL_VERIFIED] = bool(said[_EMAIL_VERIFIED])
    said[_BANNED] = bool(said[_BANNED])
    id, role, created_at, deleted_at = row[len(USER_COLUMNS) : len(USER_COLUMNS) + 4]
    return User(id, role, created_at, deleted_at, ClerkUser(*said))


def _organization(row: tuple[Any, ...]) -> Organization:
    return Organization(row[-1], ClerkOrganization(*row[: len(ORGANIZATION_COLUMNS)]))
