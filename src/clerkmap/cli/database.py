"""The database that a command works with: which one a URL means, what is in it, and how it is opened.

To look changes nothing, and what is said of a database never holds a password.
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
_MADE: dict[str, NewIds] = dict.fromkeys(("TEXT", "text", "uuid"), "uuid7")
_MADE |= dict.fromkeys(("INTEGER", "bigint"), "integer")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class DatabaseState:
    """What a database holds. Version 0 is one without tables of ours. `ids` is how they are made; None for by you.
    `exists` is whether there is a database at all."""

    version: int = 0
    id_type: str = ""
    ids: NewIds | None = "uuid7"
    first_id: int = 1
    exists: bool = True


class NotWritten(Exception):
    """Something was about to be written where nothing is to be, and where it could not be undone."""


class CommandDatabase(ABC):
    """One database. `shown` is what it is called in a text."""

    shown: str

    @abstractmethod
    def look(self) -> DatabaseState:
        """What is in it."""

    @abstractmethod
    def check_writable(self) -> bool:
        """Look whether the tables can be written to: False where only the application can tell.

        `ConfigurationError` or `RepositoryUnavailable` if they cannot. Nothing is changed.
        """

    @abstractmethod
    def open(self, found: DatabaseState, *, writes: bool) -> Repository:
        """Its repository, for tables that `check` has found right."""

    @abstractmethod
    def migrate(self, ids: NewIds | None, found: DatabaseState) -> None:
        """Bring the tables to this version's state, making them if need be."""

    @abstractmethod
    def ddl(self, since: int, ids: NewIds | None, found: DatabaseState) -> str:
        """The same as a script."""

    @abstractmethod
    def trying(self, found: DatabaseState) -> AbstractContextManager[Repository]:
        """A repository of which nothing that it writes is kept: it is undone, or `NotWritten` is raised before."""

    def check(
        self, found: DatabaseState, ids: NewIds | None = None, *, makes: bool = False, first_id: int | None = 0
    ) -> DatabaseState:
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


def found(rows: list[tuple[int, str]], example: tuple[object, str] | None) -> DatabaseState:
    """What the tables say of themselves, and how the ids are made of which one is there."""
    if not rows:
        return DatabaseState()
    ((version, id_type),) = rows
    made = _MADE.get(id_type)
    if example is not None and made == "uuid7":
        id, clerk_id = example
        made = "clerk" if id == clerk_id else made if _UUID.fullmatch(str(id)) else None
    return DatabaseState(version, id_type, made)


def ids_type(ids: NewIds | None) -> str:
    """The type of column that such ids are kept in, as PostgreSQL calls it."""
    return "bigint" if ids == "integer" else "text"
