"""The lists of the API: filtered, sorted and cut into pages. A sorted list is cached until a table changes.

Lists are sorted in ascending order and read backwards for a descending order. Rows of equal rank are sorted by id, so
that pages are deterministic.
"""

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar

from ..objects import ClerkRefuses, FakeMembership, FakeUser
from ..store import Store
from .requests import Query, invalid

T = TypeVar("T")
Condition = Callable[[FakeUser], bool]
Rank = tuple[Any, ...]

MAX_LISTS = 16
MAX_LIMIT = 500  # rows of one page
DEFAULT_LIMIT = 10
_PAGING = ("limit", "offset", "starting_after")


class Lists:
    """A cache of the lists requested last, valid until the next change."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[object, tuple[int, list[Any]]] = OrderedDict()

    def get(self, key: object, make: Callable[[], list[T]]) -> list[T]:
        """Return the cached list, or make it."""
        changes, rows = self._kept.get(key, (-1, []))
        if changes != self._store.changes:
            rows = make()
            self._kept[key] = self._store.changes, rows
            if len(self._kept) > MAX_LISTS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return rows


class Order:
    """The requested order: the name of a field, and the direction."""

    def __init__(self, query: Query, names: Iterable[str], default: str = "-created_at") -> None:
        text = query.one("order_by") or default
        self.name: str = text.removeprefix("+").removeprefix("-") if text[:2] not in ("+-", "-+") else ""
        self.descending: bool = text.startswith("-")
        if self.name not in names:
            raise invalid("order_by", f"must be one of {', '.join(names)}")


def cache_key(query: Query, name: str) -> tuple[object, ...]:
    """Return the cache key of a list: its parameters without the page and the direction."""
    pairs = [(key, value) for key, value in query.pairs if key not in _PAGING]
    return name, *((key, value.lstrip("+-") if key == "order_by" else value) for key, value in pairs)


def page(query: Query, rows: list[T], order: Order) -> list[T]:
    """Return the page of `limit` rows from `offset` on."""
    limit, offset = limit_of(query), query.number("offset") or 0
    if order.descending:
        end = max(0, len(rows) - offset)
        return rows[max(0, end - limit) : end][::-1]
    return rows[offset : offset + limit]


def page_after(query: Query, rows: list[T], order: Order, rank: Callable[[T], Rank], last: T | None) -> list[T]:
    """Return the page after the row of a cursor, which may be missing in the list. None is an unknown cursor."""
    if order.name != "created_at" or query.number("offset"):
        raise invalid("starting_after", "needs the order of created_at, and no offset")
    if last is None:
        raise ClerkRefuses(422, "form_resource_not_found", "starting_after was not found", "starting_after")
    limit = limit_of(query)
    if order.descending:
        end = bisect_left(rows, rank(last), key=rank)
        return rows[max(0, end - limit) : end][::-1]
    start = bisect_right(rows, rank(last), key=rank)
    return rows[start : start + limit]


def limit_of(query: Query) -> int:
    """Return the requested number of rows."""
    given = query.number("limit", 1, MAX_LIMIT)
    return DEFAULT_LIMIT if given is None else given


def choose(values: list[str]) -> tuple[set[str], set[str]]:
    """Split ids into those to include, with or without a leading plus, and those to exclude, with a leading minus."""
    unwanted = {each[1:] for each in values if each.startswith("-")}
    return {each.removeprefix("+") for each in values if not each.startswith("-")}, unwanted


def by_creation(row: FakeUser | FakeMembership) -> Rank:
    """Rank a row by its creation, the default of most lists."""
    return row.created_at, row.id


def user_rank(name: str) -> Callable[[FakeUser], Rank]:
    """Return the rank of users by one of their fields. Users without a value come last."""
    if name == "created_at":
        return by_creation
    if name == "email_address":
        return lambda user: (user.email is None, user.email or "", user.id)
    if name in ("phone_number", "web3wallet"):  # users have none here
        return lambda user: (user.id,)

    def rank(user: FakeUser) -> Rank:
        value = getattr(user, name)
        return value is None, 0 if value is None else value, user.id

    return rank


def user_conditions(query: Query) -> list[Condition]:
    """Return the conditions of a query on the users in a list, apart from those on ids."""
    conditions: list[Condition] = []
    for field in ("created_at", "last_active_at", "last_sign_in_at"):
        conditions += _between(field, query.number(f"{field}_after"), query.number(f"{field}_before"))
    if (since := query.number("last_active_at_since")) is not None:
        conditions += _between("last_active_at", since - 1, None)
    if (banned := query.flag("banned")) is not None:
        conditions.append(lambda user: user.banned == banned)
    if query.one("phone_number_query") or query.all("phone_number") or query.all("web3_wallet"):
        conditions.append(lambda _: False)
    conditions += [_contains(texts, text) for name, texts in _SEARCHED.items() if (text := query.one(name))]
    return conditions


def one_of(ids: Collection[str | None]) -> Condition:
    """Return the condition that a user has one of these ids."""
    return lambda user: user.id in ids


def _between(field: str, after: int | None, before: int | None) -> list[Condition]:
    """Return the condition that a date is set and lies strictly between two dates."""
    if after is None and before is None:
        return []
    least, most = -1 if after is None else after, 2**63 if before is None else before
    return [lambda user: (date := getattr(user, field)) is not None and least < date < most]


def _contains(texts: Callable[[FakeUser], list[str]], text: str) -> Condition:
    wanted = text.lower()
    return lambda user: any(wanted in each for each in texts(user))


def _names(user: FakeUser) -> list[str]:
    return [f"{user.first_name or ''} {user.last_name or ''}".strip().lower()]


def _emails(user: FakeUser) -> list[str]:
    return [each.address.lower() for each in user.addresses]


def _username(user: FakeUser) -> list[str]:
    return [(user.username or "").lower()]


_SEARCHED: dict[str, Callable[[FakeUser], list[str]]] = {
    "query": lambda user: [*_emails(user), *_username(user), *_names(user), user.id.lower()],
    "email_address_query": _emails,
    "username_query": _username,
    "name_query": _names,
}
