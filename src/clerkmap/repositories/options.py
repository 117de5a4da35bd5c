"""The options of every repository: how ids are made, how users are linked, where roles come from.

Every repository uses this module to apply them.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from inspect import iscoroutinefunction
from typing import Generic, Literal, TypedDict, TypeGuard

from ..core.model import MAX_ROLE, Change, Id, IdT, User, is_role, role_in_metadata
from ..core.records import FROM_TOKEN, FULL, AnyRecord, ClerkOrganization, ClerkUser, Place, place_of
from ..core.tombstone_retention import MAX_TOKEN_LIFETIME, oldest_session_rank, tombstone_retention
from ..core.writeback import WriteBack
from ..errors import ConfigurationError, UserTaken
from ..hooks import AfterCommit, Hook, Listeners
from ..ports import FirstRole, Ids, Linker
from .linkers import FirstUserTakes
from .row_numbers import Numbers, UsersTable

logger: logging.Logger = logging.getLogger("clerkmap.repositories")

# By instance and key: a role, and the rank of the record that named it.
FirstRoles = dict[Place, tuple[str, str]]

# The type of your ids in the database, and in Python.
IdType = Literal["text", "bigint", "uuid"]
_STRATEGIES: dict[object, IdType] = {"uuid7": "text", "clerk": "text", int: "bigint"}
_WANTED: dict[IdType | None, str] = {
    "text": "str (for numbers, set id_type=)",
    "bigint": "int",
    "uuid": "a UUID as text in lower case",
    None: "str or int",
}
LONGEST_LIFETIMES = 60, 315_576_000  # seconds; Clerk makes no token that lives longer than ten years
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Options(TypedDict, Generic[IdT], total=False):
    """The options that every repository takes.

    ids: How your ids are made: `"uuid7"`, `int` (numbers), `"clerk"` (Clerk's own), or a function of Clerk's record. It
        is also their type: see `User`.
    users_table: With `ids=int`, the table of your users: its name, or a `UsersTable`. Each new user
        must have a row there when the transaction ends, which a hook inserts; a link names an existing row.
    first_id: With `ids=int`, the number from which on all numbers are clerkmap's: 1 if you have no rows yet. For
        users and for organizations. Beside a `users_table`, new users need no row, and all rows have smaller numbers.
    linker: Returns, at the first sight of a Clerk user, the id of your existing user: a function of Clerk's record,
        `ByVerifiedEmail(find)`, `ByExternalId(find)` or `FirstUserTakes(id)`. Your user with an identity, or a deleted
        one, is never linked to another Clerk user: that one becomes a new user. A linker with a method
        `is_enough(record)` is called only for records for which that returns True.
    across_instances: Whether a linker may name a user with an identity in another instance.
    first_role: The source of a user's role until you set it; `public_metadata.role` by default.
    hooks: Called inside each transaction, with each change.
    after_commit: Called after each commit, with each change.
    clock: The time, in seconds since 1970.
    write_back: Your facts that are copied to Clerk. Their changes are added to the outbox.
    max_token_lifetime: How many seconds a token may live; 28 days by default. A resolver refuses tokens that live
        longer. The ends of sessions are remembered, and tombstones kept, for two days more than that.
    """

    ids: Ids[IdT]
    users_table: str | UsersTable | None
    first_id: int | None
    linker: Linker | FirstUserTakes | None
    across_instances: bool
    first_role: FirstRole | None
    hooks: Iterable[Hook]
    after_commit: Iterable[AfterCommit]
    clock: Callable[[], float]
    write_back: WriteBack | None
    max_token_lifetime: float


class Configuration:
    """The checked options, and the settings derived from them."""

    def __init__(
        self,
        *,
        ids: Ids = "uuid7",
        users_table: str | UsersTable | None = None,
        first_id: int | None = None,
        linker: Linker | FirstUserTakes | None = None,
        across_instances: bool = False,
        first_role: FirstRole | None = role_in_metadata,
        hooks: Iterable[Hook] = (),
        after_commit: Iterable[AfterCommit] = (),
        clock: Callable[[], float] = time.time,
        write_back: WriteBack | None = None,
        max_token_lifetime: float = MAX_TOKEN_LIFETIME,
        id_type: IdType | None = None,
        speaks_async: bool = False,
    ) -> None:
        if not is_function(ids) and ids not in list(_STRATEGIES):
            raise ConfigurationError('ids must be "uuid7", "clerk", int for numbers, or a function')
        self.numbers: Numbers | None = Numbers.of(ids, first_id, users_table)
        if id_type not in list(_WANTED):
            raise ConfigurationError("id_type must be text, bigint or uuid")
        if not is_function(ids) and id_type not in (None, _STRATEGIES[ids], "uuid" if ids == "uuid7" else None):
            raise ConfigurationError(f"ids={getattr(ids, '__name__', repr(ids))} cannot make ids of type {id_type}")
        self.first_user: FirstUserTakes | None = linker if isinstance(linker, FirstUserTakes) else None
        self._linker: Linker | None = None if isinstance(linker, FirstUserTakes) else linker
        self._is_enough: Callable[[ClerkUser], bool] | None = getattr(linker, "is_enough", None)
        functions = {"ids": ids, "linker": self._linker, "is_enough": self._is_enough, "first_role": first_role}
        for name, function in functions.items():
            if iscoroutinefunction(function) or not (callable(function) or function is None or name == "ids"):
                raise ConfigurationError(f"{name} must be a sync function, also in async code")
        if type(across_instances) is not bool:
            raise ConfigurationError("across_instances must be True or False")
        if not callable(clock):
            raise ConfigurationError("clock must be a function that returns the seconds since 1970")
        if not (write_back is None or isinstance(write_back, WriteBack)):
            raise ConfigurationError("write_back must be a WriteBack")
        is_number = type(max_token_lifetime) in (int, float)
        if not is_number or not LONGEST_LIFETIMES[0] <= max_token_lifetime <= LONGEST_LIFETIMES[1]:
            raise ConfigurationError(
                "max_token_lifetime must be a number of seconds, from 60 to 315,576,000 (10 years)"
            )
        self.write_back: WriteBack | None = write_back
        self.max_token_lifetime: float = max_token_lifetime
        self.tombstone_retention: int = tombstone_retention(max_token_lifetime)  # milliseconds
        self.ids: Ids = ids
        # None if a function makes ids of both types.
        self.id_type: IdType | None = id_type or (None if is_function(ids) else _STRATEGIES[ids])
        self.listeners: Listeners = Listeners(hooks, after_commit, speaks_async=speaks_async)
        if self.first_user is not None:
            self.check_id(self.first_user.id)
        self.across_instances: bool = across_instances
        self._first_role = first_role
        self._clock = clock

    def now(self) -> int:
        """Return the time, in milliseconds."""
        return int(self._clock() * 1000)

    def oldest_session_rank(self) -> str:
        """Return the rank under which the end of a session need not be stored."""
        return oldest_session_rank(self.now(), self.tombstone_retention)

    def check_id(self, id: Id) -> Id:
        """Return your id, or raise `ConfigurationError`: a database would store "7" for 7, or refuse it."""
        if not self.is_id(id):
            raise ConfigurationError(
                f"your id must be {_WANTED[self.id_type]}, and the database must be able to store it"
            )
        return id

    def is_id(self, id: object) -> bool:
        """Return whether a value can be an id here."""
        return fits(id, self.id_type)

    def ids_spelled(self, text: str) -> list[Id]:
        """Return the ids that a text can mean: itself, and the number that it spells."""
        spelled: list[Id] = [text, int(text)] if _NUMBER.fullmatch(text) else [text]
        return [id for id in spelled if self.is_id(id)]

    def make_id(self, record: ClerkUser | ClerkOrganization) -> Id | None:
        """Return an id for a new row. None if the database makes it."""
        if is_function(self.ids):
            return self.check_id(self.ids(record))
        if self.ids is int:
            return None
        # A tombstone has no Clerk id, and its row still needs an id.
        return record.clerk_id or record.key if self.ids == "clerk" else uuid7()

    @property
    def has_linker(self) -> bool:
        """Whether a linker decides about each new Clerk user."""
        return self._linker is not None or self.first_user is not None

    @property
    def needs_full_user(self) -> bool:
        """Whether a new user needs a full record, and not an id alone."""
        return self._is_enough is not None

    def is_enough(self, record: ClerkUser) -> bool:
        """Return whether a record has enough data to make a new user."""
        return self._is_enough is None or record.is_deleted or self._is_enough(_for_linker(record))

    def linked_id(self, record: ClerkUser) -> Id | None:
        """Return the id of your existing user that your linker names for this record, or None."""
        # A tombstone names no Clerk user, and must not use up a claim.
        if self._linker is None or record.is_deleted:
            return None
        id = self._linker(_for_linker(record))
        if id is not None and not self.is_id(id):
            name = getattr(self._linker, "__name__", type(self._linker).__name__)
            wanted = _WANTED[self.id_type]
            raise ConfigurationError(f"the linker {name} must return the id of your user, {wanted}, or None")
        return id

    def check_free(self, record: ClerkUser, others: Collection[User], deleted_at: int | None) -> None:
        """Raise `UserTaken` if a new identity must not join this user's identities, or if the user was deleted."""
        if self.across_instances and deleted_at is None:
            others = [user for user in others if user.clerk.instance == record.instance]
        if others or deleted_at is not None:
            raise UserTaken

    def ids_needing_rows(self, changes: Iterable[Change]) -> list[Id]:
        """Return the ids that must be rows of your users table when the transaction of these changes ends: those of new
        users, and of users that got an identity. A deleted user needs no row."""
        if self.numbers is None or self.numbers.table is None or not self.numbers.needs_rows:
            return []
        ids: list[Id] = []
        for change in changes:
            after, before = change.after, change.before
            led_there = before.id if isinstance(before, User) else None
            if isinstance(after, User) and after.deleted_at is None and after.id != led_there:
                ids.append(after.id)
        return ids

    def row_missing(self) -> ConfigurationError:
        """Return the error for a new user that has no row in your users table."""
        assert self.numbers is not None
        return self.numbers.row_missing()

    def first_roles(self, records: Iterable[AnyRecord]) -> FirstRoles:
        """Return the first role that these records name for each user, even if the record is replaced later.

        Only a full record can name one.
        """
        first: FirstRoles = {}
        for record in records:
            if self._first_role is not None and isinstance(record, ClerkUser) and record.grade == FULL:
                role = self._first_role(record)
                if role is not None and not is_role(role):
                    # Not an error: the record may carry a ban, which would be lost with it.
                    logger.error(
                        "first_role must return printable text of at most %d characters, or None: the role is ignored",
                        MAX_ROLE,
                    )
                    role = None
                known = first.get(place_of(record))
                if role is not None and (known is None or record.rank < known[1]):
                    first[place_of(record)] = (role, record.rank)
        return first


def is_function(ids: object) -> TypeGuard[Callable[[ClerkUser | ClerkOrganization], Id]]:
    """Return whether a function of the application makes the ids: `int` is no such function."""
    return callable(ids) and not isinstance(ids, type)


def fits(id: object, id_type: IdType | None) -> bool:
    """Return whether a column of this type can hold an id, and find it again as the same value. None: of any type.

    SQLite would store "7" for 7.
    """
    if isinstance(id, str):
        return id_type != "bigint" and _is_text(id) and (id_type != "uuid" or bool(_UUID.fullmatch(id)))
    return id_type in ("bigint", None) and type(id) is int and -(2**63) <= id < 2**63


def check_role(role: str | None) -> str | None:
    """Return a role that every database stores, or raise `ConfigurationError`."""
    if role is not None and not is_role(role):
        raise ConfigurationError(f"a role must be printable text of at most {MAX_ROLE} characters, or None")
    return role


def _is_text(id: str) -> bool:
    return 0 < len(id) <= 255 and id.isprintable()


def log_taken() -> None:
    """Log that a linker chose a taken user. It cannot decide again, and one user must not stop a delivery or page."""
    logger.warning(
        "the linker returned a user that has another identity, was deleted, or is not in users_table: a new user was "
        "created; relink the identity if both are the same person"
    )


def id_taken() -> ConfigurationError:
    """Return the error for an id that exists already. Two rows, above all two users, must not share one."""
    return ConfigurationError("the strategy in ids= made an id that another row already has")


def not_inserted(table: str) -> ConfigurationError:
    """Return the error for a row that is missing and was not inserted, without an error from the database."""
    return ConfigurationError(
        f"a row of the table of {table} could not be inserted, or could not be read afterwards: "
        "check your unique indexes, triggers, rules and policies on it"
    )


def _for_linker(record: ClerkUser) -> ClerkUser:
    """Return a record as a linker may see it: without a profile that only a token has told.

    A custom claim proves no address or name, so it must not give anyone your existing user's rows.
    """
    if record.grade != FROM_TOKEN or record.email_verified:
        return record
    return replace(record, email=None, first_name=None, last_name=None, username=None, image_url=None)


def no_other_id() -> ConfigurationError:
    """Return the error for a second user of one Clerk user. An id derived from the Clerk user allows only one."""
    return ConfigurationError("the strategy in ids= makes the same id again for this user: use relink instead")


def uuid7() -> str:
    """Return a UUID of version 7. It sorts by the time it was made, so that an index grows at its end."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | (random >> 62 & 0xFFF) << 64 | 0b10 << 62
    digits = f"{value | random & (1 << 62) - 1:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
