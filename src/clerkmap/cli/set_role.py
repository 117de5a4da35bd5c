"""`clerkmap set-role`: what somebody may do everywhere, in a word that is yours from then on."""

import click

from .formatting import say
from .options import database_option, repository, role_text


@click.command("set-role")
@click.argument("who")
@click.argument("role", required=False, callback=role_text)
@click.option("--none", is_flag=True, help="No role at all, in place of ROLE.")
@database_option
def command(who: str, role: str | None, none: bool, url: str | None) -> None:
    """Give somebody a ROLE of yours. From then on it is yours: nothing that Clerk says changes it.

    WHO is as in clerkmap show, and must be exactly one. It holds from their next request on.

    Ends with 0 where it is so now, and with 1 where nobody is called that, or several are.
    """
    if (role is None) is not none:
        raise click.UsageError("give either a ROLE or --none")
    from .formatting import plain
    from .user_argument import one_of

    with repository(url, writes=True, makes=False) as records:
        before = one_of(records, who)
        after = records.set_role(before.id, role)
    say(plain(f"User {after.id}: {after.role or 'no role'} now, {before.role or 'no role'} before."))
