"""The first version of clerkmap's tables, with the statements of `SqliteRepository` and `PostgresRepository`.

The statements are copied here, because those of a later clerkmap may differ. Each later version has its own migration.
"""

from collections.abc import Sequence
from typing import Any

from django.db import migrations

from .. import settings as conf

SQLITE: str = """
CREATE TABLE clerkmap_users (
    id {id} {new_id}PRIMARY KEY NOT NULL,
    role TEXT,
    role_rank TEXT,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX clerkmap_users_role ON clerkmap_users (role, id) WHERE role IS NOT NULL;
CREATE TABLE clerkmap_identities (
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
    user_id {id} NOT NULL REFERENCES clerkmap_users (id),
    name TEXT GENERATED ALWAYS AS
        (nullif(trim(coalesce(first_name, '') || ' ' || coalesce(last_name, '')), '')) VIRTUAL,
    updated_at INTEGER GENERATED ALWAYS AS (nullif(CAST(substr(rank, 3, 15) AS INTEGER), 0)) VIRTUAL,
    PRIMARY KEY (instance, key)
) STRICT;
CREATE INDEX clerkmap_identities_user ON clerkmap_identities (user_id);
CREATE TABLE clerkmap_organizations (
    id {id} {new_id}PRIMARY KEY NOT NULL,
    instance TEXT NOT NULL,
    key TEXT NOT NULL,
    rank TEXT NOT NULL,
    clerk_id TEXT,
    name TEXT,
    slug TEXT,
    image_url TEXT,
    public_metadata TEXT NOT NULL,
    created_at INTEGER,
    updated_at INTEGER GENERATED ALWAYS AS (nullif(CAST(substr(rank, 3, 15) AS INTEGER), 0)) VIRTUAL,
    UNIQUE (instance, key)
) STRICT;
CREATE TABLE clerkmap_memberships (
    instance TEXT NOT NULL,
    key TEXT NOT NULL,
    rank TEXT NOT NULL,
    clerk_id TEXT,
    user_key TEXT NOT NULL,
    organization_key TEXT NOT NULL,
    role TEXT,
    created_at INTEGER,
    is_current INTEGER NOT NULL,
    updated_at INTEGER GENERATED ALWAYS AS (nullif(CAST(substr(rank, 3, 15) AS INTEGER), 0)) VIRTUAL,
    PRIMARY KEY (instance, key)
) STRICT;
CREATE INDEX clerkmap_memberships_ends ON clerkmap_memberships (instance, user_key, organization_key);
CREATE UNIQUE INDEX clerkmap_memberships_current ON clerkmap_memberships
    (instance, organization_key, user_key) WHERE is_current;
CREATE TABLE clerkmap_sessions (
    instance TEXT NOT NULL,
    key TEXT NOT NULL,
    rank TEXT NOT NULL,
    PRIMARY KEY (instance, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX clerkmap_sessions_rank ON clerkmap_sessions (rank);
CREATE TABLE clerkmap_search_terms (
    kind TEXT NOT NULL,
    term TEXT NOT NULL,
    instance TEXT NOT NULL,
    key TEXT NOT NULL,
    shared INTEGER NOT NULL,
    PRIMARY KEY (kind, term, instance, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE clerkmap_checkpoints (
    name TEXT PRIMARY KEY NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE TABLE clerkmap_outbox (
    instance TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    since INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    changes INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    error TEXT,
    PRIMARY KEY (instance, kind, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX clerkmap_outbox_due ON clerkmap_outbox (instance, due_at);
CREATE TABLE clerkmap_deliveries (
    key TEXT PRIMARY KEY NOT NULL,
    handled_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX clerkmap_deliveries_handled_at ON clerkmap_deliveries (handled_at);
CREATE TABLE clerkmap_changes (
    id INTEGER PRIMARY KEY NOT NULL,
    key TEXT NOT NULL
) STRICT;
INSERT INTO clerkmap_changes (id, key) VALUES (0, '');
CREATE TRIGGER clerkmap_changes_kept AFTER INSERT ON clerkmap_changes WHEN NEW.id % 1024 = 0 BEGIN
    DELETE FROM clerkmap_changes WHERE id <= NEW.id - 8192; END;
CREATE TRIGGER clerkmap_users_updated AFTER UPDATE ON clerkmap_users BEGIN
    INSERT INTO clerkmap_changes (key) SELECT key FROM clerkmap_identities WHERE user_id = OLD.id; END;
CREATE TRIGGER clerkmap_identities_inserted AFTER INSERT ON clerkmap_identities BEGIN
    INSERT INTO clerkmap_changes (key) VALUES (NEW.key); END;
CREATE TRIGGER clerkmap_identities_updated AFTER UPDATE ON clerkmap_identities BEGIN
    INSERT INTO clerkmap_changes (key) VALUES (OLD.key); END;
CREATE TRIGGER clerkmap_identities_moved AFTER UPDATE OF key ON clerkmap_identities BEGIN
    INSERT INTO clerkmap_changes (key) VALUES (NEW.key); END;
CREATE TRIGGER clerkmap_identities_deleted AFTER DELETE ON clerkmap_identities BEGIN
    INSERT INTO clerkmap_changes (key) VALUES (OLD.key); END;
CREATE TRIGGER clerkmap_organizations_inserted AFTER INSERT ON clerkmap_organizations BEGIN
    INSERT INTO clerkmap_changes (key) VALUES (NEW.key); END;
CREATE TRIGGER clerkmap_organizations_updated AFTER UPDATE ON clerkmap_organizations BEGIN
    INSERT INTO clerkmap_changes (key) VALUES (OLD.key); END;
CREATE TRIGGER clerkmap_organizations_moved AFTER UPDATE OF key ON clerkmap_organizations BEGIN
    INSERT INTO clerkmap_changes (key) VALUES (NEW.key); END;
CREATE TRIGGER clerkmap_organizations_deleted AFTER DELETE ON clerkmap_organizations BEGIN
    INSERT INTO clerkmap_changes (key) VALUES (OLD.key); END;
CREATE TRIGGER clerkmap_memberships_inserted AFTER INSERT ON clerkmap_memberships BEGIN
    INSERT INTO clerkmap_changes (key) VALUES (NEW.user_key); END;
CREATE TRIGGER clerkmap_memberships_updated AFTER UPDATE ON clerkmap_memberships BEGIN
    INSERT INTO clerkmap_changes (key) VALUES (OLD.user_key); END;
CREATE TRIGGER clerkmap_memberships_moved AFTER UPDATE OF user_key ON clerkmap_memberships BEGIN
    INSERT INTO clerkmap_changes (key) VALUES (NEW.user_key); END;
CREATE TRIGGER clerkmap_memberships_deleted AFTER DELETE ON clerkmap_memberships BEGIN
    INSERT INTO clerkmap_changes (key) VALUES (OLD.user_key); END;
CREATE TRIGGER clerkmap_sessions_inserted AFTER INSERT ON clerkmap_sessions BEGIN
    INSERT INTO clerkmap_changes (key) VALUES (NEW.key); END;
CREATE TRIGGER clerkmap_sessions_updated AFTER UPDATE ON clerkmap_sessions BEGIN
    INSERT INTO clerkmap_changes (key) VALUES (OLD.key); END;
CREATE TRIGGER clerkmap_sessions_moved AFTER UPDATE OF key ON clerkmap_sessions BEGIN
    INSERT INTO clerkmap_changes (key) VALUES (NEW.key); END;
CREATE TRIGGER clerkmap_sessions_deleted AFTER DELETE ON clerkmap_sessions BEGIN
    INSERT INTO clerkmap_changes (key) VALUES (OLD.key); END;
CREATE VIEW clerkmap_current_users AS
SELECT u.id, u.role, i.banned, i.instance, i.clerk_id, i.email, i.email_verified, i.name, i.first_name, i.last_name,
    i.username, i.image_url,
    strftime('%Y-%m-%d %H:%M:%f', u.created_at / 1000.0, 'unixepoch') AS created_at
FROM clerkmap_users u
JOIN clerkmap_identities i ON i.user_id = u.id
WHERE u.deleted_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM clerkmap_identities other
    WHERE other.user_id = i.user_id AND (other.rank < '3', other.rank) > (i.rank < '3', i.rank));
CREATE VIEW clerkmap_current_organizations AS
SELECT o.id, o.instance, o.clerk_id, o.name, o.slug, o.image_url,
    strftime('%Y-%m-%d %H:%M:%f', o.created_at / 1000.0, 'unixepoch') AS created_at
FROM clerkmap_organizations o
WHERE o.rank < '3';
CREATE VIEW clerkmap_current_members AS
SELECT u.id AS user_id, o.id AS organization_id, m.instance, m.role,
    strftime('%Y-%m-%d %H:%M:%f', m.created_at / 1000.0, 'unixepoch') AS since,
    i.clerk_id AS clerk_user_id, o.clerk_id AS clerk_organization_id, m.clerk_id AS clerk_membership_id
FROM clerkmap_memberships m
JOIN clerkmap_organizations o ON o.instance = m.instance AND o.key = m.organization_key AND o.rank < '3'
JOIN clerkmap_identities i ON i.instance = m.instance AND i.key = m.user_key AND i.rank < '3'
JOIN clerkmap_users u ON u.id = i.user_id AND u.deleted_at IS NULL
WHERE m.is_current AND NOT i.banned;
CREATE TABLE IF NOT EXISTS clerkmap_schema (version INTEGER NOT NULL, id_type TEXT NOT NULL) STRICT;
INSERT INTO clerkmap_schema (version, id_type) VALUES (1, '{id}');
"""
POSTGRESQL: str = """
CREATE TABLE clerkmap_users (
    id {id} {new_id}PRIMARY KEY NOT NULL,
    role TEXT,
    role_rank text COLLATE "C",
    created_at bigint NOT NULL,
    deleted_at bigint
);
CREATE INDEX clerkmap_users_role ON clerkmap_users (role, id) WHERE role IS NOT NULL;
CREATE TABLE clerkmap_identities (
    instance text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    rank text COLLATE "C" NOT NULL,
    clerk_id TEXT,
    email TEXT,
    email_verified boolean NOT NULL,
    first_name TEXT,
    last_name TEXT,
    username TEXT,
    image_url TEXT,
    external_id TEXT,
    banned boolean NOT NULL,
    public_metadata TEXT NOT NULL,
    created_at bigint,
    user_id {id} NOT NULL REFERENCES clerkmap_users (id),
    name TEXT GENERATED ALWAYS AS
        (nullif(trim(coalesce(first_name, '') || ' ' || coalesce(last_name, '')), '')) STORED,
    updated_at bigint GENERATED ALWAYS AS (nullif(CAST(substr(rank, 3, 15) AS bigint), 0)) STORED,
    PRIMARY KEY (instance, key)
);
CREATE INDEX clerkmap_identities_user ON clerkmap_identities (user_id);
CREATE TABLE clerkmap_organizations (
    id {id} {new_id}PRIMARY KEY NOT NULL,
    instance text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    rank text COLLATE "C" NOT NULL,
    clerk_id TEXT,
    name TEXT,
    slug TEXT,
    image_url TEXT,
    public_metadata TEXT NOT NULL,
    created_at bigint,
    updated_at bigint GENERATED ALWAYS AS (nullif(CAST(substr(rank, 3, 15) AS bigint), 0)) STORED,
    UNIQUE (instance, key)
);
CREATE TABLE clerkmap_memberships (
    instance text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    rank text COLLATE "C" NOT NULL,
    clerk_id TEXT,
    user_key text COLLATE "C" NOT NULL,
    organization_key text COLLATE "C" NOT NULL,
    role TEXT,
    created_at bigint,
    is_current boolean NOT NULL,
    updated_at bigint GENERATED ALWAYS AS (nullif(CAST(substr(rank, 3, 15) AS bigint), 0)) STORED,
    PRIMARY KEY (instance, key)
);
CREATE INDEX clerkmap_memberships_ends ON clerkmap_memberships (instance, user_key, organization_key);
CREATE UNIQUE INDEX clerkmap_memberships_current ON clerkmap_memberships
    (instance, organization_key, user_key) WHERE is_current;
CREATE TABLE clerkmap_sessions (
    instance text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    rank text COLLATE "C" NOT NULL,
    PRIMARY KEY (instance, key)
);
CREATE INDEX clerkmap_sessions_rank ON clerkmap_sessions (rank);
CREATE TABLE clerkmap_search_terms (
    kind text COLLATE "C" NOT NULL,
    term text COLLATE "C" NOT NULL,
    instance text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    shared bigint NOT NULL,
    PRIMARY KEY (kind, term, instance, key)
);
CREATE TABLE clerkmap_checkpoints (
    name text COLLATE "C" PRIMARY KEY NOT NULL,
    text TEXT NOT NULL
);
CREATE TABLE clerkmap_outbox (
    instance text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    since bigint NOT NULL,
    due_at bigint NOT NULL,
    changes bigint NOT NULL,
    tries bigint NOT NULL,
    error TEXT,
    PRIMARY KEY (instance, kind, key)
);
CREATE INDEX clerkmap_outbox_due ON clerkmap_outbox (instance, due_at);
CREATE TABLE clerkmap_deliveries (
    key text COLLATE "C" PRIMARY KEY NOT NULL,
    handled_at bigint NOT NULL
);
CREATE INDEX clerkmap_deliveries_handled_at ON clerkmap_deliveries (handled_at);
CREATE VIEW clerkmap_current_users AS
SELECT u.id, u.role, i.banned, i.instance, i.clerk_id, i.email, i.email_verified, i.name, i.first_name, i.last_name,
    i.username, i.image_url,
    to_timestamp(u.created_at / 1000.0) AS created_at
FROM clerkmap_users u
JOIN clerkmap_identities i ON i.user_id = u.id
WHERE u.deleted_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM clerkmap_identities other
    WHERE other.user_id = i.user_id AND (other.rank < '3', other.rank) > (i.rank < '3', i.rank));
CREATE VIEW clerkmap_current_organizations AS
SELECT o.id, o.instance, o.clerk_id, o.name, o.slug, o.image_url,
    to_timestamp(o.created_at / 1000.0) AS created_at
FROM clerkmap_organizations o
WHERE o.rank < '3';
CREATE VIEW clerkmap_current_members AS
SELECT u.id AS user_id, o.id AS organization_id, m.instance, m.role,
    to_timestamp(m.created_at / 1000.0) AS since,
    i.clerk_id AS clerk_user_id, o.clerk_id AS clerk_organization_id, m.clerk_id AS clerk_membership_id
FROM clerkmap_memberships m
JOIN clerkmap_organizations o ON o.instance = m.instance AND o.key = m.organization_key AND o.rank < '3'
JOIN clerkmap_identities i ON i.instance = m.instance AND i.key = m.user_key AND i.rank < '3'
JOIN clerkmap_users u ON u.id = i.user_id AND u.deleted_at IS NULL
WHERE m.is_current AND NOT i.banned;
CREATE TABLE IF NOT EXISTS clerkmap_schema (version bigint NOT NULL, id_type text COLLATE "C" NOT NULL);
INSERT INTO clerkmap_schema (version, id_type) VALUES (1, '{id}');
"""

