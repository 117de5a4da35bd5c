"""`clerkmap doctor`: whether everything is set up as it should be, and what to do where it is not."""

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
    """What came of one check. `fine` is None where it could not be made."""

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
    """Whether everything is set up as it should be, and what to do where it is not.

    Looks at the keys and secrets, at what Clerk says of them, at this machine's clock, and at the database: whether it
    is there, its tables, and how fresh and how complete it is. Nothing is changed, and no secret is shown.

    Ends with 0 where nothing is wrong, and with 1 where something is.
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


def examined(case: "Case") -> "Iterator[Finding]":
    """All findings, in their order."""
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
