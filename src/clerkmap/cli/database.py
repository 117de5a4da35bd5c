"""The database that a command works with: its state, its checks, and its repository.

Inspecting a database changes nothing, and no text about it holds a password.
"""

import re
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import ConfigurationError
from ..ports import Repository
from ..repositories.sql.schema import SCHEMA_VERSION

NewIds = Literal["uuid7", "integer", "clerk"]

# How ids are made in tables with this type of id.
_MADE: dict[str, NewIds] = {
    **dict.fromkeys(("TEXT", "text", "uuid"), "uuid7"),
    **dict.fromkeys(("INTEGER", "bigint"), "integer"),
}
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class DatabaseState:
    """The state of a database.

    Version 0 means that it has no tables of clerkmap. `ids` is how ids are made; None means by a function of the
    application. `exists` tells whether there is a database at all. `searched` names the schemas in which PostgreSQL
    finds no tables, `elsewhere` another schema that has tables.
    """

    version: int = 0
    id_type: str = ""
    ids: NewIds | None = "uuid7"
    first_id: int = 1
    exists: bool = True
    searched: str = ""
    elsewhere: str = ""


class NotWritten(Exception):
    """A write was refused because it could not be undone."""


class CommandDatabase(ABC):
    """One database. `shown` is its name in texts, and `to_write` says what makes it writable."""

    shown: str
    to_write: str = "Run this as the user of your application, and allow its database role to write to the tables"

    @abstractmethod
    def look(self) -> DatabaseState:
        """Return the state of the database."""

    @abstractmethod
    def check_writable(self) -> bool:
        """Check that the tables can be written to, without changing them.

        Returns False if only the application can tell. Raises `ConfigurationError` or `RepositoryUnavailable` if they
        cannot.
        """

    @abstractmethod
    def open(self, found: DatabaseState, *, writes: bool) -> Repository:
        """Return the repository on tables that `check` has accepted."""

    @abstractmethod
    def migrate(self, ids: NewIds | None, found: DatabaseState) -> None:
        """Create the tables, or upgrade them to this version."""

    @abstractmethod
    def ddl(self, since: int, ids: NewIds | None, found: DatabaseState) -> str:
        """Return the statements of `migrate` as a script."""

    @abstractmethod
    def trying(self, found: DatabaseState) -> AbstractContextManager[Repository]:
        """Yield a repository that keeps no writes: they are rolled back, or `NotWritten` is raised instead."""

    def check(
        self, found: DatabaseState, ids: NewIds | None = None, *, makes: bool = False, first_id: int | None = 0
    ) -> DatabaseState:
        """Return the state with the chosen ids, or raise `ConfigurationError` if a command cannot use the database.

        A command that creates users passes `first_id`, or None if the option was not given.
        """
        if not found.exists:
            raise ConfigurationError(
                f"there is no file {self.shown}: correct the path, or create the file with `clerkmap migrate --create`"
            )
        if found.version == 0:
            where = f"{found.searched} of {self.shown}" if found.searched else self.shown
            remedy = "create them with `clerkmap migrate`"
            if found.elsewhere:
                where += f", but the schema {found.elsewhere} has some"
                remedy = f"add options=-csearch_path%3D{found.elsewhere} to the URL, or {remedy}"
            raise ConfigurationError(f"there are no tables in {where}: {remedy}")
        if found.version < SCHEMA_VERSION:
            raise ConfigurationError(
                f"the tables in {self.shown} are at schema version {found.version}, and not at {SCHEMA_VERSION}: "
                "upgrade them with `clerkmap migrate`"
            )
        if found.version > SCHEMA_VERSION:
            raise ConfigurationError(
                f"the tables in {self.shown} have schema version {found.version} of a newer clerkmap: upgrade clerkmap"
            )
        if first_id is None and (ids or found.ids) == "integer":
            raise ConfigurationError(
                "new users get numbers, which must not collide with other rows: give --first-id, which is 1 if "
                "there are no other rows, or name your own repository with --repository"
            )
        found = replace(found, first_id=first_id or 1)
        if ids is not None:
            made = _MADE.get(found.id_type)
            if made is not None and made != ("uuid7" if ids == "clerk" else ids):
                raise ConfigurationError(f"the tables hold ids of type {found.id_type}, and --ids is {ids}")
            return replace(found, ids=ids)
        if makes and found.ids is None:
            raise ConfigurationError(
                "a function of your application makes your ids: name your own repository with --repository"
            )
        return found


def found(rows: list[tuple[int, str]], example: tuple[object, str] | None) -> DatabaseState:
    """Return the state of tables, from their schema row and from one identity."""
    if not rows:
        return DatabaseState()
    ((version, id_type),) = rows
    made = _MADE.get(id_type)
    if example is not None and made == "uuid7":
        id, clerk_id = example
        made = "clerk" if id == clerk_id else made if _UUID.fullmatch(str(id)) else None
    return DatabaseState(version, id_type, made)


def ids_type(ids: NewIds | None) -> str:
    """Return the PostgreSQL type of the column for such ids."""
    return "bigint" if ids == "integer" else "text"
