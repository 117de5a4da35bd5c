"""SQLite: for one machine, and any number of threads and processes on it."""

from .repository import SqliteRepository as SqliteRepository
