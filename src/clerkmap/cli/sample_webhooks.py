"""Sample deliveries: what Clerk would send of a made-up person and a made-up organization, and what answers mean."""

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

PATIENCE = 15.0  # seconds: as long as Clerk waits for an answer
MOST_READ = 65_536  # bytes of an answer

_MEANINGS = {
    400: "refused: it has another signing secret, or another time, or is no endpoint for webhooks",
    401: "refused before it was read: the page wants somebody who is signed in, and Clerk never is",
    403: "refused before it was read: something in front wants a sign-in or a CSRF token, and Clerk has neither",
    404: "there is nothing at this address",
    405: "what is at this address takes no POST",
    408: "it had not come in time",
    413: "it is too large for it",
}


class SendResult(NamedTuple):
    """One delivery: whether it was taken in, what it was answered, and what that means."""

    taken_in: bool
    status: int | None
    told: str


def delivery(
    type: str, secrets: str, data: bytes | None, seed: int, id: str | None, *, to: str
) -> tuple[Message, dict[str, str]]:
    """A sample, and the headers it is signed with."""
    try:
        check_forward(to)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--to") from None
    secret = next((part.strip() for part in secrets.split(",") if part.strip()), "")
    if not secret:
        raise ConfigurationError("set CLERK_WEBHOOK_SIGNING_SECRET to the secret that the endpoint has")
    check_webhook_secret(secret)
    secret += "=" * (-len(secret.removeprefix("whsec_")) % 4)
    body = samples(seed)[type] if data is None else _event(type, data)
    wire = Wire(secret, Clock(), SystemRandom())
    message = wire.say(id or f"msg_{os.urandom(12).hex()}", type, json.dumps(body).encode())
    return message, wire.sign(message)


def samples(seed: int) -> dict[str, dict[str, object]]:
    """An event of each type, all of one story. It names no instance, so that no endpoint takes it for another one's."""
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
    """An event that says what is in a file."""
    try:
        said = read_object(data.strip())
    except ValueError as error:
        raise click.BadParameter(f"it is {error}", param_hint="--data") from None
    if "type" in said and "data" in said:
        if said["type"] != type:
            raise click.BadParameter("it is an event of another type", param_hint="--data")
        return said
    return {"data": said, "object": "event", "timestamp": int(time.time() * 1000), "type": type}


def deliver(url: str, body: bytes, headers: dict[str, str], times: int) -> Iterator[SendResult]:
    """Deliver it so often. Straight to the address, whatever the environment says of proxies."""
    # Unpacked, for what is packed twice may be a thousand times a thousand times as long.
    headers = {**headers, "user-agent": "Svix-Webhooks/clerkmap", "accept-encoding": "identity"}
    with httpx.Client(timeout=PATIENCE, follow_redirects=False, trust_env=False) as client:
        for _ in range(times):
            try:
                with client.stream("POST", url, headers=headers, content=body) as answer:
                    yield _attempt(answer.status_code, _read(answer))
            except httpx.HTTPError as error:
                yield SendResult(False, None, f"{type(error).__name__}: is it running, and reached from here?")


def _read(answer: httpx.Response) -> dict[str, object]:
    """What the answer says, where it is a little JSON."""
    said, until = b"", time.monotonic() + PATIENCE
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
        return SendResult(True, status, ": ".join(["taken in", *told])[:300])
    if status < 400:
        return SendResult(False, status, "it leads elsewhere, and Clerk does not follow: name the address it leads to")
    meaning = "its own failure: Clerk would deliver it again" if status >= 500 else _MEANINGS.get(status, "refused")
    code = said.get("code")
    return SendResult(False, status, f"{meaning} ({code})"[:300] if isinstance(code, str) else meaning)
