"""`clerkmap relink`: move people from one instance to another."""

import csv
import sys
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from .failures import NOT_FINE
from .formatting import progress, say
from .options import database_option, json_option, printable, repository, say_json

if TYPE_CHECKING:
    from ..sync import By, Move, Reason, Refusal, Relink

MOST_BYTES = 8_000  # bytes in a line: two ids, however they are spelled
HEADER = ["from", "to"]
BOM = b"\xef\xbb\xbf"  # what some programs begin a text with
MOST_SHOWN = 50  # lines on a terminal; all are in a pipe, and in the JSON


@click.command("relink")
@database_option
@click.option(
    "--from", "from_", required=True, metavar="INSTANCE", callback=printable, help="The name of the old instance."
)
@click.option("--to", required=True, metavar="INSTANCE", callback=printable, help="The name of the new one.")
@click.option(
    "--by",
    type=click.Choice(["external_id", "clerk_id", "own_id", "verified_email"]),
    help="What shows that two are one person.",
)
@click.option(
    "--mapping",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Or a file that says who is who: CSV or JSON lines, from and to.",
)
@click.option("--dry-run", is_flag=True, help="Change nothing, and show the plan.")
@click.option("--yes", is_flag=True, help="Do it without a question.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    url: str | None,
    from_: str,
    to: str,
    by: "By | None",
    file: Path | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Move people from one instance to another: from development to production, or from another provider.

    Who signs in to the new instance is then the user of yours that the identity in the old one leads to. It goes by
    what is stored of both, so run clerkmap sync for each of them before. An instance is called by the host of its
    issuer, unless you chose a name; clerkmap show tells it.

    The external id in the new instance is, with --by external_id, the external id in the old one; with clerk_id, the
    Clerk id there; with own_id, the id of your user. verified_email is the primary address, verified in both.

    The plan is shown first, a line for each person: move, with the two Clerk ids, your user, and your user that is left
    behind without an identity; or refuse, with the two Clerk ids and the reason. Each person is moved in one
    transaction, and a second run changes nothing. Hooks of your application work where --repository names its
    repository.

    Ends with 0 where everybody is moved, and with 1 where somebody was refused.
    """
    if (by is None) == (file is None):
        raise click.UsageError("give one of --by and --mapping")
    if not (dry_run or yes or sys.stdin.isatty()):
        raise click.UsageError("there is nobody to ask: say --dry-run to see the plan, or --yes")
    who: By | Mapping[str, str] = by or _read(file)
    from ..sync import apply_relink, plan_relink

    with repository(url, writes=not dry_run, makes=False) as records:
        with progress() as tell:
            plan = done = plan_relink(records, from_=from_, to=to, by=who, progress=tell)
        if not as_json:
            _say(plan.moves, plan.refusals)
        _sum_up(plan, "to be moved")
        is_meant = bool(plan.moves) and not dry_run and (yes or click.confirm("Move them?", err=True))
        if is_meant:
            with progress() as tell:
                done = apply_relink(records, plan, progress=tell)
            if not as_json:
                _say((), done.refusals[len(plan.refusals) :])
            _sum_up(done, "moved")
    if as_json:
        say_json({"applied": is_meant, **done.to_dict()})
    if done.refusals or (plan.moves and not (is_meant or dry_run)):
        context.exit(NOT_FINE)


def _read(file: Path | None) -> dict[str, str]:
    assert file is not None
    try:
        return read_mapping(file)
    except ValueError as error:
        raise click.BadParameter(f"{error}. Nobody was moved.", param_hint="--mapping") from None


def _say(moves: "tuple[Move, ...]", refusals: "tuple[Refusal, ...]") -> None:
    from .formatting import plain

    lines = [
        f"move from={each.from_clerk_id} to={each.to_clerk_id} user={each.after} "
        f"left={'-' if each.before is None else each.before}"
        for each in moves
    ]
    lines += [
        f"refuse from={each.from_clerk_id} to={each.to_clerk_id or '-'} reason={each.reason}" for each in refusals
    ]
    shown = MOST_SHOWN if sys.stdout.isatty() else len(lines)
    for line in lines[:shown]:
        click.echo(plain(line))
    if len(lines) > shown:
        say(f"… and {len(lines) - shown:,} more.")


def _sum_up(relink: "Relink", what: str) -> None:
    from ..sync import REASONS

    say(f"{len(relink.moves):>9,} {what}")
    say(f"{relink.already:>9,} there already")
    refused: Counter[Reason] = Counter(each.reason for each in relink.refusals)
    for reason, number in sorted(refused.items()):
        say(f"{number:>9,} {reason}: {REASONS[reason]}")


def read_mapping(path: Path) -> dict[str, str]:
    """From Clerk ids of the old instance to those of the new one. Raises ValueError, which says in which line."""
    mapping: dict[str, str] = {}
    with path.open("rb") as file:
        for number, line in enumerate(iter(partial(file.readline, MOST_BYTES + 1), b""), 1):
            text = line.removeprefix(BOM) if number == 1 else line
            try:
                pair = _pair(text)
            except (ValueError, csv.Error):
                raise ValueError(f"line {number} is not two ids, as from,to or as an object of from and to") from None
            if pair is None or (number == 1 and pair == HEADER):
                continue
            one, other = pair
            if mapping.setdefault(one, other) != other:
                raise ValueError(f"line {number} says something else of somebody who stands in it already")
    if not mapping:
        raise ValueError("nobody stands in it")
    return mapping


def _pair(line: bytes) -> list[str] | None:
    """What stands in a line. None if it is empty."""
    from ..core.strict_json import read_object
    from ..sync.relink import MAX_ID

    line = line.strip(b" \t\r\n")
    if not line:
        return None
    if len(line) > MOST_BYTES:
        raise ValueError
    if line.startswith(b"{"):
        read = read_object(line)
        pair: list[object] = [read.pop(name, None) for name in HEADER]
        if read:
            raise ValueError
    else:
        (row,) = csv.reader([line.decode()], strict=True, skipinitialspace=True)
        pair = [each.strip() for each in row]
    if len(pair) != 2 or not all(isinstance(id, str) and 0 < len(id) <= MAX_ID and id.isprintable() for id in pair):
        raise ValueError
    return cast(list[str], pair)
