"""Sample webhook deliveries about a made-up user and organization, and the meaning of the answers."""

import json
import os
import time
from collections.abc import Iterator
from random import SystemRandom
from typing import NamedTuple

import click
import httpx

from ..core.strict_json import fields, read_object
from ..core.validation import check_webhook_secret
from ..errors import ConfigurationError
from ..local.forward import check_forward
from ..testing import Clock, FakeClerk, Message, Wire

TIMEOUT = 15.0  # seconds: the timeout of Clerk
MOST_READ = 65_536  # bytes of an answer

_MEANINGS = {
    400: "refused: wrong signing secret, wrong clock, or no webhook endpoint at this address",
    401: "refused unread: the endpoint requires a signed-in user, and webhooks have none",
    403: "refused unread: the endpoint or a proxy requires a sign-in or a CSRF token, and webhooks have none",
    404: "there is no endpoint at this address",
    405: "this address does not accept POST",
    408: "the endpoint timed out",
    413: "the body is too large for the endpoint",
}


class SendResult(NamedTuple):
    """One delivery: whether it was accepted, the status of the answer, and its meaning."""

    taken_in: bool
    status: int | None
    told: str


def delivery(
    type: str, secrets: str, data: bytes | None, seed: int, id: str | None, *, to: str
) -> tuple[Message, dict[str, str]]:
    """Return a sample and its signed headers."""
    try:
        check_forward(to)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--to") from None
    secret = next((part.strip() for part in secrets.split(",") if part.strip()), "")
    if not secret:
        raise ConfigurationError("set CLERK_WEBHOOK_SIGNING_SECRET to the signing secret of the endpoint")
    check_webhook_secret(secret)
    secret += "=" * (-len(secret.removeprefix("whsec_")) % 4)
    body = samples(seed)[type] if data is None else _event(type, data)
    wire = Wire(secret, Clock(), SystemRandom())
    message = wire.say(id or f"msg_{os.urandom(12).hex()}", type, json.dumps(body).encode())
    return message, wire.sign(message)


def samples(seed: int) -> dict[str, dict[str, object]]:
    """Return one event of each type, about the same user and organization.

    Without an instance id, any endpoint accepts them.
    """
    clerk = FakeClerk(seed)
    ada = clerk.create_user(f"sample-{seed}@example.com", first_name="Sample", last_name="Person")
    acme = clerk.create_organization(f"Sample {seed}", created_by=ada)
    clerk.update_user(ada, first_name="Another")
    clerk.update_organization(acme, name=f"Another sample {seed}")
    clerk.add_member(acme, ada, role="org:member")
    clerk.revoke_invitation(clerk.invite(acme, "nobody@example.com"))
    clerk.accept_invitation(clerk.invite(acme, "somebody@example.com"))
    for ending in ("ended", "removed", "revoked"):
        clerk.end_session(clerk.sign_in(ada, acme), ending)
    clerk.sign_in(ada, pending=True)
    clerk.remove_member(acme, ada)
    clerk.delete_user(ada)
    clerk.delete_organization(acme)
    told: dict[str, dict[str, object]] = {}
    for message in clerk.wire.messages.values():
        told.setdefault(message.type, fields(json.loads(message.body)))
    for event in told.values():
        del event["instance_id"]
    return told


def _event(type: str, data: bytes) -> dict[str, object]:
    """Return an event with the content of a file."""
    try:
        said = read_object(data.strip())
    except ValueError as error:
        raise click.BadParameter(f"it is {error}", param_hint="--data") from None
    if "type" in said and "data" in said:
        if said["type"] != type:
            raise click.BadParameter("the event has another type", param_hint="--data")
        return said
    return {"data": said, "object": "event", "timestamp": int(time.time() * 1000), "type": type}


def deliver(url: str, body: bytes, headers: dict[str, str], times: int) -> Iterator[SendResult]:
    """Deliver a body a number of times, without the proxies of the environment."""
    # Compressed answers are not accepted: nested compression can expand without bound.
    headers = {**headers, "user-agent": "Svix-Webhooks/clerkmap", "accept-encoding": "identity"}
    with httpx.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client:
        for _ in range(times):
            try:
                with client.stream("POST", url, headers=headers, content=body) as answer:
                    yield _attempt(answer.status_code, _read(answer))
            except httpx.HTTPError as error:
                yield SendResult(False, None, f"{type(error).__name__}: check that it is running and reachable")


def _read(answer: httpx.Response) -> dict[str, object]:
    """Return a small JSON answer, otherwise an empty object."""
    said, until = b"", time.monotonic() + TIMEOUT
    for piece in answer.iter_raw():
        said += piece
        if len(said) > MOST_READ or time.monotonic() > until:
            return {}
    try:
        return read_object(said.strip())
    except ValueError:
        return {}


def _attempt(status: int, said: dict[str, object]) -> SendResult:
    if 200 <= status < 300:
        told = [each for each in (said.get("outcome"), said.get("reason")) if isinstance(each, str)]
        return SendResult(True, status, ": ".join(["accepted", *told])[:300])
    if status < 400:
        return SendResult(False, status, "a redirect, which Clerk does not follow: use the target address")
    meaning = "a server error: Clerk would retry the delivery" if status >= 500 else _MEANINGS.get(status, "refused")
    code = said.get("code")
    return SendResult(False, status, f"{meaning} ({code})"[:300] if isinstance(code, str) else meaning)
