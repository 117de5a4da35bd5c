"""PostgreSQL. Needs clerkmap[postgres]: psycopg 3 and its pool."""

try:
    import psycopg as psycopg
    import psycopg_pool as psycopg_pool
except ModuleNotFoundError as _error:
    raise ImportError("PostgreSQL needs psycopg and its pool: pip install 'clerkmap[postgres]'") from _error

from ..sql.postgres_setup import PostgresOptions as PostgresOptions
from .async_repository import AsyncPostgresRepository as AsyncPostgresRepository
from .repository import PostgresRepository as PostgresRepository
