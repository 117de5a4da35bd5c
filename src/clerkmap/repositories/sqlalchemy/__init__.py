"""SQLAlchemy engines, sync and async, on PostgreSQL and SQLite. Needs clerkmap[sqlalchemy]: SQLAlchemy 2."""

try:
    import sqlalchemy.ext.asyncio as _asyncio  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ModuleNotFoundError as _error:
    raise ImportError("this repository needs SQLAlchemy 2: pip install 'clerkmap[sqlalchemy]'") from _error

from .databases import SqlAlchemyOptions as SqlAlchemyOptions
from .repository import AsyncSqlAlchemyRepository as AsyncSqlAlchemyRepository
from .repository import SqlAlchemyRepository as SqlAlchemyRepository
