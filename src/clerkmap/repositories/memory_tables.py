"""What is written into the memory repository. The tests hold `tables.py`, which says it in SQL, to it.

Nothing here locks or commits: `memory.py` does. Every change goes through the journal, so that it can be taken back.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TypeVar

from ..core.merging import deleted_at, deleted_before, is_over, last_word
from ..core.model import Change, Id, Membership, Organization, Session, User, keys_of, spokesman, without_role
from ..core.records import (
    DELETED,
    FROM_TOKEN,
    AnyRecord,
    ClerkMembership,
    ClerkOrganization,
    ClerkSession,
    ClerkUser,
    fold,
    key_of,
    newer,
)
from ..errors import LinkRefused, UserTaken, UserUnknown
from .arguments import check_checkpoint, check_checkpoint_name, check_names, check_purge
from .memory_reading import MemoryReading, Place, Row
from .memory_transactions import Journal
from .options import Configuration, FirstRoles, check_role, id_taken, log_taken, no_other_id
from .row_numbers import Numbers, UsersTable

T = TypeVar("T")
Written = tuple[list[Change], T]  # what was written, and what the caller is to get


class MemoryTables(MemoryReading):
    """Writing the dictionaries."""

    def __init__(self, configuration: Configuration, journal: Journal) -> None:
        super().__init__(configuration)
        self._set = journal.set
        self._journal = journal
        self._last_ids: dict[str, int] = {}

    def put(self, records: Iterable[AnyRecord]) -> Written[list[Change]]:
        records = list(records)
        roles = self._configuration.first_roles(records)
        written = [change for record in fold(records) if (change := self._put(record, roles)) is not None]
        written = [self._with_ends(change) for change in written]
        return written, [change for change in written if change.is_news]

    def set_role(self, id: Id, role: str | None) -> Written[User]:
        users = self._known(id)
        self._set(self._users, id, replace(self._users[id], role=check_role(role), role_rank=""))
        before = spokesman(users)
        assert before is not None
        after = replace(before, role=role)
        return [Change(before, after, after, also_touches=keys_of(users))], after

    def link(self, instance: str, clerk_id: str, id: Id, shared: bool) -> Written[User]:
        self._configuration.check_id(id)
        check_names(instance, clerk_id)
        place = (instance, key_of(clerk_id))
        known = self._user_at(place)
        if known is not None:
            if known.id != id:
                raise LinkRefused
            return [], known
        record = ClerkUser.make(FROM_TOKEN, instance, clerk_id, observed_at=0)
        if not self._is_yours(id):
            raise UserUnknown("users_table has no row with that id")
        if not shared:
            self._check_free(record, id)
        before = self.user(id)
        self._make_row(id)
        after = self._tie(place, record, id)
        touched = keys_of(self._identities_of(id))
        return [Change(before, after, after, linked=True, also_touches=touched)], after

    def unlink(self, instance: str, clerk_id: str, id: Id) -> Written[User]:
        before = self._tied(instance, clerk_id, id)
        if self._configuration.make_id(before.clerk) in self._users:
            raise no_other_id()
        to = self._new_id("user", before.clerk, self._users)
        self._set(self._users, to, Row(None, "", self._configuration.now(), None))  # the role is yours to say
        return self._move(before, to)

    def relink(self, instance: str, clerk_id: str, id: Id, to: Id) -> Written[User]:
        self._configuration.check_id(to)
        before = self._tied(instance, clerk_id, id)
        if to not in self._users:
            raise UserUnknown
        return self._move(before, to)

    def erase(self, id: Id) -> Written[User]:
        users = self._known(id)
        now = self._configuration.now()
        said: list[AnyRecord] = [*(user.clerk for user in users), *self._all_memberships(users)]
        written, _ = self.put(record.tombstone(now) for record in said)
        self._set(self._users, id, replace(self._users[id], role=None, role_rank=""))
        user = self.user(id)
        assert user is not None
        return [without_role(change) for change in written], user

    def set_checkpoint(self, name: str, text: str | None) -> Written[None]:
        self._set(self._checkpoints, check_checkpoint_name(name), check_checkpoint(text))
        return [], None

    def swap_checkpoint(self, name: str, before: str | None, after: str | None) -> Written[bool]:
        check_checkpoint(before)
        if self._checkpoints.get(check_checkpoint_name(name)) != before:
            return [], False
        self._set(self._checkpoints, name, check_checkpoint(after))
        return [], True

    def purge(self, before: int) -> Written[int]:
        oldest_kept = deleted_before(
            check_purge(before, self._configuration.now(), self._configuration.tombstones_kept)
        )
        people = {place: id for place, (id, record) in self._identities.items() if DELETED <= record.rank < oldest_kept}
        for place, id in people.items():
            row = self._users[id]
            self._set(self._users, id, replace(row, places=tuple(each for each in row.places if each != place)))
            self._set(self._identities, place, None)
        over = {pair: records for pair, records in self._memberships.items() if is_over(records, before)}
        for pair, records in over.items():
            person = pair[:2]
            self._set(self._pairs, person, tuple(each for each in self._pairs[person] if each != pair) or None)
            self._set(self._memberships, pair, None)
            for record in records:
                self._set(self._pair_of, (record.instance, record.key), None)
        return [], len(people) + sum(map(len, over.values()))

    def _put(self, record: AnyRecord, roles: FirstRoles) -> Change | None:
        if isinstance(record, ClerkUser):
            return self._put_user(record, roles.get((record.instance, record.key)))
        if isinstance(record, ClerkOrganization):
            return self._put_organization(record)
        if isinstance(record, ClerkMembership):
            return self._put_membership(record)
        return self._put_session(record)

    def _put_user(self, record: ClerkUser, first: tuple[str, str] | None) -> Change | None:
        place = (record.instance, record.key)
        known = self._user_at(place)
        if known is None and not self._configuration.is_enough(record):
            return None
        linked = self._linked_free(record) if known is None else None
        if known is not None:
            id = known.id
        else:
            id = self._new_id("user", record, self._users) if linked is None else linked
            self._make_row(id)
        before = self.user(id) if known is None else known  # who has other identities already, perhaps
        is_written = newer(record, None if known is None else known.clerk)
        if is_written:
            self._tie(place, record, id)
        is_given = first is not None and self._give_role(id, *first)
        if not is_written and not is_given:
            return None
        after = self._tied_at(place)
        touched = keys_of(self._identities_of(id))
        return Change(before, after, after, linked=linked is not None, also_touches=touched)

    def _linked_free(self, record: ClerkUser) -> Id | None:
        """The id of a user you have, if your linker names one whom nobody else has."""
        id = self._linked(record)
        if id is None:
            return None
        try:
            if self._is_yours(id):
                self._check_free(record, id)
                return id
        except UserTaken:
            pass
        log_taken()
        return None

    def _linked(self, record: ClerkUser) -> Id | None:
        """The id of a user you have, if your linker names one."""
        first = self._configuration.first_user
        if first is None or record.is_deleted:
            return self._configuration.linked_id(record)
        if first.checkpoint in self._checkpoints:
            return None
        self._set(self._checkpoints, first.checkpoint, f"{record.instance} {record.key}")
        return first.id

    def check_rows(self, written: Iterable[Change]) -> None:
        """Check at the end of a transaction that each user it made is a row of your users table."""
        for id in self._configuration.ids_needing_rows(written):
            if not self._is_yours(id):
                raise self._configuration.row_missing()

    def _is_yours(self, id: Id) -> bool:
        """Whether an id that a linker or a link names is one of your rows, as far as it is known where those are."""
        numbers = self._configuration.numbers
        if numbers is None or numbers.table is None:
            return True
        statement = f'SELECT 1 FROM {numbers.table.quoted} WHERE "{numbers.table.id}" = ?'
        return bool(self._journal.database.execute(statement, (id,)).fetchall())

    def _next_number(self, kind: str, taken: Collection[Id]) -> int:
        """A number that nothing else has."""
        numbers = self._configuration.numbers
        assert numbers is not None
        last = max(self._last_ids.get(kind, 0), numbers.first - 1)
        if kind == "user" and numbers.table is not None:
            last = max(last, self._greatest_of_yours(numbers, numbers.table))
        number = last + 1
        while number in taken:  # by a link
            number += 1
        self._last_ids[kind] = number
        return number

    def _greatest_of_yours(self, numbers: Numbers, table: UsersTable) -> int:
        """The greatest number that a row of your table has or, where SQLite counts, has had."""
        execute = self._journal.database.execute
        numbers.check_column(execute(table.select_columns))
        ((greatest,),) = execute(f'SELECT max("{table.id}") FROM {table.quoted}').fetchall()
        numbers.check_greatest(greatest)
        counted = None
        if numbers.needs_rows and execute(table.find_counters).fetchall():
            ((counted,),) = execute(table.select_counter).fetchall()
        return max(greatest or 0, counted or 0)

    def _check_free(self, record: ClerkUser, id: Id) -> None:
        """Raise `UserTaken` where a linker or a link must not give this user to a person."""
        row = self._users.get(id)
        if row is not None:
            self._configuration.check_free(record, self._identities_of(id), row.deleted_at)

    def _give_role(self, id: Id, role: str, rank: str) -> bool:
        """The first role that Clerk named, whichever comes first: until you set one, whose empty rank is lower."""
        row = self._users[id]
        if row.role_rank is not None and row.role_rank <= rank:
            return False
        self._set(self._users, id, replace(row, role=role, role_rank=rank))
        return True

    def _put_organization(self, record: ClerkOrganization) -> Change | None:
        place = (record.instance, record.key)
        before = self._organizations.get(place)
        if not newer(record, None if before is None else before.clerk):
            return None
        id = self._new_id("organization", record, self._organization_places) if before is None else before.id
        after = Organization(id, record)
        self._set(self._organizations, place, after)
        self._set(self._organization_places, id, place)
        return Change(before, after, organization=after)

    def _put_membership(self, record: ClerkMembership) -> Change | None:
        pair = (record.instance, record.user_key, record.organization_key)
        said = self._memberships.get(pair, ())
        others = [each for each in said if each.key != record.key]
        if not newer(record, next((each for each in said if each.key == record.key), None)):
            return None
        before, after = last_word(said), last_word([*others, record])
        assert after is not None
        self._set(self._pair_of, (record.instance, record.key), pair)
        self._set(self._memberships, pair, tuple(sorted((*others, record), key=lambda each: each.key)))
        if not said:
            person = (record.instance, record.user_key)
            self._set(self._pairs, person, (*self._pairs.get(person, ()), pair))
        return Change(None if before is None else Membership(before), Membership(after))

    def _put_session(self, record: ClerkSession) -> Change | None:
        forgotten = self._configuration.forgotten_below()
        place = (record.instance, record.key)
        before = self._sessions.get(place)
        if record.rank < forgotten or not newer(record, before):
            return None
        self._set(self._sessions, place, record)
        while (oldest := next(iter(self._sessions.items())))[1].rank < forgotten:
            self._set(self._sessions, oldest[0], None)
        return Change(None, Session(record)) if before is None else None  # it was over before

    def _with_ends(self, change: Change) -> Change:
        """The same change; that of a membership with the user and the organization that it is about."""
        clerk = change.after.clerk
        if not isinstance(clerk, ClerkMembership) or not change.is_news:
            return change
        user = self._user_at((clerk.instance, clerk.user_key))
        return replace(
            change, user=user, organization=self._organizations.get((clerk.instance, clerk.organization_key))
        )

    def _tied(self, instance: str, clerk_id: str, id: Id) -> User:
        """The user that an identity is tied to, if that is the one you say."""
        user = self._user_at((instance, key_of(clerk_id)))
        if user is None or user.id != id:
            raise LinkRefused("it is not linked to the user you named")
        return user

    def _tie(self, place: Place, record: ClerkUser, id: Id) -> User:
        """Let this record speak for a user, beside the user's other identities."""
        self._set(self._identities, place, (id, record))
        places = self._users[id].places
        self._settle(id, places if place in places else tuple(sorted((*places, place))))
        return self._tied_at(place)

    def _move(self, before: User, to: Id) -> Written[User]:
        place = (before.clerk.instance, before.clerk.key)
        self._settle(before.id, tuple(each for each in self._users[before.id].places if each != place))
        after = self._tie(place, before.clerk, to)
        beside = (*self._identities_of(before.id), *self._identities_of(to))
        return [Change(before, after, after, also_touches=keys_of(beside))], after

    def _settle(self, id: Id, places: tuple[Place, ...]) -> None:
        """A user is deleted with the last of the identities."""
        gone = deleted_at(self._identities[place][1] for place in places)
        self._set(self._users, id, replace(self._users[id], places=places, deleted_at=gone))

    def _make_row(self, id: Id) -> None:
        if id not in self._users:
            self._set(self._users, id, Row(None, None, self._configuration.now(), None))

    def _new_id(self, kind: str, record: ClerkUser | ClerkOrganization, taken: Collection[Id]) -> Id:
        id = self._configuration.make_id(record)
        if id is None:
            id = self._next_number(kind, taken)
        if id in taken:
            raise id_taken()
        return id