# The column types of ids, and the clause that generates an id.
ID_TYPES: dict[str, dict[str, tuple[str, str]]] = {
    "sqlite": {"text": ("TEXT", ""), "bigint": ("INTEGER", "")},
    "postgresql": {
        "text": ("text", ""),
        "bigint": ("bigint", "GENERATED BY DEFAULT AS IDENTITY "),
        "uuid": ("uuid", ""),
    },
}
VIEWS: tuple[str, ...] = ("current_members", "current_organizations", "current_users")
TABLES: tuple[str, ...] = (
    *("schema", "search_terms", "deliveries", "outbox", "checkpoints", "sessions"),
    *("memberships", "organizations", "identities", "users"),
    "changes",  # last, because triggers of the others write to it; only in SQLite
)


def statements(vendor: str, id_type: str) -> list[str]:
    """Return the statements that create the tables."""
    column, new = ID_TYPES[vendor][id_type]
    script = {"sqlite": SQLITE, "postgresql": POSTGRESQL}[vendor].format(id=column, new_id=new)
    return [statement for statement in script.strip().removesuffix(";").split(";\n") if statement]


def make_tables(apps: Any, schema_editor: Any) -> None:
    """Create the tables in the database of the setting `DATABASE`. A router can exclude other databases."""
    vendor = schema_editor.connection.vendor
    if vendor in ID_TYPES or schema_editor.connection.alias == conf.database():
        for statement in statements(vendor, conf.id_type()):
            schema_editor.execute(statement, params=None)


def drop_tables(apps: Any, schema_editor: Any) -> None:
    """Drop the tables, for `migrate clerkmap zero`. This deletes all users and links."""
    if schema_editor.connection.vendor in ID_TYPES:
        for view in VIEWS:
            schema_editor.execute(f"DROP VIEW IF EXISTS clerkmap_{view}", params=None)
        for table in TABLES:
            schema_editor.execute(f"DROP TABLE IF EXISTS clerkmap_{table}", params=None)


class Migration(migrations.Migration):
    """Creates the tables."""

    initial: bool | None = True
    operations: Sequence[Any] = (migrations.RunPython(make_tables, drop_tables),)
