"""`clerkmap purge`: forget the tombstones of those who were deleted long ago."""

import time

import click

from .formatting import say
from .options import database_option, repository

DAY = 86_400_000  # milliseconds


@click.command("purge")
@click.option(
    "--older-than",
    "days",
    default=90,
    show_default=True,
    type=click.IntRange(30, 36_500),
    metavar="DAYS",
    help="How long ago somebody was deleted, or left an organization.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Change nothing, and tell how many would be forgotten.")
@database_option
def command(days: int, yes: bool, dry_run: bool, url: str | None) -> None:
    """Forget the tombstones of people who were deleted, and of memberships that ended, long ago.

    A tombstone holds nothing personal but a digest of the Clerk id, by which a late webhook is known to be late. After
    90 days no webhook comes any more. Your own rows stay, and so does all that points to them.
    """
    from ..errors import ConfigurationError
    from .databases import NotWritten, database
    from .formatting import many

    before = int(time.time() * 1000) - days * DAY
    if dry_run:
        place = database(url)
        try:
            with place.trying(place.check(place.look())) as records:
                purged = records.purge(before)
        except NotWritten:
            raise ConfigurationError("only in the database itself can this be tried: name it with --database") from None
    else:
        with repository(url, writes=True, makes=False) as records:
            if not yes:
                click.confirm(
                    f"Forget what was deleted more than {days} days ago? This cannot be undone.", abort=True, err=True
                )
            purged = records.purge(before)
    say(f"{many(purged, 'tombstone')} {'would be' if dry_run else 'is' if purged == 1 else 'are'} forgotten.")
