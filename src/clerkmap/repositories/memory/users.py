"""New users and their identities in the memory repository. `sql/users.py` does the same in SQL."""

from collections.abc import Collection, Iterable

from ...core.merging import deletion_time
from ...core.model import Change, Id, User
from ...core.records import ClerkOrganization, ClerkUser, Place
from ..options import Configuration, id_taken
from ..row_numbers import Numbers, UsersTable
from .reading import MemoryReading
from .tables import MemoryTables, UserRow


class MemoryUsers:
    """The rows of your users, and the identities that are tied to them."""

    def __init__(self, tables: MemoryTables, configuration: Configuration, reading: MemoryReading) -> None:
        self._tables = tables
        self._configuration = configuration
        self._reading = reading
        self._last_ids: dict[str, int] = {}

    def make_row(self, id: Id, role_rank: str | None = None) -> None:
        """Make the row of a user, if there is none."""
        if id not in self._tables.users:
            self._tables.set(self._tables.users, id, UserRow(None, role_rank, self._configuration.now(), None))

    def tie(self, place: Place, record: ClerkUser, id: Id) -> User:
        """Tie an identity to a user, beside the user's other identities, or replace its record."""
        self._tables.set(self._tables.identities, place, (id, record))
        places = self._tables.users[id].places
        self.set_places(id, places if place in places else tuple(sorted((*places, place))))
        return self._reading.tied_at(place)

    def set_places(self, id: Id, places: tuple[Place, ...]) -> None:
        """Set the identities of a user. The user is deleted with the last of them."""
        gone = deletion_time(self._tables.identities[place][1] for place in places)
        self._tables.replace_user(id, places=places, deleted_at=gone)

    def give_role(self, id: Id, role: str, rank: str) -> bool:
        """Give a user the first role that Clerk named, unless the user has a role from an older record or from you. The
        empty rank of yours is lower than any."""
        row = self._tables.users[id]
        if row.role_rank is not None and row.role_rank <= rank:
            return False
        self._tables.replace_user(id, role=role, role_rank=rank)
        return True

    def check_free(self, record: ClerkUser, id: Id) -> None:
        """Raise `UserTaken` if a linker or a link must not give this user to a new identity."""
        row = self._tables.users.get(id)
        if row is not None:
            self._configuration.check_free(record, self._reading.identities_of(id), row.deleted_at)

    def check_rows(self, written: Iterable[Change]) -> None:
        """Check at the end of a transaction that each user it made is a row of your users table."""
        for id in self._configuration.ids_needing_rows(written):
            if not self.is_yours(id):
                raise self._configuration.row_missing()

    def is_yours(self, id: Id) -> bool:
        """Return whether an id is a row of your users table, if the repository knows that table."""
        numbers = self._configuration.numbers
        if numbers is None or numbers.table is None:
            return True
        statement = f'SELECT 1 FROM {numbers.table.quoted} WHERE "{numbers.table.id}" = ?'
        return bool(self._tables.database.execute(statement, (id,)).fetchall())

    def new_id(self, kind: str, record: ClerkUser | ClerkOrganization, taken: Collection[Id]) -> Id:
        """Return an id for a new row, or raise `ConfigurationError` if your function made one that is taken."""
        id = self._configuration.make_id(record)
        if id is None:
            id = self._next_number(kind, taken)
        if id in taken:
            raise id_taken()
        return id

    def _next_number(self, kind: str, taken: Collection[Id]) -> int:
        numbers = self._configuration.numbers
        assert numbers is not None
        last = max(self._last_ids.get(kind, 0), numbers.first - 1)
        if kind == "user" and numbers.table is not None:
            last = max(last, self._greatest_of_yours(numbers, numbers.table))
        number = last + 1
        while number in taken:  # by a link
            number += 1
        self._last_ids[kind] = number
        return number

    def _greatest_of_yours(self, numbers: Numbers, table: UsersTable) -> int:
        """Return the greatest number that a row of your users table has or, where SQLite counts, has had."""
        execute = self._tables.database.execute
        numbers.check_column(execute(table.select_columns))
        ((greatest,),) = execute(f'SELECT max("{table.id}") FROM {table.quoted}').fetchall()
        numbers.check_greatest(greatest)
        counted = None
        if numbers.needs_rows and execute(table.find_counters).fetchall():
            ((counted,),) = execute(table.select_counter).fetchall()
        return max(greatest or 0, counted or 0)
