"""The changes of memberships that follow from one write: the memberships that begin, change or end with it.

A membership is current while its user and its organization exist and the user is not banned, as in the view
`current_members`. So it also begins or ends with a record of its user or organization, or with a link of the user.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Generic, TypeVar

from .model import Change, Membership, Organization, User
from .records import ClerkMembership, Ends, Place, ends_of, place_of

E = TypeVar("E", User, Organization)


class MembershipChanges:
    """The changes of one write, in which each user, organization and membership occurs once.

    Args:
        written: The changes of the write. One of a membership has the latest record before and after.
    """

    def __init__(self, written: Iterable[Change]) -> None:
        self._others: list[Change] = []
        self._written: dict[Ends, tuple[ClerkMembership | None, ClerkMembership]] = {}
        self._beside: dict[Ends, ClerkMembership] = {}
        self._users: _Written[User] = _Written()
        self._organizations: _Written[Organization] = _Written()
        for change in written:
            before, after = change.before, change.after
            if isinstance(after, Membership):
                first = before.clerk if isinstance(before, Membership) else None
                ends = ends_of(after.clerk)
                self._written[ends] = self._written.get(ends, (first,))[0], after.clerk
                continue
            self._others.append(change)
            if isinstance(after, User):
                self._users.add(before if isinstance(before, User) else None, after)
            elif isinstance(after, Organization):
                self._organizations.add(before if isinstance(before, Organization) else None, after)

    @property
    def turned_users(self) -> list[Place]:
        """The users that this write makes, ends or moves to another row, and their memberships with them."""
        pairs = self._users.pairs.items()
        return sorted(place for place, (before, after) in pairs if _id_that_counts(before) != _id_that_counts(after))

    @property
    def turned_organizations(self) -> list[Place]:
        """The organizations whose current memberships begin or end with this write."""
        pairs = self._organizations.pairs.items()
        return sorted(place for place, (before, after) in pairs if _exists(before) != _exists(after))

    def add(self, current: Iterable[ClerkMembership]) -> None:
        """Add the current records of memberships of turned users and organizations, as they are after the write."""
        for record in current:
            ends = ends_of(record)
            if ends not in self._written:
                self._beside[ends] = record

    @property
    def users_to_read(self) -> list[Place]:
        """The users of all these memberships that were not written."""
        places = {(instance, key) for instance, key, _ in (*self._written, *self._beside)}
        return sorted(places.difference(self._users.pairs))

    @property
    def organizations_to_read(self) -> list[Place]:
        """The organizations of all these memberships that were not written."""
        places = {(instance, key) for instance, _, key in (*self._written, *self._beside)}
        return sorted(places.difference(self._organizations.pairs))

    def all(self, users: Mapping[Place, User], organizations: Mapping[Place, Organization]) -> list[Change]:
        """Return all changes: memberships that end, then organizations and users, then memberships that begin or
        change. So your row refers to an earlier one, and is deleted before that one.

        Args:
            users: The users to read, those that exist.
            organizations: The organizations to read.
        """
        ending: list[Change] = []
        others: list[Change] = []
        for ends, (before, after) in self._written.items():
            for change in self._changes(before, after, self._users.at(ends[:2], users), ends, organizations):
                (ending if change.deleted else others).append(change)
        for ends, record in sorted(self._beside.items()):
            for change in self._changes(record, record, self._users.at(ends[:2], users), ends, organizations):
                (ending if change.deleted else others).append(replace(change, follows=True))
        return [*ending, *self._others, *others]

    def _changes(
        self,
        record_before: ClerkMembership | None,
        record: ClerkMembership,
        users: tuple[User | None, User | None],
        ends: Ends,
        organizations: Mapping[Place, Organization],
    ) -> list[Change]:
        """Return the change of one membership. If its user is another one of yours now, it ends, and another begins."""
        user_before, user = users
        organization_before, organization = self._organizations.at((ends[0], ends[2]), organizations)
        was = _is_current(record_before, user_before, organization_before)
        is_current = _is_current(record, user, organization)
        after = Membership(record, is_current)
        if user_before is not None and user is not None and user_before.id != user.id:
            moved: list[Change] = []
            if was and record_before is not None:
                left = Membership(record_before, is_current=False)
                moved.append(Change(Membership(record_before), left, user_before, organization))
            return [*moved, Change(None, after, user, organization)]
        # Before it had both ends, it was no membership for you.
        is_known = was or (user_before is not None and organization_before is not None)
        before = Membership(record_before, was) if record_before is not None and is_known else None
        return [Change(before, after, user, organization)]


class _Written(Generic[E]):
    """The users or organizations that a write has changed: before and after."""

    def __init__(self) -> None:
        self.pairs: dict[Place, tuple[E | None, E]] = {}

    def add(self, before: E | None, after: E) -> None:
        place = place_of(after.clerk)
        # A new identity of your user comes with another identity as its state before.
        if before is not None and place_of(before.clerk) != place:
            before = None
        self.pairs[place] = self.pairs.get(place, (before,))[0], after

    def at(self, place: Place, read: Mapping[Place, E]) -> tuple[E | None, E | None]:
        """Return the state at a place before and after the write."""
        unchanged = read.get(place)
        return self.pairs.get(place) or (unchanged, unchanged)


def _id_that_counts(user: User | None) -> object:
    if user is None or user.deleted_at is not None or user.clerk.is_deleted or user.clerk.banned:
        return None
    id: object = user.id
    return type(id), id


def _exists(organization: Organization | None) -> bool:
    return organization is not None and not organization.clerk.is_deleted


def _is_current(record: ClerkMembership | None, user: User | None, organization: Organization | None) -> bool:
    is_there = record is not None and not record.is_deleted
    return is_there and _id_that_counts(user) is not None and _exists(organization)
