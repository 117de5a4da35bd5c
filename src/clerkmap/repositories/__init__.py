"""Repositories, each in a file of its own. Nothing is imported before it is asked for."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .memory import MemoryRepository as MemoryRepository
    from .sqlite import SqliteRepository as SqliteRepository

__all__ = ["MemoryRepository", "SqliteRepository"]


def __getattr__(name: str) -> Any:
    if name == "MemoryRepository":
        from .memory import MemoryRepository

        return MemoryRepository
    if name == "SqliteRepository":
        from .sqlite import SqliteRepository

        return SqliteRepository
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
