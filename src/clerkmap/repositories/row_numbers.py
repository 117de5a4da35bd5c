"""Numbers for new rows that are not the numbers of rows you have.

With `ids=int` a repository makes numbers beside tables that it does not know. Two options keep a new user from
the data of an existing one. From `first_id` on, all numbers belong to the repository. In `users_table`, each row is a
user: a new number has no row in that table yet, and the row exists when the transaction ends.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ..errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
GREATEST = 2**62
WANTED = (
    'ids=int must not make numbers of existing rows: pass users_table="customers" if your users are rows of that '
    "table, first_id=1_000_000 if your rows always have smaller numbers, or first_id=1 if you have no rows"
)


@dataclass(frozen=True, slots=True)
class UsersTable:
    """The table of your users.

    Args:
        name: Its name, as the database spells it.
        id: The column with the numbers.
        schema: The schema it is in.
    """

    name: str
    id: str = "id"
    schema: str | None = None

    def __post_init__(self) -> None:
        for part in (self.name, self.id, self.schema):
            if part is not None and not (isinstance(part, str) and _NAME.fullmatch(part)):
                raise ConfigurationError(
                    "users_table must be the name of a table, or UsersTable(name, id=column, schema=schema): letters, "
                    "digits and underscores"
                )

    @property
    def quoted(self) -> str:
        """The name, quoted for a statement."""
        return f'"{self.name}"' if self.schema is None else f'"{self.schema}"."{self.name}"'

    @property
    def select_columns(self) -> str:
        """The SQLite query for the columns and their types. It returns no row if there is no table."""
        of_schema = f", '{self.schema}'" if self.schema is not None else ""
        return f"SELECT name, type FROM pragma_table_info('{self.name}'{of_schema})"

    @property
    def find_counters(self) -> str:
        """The SQLite query whether AUTOINCREMENT has been used in this database."""
        return f"""SELECT 1 FROM "{self.schema or "main"}".sqlite_master WHERE name = 'sqlite_sequence'"""

    @property
    def select_counter(self) -> str:
        """The query for the greatest number that AUTOINCREMENT has made or seen, including those of deleted rows."""
        counters = f'"{self.schema or "main"}".sqlite_sequence'
        return f"SELECT max(seq) FROM {counters} WHERE lower(name) = '{self.name.lower()}'"


@dataclass(frozen=True, slots=True)
class Numbers:
    """How numbers are made. With a table and no `first_id`, each user must be a row of the table."""

    first_id: int | None
    table: UsersTable | None

    @classmethod
    def of(cls, ids: object, first_id: int | None, users_table: str | UsersTable | None) -> "Numbers | None":
        """Return the numbers that the options describe; None if no numbers are made.

        Raises:
            ConfigurationError: The options do not say how.
        """
        if ids is not int:
            if first_id is not None or users_table is not None:
                raise ConfigurationError("first_id and users_table belong to ids=int")
            return None
        if first_id is None and users_table is None:
            raise ConfigurationError(WANTED)
        if first_id is not None and not (type(first_id) is int and 1 <= first_id <= GREATEST):
            raise ConfigurationError("first_id must be an integer of at least 1")
        table = users_table if isinstance(users_table, UsersTable | None) else UsersTable(users_table)
        return cls(first_id, table)

    @property
    def first(self) -> int:
        """Return the smallest number that may be made."""
        return self.first_id or 1

    @property
    def needs_rows(self) -> bool:
        """Return whether each user must be a row of the table."""
        return self.first_id is None

    def check_column(self, columns: Iterable[Sequence[object]]) -> None:
        """Refuse an SQLite table if its id column, by its declared type, does not sort as whole numbers."""
        assert self.table is not None
        declared = {str(name).lower(): str(kind or "").upper() for name, kind in columns}
        if not declared:
            raise self.table_missing()
        if "INT" not in declared.get(self.table.id.lower(), ""):  # SQLite's own rule for whole numbers
            raise ConfigurationError(
                f"users_table: {self.table.name} needs a column {self.table.id} that is declared as INTEGER: for "
                "another column, pass UsersTable(name, id=column)"
            )

    def check_greatest(self, greatest: object) -> None:
        """Refuse a table if its numbers have reached those of the repository."""
        if self.table is not None and isinstance(greatest, str | bytes | float):  # SQLite stores them beside numbers
            raise ConfigurationError(
                f"users_table: {self.table.name} has a row whose {self.table.id} is not an integer: correct this row, "
                "because new numbers continue from the greatest"
            )
        assert greatest is None or isinstance(greatest, int | Decimal)
        if self.table is not None and not self.needs_rows and (greatest or 0) >= self.first:
            raise ConfigurationError(
                f"{self.table.name} has a row with the number {greatest}, and clerkmap uses all from "
                f"first_id={self.first} on: pass a greater first_id, "
                "or leave it out if your users are rows of this table"
            )

    def check_sequence(self, sequence: str | None, last: int | None, greatest: int | None) -> None:
        """Refuse a table that makes no numbers, or would make existing ones."""
        assert self.table is not None
        if sequence is None:
            raise ConfigurationError(
                f"{self.table.id} of {self.table.name} must be a serial or an identity column, which numbers new "
                "users: pass first_id= if your application makes the numbers"
            )
        if (last or 0) < (greatest or 0):
            raise ConfigurationError(
                f"the sequence of {self.table.name} is behind its rows: SELECT setval('{sequence}', {greatest})"
            )

    def table_missing(self) -> ConfigurationError:
        """Return the error for a users table that does not exist."""
        assert self.table is not None
        return ConfigurationError(
            f"users_table: the table {self.table.quoted} does not exist. Correct users_table, or run your migrations "
            "(or create_all()) before you open the repository"
        )

    def row_missing(self) -> ConfigurationError:
        """Return the error for a new user without a row in the table."""
        name = "" if self.table is None else self.table.name
        return ConfigurationError(
            f"a new user has no row in {name}: insert a row with the id of change.user in a hook; or pass "
            "first_id=, too, if new users need no row"
        )

    def used_up(self) -> ConfigurationError:
        """Return the error for numbers that have run out."""
        name = "" if self.table is None else self.table.name
        return ConfigurationError(
            f"no number could be made for a new user: the sequence of {name} is behind its rows, or {name} has rows "
            "from first_id on, or a row without a number"
        )
