"""The third version of clerkmap's tables: what is to go back to Clerk."""

from collections.abc import Sequence
from typing import Any

from django.db import migrations

from .. import conf

STATEMENTS: dict[str, tuple[str, ...]] = {
    "sqlite": (
        """
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
) STRICT, WITHOUT ROWID""",
        "CREATE INDEX clerkmap_outbox_due ON clerkmap_outbox (instance, due_at)",
        "UPDATE clerkmap_schema SET version = 3",
    ),
    "postgresql": (
        """
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
)""",
        "CREATE INDEX clerkmap_outbox_due ON clerkmap_outbox (instance, due_at)",
        "UPDATE clerkmap_schema SET version = 3",
    ),
}


def make_outbox(apps: Any, schema_editor: Any) -> None:
    """Make the table, unless another program that opened this database has made it already."""
    vendor = schema_editor.connection.vendor
    if vendor in STATEMENTS or schema_editor.connection.alias == conf.database():
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("SELECT version FROM clerkmap_schema")
            ((version,),) = cursor.fetchall()
        for statement in STATEMENTS[vendor] if version < 3 else ():
            schema_editor.execute(statement, params=None)


def drop_outbox(apps: Any, schema_editor: Any) -> None:
    """Back to the second version: what was still to be sent is forgotten."""
    if schema_editor.connection.vendor in STATEMENTS:
        schema_editor.execute("DROP TABLE clerkmap_outbox", params=None)
        schema_editor.execute("UPDATE clerkmap_schema SET version = 2", params=None)


class Migration(migrations.Migration):
    """Makes the outbox."""

    dependencies: Sequence[tuple[str, str]] = (("clerkmap", "0002_notes"),)
    operations: Sequence[Any] = (migrations.RunPython(make_outbox, drop_outbox),)
