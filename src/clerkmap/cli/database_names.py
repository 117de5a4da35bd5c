"""The database that a URL, the path of an SQLite file, or MODULE:NAME means."""

import re
from pathlib import Path

from ..errors import ConfigurationError
from .application import Application
from .database import CommandDatabase

_URL = re.compile(r"([a-z][a-z0-9.]+)(\+[a-z0-9_]+)?://(.*)", re.DOTALL | re.IGNORECASE)
_LIBPQ = re.compile(r"(^|\s)(host|hostaddr|dbname|user|service|password)\s*=")
_MODULE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def database(url: str | None, repository: str | None = None) -> CommandDatabase:
    """The database that a URL means, or the path of an SQLite file; or the repository that the command was told to use.

    Of a URL, what was given is never repeated.
    """
    if repository is not None:
        return Application(repository)
    text = (url or "").strip()
    if not text:
        raise ConfigurationError("no database is named: set CLERKMAP_DATABASE_URL, or give --database")
    return _of_url(text)


def one_of_two(text: str) -> CommandDatabase:
    """The database that a URL, a path or MODULE:NAME means, where a command works with two of them."""
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
        raise ConfigurationError("a database in memory is gone when the command ends: name a file")
    if "@" in path and not Path(path).exists():  # a URL without its beginning may have a password in it
        raise ConfigurationError("there is no such file; and a URL begins with postgresql:// or sqlite:///")
    from .sqlite_database import SqliteDatabase

    return SqliteDatabase(Path(path))
