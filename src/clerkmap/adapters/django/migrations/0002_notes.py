"""The second version of clerkmap's tables: notes of how far a long work has come."""

from collections.abc import Sequence
from typing import Any

from django.db import migrations

from .. import conf

STATEMENTS: dict[str, tuple[str, ...]] = {
    "sqlite": (
        """
CREATE TABLE clerkmap_notes (
    name TEXT PRIMARY KEY NOT NULL,
    text TEXT NOT NULL
) STRICT""",
        "UPDATE clerkmap_schema SET version = 2",
    ),
    "postgresql": (
        """
CREATE TABLE clerkmap_notes (
    name text COLLATE "C" PRIMARY KEY NOT NULL,
    text TEXT NOT NULL
)""",
        "UPDATE clerkmap_schema SET version = 2",
    ),
}


def make_notes(apps: Any, schema_editor: Any) -> None:
    """Make the table, unless another program that opened this database has made it already."""
    vendor = schema_editor.connection.vendor
    if vendor in STATEMENTS or schema_editor.connection.alias == conf.database():
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("SELECT version FROM clerkmap_schema")
            ((version,),) = cursor.fetchall()
        for statement in STATEMENTS[vendor] if version < 2 else ():
            schema_editor.execute(statement, params=None)


def drop_notes(apps: Any, schema_editor: Any) -> None:
    """Back to the first version: how far a work has come is forgotten."""
    if schema_editor.connection.vendor in STATEMENTS:
        schema_editor.execute("DROP TABLE clerkmap_notes", params=None)
        schema_editor.execute("UPDATE clerkmap_schema SET version = 1", params=None)


class Migration(migrations.Migration):
    """Makes the table of notes."""

    dependencies: Sequence[tuple[str, str]] = (("clerkmap", "0001_initial"),)
    operations: Sequence[Any] = (migrations.RunPython(make_notes, drop_notes),)
