"""A sync repository for async code: each call runs in a thread."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Generic, Self, TypeVar, overload

from .._runtime.threads import RepositoryThreads, Threads
from ..core.model import Change, Count, Erasure, IdT, Member, Organization, ResultPage, User
from ..core.principal import Standing
from ..core.records import AnyRecord, Kind
from ..core.writeback import OutboxEntry, OutboxKind, WriteBack
from ..hooks import Listeners, Then
from ..ports import CoreRepository, Repository, documented

T = TypeVar("T")


@overload
def threaded(repository: Repository[IdT]) -> "Threaded[IdT]": ...
@overload
def threaded(repository: CoreRepository[IdT]) -> "ThreadedCore[IdT]": ...
def threaded(repository: Any) -> Any:
    """Return a sync repository for async code: each call runs in a thread. Writes do not delay reads.

    The threads are those of the repository, if it has an attribute `threads` (see `Threads`). Other repositories share
    a few in each process.
    """
    return Threaded(repository)


_shared: Threads = RepositoryThreads()


@documented
class ThreadedCore(Generic[IdT]):
    """A synchronous `CoreRepository`, with the methods of an asynchronous one."""

    def __init__(self, repository: CoreRepository[IdT]) -> None:
        self._repository = repository
        self._threads: Threads = getattr(repository, "threads", None) or _shared
        self.poll_every: float | None = repository.poll_every
        self.listeners: Listeners = repository.listeners

    async def reading(self, function: Callable[[], T]) -> T:
        """Run a function that only reads, in one thread from its beginning to its end."""
        return await self._threads.read(function)

    async def read_or_write(self, read: Callable[[], T | None], write: Callable[[], Any], then: Callable[[], T]) -> T:
        """Run a function that reads. If it returns None, run one that writes, and after the commit `then`.

        The event loop is left once. The write may share a transaction with others.
        """
        return await self._threads.read_or_write(read, write, then)

    @property
    def needs_full_user(self) -> bool:
        return self._repository.needs_full_user

    @property
    def max_token_lifetime(self) -> float:
        return self._repository.max_token_lifetime

    async def put(self, records: Iterable[AnyRecord]) -> list[Change[IdT]]:
        return await self._threads.write(self._repository.put, records)

    async def find(
        self,
        instance: str,
        clerk_user_id: str,
        clerk_organization_id: str | None = None,
        clerk_session_id: str | None = None,
    ) -> Standing[IdT] | None:
        ids = (clerk_user_id, clerk_organization_id, clerk_session_id)
        return await self._threads.read(self._repository.find, instance, *ids)

    async def row(self, kind: OutboxKind, instance: str, key: str) -> User[IdT] | Organization[IdT] | None:
        return await self._threads.read(self._repository.row, kind, instance, key)

    async def poll(self) -> None:
        await self._threads.read(self._repository.poll)

    async def close(self) -> None:
        await _shared.read(self._repository.close)  # not in the threads that it closes


@documented
class Threaded(ThreadedCore[IdT]):
    """A synchronous `Repository`, with the methods of an asynchronous one."""

    def __init__(self, repository: Repository[IdT]) -> None:
        super().__init__(repository)
        self._whole = repository

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def within(self, connection: Any) -> Self:
        return type(self)(self._whole.within(connection))

    @property
    def write_back(self) -> WriteBack | None:
        return self._whole.write_back

    async def user(self, id: IdT) -> User[IdT] | None:
        return await self._threads.read(self._whole.user, id)

    async def organization(self, id: IdT) -> Organization[IdT] | None:
        return await self._threads.read(self._whole.organization, id)

    async def set_role(self, id: IdT, role: str | None) -> User[IdT]:
        return await self._threads.write(self._whole.set_role, id, role)

    async def link(self, instance: str, clerk_id: str, id: IdT, *, shared: bool = False) -> User[IdT]:
        return await self._threads.write(lambda: self._whole.link(instance, clerk_id, id, shared=shared))

    async def unlink(self, instance: str, clerk_id: str, id: IdT) -> User[IdT]:
        return await self._threads.write(self._whole.unlink, instance, clerk_id, id)

    async def relink(self, instance: str, clerk_id: str, id: IdT, *, to: IdT) -> User[IdT]:
        return await self._threads.write(lambda: self._whole.relink(instance, clerk_id, id, to=to))

    async def export(self, id: IdT) -> dict[str, Any]:
        return await self._threads.read(self._whole.export, id)

    async def erase(self, id: IdT) -> Erasure[IdT]:
        return await self._threads.write(self._whole.erase, id)

    async def records(self, kind: Kind, instance: str, *, after: str = "", limit: int = 500) -> list[AnyRecord]:
        return await self._threads.read(lambda: self._whole.records(kind, instance, after=after, limit=limit))

    async def record(self, kind: Kind, instance: str, key: str) -> AnyRecord | None:
        return await self._threads.read(self._whole.record, kind, instance, key)

    async def ranks(self, kind: Kind, instance: str, keys: Sequence[str]) -> dict[str, str]:
        return await self._threads.read(self._whole.ranks, kind, instance, keys)

    async def counts(self, instance: str) -> dict[Kind, Count]:
        return await self._threads.read(self._whole.counts, instance)

    async def users(
        self,
        search: str | None = None,
        *,
        banned: bool | None = None,
        deleted: bool | None = False,
        role: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> ResultPage[User[IdT]]:
        return await self._threads.read(
            lambda: self._whole.users(search, banned=banned, deleted=deleted, role=role, after=after, limit=limit)
        )

    async def count_users(
        self,
        search: str | None = None,
        *,
        banned: bool | None = None,
        deleted: bool | None = False,
        role: str | None = None,
        at_most: int = 10_000,
    ) -> int:
        return await self._threads.read(
            lambda: self._whole.count_users(search, banned=banned, deleted=deleted, role=role, at_most=at_most)
        )

    async def organizations(
        self, search: str | None = None, *, deleted: bool | None = False, after: str | None = None, limit: int = 50
    ) -> ResultPage[Organization[IdT]]:
        return await self._threads.read(
            lambda: self._whole.organizations(search, deleted=deleted, after=after, limit=limit)
        )

    async def count_organizations(
        self, search: str | None = None, *, deleted: bool | None = False, at_most: int = 10_000
    ) -> int:
        return await self._threads.read(
            lambda: self._whole.count_organizations(search, deleted=deleted, at_most=at_most)
        )

    async def members(
        self,
        organization_id: IdT,
        *,
        search: str | None = None,
        role: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> ResultPage[Member[IdT]]:
        return await self._threads.read(
            lambda: self._whole.members(organization_id, search=search, role=role, after=after, limit=limit)
        )

    async def count_members(
        self, organization_id: IdT, *, search: str | None = None, role: str | None = None, at_most: int = 10_000
    ) -> int:
        return await self._threads.read(
            lambda: self._whole.count_members(organization_id, search=search, role=role, at_most=at_most)
        )

    async def organizations_of(self, user_id: IdT) -> list[Member[IdT]]:
        return await self._threads.read(self._whole.organizations_of, user_id)

    async def checkpoint(self, name: str) -> str | None:
        return await self._threads.read(self._whole.checkpoint, name)

    async def set_checkpoint(self, name: str, text: str | None) -> None:
        await self._threads.write(self._whole.set_checkpoint, name, text)

    async def swap_checkpoint(self, name: str, before: str | None, after: str | None) -> bool:
        return await self._threads.write(self._whole.swap_checkpoint, name, before, after)

    async def in_transaction(self) -> bool:
        return await self._threads.write(self._whole.in_transaction)

    async def outbox(self, instance: str, *, due: datetime | None = None, limit: int = 500) -> list[OutboxEntry]:
        return await self._threads.read(lambda: self._whole.outbox(instance, due=due, limit=limit))

    async def outbox_entry(self, instance: str, kind: OutboxKind, key: str) -> OutboxEntry | None:
        return await self._threads.read(self._whole.outbox_entry, instance, kind, key)

    async def swap_outbox_entry(self, before: OutboxEntry | None, after: OutboxEntry | None) -> bool:
        return await self._threads.write(self._whole.swap_outbox_entry, before, after)

    async def purge(self, before: datetime) -> int:
        return await self._threads.write(self._whole.purge, before)

    async def put_once(
        self, key: str | None, records: Sequence[AnyRecord], then: Then, *, again: bool = False
    ) -> list[Change[IdT]] | None:
        return await self._threads.write(lambda: self._whole.put_once(key, records, then, again=again))
