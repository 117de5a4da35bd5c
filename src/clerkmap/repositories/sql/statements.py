"""The statements that the SQL repositories share, for SQLite and PostgreSQL, and the form of work that uses them.

Work is a generator: it yields a statement with its values and receives the rows. Its caller chooses the driver, sync or
async, and holds the transaction around it.

Which record wins is decided by the `WHERE` at the end of each upsert, see `_replace_if_outranked`: the rule of
`core/merging.py` in SQL.
"""

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import fields
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

from ...core.deliveries import FORGOTTEN_AT_ONCE
from ...core.model import Change
from ...core.records import COLUMNS, ClerkMembership, ClerkOrganization, ClerkSession, ClerkUser, Kind, key_of
from ...core.writeback import OutboxEntry
from ...errors import ConfigurationError
from ..options import id_taken, not_inserted
from ..row_numbers import GREATEST, Numbers
from .dialects import Dialect, Names

T = TypeVar("T")
# A statement and its values; or many rows of values, to run the statement for each. The second form is for SQLite,
# where it is many times as fast; it returns one row with the number of rows that were written.
Ask = tuple[str, tuple[Any, ...] | list[tuple[Any, ...]]]
Rows = list[tuple[Any, ...]]
Work = Generator[Ask, Rows, T]
Written = tuple[list[Change], T]  # the changes that were written, and the result for the caller

USER_COLUMNS = COLUMNS["user"]
ORGANIZATION_COLUMNS = COLUMNS["organization"]
MEMBERSHIP_COLUMNS = COLUMNS["membership"]
STORED_MEMBERSHIP_COLUMNS = (*MEMBERSHIP_COLUMNS, "is_current")
SESSION_COLUMNS = ("instance", "key", "rank")
IDENTITY_COLUMNS = (*USER_COLUMNS, "user_id")
OUTBOX_COLUMNS = tuple(field.name for field in fields(OutboxEntry))
TERM_COLUMNS = ("kind", "term", "instance", "key", "shared")
NEW_USER_COLUMNS = ("id", "role", "role_rank", "created_at", "deleted_at")
NEW_ORGANIZATION_COLUMNS = (*ORGANIZATION_COLUMNS, "id")

# A record as a row.
user_row: Callable[[ClerkUser], tuple[Any, ...]] = attrgetter(*USER_COLUMNS)
organization_row: Callable[[ClerkOrganization], tuple[Any, ...]] = attrgetter(*ORGANIZATION_COLUMNS)
membership_row: Callable[[ClerkMembership], tuple[Any, ...]] = attrgetter(*MEMBERSHIP_COLUMNS)
session_row: Callable[[ClerkSession], tuple[Any, ...]] = attrgetter(*SESSION_COLUMNS)
_TYPES = {
    **dict.fromkeys(("email_verified", "banned", "is_current"), "boolean"),
    **dict.fromkeys(("created_at", "deleted_at", "handled_at", "since", "due_at", "changes", "tries"), "bigint"),
    "shared": "bigint",
}


