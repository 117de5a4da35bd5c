"""New users and their identities in the SQL repositories: the id of a new user, and the effects of a changed set of
identities.

If writers do not wait in line for the whole database, another writer may insert the same row first. Then the functions
here return None, and the caller retries.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ...core.merging import deletion_time
from ...core.model import Change, Id, User, keys_of, representative
from ...core.records import ClerkOrganization, ClerkUser, place_of
from ...core.times import to_datetime
from ...errors import UserTaken
from ..options import Configuration, id_taken, not_inserted
from .reading import SqlReading
from .statements import Statements, Work, Written, user_row

TRIES = 10  # more than other writers can win in a row
E = TypeVar("E", ClerkUser, ClerkOrganization)


class SqlUsers:
    """The rows of your users, and the identities that are tied to them."""

    def __init__(self, sql: Statements, configuration: Configuration, reading: SqlReading) -> None:
        self._sql = sql
        self._configuration = configuration
        self._reading = reading

    def make(self, record: ClerkUser, role: str | None, role_rank: str | None) -> Work[Change | None]:
        """Make a new user with this identity. None if another writer has just inserted the identity."""
        now, gone = self._configuration.now(), deletion_time([record])
        id = yield from self.insert(record, role, role_rank, now, gone)
        if id is None:
            if (yield from self._reading.user_at(*place_of(record))) is None:
                raise id_taken()
            return None
        if not (yield self._sql.insert_identity, (*user_row(record), id)):
            yield self._sql.delete_user, (id,)
            return None
        user = User(id, role, to_datetime(now), to_datetime(gone), record)
        return Change(None, user, user)

    def insert(self, record: ClerkUser, *values: Any) -> Work[Id | None]:
        """Insert the row of a new user, and return its id. None if the id that was made for it is taken."""
        made = self._configuration.make_id(record)
        insert_user, _ = yield from self.numbering()
        for _ in range(TRIES):
            rows = yield insert_user, (made, *values)
            if rows or made is not None:
                return rows[0][0] if rows else None
            if self._sql.skip_user_ids:
                yield self._sql.skip_user_ids, ()
        numbers = self._configuration.numbers
        raise not_inserted("users") if numbers is None or numbers.table is None else numbers.used_up()

    def numbering(self) -> Work[tuple[str, str]]:
        """Return the statement that inserts a new user and the one that makes many numbers. Your users table in SQLite
        is inspected each time, since it may have been made or altered meanwhile."""
        sql, numbers = self._sql, self._configuration.numbers
        if numbers is not None and numbers.table is not None and not sql.dialect.next_id:
            numbers.check_column((yield sql.find_your_table, ()))
            if sql.find_counters and (yield sql.find_counters, ()):
                return sql.insert_user_counted, sql.next_user_ids_counted
        return sql.insert_user, sql.next_user_ids

    def with_new_ids(self, records: Sequence[E], next_ids: str) -> Work[list[tuple[E, Id]]]:
        """Return each record with an id for its new row. None of them if the database has no more numbers in order."""
        ids = [self._configuration.make_id(record) for record in records]
        if None in ids:
            ids = [id for (id,) in (yield next_ids, (len(records),))]
        return [(record, id) for record, id in zip(records, ids, strict=False) if id is not None]

    def check_numbers(self) -> Work[None]:
        """Check your users table when a repository starts: it must exist, and leave room for the numbers to be made."""
        numbers = self._configuration.numbers
        if numbers is None or numbers.table is None:
            return
        if not (found := (yield self._sql.find_your_table, ())):
            raise numbers.table_missing()
        if not self._sql.dialect.next_id:
            numbers.check_column(found)
        ((greatest,),) = yield self._sql.select_greatest_of_yours, ()
        numbers.check_greatest(greatest)
        if numbers.needs_rows and self._sql.select_your_sequence:
            ((sequence, last),) = yield self._sql.select_your_sequence, ()
            numbers.check_sequence(sequence, last, greatest)

    def check_rows(self, written: Iterable[Change]) -> Work[None]:
        """Check at the end of a transaction that each user it made is a row of your users table."""
        for id in self._configuration.ids_needing_rows(written):
            if not (yield from self.is_yours(id)):
                raise self._configuration.row_missing()

    def is_yours(self, id: Id) -> Work[bool]:
        """Return whether an id is a row of your users table, if the repository knows that table."""
        if not self._sql.select_row_of_yours:
            return True
        return bool((yield self._sql.select_row_of_yours, (id,)))

    def give_role(self, id: Id, role: str | None, role_rank: str | None) -> Work[bool]:
        """Give a user the first role that Clerk named, unless the user has one from you or an older record."""
        return role is not None and bool((yield self._sql.give_role, (role, role_rank, id, role_rank)))

    def tie(
        self,
        record: ClerkUser,
        id: Id,
        role: str | None = None,
        role_rank: str | None = None,
        *,
        shared: bool = False,
    ) -> Work[Written[User] | None]:
        """Tie a new identity to your user with this id. None if another writer has just inserted the identity.

        Raises:
            UserTaken: The user has other identities, and must not be shared.
        """
        is_new = yield self._sql.insert_user_if_new, (id, self._configuration.now())
        rows = yield self._sql.select_id_to_write, (id,)
        others = yield from self._reading.identities_of(id)
        if any(each.clerk.key == record.key and each.clerk.instance == record.instance for each in others):
            return None
        if not shared:  # the row is locked: of several concurrent writers, one finds it free
            try:
                self._configuration.check_free(record, others, rows[0][1] if rows else None)
            except UserTaken:
                # PostgreSQL does not show an identity that was moved while this waited for its lock.
                if (yield from self._reading.user_at(*place_of(record))) is not None:
                    return None
                raise
        before = representative(others)
        if not (yield self._sql.insert_identity, (*user_row(record), id)):
            if is_new:
                yield self._sql.delete_user, (id,)
            return None
        yield from self.give_role(id, role, role_rank)
        ((change,), after) = yield from self.tied_anew(before, record, id)
        return [replace(change, linked=True)], after

    def tied_anew(self, before: User | None, record: ClerkUser, id: Id) -> Work[Written[User]]:
        """Update a user's row after a change of its identities, one of which is this record's. The caller holds
        the lock of the user's row."""
        users = yield from self._reading.identities_of(id)
        gone = deletion_time(user.clerk for user in users)
        yield self._sql.set_deleted_at, (gone, id)
        (after,) = (user for user in users if place_of(user.clerk) == place_of(record))
        after = replace(after, deleted_at=to_datetime(gone))
        return [Change(before, after, after, also_touches=keys_of(users))], after
