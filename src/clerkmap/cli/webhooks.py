"""`clerkmap webhooks send`: a sample delivery, to try an endpoint with."""

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
    """Try an endpoint for webhooks."""


@command.command("send")
@click.argument("type", type=click.Choice(TYPES), metavar="TYPE")
@click.option("--to", "url", required=True, metavar="URL", help="Your endpoint.")
@click.option("--data", type=click.File("rb"), help="What it is to say, as JSON: the data of an event, or all of it.")
@click.option("--seed", default=0, show_default=True, help="Whom a sample is about: each number is somebody else.")
@click.option("--id", help="The id of the delivery.  [default: a new one]")
@click.option("--times", default=1, show_default=True, type=click.IntRange(1, 1000), help="How often to deliver it.")
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
    """Deliver a sample webhook of a TYPE, really signed, as Clerk would, and tell what the answer means.

    TYPE is such as user.created, organizationMembership.deleted or session.revoked. It is signed with the first secret
    in CLERK_WEBHOOK_SIGNING_SECRET. Samples of one --seed are about the same made-up person and organization: an
    endpoint that takes them in has made them, and user.deleted and organization.deleted end them, for good.

    Ends with 0 where every delivery was taken in, and with 1 where one was not.
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

    status = "no answer" if attempt.status is None else attempt.status
    click.echo(f"{mark(attempt.taken_in)} {status}  {plain(attempt.told)}")
