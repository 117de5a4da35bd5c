"""All rows of a repository as they are stored: read and written page by page, to move them to another database.

The tables and their columns are listed here once, for every database. A test compares the list with the tables that
the schema makes.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any, Protocol, TypeVar

from ...errors import ConfigurationError
from ..options import Configuration, IdType, fits, not_inserted
from .dialects import Dialect, Names
from .statements import (
    IDENTITY_COLUMNS,
    NEW_ORGANIZATION_COLUMNS,
    NEW_USER_COLUMNS,
    OUTBOX_COLUMNS,
    SESSION_COLUMNS,
    STORED_MEMBERSHIP_COLUMNS,
    TERM_COLUMNS,
    ManyRows,
    Rows,
    Statements,
    Work,
    Written,
)

T = TypeVar("T")
Row = tuple[Any, ...]

PAGE = 500  # rows per read or write
MARKER = "clerkmap move"  # the name of the marker in a target while rows are moved into it
_FLAGS = ("email_verified", "banned", "is_current")  # SQLite stores numbers
_IDS = ("id", "user_id")
_MODULUS = 1 << 256


@dataclass(frozen=True, slots=True)
class Table:
    """One table: the columns that are stored, and those of its primary key."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]


# All tables but those in `schema.NOT_COPIED`, in an order in which each row comes after the rows that it references.
MOVED: tuple[Table, ...] = (
    Table("users", NEW_USER_COLUMNS, ("id",)),
    Table("identities", IDENTITY_COLUMNS, ("instance", "key")),
    Table("organizations", NEW_ORGANIZATION_COLUMNS, ("id",)),
    Table("memberships", STORED_MEMBERSHIP_COLUMNS, ("instance", "key")),
    Table("sessions", SESSION_COLUMNS, ("instance", "key")),
    Table("search_terms", TERM_COLUMNS, ("kind", "term", "instance", "key")),
    Table("checkpoints", ("name", "text"), ("name",)),
    Table("outbox", OUTBOX_COLUMNS, ("instance", "kind", "key")),
    Table("deliveries", ("key", "handled_at"), ("key",)),
)


@dataclass(frozen=True, slots=True)
class Digest:
    """The number of rows, and a digest of them. It does not depend on their order, and pages can be added up."""

    rows: int = 0
    total: int = 0

    def plus(self, rows: Rows) -> "Digest":
        """Return the digest with more rows."""
        total = self.total
        for row in rows:
            total += int.from_bytes(sha256(json.dumps(row).encode()).digest())
        return Digest(self.rows + len(rows), total % _MODULUS)


class Reads(Protocol):
    """How a repository reads."""

    def __call__(self, work: Callable[..., Work[T]], /, *args: Any) -> T: ...


class Writes(Protocol):
    """How a repository writes: in one transaction, which may be retried after a commit of unknown outcome."""

    def __call__(self, work: Callable[..., Work[Written[T]]], /, *args: Any) -> T: ...


