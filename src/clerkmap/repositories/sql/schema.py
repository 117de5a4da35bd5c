"""The tables and their migrations: one text for SQLite and PostgreSQL.

Users of clerkmap read these tables and reference them with foreign keys, so each column has its own type and a clear
name. A record's columns are its fields, in their order, so that a row becomes a record and back without a mapping.
"""

import logging

from ...core.records import DELETED
from ...errors import ConfigurationError
from .dialects import Dialect, Names
from .listing import current_members, represents_user
from .statements import Work

logger: logging.Logger = logging.getLogger("clerkmap.repositories")
SCHEMA_VERSION = 1

TABLES = (
    *("users", "identities", "organizations", "memberships", "sessions"),
    *("search_terms", "checkpoints", "outbox", "deliveries", "changes"),
)
VIEWS = ("current_users", "current_organizations", "current_members")
# These rows make sense only in the database that wrote them: a copy of the tables omits them.
NOT_COPIED = frozenset({"changes"})

CHANGES_KEPT = 8192  # a process that has missed more of them clears its cache
_TRIM_EVERY = 1024


class Schema:
    """The tables of one repository. `id_type` is the column type of your ids, `new_id` the SQL that makes one."""

    def __init__(self, dialect: Dialect, names: Names, id_type: str, new_id: str = "") -> None:
        self._id_type = id_type
        self._dialect = dialect
        table = names.table("schema")
        self.table: str = table
        self.select_version: str = f"SELECT version, id_type FROM {table}"
        self._create = f"CREATE TABLE IF NOT EXISTS {table} ({_SCHEMA.format(d=dialect)}){dialect.table}"
        self._insert = f"INSERT INTO {table} (version, id_type) VALUES ({dialect.value}, {dialect.value})"
        self._move = f"UPDATE {table} SET version = {dialect.value}"
        # The migration to each version from the one before it. A released version is never changed.
        self._steps: tuple[tuple[str, ...], ...] = (_first_version(dialect, names, id_type, new_id),)

    def is_ready(self, find_table: str) -> Work[bool]:
        """Return whether SQLite's tables are at this version. `find_table` selects a table by its name."""
        found = yield find_table, (self.table,)
        rows = (yield self.select_version, ()) if found else []
        return self.check(rows) == SCHEMA_VERSION

    def migrate(self) -> Work[None]:
        """Upgrade the tables to this version. Run it in a transaction, in one process at a time."""
        yield self._create, ()
        rows = yield self.select_version, ()
        version = self.check(rows)
        for number, step in enumerate(self._steps[version:], version + 1):
            for statement in step:
                yield statement, ()
            logger.info("upgraded the tables to schema version %d", number)
        if not rows:
            yield self._insert, (SCHEMA_VERSION, self._id_type)
        elif version < SCHEMA_VERSION:
            yield self._move, (SCHEMA_VERSION,)

    def check(self, rows: list[tuple[object, ...]]) -> int:
        """Return the version of the tables. Raise `ConfigurationError` if this version cannot work with them."""
        if not rows:
            return 0
        ((version, id_type),) = rows
        assert isinstance(version, int)
        if version > SCHEMA_VERSION:
            raise ConfigurationError(f"the tables have schema version {version} of a newer clerkmap: upgrade clerkmap")
        if id_type != self._id_type:
            raise ConfigurationError(f"the tables hold ids of type {id_type}, but ids= makes {self._id_type}")
        return version

    def ddl(self, since: int) -> str:
        """Return the script that `migrate` runs on tables at a version, 0 for none, to run it by other means."""
        if type(since) is not int or not 0 <= since <= SCHEMA_VERSION:
            raise ConfigurationError(f"since must be a schema version from 0 to {SCHEMA_VERSION}")
        return "".join(f"{statement};\n" for statement in self.statements(since, SCHEMA_VERSION))

    def statements(self, since: int, until: int) -> list[str]:
        """Return the statements that bring the tables from one version, 0 for none, to a later one."""
        statements = [statement.strip() for step in self._steps[since:until] for statement in step]
        if since == 0:
            filled = self._insert.replace(self._dialect.value, str(until), 1)
            statements += [self._create, filled.replace(self._dialect.value, f"'{self._id_type}'")]
        elif since < until:
            statements.append(self._move.replace(self._dialect.value, str(until)))
        return statements


