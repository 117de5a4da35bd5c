"""Options that several commands share, and the repository and instance that they name."""

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
_NAMED = f"{__name__}.named"  # the value of --repository, and its context


def database_option(command: Command) -> Command:
    """Add --database and --repository."""
    named = click.option(
        "--repository",
        "named",
        metavar="MODULE:NAME",
        envvar=REPOSITORY,
        show_envvar=True,
        expose_value=False,
        callback=_keep_name,
        help="The repository of your application, with its hooks, linker and ids, instead of a database.",
    )
    return url_option(named(command))


def url_option(command: Command) -> Command:
    """Add --database."""
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
    """Return the name of the application's repository, if this command uses it.

    An option on the command line wins over a variable, and of the two variables that of the repository wins.
    """
    context = click.get_current_context(silent=True)
    name, told = (context.meta.get(_NAMED) if context else None) or (None, None)
    if name is None or told is None:
        return None
    typed = [told.get_parameter_source(each) is ParameterSource.COMMANDLINE for each in ("named", "url")]
    if all(typed):
        raise click.UsageError("--repository and --database contradict each other")
    return None if typed[1] else str(name)


def printable(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    """Check a Clerk id or the name of an instance: not empty, so that a missing variable is noticed."""
    if text is not None and not (0 < len(text) <= MAX_NAME and text.isprintable()):
        raise click.BadParameter(f"it must be printable text of 1 to {MAX_NAME} characters")
    return text


def role_text(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    """Check a role."""
    from ..core.model import MAX_ROLE, is_role

    if text is not None and not is_role(text):
        raise click.BadParameter(f"a role is printable text of 1 to {MAX_ROLE} characters")
    return text


def instance_of(clerk_id: str, name: str | None) -> str:
    """Return the instance of a Clerk user id. The id is checked if the instance is known to be at Clerk."""
    if name is None or name == _configured_name():
        clerk = instance()
        if clerk.publishable_key is not None and not _USER.fullmatch(clerk_id):
            raise click.BadParameter(
                "it must be a Clerk user id: user_ and letters and digits. A user id of another provider "
                "needs --instance",
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
    """Add --instance."""
    return click.option(
        "--instance",
        "name",
        metavar="NAME",
        callback=printable,
        help="The instance of the Clerk id.  [default: that of CLERK_PUBLISHABLE_KEY]",
    )(command)


def json_option(command: Command) -> Command:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def ids_option(command: Command) -> Command:
    """Add --ids."""
    return click.option(
        "--ids",
        type=click.Choice(["uuid7", "integer", "clerk"]),
        help="The kind of new ids.  [default: as the stored ids, or uuid7]",
    )(command)


def id_type_option(default: str) -> Callable[[Command], Command]:
    """Add --id-type."""
    return click.option(
        "--id-type",
        type=click.Choice(["text", "bigint", "uuid"]),
        help=f"The type of the ids in new tables.  [default: {default}]",
    )


def first_id_option(command: Command) -> Command:
    """Add --first-id."""
    return click.option(
        "--first-id",
        type=click.IntRange(min=1),
        help="For ids that are numbers: the first number that no other row has; 1 if there are no other rows.",
    )(command)


def patience_option(default: float) -> Callable[[Command], Command]:
    """Add --patience."""
    return click.option(
        "--patience",
        default=default,
        show_default=True,
        type=click.FloatRange(0, 3600),
        metavar="SECONDS",
        help="How long a failed request to Clerk is retried.",
    )


def say_json(said: object) -> None:
    """Print JSON in ASCII, which cannot control a terminal."""
    click.echo(json.dumps(said, indent=2))


def instance() -> "Instance":
    """Return the instance that the environment configures."""
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
    """Open the repository in a database with tables, or that of the application.

    Args:
        url: The database.
        ids: The kind of new ids.
        writes: Whether to notify other processes of writes.
        makes: Whether the command may create ids; by default if it writes.
        first_id: The value of `--first-id`, for a command that creates users.
    """
    place = database(url)
    found = place.check(place.look(), ids, makes=writes if makes is None else makes, first_id=first_id)
    opened = place.open(found, writes=writes)
    try:
        yield opened
    finally:
        opened.close()
