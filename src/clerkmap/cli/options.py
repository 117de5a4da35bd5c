"""What several commands have in common: their options, and how they are answered to a program."""

import json
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from ..core.instance import Instance
    from ..ports import Repository
    from .database import CommandDatabase, NewIds

Command = TypeVar("Command", bound=Callable[..., Any])

DATABASE = "CLERKMAP_DATABASE_URL"
REPOSITORY = "CLERKMAP_REPOSITORY"
MAX_NAME = 255  # characters
_USER = re.compile(r"user_[0-9A-Za-z]+")
_NAMED = f"{__name__}.named"  # what a command was told of --repository, and by which context


def database_option(command: Command) -> Command:
    """Where your records are: in a database, or in the repository that an application has made."""
    named = click.option(
        "--repository",
        "named",
        metavar="MODULE:NAME",
        envvar=REPOSITORY,
        show_envvar=True,
        expose_value=False,
        callback=_keep_name,
        help="Your application's own repository, with its hooks, linker and ids, instead of a database.",
    )
    return url_option(named(command))


def url_option(command: Command) -> Command:
    """The database alone."""
    return click.option(
        "--database",
        "url",
        metavar="URL",
        envvar=DATABASE,
        show_envvar=True,
        help="Your database: sqlite:///app.db, the path of an SQLite file, or postgresql://…",
    )(command)


def _keep_name(context: click.Context, _parameter: click.Parameter, name: str | None) -> None:
    context.meta[_NAMED] = (name, context)


def repository_named() -> str | None:
    """The application's repository, where this command is to use it. What is typed goes before what is in a variable,
    and of two variables this is the one that says more."""
    context = click.get_current_context(silent=True)
    name, told = (context.meta.get(_NAMED) if context else None) or (None, None)
    if name is None or told is None:
        return None
    typed = [told.get_parameter_source(each) is ParameterSource.COMMANDLINE for each in ("named", "url")]
    if all(typed):
        raise click.UsageError("--repository and --database contradict each other")
    return None if typed[1] else str(name)


def printable(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    """A name of Clerk's as a Clerk id or an instance can have it: not the empty text of a variable that was not set."""
    if text is not None and not (0 < len(text) <= MAX_NAME and text.isprintable()):
        raise click.BadParameter(f"it must be printable text of 1 to {MAX_NAME} characters")
    return text


def role_text(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    """A role that a repository can store."""
    from ..core.merging import MAX_ROLE, is_role

    if text is not None and not is_role(text):
        raise click.BadParameter(f"a role is printable text of 1 to {MAX_ROLE} characters")
    return text


def instance_of(clerk_id: str, name: str | None) -> str:
    """The name of the instance of a Clerk user id, whose form is checked where the instance is known to be Clerk's."""
    if name is None or name == _configured_name():
        clerk = instance()
        if clerk.publishable_key is not None and not _USER.fullmatch(clerk_id):
            raise click.BadParameter(
                "it must be the id of a user at Clerk: user_ and then letters and digits. The id of a user of another "
                "provider needs --instance",
                param_hint="CLERK_ID",
            )
        return clerk.name
    return name


def _configured_name() -> str | None:
    from ..errors import ConfigurationError

    try:
        return instance().name
    except ConfigurationError:
        return None


def instance_option(command: Command) -> Command:
    """Whose ids."""
    return click.option(
        "--instance",
        "name",
        metavar="NAME",
        callback=printable,
        help="The name of the instance whose id it is.  [default: that of CLERK_PUBLISHABLE_KEY]",
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


def first_id_option(command: Command) -> Command:
    """From where on numbers may be made."""
    return click.option(
        "--first-id",
        type=click.IntRange(min=1),
        help="Where your ids are numbers: the first one that no other row of yours has, 1 if there are no others.",
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


def database(url: str | None) -> "CommandDatabase":
    """Return the database of `--database`, or that of the repository in `--repository`."""
    from .database_names import database as named

    return named(url, repository_named())


@contextmanager
def repository(
    url: str | None,
    *,
    ids: "NewIds | None" = None,
    writes: bool = False,
    makes: bool | None = None,
    first_id: int | None = 0,
) -> "Generator[Repository]":
    """The records in a database whose tables are there already, or in the repository that an application has made.

    Args:
        url: Where it is.
        ids: How new ids are made.
        writes: Whether other processes are to hear of what is written.
        makes: Whether ids may have to be made; if something is written, unless told otherwise.
        first_id: For a command that makes users, what it was told by `--first-id`.
    """
    place = database(url)
    found = place.check(place.look(), ids, makes=writes if makes is None else makes, first_id=first_id)
    opened = place.open(found, writes=writes)
    try:
        yield opened
    finally:
        opened.close()
