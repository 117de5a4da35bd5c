"""Repositories, each in its own module, and the functions for your own backend.

A module is imported at its first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._runtime.threads import RepositoryThreads as RepositoryThreads
    from .._runtime.threads import Threads as Threads
    from ..core.membership_changes import MembershipChanges as MembershipChanges
    from ..core.merging import deletion_time as deletion_time
    from ..core.merging import latest_membership as latest_membership
    from ..core.merging import outranks as outranks
    from ..core.merging import winning_records as winning_records
    from ..core.records import key_of as key_of
    from ..core.times import to_datetime as to_datetime
    from ..core.times import to_milliseconds as to_milliseconds
    from ..core.tombstone_retention import oldest_session_rank as oldest_session_rank
    from ..core.tombstone_retention import tombstone_retention as tombstone_retention
    from ..hooks import Listeners as Listeners
    from ..hooks import written_from_within as written_from_within
    from .linkers import ByExternalId as ByExternalId
    from .linkers import ByVerifiedEmail as ByVerifiedEmail
    from .linkers import FirstUserTakes as FirstUserTakes
    from .memory import MemoryRepository as MemoryRepository
    from .postgres import AsyncPostgresRepository as AsyncPostgresRepository
    from .postgres import PostgresRepository as PostgresRepository
    from .read_cache import ReadCache as ReadCache
    from .read_cache import keys_of_rows as keys_of_rows
    from .row_numbers import UsersTable as UsersTable
    from .sqlalchemy import AsyncSqlAlchemyRepository as AsyncSqlAlchemyRepository
    from .sqlalchemy import SqlAlchemyRepository as SqlAlchemyRepository
    from .sqlite import SqliteRepository as SqliteRepository

__all__ = [
    "AsyncPostgresRepository",
    "AsyncSqlAlchemyRepository",
    "ByExternalId",
    "ByVerifiedEmail",
    "FirstUserTakes",
    "Listeners",
    "MembershipChanges",
    "MemoryRepository",
    "PostgresRepository",
    "ReadCache",
    "RepositoryThreads",
    "SqlAlchemyRepository",
    "SqliteRepository",
    "Threads",
    "UsersTable",
    "deletion_time",
    "key_of",
    "keys_of_rows",
    "latest_membership",
    "oldest_session_rank",
    "outranks",
    "to_datetime",
    "to_milliseconds",
    "tombstone_retention",
    "winning_records",
    "written_from_within",
]

_MODULES = {
    "AsyncPostgresRepository": ".postgres",
    "AsyncSqlAlchemyRepository": ".sqlalchemy",
    "ByExternalId": ".linkers",
    "ByVerifiedEmail": ".linkers",
    "FirstUserTakes": ".linkers",
    "Listeners": "..hooks",
    "MembershipChanges": "..core.membership_changes",
    "MemoryRepository": ".memory",
    "PostgresRepository": ".postgres",
    "ReadCache": ".read_cache",
    "RepositoryThreads": ".._runtime.threads",
    "SqlAlchemyRepository": ".sqlalchemy",
    "SqliteRepository": ".sqlite",
    "Threads": ".._runtime.threads",
    "UsersTable": ".row_numbers",
    "deletion_time": "..core.merging",
    "winning_records": "..core.merging",
    "oldest_session_rank": "..core.tombstone_retention",
    "key_of": "..core.records",
    "keys_of_rows": ".read_cache",
    "latest_membership": "..core.merging",
    "outranks": "..core.merging",
    "to_datetime": "..core.times",
    "to_milliseconds": "..core.times",
    "tombstone_retention": "..core.tombstone_retention",
    "written_from_within": "..hooks",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
