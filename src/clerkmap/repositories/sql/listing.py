"""Lists in SQL: the users, organizations and members of now in pages, and the search terms that `put` keeps for them.

The conditions of the views stand here, too, so that a list and a view cannot differ.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Generic, TypeVar

from ...core.model import Change, Id, Member, Organization, ResultPage, User
from ...core.records import DELETED, key_of, place_of
from ..arguments import is_storable
from ..listing import Listing, Position, Prefix, id_position, terms_of
from ..options import Configuration, not_inserted
from .dialects import Names
from .reading import SqlReading, member_of, organization_of, user_of
from .statements import ORGANIZATION_COLUMNS, TERM_COLUMNS, USER_COLUMNS, Ask, ManyRows, Rows, Statements, Work

T = TypeVar("T", User, Organization)

_USER = len(USER_COLUMNS) + 4
_ORGANIZATION = len(ORGANIZATION_COLUMNS) + 1
_MEMBERSHIP = _USER + _ORGANIZATION
_AT_ONCE = 500  # terms that one statement deletes: databases bound the number of values
_TERM_KEY = "t.term, t.instance, t.key"


# The rules of `representative_order`, `current_membership` and `why_user_is_locked_out` in SQL. A rank below 3 is that
# of no tombstone.
def represents_user(names: Names) -> str:
    """Return the condition that an identity `i` represents its user."""
    return f"""NOT EXISTS (
    SELECT 1 FROM {names.table("identities")} other
    WHERE other.user_id = i.user_id AND (other.rank < '{DELETED}', other.rank) > (i.rank < '{DELETED}', i.rank))"""


def current_members(names: Names) -> str:
    """Return the FROM and WHERE of the members as whom a request would be accepted."""
    return f"""FROM {names.table("memberships")} m
JOIN {names.table("organizations")} o ON o.instance = m.instance AND o.key = m.organization_key AND o.rank < '{DELETED}'
JOIN {names.table("identities")} i ON i.instance = m.instance AND i.key = m.user_key AND i.rank < '{DELETED}'
JOIN {names.table("users")} u ON u.id = i.user_id AND u.deleted_at IS NULL
WHERE m.is_current AND NOT i.banned"""


class _Question:
    """The FROM and WHERE of a list, condition by condition, and the values."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._values: tuple[Any, ...] = ()

    def add(self, condition: str, *values: Any) -> None:
        self._text += f" AND {condition}"
        self._values += values

    def rows(self, columns: str, order: str, limit: int, value: str) -> Ask:
        """Return the question for a page, and for one row more, which shows whether there is a next page."""
        text = f"SELECT {columns} {self._text} ORDER BY {order} LIMIT ?"
        return text.replace("?", value), (*self._values, limit + 1)

    def count(self, at_most: int, value: str) -> Ask:
        """Return the question for the number of rows."""
        text = f"SELECT count(*) FROM (SELECT 1 {self._text} LIMIT ?) AS counted"
        return text.replace("?", value), (*self._values, at_most)


@dataclass(frozen=True, slots=True)
class _Kind(Generic[T]):
    """How a list of users or organizations is read."""

    columns: str
    id: str
    all: str  # FROM and WHERE
    found: str  # the same from the search terms
    deleted: str  # the condition that a row is deleted
    with_id: str  # the statement for your ids of those with an id
    has_external_ids: bool
    of: Callable[[tuple[Any, ...]], T]
    read: Callable[[Id], Work[T | None]]
    has: Callable[[Listing, T], bool]


