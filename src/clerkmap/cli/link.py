"""`clerkmap link`: somebody at Clerk is a user whom you have already."""

from typing import TYPE_CHECKING

import click

from .codes import NOT_FINE
from .formatting import say
from .options import database_option, instance_of, instance_option, printable, repository

if TYPE_CHECKING:
    from ..core.model import User
    from ..ports import Repository


@click.command("link")
@click.argument("clerk_id", callback=printable)
@click.argument("your_id")
@click.option("--create", is_flag=True, help="Make your user of that id, if there is none.")
@click.option("--shared", is_flag=True, help="Both are one person: your user may have another identity already.")
@instance_option
@database_option
def command(clerk_id: str, your_id: str, create: bool, shared: bool, name: str | None, url: str | None) -> None:
    """Tie somebody at Clerk to your user of that id.

    A user is made only with --create, so that a mistyped id makes none. It is refused where they are tied to another
    user: take them from that one first, with clerkmap unlink. And it is refused where your user has another identity,
    unless --shared says that both are one person.

    Ends with 0 where it is so now, and with 1 where it was refused.
    """
    from .formatting import plain

    whose = instance_of(clerk_id, name)
    with repository(url, writes=True, makes=False) as records:
        user = _linked(records, whose, clerk_id, your_id, create=create, shared=shared)
        others = len(records.export(user.id)["identities"]) - 1
    say(plain(f"{clerk_id} at {whose} leads to your user {user.id}."))
    say(f"Others who lead there: {others or 'none'}.")


def _linked(records: "Repository", whose: str, clerk_id: str, your_id: str, *, create: bool, shared: bool) -> "User":
    from ..errors import ConfigurationError
    from .formatting import plain
    from .user_argument import known_id, new_id

    id = known_id(records, your_id)
    if id is None and not create:
        say(
            f"clerkmap: no identity leads to a user of yours with the id {plain(your_id)}, and nothing was written. "
            "Correct the id, or say --create, which makes the user if there is none."
        )
        raise click.exceptions.Exit(NOT_FINE)
    if id is None:
        id = new_id(records, your_id, whose)
    try:
        return records.link(whose, clerk_id, id, shared=shared)
    except ConfigurationError:
        if isinstance(id, int) or not (id.isascii() and id.isdecimal()):
            raise click.BadParameter(
                f"{plain(your_id)} is no id that these tables can hold. Nothing was written.", param_hint="YOUR_ID"
            ) from None
        return records.link(whose, clerk_id, int(id), shared=shared)  # the first of all, where ids are numbers
