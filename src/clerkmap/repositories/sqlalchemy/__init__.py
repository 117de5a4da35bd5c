"""SQLAlchemy engines, sync and async, on PostgreSQL and SQLite. Needs clerkmap[sqlalchemy]: SQLAlchemy 2."""

try:
    import sqlalchemy as sqlalchemy
except ModuleNotFoundError as _error:
    raise ImportError("this repository needs SQLAlchemy 2: pip install 'clerkmap[sqlalchemy]'") from _error

from .databases import SqlAlchemyOptions as SqlAlchemyOptions
from .repository import AsyncSqlAlchemyRepository as AsyncSqlAlchemyRepository
from .repository import SqlAlchemyRepository as SqlAlchemyRepository
