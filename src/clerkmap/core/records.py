"""A record is what Clerk last said about one thing, and it carries a rank. Of two records of one thing the one with the
greater rank stays: that is the whole of synchronisation, so arrival order, duplicates and losses cannot matter.

A rank is one line of ASCII of a fixed width, so that "greater" means the same in Python, SQLite and PostgreSQL:

    2.001718887200000.001718887201234.0f3c…
    │ │               │               └ digest of the content: breaks ties the same way everywhere
    │ │               └ when it was observed: the event's timestamp, the token's, or that of asking for an API page
    │ └ the object's own updated_at, as far as it is believed; see below
    └ 0 sighted in a token · 1 glimpsed inside another object · 2 stated in full · 3 deleted

Deletion outranks everything and is final, for Clerk does not reuse ids. A deleted record keeps no personal datum, the
Clerk id included; the key, which is a digest of it, stays, so that what arrives late still meets the tombstone.

Clerk's `updated_at` is a claim, not a clock: it may go backwards, or lie in the future. An object cannot have changed
after it was observed, so a later `updated_at` is replaced by the moment of the observation (see `events.py`). And an
answer that Clerk gave after the stored record was read is the later one, whatever its date: `above` ranks it so.

All times are milliseconds since 1970. A record holds nothing that Clerk did not say: no counter, no "last seen".
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from operator import attrgetter
from typing import Any, ClassVar, Literal, Self, TypeVar, cast

Grade = Literal["0", "1", "2", "3"]
Kind = Literal["organization", "user", "membership", "session"]
FROM_TOKEN: Grade = "0"  # noqa: S105 - a grade
EMBEDDED: Grade = "1"
FULL: Grade = "2"
DELETED: Grade = "3"
MAX_TIME = 253_402_300_799_999  # the last millisecond of the year 9999

# Made once: to make one takes longer than to write a record with it.
_sorted = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_written = json.JSONEncoder(ensure_ascii=False)


def key_of(clerk_id: str) -> str:
    """The key under which a Clerk id is kept, also when the id itself must be forgotten."""
    return blake2b(clerk_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def json_text(value: Mapping[str, Any] | None) -> str:
    """A JSON object as it is kept: the same object, the same text."""
    return _sorted.encode(dict(value)) if value else "{}"


@dataclass(frozen=True, slots=True, repr=False)
class Record:
    """What Clerk said about one thing. `instance` and `key` tell which thing, `rank` its place in the order."""

    instance: str
    key: str
    rank: str
    clerk_id: str | None

    kind: ClassVar[Kind]
    ends: ClassVar[tuple[str, ...]] = ()  # what a tombstone must keep to be of use

    @classmethod
    def make(
        cls, grade: Grade, instance: str, clerk_id: str, *, observed_at: int, updated_at: int = 0, **said: Any
    ) -> Self:
        """Put what was said into a record of any grade, field by field."""
        return cls(instance, key_of(clerk_id), "", clerk_id, **said).ranked(grade, updated_at, observed_at)

    def tombstone(self, observed_at: int) -> Self:
        """What is left of it once it has been deleted."""
        ends = {name: getattr(self, name) for name in self.ends}
        return type(self)(self.instance, self.key, "", None, **ends).ranked(DELETED, 0, observed_at)

    def ranked(self, grade: Grade, updated_at: int, observed_at: int) -> Self:
        """A record that was just made, when it has been given its rank. Nobody else may have seen it."""
        if not (0 <= updated_at <= MAX_TIME and 0 <= observed_at <= MAX_TIME):
            raise ValueError("a record's times are milliseconds between 1970 and 9999")
        # Half of a surrogate pair, which no database stores, is refused here: it cannot be encoded.
        digest = blake2b(_written.encode(self.said()).encode(), digest_size=16).hexdigest()
        # Not in a copy, which would cost as much as all the rest of making it.
        object.__setattr__(self, "rank", f"{grade}.{updated_at:015d}.{observed_at:015d}.{digest}")
        return self

    def above(self, rank: str) -> Self:
        """Return this record, with a rank above that of a record which Clerk is known to have said earlier.

        Only for an answer to a request that began after the other record had been read: no clock decides that. The
        result is an ordinary record, so it loses to any greater one, such as that of a webhook that arrived meanwhile.
        """
        if self.rank > rank or self.rank[0] != rank[0]:
            return self
        updated_at, observed_at = int(rank[2:17]), int(rank[18:33])
        later = max(self.observed_at, min(observed_at + 1, MAX_TIME))
        return replace(self).ranked(self.grade, max(self.updated_at or 0, updated_at), later)

    def said(self) -> tuple[Any, ...]:
        """The content: everything but the place in the order."""
        content: tuple[Any, ...] = _SAID[self.kind](self)
        return content

    @property
    def grade(self) -> Grade:
        """`FROM_TOKEN`, `EMBEDDED`, `FULL` or `DELETED`."""
        return cast(Grade, self.rank[0])

    @property
    def updated_at(self) -> int | None:
        """When Clerk last changed it, where Clerk has told and as far as it is believed."""
        return int(self.rank[2:17]) or None

    @property
    def observed_at(self) -> int:
        """When Clerk said it, as far as it is known."""
        return int(self.rank[18:33])

    @property
    def is_deleted(self) -> bool:
        """Whether this is a tombstone."""
        return self.rank[0] == DELETED

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rank[:1]}, key={self.key[:8]}…)"  # never personal: reprs end up in logs


@dataclass(frozen=True, slots=True, repr=False)
class ClerkUser(Record):
    """Clerk's word on a person."""

    email: str | None = None
    email_verified: bool = False
    first_name: str | None = None
    last_name: str | None = None
    username: str | None = None
    image_url: str | None = None
    external_id: str | None = None
    banned: bool = False
    public_metadata: str = "{}"
    created_at: int | None = None

    kind: ClassVar[Kind] = "user"

    @classmethod
    def full(
        cls,
        instance: str,
        clerk_id: str,
        *,
        observed_at: int,
        updated_at: int = 0,
        email: str | None = None,
        email_verified: bool = False,
        first_name: str | None = None,
        last_name: str | None = None,
        username: str | None = None,
        image_url: str | None = None,
        external_id: str | None = None,
        banned: bool = False,
        public_metadata: Mapping[str, Any] | None = None,
        created_at: int | None = None,
    ) -> Self:
        """A full snapshot of a person."""
        metadata = json_text(public_metadata)
        names = (first_name, last_name, username, image_url, external_id)
        said = (email, email_verified, *names, banned, metadata, created_at)
        return cls(instance, key_of(clerk_id), "", clerk_id, *said).ranked(FULL, updated_at, observed_at)

    @classmethod
    def deleted(cls, instance: str, clerk_id: str, *, observed_at: int) -> Self:
        """A person's tombstone."""
        return cls(instance, key_of(clerk_id), "", None).ranked(DELETED, 0, observed_at)


