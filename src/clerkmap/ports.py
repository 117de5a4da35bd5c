"""The protocols of a repository: four between the rules and your database, and one that combines them.

A `Resolver` and a `Reconciler` need only `CoreRepository`. `put` alone writes data from Clerk, and is idempotent: the
record with the greatest rank wins, in any order and with any repetition. `clerkmap.testing.contract` has a contract
test for each protocol.
"""

import inspect
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Literal, Protocol, Self, TypeVar

from .core.instance import Instance
from .core.model import Change, Count, Erasure, Id, IdT, Member, Organization, ResultPage, User
from .core.principal import Standing
from .core.records import AnyRecord, ClerkOrganization, ClerkUser, Kind
from .core.writeback import OutboxEntry, OutboxKind, WriteBack
from .errors import ConfigurationError
from .hooks import Listeners, Then

# The source of your ids: a name, `int`, or a function of Clerk's record. If a function reads more than the Clerk id,
# the ids depend on the order of the records.
Ids = Literal["uuid7", "clerk"] | type[IdT] | Callable[[ClerkUser | ClerkOrganization], IdT]
# Called with the first record of a new identity. Returns the id of an existing user, or None for a new user. A linker
# may have a method `is_enough(record)`. If it returns False, no user is made from the record, and a resolver asks
# Clerk's API.
Linker = Callable[[ClerkUser], Id | None]
# Returns the role of a user from a full record, until you set the role.
FirstRole = Callable[[ClerkUser], str | None]


# Whether a call is served before others, where a repository lets calls wait in line. The look-up of a recently known
# caller comes before the look-ups of unknown callers.
first_in_line: ContextVar[bool] = ContextVar("clerkmap_first_in_line", default=False)


@contextmanager
def served_first(*, only_if: bool = True) -> Generator[None, None, None]:
    """Serve the calls of a repository in this block before other calls."""
    token = first_in_line.set(only_if)
    try:
        yield
    finally:
        first_in_line.reset(token)


class CoreRepository(Protocol[IdT]):
    """The operations that requests and webhooks need: your users and organizations, found by Clerk's ids."""

    poll_every: float | None
    """The longest time between two calls of `poll`, in seconds. None if no other process can write."""

    listeners: Listeners
    """The hooks and watchers. Call the hooks inside each transaction that writes, and the watchers after it."""

    @property
    def needs_full_user(self) -> bool:
        """Whether the linker needs a full record of a user. `put` makes no user from a smaller record."""
        ...

    @property
    def max_token_lifetime(self) -> float:
        """The longest lifetime of a token, in seconds. All tombstones, also of sessions, are kept for two days more."""
        ...

    def put(self, records: Iterable[AnyRecord]) -> list[Change[IdT]]:
        """Write Clerk's records, all or none, and return the changes they made.

        If the repository retries because the answer to a commit is lost, the changes of the first try are not returned.
        """
        ...

    def find(
        self,
        instance: str,
        clerk_user_id: str,
        clerk_organization_id: str | None = None,
        clerk_session_id: str | None = None,
    ) -> Standing[IdT] | None:
        """Return a caller's standing by the name of an instance and Clerk's ids. None if the user is unknown."""
        ...

    def row(self, kind: OutboxKind, instance: str, key: str) -> User[IdT] | Organization[IdT] | None:
        """Return your user or organization with this Clerk key, or None."""
        ...

    def poll(self) -> None:
        """Call the watchers if another process has written since the last call."""
        ...

    def close(self) -> None:
        """Release connections and threads. A closed repository answers no further call."""
        ...


