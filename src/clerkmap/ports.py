"""What a repository must do: three protocols between the rules and your database, and the one that combines them.

`CoreRepository` is all that a `Resolver` and a `Reconciler` need. `put` is the only way in for Clerk's data, and it
keeps one promise: of each thing, the record with the greatest rank stays, in whatever order and however often the
records come. The contracts in `clerkmap.testing.contract`, one for each protocol, test whether a class keeps it.
"""

import inspect
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, Protocol, Self

from .core.model import Change, Count, Erasure, Id, Organization, User
from .core.principal import Standing
from .core.records import MAX_TIME, AnyRecord, ClerkOrganization, ClerkUser, Kind
from .core.writeback import OutboxEntry, OutboxKind, WriteBack
from .hooks import Listeners

# How your ids are made: by name, or by a function of Clerk's record. A function that looks at more than the Clerk id
# gives ids that depend on which record came first.
Ids = Literal["uuid7", "integer", "clerk"] | Callable[[ClerkUser | ClerkOrganization], Id]
# Called with the first record of a new identity: returns the id of a user you already have, or None for a new user. A
# linker may have a method `is_enough(record)`. From a record for which it returns False, no user is made, and a
# resolver asks Clerk.
Linker = Callable[[ClerkUser], Id | None]
# Where the role of a user comes from until you set it: a function of a full record.
FirstRole = Callable[[ClerkUser], str | None]


# Whether a call is served before others, where a repository lets calls wait in line. The look-up of a caller that was
# known a moment ago comes before those of strangers.
first_in_line: ContextVar[bool] = ContextVar("clerkmap_first_in_line", default=False)


@contextmanager
def served_first(*, only_if: bool = True) -> Generator[None, None, None]:
    """Serve the calls of a repository in this block before other calls."""
    token = first_in_line.set(only_if)
    try:
        yield
    finally:
        first_in_line.reset(token)


class CoreRepository(Protocol):
    """What the path of a request and of a webhook needs: your users and organizations, found by Clerk's ids."""

    poll_every: float | None
    """Seconds that may pass between two calls of `poll`. None if no other process can write."""

    listeners: Listeners
    """The hooks and watchers. Call the hooks inside each transaction that writes, and the watchers after it."""

    @property
    def needs_full_user(self) -> bool:
        """Whether the linker needs a full record of a user. `put` makes no user from a record that tells less."""
        ...

    @property
    def max_token_lifetime(self) -> float:
        """Seconds that a token may live. Tombstones, of sessions too, are kept for two days more."""
        ...

    def put(self, records: Iterable[AnyRecord]) -> list[Change]:
        """Write Clerk's records, all or none, and return the changes they made.

        If the answer to a commit is lost and the repository repeats it, the changes of the first are not returned.
        """
        ...

    def find(
        self,
        instance: str,
        clerk_user_id: str,
        clerk_organization_id: str | None = None,
        clerk_session_id: str | None = None,
    ) -> Standing | None:
        """Return a caller's standing, by an instance's name and Clerk's ids. None if the user was never seen."""
        ...

    def row(self, kind: OutboxKind, instance: str, key: str) -> User | Organization | None:
        """Return your user or organization by the key of Clerk's record."""
        ...

    def poll(self) -> None:
        """Call the watchers if another process has written since the last call."""
        ...

    def close(self) -> None:
        """Release connections and threads. A closed repository answers no further call."""
        ...


class DirectoryRepository(Protocol):
    """What your application, operators and jobs ask: users by your ids, roles, links, all records, checkpoints."""

    def user(self, id: Id) -> User | None:
        """Return your user by your id, with the newest of its identities. None if no identity leads to it."""
        ...

    def organization(self, id: Id) -> Organization | None:
        """Return your organization by your id."""
        ...

    def set_role(self, id: Id, role: str | None) -> User:
        """Set the role of your user. From then on no record of Clerk's changes it."""
        ...

    def link(self, instance: str, clerk_id: str, id: Id, *, shared: bool = False) -> User:
        """Link a Clerk user to your user with this id, which is made if need be.

        Raises:
            LinkRefused: The Clerk user is linked to another user.
            UserTaken: Your user was deleted, or has another identity and `shared` is False.
        """
        ...

    def unlink(self, instance: str, clerk_id: str, id: Id) -> User:
        """Take a Clerk user from your user with this id, and return the new user that it leads to from then on.

        `relink` undoes it.

        Raises:
            LinkRefused: The Clerk user is not linked to your user.
        """
        ...

    def relink(self, instance: str, clerk_id: str, id: Id, *, to: Id) -> User:
        """Link a Clerk user, which is linked to your user `id`, to your user `to` instead.

        The same the other way round undoes it.

        Raises:
            LinkRefused: The Clerk user is not linked to `id`.
            UserUnknown: There is no user `to`.
        """
        ...

    def export(self, id: Id) -> dict[str, Any]:
        """Return all stored data of your user, ready for `json.dumps`."""
        ...

    def erase(self, id: Id) -> Erasure:
        """Erase the personal data of your user, as finally as if Clerk had deleted the account.

        The row and its id stay, and so do the references to it. The result says whether a file may still hold the data.
        """
        ...

    def records(self, kind: Kind, instance: str, *, after: str = "", limit: int = 500) -> list[AnyRecord]:
        """Return a page of Clerk's records of one kind (`user`, `organization`, `membership`) in one instance: in the
        order of their keys, those after a key. Tombstones and records from tokens are among them.

        The next page begins after the key of the last record. An empty page is the end.
        """
        ...

    def record(self, kind: Kind, instance: str, key: str) -> AnyRecord | None:
        """Return one of these records."""
        ...

    def ranks(self, kind: Kind, instance: str, keys: Sequence[str]) -> dict[str, str]:
        """Return the ranks of up to 10,000 records by their keys. A key that is not stored is left out."""
        ...

    def counts(self, instance: str) -> dict[Kind, Count]:
        """Return how many records of each kind there are in one instance. It reads all of them."""
        ...

    def search(self, text: str, limit: int = 20) -> list[User]:
        """Return your users by the whole of an id, a Clerk id, a username, an external id or an e-mail address, in
        which capital letters of ASCII do not count. It reads all users."""
        ...

    def purge(self, before: int) -> int:
        """Remove the tombstones of users that were deleted, and of memberships that ended, before a time at least 30
        days ago. Return the number of records. Your own rows stay, and so do organizations."""
        ...

    def checkpoint(self, name: str) -> str | None:
        """Return the text that is kept under a name of at most 200 characters."""
        ...

    def set_checkpoint(self, name: str, text: str | None) -> None:
        """Keep a text of at most 64 KiB, or remove it by None. The last write wins, and no listener is called."""
        ...

    def swap_checkpoint(self, name: str, before: str | None, after: str | None) -> bool:
        """Set a checkpoint to `after` if it is `before` now, and return whether it was. Of several callers, one
        succeeds."""
        ...

    def in_transaction(self) -> bool:
        """Return whether a write made now belongs to a transaction that the caller may yet roll back."""
        ...