class SqlListing:
    """The lists. A page begins after the sort key of the last item before it, and is read by an index."""

    def __init__(self, sql: Statements, configuration: Configuration, reading: SqlReading) -> None:
        self._sql = sql
        self._configuration = configuration
        self._reading = reading
        table, is_one, value = sql.names.table, represents_user(sql.names), sql.dialect.value
        users, identities, organizations = table("users"), table("identities"), table("organizations")
        terms, tied = table("search_terms"), "ON u.id = i.user_id"
        found_identities = f"FROM {terms} t JOIN {identities} i ON i.instance = t.instance AND i.key = t.key"
        found_organizations = f"FROM {terms} t JOIN {organizations} o ON o.instance = t.instance AND o.key = t.key"
        # There are few instances, so this takes a look-up by the primary key in each of them.
        with_id = (
            "WITH RECURSIVE known(instance) AS (SELECT min(instance) FROM {0} UNION ALL "
            "SELECT (SELECT min(instance) FROM {0} r WHERE r.instance > known.instance) FROM known "
            "WHERE known.instance IS NOT NULL) "
            "SELECT {1} FROM known JOIN {0} r ON r.instance = known.instance AND r.key = ? "
            "UNION SELECT {2} FROM {3} r WHERE r.id IN (?, ?)"
        )
        as_text = "::text" if sql.id_type == "uuid" else ""
        self._user: _Kind[User] = _Kind(
            sql.user_columns,
            "u.id",
            f"FROM {users} u JOIN {identities} i {tied} WHERE {is_one}",
            f"{found_identities} JOIN {users} u {tied} WHERE t.kind = 'user' AND {is_one}",
            "u.deleted_at IS NOT NULL",
            with_id.format(identities, f"r.user_id{as_text}", f"r.id{as_text}", users).replace("?", value)
            + f" UNION SELECT i.user_id{as_text} {found_identities} "
            f"WHERE t.kind = 'external_id' AND t.term = {value}",
            True,
            user_of,
            reading.user,
            Listing.has_user,
        )
        self._organization: _Kind[Organization] = _Kind(
            sql.organization_columns,
            "o.id",
            f"FROM {organizations} o WHERE true",
            f"{found_organizations} WHERE t.kind = 'organization'",
            f"o.rank >= '{DELETED}'",
            with_id.format(organizations, f"r.id{as_text}", f"r.id{as_text}", organizations).replace("?", value),
            False,
            lambda row: organization_of(row[:_ORGANIZATION]),
            reading.organization,
            Listing.has_organization,
        )
        self._members = current_members(sql.names)
        self._is_found = (
            f"(m.instance, m.user_key) IN (SELECT t.instance, t.key FROM {terms} t "
            "WHERE t.kind = 'user' AND t.term >= ? AND t.term < ?)"
        )
        self._select_organizations_of = (
            f"SELECT {sql.user_columns}, {sql.organization_columns}, {sql.membership_columns} {self._members} "
            "AND u.id = ? ORDER BY m.instance, m.organization_key, m.user_key"
        ).replace("?", value)

    def users(self, listing: Listing, after: str | None) -> Work[ResultPage[User]]:
        return self._page(self._user, listing, after)

    def count_users(self, listing: Listing) -> Work[int]:
        return self._count(self._user, listing)

    def organizations(self, listing: Listing, after: str | None) -> Work[ResultPage[Organization]]:
        return self._page(self._organization, listing, after)

    def count_organizations(self, listing: Listing) -> Work[int]:
        return self._count(self._organization, listing)

    def members(self, listing: Listing, after: str | None) -> Work[ResultPage[Member]]:
        begin = listing.begin(after, is_storable)
        organization = yield from self._reading.organization(listing.organization_id)
        if organization is None or organization.clerk.is_deleted:
            return ResultPage((), None)
        question = self._members_of(organization, listing)
        key = "" if begin is None else begin[0]
        # Twice: PostgreSQL may merge members and identities, and would read all identities before the page.
        question.add("m.user_key > ? AND i.key > ?", key, key)
        columns = f"{self._sql.user_columns}, {self._sql.membership_columns}"
        rows = yield question.rows(columns, "m.user_key", listing.limit, self._sql.dialect.value)
        members = [member_of(row, organization, row[_USER:]) for row in rows]
        return listing.page(members, lambda number: (members[number].membership.clerk.user_key,))

    def count_members(self, listing: Listing) -> Work[int]:
        organization = yield from self._reading.organization(listing.organization_id)
        if organization is None or organization.clerk.is_deleted:
            return 0
        question = self._members_of(organization, listing)
        ((number,),) = yield question.count(listing.limit, self._sql.dialect.value)
        return int(number)

    def organizations_of(self, user_id: Id) -> Work[list[Member]]:
        rows = (yield self._select_organizations_of, (user_id,)) if self._configuration.is_id(user_id) else []
        members: list[Member] = []
        for row in rows:
            member = member_of(row, organization_of(row[_USER:_MEMBERSHIP]), row[_MEMBERSHIP:])
            if member.user.id == user_id:  # SQLite finds the user 7 by "7", too
                members.append(member)
        return members

    def _members_of(self, organization: Organization, listing: Listing) -> _Question:
        question = _Question(self._members)
        # By the index of current memberships, whose order is that of the list.
        question.add("m.instance = ? AND m.organization_key = ?", *place_of(organization.clerk))
        if listing.role is not None:
            question.add("m.role = ?", listing.role)
        if listing.prefix is not None:
            question.add(self._is_found, listing.prefix.first, listing.prefix.last)
        return question

    def _page(self, kind: _Kind[T], listing: Listing, after: str | None) -> Work[ResultPage[T]]:
        prefix, value = listing.prefix, self._sql.dialect.value
        if prefix is None:
            begin = listing.begin(after, self._configuration.is_id)
            question = self._filtered(kind, listing)
            if begin is not None:
                question.add(f"{kind.id} > ?", begin[0])
            items = [kind.of(row) for row in (yield question.rows(kind.columns, kind.id, listing.limit, value))]
            return listing.page(items, lambda number: (items[number].id,))
        position = listing.begin(after, is_storable, is_storable, is_storable) or ("", "", "")
        named = yield from self._with_id(kind, listing, prefix)
        placed: list[tuple[Position, T]] = [(id_position(each.id), each) for each in named]
        placed = [item for item in placed if item[0] > position]
        question = self._found(kind, listing, prefix, named)
        question.add(f"({_TERM_KEY}) > (?, ?, ?)", *max(position, (prefix.first, "", "")))
        rows: Rows = yield question.rows(f"{kind.columns}, {_TERM_KEY}", _TERM_KEY, listing.limit, value)
        placed += [(row[-3:], kind.of(row)) for row in rows]
        return listing.page([item for _, item in placed], lambda number: placed[number][0])

    def _count(self, kind: _Kind[T], listing: Listing) -> Work[int]:
        named: list[T] = []
        if listing.prefix is None:
            question = self._filtered(kind, listing)
        else:
            named = yield from self._with_id(kind, listing, listing.prefix)
            question = self._found(kind, listing, listing.prefix, named)
            question.add("t.term >= ?", listing.prefix.first)
        ((number,),) = yield question.count(listing.limit, self._sql.dialect.value)
        return min(len(named) + int(number), listing.limit)

    def _found(self, kind: _Kind[T], listing: Listing, prefix: Prefix, named: Sequence[T]) -> _Question:
        """Return the list of those with a term that begins with the text, without those that have this id."""
        question = self._filtered(kind, listing, kind.found)
        question.add("t.term < ? AND t.shared < ?", prefix.last, len(prefix.first))
        if named:
            question.add(f"{kind.id} NOT IN ({', '.join('?' * len(named))})", *(each.id for each in named))
        return question

    def _filtered(self, kind: _Kind[T], listing: Listing, text: str = "") -> _Question:
        question = _Question(text or kind.all)
        if listing.deleted is not None:
            question.add(kind.deleted if listing.deleted else f"NOT ({kind.deleted})")
        if listing.banned is not None:
            question.add("i.banned" if listing.banned else "NOT i.banned")
        if listing.role is not None:
            question.add("u.role = ?", listing.role)
        return question

    def _with_id(self, kind: _Kind[T], listing: Listing, prefix: Prefix) -> Work[list[T]]:
        """Return those with this id: yours, one at Clerk, or an external one."""
        spelled: list[Id | None] = [*self._configuration.ids_spelled(prefix.text), None, None][:2]
        values = (key_of(prefix.text), *spelled, *[prefix.text] * kind.has_external_ids)
        found: list[T] = []
        for (id,) in (yield kind.with_id, values):
            item = yield from kind.read(id)
            if item is not None and kind.has(listing, item):
                found.append(item)
        return sorted(found, key=lambda item: id_position(item.id))


