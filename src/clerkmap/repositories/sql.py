"""The tables and statements that the SQL repositories share.

People read these tables and point foreign keys at them, so each column has its own type and an honest name. A record's
columns are its fields, in their order; that is what lets a row become a record and back without a mapping between.

The whole merge is the `WHERE` at the end of each upsert. There is no other place where one record is held against
another.
"""

import re
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from ..core.records import COLUMNS, ClerkMembership, ClerkOrganization, ClerkSession, ClerkUser
from ..errors import ConfigurationError

SCHEMA_VERSION = 1
_PREFIX = re.compile(r"[a-z_][a-z0-9_]{0,39}")

USER_COLUMNS = COLUMNS["user"]
ORGANIZATION_COLUMNS = COLUMNS["organization"]
MEMBERSHIP_COLUMNS = COLUMNS["membership"]
SESSION_COLUMNS = ("instance", "key", "rank")

# A record as a row.
user_row: Callable[[ClerkUser], tuple[Any, ...]] = attrgetter(*USER_COLUMNS)
organization_row: Callable[[ClerkOrganization], tuple[Any, ...]] = attrgetter(*ORGANIZATION_COLUMNS)
membership_row: Callable[[ClerkMembership], tuple[Any, ...]] = attrgetter(*MEMBERSHIP_COLUMNS)
session_row: Callable[[ClerkSession], tuple[Any, ...]] = attrgetter(*SESSION_COLUMNS)

# Part of the rank already; as a column of its own, for people who read the table.
_UPDATED_AT = "updated_at INTEGER GENERATED ALWAYS AS (nullif(CAST(substr(rank, 3, 15) AS INTEGER), 0))"


