"""`clerkmap erase`: forget somebody for good."""

import click

from .formatting import say
from .options import database_option, repository


@click.command("erase")
@click.argument("who")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Change nothing, and tell who would be forgotten.")
@database_option
def command(who: str, yes: bool, dry_run: bool, url: str | None) -> None:
    """Forget somebody for good: their profile, their role, their memberships. It cannot be undone.

    WHO is as in clerkmap show, and must be exactly one. The row and its id stay, so that what points to them holds. It
    is as if Clerk had deleted them: whatever it still says of them stays out, and their tokens are refused. At Clerk
    they are not deleted: do that too, or they can sign in there, and are refused here.

    Ends with 0 where they are forgotten, and with 1 where nobody is called that, or several are, or the answer was no.
    """
    from .formatting import plain
    from .user_argument import described, one_of

    with repository(url, writes=not dry_run, makes=False) as records:
        user = one_of(records, who)
        told = records.export(user.id)
        say(plain(described(user)))
        say(f"Identities: {len(told['identities'])}. Memberships: {len(told['memberships'])}.")
        if dry_run:
            say("Nothing was changed.")
            return
        if not yes:
            click.confirm("Forget them for good? This cannot be undone.", abort=True, err=True)
        is_pending = records.erase(user.id).is_pending
    say(f"User {plain(user.id)} is forgotten. Delete them at Clerk, too.")
    if is_pending:
        say("Another program is reading the file: it holds the erased data until that ends.")
