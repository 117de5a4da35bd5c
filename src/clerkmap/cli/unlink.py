"""`clerkmap unlink`: somebody at Clerk is not the user of yours whom they were taken for."""

import click

from .codes import NOT_FINE
from .formatting import say
from .options import database_option, first_id_option, instance_of, instance_option, printable, repository


@click.command("unlink")
@click.argument("clerk_id", callback=printable)
@click.argument("your_id")
@instance_option
@first_id_option
@database_option
def command(clerk_id: str, your_id: str, name: str | None, first_id: int | None, url: str | None) -> None:
    """Take somebody at Clerk from your user of that id. They are a new user of yours from then on.

    The new id is printed. Your user of the old id stays, with its role and all that points to it.

    Ends with 0 where it is so now, and with 1 where they were not tied to that user.
    """
    from .formatting import plain
    from .user_argument import known_id

    whose = instance_of(clerk_id, name)
    with repository(url, writes=True, first_id=first_id) as records:
        id = known_id(records, your_id)
        if id is None:
            say(f"clerkmap: no identity leads to a user of yours with the id {plain(your_id)}. Nothing was written.")
            raise click.exceptions.Exit(NOT_FINE)
        user = records.unlink(whose, clerk_id, id)
    click.echo(plain(user.id))
    say(plain(f"{clerk_id} at {whose} leads to your user {user.id} now, who is new."))
