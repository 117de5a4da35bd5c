"""`clerkmap init`: the tables, and the lines with which an application begins."""

import os
from typing import TYPE_CHECKING

import click

from .formatting import say
from .options import DATABASE, Made, ids_option, url_option

if TYPE_CHECKING:
    from .databases import Database, Found

_SETTINGS = {
    "CLERK_PUBLISHABLE_KEY": "from the API keys page of Clerk's dashboard",
    "CLERK_SECRET_KEY": "from the same page; for what asks Clerk's API, such as `clerkmap sync`",
    "CLERK_WEBHOOK_SIGNING_SECRET": "from the endpoint's page under Webhooks, once there is one",
}


@click.command("init")
@click.option(
    "--framework",
    required=True,
    type=click.Choice(["fastapi", "starlette", "django", "flask", "asgi", "wsgi"]),
    help="What your application is written in.",
)
@url_option
@ids_option
def command(framework: str, url: str | None, ids: Made | None) -> None:
    """Begin: make the tables, print the lines that your application begins with, and tell what is left to set.

    The lines are Python, on the standard output, so that > app.py makes a file of them. Nothing is asked, no file of
    yours is written, and no secret is in the lines: they read the environment. Without a database it is app.db in this
    folder. For Django no tables are made: its own migrations make them.
    """
    from .starter_code import DJANGO, beginning

    if framework == "django":
        click.echo(DJANGO, nl=False)
    else:
        from .databases import database

        place = database(url or "sqlite:///app.db")
        found = place.look()
        if found.version:
            place.check(found, ids, makes=True)
            say(f"The tables in {place.shown} are there already.")
        else:
            place.migrate(ids, found)
            say(f"The tables in {place.shown} were made.")
        found = place.check(place.look(), ids)
        click.echo(beginning(framework, *_opened(place, found)), nl=False)
        if found.ids == "integer":
            say("\nfirst_id=1 is for an application without users. If rows of yours have numbers, name their table")
            say('instead: users_table="customers".')
    say("\nTo be set where the application runs, and for the other commands:")
    for name, where in _SETTINGS.items():
        say(f"  {name:<30}{'is set' if os.environ.get(name) else where}")
    made = "is set" if os.environ.get(DATABASE) else "the same database" if url else "sqlite:///app.db"
    say(f"  {DATABASE:<30}{made}")
    then = "python manage.py migrate, then " if framework == "django" else ""
    say(f"Then: {then}`clerkmap doctor`. Without an account: `clerkmap dev`.")


def _opened(place: "Database", found: "Found") -> tuple[str, str]:
    """The class of repository for a database, and how an application opens it. A URL may have a password in it."""
    from .sqlite_database import SqliteDatabase

    # The number is the reader's to change: clerkmap does not know the tables of an application.
    first = ", first_id=1" * (found.ids == "integer")
    options = f', ids="{found.ids}"{first}' * (found.ids != "uuid7") + ', id_type="uuid"' * (found.id_type == "uuid")
    if isinstance(place, SqliteDatabase):
        is_plain = place.shown.isprintable() and not set('"\\') & set(place.shown)
        path = f'"{place.shown}"' if is_plain else ascii(place.shown)
        return "SqliteRepository", f"SqliteRepository.open({path}{options})"
    return "PostgresRepository", f'PostgresRepository.open(os.environ["{DATABASE}"]{options})'