class Statements:
    """Every statement, with the names of the tables filled in.

    A statement that reads in order to write locks the rows, if writers do not wait in line anyway.
    """

    def __init__(self, dialect: Dialect, names: Names, numbers: Numbers | None, *, id_type: str = "") -> None:
        self.dialect: Dialect = dialect
        self.names: Names = names
        self.id_type: str = id_type
        users, identities = names.table("users"), names.table("identities")
        self.origin: str = dialect.origin.format(users)
        organizations, memberships = names.table("organizations"), names.table("memberships")
        sessions, locked = names.table("sessions"), dialect.locked
        # Ids are text or numbers in Python, even if the database has a better type for them.
        id, new_user, new_organization = ("id::text" if id_type == "uuid" else "id"), "?", "?"
        self.skip_user_ids: str = ""
        self.skip_organization_ids: str = ""
        self.next_user_ids: str = ""
        self.next_organization_ids: str = ""
        of_users = None
        if numbers is not None:
            of_users = NumberStatements(dialect, users, numbers)
            of_organizations = NumberStatements(dialect, organizations, Numbers(numbers.first, None))
            new_user, new_organization = f"coalesce(?, {of_users.next})", f"coalesce(?, {of_organizations.next})"
            # Linked or copied numbers are used up, although the database has not counted them.
            self.skip_user_ids, self.skip_organization_ids = of_users.skip, of_organizations.skip
            self.next_user_ids, self.next_organization_ids = of_users.many, of_organizations.many
        self.insert_user: str = (
            f"INSERT INTO {users} ({', '.join(NEW_USER_COLUMNS)}) VALUES ({new_user}, ?, ?, ?, ?) "
            f"ON CONFLICT (id) DO NOTHING RETURNING {id}"
        )
        theirs = None if numbers is None else numbers.table
        # The statements if SQLite counts the numbers of your table. It may begin to while the process runs.
        self.find_counters: str = ""
        self.insert_user_counted: str = ""
        self.next_user_ids_counted: str = ""
        self.find_your_table: str = ""
        self.select_your_sequence: str = ""
        self.select_greatest_of_yours: str = ""
        self.select_row_of_yours: str = ""
        if theirs is not None and of_users is not None:
            insert_user = (
                "WITH made(n) AS (SELECT coalesce(CAST(? AS bigint), {next})) "
                f"INSERT INTO {users} ({', '.join(NEW_USER_COLUMNS)}) SELECT made.n, CAST(? AS text), CAST(? AS text), "
                f"CAST(? AS bigint), CAST(? AS bigint) FROM made WHERE {of_users.free or 'true'} "
                f"ON CONFLICT (id) DO NOTHING RETURNING {id}"
            )
            self.insert_user = insert_user.replace("{next}", of_users.next)
            if numbers is not None and numbers.needs_rows and not dialect.next_id:
                counted = NumberStatements(dialect, users, numbers, counted=True)
                self.find_counters = theirs.find_counters
                self.insert_user_counted = insert_user.replace("{next}", counted.next)
                self.next_user_ids_counted = counted.many
            self.find_your_table, self.select_your_sequence = of_users.find, of_users.sequence
            self.select_greatest_of_yours = f'SELECT max("{theirs.id}") FROM {theirs.quoted}'
            self.select_row_of_yours = f'SELECT 1 FROM {theirs.quoted} WHERE "{theirs.id}" = ?'
        self.insert_user_if_new: str = (
            f"INSERT INTO {users} (id, created_at) VALUES (?, ?) ON CONFLICT (id) DO NOTHING RETURNING id"
        )
        self.delete_user: str = f"DELETE FROM {users} WHERE id = ?"
        self.set_deleted_at: str = f"UPDATE {users} SET deleted_at = ? WHERE id = ?"
        # An empty rank is the lowest: it marks a role that your application has set.
        self.set_role: str = f"UPDATE {users} SET role = ?, role_rank = '' WHERE id = ?"
        # The first role that Clerk named, in any order of arrival. If Clerk named none, a role from your SQL stays.
        self.give_role: str = (
            f"UPDATE {users} SET role = ?, role_rank = ? "
            "WHERE id = ? AND (role_rank > ? OR role_rank IS NULL AND role IS NULL) RETURNING id"
        )
        self.move_identity: str = f"UPDATE {identities} SET user_id = ? WHERE instance = ? AND key = ?"
        self.insert_identity: str = _insert(identities, IDENTITY_COLUMNS)
        self.upsert_identity: str = _upsert(identities, IDENTITY_COLUMNS)
        self.insert_organization: str = _insert(organizations, (*ORGANIZATION_COLUMNS, "id"), new_organization, id, "")
        self.upsert_organization: str = _upsert(organizations, (*ORGANIZATION_COLUMNS, "id"))
        self.upsert_membership: str = _upsert(memberships, STORED_MEMBERSHIP_COLUMNS)
        these = f"WHERE (instance, key) IN ({dialect.pairs})"
        self.unset_current: str = f"UPDATE {memberships} SET is_current = {dialect.false} {these}"
        self.set_current: str = f"UPDATE {memberships} SET is_current = {dialect.true} {these}"
        self.insert_session: str = _insert(sessions, SESSION_COLUMNS)
        self.upsert_session: str = _upsert(sessions, SESSION_COLUMNS)
        self.forget_sessions: str = f"DELETE FROM {sessions} WHERE rank < ?"

        user = f"{_listed('i', USER_COLUMNS)}, u.{id}, u.role, u.created_at, u.deleted_at"
        # Every transaction locks in this order: first the user, then the identity.
        tied = f"FROM {users} u JOIN {identities} i ON u.id = i.user_id"
        organization = f"{_listed('o', ORGANIZATION_COLUMNS)}, o.{id}"
        membership = _listed("m", MEMBERSHIP_COLUMNS)
        over = f"EXISTS (SELECT 1 FROM {sessions} s WHERE s.instance = i.instance AND s.key = ? AND s.rank >= ?)"
        self.select_standing: str = f"SELECT {user}, {over} {tied} WHERE i.instance = ? AND i.key = ?"
        self.select_standing_in: str = (
            f"SELECT {user}, {over}, {organization}, {membership} {tied} "
            f"LEFT JOIN {organizations} o ON o.instance = i.instance AND o.key = ? "
            f"LEFT JOIN {memberships} m ON m.instance = i.instance AND m.user_key = i.key AND m.organization_key = ? "
            "WHERE i.instance = ? AND i.key = ?"
        )
        self.user_columns: str = user
        self.organization_columns: str = organization
        self.membership_columns: str = membership
        self.select_user: str = f"SELECT {user} {tied} WHERE i.instance = ? AND i.key = ?"
        self.select_user_to_write: str = self.select_user + locked
        self.select_identities: str = f"SELECT {user} {tied} WHERE i.user_id = ?"
        self.select_id_to_write: str = f"SELECT id, deleted_at FROM {users} WHERE id = ?{locked}"
        self.select_organization: str = (
            f"SELECT {organization} FROM {organizations} o WHERE o.instance = ? AND o.key = ?"
        )
        self.select_organization_to_write: str = self.select_organization + locked
        self.select_organization_by_id: str = f"SELECT {organization} FROM {organizations} o WHERE o.id = ?"
        self.select_all_memberships: str = (
            f"SELECT {membership} FROM {memberships} m WHERE m.instance = ? AND m.user_key = ?"
        )
        self.select_memberships: str = f"{self.select_all_memberships} AND m.organization_key = ?"
        self._add_lists(dialect, names)
        # From the prefix alone: one process may name the schema, and another may find it by its `search_path`.
        space = int(key_of(names.prefix)[:7], 16)
        self.lock_slots: str | None = None if dialect.lock is None else dialect.lock.format(space)
        self._add_many_rows(dialect, names, id_type, id)
        self._add_outbox(names)
        deliveries = names.table("deliveries")
        # A second writer of the same key waits for the first one, and then finds the key.
        self.insert_delivery: str = (
            f"INSERT INTO {deliveries} (key, handled_at) VALUES (?, ?) ON CONFLICT (key) DO NOTHING RETURNING key"
        )
        self.forget_deliveries: str = (
            f"DELETE FROM {deliveries} WHERE key IN (SELECT key FROM {deliveries} WHERE handled_at < ? "
            f"ORDER BY handled_at LIMIT {FORGOTTEN_AT_ONCE}{dialect.unlocked})"
        )
        self.select_gone: str = f"SELECT key FROM {identities} WHERE rank >= ? AND rank < ?"
        self.purge_identities: str = f"DELETE FROM {identities} WHERE rank >= ? AND rank < ? RETURNING key"
        self.select_left: str = (
            f"SELECT DISTINCT instance, user_key, organization_key FROM {memberships} WHERE rank >= ? AND rank < ?"
        )
        self.purge_memberships: str = (
            f"DELETE FROM {memberships} WHERE instance = ? AND user_key = ? AND organization_key = ? RETURNING key"
        )
        for name, statement in list(vars(self).items()):
            if isinstance(statement, str) and name != "id_type":
                setattr(self, name, statement.replace("?", dialect.value))

    def _add_many_rows(self, dialect: Dialect, names: Names, id_type: str, id: str) -> None:
        """Add statements for many rows at once, made of those that find one row by its instance and key."""
        self.select_users: str = self.select_user.removesuffix("= ?") + dialect.among
        self.select_users_to_write: str = f"{self.select_users} ORDER BY i.instance, i.key{dialect.locked}"
        self.select_organizations: str = self.select_organization.removesuffix("= ?") + dialect.among
        self.select_organizations_to_write: str = (
            f"{self.select_organizations} ORDER BY o.instance, o.key{dialect.locked}"
        )
        among_ends = f"(m.user_key, m.organization_key) IN ({dialect.pairs})"
        self.select_memberships_between: str = self.select_all_memberships.replace("m.user_key = ?", among_ends)
        # Locked in one order. Without a lock, SQLite would read the whole instance in that order.
        ordered = dialect.locked and f" ORDER BY m.key{dialect.locked}"
        # All of a user's, with the flag: to find the current ones, PostgreSQL without statistics would read the index
        # of all current memberships.
        of_users = self.select_all_memberships.replace(" FROM ", ", m.is_current FROM ", 1).removesuffix("= ?")
        self.select_memberships_of_users_to_write: str = f"{of_users}{dialect.among}{ordered}"
        in_them = f"{self.select_all_memberships.removesuffix('m.user_key = ?')}m.organization_key {dialect.among}"
        self.select_current_in_organizations_to_write: str = f"{in_them} AND m.is_current{ordered}"

        def insert(what: str, columns: Sequence[str], ending: str, returned: str = "instance, key") -> ManyRows:
            failed = id_taken if "id" in columns else partial(not_inserted, what)
            return ManyRows(dialect, names.table(what), columns, ending, returned, id_type, failed)

        def upsert(what: str, columns: Sequence[str]) -> ManyRows:
            table, failed = names.table(what), partial(not_inserted, what)
            return ManyRows(
                dialect, table, columns, _replace_if_outranked(table, columns), "instance, key", id_type, failed
            )

        self.insert_users: ManyRows = insert("users", NEW_USER_COLUMNS, "ON CONFLICT (id) DO NOTHING", id)
        known = "ON CONFLICT (instance, key) DO NOTHING"
        self.insert_identities: ManyRows = insert("identities", IDENTITY_COLUMNS, known)
        self.insert_organizations: ManyRows = insert(
            "organizations", NEW_ORGANIZATION_COLUMNS, "ON CONFLICT DO NOTHING"
        )
        self.upsert_identities: ManyRows = upsert("identities", IDENTITY_COLUMNS)
        self.upsert_organizations: ManyRows = upsert("organizations", NEW_ORGANIZATION_COLUMNS)
        self.upsert_memberships: ManyRows = upsert("memberships", STORED_MEMBERSHIP_COLUMNS)

    def _add_lists(self, dialect: Dialect, names: Names) -> None:
        """Add statements about all rows: a page in the order of the primary key, or a scan."""
        tables: dict[Kind, str] = {
            "user": names.table("identities"),
            "organization": names.table("organizations"),
            "membership": names.table("memberships"),
        }
        self.select_page: dict[Kind, str] = {}
        self.select_record: dict[Kind, str] = {}
        self.select_ranks: dict[Kind, str] = {}
        self.count_records: dict[Kind, str] = {}
        for kind, table in tables.items():
            said = f"SELECT {', '.join(COLUMNS[kind])} FROM {table} WHERE (instance, key)"
            parts_of_rank = "substr(rank, 1, 1), count(*), max(substr(rank, 3, 15)), max(substr(rank, 19, 15))"
            counted = f"SELECT {parts_of_rank} FROM {table} WHERE instance = ? GROUP BY substr(rank, 1, 1)"
            # The caller drops rows of later instances. With `instance = ?`, PostgreSQL without statistics would expect
            # few rows in the rest of the instance, and sort it for each page.
            self.select_page[kind] = f"{said} > (?, ?) ORDER BY instance, key LIMIT ?".replace("?", dialect.value)
            self.select_record[kind] = f"{said} = (?, ?)".replace("?", dialect.value)
            ranks = f"SELECT key, rank FROM {table} WHERE instance = ? AND key {dialect.among}"
            self.select_ranks[kind] = ranks.replace("?", dialect.value)
            self.count_records[kind] = counted.replace("?", dialect.value)
        checkpoints = names.table("checkpoints")
        self.select_checkpoint: str = f"SELECT text FROM {checkpoints} WHERE name = ?"
        self.delete_checkpoint: str = f"DELETE FROM {checkpoints} WHERE name = ?"
        self.insert_checkpoint: str = (
            f"INSERT INTO {checkpoints} (name, text) VALUES (?, ?) ON CONFLICT (name) DO NOTHING RETURNING name"
        )
        self.update_checkpoint: str = f"UPDATE {checkpoints} SET text = ? WHERE name = ? AND text = ? RETURNING name"
        self.delete_this_checkpoint: str = f"DELETE FROM {checkpoints} WHERE name = ? AND text = ? RETURNING name"
        self.upsert_checkpoint: str = (
            f"INSERT INTO {checkpoints} (name, text) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET text = excluded.text"
        )

    def _add_outbox(self, names: Names) -> None:
        """Add statements about the outbox: insert an entry, read it, and update it if it is unchanged since."""
        outbox, columns = names.table("outbox"), ", ".join(OUTBOX_COLUMNS)
        this = "instance = ? AND kind = ? AND key = ?"
        as_it_was = f"{this} AND due_at = ? AND changes = ? AND tries = ? RETURNING key"
        insert = f"INSERT INTO {outbox} ({columns}) VALUES ({', '.join('?' * len(OUTBOX_COLUMNS))}) ON CONFLICT"
        self.upsert_outbox_entry: str = f"{insert} (instance, kind, key) DO UPDATE SET changes = {outbox}.changes + 1"
        self.insert_outbox_entry: str = f"{insert} (instance, kind, key) DO NOTHING RETURNING key"
        self.update_outbox_entry: str = f"UPDATE {outbox} SET due_at = ?, tries = ?, error = ? WHERE {as_it_was}"
        self.delete_outbox_entry: str = f"DELETE FROM {outbox} WHERE {as_it_was}"
        self.select_outbox_entry: str = f"SELECT {columns} FROM {outbox} WHERE {this}"
        self.select_outbox: str = (
            f"SELECT {columns} FROM {outbox} WHERE instance = ? AND due_at <= ? ORDER BY due_at, kind, key LIMIT ?"
        )


