"""The reference repository: what the others do in SQL, said in Python. For tests, and for reading.

Everything is lost with the process.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ..core.model import Change, Id, Membership, Organization, Standing, User
from ..core.records import (
    SIGHTED,
    AnyRecord,
    ClerkMembership,
    ClerkOrganization,
    ClerkUser,
    deleted_at,
    fold,
    key_of,
    newer,
    speaks_first,
)
from ..errors import LinkRefused
from ..forks import SurvivesForks
from ..repository import Ids, Linker, Watcher, Watchers
from .ids import check_id, check_ids, id_taken, make_id

Place = tuple[str, str]  # an instance, and a key in it


class MemoryRepository(SurvivesForks):
    """Keeps everything in dictionaries, under one lock.

    Args:
        ids: How your ids are made: `uuid7`, `integer`, `clerk` (Clerk's own), or a function of Clerk's record.
        linker: Asked, at the first sight of a person, for the id of a user you already have.
        clock: The time, in seconds since 1970, for `created_at`.
    """

    poll_every: float | None = None

    def __init__(
        self, *, ids: Ids = "uuid7", linker: Linker | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._ids: Ids = check_ids(ids)
        self._linker = linker
        self._clock = clock
        self._lock = threading.RLock()
        self._writing = False
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        self._watchers = Watchers()
        self._identities: dict[Place, User] = {}
        self._places: dict[Id, tuple[Place, ...]] = {}  # of each user's identities
        self._organizations: dict[Id, Organization] = {}
        self._organization_ids: dict[Place, Id] = {}
        self._memberships: dict[Place, ClerkMembership] = {}
        self._by_ends: dict[tuple[str, str, str], tuple[Place, ...]] = {}
        self._last_ids: dict[str, int] = {}
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        self._lock = threading.RLock()
        self._take_back()  # what a thread that has stayed behind had begun
        self._writing = False

    def put(self, records: Iterable[AnyRecord]) -> list[Change]:
        with self._transaction():
            written = [change for record in fold(records) if (change := self._put(record)) is not None]
        self._watchers.tell(written)
        return [change for change in written if change.altered]

    def find(self, instance: str, clerk_user_id: str, clerk_organization_id: str | None = None) -> Standing | None:
        user_key = key_of(clerk_user_id)
        with self._lock:
            user = self._identities.get((instance, user_key))
            if user is None or clerk_organization_id is None:
                return None if user is None else Standing(user)
            organization_key = key_of(clerk_organization_id)
            id = self._organization_ids.get((instance, organization_key))
            places = self._by_ends.get((instance, user_key, organization_key), ())
            memberships = tuple(self._memberships[place] for place in places)
            return Standing(user, None if id is None else self._organizations[id], memberships)

    def user(self, id: Id) -> User | None:
        with self._lock:
            users = [self._identities[place] for place in self._places.get(id, ())]
            return max(users, key=lambda user: speaks_first(user.clerk), default=None)

    def organization(self, id: Id) -> Organization | None:
        with self._lock:
            return self._organizations.get(id)

    def link(self, instance: str, clerk_id: str, id: Id) -> User:
        check_id(self._ids, id)
        with self._transaction():
            place = (instance, key_of(clerk_id))
            before = self._identities.get(place)
            if before is not None and before.id != id:
                raise LinkRefused
            user = before or self._tie(place, ClerkUser.make(SIGHTED, instance, clerk_id, observed_at=0), id)
        self._watchers.tell([Change(before, user)])
        return user

    def watch(self, watcher: Watcher) -> None:
        self._watchers.add(watcher)

    def poll(self) -> None:
        """Nobody else can write."""

    def close(self) -> None:
        """There is nothing to let go of."""

    def _put(self, record: AnyRecord) -> Change | None:
        if isinstance(record, ClerkUser):
            return self._put_user(record)
        if isinstance(record, ClerkOrganization):
            return self._put_organization(record)
        return self._put_membership(record)

    def _put_user(self, record: ClerkUser) -> Change | None:
        place = (record.instance, record.key)
        before = self._identities.get(place)
        if not newer(record, before.clerk if before is not None else None):
            return None
        return Change(before, self._tie(place, record, self._first_sight(record) if before is None else before.id))

    def _first_sight(self, record: ClerkUser) -> Id:
        id = self._linker(record) if self._linker is not None else None
        return self._new_id("user", record, self._places) if id is None else check_id(self._ids, id)

    def _tie(self, place: Place, record: ClerkUser, id: Id) -> User:
        """Let this record speak for a user of yours, new or not, beside the user's other identities."""
        others = [each for each in self._places.get(id, ()) if each != place]
        beside = [self._identities[each] for each in others]
        gone = deleted_at([record, *(user.clerk for user in beside)])
        known = self._identities.get(place) or next(iter(beside), None)
        role, created_at = (None, self._now()) if known is None else (known.role, known.created_at)
        made = User(id, role, created_at, gone, record)
        self._set(self._identities, place, made)
        self._set(self._places, id, (*others, place))
        for each, user in zip(others, beside, strict=True):
            if user.deleted_at != gone:
                self._set(self._identities, each, replace(user, deleted_at=gone))
        return made

    def _put_organization(self, record: ClerkOrganization) -> Change | None:
        place = (record.instance, record.key)
        id = self._organization_ids.get(place)
        before = None if id is None else self._organizations[id]
        if not newer(record, before.clerk if before is not None else None):
            return None
        after = Organization(self._new_id("organization", record, self._organizations) if id is None else id, record)
        self._set(self._organization_ids, place, after.id)
        self._set(self._organizations, after.id, after)
        return Change(before, after)

    def _put_membership(self, record: ClerkMembership) -> Change | None:
        place = (record.instance, record.key)
        before = self._memberships.get(place)
        if not newer(record, before):
            return None
        self._set(self._memberships, place, record)
        if before is not None:
            others = (each for each in self._by_ends[_ends(before)] if each != place)
            self._set(self._by_ends, _ends(before), tuple(others))
        beside = self._by_ends.get(_ends(record), ())
        self._set(self._by_ends, _ends(record), tuple(sorted((*beside, place))))
        return Change(None if before is None else Membership(before), Membership(record))

    def _new_id(self, kind: str, record: ClerkUser | ClerkOrganization, taken: dict[Any, Any]) -> Id:
        id = make_id(self._ids, record)
        if id is None:
            id = self._last_ids[kind] = self._last_ids.get(kind, 0) + 1
            while id in taken:  # by a link
                id = self._last_ids[kind] = id + 1
        if id in taken:
            raise id_taken()
        return id

    def _now(self) -> int:
        return int(self._clock() * 1000)

    @contextmanager
    def _transaction(self) -> Generator[None, None, None]:
        """All or nothing: what was set is set back if the block raises."""
        with self._lock:
            if self._writing:
                raise RuntimeError("a linker must not write to the repository that asks it")
            self._writing = True
            try:
                yield
                self._undo.clear()
            finally:
                self._take_back()
                self._writing = False

    def _take_back(self) -> None:
        while self._undo:
            table, key, old = self._undo[-1]
            if old is None:
                table.pop(key, None)
            else:
                table[key] = old
            self._undo.pop()

    def _set(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        self._undo.append((table, key, table.get(key)))
        table[key] = value


def _ends(record: ClerkMembership) -> tuple[str, str, str]:
    return record.instance, record.user_key, record.organization_key
