"""What a repository is: the port between the rules and your database.

`put` is the only way in for what Clerk says, and it keeps one promise: of each thing, the record with the greatest rank
stays, whoever put it, whenever, however often. `RepositoryContract` in `clerkmap.testing.contract` shows whether one
keeps it.
"""

import asyncio
import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Literal, Protocol

from .core.model import Change, Id, Organization, Standing, User
from .core.records import AnyRecord, ClerkOrganization, ClerkUser

# How your ids are made: by name, or by a function of Clerk's record. A function that looks at more than the Clerk id
# gives ids that depend on which record came first.
Ids = Literal["uuid7", "integer", "clerk"] | Callable[[ClerkUser | ClerkOrganization], Id]
# Called at the first sight of a person: the id of a user you already have, or None for a new one.
Linker = Callable[[ClerkUser], Id | None]
# Told, after a commit, the keys of what changed; None when that could be anything.
Watcher = Callable[[Collection[str] | None], None]


class Watchers:
    """Whoever wants to know what was written. Told after the commit, never before."""

    def __init__(self) -> None:
        self._watchers: list[Watcher] = []

    def add(self, watcher: Watcher) -> None:
        self._watchers.append(watcher)

    def tell(self, written: Collection[Change] | None) -> None:
        """Tell what was written; None when nobody can say."""
        if written is None or written:
            keys = None if written is None else frozenset(key for change in written for key in change.keys)
            raised: list[Exception] = []
            for watcher in self._watchers:
                try:
                    watcher(keys)
                except Exception as error:  # noqa: BLE001 - the others must be told all the same
                    raised.append(error)
            if raised:
                raise raised[0]


class Repository(Protocol):
    """Users, organizations and memberships, and Clerk's word on each."""

    poll_every: float | None
    """How many seconds may pass between two calls of `poll`; None if nobody else can write."""

    def put(self, records: Iterable[AnyRecord]) -> list[Change]:
        """Take in what Clerk said, all of it or nothing, and tell what it changed."""
        ...

    def find(self, instance: str, clerk_user_id: str, clerk_organization_id: str | None = None) -> Standing | None:
        """What is known of a person, by an instance's name and Clerk's ids; None for somebody never seen."""
        ...

    def user(self, id: Id) -> User | None:
        """Your user of that id, with the newest of its identities."""
        ...

    def organization(self, id: Id) -> Organization | None:
        """Your organization of that id."""
        ...

    def link(self, instance: str, clerk_id: str, id: Id) -> User:
        """Tie a person at Clerk to your user of that id, which is made if need be.

        `LinkRefused` if they are tied to another one.
        """
        ...

    def watch(self, watcher: Watcher) -> None:
        """Have a function called after each commit that wrote something."""
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

    async def put(self, records: Iterable[AnyRecord]) -> list[Change]: ...
    async def find(
        self, instance: str, clerk_user_id: str, clerk_organization_id: str | None = None
    ) -> Standing | None: ...
    async def user(self, id: Id) -> User | None: ...
    async def organization(self, id: Id) -> Organization | None: ...
    async def link(self, instance: str, clerk_id: str, id: Id) -> User: ...
    def watch(self, watcher: Watcher) -> None: ...
    async def poll(self) -> None: ...
    async def close(self) -> None: ...


def is_async(repository: "Repository | AsyncRepository") -> bool:
    """Whether a repository speaks async."""
    return inspect.iscoroutinefunction(repository.find)


def threaded(repository: Repository) -> AsyncRepository:
    """Lend a synchronous repository to async code: each call runs in a thread."""
    return _Threaded(repository)


class _Threaded:
    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.poll_every = repository.poll_every
        self.watch = repository.watch

    async def put(self, records: Iterable[AnyRecord]) -> list[Change]:
        return await asyncio.to_thread(self._repository.put, records)

    async def find(
        self, instance: str, clerk_user_id: str, clerk_organization_id: str | None = None
    ) -> Standing | None:
        return await asyncio.to_thread(self._repository.find, instance, clerk_user_id, clerk_organization_id)

    async def user(self, id: Id) -> User | None:
        return await asyncio.to_thread(self._repository.user, id)

    async def organization(self, id: Id) -> Organization | None:
        return await asyncio.to_thread(self._repository.organization, id)

    async def link(self, instance: str, clerk_id: str, id: Id) -> User:
        return await asyncio.to_thread(self._repository.link, instance, clerk_id, id)

    async def poll(self) -> None:
        await asyncio.to_thread(self._repository.poll)

    async def close(self) -> None:
        await asyncio.to_thread(self._repository.close)
