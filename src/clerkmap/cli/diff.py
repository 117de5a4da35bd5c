"""`clerkmap diff`: what differs between Clerk and your database."""

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

MOST_SHOWN = 50  # lines on a terminal; all are in the JSON
_MEANINGS = {
    "missing": "Clerk has it, and you do not",
    "extra": "you have it, and Clerk does not",
    "stale": "Clerk says something newer",
    "behind": "Clerk says something else, with an older date",
    "role": "Clerk says another role",
    "link": "Clerk names another user of yours",
}
_UNSEEN = "Not seen: old rows that have changed, and who has come for one who went. `clerkmap diff` reads everything."


@click.command("diff")
@database_option
@click.option("--cheap", is_flag=True, help="Compare only how many there are, and the newest hundred of each list.")
@click.option(
    "--own-id",
    "name",
    metavar="NAME",
    help="Where Clerk keeps your ids: external_id, or a name in public_metadata. Then links are compared too.  "
    "[default: where --repository writes them back]",
)
@patience_option(120)
@json_option
@click.pass_context
def command(
    context: click.Context, url: str | None, cheap: bool, name: str | None, patience: float, as_json: bool
) -> None:
    """What differs between Clerk and your database. Neither is changed.

    Every list of Clerk's is read, so it takes as long as clerkmap sync. In a pipe, each difference is a line of four
    words: how, what, the id at Clerk, and the fields.

    With --cheap Clerk is asked a handful of questions, however many people there are. What that finds is so, but for
    those whom you have erased yourself, who count as missing; it does not see everything.

    Ends with 0 where nothing differs, and with 1 where something does.
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
        say(f"{'' if drift else 'Nothing differs in what was compared. '}{_UNSEEN}")
    else:
        say(f"{'' if drift else 'Nothing differs. '}Compared: {compared}.")
    if drift.counts.keys() - {"link"}:
        say("`clerkmap sync` mends it, and `clerkmap sync --repair` writes nothing else.")
    if drift.counts["link"]:
        say("Which side of a link is wrong, only you know: no run changes it.")


def _written_back(records: "Repository") -> str | None:
    """Where the application has its ids written, if it has."""
    back = records.write_back
    if back is None:
        return None
    return "external_id" if back.external_id else back.user_id


def _own_id(name: str | None) -> "OwnId | None":
    """What Clerk's word on a person names under a name. An id is compared as text: in metadata it may be a number."""
    if name is None or name == "external_id":
        return None if name is None else lambda user: user.external_id
    return lambda user: None if (id := json.loads(user.public_metadata).get(name)) is None else str(id)
