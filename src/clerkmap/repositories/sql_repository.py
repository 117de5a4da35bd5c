"""What all SQL repositories have in common: each method is some work on the tables, run by whoever can run it.

`SqlRepository` and `AsyncSqlRepository` say the same in the two colours. A database supplies `_read` and `_write`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from ..core.model import Change, Count, Erasure, Id, Organization, User
from ..core.principal import Standing
from ..core.records import MAX_TIME, AnyRecord, Kind
from ..core.writeback import OutboxEntry, OutboxKind, WriteBack
from ..hooks import Listeners
from .outbox import Outbox
from .stored_rows import Contents
from .work import Work, Written

T = TypeVar("T")
P = ParamSpec("P")


class SqlRepository(ABC):
    """The methods of `Repository`, in terms of two: one that reads, one that writes."""

    listeners: Listeners
    _tables: Outbox

    @abstractmethod
    def _read(self, work: Callable[P, Work[T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...

    @abstractmethod
    def _write(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the work in one transaction. Never repeat it after a commit of unknown outcome: another writer may have
        acted on it, and its second run would undo that."""

    def _merge(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work that may be repeated even then: where it has been committed, its second run changes nothing."""
        return self._write(work, *args, **kwargs)

    @abstractmethod
    def _is_settled(self) -> bool:
        """Whether what is read now is committed."""

    @property
    def needs_full_user(self) -> bool:
        """Whether the linker needs Clerk's full word on a person."""
        return self._tables.needs_full_user

    @property
    def max_token_lifetime(self) -> float:
        """How many seconds a token may live."""
        return self._tables.max_token_lifetime

    @property
    def write_back(self) -> WriteBack | None:
        """Which of your facts Clerk is to hold."""
        return self._tables.write_back

    @property
    def contents(self) -> Contents:
        """All rows as they are stored. `clerkmap.sync.move` reads and writes them."""
        return self._tables.contents(self._read, self._merge)

    def put(self, records: Iterable[AnyRecord]) -> list[Change]:
        records = list(records)
        write = self._merge if self._tables.is_repeatable(records) else self._write
        return write(self._tables.put, records)

    def find(
        self,
        instance: str,
        clerk_user_id: str,
        clerk_organization_id: str | None = None,
        clerk_session_id: str | None = None,
    ) -> Standing | None:
        standing = self._read(self._tables.find, instance, clerk_user_id, clerk_organization_id, clerk_session_id)
        return standing if standing is None or self._is_settled() else replace(standing, settled=False)

    def user(self, id: Id) -> User | None:
        return self._read(self._tables.user, id)

    def organization(self, id: Id) -> Organization | None:
        return self._read(self._tables.organization, id)

    def row(self, kind: OutboxKind, instance: str, key: str) -> User | Organization | None:
        return self._read(self._tables.row, kind, instance, key)

    def set_role(self, id: Id, role: str | None) -> User:
        return self._write(self._tables.set_role, id, role)

    def link(self, instance: str, clerk_id: str, id: Id, *, shared: bool = False) -> User:
        return self._write(self._tables.link, instance, clerk_id, id, shared)

    def unlink(self, instance: str, clerk_id: str, id: Id) -> User:
        return self._write(self._tables.unlink, instance, clerk_id, id)

    def relink(self, instance: str, clerk_id: str, id: Id, *, to: Id) -> User:
        return self._write(self._tables.relink, instance, clerk_id, id, to)

    def export(self, id: Id) -> dict[str, Any]:
        return self._read(self._tables.export, id)

    def erase(self, id: Id) -> Erasure:
        user = self._write(self._tables.erase, id)
        return Erasure(user, self._is_erasing())

    def _is_erasing(self) -> bool:
        """Whether a file may still hold what was erased."""
        return not self._is_settled()

    def records(self, kind: Kind, instance: str, *, after: str = "", limit: int = 500) -> list[AnyRecord]:
        return self._read(self._tables.records, kind, instance, after, limit)

    def record(self, kind: Kind, instance: str, key: str) -> AnyRecord | None:
        return self._read(self._tables.record, kind, instance, key)

    def ranks(self, kind: Kind, instance: str, keys: Sequence[str]) -> dict[str, str]:
        return self._read(self._tables.ranks, kind, instance, keys)

    def counts(self, instance: str) -> dict[Kind, Count]:
        return self._read(self._tables.counts, instance)

    def search(self, text: str, limit: int = 20) -> list[User]:
        return self._read(self._tables.search, text, limit)

    def checkpoint(self, name: str) -> str | None:
        return self._read(self._tables.checkpoint, name)

    def set_checkpoint(self, name: str, text: str | None) -> None:
        self._write(self._tables.set_checkpoint, name, text)

    def swap_checkpoint(self, name: str, before: str | None, after: str | None) -> bool:
        return self._write(self._tables.swap_checkpoint, name, before, after)

    def in_transaction(self) -> bool:
        return not self._is_settled()

    def outbox(self, instance: str, *, due: int = MAX_TIME, limit: int = 500) -> list[OutboxEntry]:
        return self._read(self._tables.outbox, instance, due, limit)

    def outbox_entry(self, instance: str, kind: OutboxKind, key: str) -> OutboxEntry | None:
        return self._read(self._tables.outbox_entry, instance, kind, key)

    def swap_outbox_entry(self, before: OutboxEntry | None, after: OutboxEntry | None) -> bool:
        return self._write(self._tables.swap_outbox_entry, before, after)

    def purge(self, before: int) -> int:
        return self._write(self._tables.purge, before)


class AsyncSqlRepository(ABC):
    """The same for drivers that speak async."""

    listeners: Listeners
    _tables: Outbox

    @abstractmethod
    async def _read(self, work: Callable[P, Work[T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...

    @abstractmethod
    async def _write(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...

    async def _merge(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._write(work, *args, **kwargs)

    @abstractmethod
    def _is_settled(self) -> bool: ...

    @property
    def needs_full_user(self) -> bool:
        """Whether the linker needs Clerk's full word on a person."""
        return self._tables.needs_full_user

    @property
    def max_token_lifetime(self) -> float:
        """How many seconds a token may live."""
        return self._tables.max_token_lifetime

    @property
    def write_back(self) -> WriteBack | None:
        """Which of your facts Clerk is to hold."""
        return self._tables.write_back

    async def put(self, records: Iterable[AnyRecord]) -> list[Change]:
        records = list(records)
        write = self._merge if self._tables.is_repeatable(records) else self._write
        return await write(self._tables.put, records)

    async def find(
        self,
        instance: str,
        clerk_user_id: str,
        clerk_organization_id: str | None = None,
        clerk_session_id: str | None = None,
    ) -> Standing | None:
        ids = (instance, clerk_user_id, clerk_organization_id, clerk_session_id)
        standing = await self._read(self._tables.find, *ids)
        return standing if standing is None or self._is_settled() else replace(standing, settled=False)

    async def user(self, id: Id) -> User | None:
        return await self._read(self._tables.user, id)

    async def organization(self, id: Id) -> Organization | None:
        return await self._read(self._tables.organization, id)

    async def row(self, kind: OutboxKind, instance: str, key: str) -> User | Organization | None:
        return await self._read(self._tables.row, kind, instance, key)

    async def set_role(self, id: Id, role: str | None) -> User:
        return await self._write(self._tables.set_role, id, role)

    async def link(self, instance: str, clerk_id: str, id: Id, *, shared: bool = False) -> User:
        return await self._write(self._tables.link, instance, clerk_id, id, shared)

    async def unlink(self, instance: str, clerk_id: str, id: Id) -> User:
        return await self._write(self._tables.unlink, instance, clerk_id, id)

    async def relink(self, instance: str, clerk_id: str, id: Id, *, to: Id) -> User:
        return await self._write(self._tables.relink, instance, clerk_id, id, to)

    async def export(self, id: Id) -> dict[str, Any]:
        return await self._read(self._tables.export, id)

    async def erase(self, id: Id) -> Erasure:
        user = await self._write(self._tables.erase, id)
        return Erasure(user, not self._is_settled())

    async def records(self, kind: Kind, instance: str, *, after: str = "", limit: int = 500) -> list[AnyRecord]:
        return await self._read(self._tables.records, kind, instance, after, limit)

    async def record(self, kind: Kind, instance: str, key: str) -> AnyRecord | None:
        return await self._read(self._tables.record, kind, instance, key)

    async def ranks(self, kind: Kind, instance: str, keys: Sequence[str]) -> dict[str, str]:
        return await self._read(self._tables.ranks, kind, instance, keys)

    async def counts(self, instance: str) -> dict[Kind, Count]:
        return await self._read(self._tables.counts, instance)

    async def search(self, text: str, limit: int = 20) -> list[User]:
        return await self._read(self._tables.search, text, limit)

    async def checkpoint(self, name: str) -> str | None:
        return await self._read(self._tables.checkpoint, name)

    async def set_checkpoint(self, name: str, text: str | None) -> None:
        await self._write(self._tables.set_checkpoint, name, text)

    async def swap_checkpoint(self, name: str, before: str | None, after: str | None) -> bool:
        return await self._write(self._tables.swap_checkpoint, name, before, after)

    async def in_transaction(self) -> bool:
        return not self._is_settled()

    async def outbox(self, instance: str, *, due: int = MAX_TIME, limit: int = 500) -> list[OutboxEntry]:
        return await self._read(self._tables.outbox, instance, due, limit)

    async def outbox_entry(self, instance: str, kind: OutboxKind, key: str) -> OutboxEntry | None:
        return await self._read(self._tables.outbox_entry, instance, kind, key)

    async def swap_outbox_entry(self, before: OutboxEntry | None, after: OutboxEntry | None) -> bool:
        return await self._write(self._tables.swap_outbox_entry, before, after)

    async def purge(self, before: int) -> int:
        return await self._write(self._tables.purge, before)