@dataclass(frozen=True, slots=True, repr=False)
class ClerkOrganization(Record):
    """Clerk's word on an organization."""

    name: str | None = None
    slug: str | None = None
    image_url: str | None = None
    public_metadata: str = "{}"
    created_at: int | None = None

    kind: ClassVar[Kind] = "organization"

    @classmethod
    def full(
        cls,
        instance: str,
        clerk_id: str,
        *,
        observed_at: int,
        updated_at: int = 0,
        name: str | None = None,
        slug: str | None = None,
        image_url: str | None = None,
        public_metadata: Mapping[str, Any] | None = None,
        created_at: int | None = None,
    ) -> Self:
        """A full snapshot of an organization."""
        said = (name, slug, image_url, json_text(public_metadata), created_at)
        return cls(instance, key_of(clerk_id), "", clerk_id, *said).ranked(FULL, updated_at, observed_at)

    @classmethod
    def deleted(cls, instance: str, clerk_id: str, *, observed_at: int) -> Self:
        """An organization's tombstone."""
        return cls(instance, key_of(clerk_id), "", None).ranked(DELETED, 0, observed_at)


@dataclass(frozen=True, slots=True, repr=False)
class ClerkMembership(Record):
    """Clerk's word on a person's place in an organization. It may come before either of the two.

    A token names the two ends and not the membership's id. So the key is made of the ends, and of the id where there
    is one: a sighting is a record of its own. A tombstone keeps the ends, and since when: without them it would not
    tell who is no longer a member of what, and which older memberships are over as well.
    """

    user_key: str = ""
    organization_key: str = ""
    role: str | None = None
    created_at: int | None = None

    kind: ClassVar[Kind] = "membership"
    ends: ClassVar[tuple[str, ...]] = ("user_key", "organization_key", "created_at")

    @classmethod
    def from_token(
        cls, instance: str, *, clerk_user_id: str, clerk_organization_id: str, role: str | None, observed_at: int
    ) -> Self:
        """What a token says of a membership."""
        key = key_of(f"{clerk_organization_id} {clerk_user_id}")
        record = cls(instance, key, "", None, key_of(clerk_user_id), key_of(clerk_organization_id), role)
        return record.ranked(FROM_TOKEN, 0, observed_at)

    @classmethod
    def full(
        cls,
        instance: str,
        clerk_id: str,
        *,
        clerk_user_id: str,
        clerk_organization_id: str,
        role: str | None,
        observed_at: int,
        updated_at: int = 0,
        created_at: int | None = None,
    ) -> Self:
        """A full snapshot of a membership."""
        key = key_of(f"{clerk_organization_id} {clerk_user_id} {clerk_id}")
        said = (key_of(clerk_user_id), key_of(clerk_organization_id), role, created_at)
        return cls(instance, key, "", clerk_id, *said).ranked(FULL, updated_at, observed_at)

    @classmethod
    def deleted(
        cls,
        instance: str,
        clerk_id: str,
        *,
        clerk_user_id: str,
        clerk_organization_id: str,
        observed_at: int,
        created_at: int | None = None,
    ) -> Self:
        """A membership's tombstone."""
        key = key_of(f"{clerk_organization_id} {clerk_user_id} {clerk_id}")
        record = cls(instance, key, "", None, key_of(clerk_user_id), key_of(clerk_organization_id), None, created_at)
        return record.ranked(DELETED, 0, observed_at)


