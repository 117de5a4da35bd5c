"""`clerkmap export`: everything that is stored of somebody, as they are entitled to see it."""

import click

from .options import database_option, repository, say_json


@click.command("export")
@click.argument("who")
@database_option
def command(who: str, url: str | None) -> None:
    """Everything that is stored of somebody, as JSON: what they are entitled to see.

    WHO is as in clerkmap show, and must be exactly one. What your own tables hold of them is yours to add.

    Ends with 0 where somebody is found, and with 1 where nobody is called that, or several are.
    """
    from .user_argument import one_of

    with repository(url) as records:
        told = records.export(one_of(records, who).id)
    say_json(told)