_SCHEMA = "version {d.integer} NOT NULL, id_type {d.key} NOT NULL"


def _first_version(dialect: Dialect, names: Names, id_type: str, new_id: str) -> tuple[str, ...]:
    d, table, index = dialect, names.table, names.prefix
    # Part of the rank already; a separate column makes the table readable.
    updated_at = (
        f"updated_at {d.integer} GENERATED ALWAYS AS "
        f"(nullif(CAST(substr(rank, 3, 15) AS {d.integer}), 0)) {d.generated}"
    )
    return (
        f"""
CREATE TABLE {table("users")} (
    id {id_type} {new_id}PRIMARY KEY NOT NULL,
    role TEXT,
    role_rank {d.key},
    created_at {d.integer} NOT NULL,
    deleted_at {d.integer}
){d.small_table}""",
        f"CREATE INDEX {index}users_role ON {table('users')} (role, id) WHERE role IS NOT NULL",
        f"""
CREATE TABLE {table("identities")} (
    instance {d.key} NOT NULL,
    key {d.key} NOT NULL,
    rank {d.key} NOT NULL,
    clerk_id TEXT,
    email TEXT,
    email_verified {d.boolean} NOT NULL,
    first_name TEXT,
    last_name TEXT,
    username TEXT,
    image_url TEXT,
    external_id TEXT,
    banned {d.boolean} NOT NULL,
    public_metadata TEXT NOT NULL,
    created_at {d.integer},
    user_id {id_type} NOT NULL REFERENCES {table("users")} (id),
    name TEXT GENERATED ALWAYS AS
        (nullif(trim(coalesce(first_name, '') || ' ' || coalesce(last_name, '')), '')) {d.generated},
    {updated_at},
    PRIMARY KEY (instance, key)
){d.table}""",
        f"CREATE INDEX {index}identities_user ON {table('identities')} (user_id)",
        f"""
CREATE TABLE {table("organizations")} (
    id {id_type} {new_id}PRIMARY KEY NOT NULL,
    instance {d.key} NOT NULL,
    key {d.key} NOT NULL,
    rank {d.key} NOT NULL,
    clerk_id TEXT,
    name TEXT,
    slug TEXT,
    image_url TEXT,
    public_metadata TEXT NOT NULL,
    created_at {d.integer},
    {updated_at},
    UNIQUE (instance, key)
){d.table}""",
        f"""
CREATE TABLE {table("memberships")} (
    instance {d.key} NOT NULL,
    key {d.key} NOT NULL,
    rank {d.key} NOT NULL,
    clerk_id TEXT,
    user_key {d.key} NOT NULL,
    organization_key {d.key} NOT NULL,
    role TEXT,
    created_at {d.integer},
    is_current {d.boolean} NOT NULL,
    {updated_at},
    PRIMARY KEY (instance, key)
){d.table}""",
        # And that table has row ids: without them SQLite would read a whole instance by its primary key instead.
        f"CREATE INDEX {index}memberships_ends ON {table('memberships')} (instance, user_key, organization_key)",
        # Unique: a user has one place in an organization, even if your transaction reads an old snapshot.
        f"CREATE UNIQUE INDEX {index}memberships_current ON {table('memberships')}\n"
        "    (instance, organization_key, user_key) WHERE is_current",
        f"""
CREATE TABLE {table("sessions")} (
    instance {d.key} NOT NULL,
    key {d.key} NOT NULL,
    rank {d.key} NOT NULL,
    PRIMARY KEY (instance, key)
){d.small_table}""",
        f"CREATE INDEX {index}sessions_rank ON {table('sessions')} (rank)",
        f"""
CREATE TABLE {table("search_terms")} (
    kind {d.key} NOT NULL,
    term {d.key} NOT NULL,
    instance {d.key} NOT NULL,
    key {d.key} NOT NULL,
    shared {d.integer} NOT NULL,
    PRIMARY KEY (kind, term, instance, key)
){d.small_table}""",
        f"""
CREATE TABLE {table("checkpoints")} (
    name {d.key} PRIMARY KEY NOT NULL,
    text TEXT NOT NULL
){d.table}""",
        f"""
CREATE TABLE {table("outbox")} (
    instance {d.key} NOT NULL,
    kind {d.key} NOT NULL,
    key {d.key} NOT NULL,
    since {d.integer} NOT NULL,
    due_at {d.integer} NOT NULL,
    changes {d.integer} NOT NULL,
    tries {d.integer} NOT NULL,
    error TEXT,
    PRIMARY KEY (instance, kind, key)
){d.small_table}""",
        f"CREATE INDEX {index}outbox_due ON {table('outbox')} (instance, due_at)",
        f"""
CREATE TABLE {table("deliveries")} (
    key {d.key} PRIMARY KEY NOT NULL,
    handled_at {d.integer} NOT NULL
){d.small_table}""",
        f"CREATE INDEX {index}deliveries_handled_at ON {table('deliveries')} (handled_at)",
        *(() if d.notifies else _change_log(names, d)),
        *_views(names, d),
    )


