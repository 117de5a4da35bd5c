"""Lists in pages: the text that a search compares, and the cursor between two pages. Every repository shares them.

A search finds each user or organization by the beginning of a search term: a name, an address or a username, folded so
that case and the form of accents do not matter. Terms are stored, so that a prefix is one range of an index.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from typing import Literal, NamedTuple, TypeVar
from unicodedata import normalize

from ..core.model import Id, Organization, ResultPage, User
from ..core.records import AnyRecord, ClerkOrganization, ClerkUser
from ..errors import ConfigurationError
from .arguments import check_limit, check_role_filter, is_storable

T = TypeVar("T")
Position = tuple[str | int, ...]  # the sort key of an item in its list
TermKind = Literal["user", "organization", "external_id"]

# Characters of a stored term, so that every database can index it. Nobody types more.
MAX_TERM = 255
MAX_CURSOR = 4096  # characters; a term of 255 characters in four bytes each makes about 2,000
_LAST = "\U0010ffff"  # sorts after every character of a text


class Term(NamedTuple):
    """One text that finds a record. It finds it for each prefix that is longer than `shared` characters.

    A record has several terms, and a search must find it once: by the first term that begins with the text. A shorter
    prefix also begins an earlier term of the same record.
    """

    kind: TermKind
    text: str
    shared: int

    def __repr__(self) -> str:
        return f"Term({self.kind!r})"  # never personal: reprs end up in logs


def terms_of(record: AnyRecord) -> list[Term]:
    """Return the terms of a record in their order. A tombstone has none."""
    if isinstance(record, ClerkUser):
        name = " ".join(part for part in (record.first_name, record.last_name) if part)
        terms = _terms("user", name, record.last_name, record.email, record.username)
        if record.external_id and len(record.external_id) <= MAX_TERM:
            terms.append(Term("external_id", record.external_id, 0))
        return terms
    if isinstance(record, ClerkOrganization):
        return _terms("organization", record.name, record.slug)
    return []


def _terms(kind: TermKind, *texts: str | None) -> list[Term]:
    terms = sorted({folded for text in texts if text and (folded := fold(text)[:MAX_TERM])})
    # In this order no earlier term shares more characters than the one before.
    return [Term(kind, term, _shared(before, term)) for before, term in pairwise(["", *terms])]


def _shared(one: str, other: str) -> int:
    """Return the number of characters with which two texts begin alike."""
    if one[:1] != other[:1]:  # mostly
        return 0
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def fold(text: str) -> str:
    """Return a text without differences of case, of spaces, and of the form in which accents are written."""
    folded = text.lower() if text.isascii() else normalize("NFKC", text).casefold()
    return " ".join(folded.split())


@dataclass(frozen=True, slots=True, repr=False)
class Prefix:
    """The text of a search as it was given, and the bounds of the terms that begin with it."""

    text: str
    first: str
    last: str

    def finds(self, record: AnyRecord) -> str | None:
        """Return the first term of a record that begins with the text, or None."""
        texts = [term.text for term in terms_of(record) if term.kind != "external_id"]
        return next((text for text in texts if self.first <= text < self.last), None)


def id_position(id: Id) -> Position:
    """Return the position of a user or organization that a search has found by its id: before the terms."""
    return "", "", str(id)


_NOTHING = Prefix("", "", "")  # the bounds leave no room: such a text is in no database


@dataclass(frozen=True, slots=True, repr=False)
class Listing:
    """One list: the method, its filters, and the size of a page. A cursor belongs to one list.

    Raises:
        ConfigurationError: An argument is wrong.
    """

    method: str
    limit: int
    search: str | None = None
    role: str | None = None
    banned: bool | None = None
    deleted: bool | None = None
    organization_id: Id | None = None
    prefix: Prefix | None = field(init=False)

    def __post_init__(self) -> None:
        check_limit(self.limit)
        check_role_filter(self.role)
        for flag, value in (("banned", self.banned), ("deleted", self.deleted)):
            if value not in (True, False, None):
                raise ConfigurationError(f"{flag} must be True, False, or None for both")
        object.__setattr__(self, "prefix", _prefix(self.search))

    def has_user(self, user: User) -> bool:
        """Return whether the filters let a user through. The search is another matter."""
        return (
            self.deleted in (None, user.deleted_at is not None)
            and self.banned in (None, user.clerk.banned)
            and self.role in (None, user.role)
        )

    def has_organization(self, organization: Organization) -> bool:
        """Return whether the filters let an organization through."""
        return self.deleted in (None, organization.clerk.is_deleted)

    def begin(self, after: str | None, *fits: Callable[[object], bool]) -> Position | None:
        """Return the position before a page, or raise `ConfigurationError`. None for the first page.

        Args:
            after: The cursor, which may come from a stranger.
            fits: For each part of the position, whether a value fits.
        """
        if after is None:
            return None
        try:
            mark, _, encoded = after.partition(".") if len(after) <= MAX_CURSOR else ("", "", "")
            position = json.loads(urlsafe_b64decode(encoded.encode("ascii")))
            if mark == self._mark(encoded) and all(fit(part) for fit, part in zip(fits, position, strict=True)):
                return tuple(position)
        except (AttributeError, TypeError, ValueError, RecursionError):
            pass
        raise ConfigurationError(
            "after must be the `after` of the previous page of the same list with the same filters, or None for the "
            "first page"
        )

    def page(self, items: Sequence[T], position_of: Callable[[int], Position]) -> ResultPage[T]:
        """Return a page of its items. One item more than the limit shows that there is a next page.

        Args:
            items: The items.
            position_of: Returns the position of the item with this number.
        """
        if len(items) <= self.limit:
            return ResultPage(tuple(items), None)
        position = json.dumps(position_of(self.limit - 1), ensure_ascii=False, separators=(",", ":"))
        encoded = urlsafe_b64encode(position.encode()).decode()
        return ResultPage(tuple(items[: self.limit]), f"{self._mark(encoded)}.{encoded}")

    def _mark(self, encoded: str) -> str:
        """Return a digest of the list and a position. It finds mistakes, and protects nothing: a wrong position shows
        only what the list shows anyway."""
        search = self.prefix and self.prefix.first
        text = json.dumps([self.method, self.organization_id, search, self.role, self.banned, self.deleted, encoded])
        return blake2b(text.encode(), digest_size=6).hexdigest()


def _prefix(text: str | None) -> Prefix | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise ConfigurationError("search must be text: the beginning of a name, an address or a username, or an id")
    if len(text) > MAX_TERM or not is_storable(text):
        return _NOTHING
    first = fold(text)
    return Prefix(text.strip(), first, first + _LAST) if first else None
