"""`clerkmap doctor`: check the configuration, and show how to fix each problem."""

import os
from typing import TYPE_CHECKING, NamedTuple

import click

from .failures import NOT_FINE
from .formatting import say
from .options import database_option, json_option, patience_option, say_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .checks import Case, Check


class Finding(NamedTuple):
    """The result of one check. `fine` is None if the check was skipped."""

    check: str
    fine: bool | None
    told: str
    remedy: str = ""


@click.command("doctor")
@database_option
@patience_option(3)
@json_option
@click.pass_context
def command(context: click.Context, url: str | None, patience: float, as_json: bool) -> None:
    """Check the configuration, and show how to fix each problem.

    Checks the keys and secrets, Clerk's answer to them, the clock of this machine, and the database: its connection,
    its tables, and how recent and how complete its data is. Nothing is changed, and no secret is shown.

    Exits with 0 if nothing is wrong, otherwise with 1.
    """
    from .checks import Case

    findings: list[Finding] = []
    for finding in examined(Case(os.environ, url, patience=patience)):
        findings.append(finding)
        if not as_json:
            _say(finding)
    wrong = [finding for finding in findings if finding.fine is False]
    if as_json:
        say_json({"fine": not wrong, "checks": [finding._asdict() for finding in findings]})
    elif wrong:
        say(f"\nWrong: {', '.join(finding.check for finding in wrong)}. Start with the first.")
    else:
        say("\nNothing is wrong.")
    if wrong:
        context.exit(NOT_FINE)


def _say(finding: "Finding") -> None:
    from .formatting import mark, plain

    say(f"{mark(finding.fine)} {finding.check:<16} {plain(finding.told)}", err=False, indent=19)
    if finding.remedy:
        say(f"  {'':<16} {plain(finding.remedy)}", err=False, indent=19)


def examined(case: "Case") -> "Iterator[Finding]":
    """Yield the findings in the order of the checks."""
    from .checks import CHECKS

    try:
        for name, check in CHECKS.items():
            yield _finding(name, check, case)
    finally:
        for close in reversed(case.closing):
            close()


def _finding(name: str, check: "Check", case: "Case") -> Finding:
    from ..errors import ClerkmapError
    from .checks import Skipped, Wrong

    try:
        return Finding(name, True, check(case))
    except Skipped as skipped:
        return Finding(name, None, f"skipped: {skipped}")
    except Wrong as wrong:
        return Finding(name, False, str(wrong), wrong.remedy)
    except ClerkmapError as error:
        return Finding(name, False, str(error), "")
