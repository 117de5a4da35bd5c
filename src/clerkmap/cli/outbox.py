"""`clerkmap outbox`: the changes that wait to be written back to Clerk."""

import time
from dataclasses import replace
from datetime import UTC, datetime
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
    """Show and send your ids and roles that wait to be written to the metadata at Clerk."""


@command.command("list")
@database_option
@json_option
@click.pass_context
def show(context: click.Context, url: str | None, as_json: bool) -> None:
    """List the entries that wait and those that Clerk has refused, at most 10,000.

    Exits with 0, or with 1 if an entry has failed: its line ends with Clerk's error code.
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
        say(f"{len(waiting):,} entries.")
    if any(each["error"] for each in waiting):
        context.exit(NOT_FINE)


@command.command("drain")
@database_option
@patience_option(120)
@json_option
@click.pass_context
def drain(context: click.Context, url: str | None, patience: float, as_json: bool) -> None:
    """Send the entries that are due, and those due in a moment. Several processes can do this at the same time.

    The values come from the repository of your application: name it with --repository.

    Exits with 0 if no entry has failed, otherwise with 1. A failed entry is retried later, at growing intervals.
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
            soon = datetime.now(UTC) + WAIT
            if not any(each.error is None for each in records.outbox(api.instance.name, due=soon)):
                break
            time.sleep(WAIT.total_seconds() / 4)
        failed = [each for each in records.outbox(api.instance.name) if each.error is not None]
    if as_json:
        say_json(total.to_dict())
    else:
        for name, number in total.to_dict().items():
            click.echo(f"{name:<8} {number:>9,}")
    if failed:
        say("clerkmap: some entries have failed. See them with `clerkmap outbox list`.")
        context.exit(NOT_FINE)


@command.command("fill")
@database_option
def fill(url: str | None) -> None:
    """Add an entry for each user and organization with other metadata at Clerk.

    Run it once, for users from before you used write_back. It sends nothing.
    """
    from ..sync.outbox import fill_outbox
    from .formatting import progress

    clerk = instance()
    with repository(url, writes=True) as records, progress() as tell:
        _know(records)
        fill_outbox(records, instance=clerk, progress=tell)
    say("The entries are added. Send them with `clerkmap outbox drain`.")


@command.command("retry")
@database_option
def retry(url: str | None) -> None:
    """Make failed entries due now, after you have fixed the cause."""
    with repository(url, writes=True) as records:
        name = instance().name
        failed = [each for each in records.outbox(name, limit=MOST_SHOWN) if each.error is not None]
        now = datetime.now(UTC)
        moved = sum(records.swap_outbox_entry(each, replace(each, due_at=now)) for each in failed)
    say(f"{moved:,} entries are due now. Send them with `clerkmap outbox drain`.")


def _told(records: "Repository", outbox_entry: "OutboxEntry") -> dict[str, Any]:
    record = records.record(outbox_entry.kind, outbox_entry.instance, outbox_entry.key)
    return {
        "kind": outbox_entry.kind,
        "clerk_id": record.clerk_id if record is not None else None,
        "since": outbox_entry.since.isoformat(),
        "due_at": outbox_entry.due_at.isoformat(),
        "tries": outbox_entry.tries,
        "error": outbox_entry.error,
    }


def _know(records: "Repository") -> None:
    if records.write_back is None:
        from ..errors import ConfigurationError

        raise ConfigurationError(
            "this needs the repository of your application: name it with --repository, and create it "
            "with write_back=WriteBack(...)"
        )
