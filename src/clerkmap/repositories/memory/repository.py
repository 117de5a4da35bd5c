"""`MemoryRepository`: the lock, and a transaction around each write."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar, Unpack

from ...core.model import Change, Count, Erasure, Member, NewIdT, Organization, ResultPage, User
from ...core.principal import Standing
from ...core.records import AnyRecord, Kind
from ...core.writeback import OutboxEntry, OutboxKind, WriteBack
from ...errors import ConfigurationError
from ...hooks import Listeners, Then
from ...ports import documented
from ..listing import Listing
from ..options import Configuration, Options
from .links import MemoryLinks
from .listing import MemoryListing
from .outbox import MemoryCheckpoints, MemoryOutbox
from .put import MemoryDeliveries, MemoryPut
from .reading import MemoryReading
from .tables import MemoryTables, Written
from .users import MemoryUsers

if TYPE_CHECKING:
    from sqlite3 import Connection

T = TypeVar("T")


@documented
class MemoryRepository(Generic[NewIdT]):
    """A repository in dictionaries, under one lock.

    Args:
        options: See `Options`. Hooks are called with `database` as the transaction.
    """

    poll_every: float | None = None

    def __init__(self, **options: Unpack[Options[NewIdT]]) -> None:
        configuration = Configuration(**options)
        self.write_back: WriteBack | None = configuration.write_back
        self.max_token_lifetime: float = configuration.max_token_lifetime
        self.needs_full_user: bool = configuration.needs_full_user
        self.listeners: Listeners = configuration.listeners
        tables = self._tables = MemoryTables()
        reading = self._reading = MemoryReading(tables, configuration)
        self._listing = MemoryListing(tables, configuration, reading)
        users = self._users = MemoryUsers(tables, configuration, reading)
        put = self._put = MemoryPut(tables, configuration, reading, users)
        self._links = MemoryLinks(tables, configuration, reading, users, put)
        self._outbox = MemoryOutbox(tables, configuration, reading)
        self._checkpoints = MemoryCheckpoints(tables)
        self._deliveries = MemoryDeliveries(tables, configuration, put)

    @property
    def database(self) -> "Connection":
        """An SQLite database in memory for the tables of your hooks. Each transaction here is one there, too."""
        return self._tables.database

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def within(self, connection: object) -> NoReturn:
        """Raise `ConfigurationError`: your connection has no transaction that dictionaries can join.

        Tables of your hooks belong into `database`.
        """
        raise ConfigurationError(
            "MemoryRepository has no database, so it cannot join a transaction: use SqliteRepository"
        )

    def put(self, records: Iterable[AnyRecord]) -> list[Change[NewIdT]]:
        return self._write(lambda: self._put(records))

    def find(
        self,
        instance: str,
        clerk_user_id: str,
        clerk_organization_id: str | None = None,
        clerk_session_id: str | None = None,
    ) -> Standing[NewIdT] | None:
        with self._tables.lock:
            standing = self._reading.find(instance, clerk_user_id, clerk_organization_id, clerk_session_id)
            settled = self._tables.is_settled
        return standing if settled or standing is None else replace(standing, settled=False)

    def user(self, id: NewIdT) -> User[NewIdT] | None:
        with self._tables.lock:
            return self._reading.user(id)

    def organization(self, id: NewIdT) -> Organization[NewIdT] | None:
        with self._tables.lock:
            return self._reading.organization(id)

    def row(self, kind: OutboxKind, instance: str, key: str) -> User[NewIdT] | Organization[NewIdT] | None:
        with self._tables.lock:
            return self._reading.row(kind, instance, key)

    def set_role(self, id: NewIdT, role: str | None) -> User[NewIdT]:
        return self._write(lambda: self._links.set_role(id, role))

    def link(self, instance: str, clerk_id: str, id: NewIdT, *, shared: bool = False) -> User[NewIdT]:
        return self._write(lambda: self._links.link(instance, clerk_id, id, shared))

    def unlink(self, instance: str, clerk_id: str, id: NewIdT) -> User[NewIdT]:
        return self._write(lambda: self._links.unlink(instance, clerk_id, id))

    def relink(self, instance: str, clerk_id: str, id: NewIdT, *, to: NewIdT) -> User[NewIdT]:
        return self._write(lambda: self._links.relink(instance, clerk_id, id, to))

    def export(self, id: NewIdT) -> dict[str, Any]:
        with self._tables.lock:
            return self._reading.export(id)

    def erase(self, id: NewIdT) -> Erasure[NewIdT]:
        return Erasure(self._write(lambda: self._links.erase(id)), is_pending=False)

    def records(self, kind: Kind, instance: str, *, after: str = "", limit: int = 500) -> list[AnyRecord]:
        with self._tables.lock:
            return self._reading.records(kind, instance, after, limit)

    def record(self, kind: Kind, instance: str, key: str) -> AnyRecord | None:
        with self._tables.lock:
            return self._reading.record(kind, instance, key)

    def ranks(self, kind: Kind, instance: str, keys: Sequence[str]) -> dict[str, str]:
        with self._tables.lock:
            return self._reading.ranks(kind, instance, keys)

    def counts(self, instance: str) -> dict[Kind, Count]:
        with self._tables.lock:
            return self._reading.counts(instance)

    def users(
        self,
        search: str | None = None,
        *,
        banned: bool | None = None,
        deleted: bool | None = False,
        role: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> ResultPage[User[NewIdT]]:
        with self._tables.lock:
            return self._listing.users(Listing("users", limit, search, role, banned, deleted), after)

    def count_users(
        self,
        search: str | None = None,
        *,
        banned: bool | None = None,
        deleted: bool | None = False,
        role: str | None = None,
        at_most: int = 10_000,
    ) -> int:
        with self._tables.lock:
            return self._listing.count_users(Listing("users", at_most, search, role, banned, deleted))

    def organizations(
        self, search: str | None = None, *, deleted: bool | None = False, after: str | None = None, limit: int = 50
    ) -> ResultPage[Organization[NewIdT]]:
        with self._tables.lock:
            return self._listing.organizations(Listing("organizations", limit, search, deleted=deleted), after)

    def count_organizations(
        self, search: str | None = None, *, deleted: bool | None = False, at_most: int = 10_000
    ) -> int:
        with self._tables.lock:
            return self._listing.count_organizations(Listing("organizations", at_most, search, deleted=deleted))

    def members(
        self,
        organization_id: NewIdT,
        *,
        search: str | None = None,
        role: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> ResultPage[Member[NewIdT]]:
        with self._tables.lock:
            return self._listing.members(
                Listing("members", limit, search, role, organization_id=organization_id), after
            )

    def count_members(
        self, organization_id: NewIdT, *, search: str | None = None, role: str | None = None, at_most: int = 10_000
    ) -> int:
        with self._tables.lock:
            return self._listing.count_members(
                Listing("members", at_most, search, role, organization_id=organization_id)
            )

    def organizations_of(self, user_id: NewIdT) -> list[Member[NewIdT]]:
        with self._tables.lock:
            return self._listing.organizations_of(user_id)

    def checkpoint(self, name: str) -> str | None:
        with self._tables.lock:
            return self._checkpoints.get(name)

    def set_checkpoint(self, name: str, text: str | None) -> None:
        self._write(lambda: self._checkpoints.set(name, text))

    def swap_checkpoint(self, name: str, before: str | None, after: str | None) -> bool:
        return self._write(lambda: self._checkpoints.swap(name, before, after))

    def in_transaction(self) -> bool:
        with self._tables.lock:
            return not self._tables.is_settled

    def outbox(self, instance: str, *, due: datetime | None = None, limit: int = 500) -> list[OutboxEntry]:
        with self._tables.lock:
            return self._outbox.due(instance, due, limit)

    def outbox_entry(self, instance: str, kind: OutboxKind, key: str) -> OutboxEntry | None:
        with self._tables.lock:
            return self._outbox.entry(instance, kind, key)

    def swap_outbox_entry(self, before: OutboxEntry | None, after: OutboxEntry | None) -> bool:
        return self._write(lambda: self._outbox.swap(before, after))

    def purge(self, before: datetime) -> int:
        return self._write(lambda: self._links.purge(before))

    def put_once(
        self, key: str | None, records: Sequence[AnyRecord], then: Then, *, again: bool = False
    ) -> list[Change[NewIdT]] | None:
        return self._write(lambda: self._deliveries.put_once(key, records, again), then)

    def poll(self) -> None:
        """Do nothing: no other process can write."""

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def _write(self, write: Callable[[], Written[T]], then: Then | None = None) -> T:
        try:
            with self._tables.transaction():
                written, result = write()
                self._outbox.note(written)
                then = then if result is not None else None
                if then is not None or (written and self.listeners.has_hooks):
                    self._tables.call_hooks(self.listeners, written, then)
                self._users.check_rows(written)
            self.listeners.tell(written)
        except Exception:
            raise
        except BaseException:  # it may have been raised between the two
            self.listeners.keys_changed(None)
            raise
        return result
