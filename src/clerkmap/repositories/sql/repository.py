"""The base classes of all SQL repositories: each method is some work on the tables.

`SqlRepository` and `AsyncSqlRepository` do the same, one of them in async code. A database supplies `_read` and
`_write`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Generic, ParamSpec, Self, TypeVar

from ...core.model import Change, Count, Erasure, IdT, Member, Organization, ResultPage, User
from ...core.principal import Standing
from ...core.records import AnyRecord, Kind
from ...core.writeback import OutboxEntry, OutboxKind, WriteBack
from ...hooks import Listeners, Then
from ...ports import documented
from ..listing import Listing
from ..options import Configuration
from .links import SqlLinks
from .listing import SqlListing
from .outbox import SqlCheckpoints, SqlOutbox
from .put import Locks, SqlDeliveries, SqlMemberships, SqlPut
from .reading import SqlReading
from .statements import Statements, Work, Written
from .stored_rows import Contents, Reads, Writes
from .users import SqlUsers

T = TypeVar("T")
P = ParamSpec("P")


class SqlTables:
    """The work on the tables of one repository, in parts."""

    def __init__(self, sql: Statements, configuration: Configuration) -> None:
        self._sql = sql
        self.configuration: Configuration = configuration
        self.reading: SqlReading = SqlReading(sql, configuration)
        self.listing: SqlListing = SqlListing(sql, configuration, self.reading)
        self.users: SqlUsers = SqlUsers(sql, configuration, self.reading)
        locks = Locks(sql)
        memberships = SqlMemberships(self.reading)
        self.put: SqlPut = SqlPut(sql, configuration, self.reading, self.users, locks, memberships)
        self.links: SqlLinks = SqlLinks(sql, configuration, self.reading, self.users, locks, memberships, self.put)
        self.outbox: SqlOutbox = SqlOutbox(sql, configuration, self.reading)
        self.checkpoints: SqlCheckpoints = SqlCheckpoints(sql)
        self.deliveries: SqlDeliveries = SqlDeliveries(sql, configuration, self.put)

    def write(self, work: Work[Written[T]]) -> Work[Written[T]]:
        """Do work that writes, and add outbox entries for the data that it has made stale at Clerk."""
        return work if self.configuration.write_back is None else self._write_and_note(work)

    def _write_and_note(self, work: Work[Written[T]]) -> Work[Written[T]]:
        written, result = yield from work
        yield from self.outbox.note(written)
        return written, result

    def contents(self, read: Reads, write: Writes) -> Contents:
        """Return all rows of all tables, as they are stored."""
        return Contents(self._sql, self.configuration, read, write)


@documented
class SqlRepository(ABC, Generic[IdT]):
    """The methods of `Repository`, in terms of two: one that reads, one that writes."""

    listeners: Listeners
    _tables: SqlTables

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _read(self, work: Callable[P, Work[T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...

    @abstractmethod
    def _write(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the work in one transaction. Never retry it after a commit of unknown outcome: another writer may have
        acted on it, and a second run would undo that."""

    def _merge(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work that may be retried even then: if it has been committed, a second run changes nothing."""
        return self._write(work, *args, **kwargs)

    @abstractmethod
    def _write_then(self, then: Then, work: Callable[[], Work[Written[T]]], *, repeatable: bool) -> T:
        """Run work that writes, and then a function in the same transaction, unless the result of the work is None.

        If `repeatable`, the work may be retried after a commit of unknown outcome.
        """

    @abstractmethod
    def _is_settled(self) -> bool:
        """Return whether a state that is read now is committed."""

    @property
    def needs_full_user(self) -> bool:
        """Whether the linker needs a full record of a user."""
        return self._tables.configuration.needs_full_user

    @property
    def max_token_lifetime(self) -> float:
        """The number of seconds that a token may live."""
        return self._tables.configuration.max_token_lifetime

    @property
    def write_back(self) -> WriteBack | None:
        """Your facts that are copied to Clerk."""
        return self._tables.configuration.write_back

    @property
    def contents(self) -> Contents:
        """All rows as they are stored. `clerkmap.sync.move` reads and writes them."""
        return self._tables.contents(self._read, self._merge)

    def put(self, records: Iterable[AnyRecord]) -> list[Change[IdT]]:
        records = list(records)
        write = self._merge if self._tables.put.is_repeatable(records) else self._write
        return write(self._tables.put, records)

    def find(
        self,
        instance: str,
        clerk_user_id: str,
        clerk_organization_id: str | None = None,
        clerk_session_id: str | None = None,
    ) -> Standing[IdT] | None:
        standing = self._read(
            self._tables.reading.find, instance, clerk_user_id, clerk_organization_id, clerk_session_id
        )
        return standing if standing is None or self._is_settled() else replace(standing, settled=False)

    def user(self, id: IdT) -> User[IdT] | None:
        return self._read(self._tables.reading.user, id)

    def organization(self, id: IdT) -> Organization[IdT] | None:
        return self._read(self._tables.reading.organization, id)

    def row(self, kind: OutboxKind, instance: str, key: str) -> User[IdT] | Organization[IdT] | None:
        return self._read(self._tables.reading.row, kind, instance, key)

    def set_role(self, id: IdT, role: str | None) -> User[IdT]:
        return self._write(self._tables.links.set_role, id, role)

    def link(self, instance: str, clerk_id: str, id: IdT, *, shared: bool = False) -> User[IdT]:
        return self._write(self._tables.links.link, instance, clerk_id, id, shared)

    def unlink(self, instance: str, clerk_id: str, id: IdT) -> User[IdT]:
        return self._write(self._tables.links.unlink, instance, clerk_id, id)

    def relink(self, instance: str, clerk_id: str, id: IdT, *, to: IdT) -> User[IdT]:
        return self._write(self._tables.links.relink, instance, clerk_id, id, to)

    def export(self, id: IdT) -> dict[str, Any]:
        return self._read(self._tables.reading.export, id)

    def erase(self, id: IdT) -> Erasure[IdT]:
        user = self._write(self._tables.links.erase, id)
        return Erasure(user, self._is_erasing())

    def _is_erasing(self) -> bool:
        """Return whether a file may still hold erased data."""
        return not self._is_settled()

    def records(self, kind: Kind, instance: str, *, after: str = "", limit: int = 500) -> list[AnyRecord]:
        return self._read(self._tables.reading.records, kind, instance, after, limit)

    def record(self, kind: Kind, instance: str, key: str) -> AnyRecord | None:
        return self._read(self._tables.reading.record, kind, instance, key)

    def ranks(self, kind: Kind, instance: str, keys: Sequence[str]) -> dict[str, str]:
        return self._read(self._tables.reading.ranks, kind, instance, keys)

    def counts(self, instance: str) -> dict[Kind, Count]:
        return self._read(self._tables.reading.counts, instance)

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
        return self._read(self._tables.listing.users, Listing("users", limit, search, role, banned, deleted), after)

    def count_users(
        self,
        search: str | None = None,
        *,
        banned: bool | None = None,
        deleted: bool | None = False,
        role: str | None = None,
        at_most: int = 10_000,
    ) -> int:
        return self._read(self._tables.listing.count_users, Listing("users", at_most, search, role, banned, deleted))

    def organizations(
        self, search: str | None = None, *, deleted: bool | None = False, after: str | None = None, limit: int = 50
    ) -> ResultPage[Organization[IdT]]:
        return self._read(
            self._tables.listing.organizations, Listing("organizations", limit, search, deleted=deleted), after
        )

    def count_organizations(
        self, search: str | None = None, *, deleted: bool | None = False, at_most: int = 10_000
    ) -> int:
        return self._read(
            self._tables.listing.count_organizations, Listing("organizations", at_most, search, deleted=deleted)
        )

    def members(
        self,
        organization_id: IdT,
        *,
        search: str | None = None,
        role: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> ResultPage[Member[IdT]]:
        return self._read(
            self._tables.listing.members,
            Listing("members", limit, search, role, organization_id=organization_id),
            after,
        )

    def count_members(
        self, organization_id: IdT, *, search: str | None = None, role: str | None = None, at_most: int = 10_000
    ) -> int:
        return self._read(
            self._tables.listing.count_members,
            Listing("members", at_most, search, role, organization_id=organization_id),
        )

    def organizations_of(self, user_id: IdT) -> list[Member[IdT]]:
        return self._read(self._tables.listing.organizations_of, user_id)

    def checkpoint(self, name: str) -> str | None:
        return self._read(self._tables.checkpoints.get, name)

    def set_checkpoint(self, name: str, text: str | None) -> None:
        self._write(self._tables.checkpoints.set, name, text)

    def swap_checkpoint(self, name: str, before: str | None, after: str | None) -> bool:
        return self._write(self._tables.checkpoints.swap, name, before, after)

    def in_transaction(self) -> bool:
        return not self._is_settled()

    def outbox(self, instance: str, *, due: datetime | None = None, limit: int = 500) -> list[OutboxEntry]:
        return self._read(self._tables.outbox.due, instance, due, limit)

    def outbox_entry(self, instance: str, kind: OutboxKind, key: str) -> OutboxEntry | None:
        return self._read(self._tables.outbox.entry, instance, kind, key)

    def swap_outbox_entry(self, before: OutboxEntry | None, after: OutboxEntry | None) -> bool:
        return self._write(self._tables.outbox.swap, before, after)

    def purge(self, before: datetime) -> int:
        return self._write(self._tables.links.purge, before)

    def put_once(
        self, key: str | None, records: Sequence[AnyRecord], then: Then, *, again: bool = False
    ) -> list[Change[IdT]] | None:
        # If a first run has been committed, a second run finds the key.
        put_once = self._tables.deliveries.put_once
        return self._write_then(then, lambda: put_once(key, records, again), repeatable=key is not None and not again)


@documented
class AsyncSqlRepository(ABC, Generic[IdT]):
    """The methods of `AsyncRepository`, for async drivers."""

    listeners: Listeners
    _tables: SqlTables

    @abstractmethod
    async def close(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @abstractmethod
    async def _read(self, work: Callable[P, Work[T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...

    @abstractmethod
    async def _write(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...

    async def _merge(self, work: Callable[P, Work[Written[T]]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._write(work, *args, **kwargs)

    @abstractmethod
    async def _write_then(self, then: Then, work: Callable[[], Work[Written[T]]], *, repeatable: bool) -> T: ...

    @abstractmethod
    def _is_settled(self) -> bool: ...

    @property
    def needs_full_user(self) -> bool:
        """Whether the linker needs a full record of a user."""
        return self._tables.configuration.needs_full_user

    @property
    def max_token_lifetime(self) -> float:
        """The number of seconds that a token may live."""
        return self._tables.configuration.max_token_lifetime

    @property
    def write_back(self) -> WriteBack | None:
        """Your facts that are copied to Clerk."""
        return self._tables.configuration.write_back

    async def put(self, records: Iterable[AnyRecord]) -> list[Change[IdT]]:
        records = list(records)
        write = self._merge if self._tables.put.is_repeatable(records) else self._write
        return await write(self._tables.put, records)

    async def find(
        self,
        instance: str,
        clerk_user_id: str,
        clerk_organization_id: str | None = None,
        clerk_session_id: str | None = None,
    ) -> Standing[IdT] | None:
        ids = (instance, clerk_user_id, clerk_organization_id, clerk_session_id)
        standing = await self._read(self._tables.reading.find, *ids)
        return standing if standing is None or self._is_settled() else replace(standing, settled=False)

    async def user(self, id: IdT) -> User[IdT] | None:
        return await self._read(self._tables.reading.user, id)

    async def organization(self, id: IdT) -> Organization[IdT] | None:
        return await self._read(self._tables.reading.organization, id)

    async def row(self, kind: OutboxKind, instance: str, key: str) -> User[IdT] | Organization[IdT] | None:
        return await self._read(self._tables.reading.row, kind, instance, key)

    async def set_role(self, id: IdT, role: str | None) -> User[IdT]:
        return await self._write(self._tables.links.set_role, id, role)

    async def link(self, instance: str, clerk_id: str, id: IdT, *, shared: bool = False) -> User[IdT]:
        return await self._write(self._tables.links.link, instance, clerk_id, id, shared)

    async def unlink(self, instance: str, clerk_id: str, id: IdT) -> User[IdT]:
        return await self._write(self._tables.links.unlink, instance, clerk_id, id)

    async def relink(self, instance: str, clerk_id: str, id: IdT, *, to: IdT) -> User[IdT]:
        return await self._write(self._tables.links.relink, instance, clerk_id, id, to)

    async def export(self, id: IdT) -> dict[str, Any]:
        return await self._read(self._tables.reading.export, id)

    async def erase(self, id: IdT) -> Erasure[IdT]:
        user = await self._write(self._tables.links.erase, id)
        return Erasure(user, self._is_erasing())

    def _is_erasing(self) -> bool:
        """Return whether a file may still hold erased data."""
        return not self._is_settled()

    async def records(self, kind: Kind, instance: str, *, after: str = "", limit: int = 500) -> list[AnyRecord]:
        return await self._read(self._tables.reading.records, kind, instance, after, limit)

    async def record(self, kind: Kind, instance: str, key: str) -> AnyRecord | None:
        return await self._read(self._tables.reading.record, kind, instance, key)

    async def ranks(self, kind: Kind, instance: str, keys: Sequence[str]) -> dict[str, str]:
        return await self._read(self._tables.reading.ranks, kind, instance, keys)

    async def counts(self, instance: str) -> dict[Kind, Count]:
        return await self._read(self._tables.reading.counts, instance)

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
        return await self._read(
            self._tables.listing.users, Listing("users", limit, search, role, banned, deleted), after
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
        return await self._read(
            self._tables.listing.count_users, Listing("users", at_most, search, role, banned, deleted)
        )

    async def organizations(
        self, search: str | None = None, *, deleted: bool | None = False, after: str | None = None, limit: int = 50
    ) -> ResultPage[Organization[IdT]]:
        return await self._read(
            self._tables.listing.organizations, Listing("organizations", limit, search, deleted=deleted), after
        )

    async def count_organizations(
        self, search: str | None = None, *, deleted: bool | None = False, at_most: int = 10_000
    ) -> int:
        return await self._read(
            self._tables.listing.count_organizations, Listing("organizations", at_most, search, deleted=deleted)
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
        return await self._read(
            self._tables.listing.members,
            Listing("members", limit, search, role, organization_id=organization_id),
            after,
        )

    async def count_members(
        self, organization_id: IdT, *, search: str | None = None, role: str | None = None, at_most: int = 10_000
    ) -> int:
        return await self._read(
            self._tables.listing.count_members,
            Listing("members", at_most, search, role, organization_id=organization_id),
        )

    async def organizations_of(self, user_id: IdT) -> list[Member[IdT]]:
        return await self._read(self._tables.listing.organizations_of, user_id)

    async def checkpoint(self, name: str) -> str | None:
        return await self._read(self._tables.checkpoints.get, name)

    async def set_checkpoint(self, name: str, text: str | None) -> None:
        await self._write(self._tables.checkpoints.set, name, text)

    async def swap_checkpoint(self, name: str, before: str | None, after: str | None) -> bool:
        return await self._write(self._tables.checkpoints.swap, name, before, after)

    async def in_transaction(self) -> bool:
        return not self._is_settled()

    async def outbox(self, instance: str, *, due: datetime | None = None, limit: int = 500) -> list[OutboxEntry]:
        return await self._read(self._tables.outbox.due, instance, due, limit)

    async def outbox_entry(self, instance: str, kind: OutboxKind, key: str) -> OutboxEntry | None:
        return await self._read(self._tables.outbox.entry, instance, kind, key)

    async def swap_outbox_entry(self, before: OutboxEntry | None, after: OutboxEntry | None) -> bool:
        return await self._write(self._tables.outbox.swap, before, after)

    async def purge(self, before: datetime) -> int:
        return await self._write(self._tables.links.purge, before)

    async def put_once(
        self, key: str | None, records: Sequence[AnyRecord], then: Then, *, again: bool = False
    ) -> list[Change[IdT]] | None:
        put_once = self._tables.deliveries.put_once
        return await self._write_then(
            then, lambda: put_once(key, records, again), repeatable=key is not None and not again
        )