@dataclass(frozen=True, slots=True, repr=False)
class ClerkSession(Record):
    """Clerk's word that a session is over. Nothing is kept of one that goes on."""

    kind: ClassVar[Kind] = "session"

    @classmethod
    def deleted(cls, instance: str, clerk_id: str, *, observed_at: int) -> Self:
        """The tombstone of a session that was revoked, ended or removed."""
        return cls(instance, key_of(clerk_id), "", None).ranked(DELETED, 0, observed_at)


AnyRecord = ClerkUser | ClerkOrganization | ClerkMembership | ClerkSession
R = TypeVar("R", bound=Record)

# The names of each kind's fields, in the order in which a record is made of them.
# The kinds are in the order in which a `put` writes them: a membership after its ends.
COLUMNS: dict[Kind, tuple[str, ...]] = {
    kind.kind: tuple(field.name for field in fields(kind))
    for kind in (ClerkOrganization, ClerkUser, ClerkMembership, ClerkSession)
}
_ORDER = {kind: number for number, kind in enumerate(COLUMNS)}
_SAID = {kind: attrgetter(*(name for name in names if name != "rank")) for kind, names in COLUMNS.items()}


def newer(new: R, old: R | None) -> bool:
    """The rule: a record stays out unless it outranks what is there."""
    return old is None or new.rank > old.rank


def fold(records: Iterable[AnyRecord]) -> list[AnyRecord]:
    """The greatest record of each thing, in the one order in which every writer takes its locks."""
    greatest: dict[tuple[int, str, str], AnyRecord] = {}
    for record in records:
        place = (_ORDER[record.kind], record.instance, record.key)
        if newer(record, greatest.get(place)):
            greatest[place] = record
    return [greatest[place] for place in sorted(greatest)]
