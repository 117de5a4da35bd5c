"""`clerkmap relink`: move users from one instance to another."""

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

MOST_BYTES = 8_000  # bytes in a line: two ids in any encoding
HEADER = ["from", "to"]
BOM = b"\xef\xbb\xbf"  # some programs write it at the start of a file
MOST_SHOWN = 50  # lines on a terminal; a pipe and the JSON have all


@click.command("relink")
@database_option
@click.option(
    "--from", "from_", required=True, metavar="INSTANCE", callback=printable, help="The name of the old instance."
)
@click.option("--to", required=True, metavar="INSTANCE", callback=printable, help="The name of the new instance.")
@click.option(
    "--by",
    type=click.Choice(["external_id", "clerk_id", "own_id", "verified_email"]),
    help="The field that identifies a user in both instances.",
)
@click.option(
    "--mapping",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A file that maps old Clerk ids to new ones: CSV or JSON lines, from and to.",
)
@click.option("--dry-run", is_flag=True, help="Change nothing, and show the plan.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
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
    """Move users from one instance to another: from development to production, or from another provider.

    A user that signs in to the new instance is then your user of the old instance. The stored data of both is compared,
    so run clerkmap sync for each instance before. The name of an instance is the host of its issuer, unless you chose
    one; clerkmap show prints it.

    The external id in the new instance must equal a value of the old one: the external id with --by external_id, the
    Clerk id with clerk_id, the id of your user with own_id. With verified_email, the primary addresses must be equal,
    and verified in both.

    The plan is shown first, a line for each user: move, with both Clerk ids, your user, and your user that is left
    without an identity; or refuse, with both Clerk ids and the reason. Each user is moved in its own transaction, and a
    second run changes nothing. Hooks of your application run if --repository names its repository.

    Exits with 0 if all users are moved, and with 1 if a user was refused.
    """
    if (by is None) == (file is None):
        raise click.UsageError("give one of --by and --mapping")
    if not (dry_run or yes or sys.stdin.isatty()):
        raise click.UsageError("the confirmation needs a terminal: give --dry-run to see the plan, or --yes")
    how: By | Mapping[str, str] = by or _read(file)
    from ..sync import apply_relink, plan_relink

    with repository(url, writes=not dry_run, makes=False) as records:
        with progress() as tell:
            plan = done = plan_relink(records, from_=from_, to=to, by=how, progress=tell)
        if not as_json:
            _say(plan.moves, plan.refusals)
        _sum_up(plan, "to be moved")
        is_meant = bool(plan.moves) and not dry_run and (yes or click.confirm("Move these users?", err=True))
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
        raise click.BadParameter(f"{error}. No user was moved.", param_hint="--mapping") from None


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


def _sum_up(relink: "Relink", outcome: str) -> None:
    from ..sync import REASONS

    say(f"{len(relink.moves):>9,} {outcome}")
    say(f"{relink.already:>9,} moved before")
    refused: Counter[Reason] = Counter(each.reason for each in relink.refusals)
    for reason, number in sorted(refused.items()):
        say(f"{number:>9,} {reason}: {REASONS[reason]}")


def read_mapping(path: Path) -> dict[str, str]:
    """Read a file that maps Clerk ids of the old instance to those of the new one: CSV, or JSON lines.

    Raises ValueError with the number of the first invalid line, without its content. Then no line is used.
    """
    mapping: dict[str, str] = {}
    with path.open("rb") as file:
        for number, line in enumerate(iter(partial(file.readline, MOST_BYTES + 1), b""), 1):
            text = line.removeprefix(BOM) if number == 1 else line
            try:
                pair = _pair(text)
            except (ValueError, csv.Error):
                raise ValueError(
                    f"line {number} must have two ids, as from,to or as an object with from and to"
                ) from None
            if pair is None or (number == 1 and pair == HEADER):
                continue
            one, other = pair
            if mapping.setdefault(one, other) != other:
                raise ValueError(f"line {number} contradicts an earlier line")
    if not mapping:
        raise ValueError("the file has no ids")
    return mapping


def _pair(line: bytes) -> list[str] | None:
    """Return the two ids in a line, or None for an empty line."""
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