def _views(names: Names, d: Dialect) -> tuple[str, ...]:
    """Return the views of everything that exists now, as the resolver sees it."""
    table = names.table
    return (
        f"""
CREATE VIEW {table("current_users")} AS
SELECT u.id, u.role, i.banned, i.instance, i.clerk_id, i.email, i.email_verified, i.name, i.first_name, i.last_name,
    i.username, i.image_url,
    {d.time.format("u.created_at")} AS created_at
FROM {table("users")} u
JOIN {table("identities")} i ON i.user_id = u.id
WHERE u.deleted_at IS NULL AND {represents_user(names)}""",
        f"""
CREATE VIEW {table("current_organizations")} AS
SELECT o.id, o.instance, o.clerk_id, o.name, o.slug, o.image_url,
    {d.time.format("o.created_at")} AS created_at
FROM {table("organizations")} o
WHERE o.rank < '{DELETED}'""",
        f"""
CREATE VIEW {table("current_members")} AS
SELECT u.id AS user_id, o.id AS organization_id, m.instance, m.role,
    {d.time.format("m.created_at")} AS since,
    i.clerk_id AS clerk_user_id, o.clerk_id AS clerk_organization_id, m.clerk_id AS clerk_membership_id
{current_members(names)}""",
    )


def _change_log(names: Names, dialect: Dialect) -> tuple[str, ...]:
    """Return the table of changed keys and the triggers that fill it, for a database that does not notify by itself.

    Triggers rather than statements of `put`: they also see direct changes by SQL. The ids have no gaps, so a reader
    that finds the last row it has read has missed none.
    """
    log, identities = names.table("changes"), names.table("identities")

    def trigger(name: str, event: str, table: str, body: str) -> str:
        return f"""
CREATE TRIGGER {names.prefix}{name} AFTER {event} ON {names.table(table)} BEGIN
    {body}; END"""

    trimmed, every = f"DELETE FROM {log} WHERE id <= NEW.id - {CHANGES_KEPT}", f"WHEN NEW.id % {_TRIM_EVERY} = 0"
    statements = [
        f"""
CREATE TABLE {log} (
    id {dialect.integer} PRIMARY KEY NOT NULL,
    key {dialect.key} NOT NULL
){dialect.table}""",
        f"INSERT INTO {log} (id, key) VALUES (0, '')",
        trigger("changes_kept", "INSERT", "changes", trimmed).replace(" BEGIN", f" {every} BEGIN"),
        trigger(
            "users_updated",
            "UPDATE",
            "users",
            f"INSERT INTO {log} (key) SELECT key FROM {identities} WHERE user_id = OLD.id",
        ),
    ]
    columns = {"identities": "key", "organizations": "key", "memberships": "user_key", "sessions": "key"}
    for table, column in columns.items():
        events = {
            "inserted": ("INSERT", "NEW"),
            "updated": ("UPDATE", "OLD"),
            "moved": (f"UPDATE OF {column}", "NEW"),
            "deleted": ("DELETE", "OLD"),
        }
        for name, (event, row) in events.items():
            body = f"INSERT INTO {log} (key) VALUES ({row}.{column})"
            statements.append(trigger(f"{table}_{name}", event, table, body))
    return tuple(statements)
