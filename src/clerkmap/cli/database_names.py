"""Names of databases: a URL, the path of an SQLite file, or MODULE:NAME."""

import re
from pathlib import Path

from ..errors import ConfigurationError
from .application import Application
from .database import CommandDatabase

_URL = re.compile(r"([a-z][a-z0-9.]+)(\+[a-z0-9_]+)?://(.*)", re.DOTALL | re.IGNORECASE)
_LIBPQ = re.compile(r"(^|\s)(host|hostaddr|dbname|user|service|password)\s*=")
_MODULE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def database(url: str | None, repository: str | None = None) -> CommandDatabase:
    """Return the database with this URL or path, or that of the application's repository.

    No text repeats the URL, since it may hold a password.
    """
    if repository is not None:
        return Application(repository)
    text = (url or "").strip()
    if not text:
        raise ConfigurationError("no database is configured: set CLERKMAP_DATABASE_URL or give --database")
    return _of_url(text)


def any_database(text: str) -> CommandDatabase:
    """Return the database with this URL, path or MODULE:NAME, for a command that uses two databases."""
    if _MODULE.fullmatch(text):
        return Application(text)
    return _of_url(text)


def _of_url(text: str) -> CommandDatabase:
    parts = _URL.fullmatch(text)
    scheme = parts[1].lower() if parts else ""
    if scheme in ("postgresql", "postgres") or (not parts and _LIBPQ.search(text)):
        from .postgres_database import PostgresDatabase

        return PostgresDatabase(f"{scheme}://{parts[3]}" if parts else text)
    path = text
    if parts:
        path = parts[3].removeprefix("/").partition("?")[0]
        if scheme != "sqlite" or not parts[3].startswith("/"):
            raise ConfigurationError(
                "the database must be sqlite:///path, the path of an SQLite file, or postgresql://…"
            )
    if path in ("", ":memory:"):
        raise ConfigurationError("a database in memory is lost when the command ends: name a file")
    if "@" in path and not Path(path).exists():  # a URL without its scheme may hold a password
        raise ConfigurationError("the file does not exist; a URL begins with postgresql:// or sqlite:///")
    from .sqlite_database import SqliteDatabase

    return SqliteDatabase(Path(path))