class ManyRows:
    """A statement that writes many rows at once. A row has its values in the order of the columns.

    On a server each statement is a round trip. There the rows travel as one JSON text, and the written rows come back.
    `COPY` would need a temporary table. On a file there is no round trip: SQLite runs the statement once for each row,
    in a third of the time, and returns the number of written rows.
    """

    def __init__(
        self,
        dialect: Dialect,
        table: str,
        columns: Sequence[str],
        ending: str,
        returned: str,
        id_type: str,
        failed: Callable[[], ConfigurationError],
    ) -> None:
        self._columns = columns
        self._failed = failed
        self._as_json = dialect.rows != ""
        listed = ", ".join(columns)
        if self._as_json:
            types = {"id": id_type, "user_id": id_type} | _TYPES
            rows = dialect.rows.format(", ".join(f"{column} {types.get(column, 'text')}" for column in columns))
            statement = f"INSERT INTO {table} ({listed}) SELECT {listed} FROM {rows} {ending}"
            statement += f" RETURNING {returned}" if returned else ""
        else:
            statement = f"INSERT INTO {table} ({listed}) VALUES ({', '.join('?' * len(columns))}) {ending}"
        self._statement = statement.replace("?", dialect.value)

    def of(self, rows: list[tuple[Any, ...]], also: tuple[str, tuple[Any, ...]] | None = None) -> Work[Rows]:
        """Write the rows. Return those that were written, with the returned columns first, if there are any such.

        `also` is a statement about other rows to run before. To a server it travels in the same round trip.
        """
        if also is not None and not (rows and self._as_json):
            yield also
        if not rows:
            return []
        if self._as_json:
            named = [dict(zip(self._columns, row, strict=True)) for row in rows]
            values = (json.dumps(named, ensure_ascii=False),)
            if also is None:
                return (yield self._statement, values)
            return (yield f"WITH other AS ({also[0]}) {self._statement}", (*also[1], *values))
        ((written,),) = yield self._statement, rows
        if written != len(rows):  # no other writer is active meanwhile
            raise self._failed()
        return rows


