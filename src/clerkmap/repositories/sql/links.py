"""Your side of the tables: roles, the links between identities and your users, erasure and purges."""

from dataclasses import replace
from datetime import datetime

from ...core.merging import deletion_time
from ...core.model import Change, Id, User, keys_of, representative, without_role
from ...core.records import DELETED, FROM_TOKEN, AnyRecord, ClerkUser, key_of, place_of
from ...core.tombstone_retention import deletion_rank, ended_before
from ...errors import LinkRefused, UserUnknown
from ..arguments import check_names, check_purge
from ..options import Configuration, check_role, no_other_id, not_inserted
from .put import Locks, SqlMemberships, SqlPut
from .reading import SqlReading
from .statements import Statements, Work, Written
from .users import TRIES, SqlUsers


class SqlLinks:
    """Your application's facts about its users. Each method is the work of one transaction."""

    def __init__(
        self,
        sql: Statements,
        configuration: Configuration,
        reading: SqlReading,
        users: SqlUsers,
        locks: Locks,
        memberships: SqlMemberships,
        put: SqlPut,
    ) -> None:
        self._sql = sql
        self._configuration = configuration
        self._reading = reading
        self._users = users
        self._locks = locks
        self._memberships = memberships
        self._put = put

    def set_role(self, id: Id, role: str | None) -> Work[Written[User]]:
        check_role(role)
        if self._configuration.is_id(id):
            yield self._sql.select_id_to_write, (id,)
        users = yield from self._reading.known(id)
        yield self._sql.set_role, (role, id)
        before = representative(users)
        assert before is not None
        after = replace(before, role=role)
        return [Change(before, after, after, also_touches=keys_of(users))], after

    def link(self, instance: str, clerk_id: str, id: Id, shared: bool, tries: int = TRIES) -> Work[Written[User]]:
        if tries == 0:
            raise not_inserted("identities")
        self._configuration.check_id(id)
        check_names(instance, clerk_id)
        yield from self._locks.of_keys([key_of(clerk_id)])
        known = yield from self._reading.user_to_write(instance, key_of(clerk_id))
        if known is not None:
            if known.id != id:
                raise LinkRefused
            return [], known
        if not (yield from self._users.is_yours(id)):
            raise UserUnknown("users_table has no row with this id")
        record = ClerkUser.make(FROM_TOKEN, instance, clerk_id, observed_at=0)
        tied = yield from self._users.tie(record, id, shared=shared)
        if tied is None:
            return (yield from self.link(instance, clerk_id, id, shared, tries - 1))
        written, after = tied
        return (yield from self._memberships.with_memberships(written)), after

    def unlink(self, instance: str, clerk_id: str, id: Id) -> Work[Written[User]]:
        yield from self._locks.of_keys([key_of(clerk_id)])
        before = yield from self._linked(instance, clerk_id, id)
        # An empty rank: your application sets the role.
        to = yield from self._users.insert(before.clerk, None, "", self._configuration.now(), None)
        if to is None:
            raise no_other_id()
        return (yield from self._move(before, to))

    def relink(self, instance: str, clerk_id: str, id: Id, to: Id) -> Work[Written[User]]:
        self._configuration.check_id(to)
        yield from self._locks.of_keys([key_of(clerk_id)])
        for each in sorted([id, to], key=repr):  # in one order, so that two transactions do not deadlock
            if self._configuration.is_id(each):
                yield self._sql.select_id_to_write, (each,)
        before = yield from self._linked(instance, clerk_id, id)
        if not (yield self._sql.select_id_to_write, (to,)):
            raise UserUnknown
        return (yield from self._move(before, to))

    def erase(self, id: Id) -> Work[Written[User]]:
        said = yield from self._records_of(id)
        while True:
            yield from self._locks.of_records(said)
            yield self._sql.select_id_to_write, (id,)
            known, said = said, (yield from self._records_of(id))
            if set(map(place_of, said)) == set(map(place_of, known)):
                break  # otherwise another writer was faster, and its records may not be locked
        now = self._configuration.now()
        written, _ = yield from self._put([record.tombstone(now) for record in said])
        yield self._sql.set_role, (None, id)
        written = [without_role(change) for change in written]
        user = yield from self._reading.user(id)
        assert user is not None
        return written, user

    def purge(self, before: datetime) -> Work[Written[int]]:
        moment = check_purge(before, self._configuration.now(), self._configuration.tombstone_retention)
        oldest_kept = deletion_rank(moment)
        ended = sorted((yield self._sql.select_left, (DELETED, oldest_kept)))
        gone = yield self._sql.select_gone, (DELETED, oldest_kept)
        yield from self._locks.of_keys({user_key for _, user_key, _ in ended} | {key for (key,) in gone})
        purged = list((yield self._sql.purge_identities, (DELETED, oldest_kept)))
        for ends in ended:
            if ended_before((yield from self._reading.memberships_of(*ends)), moment):
                purged += yield self._sql.purge_memberships, ends
        return [], len(purged)

    def _records_of(self, id: Id) -> Work[list[AnyRecord]]:
        """Return all of Clerk's records about a user."""
        users = yield from self._reading.known(id)
        return [*(user.clerk for user in users), *(yield from self._reading.all_memberships(users))]

    def _linked(self, instance: str, clerk_id: str, id: Id) -> Work[User]:
        """Return the user that an identity is linked to, or raise `LinkRefused` if that is another one."""
        user = yield from self._reading.user_to_write(instance, key_of(clerk_id))
        if user is None or user.id != id:
            raise LinkRefused("the identity is not linked to this user")
        return user

    def _move(self, before: User, to: Id) -> Work[Written[User]]:
        yield self._sql.move_identity, (to, *place_of(before.clerk))
        left = yield from self._reading.identities_of(before.id)
        yield self._sql.set_deleted_at, (deletion_time(user.clerk for user in left), before.id)
        ((change,), after) = yield from self._users.tied_anew(before, before.clerk, to)
        change = replace(change, also_touches=(*change.also_touches, *keys_of(left)))
        return (yield from self._memberships.with_memberships([change])), after
