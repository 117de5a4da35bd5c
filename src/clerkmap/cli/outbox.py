"""`clerkmap outbox`: what is to go back to Clerk: what waits, what failed, and sending it."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from .failures import NOT_FINE
from .formatting import say
from .options import database_option, instance, json_option, patience_option, repository, say_json

if TYPE_CHECKING:
    from ..core.writeback import OutboxEntry
    from ..ports import Repository

MOST_SHOWN = 10_000


@click.group("outbox")
def command() -> None:
    """What is to go back to Clerk: your ids and roles, in people's and organizations' metadata."""


@command.command("list")
@database_option
@json_option
@click.pass_context
def show(context: click.Context, url: str | None, as_json: bool) -> None:
    """What waits to be sent, and what Clerk has refused, at most 10,000 lines of it.

    Ends with 0, and with 1 where something has failed: its last word is Clerk's code.
    """
    from .formatting import moment, plain

    with repository(url) as records:
        name = instance().name
        waiting = [_told(records, each) for each in records.outbox(name, limit=MOST_SHOWN)]
    if as_json:
        say_json(waiting)
    else:
        for each in waiting:
            state = f"failed {each['tries']} times: {each['error']}" if each["error"] else "waits"
            click.echo(f"{each['kind']:<12} {plain(each['clerk_id'])}  since {moment(each['since'])}  {state}")
        say(f"{len(waiting):,} to be looked at.")
    if any(each["error"] for each in waiting):
        context.exit(NOT_FINE)


@command.command("drain")
@database_option
@patience_option(120)
@json_option
@click.pass_context
def drain(context: click.Context, url: str | None, patience: float, as_json: bool) -> None:
    """Send what is due, and what will be in a moment. Any number of processes may do so at once.

    What is written back, your application's repository knows: name it with --repository.

    Ends with 0 where nothing has failed, and with 1 where something has: it is tried again later, less and less often.
    """
    from ..clerk.api import ClerkApi
    from ..core.writeback import WAIT
    from ..sync.outbox import Sent
    from ..sync.outbox import drain as send
    from .formatting import progress

    total = Sent()
    with ClerkApi(instance(), patience=patience) as api, repository(url, writes=True) as records, progress() as tell:
        _know(records)
        while True:
            total += send(api, records, progress=tell)
            soon = int(time.time() * 1000) + WAIT
            if not any(each.error is None for each in records.outbox(api.instance.name, due=soon)):
                break
            time.sleep(WAIT / 1000 / 4)
        failed = [each for each in records.outbox(api.instance.name) if each.error is not None]
    if as_json:
        say_json(total.to_dict())
    else:
        for what, number in total.to_dict().items():
            click.echo(f"{what:<8} {number:>9,}")
    if failed:
        say("clerkmap: some were not taken. `clerkmap outbox list` tells which, and why.")
        context.exit(NOT_FINE)


@command.command("fill")
@database_option
def fill(url: str | None) -> None:
    """Note everybody of whom Clerk does not hold what it should: once, for those who were there before you had anything
    written back. Nothing is sent yet.
    """
    from ..sync.outbox import fill_outbox
    from .formatting import progress

    clerk = instance()
    with repository(url, writes=True) as records, progress() as tell:
        _know(records)
        fill_outbox(clerk, records, progress=tell)
    say("All are noted. `clerkmap outbox drain` sends it.")


@command.command("retry")
@database_option
def retry(url: str | None) -> None:
    """Let what has failed be due now, when its cause is mended."""
    with repository(url, writes=True) as records:
        name = instance().name
        failed = [each for each in records.outbox(name, limit=MOST_SHOWN) if each.error is not None]
        now = int(time.time() * 1000)
        moved = sum(records.swap_outbox_entry(each, replace(each, due_at=now)) for each in failed)
    say(f"{moved:,} are due now. `clerkmap outbox drain` sends them.")


def _told(records: "Repository", outbox_entry: "OutboxEntry") -> dict[str, Any]:
    record = records.record(outbox_entry.kind, outbox_entry.instance, outbox_entry.key)
    return {
        "kind": outbox_entry.kind,
        "clerk_id": record.clerk_id if record is not None else None,
        "since": outbox_entry.since,
        "due_at": outbox_entry.due_at,
        "tries": outbox_entry.tries,
        "error": outbox_entry.error,
    }


def _know(records: "Repository") -> None:
    if records.write_back is None:
        from ..errors import ConfigurationError

        raise ConfigurationError(
            "what is written back, your application's repository knows: name it with --repository, and make it with "
            "write_back=WriteBack(...)"
        )