class NumberStatements:
    """The statements about the numbers of one clerkmap table. `counted` are those for an SQLite database with counters,
    which a statement cannot name if there are none."""

    def __init__(self, dialect: Dialect, ours: str, numbers: Numbers, *, counted: bool = False) -> None:
        theirs, first = numbers.table, numbers.first
        column = f'"{theirs.id}"' if theirs is not None else ""
        rows = f"SELECT 1 FROM {theirs.quoted} WHERE {column}" if theirs is not None else ""
        free = ""
        if dialect.next_id and theirs is not None and numbers.needs_rows:
            self.next: str = f"nextval(pg_get_serial_sequence('{theirs.quoted}', '{theirs.id}'))"
            free = f"NOT EXISTS ({rows} = made.n)"
            self.skip: str = ""  # each attempt takes the next one
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
                last = f"(SELECT max({column}) FROM {theirs.quoted})"
                known.append(f"coalesce({last}, 0)")
                free = f"NOT EXISTS ({rows} = made.n) AND typeof({last}) IN ('integer', 'null')"  # text sorts last
                if counted:
                    known.append(f"coalesce(({theirs.select_counter}), 0)")
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
            self.find = theirs.select_columns
        self.free: str = free
        self.many: str = f"SELECT n FROM ({many}) AS made" + f" WHERE {free}" * bool(free)


def _listed(alias: str, columns: Sequence[str]) -> str:
    return ", ".join(f"{alias}.{column}" for column in columns)


def _insert(
    table: str, columns: Sequence[str], last: str = "?", returned: str = "key", there: str = " (instance, key)"
) -> str:
    """Insert a missing row. It returns the row if, and only if, it was inserted. A conflict with another unique index,
    such as one of your indexes, is an error. The organizations table has two, so its statement names none."""
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({'?, ' * (len(columns) - 1)}{last}) "
        f"ON CONFLICT{there} DO NOTHING RETURNING {returned}"
    )


def _upsert(table: str, columns: Sequence[str]) -> str:
    """Upsert Clerk's data. It returns the row if, and only if, the row was written."""
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
        f"{_replace_if_outranked(table, columns)} RETURNING key"
    )


def _replace_if_outranked(table: str, columns: Sequence[str]) -> str:
    """Replace Clerk's stored data instead of inserting, if the new data outranks it. Your columns stay."""
    kept = ("instance", "key", "id", "user_id")
    replaced = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in kept)
    return f"ON CONFLICT (instance, key) DO UPDATE SET {replaced} WHERE excluded.rank > {table}.rank"
