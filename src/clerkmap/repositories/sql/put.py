"""Put Clerk's records into the tables: one by one, and many at once.

If writers do not wait in line for the whole database, each locks the rows that it is about to write. Another writer may
insert a missing row first: then the work on that record is retried.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from ...core.deliveries import HANDLED_KEPT
from ...core.membership_changes import MembershipChanges
from ...core.merging import current_membership, deletion_time, latest_membership, outranks, winning_records
from ...core.model import Change, Id, Membership, Organization, Session, User
from ...core.records import (
    AnyRecord,
    ClerkMembership,
    ClerkOrganization,
    ClerkSession,
    ClerkUser,
    Kind,
    Place,
    ends_of,
    place_of,
)
from ...core.times import to_datetime
from ...core.tombstone_retention import deletion_rank
from ...errors import UserTaken
from ..options import Configuration, FirstRoles, id_taken, log_taken, not_inserted
from .listing import SearchTerms
from .reading import SqlReading, organization_of, user_of
from .statements import Rows, Statements, Work, Written, membership_row, organization_row, session_row, user_row
from .users import TRIES, SqlUsers

MANY = 20  # below this, one by one is as fast
_CLOCKS_DIFFER = 86_400_000  # milliseconds, at most, from the process that purges
_SLOTS = 1024  # a server has room for some thousands of locks, and a batch may be of any size
_Done = dict[Place, Change | None]  # the outcome for each record


class Locks:
    """Locks of keys. A transaction that writes several records takes all locks beforehand, in one order, so that two
    transactions do not deadlock."""

    def __init__(self, sql: Statements) -> None:
        self._sql = sql

    def of_records(self, records: Sequence[AnyRecord]) -> Work[None]:
        """Lock the keys of these records. Memberships share the lock of their organization."""
        memberships = [each for each in records if isinstance(each, ClerkMembership)]
        alone = {each.user_key if isinstance(each, ClerkMembership) else each.key for each in records}
        yield from self.of_keys(alone, shared={each.organization_key for each in memberships})

    def of_keys(self, keys: Collection[str], *, shared: Collection[str] = ()) -> Work[None]:
        if self._sql.lock_slots is not None and keys:
            slots = {_slot(key): -_slot(key) for key in shared} | {_slot(key): _slot(key) for key in keys}
            yield self._sql.lock_slots, ([slots[slot] for slot in sorted(slots)],)


class CurrentFlags:
    """The column `is_current` of memberships: of all records of one user in one organization, the one that
    `current_membership` returns has it.

    The old flag is removed before the new one is set, because a unique index allows only one.
    """

    def __init__(self, sql: Statements) -> None:
        self._sql = sql
        self._current: set[Place] = set()
        self._former: set[Place] = set()

    def turn(self, before: ClerkMembership | None, after: ClerkMembership | None) -> None:
        """Note the current membership between two ends: as it is stored, and as it will be."""
        old, new = (None if each is None else place_of(each) for each in (before, after))
        if old is not None and old != new:
            self._former.add(old)
        if new is not None and (old != new or after != before):
            self._current.add(new)

    def row(self, record: ClerkMembership) -> tuple[object, ...]:
        """Return the row of a record that will be written."""
        return (*membership_row(record), place_of(record) in self._current)

    def unset(self) -> Work[None]:
        """Remove the flag from records that are not current any more."""
        if self._former:
            yield self._sql.unset_current, (json.dumps(sorted(self._former)),)

    def set(self, written: Collection[Place]) -> Work[None]:
        """Set the flag of stored records that have become current, but for those that were written with it."""
        if others := self._current.difference(written):
            yield self._sql.set_current, (json.dumps(sorted(others)),)


def _slot(key: str) -> int:
    return 1 + int(key[:8], 16) % _SLOTS


class SqlMemberships:
    """The changes of memberships that begin or end with another change."""

    def __init__(self, reading: SqlReading) -> None:
        self._reading = reading

    def with_memberships(self, written: list[Change]) -> Work[list[Change]]:
        """Return these changes, with those of all memberships that begin, change or end because of them.

        The caller has locked the keys of the records. A membership that is found here is locked by its row: so a
        concurrent change of its other end waits, or is seen.
        """
        changes = MembershipChanges(written)
        if users := changes.turned_users:
            changes.add((yield from self._reading.current_of_users_to_write(users)))
        if organizations := changes.turned_organizations:
            changes.add((yield from self._reading.current_in_organizations_to_write(organizations)))
        known_users = yield from self._reading.users_at(changes.users_to_read)
        known_organizations = yield from self._reading.organizations_at(changes.organizations_to_read)
        return changes.all(known_users, known_organizations)


class SqlPut:
    """The one way in for Clerk's records."""

    def __init__(
        self,
        sql: Statements,
        configuration: Configuration,
        reading: SqlReading,
        users: SqlUsers,
        locks: Locks,
        memberships: SqlMemberships,
    ) -> None:
        self._sql = sql
        self._configuration = configuration
        self._reading = reading
        self._users = users
        self._locks = locks
        self._memberships = memberships
        self._terms = SearchTerms(sql)
        self._many = _PutMany(sql, configuration, reading, users)

    def is_repeatable(self, records: Iterable[AnyRecord]) -> bool:
        """Return whether a second put of these records changes nothing, even after other writes.

        Only a purge forgets a record. A tombstone that a purge may have taken must not come back.
        """
        ranks = [record.rank for record in records if record.is_deleted]
        if not ranks:
            return True
        youngest_purged = self._configuration.now() - self._configuration.tombstone_retention + _CLOCKS_DIFFER
        return min(ranks) >= deletion_rank(max(0, youngest_purged))

    def __call__(self, records: Collection[AnyRecord]) -> Work[Written[list[Change]]]:
        roles = self._configuration.first_roles(records)
        winners = winning_records(records)
        needs_lock = len(winners) > 1 or _may_turn_memberships(winners)
        if needs_lock:
            yield from self._locks.of_records(winners)
        done = (yield from self._many(winners, roles)) if len(winners) >= MANY else {}
        written: list[Change] = []
        for record in winners:
            of_kind, place = done.get(record.kind, {}), place_of(record)
            change = of_kind[place] if place in of_kind else (yield from self._put(record, roles, is_locked=needs_lock))
            if change is not None:
                written.append(change)
        yield from self._terms.follow(written)
        written = yield from self._memberships.with_memberships(written)
        return written, [change for change in written if change.is_news]

    def _put(self, record: AnyRecord, roles: FirstRoles, *, is_locked: bool) -> Work[Change | None]:
        if isinstance(record, ClerkUser):
            return self._put_user(record, *roles.get(place_of(record), (None, None)), is_locked=is_locked)
        if isinstance(record, ClerkOrganization):
            return self._put_organization(record, is_locked=is_locked)
        if isinstance(record, ClerkMembership):
            return self._put_membership(record)
        return self._put_session(record)

    def _put_user(
        self, record: ClerkUser, role: str | None, role_rank: str | None, tries: int = TRIES, *, is_locked: bool
    ) -> Work[Change | None]:
        if tries == 0:
            raise not_inserted("identities")
        rows = yield self._sql.select_user_to_write, place_of(record)
        if not rows:
            if not self._configuration.is_enough(record):
                return None
            if not is_locked:  # before a row is: a writer of its memberships may have this lock, and wait for the row
                yield from self._locks.of_records([record])
            make = self._put_new_user if self._configuration.has_linker else self._users.make
            change = yield from make(record, role, role_rank)
            return change or (yield from self._put_user(record, role, role_rank, tries - 1, is_locked=True))
        known = user_of(rows[0])
        if known.clerk.banned and not is_locked:  # memberships begin if the ban ends
            yield from self._locks.of_records([record])
        is_written = yield self._sql.upsert_identity, (*user_row(record), known.id)
        is_given = yield from self._users.give_role(known.id, role, role_rank)
        if not is_written and not is_given:
            return None
        if record.is_deleted or is_given:
            ((change,), _) = yield from self._users.tied_anew(known, record, known.id)
            return change
        after = replace(known, clerk=record)
        return Change(known, after, after)

    def _put_new_user(self, record: ClerkUser, role: str | None, role_rank: str | None) -> Work[Change | None]:
        """Tie a new identity to your user that the linker names, or to a new user, if it names none. None if another
        writer has just inserted the identity."""
        first, is_first = self._configuration.first_user, False
        if first is not None and not record.is_deleted:
            is_first = bool((yield self._sql.insert_checkpoint, (first.checkpoint, f"{record.instance} {record.key}")))
        id = first.id if first is not None and is_first else self._configuration.linked_id(record)
        if id is not None and not (yield from self._users.is_yours(id)):
            log_taken()
            id = None
        if id is not None:
            try:
                tied = yield from self._users.tie(record, id, role, role_rank)
            except UserTaken:
                log_taken()
            else:
                if tied is None and first is not None and is_first:
                    yield self._sql.delete_checkpoint, (first.checkpoint,)
                return tied[0][0] if tied is not None else None
        return (yield from self._users.make(record, role, role_rank))

    def _put_organization(
        self, record: ClerkOrganization, tries: int = TRIES, *, is_locked: bool
    ) -> Work[Change | None]:
        if tries == 0:
            raise not_inserted("organizations")
        rows = yield self._sql.select_organization_to_write, place_of(record)
        if rows:
            before = organization_of(rows[0])
            written = yield self._sql.upsert_organization, (*organization_row(record), before.id)
            after = Organization(before.id, record)
            return Change(before, after, organization=after) if written else None
        if not is_locked:
            yield from self._locks.of_records([record])
        made = self._configuration.make_id(record)
        rows = yield self._sql.insert_organization, (*organization_row(record), made)
        if not rows:
            if (yield from self._reading.organization_at(*place_of(record))) is None:
                if made is not None:
                    raise id_taken()
                if self._sql.skip_organization_ids:
                    yield self._sql.skip_organization_ids, ()
            return (yield from self._put_organization(record, tries - 1, is_locked=True))
        organization = Organization(rows[0][0], record)
        return Change(None, organization, organization=organization)

    def _put_membership(self, record: ClerkMembership) -> Work[Change | None]:
        said = yield from self._reading.memberships_of(*ends_of(record))
        others = [each for each in said if each.key != record.key]
        if not outranks(record, next((each for each in said if each.key == record.key), None)):
            return None
        flags = CurrentFlags(self._sql)
        flags.turn(current_membership(said), current_membership([*others, record]))
        yield from flags.unset()
        if not (yield self._sql.upsert_membership, flags.row(record)):
            raise not_inserted("memberships")
        yield from flags.set({place_of(record)})
        before, after = latest_membership(said), latest_membership([*others, record])
        assert after is not None
        return Change(None if before is None else Membership(before), Membership(after))

    def _put_session(self, record: ClerkSession) -> Work[Change | None]:
        forgotten = self._configuration.oldest_session_rank()
        if record.rank < forgotten:
            return None
        is_new = yield self._sql.insert_session, session_row(record)
        if not is_new:  # it had ended before
            yield self._sql.upsert_session, session_row(record)
        yield self._sql.forget_sessions, (forgotten,)
        return Change(None, Session(record)) if is_new else None


