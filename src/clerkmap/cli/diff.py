"""`clerkmap diff`: what differs between Clerk and your database."""

import sys
from typing import TYPE_CHECKING

import click

from .codes import NOT_FINE
from .options import database_option, instance, json_option, patience_option, repository, say_json

if TYPE_CHECKING:
    from ..clerk.drift import Drift

MOST_SHOWN = 50  # lines on a terminal; all are in the JSON
_MEANINGS = {
    "missing": "Clerk has it, and you do not",
    "extra": "you have it, and Clerk does not",
    "stale": "Clerk says something newer",
    "role": "Clerk says another role",
}


@click.command("diff")
@database_option
@patience_option(120)
@json_option
@click.pass_context
def command(context: click.Context, url: str | None, patience: float, as_json: bool) -> None:
    """What differs between Clerk and your database. Neither is changed.

    Every list of Clerk's is read, so it takes as long as clerkmap sync. In a pipe, each difference is a line of four
    words: how, what, the id at Clerk, and the fields.

    Ends with 0 where nothing differs, and with 1 where something does.
    """
    from ..clerk.api import ClerkApi
    from ..clerk.drift import diff
    from .showing import progress

    with ClerkApi(instance(), patience=patience) as api, repository(url) as records, progress() as tell:
        drift = diff(api, records, progress=tell)
    if as_json:
        say_json(drift.to_dict())
    else:
        _say(drift)
    if drift:
        context.exit(NOT_FINE)


def _say(drift: "Drift") -> None:
    told = len(drift.differences)
    shown = min(MOST_SHOWN, told) if sys.stdout.isatty() else told
    for each in drift.differences[:shown]:
        click.echo(f"{each.how:<8} {each.kind:<12} {each.clerk_id}  {','.join(each.fields)}".rstrip())
    compared = ", ".join(f"{number:,} {stage}" for stage, number in drift.compared.items())
    total = sum(drift.counts.values())
    if total > shown:
        click.echo(f"… and {total - shown:,} more.", err=True)
    if not drift:
        click.echo(f"Nothing differs. Compared: {compared}.", err=True)
        return
    for how, number in sorted(drift.counts.items()):
        click.echo(f"{number:>9,} {how}: {_MEANINGS[how]}", err=True)
    click.echo(f"Compared: {compared}. `clerkmap sync` mends it.", err=True)
