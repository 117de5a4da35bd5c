"""`clerkmap sync`: everything that Clerk has, into your database."""

from typing import TYPE_CHECKING

import click

from .codes import NOT_FINE
from .options import Made, database_option, ids_option, instance, json_option, patience_option, repository, say_json

if TYPE_CHECKING:
    from ..clerk.runs import Report


@click.command("sync")
@database_option
@click.option("--newest", is_flag=True, help="Only what has changed last. Quick, and finds no deletions.")
@click.option("--anew", is_flag=True, help="Begin at the beginning, where a run before this did not come to its end.")
@click.option(
    "--most-departures",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0, 1),
    metavar="PART",
    help="Which part of what is stored may be gone. Where it looks like more, nothing is deleted.",
)
@click.option("--dry-run", is_flag=True, help="Change nothing, and tell what differs: the same as clerkmap diff.")
@ids_option
@patience_option(120)
@json_option
@click.pass_context
def command(
    context: click.Context,
    url: str | None,
    newest: bool,
    anew: bool,
    most_departures: float,
    dry_run: bool,
    ids: Made | None,
    patience: float,
    as_json: bool,
) -> None:
    """Everything that Clerk has, into your database: people, organizations and memberships.

    It can be run at any time, also beside live webhooks, and only makes the database truer. A run that was ended goes
    on where it was. Who is no longer listed is asked for by id, and deleted only where Clerk knows of nobody.

    Hooks and linkers of your application work where --repository names its repository.

    Ends with 0 where all is in step now, and with 1 where something is left to look at.
    """
    if newest and anew:
        raise click.UsageError("--newest and --anew contradict each other")
    if dry_run:
        from . import diff

        context.invoke(diff.command, url=url, patience=patience, as_json=as_json)
        return
    from ..clerk.api import ClerkApi
    from ..clerk.backfilling import backfill
    from .showing import progress

    with (
        ClerkApi(instance(), patience=patience) as api,
        repository(url, ids=ids, writes=True) as records,
        progress() as tell,
    ):
        report = backfill(api, records, newest_only=newest, anew=anew, most_departures=most_departures, progress=tell)
    if as_json:
        say_json(report.to_dict())
    else:
        _say(report)
    if report.held_back or report.unreadable or not report.complete:
        context.exit(NOT_FINE)


def _say(report: "Report") -> None:
    if report.resumed:
        click.echo("Went on where the run before this had come to.", err=True)
    for stage, listed in report.listed.items():
        click.echo(f"{stage:<14} {listed:>9,} listed {report.changed.get(stage, 0):>9,} changed")
    click.echo(f"{'departures':<14} {report.departed:>9,} found")
    if report.held_back:
        click.echo(
            f"clerkmap: {report.held_back:,} look gone at Clerk, which is more than is likely, so none was deleted. "
            "Look at them with `clerkmap diff`; if it is so, allow it: `clerkmap sync --most-departures 1`.",
            err=True,
        )
    if report.unreadable:
        click.echo(
            f"clerkmap: {report.unreadable:,} rows of Clerk's did not say what they must, and were left out. "
            "A newer clerkmap may know them.",
            err=True,
        )
    if not report.complete:
        click.echo("clerkmap: a list kept changing while it was read. Run `clerkmap sync` again.", err=True)
