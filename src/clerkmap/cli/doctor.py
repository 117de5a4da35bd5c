"""`clerkmap doctor`: whether everything is set up as it should be, and what to do where it is not."""

import os
from typing import TYPE_CHECKING

import click

from .codes import NOT_FINE
from .formatting import say
from .options import database_option, json_option, patience_option, say_json

if TYPE_CHECKING:
    from .checks import Finding


@click.command("doctor")
@database_option
@patience_option(3)
@json_option
@click.pass_context
def command(context: click.Context, url: str | None, patience: float, as_json: bool) -> None:
    """Whether everything is set up as it should be, and what to do where it is not.

    Looks at the keys and secrets, at what Clerk says of them, at this machine's clock, and at the database: whether it
    is there, its tables, and how fresh and how complete it is. Nothing is changed, and no secret is shown.

    Ends with 0 where nothing is wrong, and with 1 where something is.
    """
    from .checks import Case, examined

    findings: list[Finding] = []
    for finding in examined(Case(os.environ, url, patience=patience)):
        findings.append(finding)
        if not as_json:
            _say(finding)
    wrong = [finding for finding in findings if finding.fine is False]
    if as_json:
        say_json({"fine": not wrong, "checks": [finding._asdict() for finding in findings]})
    elif wrong:
        say(f"\nWrong: {', '.join(finding.check for finding in wrong)}. Begin with the first.")
    else:
        say("\nNothing is wrong.")
    if wrong:
        context.exit(NOT_FINE)


def _say(finding: "Finding") -> None:
    from .formatting import mark, plain

    say(f"{mark(finding.fine)} {finding.check:<16} {plain(finding.told)}", err=False, indent=19)
    if finding.remedy:
        say(f"  {'':<16} {plain(finding.remedy)}", err=False, indent=19)
