"""Repositories, each in a file of its own. Nothing is imported before it is asked for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._runtime.threads import RepositoryThreads as RepositoryThreads
    from .._runtime.threads import Threads as Threads
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
    "MemoryRepository",
    "PostgresRepository",
    "RepositoryThreads",
    "SqliteRepository",
    "Threads",
    "UsersTable",
]

_MODULES = {
    "AsyncPostgresRepository": ".postgres",
    "ByExternalId": ".linkers",
    "ByVerifiedEmail": ".linkers",
    "FirstUserTakes": ".linkers",
    "MemoryRepository": ".memory",
    "PostgresRepository": ".postgres",
    "RepositoryThreads": ".._runtime.threads",
    "SqliteRepository": ".sqlite",
    "Threads": ".._runtime.threads",
    "UsersTable": ".row_numbers",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name], __name__), name)
