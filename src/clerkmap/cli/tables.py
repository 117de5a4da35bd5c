"""The commands about the tables: `clerkmap migrate`, `schema` and `purge`."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from .formatting import many, say
from .options import database, database_option, id_type_option, ids_option, repository

if TYPE_CHECKING:
    from ..repositories.options import IdType
    from .database import NewIds

DAY = 86_400_000  # milliseconds


@click.command("migrate")
@database_option
@ids_option
@click.option("--create", is_flag=True, help="Create the SQLite file if it does not exist.")
@click.option("--dry-run", is_flag=True, help="Change nothing, and print the SQL.")
def migrate(url: str | None, ids: "NewIds | None", create: bool, dry_run: bool) -> None:
    """Create the tables, or upgrade them to this version, in one transaction. You can repeat it.

    An SQLite file is created with --create only, so that a misspelt path creates none. Django has its own migrations. A
    repository with a prefix or a schema creates its tables when it is opened.
    """
    from ..repositories.sql.schema import SCHEMA_VERSION

    place = database(url)
    before = place.look()
    if not (before.exists or create or dry_run):
        place.check(before, ids)
    if before.version:
        place.check(replace(before, version=max(before.version, SCHEMA_VERSION)), ids)
    if before.version == SCHEMA_VERSION:
        say(f"{place.shown} is at schema version {SCHEMA_VERSION} already.")
    elif dry_run:
        click.echo(place.ddl(before.version, ids, before), nl=False)
    else:
        place.migrate(ids, before)
        change = f"upgraded from {before.version} to" if before.version else "created at"
        say(f"The tables in {place.shown} were {change} schema version {SCHEMA_VERSION}.")


@click.command("schema")
@click.argument("kind", type=click.Choice(["sqlite", "postgresql"]), metavar="sqlite|postgresql")
@click.option(
    "--since", default=0, show_default=True, metavar="VERSION", help="The present schema version; 0 for no tables."
)
@ids_option
@id_type_option("bigint for numbers, otherwise text")
@click.option("--prefix", default="clerkmap_", show_default=True, help="The beginning of the tables' names.")
@click.option("--schema", help="The PostgreSQL schema of the tables.  [default: the first of the search_path]")
def schema(
    kind: str, since: int, ids: "NewIds | None", id_type: "IdType | None", prefix: str, schema: str | None
) -> None:
    """Print the tables as a SQL script, for psql, Alembic, or a database administrator.

    It connects to no database. For the script of an existing database, use clerkmap migrate --dry-run.
    """
    if kind == "postgresql":
        from . import postgres_database

        click.echo(postgres_database.ddl(since, ids, id_type, prefix=prefix, schema=schema), nl=False)
    elif schema is not None or id_type == "uuid":
        raise click.UsageError("SQLite has no schemas and no uuid: --schema and --id-type uuid are for postgresql")
    else:
        from . import sqlite_database

        kept = {"text": "TEXT", "bigint": "INTEGER", None: ""}[id_type]
        click.echo(sqlite_database.ddl(since, ids, kept, prefix=prefix), nl=False)


@click.command("purge")
@click.option(
    "--older-than",
    "days",
    default=90,
    show_default=True,
    type=click.IntRange(30, 36_500),
    metavar="DAYS",
    help="The age of a deletion, or of the end of a membership.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--dry-run", is_flag=True, help="Change nothing, and count the tombstones.")
@database_option
def purge(days: int, yes: bool, dry_run: bool, url: str | None) -> None:
    """Delete the tombstones of old deletions and ended memberships.

    A tombstone holds no personal data but a digest of the Clerk id, by which a late webhook is recognized. After 90
    days no webhook is that late. Your own rows stay, and so do the rows that refer to them.
    """
    from ..errors import ConfigurationError
    from .database import NotWritten

    before = datetime.now(UTC) - timedelta(days=days)
    if dry_run:
        place = database(url)
        try:
            with place.trying(place.check(place.look())) as records:
                purged = records.purge(before)
        except NotWritten:
            raise ConfigurationError("--dry-run needs the database itself: name it with --database") from None
    else:
        with repository(url, writes=True, makes=False) as records:
            if not yes:
                click.confirm(f"Delete tombstones older than {days} days? This cannot be undone.", abort=True, err=True)
            purged = records.purge(before)
    say(f"{many(purged, 'tombstone')} {'would be' if dry_run else 'is' if purged == 1 else 'are'} deleted.")
