"""What a repository is: the port between the rules and your database.

`put` is the only way in for what Clerk says, and it keeps one promise: of each thing, the record with the greatest rank
stays, whoever put it, whenever, however often. `RepositoryContract` in `clerkmap.testing.contract` shows whether one
keeps it.
"""

import inspect
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, Protocol

from .core.model import Change, Count, Erasure, Id, Organization, User
from .core.principal import Standing
from .core.records import MAX_TIME, AnyRecord, ClerkOrganization, ClerkUser, Kind
from .core.writeback import OutboxEntry, OutboxKind, WriteBack
from .hooks import Listeners

# How your ids are made: by name, or by a function of Clerk's record. A function that looks at more than the Clerk id
# gives ids that depend on which record came first.
Ids = Literal["uuid7", "integer", "clerk"] | Callable[[ClerkUser | ClerkOrganization], Id]
# Called at the first sight of a person: the id of a user you already have, or None for a new one. A linker may have a
# method `is_enough(record)`. From a record for which it returns False, no user is made, and a resolver asks Clerk.
Linker = Callable[[ClerkUser], Id | None]
# Where the role of a user comes from until you set it: a function of a full statement about the person.
FirstRole = Callable[[ClerkUser], str | None]


# Whether a question is to be answered before others, where a repository lets them wait in line. The look-up of a caller
# who was known a moment ago comes before those of strangers.
first_in_line: ContextVar[bool] = ContextVar("clerkmap_first_in_line", default=False)


@contextmanager
def served_first(*, only_if: bool = True) -> Generator[None, None, None]:
    """Within this, what a repository is asked comes before what others ask."""
    token = first_in_line.set(only_if)
    try:
        yield
    finally:
        first_in_line.reset(token)


