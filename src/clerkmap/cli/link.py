"""`clerkmap link`: somebody at Clerk is a user whom you have already."""

from typing import TYPE_CHECKING

import click

from .options import database_option, instance, instance_option, printable, repository

if TYPE_CHECKING:
    from ..core.model import User
    from ..repository import Repository


@click.command("link")
@click.argument("clerk_id", callback=printable)
@click.argument("your_id")
@click.option("--shared", is_flag=True, help="Both are one person: your user may have another identity already.")
@instance_option
@database_option
def command(clerk_id: str, your_id: str, shared: bool, name: str | None, url: str | None) -> None:
    """Tie somebody at Clerk to your user of that id, which is made if need be.

    It is refused where they are tied to another one: take them from that one first, with clerkmap unlink. And it is
    refused where your user has another identity, unless --shared says that both are one person.

    Ends with 0 where it is so now, and with 1 where it was refused.
    """
    from .showing import plain

    whose = name or instance().name
    with repository(url, writes=True, makes=False) as records:
        user = _linked(records, whose, clerk_id, your_id, shared)
        others = len(records.export(user.id)["identities"]) - 1
    click.echo(plain(f"{clerk_id} at {whose} leads to your user {user.id}."), err=True)
    click.echo(f"Others who lead there: {others or 'none'}.", err=True)


def _linked(records: "Repository", whose: str, clerk_id: str, your_id: str, shared: bool) -> "User":
    from ..errors import ConfigurationError
    from .whom import id_of

    id = id_of(records, your_id, whose)
    try:
        return records.link(whose, clerk_id, id, shared=shared)
    except ConfigurationError:
        if isinstance(id, int) or not (id.isascii() and id.isdecimal()):
            raise
        return records.link(whose, clerk_id, int(id), shared=shared)  # the first of all, where ids are numbers
