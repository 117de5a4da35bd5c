"""The queries of the memory repository. `sql/reading.py` has the same queries in SQL."""

from collections.abc import Collection, Iterable, Sequence
from heapq import nsmallest
from typing import Any

from ...core.model import Count, Id, Organization, User, exported, representative
from ...core.principal import Standing
from ...core.records import EMBEDDED, FROM_TOKEN, FULL, AnyRecord, ClerkMembership, Kind, Place, key_of, place_of
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
)
from ..options import Configuration
from .tables import MemoryTables


class MemoryReading:
    """The queries."""

    def __init__(self, tables: MemoryTables, configuration: Configuration) -> None:
        self._tables = tables
        self._configuration = configuration

    def find(self, instance: str, user_id: str, organization_id: str | None, session_id: str | None) -> Standing | None:
        user_key = key_of(user_id)
        user = self.user_at((instance, user_key))
        if user is None:
            return None
        over = self._tables.sessions.get((instance, key_of(session_id))) if session_id is not None else None
        session_is_over = over is not None and over.rank >= self._configuration.oldest_session_rank()
        if organization_id is None:
            return Standing(user, session_is_over=session_is_over)
        organization_key = key_of(organization_id)
        organization = self._tables.organizations.get((instance, organization_key))
        memberships = self._tables.memberships.get((instance, user_key, organization_key), ())
        return Standing(user, organization, memberships, session_is_over)

    def user(self, id: Id) -> User | None:
        return representative(self.identities_of(id))

    def organization(self, id: Id) -> Organization | None:
        place = self._tables.organization_places.get(id)
        return None if place is None else self._tables.organizations[place]

    def row(self, kind: OutboxKind, instance: str, key: str) -> User | Organization | None:
        check_outbox_kind(kind)
        return self.user_at((instance, key)) if kind == "user" else self._tables.organizations.get((instance, key))

    def export(self, id: Id) -> dict[str, Any]:
        users = self.known(id)
        return exported(users, self.all_memberships(users))

    def records(self, kind: Kind, instance: str, after: str, limit: int) -> list[AnyRecord]:
        check_after(after)
        places = (place for place in self._places(kind) if place[0] == instance and place[1] > after)
        return [self._record_at(kind, place) for place in nsmallest(check_limit(limit), places)]

    def record(self, kind: Kind, instance: str, key: str) -> AnyRecord | None:
        place = (instance, key)
        return self._record_at(kind, place) if place in self._places(kind) else None

    def ranks(self, kind: Kind, instance: str, keys: Sequence[str]) -> dict[str, str]:
        places = {(instance, key) for key in check_keys(keys)} & set(self._places(kind))
        return {place[1]: self._record_at(kind, place).rank for place in places}

    def counts(self, instance: str) -> dict[Kind, Count]:
        return {kind: self._count(kind, instance) for kind in LISTED}

    def known(self, id: Id) -> list[User]:
        """Return the identities of your user, or raise `UserUnknown`."""
        users = self.identities_of(id)
        if not users:
            raise UserUnknown
        return users

    def identities_of(self, id: Id) -> list[User]:
        """Return your user once for each identity."""
        row = self._tables.users.get(id)
        return [] if row is None else [self.tied_at(place) for place in row.places]

    def user_at(self, place: Place) -> User | None:
        """Return your user by an identity."""
        return self.tied_at(place) if place in self._tables.identities else None

    def tied_at(self, place: Place) -> User:
        """Return your user by an existing identity."""
        id, record = self._tables.identities[place]
        row = self._tables.users[id]
        return User(id, row.role, to_datetime(row.created_at), to_datetime(row.deleted_at), record)

    def all_memberships(self, users: Iterable[User]) -> list[ClerkMembership]:
        """Return the memberships of all these identities."""
        ends_of_user = self._tables.ends_of_user
        all_ends = [ends for user in users for ends in ends_of_user.get(place_of(user.clerk), ())]
        return [membership for ends in all_ends for membership in self._tables.memberships[ends]]

    def _places(self, kind: Kind) -> Collection[Place]:
        check_kind(kind)
        if kind == "user":
            return self._tables.identities.keys()
        return self._tables.organizations.keys() if kind == "organization" else self._tables.ends_of_membership.keys()

    def _record_at(self, kind: Kind, place: Place) -> AnyRecord:
        if kind == "user":
            return self._tables.identities[place][1]
        if kind == "organization":
            return self._tables.organizations[place].clerk
        memberships = self._tables.memberships[self._tables.ends_of_membership[place]]
        return next(each for each in memberships if each.key == place[1])

    def _count(self, kind: Kind, instance: str) -> Count:
        records = [self._record_at(kind, place) for place in self._places(kind) if place[0] == instance]
        told = [record for record in records if record.grade in (EMBEDDED, FULL)]
        return Count(
            len(told),
            sum(record.grade == FROM_TOKEN for record in records),
            sum(record.is_deleted for record in records),
            to_datetime(max((record.updated_at or 0 for record in told), default=0) or None),
            to_datetime(max((each.observed_at for each in records if each.grade != FROM_TOKEN), default=None)),
        )
