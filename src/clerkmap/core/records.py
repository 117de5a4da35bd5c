"""A record is Clerk's latest statement about one thing, and it has a rank.

Of two records of one thing, the one with the greater rank wins (`merging.py`). That is the whole synchronization:
arrival order, duplicates and losses do not matter.

A rank is one line of ASCII of a fixed width, so that "greater" means the same in Python, SQLite and PostgreSQL:

    2.001718887200000.001718887201234.0f3c…
    │ │               │               └ digest of the content: the same tie-break everywhere
    │ │               └ when it was observed: the timestamp of the event, the token or the API request
    │ └ the object's own updated_at, unless it is later than the observation; see below
    └ grade: 0 from a token · 1 embedded in another object · 2 full · 3 deleted

A deletion outranks everything and is final, because Clerk does not reuse ids. A tombstone keeps no personal data and no
Clerk id. It keeps the key, a digest of the id, so that a late record still finds the tombstone.

Clerk's `updated_at` is not reliable: it may go backwards, or be in the future. An object cannot have changed after its
observation, so a later `updated_at` is replaced by the time of the observation (see `events.py`). A response that Clerk
gave after the stored record was read is later, whichever date it has: `above` gives it the greater rank.

All times are milliseconds since 1970. A record has only Clerk's data: no counter, no "last seen".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from operator import attrgetter
from typing import Any, ClassVar, Literal, Self, cast

from ..errors import ConfigurationError

Grade = Literal["0", "1", "2", "3"]
Kind = Literal["organization", "user", "membership", "session"]
FROM_TOKEN: Grade = "0"  # noqa: S105 - a grade
EMBEDDED: Grade = "1"
FULL: Grade = "2"
DELETED: Grade = "3"
MAX_TIME = 253_402_300_799_999  # the last millisecond of the year 9999
# The seconds of the years 2010 to 2099. As milliseconds they are a month of 1970, which no record of Clerk's has.
_SECONDS = range(1_262_304_000, 4_102_444_800)

# Module constants, because making an encoder takes longer than encoding a record.
_sorted = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_written = json.JSONEncoder(ensure_ascii=False)


def key_of(clerk_id: str) -> str:
    """Return the key of a Clerk id: a digest that stays after the id was erased."""
    return blake2b(clerk_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def json_text(value: Mapping[str, Any] | None) -> str:
    """Return the canonical JSON of an object: equal objects have equal texts."""
    return _sorted.encode(dict(value)) if value else "{}"


def _check_milliseconds(**times: object) -> None:
    """Refuse seconds, which a rank would take for times in 1970. `events.py` converts those that Clerk sends."""
    for name, time in times.items():
        if type(time) is int and time in _SECONDS:
            raise ConfigurationError(f"{name} must be milliseconds since 1970; got seconds: multiply them by 1000")


@dataclass(frozen=True, slots=True, repr=False)
class Record:
    """Clerk's statement about one thing. `instance` and `key` identify the thing, and `rank` orders its records.

    Times are milliseconds since 1970, as in Clerk's JSON and in the rank.
    """

    instance: str
    key: str
    rank: str
    clerk_id: str | None

    kind: ClassVar[Kind]
    ends: ClassVar[tuple[str, ...]] = ()  # the fields that a tombstone keeps

    @classmethod
    def make(
        cls, grade: Grade, instance: str, clerk_id: str, *, observed_at: int, updated_at: int = 0, **said: Any
    ) -> Self:
        """Make a record of any grade from its fields."""
        return cls(instance, key_of(clerk_id), "", clerk_id, **said).ranked(grade, updated_at, observed_at)

    def tombstone(self, observed_at: int) -> Self:
        """Return the tombstone of this record."""
        ends = {name: getattr(self, name) for name in self.ends}
        return type(self)(self.instance, self.key, "", None, **ends).ranked(DELETED, 0, observed_at)

    def ranked(self, grade: Grade, updated_at: int, observed_at: int) -> Self:
        """Give a new record its rank, in place, and return it. Do not call this on a record that is in use."""
        if not (isinstance(updated_at, int) and isinstance(observed_at, int)):
            raise ConfigurationError(
                "observed_at and updated_at must be whole milliseconds since 1970: convert a datetime with "
                "clerkmap.repositories.to_milliseconds"
            )
        if not (0 <= updated_at <= MAX_TIME and 0 <= observed_at <= MAX_TIME):
            raise ValueError("a record's times are milliseconds between 1970 and 9999")
        # Encoding raises for half of a surrogate pair, which no database can store.
        try:
            digest = blake2b(_written.encode(self.said()).encode(), digest_size=16).hexdigest()
        except TypeError:
            raise ConfigurationError(
                "a field of the record has a wrong type: times are whole milliseconds since 1970, names are text"
            ) from None
        # In place, because a copy would double the cost of making a record.
        object.__setattr__(self, "rank", f"{grade}.{updated_at:015d}.{observed_at:015d}.{digest}")
        return self

    def above(self, rank: str) -> Self:
        """Return this record with a rank above the rank of a record that is known to be earlier.

        Use this only for a response to a request that began after the other record was read, which is an order without
        clocks. The result is an ordinary record: it loses to any greater one, such as a later webhook's.
        """
        if self.rank > rank or self.rank[0] != rank[0]:
            return self
        updated_at, observed_at = int(rank[2:17]), int(rank[18:33])
        later = max(self.observed_at, min(observed_at + 1, MAX_TIME))
        return replace(self).ranked(self.grade, max(self.updated_at or 0, updated_at), later)

    def said(self) -> tuple[Any, ...]:
        """Return the content: all fields but the rank."""
        content: tuple[Any, ...] = _SAID[self.kind](self)
        return content

    @property
    def grade(self) -> Grade:
        """`FROM_TOKEN`, `EMBEDDED`, `FULL` or `DELETED`."""
        return cast(Grade, self.rank[0])

    @property
    def updated_at(self) -> int | None:
        """Clerk's `updated_at`, no later than the observation; None if unknown."""
        return int(self.rank[2:17]) or None

    @property
    def observed_at(self) -> int:
        """When the statement was observed."""
        return int(self.rank[18:33])

    @property
    def is_deleted(self) -> bool:
        """Whether this is a tombstone."""
        return self.rank[0] == DELETED

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rank[:1]}, key={self.key[:8]}…)"  # never personal: reprs end up in logs