def _may_turn_memberships(records: Sequence[AnyRecord]) -> bool:
    """Return whether one of these records, if stored, is or ends a membership. Others lock the row that they alter."""
    return any(
        isinstance(record, ClerkMembership) or record.is_deleted or (isinstance(record, ClerkUser) and record.banned)
        for record in records
        if not isinstance(record, ClerkSession)
    )


class _PutMany:
    """Put many records in a few statements, such as a page of a backfill.

    The rule is the same as one by one: a record is written if it outranks the stored record. Unusual records, and
    records that another writer has just written, are left to be put one by one.
    """

    def __init__(self, sql: Statements, configuration: Configuration, reading: SqlReading, users: SqlUsers) -> None:
        self._sql = sql
        self._configuration = configuration
        self._reading = reading
        self._users = users

    def __call__(self, winners: Sequence[AnyRecord], roles: FirstRoles) -> Work[dict[Kind, _Done]]:
        """Put the kinds with many records. The caller must put a record alone if the result lacks it."""
        done: dict[Kind, _Done] = {}
        organizations = [record for record in winners if isinstance(record, ClerkOrganization)]
        if len(organizations) >= MANY:
            done["organization"] = yield from self._put_organizations(organizations)
        users = [record for record in winners if isinstance(record, ClerkUser)]
        if len(users) >= MANY:
            done["user"] = yield from self._put_users(users, roles)
        memberships = [record for record in winners if isinstance(record, ClerkMembership)]
        if len(memberships) >= MANY:
            done["membership"] = yield from self._put_memberships(memberships)
        return done

    def _put_users(self, records: Sequence[ClerkUser], roles: FirstRoles) -> Work[_Done]:
        known = yield from self._reading.users_at(map(place_of, records), to_write=True)
        done: _Done = {}
        better: dict[Place, tuple[User, ClerkUser]] = {}
        new: list[ClerkUser] = []
        for record in records:
            place = place_of(record)
            user = known.get(place)
            if user is None:
                new.append(record)
            elif record.is_deleted or place in roles:  # it changes more than one row
                continue
            elif outranks(record, user.clerk):
                better[place] = user, record
            else:
                done[place] = None
        if new and not self._configuration.has_linker:
            done |= yield from self._make_users(new, roles)
        rows = [(*user_row(record), user.id) for user, record in better.values()]
        for instance, key, *_ in (yield from self._sql.upsert_identities.of(rows)):
            before, record = better[instance, key]
            after = User(before.id, before.role, before.created_at, before.deleted_at, record)
            done[instance, key] = Change(before, after, after)
        return done

    def _make_users(self, records: Sequence[ClerkUser], roles: FirstRoles) -> Work[_Done]:
        now = self._configuration.now()
        users: dict[Id, User] = {}
        rows: Rows = []
        _, next_ids = yield from self._users.numbering()
        for record, id in (yield from self._users.with_new_ids(records, next_ids)):
            role, role_rank = roles.get(place_of(record), (None, None))
            gone = deletion_time([record])
            users[id] = User(id, role, to_datetime(now), to_datetime(gone), record)
            rows.append((id, role, role_rank, now, gone))
        made = [users[id] for id, *_ in (yield from self._sql.insert_users.of(rows))]
        rows = yield from self._sql.insert_identities.of([(*user_row(user.clerk), user.id) for user in made])
        tied = {(instance, key) for instance, key, *_ in rows}
        done: _Done = {}
        for user in made:
            if place_of(user.clerk) in tied:
                done[place_of(user.clerk)] = Change(None, user, user)
            else:  # another writer has just inserted this identity
                yield self._sql.delete_user, (user.id,)
        return done

    def _put_organizations(self, records: Sequence[ClerkOrganization]) -> Work[_Done]:
        known = yield from self._reading.organizations_at(map(place_of, records), to_write=True)
        done: _Done = {}
        better: dict[Place, tuple[Organization, Organization]] = {}
        for record in records:
            before = known.get(place_of(record))
            if before is not None and outranks(record, before.clerk):
                better[place_of(record)] = before, Organization(before.id, record)
            elif before is not None:
                done[place_of(record)] = None
        new = [record for record in records if place_of(record) not in known]
        with_ids = (yield from self._users.with_new_ids(new, self._sql.next_organization_ids)) if new else []
        made = {place_of(record): (None, Organization(id, record)) for record, id in with_ids}
        for writing, several in ((self._sql.upsert_organizations, better), (self._sql.insert_organizations, made)):
            rows = [(*organization_row(after.clerk), after.id) for _, after in several.values()]
            for instance, key, *_ in (yield from writing.of(rows)):
                before, after = several[instance, key]
                done[instance, key] = Change(before, after, organization=after)
        return done

    def _put_memberships(self, records: Sequence[ClerkMembership]) -> Work[_Done]:
        said = yield from self._reading.memberships_between(records)
        done: _Done = {}
        better: dict[Place, Change] = {}
        stored = {ends: current_membership(each.values()) for ends, each in said.items()}
        for record in records:
            of_both = said.setdefault(ends_of(record), {})
            if not outranks(record, of_both.get(record.key)):
                done[place_of(record)] = None
                continue
            before = latest_membership(of_both.values())
            of_both[record.key] = record  # the previous state of the next membership with the same ends
            after = latest_membership(of_both.values())
            assert after is not None
            better[place_of(record)] = Change(None if before is None else Membership(before), Membership(after))
        flags = CurrentFlags(self._sql)
        for ends in {ends_of(record) for record in records if place_of(record) in better}:
            flags.turn(stored.get(ends), current_membership(said[ends].values()))
        yield from flags.unset()
        rows = [flags.row(record) for record in records if place_of(record) in better]
        for instance, key, *_ in (yield from self._sql.upsert_memberships.of(rows)):
            done[instance, key] = better[instance, key]
        yield from flags.set(better)
        return done


class SqlDeliveries:
    """The records of a delivery, put in the transaction that adds its key."""

    def __init__(self, sql: Statements, configuration: Configuration, put: SqlPut) -> None:
        self._sql = sql
        self._configuration = configuration
        self._put = put

    def put_once(
        self, key: str | None, records: Collection[AnyRecord], again: bool
    ) -> Work[Written[list[Change] | None]]:
        """Put the records, unless the key is known. Old keys are removed."""
        now = self._configuration.now()
        is_new = key is None or (yield self._sql.insert_delivery, (key, now))
        if not is_new and not again:
            return [], None
        yield self._sql.forget_deliveries, (now - HANDLED_KEPT,)
        if not records:
            return [], []
        return (yield from self._put(records))
