"""The differences between the SQL of SQLite and of PostgreSQL: types, row locks, new ids.

The SQL that these two share is in `schema.py` and `statements.py`: `ON CONFLICT … DO UPDATE … WHERE`, `excluded`,
`RETURNING`, comparisons of rows. MySQL has none of the first three. So a `Dialect` is not enough for such a database:
its repository is a package of its own beside this one, and implements `clerkmap.ports`. `NumberStatements` also has one
branch for SQLite and one for PostgreSQL.
"""

import re
from dataclasses import dataclass

from ...errors import ConfigurationError

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class Names:
    """The names of the tables: a prefix, and their schema, if one is given."""

    prefix: str
    schema: str | None = None

    def __post_init__(self) -> None:
        for what, name in (("prefix", self.prefix), ("schema", self.schema)):
            if (name is not None or what == "prefix") and not (isinstance(name, str) and _NAME.fullmatch(name)):
                raise ConfigurationError(f"{what} must be lower-case letters, digits and underscores, at most 40")

    def table(self, name: str) -> str:
        """Return the name of a table, or of another object in the schema."""
        return self.prefix + name if self.schema is None else f"{self.schema}.{self.prefix}{name}"


@dataclass(frozen=True, slots=True)
class Dialect:
    """The SQL of one database."""

    integer: str
    boolean: str
    true: str
    false: str
    key: str  # text that is compared byte by byte
    time: str  # the time of a column in milliseconds, as readers of SQL expect it
    generated: str  # how a column that is computed from others is stored
    table: str  # the options after a table's columns
    small_table: str  # the same, for small rows that are always found by their primary key
    value: str  # the placeholder of a value
    among: str  # whether a column is one of the texts in a JSON array
    pairs: str  # the rows of two texts in a JSON array of pairs
    origin: str  # a text that identifies this database's table among all databases
    notifies: bool = False  # whether the database itself notifies other processes of changes
    locked: str = ""  # how a SELECT locks its rows, if writers do not wait in line anyway
    unlocked: str = ""  # how a SELECT locks its rows, and passes over those that another writer has locked
    lock: str | None = None  # the same for several keys at once, whether or not they have rows; shared if negative
    next_id: str = ""  # the number of a table's next row, if the database does not count by itself
    rows: str = ""  # how one JSON text becomes rows, if that is faster than a statement for each row
    skip_ids: str = ""  # how those numbers continue after the greatest one


SQLITE = Dialect(
    integer="INTEGER",
    boolean="INTEGER",
    true="1",
    false="0",
    time="strftime('%Y-%m-%d %H:%M:%f', {} / 1000.0, 'unixepoch')",  # like `datetime('now')`, in UTC
    key="TEXT",
    generated="VIRTUAL",
    table=" STRICT",
    small_table=" STRICT, WITHOUT ROWID",
    value="?",
    among="IN (SELECT value FROM json_each(?))",
    pairs="SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)",
    origin="SELECT nullif(file, '') || ' {}' FROM pragma_database_list WHERE name = 'main'",
)
# FOR NO KEY UPDATE, since your rows that reference a user's must not wait for it.
POSTGRES = Dialect(
    notifies=True,
    integer="bigint",
    boolean="boolean",
    true="true",
    false="false",
    time="to_timestamp({} / 1000.0)",
    key='text COLLATE "C"',
    generated="STORED",
    table="",
    small_table="",
    value="%s",
    among="= ANY(ARRAY(SELECT json_array_elements_text(?)))",
    pairs="SELECT pair->>0, pair->>1 FROM json_array_elements(?) AS pair",
    origin="SELECT current_database() || ' ' || to_regclass('{}')::oid::text",
    locked=" FOR NO KEY UPDATE",
    unlocked=" FOR UPDATE SKIP LOCKED",
    lock=(
        "SELECT CASE WHEN slot < 0 THEN pg_advisory_xact_lock_shared({0}, -slot)::text "
        "ELSE pg_advisory_xact_lock({0}, slot)::text END FROM unnest(?::int[]) slot"
    ),
    next_id="nextval('{}_id_seq')",
    rows="json_to_recordset(?) AS r({})",
    skip_ids="SELECT setval('{0}_id_seq', greatest((SELECT max(id) FROM {0}), {1}, 1))",
)
