"""`clerkmap webhooks send`: a sample delivery to test an endpoint."""

import os
from typing import IO, TYPE_CHECKING

import click

from .failures import NOT_FINE
from .options import json_option, say_json

if TYPE_CHECKING:
    from .sample_webhooks import SendResult

SECRET = "CLERK_WEBHOOK_SIGNING_SECRET"  # noqa: S105 - the name of a variable
TYPES = (
    *("user.created", "user.updated", "user.deleted"),
    *("organization.created", "organization.updated", "organization.deleted"),
    *("organizationMembership.created", "organizationMembership.updated", "organizationMembership.deleted"),
    *("organizationInvitation.created", "organizationInvitation.accepted", "organizationInvitation.revoked"),
    *("session.created", "session.pending", "session.ended", "session.removed", "session.revoked"),
)


@click.group("webhooks")
def command() -> None:
    """Test a webhook endpoint."""


@command.command("send")
@click.argument("type", type=click.Choice(TYPES), metavar="TYPE")
@click.option("--to", "url", required=True, metavar="URL", help="Your endpoint.")
@click.option("--data", type=click.File("rb"), help="A JSON file with the data of the event, or with the whole event.")
@click.option("--seed", default=0, show_default=True, help="The user of the sample: each number is another user.")
@click.option("--id", help="The id of the delivery.  [default: a new one]")
@click.option("--times", default=1, show_default=True, type=click.IntRange(1, 1000), help="The number of deliveries.")
@json_option
@click.pass_context
def send(
    context: click.Context,
    type: str,
    url: str,
    data: IO[bytes] | None,
    seed: int,
    id: str | None,
    times: int,
    as_json: bool,
) -> None:
    """Send a sample webhook of a TYPE, signed like Clerk's, and explain the answer.

    TYPE is such as user.created, organizationMembership.deleted or session.revoked. The first secret in
    CLERK_WEBHOOK_SIGNING_SECRET signs it. Samples with the same --seed have the same made-up user and organization: an
    endpoint that accepts them creates those, and user.deleted and organization.deleted delete them permanently.

    Exits with 0 if every delivery was accepted, otherwise with 1.
    """
    from .sample_webhooks import deliver, delivery

    message, headers = delivery(
        type, os.environ.get(SECRET, ""), None if data is None else data.read(), seed, id, to=url
    )
    attempts: list[SendResult] = []
    for attempt in deliver(url, message.body, headers, times):
        attempts.append(attempt)
        if not as_json:
            _say(attempt)
    if as_json:
        say_json({"id": message.id, "type": type, "attempts": [each._asdict() for each in attempts]})
    if not all(each.taken_in for each in attempts):
        context.exit(NOT_FINE)


def _say(attempt: "SendResult") -> None:
    from .formatting import mark, plain

    status = "no response" if attempt.status is None else attempt.status
    click.echo(f"{mark(attempt.taken_in)} {status}  {plain(attempt.told)}")