class DirectoryRepository(Protocol[IdT]):
    """The operations for your application and jobs: users by your ids, roles, links, records, checkpoints."""

    def user(self, id: IdT) -> User[IdT] | None:
        """Return your user by your id, with the newest of its identities. None if no identity is linked to it."""
        ...

    def organization(self, id: IdT) -> Organization[IdT] | None:
        """Return your organization by your id."""
        ...

    def set_role(self, id: IdT, role: str | None) -> User[IdT]:
        """Set the role of your user. After that, no record from Clerk changes it."""
        ...

    def link(self, instance: str, clerk_id: str, id: IdT, *, shared: bool = False) -> User[IdT]:
        """Link a Clerk user to your user with this id. Create your user if it does not exist.

        Raises:
            LinkRefused: The Clerk user is linked to another user.
            UserTaken: Your user was deleted, or has another identity and `shared` is False.
        """
        ...

    def unlink(self, instance: str, clerk_id: str, id: IdT) -> User[IdT]:
        """Unlink a Clerk user from your user with this id, and return the new user that it is linked to.

        `relink` undoes it.

        Raises:
            LinkRefused: The Clerk user is not linked to your user.
        """
        ...

    def relink(self, instance: str, clerk_id: str, id: IdT, *, to: IdT) -> User[IdT]:
        """Move the link of a Clerk user from your user `id` to your user `to`.

        Call it again with the two ids swapped to undo it.

        Raises:
            LinkRefused: The Clerk user is not linked to `id`.
            UserUnknown: There is no user `to`.
        """
        ...

    def export(self, id: IdT) -> dict[str, Any]:
        """Return all stored data of your user, ready for `json.dumps`."""
        ...

    def erase(self, id: IdT) -> Erasure[IdT]:
        """Erase the personal data of your user for good, as if the account had been deleted at Clerk.

        The row, its id and the references to it stay. The result says whether a file may still hold the data.
        """
        ...

    def records(self, kind: Kind, instance: str, *, after: str = "", limit: int = 500) -> list[AnyRecord]:
        """Return a page of Clerk records of one kind (`user`, `organization`, `membership`) in one instance.

        The page holds the records after a key, in the order of their keys. Tombstones and records from tokens are among
        them. The next page begins after the key of the last record. An empty page is the end.
        """
        ...

    def record(self, kind: Kind, instance: str, key: str) -> AnyRecord | None:
        """Return one record of Clerk, or None."""
        ...

    def ranks(self, kind: Kind, instance: str, keys: Sequence[str]) -> dict[str, str]:
        """Return the ranks of up to 10,000 records by their keys. A key that is not stored is left out."""
        ...

    def counts(self, instance: str) -> dict[Kind, Count]:
        """Return the number of records of each kind in one instance. Reads all of them."""
        ...

    def users(
        self,
        search: str | None = None,
        *,
        banned: bool | None = None,
        deleted: bool | None = False,
        role: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> ResultPage[User[IdT]]:
        """Return a page of your users, each with the identity that represents it.

        The order is that of the ids, or of the names and addresses that a search finds.

        Args:
            search: The beginning of a name, an e-mail address or a username, in any case. Or a whole id: yours, one at
                Clerk, or an external one. Users with such an id come first.
            banned: Whether the users are banned at Clerk. None for both.
            deleted: Whether the users are deleted. None for both. A search finds deleted users by an id alone.
            role: The role of the users. None for every role.
            after: The `after` of the previous page, or None for the first one.
            limit: The most users in the page, up to 10,000.

        Raises:
            ConfigurationError: An argument is wrong. So is `after` if it belongs to a list with other filters.
        """
        ...

    def count_users(
        self,
        search: str | None = None,
        *,
        banned: bool | None = None,
        deleted: bool | None = False,
        role: str | None = None,
        at_most: int = 10_000,
    ) -> int:
        """Return the number of these users. Counting stops at `at_most`."""
        ...

    def organizations(
        self, search: str | None = None, *, deleted: bool | None = False, after: str | None = None, limit: int = 50
    ) -> ResultPage[Organization[IdT]]:
        """Return a page of your organizations, as `users` does. `search` compares the name and the slug."""
        ...

    def count_organizations(
        self, search: str | None = None, *, deleted: bool | None = False, at_most: int = 10_000
    ) -> int:
        """Return the number of these organizations. Counting stops at `at_most`."""
        ...

    def members(
        self,
        organization_id: IdT,
        *,
        search: str | None = None,
        role: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> ResultPage[Member[IdT]]:
        """Return a page of the members of your organization, in a fixed order.

        A member is listed while a request as this member would be accepted: removed members, banned and deleted users,
        and all members of a deleted organization are not. `search` is the beginning of a name, an address or a
        username.
        """
        ...

    def count_members(
        self, organization_id: IdT, *, search: str | None = None, role: str | None = None, at_most: int = 10_000
    ) -> int:
        """Return the number of these members. Counting stops at `at_most`."""
        ...

    def organizations_of(self, user_id: IdT) -> list[Member[IdT]]:
        """Return your user's place in each organization, under the same condition."""
        ...

    def purge(self, before: datetime) -> int:
        """Remove the tombstones of users deleted, and memberships ended, before a time. Return their number.

        The time must be at least 30 days ago. Your rows and all organizations stay.
        """
        ...

    def checkpoint(self, name: str) -> str | None:
        """Return the checkpoint with this name of at most 200 characters, or None."""
        ...

    def set_checkpoint(self, name: str, text: str | None) -> None:
        """Set a checkpoint to a text of at most 64 KiB; None removes it. Last write wins, and no listener is called."""
        ...

    def swap_checkpoint(self, name: str, before: str | None, after: str | None) -> bool:
        """Set a checkpoint to `after` if it is `before`, and return whether it was. One of several callers succeeds."""
        ...

    def in_transaction(self) -> bool:
        """Return whether a write made now belongs to a transaction that the caller can still roll back."""
        ...


class OutboxRepository(Protocol):
    """The operations for the job that writes your data back to Clerk."""

    @property
    def write_back(self) -> WriteBack | None:
        """The data to write back to Clerk. Each transaction that changes it adds an outbox entry."""
        ...

    def outbox(self, instance: str, *, due: datetime | None = None, limit: int = 500) -> list[OutboxEntry]:
        """Return the outbox entries that are due by a time, or all of them, the earliest first."""
        ...

    def outbox_entry(self, instance: str, kind: OutboxKind, key: str) -> OutboxEntry | None:
        """Return one outbox entry, or None."""
        ...

    def swap_outbox_entry(self, before: OutboxEntry | None, after: OutboxEntry | None) -> bool:
        """Replace an outbox entry if it still is `before`, and return whether it was.

        None stands for no entry, so this also adds and removes entries. It replaces only `due_at`, `tries` and `error`.
        """
        ...


class DeliveryRepository(Protocol[IdT]):
    """The operation for handlers of events: a `Reconciler` with `on_event` needs it."""

    def put_once(
        self, key: str | None, records: Sequence[AnyRecord], then: Then, *, again: bool = False
    ) -> list[Change[IdT]] | None:
        """Put the records of a delivery, then call a function, in one transaction and once for each key.

        `then` gets the transaction, as hooks do, and is called after them. If it raises, nothing is written, and its
        error passes unchanged. Of several callers with one key at the same time, one calls `then`. A key is kept for 90
        days.

        Args:
            key: The key of the delivery. None for a delivery without one: nothing is remembered.
            records: The records, which may be none.
            then: The function.
            again: Whether to do all this for a known key, too.

        Returns:
            The changes, as from `put`. None if the key is known: then nothing was written or called.
        """
        ...


class Repository(
    CoreRepository[IdT], DirectoryRepository[IdT], OutboxRepository, DeliveryRepository[IdT], Protocol[IdT]
):
    """All four protocols, as the repositories of clerkmap have them. A context manager that closes the repository."""

    def within(self, connection: Any, /) -> Self:
        """Return the same repository on your connection. Its writes join your transaction, and you commit.

        It never makes or changes tables. Closing it does not close your connection.

        Raises:
            ConfigurationError: The connection is to another database, is of another driver, or this repository cannot
                join a transaction.
        """
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


RepositoryClass = TypeVar("RepositoryClass", bound=type[Any])


def documented(repository: RepositoryClass) -> RepositoryClass:
    """Give each method of a class that has no docstring the one of `Repository`, which is not a base class of it.

    Use it as a decorator, so that `help` shows the text.
    """
    for name, member in vars(repository).items():
        described = None if name.startswith("_") else getattr(Repository, name, None)
        if described is not None and not member.__doc__:
            member.__doc__ = inspect.getdoc(described)
    return repository


@documented
class AsyncCoreRepository(Protocol[IdT]):
    """`CoreRepository` for async drivers."""

    poll_every: float | None
    listeners: Listeners

    @property
    def needs_full_user(self) -> bool: ...
    @property
    def max_token_lifetime(self) -> float: ...

    async def put(self, records: Iterable[AnyRecord]) -> list[Change[IdT]]: ...
    async def find(
        self,
        instance: str,
        clerk_user_id: str,
        clerk_organization_id: str | None = None,
        clerk_session_id: str | None = None,
    ) -> Standing[IdT] | None: ...
    async def row(self, kind: OutboxKind, instance: str, key: str) -> User[IdT] | Organization[IdT] | None: ...
    async def poll(self) -> None: ...
    async def close(self) -> None: ...


@documented
class AsyncDirectoryRepository(Protocol[IdT]):
    """`DirectoryRepository` for async drivers."""

    async def user(self, id: IdT) -> User[IdT] | None: ...
    async def organization(self, id: IdT) -> Organization[IdT] | None: ...
    async def set_role(self, id: IdT, role: str | None) -> User[IdT]: ...
    async def link(self, instance: str, clerk_id: str, id: IdT, *, shared: bool = False) -> User[IdT]: ...
    async def unlink(self, instance: str, clerk_id: str, id: IdT) -> User[IdT]: ...
    async def relink(self, instance: str, clerk_id: str, id: IdT, *, to: IdT) -> User[IdT]: ...
    async def export(self, id: IdT) -> dict[str, Any]: ...
    async def erase(self, id: IdT) -> Erasure[IdT]: ...
    async def records(self, kind: Kind, instance: str, *, after: str = "", limit: int = 500) -> list[AnyRecord]: ...
    async def record(self, kind: Kind, instance: str, key: str) -> AnyRecord | None: ...
    async def ranks(self, kind: Kind, instance: str, keys: Sequence[str]) -> dict[str, str]: ...
    async def counts(self, instance: str) -> dict[Kind, Count]: ...
    async def users(
        self,
        search: str | None = None,
        *,
        banned: bool | None = None,
        deleted: bool | None = False,
        role: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> ResultPage[User[IdT]]: ...

    async def count_users(
        self,
        search: str | None = None,
        *,
        banned: bool | None = None,
        deleted: bool | None = False,
        role: str | None = None,
        at_most: int = 10_000,
    ) -> int: ...

    async def organizations(
        self, search: str | None = None, *, deleted: bool | None = False, after: str | None = None, limit: int = 50
    ) -> ResultPage[Organization[IdT]]: ...

    async def count_organizations(
        self, search: str | None = None, *, deleted: bool | None = False, at_most: int = 10_000
    ) -> int: ...

    async def members(
        self,
        organization_id: IdT,
        *,
        search: str | None = None,
        role: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> ResultPage[Member[IdT]]: ...

    async def count_members(
        self, organization_id: IdT, *, search: str | None = None, role: str | None = None, at_most: int = 10_000
    ) -> int: ...

    async def organizations_of(self, user_id: IdT) -> list[Member[IdT]]: ...
    async def purge(self, before: datetime) -> int: ...
    async def checkpoint(self, name: str) -> str | None: ...
    async def set_checkpoint(self, name: str, text: str | None) -> None: ...
    async def swap_checkpoint(self, name: str, before: str | None, after: str | None) -> bool: ...
    async def in_transaction(self) -> bool: ...


@documented
class AsyncOutboxRepository(Protocol):
    """`OutboxRepository` for async drivers."""

    @property
    def write_back(self) -> WriteBack | None: ...

    async def outbox(self, instance: str, *, due: datetime | None = None, limit: int = 500) -> list[OutboxEntry]: ...
    async def outbox_entry(self, instance: str, kind: OutboxKind, key: str) -> OutboxEntry | None: ...
    async def swap_outbox_entry(self, before: OutboxEntry | None, after: OutboxEntry | None) -> bool: ...


@documented
class AsyncDeliveryRepository(Protocol[IdT]):
    """`DeliveryRepository` for async drivers. `then` may return an awaitable."""

    async def put_once(
        self, key: str | None, records: Sequence[AnyRecord], then: Then, *, again: bool = False
    ) -> list[Change[IdT]] | None: ...


@documented
class AsyncRepository(
    AsyncCoreRepository[IdT],
    AsyncDirectoryRepository[IdT],
    AsyncOutboxRepository,
    AsyncDeliveryRepository[IdT],
    Protocol[IdT],
):
    """`Repository` for async drivers."""

    def within(self, connection: Any, /) -> Self: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...


def check_parts(name: str, instance: object, repository: object) -> None:
    """Raise `ConfigurationError` if the first arguments of a resolver or reconciler are something else, or swapped."""
    if not isinstance(instance, Instance) or not hasattr(repository, "find"):
        given = f"{type(instance).__name__} and {type(repository).__name__}"
        raise ConfigurationError(f"{name}(instance, repository) takes an instance, then a repository; got {given}")


def is_async(repository: CoreRepository | AsyncCoreRepository) -> bool:
    """Return whether a repository is async."""
    return inspect.iscoroutinefunction(repository.find)
