"""`clerkmap replay` and `replay-hooks`: apply events from a file, and call a new hook for what exists."""

from collections.abc import Callable
from functools import partial
from typing import IO, TYPE_CHECKING

import click
from click.core import ParameterSource

from .failures import NOT_FINE
from .formatting import many, say
from .options import database_option, first_id_option, instance, json_option, repository, say_json

if TYPE_CHECKING:
    from ..core.instance import Instance
    from ..sync.import_file import FileRow
    from ..webhooks import Outcome
    from .application import ApplicationReconciler

    Apply = Callable[..., Outcome]

MOST_SHOWN = 20  # invalid lines; the JSON has all


@click.command("replay")
@click.argument("file", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Change nothing, and count the events in the file.")
@click.option(
    "--reconciler",
    metavar="MODULE:NAME",
    help="The reconciler of your application, with its repository and handlers, instead of a database.",
)
@click.option("--again", is_flag=True, help="Call handlers again, also for deliveries that they have seen.")
@first_id_option
@database_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    file: IO[bytes],
    dry_run: bool,
    reconciler: str | None,
    again: bool,
    first_id: int | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Apply events from a FILE to your database, as if Clerk had just sent them.

    FILE holds the output of clerk webhooks listen --json, webhook bodies one a line, or arrays of events; - reads
    stdin. Signatures are not checked: trust the source of the file as you trust Clerk. Known events change nothing, so
    order does not matter, and you can repeat the command.

    Handlers of events (on_event) belong to a --reconciler. Without --again they are called once for each delivery, and
    not for events without the id of a delivery.

    Exits with 0 if all events were read, otherwise with 1.
    """

    if again and reconciler is None:
        raise click.UsageError("--again needs --reconciler: handlers belong to the reconciler of your application")
    typed = [context.get_parameter_source(each) is ParameterSource.COMMANDLINE for each in ("url", "named", "first_id")]
    if reconciler is not None and any(typed):
        raise click.UsageError("--reconciler has its own repository: leave the options of a database out")
    own = None if reconciler is None else _application_reconciler(reconciler)
    clerk = instance() if own is None else own.instance
    counts = {"applied": 0, "nothing_new": 0, "ignored": 0, "unreadable": 0}
    if dry_run:
        counts = {"readable": 0, "ignored": 0, "unreadable": 0}
        unread = _read(file, clerk, counts, None)
    elif own is not None:
        try:
            unread = _read(file, clerk, counts, partial(own.apply, again=again))
        finally:
            own.close()
    else:
        from ..webhooks import Reconciler

        with repository(url, writes=True, first_id=first_id) as records:
            unread = _read(file, clerk, counts, Reconciler(clerk, records).apply)
    if as_json:
        lines = [line for line, _ in unread]
        reasons = {str(line): reason for line, reason in unread}
        say_json({**counts, "unreadable_lines": lines, "unreadable_reasons": reasons})
    else:
        for name, number in counts.items():
            click.echo(f"{name.replace('_', ' '):<12} {number:>9,}")
        for line, reason in unread[:MOST_SHOWN]:
            say(f"clerkmap: cannot be read: line {line}: {reason}")
        if len(unread) > MOST_SHOWN:
            say(f"clerkmap: … and {len(unread) - MOST_SHOWN:,} more.")
    if unread:
        context.exit(NOT_FINE)


def _application_reconciler(name: str) -> "ApplicationReconciler":
    from .application import ApplicationReconciler

    return ApplicationReconciler(name)


def _read(file: IO[bytes], clerk: "Instance", counts: dict[str, int], apply: "Apply | None") -> list[tuple[int, str]]:
    """Count and apply the events in the file. Return the number and the reason of each invalid line."""
    from ..sync.import_file import is_status_line, pieces_of, rows_of
    from ..sync.job import Progress
    from .formatting import progress

    unread: list[tuple[int, str]] = []
    with progress() as tell:
        for number, row in enumerate(rows_of(pieces_of(file)), 1):
            if is_status_line(row.said or {}):
                continue
            try:
                counts[_applied(row, clerk, apply)] += 1
            except _NotRead as reason:
                counts["unreadable"] += 1
                unread.append((row.line, str(reason)))
            if tell is not None:
                tell(Progress("file", number, None))
    return unread


class _NotRead(Exception):
    """The reason why a row is invalid. It quotes nothing from the row."""


def _applied(row: "FileRow", clerk: "Instance", apply: "Apply | None") -> str:
    """Apply a row, and return the outcome."""
    from ..core.events import Unreadable
    from ..errors import WebhookMalformed
    from ..sync.import_file import delivery_id_of, event_of

    if row.said is None:
        raise _NotRead("it is not a JSON object, or it is too long")
    try:
        event = event_of(row)
        if event is None:
            raise _NotRead(
                "it is not an event: type or data is missing. Read users and exports with `clerkmap sync --from`"
            )
        is_stored = bool(event.records(clerk.name))
    except (Unreadable, WebhookMalformed) as error:
        raise _NotRead(str(error).removeprefix(f"{WebhookMalformed.text}: ")) from None
    if apply is None:
        return "readable" if is_stored else "ignored"
    return apply(event, delivery_id=delivery_id_of(row)).kind


@click.command("replay-hooks")
@click.option(
    "--hook", required=True, metavar="MODULE:NAME", help="The hook: a function of a change and a transaction."
)
@click.option("--name", metavar="NAME", help="The name of the progress that is kept.  [default: MODULE:NAME]")
@click.option("--anew", is_flag=True, help="Start over instead of resuming an unfinished run.")
@database_option
@json_option
def hooks(hook: str, name: str | None, anew: bool, url: str | None, as_json: bool) -> None:
    """Call a new hook of your application for every current organization, user and membership.

    Deploy the hook first, in every process that writes. Each row is passed as a new one, in transactions of about 500
    rows. A row that changes meanwhile may be passed twice: the hook must update a row that it has inserted already. An
    interrupted run is resumed.

    Exits with 0 if all rows were passed.
    """
    from .application import replayed
    from .formatting import progress

    with repository(url, writes=True, makes=False) as records, progress() as tell:
        done = replayed(hook, records, name=name, anew=anew, progress=tell)
    if as_json:
        say_json(done.to_dict())
        return
    numbers = many(done.organizations, "organization"), many(done.users, "user"), many(done.memberships, "membership")
    say(f"{'Resumed' if done.resumed else 'Done'}: {numbers[0]}, {numbers[1]} and {numbers[2]}.")
