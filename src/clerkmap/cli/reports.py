"""What has come of a `clerkmap sync`, told to a person: what was done on the stream for data, the rest beside it."""

from typing import TYPE_CHECKING

import click

from .formatting import many, say

if TYPE_CHECKING:
    from ..sync.import_file import FileReport
    from ..sync.repair import RepairReport
    from ..sync.runs import Report

MOST_SHOWN = 10  # lines of a file; more are in the JSON


def say_copied(report: "Report") -> None:
    """Of a whole run, or of the newest."""
    if report.resumed:
        say("Went on where the run before this had come to.")
    _say_rows(report, "listed")
    click.echo(f"{'departures':<14} {report.departed:>9,} found")
    _say_what_is_left(report)


def say_repaired(report: "RepairReport") -> None:
    """Of a repair."""
    for how, number in sorted(report.found.items()):
        click.echo(f"{how:<14} {number:>9,} found")
    if not report.found:
        say("Nothing differed, and nothing was written.")
    _say_rows(report, "compared")
    click.echo(f"{'departures':<14} {report.departed:>9,} found")
    _say_what_is_left(report)


def say_taken(report: "FileReport") -> None:
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
