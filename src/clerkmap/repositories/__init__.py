"""Repositories, each in its own module, and the functions for your own backend.

A module is imported at its first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._runtime.threads import RepositoryThreads as RepositoryThreads
    from .._runtime.threads import Threads as Threads
    from ..core.merging import deleted_at as deleted_at
    from ..core.merging import forgotten_below as forgotten_below
    from ..core.merging import last_word as last_word
    from ..core.merging import tombstones_kept as tombstones_kept
    from ..core.records import fold as fold
    from ..core.records import key_of as key_of
    from ..core.records import newer as newer
    from ..hooks import Listeners as Listeners
    from ..hooks import written_from_within as written_from_within
    from .linkers import ByExternalId as ByExternalId
    from .linkers import ByVerifiedEmail as ByVerifiedEmail
    from .linkers import FirstUserTakes as FirstUserTakes
    from .memory import MemoryRepository as MemoryRepository
    from .postgres import AsyncPostgresRepository as AsyncPostgresRepository
    from .postgres import PostgresRepository as PostgresRepository
    from .row_numbers import UsersTable as UsersTable
    from .sqlite import SqliteRepository as SqliteRepository

__all__ = [
    "AsyncPostgresRepository",
    "ByExternalId",
    "ByVerifiedEmail",
    "FirstUserTakes",
    "Listeners",
    "MemoryRepository",
    "PostgresRepository",
    "RepositoryThreads",
    "SqliteRepository",
    "Threads",
    "UsersTable",
    "deleted_at",
    "fold",
    "forgotten_below",
    "key_of",
    "last_word",
    "newer",
    "tombstones_kept",
    "written_from_within",
]

_MODULES = {
    "AsyncPostgresRepository": ".postgres",
    "ByExternalId": ".linkers",
    "ByVerifiedEmail": ".linkers",
    "FirstUserTakes": ".linkers",
    "Listeners": "..hooks",
    "MemoryRepository": ".memory",
    "PostgresRepository": ".postgres",
    "RepositoryThreads": ".._runtime.threads",
    "SqliteRepository": ".sqlite",
    "Threads": ".._runtime.threads",
    "UsersTable": ".row_numbers",
    "deleted_at": "..core.merging",
    "fold": "..core.records",
    "forgotten_below": "..core.merging",
    "key_of": "..core.records",
    "last_word": "..core.merging",
    "newer": "..core.records",
    "tombstones_kept": "..core.merging",
    "written_from_within": "..hooks",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name], __name__), name)
