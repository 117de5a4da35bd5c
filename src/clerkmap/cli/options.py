"""What several commands have in common: their options, and how they are answered to a program."""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

if TYPE_CHECKING:
    from ..core.instance import Instance
    from ..repository import Repository

Command = TypeVar("Command", bound=Callable[..., Any])
Made = Literal["uuid7", "integer", "clerk"]

DATABASE = "CLERKMAP_DATABASE_URL"


def database_option(command: Command) -> Command:
    """Where your records are."""
    return click.option(
        "--database",
        "url",
        metavar="URL",
        envvar=DATABASE,
        show_envvar=True,
        help="Your database: sqlite:///app.db, the path of an SQLite file, or postgresql://…",
    )(command)


def json_option(command: Command) -> Command:
    """For programs."""
    return click.option("--json", "as_json", is_flag=True, help="Say it as JSON, for programs.")(command)


def ids_option(command: Command) -> Command:
    """How ids are made where there are none to go by."""
    return click.option(
        "--ids",
        type=click.Choice(["uuid7", "integer", "clerk"]),
        help="How your ids are made.  [default: as those that are there, or uuid7]",
    )(command)


def patience_option(default: float) -> Callable[[Command], Command]:
    """How long to go on asking."""
    return click.option(
        "--patience",
        default=default,
        show_default=True,
        type=click.FloatRange(0, 3600),
        metavar="SECONDS",
        help="How long a question to Clerk is repeated that is not answered.",
    )


def say_json(said: object) -> None:
    """One JSON text, in ASCII, so that nothing in it does anything to a terminal."""
    click.echo(json.dumps(said, indent=2))


def instance() -> "Instance":
    """The instance that the environment tells of."""
    from ..core.instance import Instance

    return Instance.from_env()


@contextmanager
def repository(url: str | None, *, ids: Made | None = None, writes: bool = False) -> "Generator[Repository]":
    """The records in a database, whose tables are there already. Only `clerkmap migrate` makes or changes tables.

    Args:
        url: Where it is.
        ids: How new ids are made.
        writes: Whether other processes are to hear of what is written.
    """
    from .databases import database

    place = database(url)
    opened = place.open(place.check(place.look(), ids, makes=writes), writes=writes)
    try:
        yield opened
    finally:
        opened.close()