class OutboxRepository(Protocol):
    """What the job needs that writes your facts back to Clerk."""

    @property
    def write_back(self) -> WriteBack | None:
        """Which of your facts Clerk is to hold. Each transaction that changes one adds an outbox entry."""
        ...

    def outbox(self, instance: str, *, due: int = MAX_TIME, limit: int = 500) -> list[OutboxEntry]:
        """Return the outbox entries that are due by a time, the earliest first."""
        ...

    def outbox_entry(self, instance: str, kind: OutboxKind, key: str) -> OutboxEntry | None:
        """Return one outbox entry, or None."""
        ...

    def swap_outbox_entry(self, before: OutboxEntry | None, after: OutboxEntry | None) -> bool:
        """Replace an outbox entry if it still is `before`, and return whether it was. None stands for an entry that is
        not there, so this also adds and removes one. Only `due_at`, `tries` and `error` are replaced."""
        ...


class Repository(CoreRepository, DirectoryRepository, OutboxRepository, Protocol):
    """All of it, as the repositories of clerkmap do. Use one as a context manager to close it."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


class AsyncCoreRepository(Protocol):
    """`CoreRepository` for drivers that speak async."""

    poll_every: float | None
    listeners: Listeners

    @property
    def needs_full_user(self) -> bool: ...
    @property
    def max_token_lifetime(self) -> float: ...

    async def put(self, records: Iterable[AnyRecord]) -> list[Change]: ...
    async def find(
        self,
        instance: str,
        clerk_user_id: str,
        clerk_organization_id: str | None = None,
        clerk_session_id: str | None = None,
    ) -> Standing | None: ...
    async def row(self, kind: OutboxKind, instance: str, key: str) -> User | Organization | None: ...
    async def poll(self) -> None: ...
    async def close(self) -> None: ...


class AsyncDirectoryRepository(Protocol):
    """`DirectoryRepository` for drivers that speak async."""

    async def user(self, id: Id) -> User | None: ...
    async def organization(self, id: Id) -> Organization | None: ...
    async def set_role(self, id: Id, role: str | None) -> User: ...
    async def link(self, instance: str, clerk_id: str, id: Id, *, shared: bool = False) -> User: ...
    async def unlink(self, instance: str, clerk_id: str, id: Id) -> User: ...
    async def relink(self, instance: str, clerk_id: str, id: Id, *, to: Id) -> User: ...
    async def export(self, id: Id) -> dict[str, Any]: ...
    async def erase(self, id: Id) -> Erasure: ...
    async def records(self, kind: Kind, instance: str, *, after: str = "", limit: int = 500) -> list[AnyRecord]: ...
    async def record(self, kind: Kind, instance: str, key: str) -> AnyRecord | None: ...
    async def ranks(self, kind: Kind, instance: str, keys: Sequence[str]) -> dict[str, str]: ...
    async def counts(self, instance: str) -> dict[Kind, Count]: ...
    async def search(self, text: str, limit: int = 20) -> list[User]: ...
    async def purge(self, before: int) -> int: ...
    async def checkpoint(self, name: str) -> str | None: ...
    async def set_checkpoint(self, name: str, text: str | None) -> None: ...
    async def swap_checkpoint(self, name: str, before: str | None, after: str | None) -> bool: ...
    async def in_transaction(self) -> bool: ...


class AsyncOutboxRepository(Protocol):
    """`OutboxRepository` for drivers that speak async."""

    @property
    def write_back(self) -> WriteBack | None: ...

    async def outbox(self, instance: str, *, due: int = MAX_TIME, limit: int = 500) -> list[OutboxEntry]: ...
    async def outbox_entry(self, instance: str, kind: OutboxKind, key: str) -> OutboxEntry | None: ...
    async def swap_outbox_entry(self, before: OutboxEntry | None, after: OutboxEntry | None) -> bool: ...


class AsyncRepository(AsyncCoreRepository, AsyncDirectoryRepository, AsyncOutboxRepository, Protocol):
    """`Repository` for drivers that speak async."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...


def is_async(repository: CoreRepository | AsyncCoreRepository) -> bool:
    """Return whether a repository speaks async."""
    return inspect.iscoroutinefunction(repository.find)
