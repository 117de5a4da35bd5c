"""Put Clerk's records into the memory repository. `sql/put.py` does the same in SQL."""

from collections.abc import Collection, Iterable
from itertools import islice

from ...core.deliveries import FORGOTTEN_AT_ONCE, HANDLED_KEPT
from ...core.membership_changes import MembershipChanges
from ...core.merging import current_membership, latest_membership, outranks, winning_records
from ...core.model import Change, Id, Membership, Organization, Session, keys_of
from ...core.records import AnyRecord, ClerkMembership, ClerkOrganization, ClerkSession, ClerkUser, ends_of, place_of
from ...errors import UserTaken
from ..options import Configuration, FirstRoles, log_taken
from .reading import MemoryReading
from .tables import MemoryTables, Written
from .users import MemoryUsers


class MemoryPut:
    """The one way in for Clerk's records."""

    def __init__(
        self, tables: MemoryTables, configuration: Configuration, reading: MemoryReading, users: MemoryUsers
    ) -> None:
        self._tables = tables
        self._configuration = configuration
        self._reading = reading
        self._users = users

    def __call__(self, records: Iterable[AnyRecord]) -> Written[list[Change]]:
        records = list(records)
        roles = self._configuration.first_roles(records)
        written = [change for record in winning_records(records) if (change := self._put(record, roles)) is not None]
        written = self.with_memberships(written)
        return written, [change for change in written if change.is_news]

    def with_memberships(self, written: Iterable[Change]) -> list[Change]:
        """Return these changes, with those of all memberships that begin, change or end because of them."""
        tables, changes = self._tables, MembershipChanges(written)
        for index, turned in (
            (tables.ends_of_user, changes.turned_users),
            (tables.ends_of_organization, changes.turned_organizations),
        ):
            for place in turned:
                found = [current_membership(tables.memberships[ends]) for ends in index.get(place, ())]
                changes.add(record for record in found if record is not None)
        return changes.all(
            {place: user for place in changes.users_to_read if (user := self._reading.user_at(place)) is not None},
            tables.organizations,
        )

    def _put(self, record: AnyRecord, roles: FirstRoles) -> Change | None:
        if isinstance(record, ClerkUser):
            return self._put_user(record, roles.get(place_of(record)))
        if isinstance(record, ClerkOrganization):
            return self._put_organization(record)
        if isinstance(record, ClerkMembership):
            return self._put_membership(record)
        return self._put_session(record)

    def _put_user(self, record: ClerkUser, first_role: tuple[str, str] | None) -> Change | None:
        place = place_of(record)
        known = self._reading.user_at(place)
        if known is None and not self._configuration.is_enough(record):
            return None
        linked = self._linked_free(record) if known is None else None
        if known is not None:
            id = known.id
        else:
            id = self._users.new_id("user", record, self._tables.users) if linked is None else linked
            self._users.make_row(id)
        before = self._reading.user(id) if known is None else known  # perhaps with other identities
        is_written = outranks(record, None if known is None else known.clerk)
        if is_written:
            self._users.tie(place, record, id)
        is_given = first_role is not None and self._users.give_role(id, *first_role)
        if not is_written and not is_given:
            return None
        after = self._reading.tied_at(place)
        touched = keys_of(self._reading.identities_of(id))
        return Change(before, after, after, linked=linked is not None, also_touches=touched)

    def _linked_free(self, record: ClerkUser) -> Id | None:
        """Return the id that your linker names, if that user has no other identity."""
        id = self._linked(record)
        if id is None:
            return None
        try:
            if self._users.is_yours(id):
                self._users.check_free(record, id)
                return id
        except UserTaken:
            pass
        log_taken()
        return None

    def _linked(self, record: ClerkUser) -> Id | None:
        """Return the id that your linker names."""
        first = self._configuration.first_user
        if first is None or record.is_deleted:
            return self._configuration.linked_id(record)
        if first.checkpoint in self._tables.checkpoints:
            return None
        self._tables.set(self._tables.checkpoints, first.checkpoint, f"{record.instance} {record.key}")
        return first.id

    def _put_organization(self, record: ClerkOrganization) -> Change | None:
        place = place_of(record)
        before = self._tables.organizations.get(place)
        if not outranks(record, None if before is None else before.clerk):
            return None
        taken = self._tables.organization_places
        id = self._users.new_id("organization", record, taken) if before is None else before.id
        after = Organization(id, record)
        self._tables.set(self._tables.organizations, place, after)
        self._tables.set(self._tables.organization_places, id, place)
        return Change(before, after, organization=after)

    def _put_membership(self, record: ClerkMembership) -> Change | None:
        tables = self._tables
        ends = ends_of(record)
        said = tables.memberships.get(ends, ())
        others = [each for each in said if each.key != record.key]
        if not outranks(record, next((each for each in said if each.key == record.key), None)):
            return None
        before, after = latest_membership(said), latest_membership([*others, record])
        assert after is not None
        tables.set(tables.ends_of_membership, place_of(record), ends)
        tables.set(tables.memberships, ends, tuple(sorted((*others, record), key=lambda each: each.key)))
        if not said:
            tables.set(tables.ends_of_user.setdefault(ends[:2], {}), ends, True)
            tables.set(tables.ends_of_organization.setdefault((ends[0], ends[2]), {}), ends, True)
        return Change(None if before is None else Membership(before), Membership(after))

    def _put_session(self, record: ClerkSession) -> Change | None:
        sessions = self._tables.sessions
        forgotten = self._configuration.oldest_session_rank()
        place = place_of(record)
        before = sessions.get(place)
        if record.rank < forgotten or not outranks(record, before):
            return None
        self._tables.set(sessions, place, record)
        while (oldest := next(iter(sessions.items())))[1].rank < forgotten:
            self._tables.set(sessions, oldest[0], None)
        return Change(None, Session(record)) if before is None else None  # it had ended before


class MemoryDeliveries:
    """The records of a delivery, put in the transaction that adds its key."""

    def __init__(self, tables: MemoryTables, configuration: Configuration, put: MemoryPut) -> None:
        self._tables = tables
        self._configuration = configuration
        self._put = put

    def put_once(self, key: str | None, records: Collection[AnyRecord], again: bool) -> Written[list[Change] | None]:
        deliveries, now = self._tables.deliveries, self._configuration.now()
        if key in deliveries and not again:
            return [], None
        if key is not None and key not in deliveries:
            self._tables.set(deliveries, key, now)
        for each, handled_at in list(islice(deliveries.items(), FORGOTTEN_AT_ONCE)):  # the oldest are the first
            if handled_at < now - HANDLED_KEPT:
                self._tables.set(deliveries, each, None)
        written, changes = self._put(records)
        return written, changes
