"""`clerkmap diff`: compare Clerk with your database."""

import json
import sys
from typing import TYPE_CHECKING

import click

from .failures import NOT_FINE
from .formatting import say
from .options import database_option, instance, json_option, patience_option, repository, say_json

if TYPE_CHECKING:
    from ..ports import Repository
    from ..sync.drift import Drift, OwnId

MOST_SHOWN = 50  # lines on a terminal; the JSON has all
_MEANINGS = {
    "missing": "at Clerk, and not in your database",
    "extra": "in your database, and not at Clerk",
    "stale": "Clerk has a newer version",
    "behind": "Clerk has another version, with an older date",
    "role": "Clerk has another role",
    "link": "Clerk has the id of another of your users",
}
_UNSEEN = (
    "Not compared: changes of old rows, and a new user in place of a deleted one. `clerkmap diff` reads everything."
)


@click.command("diff")
@database_option
@click.option("--cheap", is_flag=True, help="Compare only the totals, and the newest hundred rows of each list.")
@click.option(
    "--own-id",
    "name",
    metavar="NAME",
    help="Compare links as well: the place of your ids at Clerk, external_id or a name in public_metadata.  "
    "[default: the place to which --repository writes them]",
)
@patience_option(120)
@json_option
@click.pass_context
def command(
    context: click.Context, url: str | None, cheap: bool, name: str | None, patience: float, as_json: bool
) -> None:
    """Compare Clerk with your database. Neither is changed.

    Every list of Clerk is read, which takes as long as clerkmap sync. In a pipe, each difference is a line of four
    words: the difference, the kind, the Clerk id and the fields.

    With --cheap, Clerk gets a handful of requests for any number of users. Its differences are real, except that users
    that you have erased count as missing; it does not find all differences.

    Exits with 0 if nothing differs, otherwise with 1.
    """
    from ..clerk.api import ClerkApi
    from ..sync.drift import diff
    from .formatting import progress

    with ClerkApi(instance(), patience=patience) as api, repository(url) as records, progress() as tell:
        drift = diff(api, records, cheap=cheap, own_id=_own_id(name or _written_back(records)), progress=tell)
    if as_json:
        say_json(drift.to_dict())
    else:
        _say(drift)
    if drift:
        context.exit(NOT_FINE)


def _say(drift: "Drift") -> None:
    from .formatting import plain

    told = len(drift.differences)
    shown = min(MOST_SHOWN, told) if sys.stdout.isatty() else told
    for each in drift.differences[:shown]:
        click.echo(f"{each.how:<8} {each.kind:<12} {plain(each.clerk_id)}  {','.join(each.fields)}".rstrip())
    compared = ", ".join(f"{number:,} {stage}" for stage, number in drift.compared.items())
    total = sum(drift.counts.values())
    if total > shown:
        say(f"… and {total - shown:,} more.")
    at_least = "at least " if drift.cheap else ""
    for how, number in sorted(drift.counts.items()):
        say(f"{at_least}{number:>9,} {how}: {_MEANINGS[how]}")
    if drift.cheap:
        say(f"{'' if drift else 'No differences in the compared rows. '}{_UNSEEN}")
    else:
        say(f"{'' if drift else 'No differences. '}Compared: {compared}.")
    if drift.counts.keys() - {"link"}:
        say("Repair with `clerkmap sync`, or with `clerkmap sync --repair`, which writes the differences only.")
    if drift.counts["link"]:
        say("Links are never repaired: only you know which side is wrong.")


def _written_back(records: "Repository") -> str | None:
    """Return the place to which the application writes its ids, or None."""
    back = records.write_back
    if back is None:
        return None
    return "external_id" if back.external_id else back.user_id


def _own_id(name: str | None) -> "OwnId | None":
    """Return a function that reads your id from a Clerk user, as text: in metadata it may be a number."""
    if name is None or name == "external_id":
        return None if name is None else lambda user: user.external_id
    return lambda user: None if (id := json.loads(user.public_metadata).get(name)) is None else str(id)
