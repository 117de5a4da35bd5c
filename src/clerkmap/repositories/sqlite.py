"""Users, organizations and memberships in an SQLite file: for one machine, any number of threads and processes.

Each `put` is one transaction with one conditional upsert a record. What is committed is on the disk when `put` returns.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

from ..core.model import Change, Id, Membership, Organization, Standing, User
from ..core.records import (
    SIGHTED,
    AnyRecord,
    ClerkMembership,
    ClerkOrganization,
    ClerkUser,
    deleted_at,
    fold,
    key_of,
    speaks_first,
)
from ..errors import ConfigurationError, LinkRefused
from ..repository import Ids, Linker, Watcher, Watchers
from .connections import Connections, FileConnections, SharedConnection, check_version, plain_cursor
from .ids import check_id, check_ids, id_taken, is_id, make_id
from .sql import (
    ORGANIZATION_COLUMNS,
    SCHEMA_VERSION,
    USER_COLUMNS,
    Statements,
    membership_row,
    organization_row,
    user_row,
)

logger: logging.Logger = logging.getLogger("clerkmap.repositories")
_EMAIL_VERIFIED, _BANNED = USER_COLUMNS.index("email_verified"), USER_COLUMNS.index("banned")


class SqliteRepository:
    """Keeps everything in SQLite.

    `SqliteRepository.open("app.db")` handles its own connections. `SqliteRepository(connection)` uses yours, and takes
    part in your transaction if one is open.

    Args:
        connection: A connection of yours.
        prefix: What the tables' names begin with.
        ids: How your ids are made: `uuid7`, `integer`, `clerk` (Clerk's own), or a function of Clerk's record.
        linker: Asked, at the first sight of a person, for the id of a user you already have.
        clock: The time, in seconds since 1970, for `created_at`.
    """

    def __init__(
        self,
        connection: sqlite3.Connection | Connections,
        *,
        prefix: str = "clerkmap_",
        ids: Ids = "uuid7",
        linker: Linker | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_version()
        if isinstance(connection, sqlite3.Connection):
            connection = SharedConnection(connection, owned=False)
        self._connections = connection
        self._ids: Ids = check_ids(ids)
        self._linker = linker
        self._clock = clock
        self._id_type = "ANY" if callable(ids) else "INTEGER" if ids == "integer" else "TEXT"
        self._sql = Statements(prefix, self._id_type)
        self._watchers = Watchers()
        self.poll_every: float | None = connection.poll_every
        self._migrate()

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        durable: bool = True,
        timeout: float = 5,
        prefix: str = "clerkmap_",
        ids: Ids = "uuid7",
        linker: Linker | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Open a file, making it if need be, or `:memory:`. The options of the class are taken here too.

        Args:
            path: The file.
            durable: Whether a commit must have reached the disk. If not, a power cut may take the last ones back.
            timeout: Seconds to wait for another process that is writing.
        """
        connections: Connections
        if str(path) == ":memory:":
            connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            connections = SharedConnection(connection, owned=True)
        else:
            connections = FileConnections(Path(path), durable=durable, timeout=timeout)
        try:
            return cls(connections, prefix=prefix, ids=ids, linker=linker, clock=clock)
        except BaseException:
            connections.close()
            raise

    def put(self, records: Iterable[AnyRecord]) -> list[Change]:
        ordered = fold(records)
        with self._connections.writing() as connection:
            cursor = plain_cursor(connection)
            written = [change for record in ordered if (change := self._put(cursor, record)) is not None]
        self._watchers.tell(written)
        return [change for change in written if change.altered]

    def find(self, instance: str, clerk_user_id: str, clerk_organization_id: str | None = None) -> Standing | None:
        user_key = key_of(clerk_user_id)
        with self._connections.reading() as connection:
            cursor = plain_cursor(connection)
            settled = self._connections.is_settled()
            user = self._user_at(cursor, instance, user_key)
            if user is None or clerk_organization_id is None:
                return None if user is None else Standing(user, settled=settled)
            organization_key = key_of(clerk_organization_id)
            organization = self._organization_at(cursor, instance, organization_key)
            rows = cursor.execute(self._sql.select_memberships, (instance, user_key, organization_key)).fetchall()
            return Standing(user, organization, tuple(ClerkMembership(*row) for row in sorted(rows)), settled)

    def user(self, id: Id) -> User | None:
        if not is_id(id):
            return None
        with self._connections.reading() as connection:
            users = self._identities_of(plain_cursor(connection), id)
        users = [user for user in users if user.id == id]  # SQLite finds the user 7 by "7", too
        return max(users, key=lambda user: speaks_first(user.clerk), default=None)

    def organization(self, id: Id) -> Organization | None:
        if not is_id(id):
            return None
        with self._connections.reading() as connection:
            row = plain_cursor(connection).execute(self._sql.select_organization_by_id, (id,)).fetchone()
        return None if row is None or row[-1] != id else _organization(row)

    def link(self, instance: str, clerk_id: str, id: Id) -> User:
        check_id(self._ids, id)
        with self._connections.writing() as connection:
            cursor = plain_cursor(connection)
            before = self._user_at(cursor, instance, key_of(clerk_id))
            if before is None:
                sighted = ClerkUser.make(SIGHTED, instance, clerk_id, observed_at=0)
                cursor.execute(self._sql.insert_user_if_new, (id, self._now()))
                cursor.execute(self._sql.upsert_identity, (*user_row(sighted), id))
                self._settle_deletion(cursor, id)
            elif before.id != id:
                raise LinkRefused
            user = self._user_at(cursor, instance, key_of(clerk_id))
        assert user is not None
        self._watchers.tell([Change(before, user)])
        return user

    def watch(self, watcher: Watcher) -> None:
        self._watchers.add(watcher)

    def poll(self) -> None:
        self._connections.poll(lambda: self._watchers.tell(None))

    def close(self) -> None:
        self._connections.close()

    def _put(self, cursor: sqlite3.Cursor, record: AnyRecord) -> Change | None:
        if isinstance(record, ClerkUser):
            return self._put_user(cursor, record)
        if isinstance(record, ClerkOrganization):
            return self._put_organization(cursor, record)
        return self._put_membership(cursor, record)

    def _put_user(self, cursor: sqlite3.Cursor, record: ClerkUser) -> Change | None:
        before = self._user_at(cursor, record.instance, record.key)
        id = self._first_sight(cursor, record) if before is None else before.id
        if cursor.execute(self._sql.upsert_identity, (*user_row(record), id)).rowcount == 0:
            return None
        if record.is_deleted or before is None:
            self._settle_deletion(cursor, id)
        after = self._user_at(cursor, record.instance, record.key)
        assert after is not None
        return Change(before, after)

    def _first_sight(self, cursor: sqlite3.Cursor, record: ClerkUser) -> Id:
        linked = self._linker(record) if self._linker is not None else None
        if linked is not None:
            cursor.execute(self._sql.insert_user_if_new, (check_id(self._ids, linked), self._now()))
            return linked
        id = make_id(self._ids, record)
        _insert(cursor, self._sql.insert_user, (id, self._now()))
        return _made_id(cursor) if id is None else id

    def _settle_deletion(self, cursor: sqlite3.Cursor, id: Id) -> None:
        gone = deleted_at(user.clerk for user in self._identities_of(cursor, id))
        cursor.execute(self._sql.set_deleted_at, (gone, id))

    def _put_organization(self, cursor: sqlite3.Cursor, record: ClerkOrganization) -> Change | None:
        before = self._organization_at(cursor, record.instance, record.key)
        id = make_id(self._ids, record) if before is None else before.id
        if _insert(cursor, self._sql.upsert_organization, (*organization_row(record), id)).rowcount == 0:
            return None
        return Change(before, Organization(_made_id(cursor) if id is None else id, record))

    def _put_membership(self, cursor: sqlite3.Cursor, record: ClerkMembership) -> Change | None:
        row = cursor.execute(self._sql.select_membership, (record.instance, record.key)).fetchone()
        if cursor.execute(self._sql.upsert_membership, membership_row(record)).rowcount == 0:
            return None
        return Change(None if row is None else Membership(ClerkMembership(*row)), Membership(record))

    def _user_at(self, cursor: sqlite3.Cursor, instance: str, key: str) -> User | None:
        row = cursor.execute(self._sql.select_user, (instance, key)).fetchone()
        return None if row is None else _user(row)

    def _identities_of(self, cursor: sqlite3.Cursor, id: Id) -> list[User]:
        return [_user(row) for row in cursor.execute(self._sql.select_identities, (id,)).fetchall()]

    def _organization_at(self, cursor: sqlite3.Cursor, instance: str, key: str) -> Organization | None:
        row = cursor.execute(self._sql.select_organization, (instance, key)).fetchone()
        return None if row is None else _organization(row)

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _migrate(self) -> None:
        """Bring the tables to this version's state. However many processes start at once, one does it."""
        with self._connections.writing() as connection:
            cursor = plain_cursor(connection)
            cursor.execute(self._sql.create_schema)
            row = cursor.execute(self._sql.select_schema).fetchone()
            if row is None:
                for statement in self._sql.schema:
                    cursor.execute(statement)
                cursor.execute(self._sql.insert_schema, (SCHEMA_VERSION, self._id_type))
                logger.info("made the tables, at schema version %d", SCHEMA_VERSION)
                return
        version, id_type = row
        if version > SCHEMA_VERSION:
            raise ConfigurationError(f"the tables are at schema version {version}: a newer clerkmap made them; upgrade")
        if id_type != self._id_type:
            raise ConfigurationError(f"the tables hold ids of type {id_type}, and ids= asks for {self._id_type}")


def _insert(cursor: sqlite3.Cursor, statement: str, row: tuple[object, ...]) -> sqlite3.Cursor:
    try:
        return cursor.execute(statement, row)
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorname in ("SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE"):
            raise id_taken() from None
        raise


def _made_id(cursor: sqlite3.Cursor) -> int:
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _user(row: tuple[Any, ...]) -> User:
    said = list(row[: len(USER_COLUMNS)])
    said[_EMAIL_VERIFIED] = bool(said[_EMAIL_VERIFIED])
    said[_BANNED] = bool(said[_BANNED])
    id, role, created_at, deleted_at = row[len(USER_COLUMNS) :]
    return User(id, role, created_at, deleted_at, ClerkUser(*said))


def _organization(row: tuple[Any, ...]) -> Organization:
    return Organization(row[-1], ClerkOrganization(*row[: len(ORGANIZATION_COLUMNS)]))
