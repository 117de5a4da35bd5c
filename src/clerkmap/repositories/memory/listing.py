"""The lists of the memory repository. `sql/listing.py` has the same lists in SQL."""

from collections.abc import Iterable
from typing import TypeVar

from ...core.merging import current_membership
from ...core.model import Id, Member, Membership, Organization, ResultPage, User
from ...core.records import Ends, key_of, place_of
from ..arguments import is_storable
from ..listing import Listing, Position, id_position
from ..options import Configuration
from .reading import MemoryReading
from .tables import MemoryTables

T = TypeVar("T")
Row = TypeVar("Row", User, Organization)
Placed = list[tuple[Position, T]]  # items with their sort keys, in order


class MemoryListing:
    """The lists. Each reads everything: a dictionary has no order."""

    def __init__(self, tables: MemoryTables, configuration: Configuration, reading: MemoryReading) -> None:
        self._tables = tables
        self._configuration = configuration
        self._reading = reading

    def users(self, listing: Listing, after: str | None) -> ResultPage[User]:
        return _page(self._users(listing), listing, self._begin(listing, after))

    def count_users(self, listing: Listing) -> int:
        return min(len(self._users(listing)), listing.limit)

    def organizations(self, listing: Listing, after: str | None) -> ResultPage[Organization]:
        return _page(self._organizations(listing), listing, self._begin(listing, after))

    def count_organizations(self, listing: Listing) -> int:
        return min(len(self._organizations(listing)), listing.limit)

    def members(self, listing: Listing, after: str | None) -> ResultPage[Member]:
        return _page(self._members(listing), listing, listing.begin(after, is_storable))

    def count_members(self, listing: Listing) -> int:
        return min(len(self._members(listing)), listing.limit)

    def organizations_of(self, user_id: Id) -> list[Member]:
        ends = [
            each
            for user in self._reading.identities_of(user_id)
            for each in self._tables.ends_of_user.get(place_of(user.clerk), ())
        ]
        ends.sort(key=lambda each: (each[0], each[2], each[1]))
        return [member for each in ends if (member := self._member(each)) is not None]

    def _begin(self, listing: Listing, after: str | None) -> Position | None:
        return listing.begin(after, *([self._configuration.is_id] if listing.prefix is None else [is_storable] * 3))

    def _users(self, listing: Listing) -> Placed[User]:
        users = [user for id in self._tables.users if (user := self._reading.user(id)) is not None]
        known = [(record, id) for id, record in self._tables.identities.values()]
        with_id = {id for record, id in known if _has_id(listing, record.key, record.external_id)}
        return self._placed([user for user in users if listing.has_user(user)], with_id, listing)

    def _organizations(self, listing: Listing) -> Placed[Organization]:
        organizations = list(self._tables.organizations.values())
        with_id = {each.id for each in organizations if _has_id(listing, each.clerk.key)}
        wanted = [each for each in organizations if listing.has_organization(each)]
        return self._placed(wanted, with_id, listing)

    def _placed(self, rows: list[Row], with_id: set[Id], listing: Listing) -> Placed[Row]:
        """Return the rows that the search finds, with their positions."""
        prefix = listing.prefix
        if prefix is None:
            return _in_order(((row.id,), row) for row in rows)
        with_id |= set(self._configuration.ids_spelled(prefix.text))
        placed: Placed[Row] = [(id_position(row.id), row) for row in rows if row.id in with_id]
        for row in rows:
            term = prefix.finds(row.clerk)
            if row.id not in with_id and term is not None:
                placed.append(((term, row.clerk.instance, row.clerk.key), row))
        return _in_order(placed)

    def _members(self, listing: Listing) -> Placed[Member]:
        id = listing.organization_id
        place = None if id is None else self._tables.organization_places.get(id)
        ends = sorted(self._tables.ends_of_organization.get(place, ())) if place is not None else []
        members = [((each[1],), member) for each in ends if (member := self._member(each)) is not None]
        return [
            (key, each)
            for key, each in members
            if listing.role in (None, each.role)
            and (listing.prefix is None or listing.prefix.finds(each.user.clerk) is not None)
        ]

    def _member(self, ends: Ends) -> Member | None:
        """Return the member with these ends, if a request as this member would be accepted."""
        user, current = self._reading.user_at(ends[:2]), current_membership(self._tables.memberships[ends])
        organization = self._tables.organizations.get((ends[0], ends[2]))
        if user is None or user.deleted_at is not None or user.clerk.is_deleted or user.clerk.banned:
            return None
        if current is None or organization is None or organization.clerk.is_deleted:
            return None
        return Member(user, organization, Membership(current))


def _has_id(listing: Listing, key: str, external_id: str | None = None) -> bool:
    text = listing.prefix.text if listing.prefix is not None else ""
    return bool(text) and (key == key_of(text) or external_id == text)


def _in_order(items: Iterable[tuple[Position, T]]) -> Placed[T]:
    return sorted(items, key=lambda item: _order(item[0]))


def _order(position: Position) -> list[tuple[bool, str | int]]:
    """Return a sort key: numbers come before text."""
    return [(isinstance(part, str), part) for part in position]


def _page(items: Placed[T], listing: Listing, begin: Position | None) -> ResultPage[T]:
    left = [item for item in items if begin is None or _order(item[0]) > _order(begin)]
    return listing.page([item for _, item in left], lambda number: left[number][0])
