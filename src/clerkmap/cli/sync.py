"""`clerkmap sync`: everything that Clerk has, into your database."""

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

MOST_SHOWN = 10  # lines of a file; more are in the JSON
_TIMES = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S")


@click.command("sync")
@database_option
@click.option("--newest", is_flag=True, help="Only what has changed last. Quick, and finds no deletions.")
@click.option("--repair", is_flag=True, help="Look what differs, and write that alone.")
@click.option("--anew", is_flag=True, help="Begin at the beginning, where a run before this did not come to its end.")
@click.option(
    "--from",
    "file",
    metavar="FILE",
    type=click.File("rb"),
    help="Read a file and not Clerk: an export, objects of its API, or events. - is the standard input.",
)
@click.option(
    "--observed-at",
    metavar="TIME",
    type=click.DateTime(_TIMES),
    help="When the file was written, in UTC.  [default: when it was last changed]",
)
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
    """Everything that Clerk has, into your database: people, organizations and memberships.

    It can be run at any time, also beside live webhooks, and only makes the database truer. A run that was ended goes
    on where it was. Who is no longer listed is asked for by id, and deleted only where Clerk knows of nobody.

    With --from nothing is asked of Clerk, and what is newer than the file stays: a CSV file that the dashboard has
    exported; users, organizations and memberships as JSON; the events that clerk webhooks listen --json writes.

    Hooks and linkers of your application work where --repository names its repository.

    Ends with 0 where all is in step now, and with 1 where something is left to look at.
    """
    ways = {"--newest": newest, "--anew": anew, "--repair": repair, "--from": file is not None}
    chosen = [name for name, is_chosen in ways.items() if is_chosen]
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(chosen)} contradict each other")
    if observed_at is not None and file is None:
        raise click.UsageError("--observed-at says when a file was written, which is named by --from")
    if dry_run and file is not None:
        raise click.UsageError("--dry-run looks at what Clerk has, and not at a file")
    if dry_run:
        from . import diff

        context.invoke(diff.command, url=url, patience=patience, as_json=as_json)
        return
    from .formatting import progress

    with repository(url, ids=ids, writes=True, first_id=first_id) as records, progress() as tell:
        report: Report
        if file is not None:
            from ..sync.import_file import backfill_file

            moment = None if observed_at is None else observed_at.replace(tzinfo=UTC).timestamp()
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
    """What came of asking Clerk."""
    from ..clerk.api import ClerkApi

    with ClerkApi(instance(), patience=patience) as api:
        if repair:
            from ..sync.repair import repair as mend

            return mend(api, records, most_departures=most_departures, progress=tell)
        from ..sync.backfill import backfill

        most = most_departures
        return backfill(api, records, newest_only=newest, anew=anew, most_departures=most, progress=tell)


def _told(report: "Report", as_json: bool) -> bool:
    """Tell what has come of it, and whether that is all there is to do."""
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
    """Of a whole run, or of the newest."""
    if report.resumed:
        say("Went on where the run before this had come to.")
    _say_rows(report, "listed")
    click.echo(f"{'departures':<14} {report.departed:>9,} found")
    _say_what_is_left(report)


def _say_repaired(report: "RepairReport") -> None:
    """Of a repair."""
    for how, number in sorted(report.found.items()):
        click.echo(f"{how:<14} {number:>9,} found")
    if not report.found:
        say("Nothing differed, and nothing was written.")
    _say_rows(report, "compared")
    click.echo(f"{'departures':<14} {report.departed:>9,} found")
    _say_what_is_left(report)


def _say_taken(report: "FileReport") -> None:
    """Of a file."""
    if not (report.listed or report.partial or report.ignored or report.unreadable):
        say("The file holds no rows, and nothing was written.")
    _say_rows(report, "read")
    if report.partial:
        say(
            f"Of {report.partial:,} the file says less than Clerk's API does: they get a row if they have none, and "
            "nothing is taken from who has one. `clerkmap sync` brings the rest."
        )
    if report.ignored:
        events = f"{many(report.ignored, 'event')} {'is' if report.ignored == 1 else 'are'}"
        say(f"{events} about nothing that is kept.")
    if report.unreadable:
        lines = ", ".join(map(str, report.unreadable_lines[:MOST_SHOWN]))
        more = ", …" if report.unreadable > MOST_SHOWN else ""
        say(f"clerkmap: left out {many(report.unreadable, 'row')} that cannot be read: line {lines}{more}.")


def _say_rows(report: "Report", read: str) -> None:
    for stage, listed in report.listed.items():
        click.echo(f"{stage:<14} {listed:>9,} {read} {report.changed.get(stage, 0):>9,} changed")


def _say_what_is_left(report: "Report") -> None:
    if report.held_back:
        say(
            f"clerkmap: {report.held_back:,} look gone at Clerk, which is more than is likely, so none was deleted. "
            "Look at them with `clerkmap diff`; if it is so, allow it: `clerkmap sync --most-departures 1`."
        )
    if report.unreadable:
        say(
            f"clerkmap: {report.unreadable:,} rows of Clerk's did not say what they must, and were left out. "
            "A newer clerkmap may know them."
        )
    if not report.complete:
        say("clerkmap: a list kept changing while it was read. Run `clerkmap sync` again.")
