"""The database that a command works with: which one a URL means, what is in it, and how it is opened.

To look changes nothing, and what is said of a database never holds a password.
"""

import re
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ConfigurationError
from ..ports import Repository
from ..repositories.sql.schema import SCHEMA_VERSION
from .options import DATABASE, Made, repository_named

_URL = re.compile(r"([a-z][a-z0-9.]+)(\+[a-z0-9_]+)?://(.*)", re.DOTALL | re.IGNORECASE)
_LIBPQ = re.compile(r"(^|\s)(host|hostaddr|dbname|user|service|password)\s*=")
# What is kept for ids, and how they are made then.
_MADE: dict[str, Made] = {"TEXT": "uuid7", "text": "uuid7", "uuid": "uuid7", "INTEGER": "integer", "bigint": "integer"}
_MODULE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Found:
    """What a database holds. Version 0 is one without tables of ours. `ids` is how they are made; None for by you.
    `exists` is whether there is a database at all."""

    version: int = 0
    id_type: str = ""
    ids: Made | None = "uuid7"
    first_id: int = 1
    exists: bool = True


class NotWritten(Exception):
    """Something was about to be written where nothing is to be, and where it could not be undone."""


class Database(ABC):
    """One database. `shown` is what it is called in a text."""

    shown: str

    @abstractmethod
    def look(self) -> Found:
        """What is in it."""

    @abstractmethod
    def check_writable(self) -> bool:
        """Look whether the tables can be written to: False where only the application can tell.

        `ConfigurationError` or `RepositoryUnavailable` if they cannot. Nothing is changed.
        """

    @abstractmethod
    def open(self, found: Found, *, writes: bool) -> Repository:
        """Its repository, for tables that `check` has found right."""

    @abstractmethod
    def migrate(self, ids: Made | None, found: Found) -> None:
        """Bring the tables to this version's state, making them if need be."""

    @abstractmethod
    def ddl(self, since: int, ids: Made | None, found: Found) -> str:
        """The same as a script."""

    @abstractmethod
    def trying(self, found: Found) -> AbstractContextManager[Repository]:
        """A repository of which nothing that it writes is kept: it is undone, or `NotWritten` is raised before."""

    def check(self, found: Found, ids: Made | None = None, *, makes: bool = False, first_id: int | None = 0) -> Found:
        """What was found, with the ids that were asked for; or `ConfigurationError` if it cannot be worked with. A
        command that makes users says the first number, or None where it was not told."""
        if not found.exists:
            raise ConfigurationError(
                f"there is no file {self.shown}: correct the path, or make the file with `clerkmap migrate --create`"
            )
        if found.version == 0:
            raise ConfigurationError(f"there are no tables in {self.shown}: `clerkmap migrate` makes them")
        if found.version < SCHEMA_VERSION:
            raise ConfigurationError(
                f"the tables in {self.shown} are at schema version {found.version} and not at {SCHEMA_VERSION}: "
                "`clerkmap migrate` moves them forward"
            )
        if found.version > SCHEMA_VERSION:
            raise ConfigurationError(
                f"the tables in {self.shown} are at schema version {found.version}: a newer clerkmap made them; "
                "upgrade this one"
            )
        if first_id is None and (ids or found.ids) == "integer":
            raise ConfigurationError(
                "new users get numbers, which must not be those of rows of yours: say --first-id, which is 1 where "
                "there are no other rows, or name your own repository with --repository"
            )
        found = replace(found, first_id=first_id or 1)
        if ids is not None:
            made = _MADE.get(found.id_type)
            if made is not None and made != ("uuid7" if ids == "clerk" else ids):
                raise ConfigurationError(f"the tables hold ids of type {found.id_type}, and --ids asks for {ids}")
            return replace(found, ids=ids)
        if makes and found.ids is None:
            raise ConfigurationError(
                "your ids are made by a function of yours, which this command does not have: name your own "
                "repository with --repository"
            )
        return found


def database(url: str | None) -> Database:
    """The database that a URL means, or the path of an SQLite file; or the repository that the command was told to use.

    Of a URL, what was given is never repeated.
    """
    name = repository_named()
    if name is not None:
        from .application import Application

        return Application(name)
    text = (url or "").strip()
    if not text:
        raise ConfigurationError(f"no database is named: set {DATABASE}, or give --database")
    return _of_url(text)


def one_of_two(text: str) -> Database:
    """The database that a URL, a path or MODULE:NAME means, where a command works with two of them."""
    if _MODULE.fullmatch(text):
        from .application import Application

        return Application(text)
    return _of_url(text)


def _of_url(text: str) -> Database:
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


def found(rows: list[tuple[int, str]], example: tuple[object, str] | None) -> Found:
    """What the tables say of themselves, and how the ids are made of which one is there."""
    if not rows:
        return Found()
    ((version, id_type),) = rows
    made = _MADE.get(id_type)
    if example is not None and made == "uuid7":
        id, clerk_id = example
        made = "clerk" if id == clerk_id else made if _UUID.fullmatch(str(id)) else None
    return Found(version, id_type, made)


def ids_type(ids: Made | None) -> str:
    """The type of column that such ids are kept in, as PostgreSQL calls it."""
    return "bigint" if ids == "integer" else "text"