class Statements:
    """Every statement, with the prefix of the tables filled in. `id_type` is the column type of your ids."""

    def __init__(self, prefix: str, id_type: str) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise ConfigurationError("prefix must be lower-case letters, digits and underscores, at most 40")
        users, identities = f"{prefix}users", f"{prefix}identities"
        organizations, memberships = f"{prefix}organizations", f"{prefix}memberships"
        sessions = f"{prefix}sessions"
        self.schema: tuple[str, ...] = (
            f"""
CREATE TABLE {users} (
    id {id_type} PRIMARY KEY NOT NULL,
    role TEXT,
    role_rank TEXT,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT""",
            f"""
CREATE TABLE {identities} (
    instance TEXT NOT NULL,
    key TEXT NOT NULL,
    rank TEXT NOT NULL,
    clerk_id TEXT,
    email TEXT,
    email_verified INTEGER NOT NULL,
    first_name TEXT,
    last_name TEXT,
    username TEXT,
    image_url TEXT,
    external_id TEXT,
    banned INTEGER NOT NULL,
    public_metadata TEXT NOT NULL,
    created_at INTEGER,
    user_id {id_type} NOT NULL REFERENCES {users} (id),
    name TEXT GENERATED ALWAYS AS (nullif(trim(coalesce(first_name, '') || ' ' || coalesce(last_name, '')), '')),
    {_UPDATED_AT},
    PRIMARY KEY (instance, key)
) STRICT, WITHOUT ROWID""",
            f"CREATE INDEX {identities}_user ON {identities} (user_id)",
            f"""
CREATE TABLE {organizations} (
    id {id_type} PRIMARY KEY NOT NULL,
    instance TEXT NOT NULL,
    key TEXT NOT NULL,
    rank TEXT NOT NULL,
    clerk_id TEXT,
    name TEXT,
    slug TEXT,
    image_url TEXT,
    public_metadata TEXT NOT NULL,
    created_at INTEGER,
    {_UPDATED_AT},
    UNIQUE (instance, key)
) STRICT""",
            f"""
CREATE TABLE {memberships} (
    instance TEXT NOT NULL,
    key TEXT NOT NULL,
    rank TEXT NOT NULL,
    clerk_id TEXT,
    user_key TEXT NOT NULL,
    organization_key TEXT NOT NULL,
    role TEXT,
    created_at INTEGER,
    {_UPDATED_AT},
    PRIMARY KEY (instance, key)
) STRICT""",
            # And that table has row ids: without them SQLite would rather read a whole instance by its primary key.
            f"CREATE INDEX {memberships}_ends ON {memberships} (instance, user_key, organization_key)",
            f"""
CREATE TABLE {sessions} (
    instance TEXT NOT NULL,
    key TEXT NOT NULL,
    rank TEXT NOT NULL,
    PRIMARY KEY (instance, key)
) STRICT, WITHOUT ROWID""",
            f"CREATE INDEX {sessions}_rank ON {sessions} (rank)",
        )

        self.create_schema: str = (
            f"CREATE TABLE IF NOT EXISTS {prefix}schema (version INTEGER NOT NULL, id_type TEXT NOT NULL) STRICT"
        )
        self.select_schema: str = f"SELECT version, id_type FROM {prefix}schema"
        self.insert_schema: str = f"INSERT INTO {prefix}schema (version, id_type) VALUES (?, ?)"
        self.insert_user: str = (
            f"INSERT INTO {users} (id, role, role_rank, created_at, deleted_at) VALUES (?, ?, ?, ?, ?) RETURNING id"
        )
        self.insert_user_if_new: str = f"INSERT INTO {users} (id, created_at) VALUES (?, ?) ON CONFLICT (id) DO NOTHING"
        self.set_deleted_at: str = f"UPDATE {users} SET deleted_at = ? WHERE id = ?"
        # An empty rank is lower than any: a role that you have set.
        self.set_role: str = f"UPDATE {users} SET role = ?, role_rank = '' WHERE id = ?"
        # The first role that Clerk named, whichever comes first. Where it named none, one that you wrote in SQL stays.
        self.give_role: str = (
            f"UPDATE {users} SET role = ?, role_rank = ? "
            "WHERE id = ? AND (role_rank > ? OR role_rank IS NULL AND role IS NULL) RETURNING id"
        )
        self.move_identity: str = f"UPDATE {identities} SET user_id = ? WHERE instance = ? AND key = ?"
        self.upsert_identity: str = _upsert(identities, (*USER_COLUMNS, "user_id"), "user_id")
        self.upsert_organization: str = _upsert(organizations, (*ORGANIZATION_COLUMNS, "id"), "id")
        self.upsert_membership: str = _upsert(memberships, MEMBERSHIP_COLUMNS, "key")
        self.upsert_session: str = _upsert(sessions, SESSION_COLUMNS, "key")
        self.forget_sessions: str = f"DELETE FROM {sessions} WHERE rank < ?"

        user = f"{_listed('i', USER_COLUMNS)}, u.id, u.role, u.created_at, u.deleted_at"
        tied = f"FROM {identities} i JOIN {users} u ON u.id = i.user_id"
        organization = f"SELECT {_listed('o', ORGANIZATION_COLUMNS)}, o.id FROM {organizations} o"
        membership = f"SELECT {_listed('m', MEMBERSHIP_COLUMNS)} FROM {memberships} m"
        over = f"EXISTS (SELECT 1 FROM {sessions} s WHERE s.instance = i.instance AND s.key = ? AND s.rank >= ?)"
        self.select_standing: str = f"SELECT {user}, {over} {tied} WHERE i.instance = ? AND i.key = ?"
        self.select_user: str = f"SELECT {user} {tied} WHERE i.instance = ? AND i.key = ?"
        self.select_identities: str = f"SELECT {user} {tied} WHERE i.user_id = ?"
        self.select_id: str = f"SELECT id FROM {users} WHERE id = ?"
        self.select_organization: str = f"{organization} WHERE o.instance = ? AND o.key = ?"
        self.select_organization_by_id: str = f"{organization} WHERE o.id = ?"
        self.select_all_memberships: str = f"{membership} WHERE m.instance = ? AND m.user_key = ?"
        self.select_memberships: str = f"{self.select_all_memberships} AND m.organization_key = ?"
        self.select_session: str = f"SELECT key FROM {sessions} WHERE instance = ? AND key = ?"


def _listed(alias: str, columns: Sequence[str]) -> str:
    return ", ".join(f"{alias}.{column}" for column in columns)


def _upsert(table: str, columns: Sequence[str], returned: str) -> str:
    """Insert, or replace what Clerk said before if this outranks it. What is yours (`id`, `user_id`) stays.

    A row comes back if, and only if, it was written.
    """
    kept = ("instance", "key", "id", "user_id")
    replaced = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in kept)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
        f"ON CONFLICT (instance, key) DO UPDATE SET {replaced} WHERE excluded.rank > {table}.rank "
        f"RETURNING {returned}"
    )