class Contents:
    """The rows of one repository. Rows of any two repositories compare equal if their data is equal."""

    def __init__(self, sql: Statements, configuration: Configuration, read: Reads, write: Writes) -> None:
        self._sql = sql
        self._configuration = configuration
        self._read = read
        self._write = write
        self._tables = {table.name: _Rows(table, sql.dialect, sql.names, sql.id_type) for table in MOVED}

    @property
    def id_type(self) -> IdType | None:
        """The type of the ids. None if text and numbers are mixed."""
        return self._configuration.id_type

    def check_ids(self, id_type: IdType | None) -> None:
        """Raise `ConfigurationError` if tables with ids of another type cannot hold these ids."""
        if id_type in (self.id_type, None) or (self.id_type, id_type) == ("uuid", "text"):
            return
        if self.id_type is not None and "bigint" in (self.id_type, id_type):
            raise ConfigurationError(
                f"the source has ids of type {self.id_type}, and the target {id_type}: create the target's tables with "
                f"id_type={self.id_type!r}"
            )
        for table in (each for each in MOVED if "id" in each.columns):
            place = table.columns.index("id")
            if not all(fits(row[place], id_type) for rows in self.pages(table) for row in rows):
                raise ConfigurationError(
                    f"the source has ids in its table of {table.name} that do not fit {id_type}: create the "
                    "target's tables with another id_type"
                )

    def origin(self) -> str:
        """Return a text that identifies these tables. It is empty for an SQLite database in memory."""
        ((where,),) = self._read(partial(_ask, self._sql.origin))
        return str(where or "")

    def count(self, table: Table) -> int:
        """Return the number of rows in a table, without the marker."""
        ((number,),) = self._read(partial(_ask, self._tables[table.name].count))
        return int(number)

    def is_empty(self) -> bool:
        """Return whether no table has a row, apart from the marker."""
        return not any(self._read(partial(_ask, self._tables[table.name].first)) for table in MOVED)

    def pages(self, table: Table, after: Row = ()) -> Iterator[Rows]:
        """Yield the rows of a table after a key, in the order of its primary key."""
        key = [table.columns.index(column) for column in table.key]
        while rows := self._read(self._tables[table.name].page, after):
            yield rows
            after = tuple(rows[-1][place] for place in key)

    def marker(self) -> str | None:
        """Return the progress of the move into these tables, or None."""
        rows = self._read(partial(_ask, self._sql.select_checkpoint, MARKER))
        return str(rows[0][0]) if rows else None

    def begin(self, marker: str) -> bool:
        """Set the marker. Return False if another move has set one."""
        return self._write(partial(self._begun, marker))

    def add(self, table: Table, rows: Rows, before: str, after: str) -> bool:
        """Write rows and advance the marker, in one transaction. Return False if the marker is not `before`."""
        return self._write(partial(self._moved_on, before, after, partial(self._tables[table.name].insert.of, rows)))

    def clear(self, before: str, after: str) -> bool:
        """Delete all rows but the marker, and advance the marker."""
        return self._write(partial(self._moved_on, before, after, self._cleared))

    def finish(self, before: str) -> bool:
        """Remove the marker, and make new integer ids begin after the greatest one."""
        return self._write(partial(self._finished, before))

    def _begun(self, marker: str) -> Work[Written[bool]]:
        rows = yield self._sql.insert_checkpoint, (MARKER, marker)
        return [], bool(rows) or (yield from self._is(marker))

    def _moved_on(self, before: str, after: str, then: Callable[[], Work[object]]) -> Work[Written[bool]]:
        if not (yield self._sql.update_checkpoint, (after, MARKER, before)):
            return [], (yield from self._is(after))  # an earlier attempt was committed
        yield from then()
        return [], True

    def _finished(self, before: str) -> Work[Written[bool]]:
        if not (yield self._sql.delete_this_checkpoint, (MARKER, before)):
            return [], (yield from self._is(None))
        if self._sql.skip_user_ids and self.id_type == "bigint":
            yield self._sql.skip_user_ids, ()
            yield self._sql.skip_organization_ids, ()
        return [], True

    def _is(self, marker: str | None) -> Work[bool]:
        rows = yield self._sql.select_checkpoint, (MARKER,)
        return (rows[0][0] if rows else None) == marker

    def _cleared(self) -> Work[None]:
        for table in reversed(MOVED):
            yield self._tables[table.name].clear, ()


class _Rows:
    """The statements for one table."""

    def __init__(self, table: Table, dialect: Dialect, names: Names, id_type: str) -> None:
        name, value = names.table(table.name), dialect.value
        own = f" WHERE name <> '{MARKER}'" if table.name == "checkpoints" else ""
        self.count: str = f"SELECT count(*) FROM {name}{own}"
        self.first: str = f"SELECT 1 FROM {name}{own} LIMIT 1"
        self.clear: str = f"DELETE FROM {name}{own}"
        self.insert: ManyRows = ManyRows(
            dialect, name, table.columns, "", ", ".join(table.key), id_type, partial(not_inserted, table.name)
        )
        as_text = "::text" if id_type == "uuid" else ""
        listed = ", ".join(f"t.{column}{as_text if column in _IDS else ''}" for column in table.columns)
        key = ", ".join(f"t.{column}" for column in table.key)
        ordered = f"ORDER BY {key} LIMIT {PAGE}"
        self._first_page = f"SELECT {listed} FROM {name} t {ordered}"
        behind = f"({key}) > ({', '.join([value] * len(table.key))})"
        self._next_page = f"SELECT {listed} FROM {name} t WHERE {behind} {ordered}"
        self._flags = [place for place, column in enumerate(table.columns) if column in _FLAGS]
        self._is_checkpoints = table.name == "checkpoints"

    def page(self, after: Row) -> Work[Rows]:
        rows = yield (self._next_page, after) if after else (self._first_page, ())
        if self._is_checkpoints and len(rows) == 1 and rows[0][0] == MARKER:
            rows = yield self._next_page, (MARKER,)
        return [self._said(row) for row in rows if not (self._is_checkpoints and row[0] == MARKER)]

    def _said(self, row: Row) -> Row:
        """Return the row in the same form for every database."""
        if not self._flags:
            return tuple(row)
        return tuple(bool(value) if place in self._flags else value for place, value in enumerate(row))


def _ask(statement: str, *values: Any) -> Work[Rows]:
    return (yield statement, values)
