"""Your side of the memory repository: roles, links, erasure and purges. `sql/links.py` does the same in SQL."""

from dataclasses import replace
from datetime import datetime

from ...core.model import Change, Id, User, keys_of, representative, without_role
from ...core.records import DELETED, FROM_TOKEN, AnyRecord, ClerkUser, key_of, place_of
from ...core.tombstone_retention import deletion_rank, ended_before
from ...errors import LinkRefused, UserUnknown
from ..arguments import check_names, check_purge
from ..options import Configuration, check_role, no_other_id
from .put import MemoryPut
from .reading import MemoryReading
from .tables import MemoryTables, Written
from .users import MemoryUsers


class MemoryLinks:
    """Your application's facts about its users."""

    def __init__(
        self,
        tables: MemoryTables,
        configuration: Configuration,
        reading: MemoryReading,
        users: MemoryUsers,
        put: MemoryPut,
    ) -> None:
        self._tables = tables
        self._configuration = configuration
        self._reading = reading
        self._users = users
        self._put = put

    def set_role(self, id: Id, role: str | None) -> Written[User]:
        users = self._reading.known(id)
        self._tables.replace_user(id, role=check_role(role), role_rank="")
        before = representative(users)
        assert before is not None
        after = replace(before, role=role)
        return [Change(before, after, after, also_touches=keys_of(users))], after

    def link(self, instance: str, clerk_id: str, id: Id, shared: bool) -> Written[User]:
        self._configuration.check_id(id)
        check_names(instance, clerk_id)
        place = (instance, key_of(clerk_id))
        known = self._reading.user_at(place)
        if known is not None:
            if known.id != id:
                raise LinkRefused
            return [], known
        record = ClerkUser.make(FROM_TOKEN, instance, clerk_id, observed_at=0)
        if not self._users.is_yours(id):
            raise UserUnknown("users_table has no row with this id")
        if not shared:
            self._users.check_free(record, id)
        before = self._reading.user(id)
        self._users.make_row(id)
        after = self._users.tie(place, record, id)
        touched = keys_of(self._reading.identities_of(id))
        change = Change(before, after, after, linked=True, also_touches=touched)
        return self._put.with_memberships([change]), after

    def unlink(self, instance: str, clerk_id: str, id: Id) -> Written[User]:
        before = self._linked(instance, clerk_id, id)
        if self._configuration.make_id(before.clerk) in self._tables.users:
            raise no_other_id()
        to = self._users.new_id("user", before.clerk, self._tables.users)
        self._users.make_row(to, role_rank="")  # your application sets the role
        return self._move(before, to)

    def relink(self, instance: str, clerk_id: str, id: Id, to: Id) -> Written[User]:
        self._configuration.check_id(to)
        before = self._linked(instance, clerk_id, id)
        if to not in self._tables.users:
            raise UserUnknown
        return self._move(before, to)

    def erase(self, id: Id) -> Written[User]:
        users = self._reading.known(id)
        now = self._configuration.now()
        said: list[AnyRecord] = [*(user.clerk for user in users), *self._reading.all_memberships(users)]
        written, _ = self._put(record.tombstone(now) for record in said)
        self._tables.replace_user(id, role=None, role_rank="")
        user = self._reading.user(id)
        assert user is not None
        return [without_role(change) for change in written], user

    def purge(self, before: datetime) -> Written[int]:
        tables = self._tables
        moment = check_purge(before, self._configuration.now(), self._configuration.tombstone_retention)
        oldest_kept = deletion_rank(moment)
        gone = {place: id for place, (id, record) in tables.identities.items() if DELETED <= record.rank < oldest_kept}
        for place, id in gone.items():
            places = tables.users[id].places
            tables.replace_user(id, places=tuple(each for each in places if each != place))
            tables.set(tables.identities, place, None)
        over = {ends: records for ends, records in tables.memberships.items() if ended_before(records, moment)}
        for ends, records in over.items():
            tables.set(tables.ends_of_user[ends[:2]], ends, None)
            tables.set(tables.ends_of_organization[ends[0], ends[2]], ends, None)
            tables.set(tables.memberships, ends, None)
            for record in records:
                tables.set(tables.ends_of_membership, place_of(record), None)
        return [], len(gone) + sum(map(len, over.values()))

    def _linked(self, instance: str, clerk_id: str, id: Id) -> User:
        """Return the user that an identity is linked to, or raise `LinkRefused` if that is another one."""
        user = self._reading.user_at((instance, key_of(clerk_id)))
        if user is None or user.id != id:
            raise LinkRefused("the identity is not linked to this user")
        return user

    def _move(self, before: User, to: Id) -> Written[User]:
        place = place_of(before.clerk)
        self._users.set_places(before.id, tuple(each for each in self._tables.users[before.id].places if each != place))
        after = self._users.tie(place, before.clerk, to)
        beside = (*self._reading.identities_of(before.id), *self._reading.identities_of(to))
        return self._put.with_memberships([Change(before, after, after, also_touches=keys_of(beside))]), after
