"""Many at once: a page of a backfill in a handful of statements.

The rule is the same as one by one. What is there is read, what outranks it is written; and what is out of the ordinary,
or has just been written by somebody else, is left to be put one by one.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TypeVar

from ..core.merging import deleted_at, last_word
from ..core.model import Change, Id, Membership, Organization, User
from ..core.records import AnyRecord, ClerkMembership, ClerkOrganization, ClerkUser, Kind, newer
from .options import FirstRoles
from .reading import Reading, organization_of, user_of
from .sql import membership_row, organization_row, user_row
from .work import Rows, Work

MANY = 20  # below this, one by one is as fast
Place = tuple[str, str]  # an instance and a key
Ends = tuple[str, str, str]  # an instance, and the keys of a person and an organization
Done = dict[Place, Change | None]  # what became of each
E = TypeVar("E", ClerkUser, ClerkOrganization)


class Bulk(Reading):
    """What is there, and how many at once come to be there."""

    def _put_many(self, folded: Sequence[AnyRecord], roles: FirstRoles) -> Work[dict[Kind, Done]]:
        """What became of those kinds of which there are many. What is missing is to be put one by one."""
        done: dict[Kind, Done] = {}
        if len(folded) < MANY:
            return done
        organizations = [record for record in folded if isinstance(record, ClerkOrganization)]
        if len(organizations) >= MANY:
            done["organization"] = yield from self._put_many_organizations(organizations)
        users = [record for record in folded if isinstance(record, ClerkUser)]
        if len(users) >= MANY:
            done["user"] = yield from self._put_many_users(users, roles)
        memberships = [record for record in folded if isinstance(record, ClerkMembership)]
        if len(memberships) >= MANY:
            done["membership"] = yield from self._put_many_memberships(memberships)
        return done

    def _put_many_users(self, records: Sequence[ClerkUser], roles: FirstRoles) -> Work[Done]:
        known = yield from self._users_at(map(_place, records), self._sql.select_users_to_write)
        done: Done = {}
        better: dict[Place, tuple[User, ClerkUser]] = {}
        new: list[ClerkUser] = []
        for record in records:
            place = _place(record)
            user = known.get(place)
            if user is None:
                new.append(record)
            elif record.is_deleted or place in roles:  # more follows from it than one row
                continue
            elif newer(record, user.clerk):
                better[place] = user, record
            else:
                done[place] = None
        if new and not self._configuration.has_linker:
            done |= yield from self._make_many_users(new, roles)
        rows = [(*user_row(record), user.id) for user, record in better.values()]
        for instance, key, *_ in (yield from self._sql.upsert_identities.of(rows)):
            before, record = better[instance, key]
            after = User(before.id, before.role, before.created_at, before.deleted_at, record)
            done[instance, key] = Change(before, after, after)
        return done

    def _make_many_users(self, records: Sequence[ClerkUser], roles: FirstRoles) -> Work[Done]:
        now = self._configuration.now()
        users: dict[Id, User] = {}
        rows: Rows = []
        _, next_ids = yield from self._numbering()
        for record, id in (yield from self._with_new_ids(records, next_ids)):
            role, role_rank = roles.get(_place(record), (None, None))
            users[id] = user = User(id, role, now, deleted_at([record]), record)
            rows.append((id, role, role_rank, now, user.deleted_at))
        made = [users[id] for id, *_ in (yield from self._sql.insert_users.of(rows))]
        rows = yield from self._sql.insert_identities.of([(*user_row(user.clerk), user.id) for user in made])
        tied = {(instance, key) for instance, key, *_ in rows}
        done: Done = {}
        for user in made:
            if _place(user.clerk) in tied:
                done[_place(user.clerk)] = Change(None, user, user)
            else:  # somebody else has just made this person known
                yield self._sql.delete_user, (user.id,)
        return done

    def _put_many_organizations(self, records: Sequence[ClerkOrganization]) -> Work[Done]:
        known = yield from self._organizations_at(map(_place, records), self._sql.select_organizations_to_write)
        done: Done = {}
        better: dict[Place, tuple[Organization, Organization]] = {}
        for record in records:
            before = known.get(_place(record))
            if before is not None and newer(record, before.clerk):
                better[_place(record)] = before, Organization(before.id, record)
            elif before is not None:
                done[_place(record)] = None
        new = [record for record in records if _place(record) not in known]
        with_ids = (yield from self._with_new_ids(new, self._sql.next_organization_ids)) if new else []
        made = {_place(record): (None, Organization(id, record)) for record, id in with_ids}
        for writing, several in ((self._sql.upsert_organizations, better), (self._sql.insert_organizations, made)):
            rows = [(*organization_row(after.clerk), after.id) for _, after in several.values()]
            for instance, key, *_ in (yield from writing.of(rows)):
                before, after = several[instance, key]
                done[instance, key] = Change(before, after, organization=after)
        return done

    def _put_many_memberships(self, records: Sequence[ClerkMembership]) -> Work[Done]:
        said = yield from self._memberships_between(records)
        done: Done = {}
        better: dict[Place, Change] = {}
        for record in records:
            of_both = said.setdefault(_ends(record), {})
            if not newer(record, of_both.get(record.key)):
                done[_place(record)] = None
                continue
            before = last_word(of_both.values())
            of_both[record.key] = record  # where several are of the same two ends, each follows upon the one before it
            after = last_word(of_both.values())
            assert after is not None
            better[_place(record)] = Change(None if before is None else Membership(before), Membership(after))
        rows = [membership_row(record) for record in records if _place(record) in better]
        for instance, key, *_ in (yield from self._sql.upsert_memberships.of(rows)):
            done[instance, key] = better[instance, key]
        return done

    def _numbering(self) -> Work[tuple[str, str]]:
        """The statements that insert a new user and that make many numbers. A table of yours in SQLite is looked at
        each time, for it may have come since the start."""
        sql, numbers = self._sql, self._configuration.numbers
        if numbers is not None and numbers.table is not None and not sql.dialect.next_id:
            numbers.check_column((yield sql.find_your_table, ()))
            if sql.find_counters and (yield sql.find_counters, ()):
                return sql.insert_user_counted, sql.next_user_ids_counted
        return sql.insert_user, sql.next_user_ids

    def _with_new_ids(self, records: Sequence[E], next_ids: str) -> Work[list[tuple[E, Id]]]:
        """Each with an id for what is made of it. None of them, where the database has no more numbers in order."""
        ids = [self._configuration.make_id(record) for record in records]
        if None in ids:
            ids = [id for (id,) in (yield next_ids, (len(records),))]
        return [(record, id) for record, id in zip(records, ids, strict=False) if id is not None]

    def _users_at(self, places: Iterable[Place], statement: str) -> Work[dict[Place, User]]:
        rows = yield from self._rows_at(places, statement)
        return {_place(user.clerk): user for user in map(user_of, rows)}

    def _organizations_at(self, places: Iterable[Place], statement: str) -> Work[dict[Place, Organization]]:
        rows = yield from self._rows_at(places, statement)
        return {_place(organization.clerk): organization for organization in map(organization_of, rows)}

    def _memberships_between(self, records: Iterable[ClerkMembership]) -> Work[dict[Ends, dict[str, ClerkMembership]]]:
        """All that was said of those two ends that each of these is of."""
        found: dict[Ends, dict[str, ClerkMembership]] = {}
        for instance, group in groupby(records, key=lambda record: record.instance):
            pairs = json.dumps([(record.user_key, record.organization_key) for record in group])
            for row in (yield self._sql.select_memberships_between, (instance, pairs)):
                record = ClerkMembership(*row)
                found.setdefault(_ends(record), {})[record.key] = record
        return found

    def _rows_at(self, places: Iterable[Place], statement: str) -> Work[Rows]:
        found: Rows = []
        for instance, group in groupby(places, key=lambda place: place[0]):
            found += yield statement, (instance, json.dumps([key for _, key in group]))
        return found


def _place(record: AnyRecord) -> Place:
    return record.instance, record.key


def _ends(record: ClerkMembership) -> Ends:
    return record.instance, record.user_key, record.organization_key
