"""The commands about the tables: `clerkmap migrate`, `schema` and `purge`."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from .formatting import many, say
from .options import database, database_option, ids_option, repository

if TYPE_CHECKING:
    from .database import NewIds

DAY = 86_400_000  # milliseconds


@click.command("migrate")
@database_option
@ids_option
@click.option("--create", is_flag=True, help="Make the SQLite file, if there is none at this path.")
@click.option("--dry-run", is_flag=True, help="Change nothing, and print what would be done, as SQL.")
def migrate(url: str | None, ids: "NewIds | None", create: bool, dry_run: bool) -> None:
    """Make the tables, or bring them to this version's state: within one transaction, and as often as you like.

    An SQLite file is made only with --create, so that a misspelt path makes none. Django has its own migrations, and
    the tables of a repository with a prefix or a schema of yours are made when it is opened.
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
        what = f"moved from {before.version} to" if before.version else "made at"
        say(f"The tables in {place.shown} were {what} schema version {SCHEMA_VERSION}.")


@click.command("schema")
@click.argument("kind", type=click.Choice(["sqlite", "postgresql"]), metavar="sqlite|postgresql")
@click.option(
    "--since", default=0, show_default=True, metavar="VERSION", help="The schema version that is there; 0 for none."
)
@ids_option
def schema(kind: str, since: int, ids: "NewIds | None") -> None:
    """The tables as a script, to be run by other means: psql, Alembic, or whoever may make tables where you may not.

    It asks no database. What clerkmap migrate would do to one, its --dry-run prints.
    """
    if kind == "postgresql":
        from . import postgres_database

        click.echo(postgres_database.ddl(since, ids), nl=False)
    else:
        from . import sqlite_database

        click.echo(sqlite_database.ddl(since, ids), nl=False)


@click.command("purge")
@click.option(
    "--older-than",
    "days",
    default=90,
    show_default=True,
    type=click.IntRange(30, 36_500),
    metavar="DAYS",
    help="How long ago somebody was deleted, or left an organization.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Change nothing, and tell how many would be forgotten.")
@database_option
def purge(days: int, yes: bool, dry_run: bool, url: str | None) -> None:
    """Forget the tombstones of people who were deleted, and of memberships that ended, long ago.

    A tombstone holds nothing personal but a digest of the Clerk id, by which a late webhook is known to be late. After
    90 days no webhook comes any more. Your own rows stay, and so does all that points to them.
    """
    from ..errors import ConfigurationError
    from .database import NotWritten

    before = int(time.time() * 1000) - days * DAY
    if dry_run:
        place = database(url)
        try:
            with place.trying(place.check(place.look())) as records:
                purged = records.purge(before)
        except NotWritten:
            raise ConfigurationError("only in the database itself can this be tried: name it with --database") from None
    else:
        with repository(url, writes=True, makes=False) as records:
            if not yes:
                click.confirm(
                    f"Forget what was deleted more than {days} days ago? This cannot be undone.", abort=True, err=True
                )
            purged = records.purge(before)
    say(f"{many(purged, 'tombstone')} {'would be' if dry_run else 'is' if purged == 1 else 'are'} forgotten.")
