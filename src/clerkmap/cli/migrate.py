"""`clerkmap migrate`: make the tables, or bring them to this version's state."""

from dataclasses import replace

import click

from .formatting import say
from .options import Made, database_option, ids_option


@click.command("migrate")
@database_option
@ids_option
@click.option("--create", is_flag=True, help="Make the SQLite file, if there is none at this path.")
@click.option("--dry-run", is_flag=True, help="Change nothing, and print what would be done, as SQL.")
def command(url: str | None, ids: Made | None, create: bool, dry_run: bool) -> None:
    """Make the tables, or bring them to this version's state: within one transaction, and as often as you like.

    An SQLite file is made only with --create, so that a misspelt path makes none. Django has its own migrations, and
    the tables of a repository with a prefix or a schema of yours are made when it is opened.
    """
    from ..repositories.sql.schema import SCHEMA_VERSION
    from .databases import database

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
