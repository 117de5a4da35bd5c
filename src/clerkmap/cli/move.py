"""`clerkmap move`: all tables from one database into another."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from .failures import NOT_FINE
from .formatting import say
from .options import id_type_option, json_option, say_json

if TYPE_CHECKING:
    from ..repositories.options import IdType
    from ..repositories.sql.repository import SqlRepository
    from ..sync import Moved
    from .database import CommandDatabase, DatabaseState


@click.command("move")
@click.option("--from", "source", required=True, metavar="DATABASE", help="The database to read from.")
@click.option("--to", "target", required=True, metavar="DATABASE", help="The database to write to, which is empty.")
@id_type_option("as in the source")
@click.option("--dry-run", is_flag=True, help="Write nothing: check that the move is possible, and count the rows.")
@click.option("--anew", is_flag=True, help="Start over, and delete the rows that an unfinished move has written.")
@json_option
@click.pass_context
def command(
    context: click.Context, source: str, target: str, id_type: "IdType | None", dry_run: bool, anew: bool, as_json: bool
) -> None:
    """Copy all tables of clerkmap into another database: from SQLite to PostgreSQL, or between any two.

    A DATABASE is sqlite:///app.db, the path of an SQLite file, postgresql://…, or MODULE:NAME, which is a repository of
    your application: use that for a prefix, a schema, or Django. Tables that are missing in the target are made.

    Stop every process that writes to the source before. Ids, roles, tombstones, checkpoints and the outbox are copied,
    and the ids of new rows continue after the greatest one. Hooks are not called. Your own tables are not copied, also
    not a users_table: copy it yourself, with the same ids.
    At the end the number of rows and a digest of each table are compared. A move that was ended goes on where it was.

    Ends with 0 where all rows are in the target, and with 1 where the source changed meanwhile: run the same again.
    """
    from ..errors import ConfigurationError
    from ..sync import move
    from .database_names import any_database
    from .formatting import progress

    here, there = any_database(source), any_database(target)
    with ExitStack() as stack:
        reader = _opened(here, here.look(), stack, writes=False)
        held = there.look()
        if not held.version:
            planned = _planned(reader, there, id_type)
            if dry_run:
                say(f"{there.shown} has no tables: they would be created.")
            else:
                there.migrate(None, planned)
                say(f"The tables in {there.shown} were created.")
                held = there.look()
        writer = _opened(there, held, stack, writes=not dry_run) if held.version else _nothing(stack)
        if id_type is not None and held.version and writer.contents.id_type != id_type:
            raise ConfigurationError(f"the tables in {there.shown} have ids of another type: omit --id-type")
        with progress() as tell:
            moved = move(reader, writer, dry_run=dry_run, anew=anew, progress=tell)
    if as_json:
        say_json(moved.to_dict())
    else:
        _say(moved)
    if moved.changed:
        context.exit(NOT_FINE)


def _opened(place: "CommandDatabase", found: "DatabaseState", stack: ExitStack, *, writes: bool) -> "SqlRepository":
    """The repository in a database, closed at the end."""
    from ..errors import ConfigurationError
    from ..repositories.sql.repository import SqlRepository

    opened = place.open(place.check(found), writes=writes)
    stack.callback(opened.close)
    if not isinstance(opened, SqlRepository):
        raise ConfigurationError(
            f"{place.shown} must be a SqliteRepository, PostgresRepository or DjangoRepository; name a synchronous one"
        )
    return opened


def _nothing(stack: ExitStack) -> "SqlRepository":
    """An empty repository in the place of tables that a dry run does not make. It takes ids of any type."""
    from ..repositories.sqlite import SqliteRepository

    opened = SqliteRepository.open(":memory:", ids=lambda record: record.key)
    stack.callback(opened.close)
    return opened


def _planned(reader: "SqlRepository", there: "CommandDatabase", id_type: "IdType | None") -> "DatabaseState":
    """The tables to make in the target, which have to fit the ids in the source."""
    from ..errors import ConfigurationError
    from .database import DatabaseState
    from .sqlite_database import SqliteDatabase

    wanted = id_type or reader.contents.id_type
    if isinstance(there, SqliteDatabase):
        if id_type == "uuid":
            raise ConfigurationError("SQLite has no uuid: --id-type must be text or bigint")
        kept = {"text": "TEXT", "uuid": "TEXT", "bigint": "INTEGER", None: "ANY"}[wanted]
    elif wanted is None:
        raise ConfigurationError("a function makes the ids of the source: give their type with --id-type")
    else:
        kept = wanted
    reader.contents.check_ids(None if kept == "ANY" else "text" if kept == "TEXT" else wanted)
    return DatabaseState(id_type=kept, ids=None if kept == "ANY" else "integer" if wanted == "bigint" else "uuid7")


def _say(moved: "Moved") -> None:
    if moved.resumed:
        say("Resumed an unfinished run.")
    for table, rows in moved.rows.items():
        state = "to be moved" if moved.dry_run else "changed meanwhile" if table in moved.changed else "moved"
        click.echo(f"{table:<14} {rows:>9,} {state}")
    if moved.changed:
        say(
            "clerkmap: the source changed during the move, so the target is incomplete. Stop every process that writes "
            "to the source, and run the same command again: it starts over."
        )
    elif not moved.dry_run:
        say("The rows and digests of all tables of clerkmap are equal. Your application's own tables are not moved.")
        say(
            "Copy those that your application needs, such as a users_table, with the same ids and its sequence. Then "
            "start your application with the target."
        )
