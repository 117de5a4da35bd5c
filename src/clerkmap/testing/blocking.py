"""A sync facade for an async repository: the tests of the contract are synchronous.

class TestMine(RepositoryContract):
    @pytest.fixture
    def make_repository(self):
        return lambda **options: Blocking(MyAsyncRepository.for_tests, **options)
"""

import asyncio
import copy
import threading
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from datetime import datetime
from typing import Any, Self, TypeVar

from ..core.model import Change, Count, Erasure, Id, Member, Organization, ResultPage, User
from ..core.principal import Standing
from ..core.records import AnyRecord, Kind
from ..core.writeback import OutboxEntry, OutboxKind, WriteBack
from ..errors import ConfigurationError
from ..hooks import AfterCommit, Hook, Listeners, Then
from ..ports import AsyncRepository

T = TypeVar("T")


class Blocking:
    """An async repository as a sync one, in an event loop on its own thread.

    Hooks run in other threads, and watchers in the caller's thread, so that both can use the repository.
    """

    def __init__(
        self,
        make: Callable[..., AsyncRepository],
        *,
        hooks: Iterable[Callable[[Change, Any], object]] = (),
        after_commit: Iterable[Callable[[Change], object]] = (),
        **options: Any,
    ) -> None:
        self._is_part = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._repository = asyncio.run_coroutine_threadsafe(_made(make, options), self._loop).result()
        self.poll_every: float | None = self._repository.poll_every
        self.write_back: WriteBack | None = self._repository.write_back
        self.needs_full_user: bool = self._repository.needs_full_user
        self.max_token_lifetime: float = self._repository.max_token_lifetime
        self._in_threads = _InThreads(self._repository.listeners, self._thread)
        self.listeners: Listeners = self._in_threads
        self.listeners.add(hooks, after_commit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def within(self, connection: Any) -> Self:
        part = copy.copy(self)
        part._repository, part._is_part = self._repository.within(connection), True
        return part

    def put(self, records: Iterable[AnyRecord]) -> list[Change]:
        return self.wait(self._repository.put(records))

    def find(
        self,
        instance: str,
        clerk_user_id: str,
        clerk_organization_id: str | None = None,
        clerk_session_id: str | None = None,
    ) -> Standing | None:
        return self.wait(self._repository.find(instance, clerk_user_id, clerk_organization_id, clerk_session_id))

    def user(self, id: Id) -> User | None:
        return self.wait(self._repository.user(id))

    def organization(self, id: Id) -> Organization | None:
        return self.wait(self._repository.organization(id))

    def row(self, kind: OutboxKind, instance: str, key: str) -> User | Organization | None:
        return self.wait(self._repository.row(kind, instance, key))

    def set_role(self, id: Id, role: str | None) -> User:
        return self.wait(self._repository.set_role(id, role))

    def link(self, instance: str, clerk_id: str, id: Id, *, shared: bool = False) -> User:
        return self.wait(self._repository.link(instance, clerk_id, id, shared=shared))

    def unlink(self, instance: str, clerk_id: str, id: Id) -> User:
        return self.wait(self._repository.unlink(instance, clerk_id, id))

    def relink(self, instance: str, clerk_id: str, id: Id, *, to: Id) -> User:
        return self.wait(self._repository.relink(instance, clerk_id, id, to=to))

    def export(self, id: Id) -> dict[str, Any]:
        return self.wait(self._repository.export(id))

    def erase(self, id: Id) -> Erasure:
        return self.wait(self._repository.erase(id))

    def records(self, kind: Kind, instance: str, *, after: str = "", limit: int = 500) -> list[AnyRecord]:
        return self.wait(self._repository.records(kind, instance, after=after, limit=limit))

    def record(self, kind: Kind, instance: str, key: str) -> AnyRecord | None:
        return self.wait(self._repository.record(kind, instance, key))

    def ranks(self, kind: Kind, instance: str, keys: Sequence[str]) -> dict[str, str]:
        return self.wait(self._repository.ranks(kind, instance, keys))

    def counts(self, instance: str) -> dict[Kind, Count]:
        return self.wait(self._repository.counts(instance))

    def users(
        self,
        search: str | None = None,
        *,
        banned: bool | None = None,
        deleted: bool | None = False,
        role: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> ResultPage[User]:
        return self.wait(
            self._repository.users(search, banned=banned, deleted=deleted, role=role, after=after, limit=limit)
        )

    def count_users(
        self,
        search: str | None = None,
        *,
        banned: bool | None = None,
        deleted: bool | None = False,
        role: str | None = None,
        at_most: int = 10_000,
    ) -> int:
        return self.wait(
            self._repository.count_users(search, banned=banned, deleted=deleted, role=role, at_most=at_most)
        )

    def organizations(
        self, search: str | None = None, *, deleted: bool | None = False, after: str | None = None, limit: int = 50
    ) -> ResultPage[Organization]:
        return self.wait(self._repository.organizations(search, deleted=deleted, after=after, limit=limit))

    def count_organizations(
        self, search: str | None = None, *, deleted: bool | None = False, at_most: int = 10_000
    ) -> int:
        return self.wait(self._repository.count_organizations(search, deleted=deleted, at_most=at_most))

    def members(
        self,
        organization_id: Id,
        *,
        search: str | None = None,
        role: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> ResultPage[Member]:
        return self.wait(self._repository.members(organization_id, search=search, role=role, after=after, limit=limit))

    def count_members(
        self, organization_id: Id, *, search: str | None = None, role: str | None = None, at_most: int = 10_000
    ) -> int:
        return self.wait(self._repository.count_members(organization_id, search=search, role=role, at_most=at_most))

    def organizations_of(self, user_id: Id) -> list[Member]:
        return self.wait(self._repository.organizations_of(user_id))

    def checkpoint(self, name: str) -> str | None:
        return self.wait(self._repository.checkpoint(name))

    def set_checkpoint(self, name: str, text: str | None) -> None:
        self.wait(self._repository.set_checkpoint(name, text))

    def in_transaction(self) -> bool:
        return self.wait(self._repository.in_transaction())

    def swap_checkpoint(self, name: str, before: str | None, after: str | None) -> bool:
        return self.wait(self._repository.swap_checkpoint(name, before, after))

    def outbox(self, instance: str, *, due: datetime | None = None, limit: int = 500) -> list[OutboxEntry]:
        return self.wait(self._repository.outbox(instance, due=due, limit=limit))

    def outbox_entry(self, instance: str, kind: OutboxKind, key: str) -> OutboxEntry | None:
        return self.wait(self._repository.outbox_entry(instance, kind, key))

    def swap_outbox_entry(self, before: OutboxEntry | None, after: OutboxEntry | None) -> bool:
        return self.wait(self._repository.swap_outbox_entry(before, after))

    def purge(self, before: datetime) -> int:
        return self.wait(self._repository.purge(before))

    def put_once(
        self, key: str | None, records: Sequence[AnyRecord], then: Then, *, again: bool = False
    ) -> list[Change] | None:
        return self.wait(self._repository.put_once(key, records, in_a_thread(then), again=again))

    def poll(self) -> None:
        self.wait(self._repository.poll())

    def close(self) -> None:
        if self._is_part:
            self.wait(self._repository.close())
        elif not self._loop.is_closed():
            self.wait(self._repository.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the event loop of the repository, and return its result."""
        if threading.current_thread() is self._thread:  # a linker runs in the event loop
            coroutine.close()
            raise ConfigurationError("a function that is called inside a write cannot wait for another write")
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
        finally:
            self._in_threads.tell_watchers()


async def _made(make: Callable[..., AsyncRepository], options: dict[str, Any]) -> AsyncRepository:
    return await make(**options).__aenter__()


class _InThreads(Listeners):
    """The listeners of another repository, each called in a thread."""

    def __init__(self, real: Listeners, loop_thread: threading.Thread) -> None:
        super().__init__()
        self._real = real
        self._made: dict[Callable[..., object], Any] = {}
        self._to_tell: list[Collection[str] | None] = []
        self._loop_thread = loop_thread
        real.watch(self._hear)

    def tell_watchers(self) -> None:
        """Notify the watchers of writes in the event loop."""
        while self._to_tell:
            self.keys_changed(self._to_tell.pop(0))

    def _hear(self, keys: Collection[str] | None) -> None:
        if threading.current_thread() is self._loop_thread:
            self._to_tell.append(keys)
        else:
            self.keys_changed(keys)

    def hook(self, hook: Hook) -> None:
        self._real.hook(self._in_a_thread(hook))

    def after_commit(self, listener: AfterCommit) -> None:
        self._real.after_commit(self._in_a_thread(listener))

    def _in_a_thread(self, function: Callable[..., object]) -> Any:
        Listeners([function])  # refuses a hook that is not callable
        return self._made.setdefault(function, in_a_thread(function))


def in_a_thread(function: Callable[..., object]) -> Any:
    """Return an async function that calls this one in another thread."""

    async def call(*args: Any) -> object:
        return await asyncio.to_thread(function, *args)

    call.__qualname__ = getattr(function, "__qualname__", type(function).__qualname__)
    return call