class SearchTerms:
    """The stored terms of each record: `put` writes those that have changed."""

    def __init__(self, sql: Statements) -> None:
        table = sql.names.table("search_terms")
        self._delete = f"DELETE FROM {table} WHERE (kind, term, instance, key) IN (VALUES "
        self._key = f"({', '.join([sql.dialect.value] * 4)})"
        self._insert = ManyRows(
            sql.dialect,
            table,
            TERM_COLUMNS,
            "ON CONFLICT (kind, term, instance, key) DO UPDATE SET shared = excluded.shared",
            "",
            "",
            partial(not_inserted, "search_terms"),
        )

    def follow(self, written: Iterable[Change]) -> Work[None]:
        """Store the terms of written records instead of those that were stored before."""
        gone: list[tuple[str, ...]] = []
        new: Rows = []
        for change in written:
            before, after = change.before, change.after
            if not isinstance(after, (User, Organization)):
                continue
            place = place_of(after.clerk)
            old = [] if before is None or place_of(before.clerk) != place else terms_of(before.clerk)
            terms = terms_of(after.clerk)
            if old != terms:
                texts = {(term.kind, term.text) for term in terms}
                gone += [(term.kind, term.text, *place) for term in old if (term.kind, term.text) not in texts]
                new += [(term.kind, term.text, *place, term.shared) for term in terms if term not in old]
        deletions = [self._deletion(gone[start : start + _AT_ONCE]) for start in range(0, len(gone), _AT_ONCE)]
        while len(deletions) > 1:
            yield deletions.pop()
        yield from self._insert.of(sorted(new), deletions.pop() if deletions else None)

    def _deletion(self, keys: Sequence[tuple[str, ...]]) -> tuple[str, tuple[str, ...]]:
        return f"{self._delete}{', '.join([self._key] * len(keys))})", tuple(chain.from_iterable(keys))
