"""`clerkmap sync`: copy users, organizations and memberships from Clerk."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO

import click

from .failures import NOT_FINE
from .formatting import many, say
from .options import (
    database_option,
    first_id_option,
    ids_option,
    instance,
    json_option,
    patience_option,
    repository,
    say_json,
)

if TYPE_CHECKING:
    from ..ports import Repository
    from ..sync.import_file import FileReport
    from ..sync.job import OnProgress, Report
    from ..sync.repair import RepairReport
    from .database import NewIds

MOST_SHOWN = 10  # lines of a file; the JSON has more
_TIMES = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S")


@click.command("sync")
@database_option
@click.option("--newest", is_flag=True, help="Copy only the newest changes, without deletions. Quick.")
@click.option("--repair", is_flag=True, help="Compare first, and write the differences only.")
@click.option("--anew", is_flag=True, help="Start over instead of resuming an unfinished run.")
@click.option(
    "--from",
    "file",
    metavar="FILE",
    type=click.File("rb"),
    help="Read a file instead of Clerk: an export, objects of the API, or events; - reads stdin.",
)
@click.option(
    "--observed-at",
    metavar="TIME",
    type=click.DateTime(_TIMES),
    help="When the file was written, in UTC.  [default: its modification time]",
)
@click.option(
    "--most-departures",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0, 1),
    metavar="PART",
    help="The share of stored rows that may be deleted. If more rows are gone, none is deleted.",
)
@click.option("--dry-run", is_flag=True, help="Change nothing, and show the differences, like clerkmap diff.")
@ids_option
@first_id_option
@patience_option(120)
@json_option
@click.pass_context
def command(
    context: click.Context,
    url: str | None,
    newest: bool,
    repair: bool,
    anew: bool,
    file: BinaryIO | None,
    observed_at: datetime | None,
    most_departures: float,
    dry_run: bool,
    ids: "NewIds | None",
    first_id: int | None,
    patience: float,
    as_json: bool,
) -> None:
    """Copy users, organizations and memberships from Clerk.

    Run it at any time, also beside live webhooks: newer data is never overwritten. An interrupted run is resumed. A row
    that is no longer listed is requested by its id, and deleted only if Clerk does not know it.

    With --from, no request is sent to Clerk, and data newer than the file stays. The file is a CSV export of the
    dashboard; users, organizations and memberships as JSON; or the output of clerk webhooks listen --json.

    Hooks and linkers of your application run if --repository names its repository.

    Exits with 0 if the database is complete, and with 1 if something needs your attention.
    """
    ways = {"--newest": newest, "--anew": anew, "--repair": repair, "--from": file is not None}
    chosen = [name for name, is_chosen in ways.items() if is_chosen]
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(chosen)} contradict each other")
    if observed_at is not None and file is None:
        raise click.UsageError("--observed-at is the date of a file: it needs --from")
    if dry_run and file is not None:
        raise click.UsageError("--dry-run compares with Clerk, not with a file")
    if dry_run:
        from . import diff

        context.invoke(diff.command, url=url, patience=patience, as_json=as_json)
        return
    from .formatting import progress

    with repository(url, ids=ids, writes=True, first_id=first_id) as records, progress() as tell:
        report: Report
        if file is not None:
            from ..sync.import_file import backfill_file

            moment = None if observed_at is None else observed_at.replace(tzinfo=UTC)
            report = backfill_file(file, records, instance=instance(), observed_at=moment, progress=tell)
        else:
            report = _asked(records, repair, newest, anew, most_departures, patience, tell)
    if not _told(report, as_json):
        context.exit(NOT_FINE)


def _asked(
    records: "Repository",
    repair: bool,
    newest: bool,
    anew: bool,
    most_departures: float,
    patience: float,
    tell: "OnProgress | None",
) -> "Report":
    """Copy from Clerk, and return the report."""
    from ..clerk.api import ClerkApi

    with ClerkApi(instance(), patience=patience) as api:
        if repair:
            from ..sync.repair import repair as mend

            return mend(api, records, most_departures=most_departures, progress=tell)
        from ..sync.backfill import backfill

        most = most_departures
        return backfill(api, records, newest_only=newest, anew=anew, most_departures=most, progress=tell)


def _told(report: "Report", as_json: bool) -> bool:
    """Print a report. Return whether nothing is left to do."""
    from ..sync.import_file import FileReport
    from ..sync.repair import RepairReport

    if as_json:
        say_json(report.to_dict())
    elif isinstance(report, FileReport):
        _say_taken(report)
    elif isinstance(report, RepairReport):
        _say_repaired(report)
    else:
        _say_copied(report)
    return not report.held_back and not report.unreadable and report.complete


def _say_copied(report: "Report") -> None:
    """Print the report of a full run, or of a run with --newest."""
    if report.resumed:
        say("Resumed an unfinished run.")
    _say_rows(report, "listed")
    click.echo(f"{'departures':<14} {report.departed:>9,} found")
    _say_what_is_left(report)


def _say_repaired(report: "RepairReport") -> None:
    """Print the report of a repair."""
    for how, number in sorted(report.found.items()):
        click.echo(f"{how:<14} {number:>9,} found")
    if not report.found:
        say("No differences were found, and nothing was written.")
    _say_rows(report, "compared")
    click.echo(f"{'departures':<14} {report.departed:>9,} found")
    _say_what_is_left(report)


def _say_taken(report: "FileReport") -> None:
    """Print the report of a file."""
    if not (report.listed or report.partial or report.ignored or report.unreadable):
        say("The file holds no rows, and nothing was written.")
    _say_rows(report, "read")
    if report.partial:
        say(
            f"{report.partial:,} rows of the file hold less than Clerk's API: they create missing rows, and change "
            "no existing row. Copy the rest with `clerkmap sync`."
        )
    if report.ignored:
        events = f"{many(report.ignored, 'event')} {'is' if report.ignored == 1 else 'are'}"
        say(f"{events} of a type that is not stored.")
    if report.unreadable:
        lines = ", ".join(map(str, report.unreadable_lines[:MOST_SHOWN]))
        more = ", …" if report.unreadable > MOST_SHOWN else ""
        say(f"clerkmap: skipped {many(report.unreadable, 'row')} that cannot be read: line {lines}{more}.")


def _say_rows(report: "Report", read: str) -> None:
    for stage, listed in report.listed.items():
        click.echo(f"{stage:<14} {listed:>9,} {read} {report.changed.get(stage, 0):>9,} changed")


def _say_what_is_left(report: "Report") -> None:
    if report.held_back:
        say(
            f"clerkmap: {report.held_back:,} rows are gone at Clerk, more than --most-departures allows, so none was "
            "deleted. Check them with `clerkmap diff`, then allow it: `clerkmap sync --most-departures 1`."
        )
    if report.unreadable:
        say(
            f"clerkmap: {report.unreadable:,} rows from Clerk are not valid, and were skipped. "
            "A newer clerkmap may know their format."
        )
    if not report.complete:
        say("clerkmap: a list kept changing while it was read. Run `clerkmap sync` again.")
