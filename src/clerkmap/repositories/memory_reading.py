"""What the memory repository keeps, and how it is read. The tests hold `reading.py` and `listing.py` to it, which say
it in SQL.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any

from ..core.model import Count, Id, Organization, User, exported, spokesman
from ..core.principal import Standing
from ..core.records import (
    EMBEDDED,
    FROM_TOKEN,
    FULL,
    AnyRecord,
    ClerkMembership,
    ClerkSession,
    ClerkUser,
    Kind,
    key_of,
)
from ..errors import UserUnknown
from .arguments import (
    LISTED,
    check_after,
    check_checkpoint_name,
    check_keys,
    check_kind,
    check_limit,
    check_text,
    folded,
    is_storable,
)
from .options import Configuration

Place = tuple[str, str]  # an instance, and a key in it
Pair = tuple[str, str, str]  # an instance, and the keys of a person and of an organization


@dataclass(frozen=True, slots=True)
class Row:
    """Your side of a user, and where the identities are that lead to it."""

    role: str | None
    role_rank: str | None
    created_at: int
    deleted_at: int | None
    places: tuple[Place, ...] = ()


class MemoryReading:
    """What is in the dictionaries."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._users: dict[Id, Row] = {}
        self._identities: dict[Place, tuple[Id, ClerkUser]] = {}
        self._organizations: dict[Place, Organization] = {}
        self._organization_places: dict[Id, Place] = {}
        self._memberships: dict[Pair, tuple[ClerkMembership, ...]] = {}
        self._pairs: dict[Place, tuple[Pair, ...]] = {}  # of each person
        self._pair_of: dict[Place, Pair] = {}  # of each membership
        self._sessions: dict[Place, ClerkSession] = {}
        self._checkpoints: dict[str, str] = {}

    def find(self, instance: str, user_id: str, organization_id: str | None, session_id: str | None) -> Standing | None:
        user_key = key_of(user_id)
        user = self._user_at((instance, user_key))
        if user is None:
            return None
        over = self._sessions.get((instance, key_of(session_id))) if session_id is not None else None
        session_is_over = over is not None and over.rank >= self._configuration.forgotten_below()
        if organization_id is None:
            return Standing(user, session_is_over=session_is_over)
        organization_key = key_of(organization_id)
        organization = self._organizations.get((instance, organization_key))
        memberships = self._memberships.get((instance, user_key, organization_key), ())
        return Standing(user, organization, memberships, session_is_over)

    def user(self, id: Id) -> User | None:
        return spokesman(self._identities_of(id))

    def organization(self, id: Id) -> Organization | None:
        place = self._organization_places.get(id)
        return None if place is None else self._organizations[place]

    def export(self, id: Id) -> dict[str, Any]:
        users = self._known(id)
        return exported(users, self._all_memberships(users))

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

    def search(self, text: str, limit: int) -> list[User]:
        check_limit(limit)
        ids = self._configuration.ids_spelled(check_text(text))
        if is_storable(text):
            places = [place for place, (_, record) in self._identities.items() if _is_named(record, text)]
            ids.extend(self._identities[place][0] for place in sorted(places, key=" ".join))
        users = (self.user(id) for id in dict.fromkeys(ids))
        return [user for user in users if user is not None][:limit]

    def checkpoint(self, name: str) -> str | None:
        return self._checkpoints.get(check_checkpoint_name(name))

    def _places(self, kind: Kind) -> Collection[Place]:
        check_kind(kind)
        if kind == "user":
            return self._identities.keys()
        return self._organizations.keys() if kind == "organization" else self._pair_of.keys()

    def _record_at(self, kind: Kind, place: Place) -> AnyRecord:
        if kind == "user":
            return self._identities[place][1]
        if kind == "organization":
            return self._organizations[place].clerk
        return next(each for each in self._memberships[self._pair_of[place]] if each.key == place[1])

    def _count(self, kind: Kind, instance: str) -> Count:
        records = [self._record_at(kind, place) for place in self._places(kind) if place[0] == instance]
        told = [record for record in records if record.grade in (EMBEDDED, FULL)]
        return Count(
            len(told),
            sum(record.grade == FROM_TOKEN for record in records),
            sum(record.is_deleted for record in records),
            max((record.updated_at or 0 for record in told), default=0) or None,
            max((record.observed_at for record in records if record.grade != FROM_TOKEN), default=None),
        )

    def _user_at(self, place: Place) -> User | None:
        return self._tied_at(place) if place in self._identities else None

    def _tied_at(self, place: Place) -> User:
        id, record = self._identities[place]
        row = self._users[id]
        return User(id, row.role, row.created_at, row.deleted_at, record)

    def _identities_of(self, id: Id) -> list[User]:
        return [self._tied_at(place) for place in self._users[id].places] if id in self._users else []

    def _known(self, id: Id) -> list[User]:
        users = self._identities_of(id)
        if not users:
            raise UserUnknown
        return users

    def _all_memberships(self, users: Iterable[User]) -> list[ClerkMembership]:
        pairs = [pair for user in users for pair in self._pairs.get((user.clerk.instance, user.clerk.key), ())]
        return [membership for pair in pairs for membership in self._memberships[pair]]


def _is_named(record: ClerkUser, text: str) -> bool:
    """Whether this is what somebody is called. The key is there when the Clerk id itself has been forgotten."""
    if record.key == key_of(text) or text in (record.username, record.external_id):
        return True
    return record.email is not None and folded(record.email) == folded(text)
