"""What a repository is: the port between the rules and your database.

`put` is the only way in for what Clerk says, and it keeps one promise: of each thing, the record with the greatest rank
stays, whoever put it, whenever, however often. `RepositoryContract` in `clerkmap.testing.contract` shows whether one
keeps it.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal, ParamSpec, Protocol, TypeVar

from .core.counts import Count
from .core.model import Change, Id, Organization, User
from .core.principal import Standing
from .core.records import AnyRecord, ClerkOrganization, ClerkUser, Kind
from .listeners import Listeners

T = TypeVar("T")
P = ParamSpec("P")

# How your ids are made: by name, or by a function of Clerk's record. A function that looks at more than the Clerk id
# gives ids that depend on which record came first.
Ids = Literal["uuid7", "integer", "clerk"] | Callable[[ClerkUser | ClerkOrganization], Id]
# Called at the first sight of a person: the id of a user you already have, or None for a new one.
Linker = Callable[[ClerkUser], Id | None]
# Where the role of a user comes from until you set it: a function of a full statement about the person.
FirstRole = Callable[[ClerkUser], str | None]


class Repository(Protocol):
    """Users, organizations and memberships, and Clerk's word on each."""

    poll_every: float | None
    """How many seconds may pass between two calls of `poll`; None if nobody else can write."""

    listeners: Listeners
    """Who is told of changes. Call it inside each transaction that writes, and after it."""

    def put(self, records: Iterable[AnyRecord]) -> list[Change]:
        """Take in what Clerk said, all of it or nothing, and tell what it changed."""
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

    def set_role(self, id: Id, role: str | None) -> User:
        """Give your user a role. From then on the role is yours: nothing that Clerk says changes it."""
        ...

    def link(self, instance: str, clerk_id: str, id: Id) -> User:
        """Tie a person at Clerk to your user of that id, which is made if need be.

        `LinkRefused` if they are tied to another one.
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

    def erase(self, id: Id) -> User:
        """Forget the person behind your user, by your own decision: as if Clerk had deleted them, and as final.

        The row and its id stay, and so do the references to it.
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

    def counts(self, instance: str) -> dict[Kind, Count]:
        """How many of each kind there are in one instance. It goes through all of them."""
        ...

    def search(self, text: str, limit: int = 20) -> list[User]:
        """Your users whose id this is, or whose Clerk id, username, external id or e-mail address in one of their
        identities; of the address, capital letters of ASCII do not count. It goes through all of them."""
        ...

    def note(self, name: str) -> str | None:
        """A text that was noted under a name of at most 200 characters."""
        ...

    def set_note(self, name: str, text: str | None) -> None:
        """Note a text of at most 64 KiB, or remove it by None. Whoever writes last has the word, and nobody is told."""
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
    async def set_role(self, id: Id, role: str | None) -> User: ...
    async def link(self, instance: str, clerk_id: str, id: Id) -> User: ...
    async def unlink(self, instance: str, clerk_id: str, id: Id) -> User: ...
    async def relink(self, instance: str, clerk_id: str, id: Id, *, to: Id) -> User: ...
    async def export(self, id: Id) -> dict[str, Any]: ...
    async def erase(self, id: Id) -> User: ...
    async def records(self, kind: Kind, instance: str, *, after: str = "", limit: int = 500) -> list[AnyRecord]: ...
    async def record(self, kind: Kind, instance: str, key: str) -> AnyRecord | None: ...
    async def counts(self, instance: str) -> dict[Kind, Count]: ...
    async def search(self, text: str, limit: int = 20) -> list[User]: ...
    async def note(self, name: str) -> str | None: ...
    async def set_note(self, name: str, text: str | None) -> None: ...
    async def poll(self) -> None: ...
    async def close(self) -> None: ...


def is_async(repository: "Repository | AsyncRepository") -> bool:
    """Whether a repository speaks async."""
    return inspect.iscoroutinefunction(repository.find)


def threaded(repository: Repository) -> AsyncRepository:
    """Lend a synchronous repository to async code: each call runs in a thread.

    Where that may not be any thread, the repository has a `to_thread` of its own, with the arguments of
    `asyncio.to_thread`.
    """
    return _Threaded(repository)


class _ToThread(Protocol):
    def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]: ...


class _Threaded:
    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._to_thread: _ToThread = getattr(repository, "to_thread", asyncio.to_thread)
        self.poll_every = repository.poll_every
        self.listeners = repository.listeners

    async def put(self, records: Iterable[AnyRecord]) -> list[Change]:
        return await self._to_thread(self._repository.put, records)

    async def find(
        self,
        instance: str,
        clerk_user_id: str,
        clerk_organization_id: str | None = None,
        clerk_session_id: str | None = None,
    ) -> Standing | None:
        ids = (clerk_user_id, clerk_organization_id, clerk_session_id)
        return await self._to_thread(self._repository.find, instance, *ids)

    async def user(self, id: Id) -> User | None:
        return await self._to_thread(self._repository.user, id)

    async def organization(self, id: Id) -> Organization | None:
        return await self._to_thread(self._repository.organization, id)

    async def set_role(self, id: Id, role: str | None) -> User:
        return await self._to_thread(self._repository.set_role, id, role)

    async def link(self, instance: str, clerk_id: str, id: Id) -> User:
        return await self._to_thread(self._repository.link, instance, clerk_id, id)

    async def unlink(self, instance: str, clerk_id: str, id: Id) -> User:
        return await self._to_thread(self._repository.unlink, instance, clerk_id, id)

    async def relink(self, instance: str, clerk_id: str, id: Id, *, to: Id) -> User:
        return await self._to_thread(lambda: self._repository.relink(instance, clerk_id, id, to=to))

    async def export(self, id: Id) -> dict[str, Any]:
        return await self._to_thread(self._repository.export, id)

    async def erase(self, id: Id) -> User:
        return await self._to_thread(self._repository.erase, id)

    async def records(self, kind: Kind, instance: str, *, after: str = "", limit: int = 500) -> list[AnyRecord]:
        return await self._to_thread(lambda: self._repository.records(kind, instance, after=after, limit=limit))

    async def record(self, kind: Kind, instance: str, key: str) -> AnyRecord | None:
        return await self._to_thread(self._repository.record, kind, instance, key)

    async def counts(self, instance: str) -> dict[Kind, Count]:
        return await self._to_thread(self._repository.counts, instance)

    async def search(self, text: str, limit: int = 20) -> list[User]:
        return await self._to_thread(self._repository.search, text, limit)

    async def note(self, name: str) -> str | None:
        return await self._to_thread(self._repository.note, name)

    async def set_note(self, name: str, text: str | None) -> None:
        await self._to_thread(self._repository.set_note, name, text)

    async def poll(self) -> None:
        await self._to_thread(self._repository.poll)

    async def close(self) -> None:
        await self._to_thread(self._repository.close)