class Repository(Protocol):
    """Users, organizations and memberships, and Clerk's word on each."""

    poll_every: float | None
    """How many seconds may pass between two calls of `poll`; None if nobody else can write."""

    listeners: Listeners
    """Who is told of changes. Call it inside each transaction that writes, and after it."""

    @property
    def needs_full_user(self) -> bool:
        """Whether the linker needs Clerk's full word on a person. `put` makes no user from a record that tells less."""
        ...

    @property
    def max_token_lifetime(self) -> float:
        """How many seconds a token may live. Tombstones, of sessions too, are kept for two days more."""
        ...

    @property
    def write_back(self) -> WriteBack | None:
        """Which of your facts Clerk is to hold. What changes of them is to be noted in each transaction that writes."""
        ...

    def put(self, records: Iterable[AnyRecord]) -> list[Change]:
        """Take in what Clerk said, all of it or nothing, and tell what it changed.

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
        """What is known of a person, by an instance's name and Clerk's ids; None for somebody never seen."""
        ...

    def user(self, id: Id) -> User | None:
        """Your user of that id, with the identity that speaks for it. None where no identity leads there."""
        ...

    def organization(self, id: Id) -> Organization | None:
        """Your organization of that id."""
        ...

    def row(self, kind: OutboxKind, instance: str, key: str) -> User | Organization | None:
        """Your user or organization that a record of Clerk's, named by its key, leads to."""
        ...

    def set_role(self, id: Id, role: str | None) -> User:
        """Give your user a role. From then on the role is yours: nothing that Clerk says changes it."""
        ...

    def link(self, instance: str, clerk_id: str, id: Id, *, shared: bool = False) -> User:
        """Tie a person at Clerk to your user of that id, which is made if need be.

        `LinkRefused` if they are tied to another one. `UserTaken` if the user was deleted or has another identity,
        unless `shared=True` says that both identities are one person.
        """
        ...

    def unlink(self, instance: str, clerk_id: str, id: Id) -> User:
        """Take a person at Clerk from your user of that id. They are a new user from then on, which is returned.

        `LinkRefused` if they are not tied to that one. `relink` takes it back.
        """
        ...

    def relink(self, instance: str, clerk_id: str, id: Id, *, to: Id) -> User:
        """Tie a person at Clerk, who is tied to your user `id`, to your user `to` instead.

        `LinkRefused` if they are not tied to `id`, `UserUnknown` if there is no user `to`. The same the other way
        round takes it back.
        """
        ...

    def export(self, id: Id) -> dict[str, Any]:
        """Everything that is stored of your user, ready for `json.dumps`."""
        ...

    def erase(self, id: Id) -> Erasure:
        """Erase the personal data of your user: as if Clerk had deleted the account, and as final.

        The row and its id stay, and so do the references to it. The result says whether a file may still hold the data.
        """
        ...

    def records(self, kind: Kind, instance: str, *, after: str = "", limit: int = 500) -> list[AnyRecord]:
        """Clerk's word on all of one kind (`user`, `organization`, `membership`) in one instance, page by page: in the
        order of their keys, those after a key. Tombstones and sightings are among them.

        The next page is after the key of the last of this one. An empty page is the end.
        """
        ...

    def record(self, kind: Kind, instance: str, key: str) -> AnyRecord | None:
        """One of them."""
        ...

    def ranks(self, kind: Kind, instance: str, keys: Sequence[str]) -> dict[str, str]:
        """Return the ranks of several of them, by their keys; at most 10,000. A key that is not stored is left out."""
        ...

    def counts(self, instance: str) -> dict[Kind, Count]:
        """How many of each kind there are in one instance. It goes through all of them."""
        ...

    def search(self, text: str, limit: int = 20) -> list[User]:
        """Your users whose id this is, or whose Clerk id, username, external id or e-mail address in one of their
        identities; of the address, capital letters of ASCII do not count. It goes through all of them."""
        ...

    def checkpoint(self, name: str) -> str | None:
        """A text that was noted under a name of at most 200 characters."""
        ...

    def set_checkpoint(self, name: str, text: str | None) -> None:
        """Note a text of at most 64 KiB, or remove it by None. Whoever writes last has the word, and nobody is told."""
        ...

    def swap_checkpoint(self, name: str, before: str | None, after: str | None) -> bool:
        """Set a note to `after` if it is `before` now, and tell whether it was: of several who try, one succeeds."""
        ...

    def in_transaction(self) -> bool:
        """Return whether a write made now belongs to a transaction that the caller may yet roll back."""
        ...

    def outbox(self, instance: str, *, due: int = MAX_TIME, limit: int = 500) -> list[OutboxEntry]:
        """What may have to go back to Clerk and is due by a moment, the earliest first."""
        ...

    def outbox_entry(self, instance: str, kind: OutboxKind, key: str) -> OutboxEntry | None:
        """One of it."""
        ...

    def swap_outbox_entry(self, before: OutboxEntry | None, after: OutboxEntry | None) -> bool:
        """Move one on, if it still is as it was: its `due_at`, `tries` and `error`. None is one that is not there, so
        this adds one, too, and removes one. It tells whether it was as it was."""
        ...

    def purge(self, before: int) -> int:
        """Forget the tombstones of people who were deleted, and of memberships that ended, before a moment at least 30
        days ago; and tell how many records that were. Your own rows stay, and so do organizations."""
        ...

    def poll(self) -> None:
        """Look whether somebody else has written, and call the watchers if so."""
        ...

    def close(self) -> None:
        """Let go of what is held. A closed repository answers nothing more."""
        ...


class AsyncRepository(Protocol):
    """The same for drivers that speak async."""

    poll_every: float | None
    listeners: Listeners

    @property
    def needs_full_user(self) -> bool: ...

    @property
    def max_token_lifetime(self) -> float: ...
    @property
    def write_back(self) -> WriteBack | None: ...

    async def put(self, records: Iterable[AnyRecord]) -> list[Change]: ...
    async def find(
        self,
        instance: str,
        clerk_user_id: str,
        clerk_organization_id: str | None = None,
        clerk_session_id: str | None = None,
    ) -> Standing | None: ...
    async def user(self, id: Id) -> User | None: ...
    async def organization(self, id: Id) -> Organization | None: ...
    async def row(self, kind: OutboxKind, instance: str, key: str) -> User | Organization | None: ...
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
    async def checkpoint(self, name: str) -> str | None: ...
    async def set_checkpoint(self, name: str, text: str | None) -> None: ...
    async def swap_checkpoint(self, name: str, before: str | None, after: str | None) -> bool: ...
    async def in_transaction(self) -> bool: ...
    async def outbox(self, instance: str, *, due: int = MAX_TIME, limit: int = 500) -> list[OutboxEntry]: ...
    async def outbox_entry(self, instance: str, kind: OutboxKind, key: str) -> OutboxEntry | None: ...
    async def swap_outbox_entry(self, before: OutboxEntry | None, after: OutboxEntry | None) -> bool: ...
    async def purge(self, before: int) -> int: ...
    async def poll(self) -> None: ...
    async def close(self) -> None: ...


def is_async(repository: "Repository | AsyncRepository") -> bool:
    """Whether a repository speaks async."""
    return inspect.iscoroutinefunction(repository.find)