@dataclass(frozen=True, slots=True, repr=False)
class ClerkUser(Record):
    """Clerk's record of a user."""

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
        """Make a full record."""
        _check_milliseconds(observed_at=observed_at, updated_at=updated_at, created_at=created_at)
        metadata = json_text(public_metadata)
        names = (first_name, last_name, username, image_url, external_id)
        said = (email, email_verified, *names, banned, metadata, created_at)
        return cls(instance, key_of(clerk_id), "", clerk_id, *said).ranked(FULL, updated_at, observed_at)

    @classmethod
    def deleted(cls, instance: str, clerk_id: str, *, observed_at: int) -> Self:
        """Make the tombstone of a user."""
        _check_milliseconds(observed_at=observed_at)
        return cls(instance, key_of(clerk_id), "", None).ranked(DELETED, 0, observed_at)


@dataclass(frozen=True, slots=True, repr=False)
class ClerkOrganization(Record):
    """Clerk's record of an organization."""

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
        """Make a full record."""
        _check_milliseconds(observed_at=observed_at, updated_at=updated_at, created_at=created_at)
        said = (name, slug, image_url, json_text(public_metadata), created_at)
        return cls(instance, key_of(clerk_id), "", clerk_id, *said).ranked(FULL, updated_at, observed_at)

    @classmethod
    def deleted(cls, instance: str, clerk_id: str, *, observed_at: int) -> Self:
        """Make the tombstone of an organization."""
        _check_milliseconds(observed_at=observed_at)
        return cls(instance, key_of(clerk_id), "", None).ranked(DELETED, 0, observed_at)


@dataclass(frozen=True, slots=True, repr=False)
class ClerkMembership(Record):
    """Clerk's record of a membership. It may arrive before the user and the organization.

    A token has the ids of the user and the organization, but not of the membership. So the key is made of the two ends
    and of the membership's id, if known: a record from a token is a record of its own. A tombstone keeps the ends and
    the date of joining, because it also ends older memberships of the same ends.
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
        """Make the record of a membership that a token names."""
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
        """Make a full record."""
        _check_milliseconds(observed_at=observed_at, updated_at=updated_at, created_at=created_at)
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
        """Make the tombstone of a membership."""
        _check_milliseconds(observed_at=observed_at, created_at=created_at)
        key = key_of(f"{clerk_organization_id} {clerk_user_id} {clerk_id}")
        record = cls(instance, key, "", None, key_of(clerk_user_id), key_of(clerk_organization_id), None, created_at)
        return record.ranked(DELETED, 0, observed_at)


@dataclass(frozen=True, slots=True, repr=False)
class ClerkSession(Record):
    """Clerk's record of a session that is over. Active sessions have no record."""

    kind: ClassVar[Kind] = "session"

    @classmethod
    def deleted(cls, instance: str, clerk_id: str, *, observed_at: int) -> Self:
        """Make the tombstone of a session that was revoked, ended or removed."""
        _check_milliseconds(observed_at=observed_at)
        return cls(instance, key_of(clerk_id), "", None).ranked(DELETED, 0, observed_at)


AnyRecord = ClerkUser | ClerkOrganization | ClerkMembership | ClerkSession
Place = tuple[str, str]  # an instance and a key
Ends = tuple[str, str, str]  # an instance, and the keys of a user and an organization


def place_of(record: AnyRecord) -> Place:
    """Return the instance and the key of a record."""
    return record.instance, record.key


def ends_of(record: ClerkMembership) -> Ends:
    """Return the instance and the two ends of a membership."""
    return record.instance, record.user_key, record.organization_key


# The field names of each kind, in the order of the constructor's arguments. The kinds are in the order in which `put`
# writes them: a membership comes after its ends.
COLUMNS: dict[Kind, tuple[str, ...]] = {
    kind.kind: tuple(field.name for field in fields(kind))
    for kind in (ClerkOrganization, ClerkUser, ClerkMembership, ClerkSession)
}
_SAID = {kind: attrgetter(*(name for name in names if name != "rank")) for kind, names in COLUMNS.items()}
