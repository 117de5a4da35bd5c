"""Numbers for new rows that are not the numbers of rows you have.

With `ids="integer"` a repository makes numbers beside tables that it does not know. Two answers keep a new person from
the data of an existing user: `first_id`, from which on all numbers belong to the repository; or `users_table`, each row
of which is a user, so that a number is taken where that table has no row, and the row is there when the transaction
ends.
"""

import re
from dataclasses import dataclass

from ..errors import ConfigurationError
from .dialects import Dialect

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
GREATEST = 2**62
WANTED = (
    'ids="integer" must not make numbers that rows of yours have: say users_table="customers" if your users are rows '
    "of that table, first_id=1_000_000 if all your rows have smaller numbers for ever, or first_id=1 if there are no "
    "rows yet"
)


@dataclass(frozen=True, slots=True)
class UsersTable:
    """The table whose rows are your users.

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
        """The name as it stands in a statement."""
        return f'"{self.name}"' if self.schema is None else f'"{self.schema}"."{self.name}"'


@dataclass(frozen=True, slots=True)
class Numbers:
    """How numbers are made. Where there is a table and no `first_id`, each user must be a row of the table."""

    first_id: int | None
    table: UsersTable | None

    @classmethod
    def of(cls, ids: object, first_id: int | None, users_table: str | UsersTable | None) -> "Numbers | None":
        """What the options say; None where no numbers are made. `ConfigurationError` if they leave it open."""
        if ids != "integer":
            if first_id is not None or users_table is not None:
                raise ConfigurationError('first_id and users_table belong to ids="integer"')
            return None
        if first_id is None and users_table is None:
            raise ConfigurationError(WANTED)
        if first_id is not None and not (type(first_id) is int and 1 <= first_id <= GREATEST):
            raise ConfigurationError("first_id must be a whole number from 1 on")
        table = users_table if isinstance(users_table, UsersTable | None) else UsersTable(users_table)
        return cls(first_id, table)

    @property
    def first(self) -> int:
        """The smallest number that may be made."""
        return self.first_id or 1

    @property
    def needs_rows(self) -> bool:
        """Whether each user is a row of the table."""
        return self.first_id is None

    def check_greatest(self, greatest: int | None) -> None:
        """Refuse a table whose numbers have reached those of the repository."""
        if self.table is not None and not self.needs_rows and (greatest or 0) >= self.first:
            raise ConfigurationError(
                f"{self.table.name} has a row with the number {greatest}, and first_id={self.first} says that all from "
                "there on belong to clerkmap: choose a greater first_id, or leave it out if your users are rows there"
            )

    def check_sequence(self, sequence: str | None, last: int | None, greatest: int | None) -> None:
        """Refuse a table that makes no numbers, or would make some that it has."""
        assert self.table is not None
        if sequence is None:
            raise ConfigurationError(
                f"{self.table.id} of {self.table.name} must be a serial or an identity column, from whose sequence "
                "numbers for new users are taken; say first_id= where your application makes them"
            )
        if (last or 0) < (greatest or 0):
            raise ConfigurationError(
                f"the sequence of {self.table.name} is behind its rows: SELECT setval('{sequence}', {greatest})"
            )

    def row_missing(self) -> ConfigurationError:
        """A user was made, and the table has no row for it."""
        name = "" if self.table is None else self.table.name
        return ConfigurationError(
            f"a new user has no row in {name}: insert one with the id of change.user in a hook, or say first_id= too "
            "if new users are to have none"
        )

    def used_up(self) -> ConfigurationError:
        """No number could be made."""
        name = "" if self.table is None else self.table.name
        return ConfigurationError(
            f"no number could be made for a new user: the sequence of {name} is behind its rows, or {name} has rows "
            "from first_id on"
        )


class NumberStatements:
    """The statements about the numbers of one table of ours."""

    def __init__(self, dialect: Dialect, ours: str, numbers: Numbers) -> None:
        theirs, first = numbers.table, numbers.first
        column = f'"{theirs.id}"' if theirs is not None else ""
        rows = f"SELECT 1 FROM {theirs.quoted} WHERE {column}" if theirs is not None else ""
        free = ""
        if dialect.next_id and theirs is not None and numbers.needs_rows:
            self.next: str = f"nextval(pg_get_serial_sequence('{theirs.quoted}', '{theirs.id}'))"
            free = f"NOT EXISTS ({rows} = made.n)"
            self.skip: str = ""  # each try takes the next one
            many = f"SELECT {self.next} AS n FROM generate_series(1, ?)"
        elif dialect.next_id:
            own = dialect.next_id.format(ours)
            self.next = f"greatest({own}, {first})"
            self.skip = dialect.skip_ids.format(ours, first - 1)
            many = f"SELECT {own} AS n FROM generate_series(1, ?)"
            free = f"made.n >= {first}"
        else:
            known = [f"coalesce((SELECT max(id) FROM {ours}), 0)", str(first - 1)]
            if theirs is not None and numbers.needs_rows:
                known.append(f"coalesce((SELECT max({column}) FROM {theirs.quoted}), 0)")
            greatest = f"max({', '.join(known)})"
            self.next = f"{greatest} + 1"
            self.skip = ""
            many = (
                "SELECT greatest + number AS n FROM (WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL "
                "SELECT number + 1 FROM numbers WHERE number < ?) SELECT number FROM numbers), "
                f"(SELECT {greatest} AS greatest) WHERE greatest < {GREATEST}"
            )
        if theirs is not None and not numbers.needs_rows:
            free = f"{free}{' AND ' * bool(free)}NOT EXISTS ({rows} >= {first})"
        self.find: str = ""
        self.sequence: str = ""
        if theirs is not None and dialect.next_id:
            self.find = f"SELECT 1 WHERE to_regclass('{theirs.quoted}') IS NOT NULL"
            self.sequence = (
                "SELECT name, pg_sequence_last_value(name::regclass) FROM "
                f"(SELECT pg_get_serial_sequence('{theirs.quoted}', '{theirs.id}') AS name) AS yours"
            )
        elif theirs is not None:
            of_schema = f'"{theirs.schema}".' if theirs.schema is not None else ""
            self.find = f"SELECT 1 FROM {of_schema}sqlite_master WHERE lower(name) = lower('{theirs.name}')"
        self.free: str = free
        self.many: str = f"SELECT n FROM ({many}) AS made" + f" WHERE {free}" * bool(free)
