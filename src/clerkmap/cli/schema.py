"""`clerkmap schema`: the tables as a script."""

import click

from .options import Made, ids_option


@click.command("schema")
@click.argument("kind", type=click.Choice(["sqlite", "postgresql"]), metavar="sqlite|postgresql")
@click.option(
    "--since", default=0, show_default=True, metavar="VERSION", help="The schema version that is there; 0 for none."
)
@ids_option
def command(kind: str, since: int, ids: Made | None) -> None:
    """The tables as a script, to be run by other means: psql, Alembic, or whoever may make tables where you may not.

    It asks no database. What clerkmap migrate would do to one, its --dry-run prints.
    """
    if kind == "postgresql":
        from . import postgres_database

        click.echo(postgres_database.ddl(since, ids), nl=False)
    else:
        from . import sqlite_database

        click.echo(sqlite_database.ddl(since, ids), nl=False)
