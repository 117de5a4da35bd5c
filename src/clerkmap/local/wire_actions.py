"""The actions of the page on tokens, sessions, events and the clock, and the reset."""

import sqlite3
from dataclasses import replace
from typing import Any

from ..testing import ClerkRefuses, FakeSession, Message
from .instance import Box
from .requests import Result, action, found

LONGEST = 10 * 366 * 86_400  # seconds of a move of the clock or a delay: the times in a token are bounded

# Sessions and tokens


@action
def sign_in(box: Box, user: str, organization: str | None = None) -> Result:
    """Start a session, and return a token that is valid for a minute."""
    who = found(box.clerk.users, user, "user")
    where = found(box.clerk.organizations, organization, "organization") if organization else None
    if where is not None and box.clerk.membership(where, who) is None:
        raise ClerkRefuses(403, "not_a_member_in_organization", "Only a member can make an organization active")
    session = box.clerk.sign_in(who, where)
    return {"token": box.clerk.token(who, where, session=session, party=box.party), "session": session.id}


@action
async def look(box: Box, token: str) -> Result:
    """Run every check on a token, and return its user."""
    return await box.demo.look(token)


@action
def end_session(box: Box, session: str) -> Result:
    """Sign a user out."""
    box.clerk.end_session(_session(box, session))
    return {}


@action
def revoke_session(box: Box, session: str) -> Result:
    """Revoke a session."""
    box.clerk.end_session(_session(box, session), "revoked")
    return {}


@action
def rotate_key(box: Box) -> Result:
    """Replace the signing key. Old tokens are refused."""
    box.clerk.rotate_key()
    return {}


# Events


@action
def hold(box: Box, message: str) -> Result:
    """Hold an event."""
    box.clerk.wire.hold(_message(box, message))
    return {}


@action
def release(box: Box, message: str) -> Result:
    """Attempt an event now."""
    box.clerk.wire.release(_message(box, message))
    return {}


@action
def drop(box: Box, message: str) -> Result:
    """Lose an event."""
    box.clerk.wire.drop(_message(box, message))
    return {}


@action
async def duplicate(box: Box, message: str) -> Result:
    """Attempt an event once more. A held event stays held, and only its copy is sent."""
    again = _message(box, message)
    was_held = again.state == "held"
    attempt = await box.postman.attempt(again)
    if was_held:
        box.clerk.wire.hold(again)
    return {"status": attempt.status}


@action
def reorder(box: Box, message: str, before: str | None = None) -> Result:
    """Move an event before another one, or to the end. Held events are delivered in this order."""
    moved = _message(box, message)
    if before == message:
        return {}
    others = [each for each in box.clerk.wire.messages.values() if each is not moved]
    place = len(others) if before is None else others.index(_message(box, before))
    box.clerk.wire.replace([*others[:place], moved, *others[place:]])
    return {}


@action
def deliver(box: Box) -> Result:
    """Attempt all held events in order."""
    held = [each for each in box.clerk.wire.messages.values() if each.state == "held"]
    for message in held:
        box.clerk.wire.release(message)
    return {"released": len(held)}


@action
def chaos(
    box: Box,
    hold_all: bool | None = None,
    shuffle: bool | None = None,
    duplicate: float | None = None,
    drop: float | None = None,
    delay: float | None = None,
    delay_seconds: float | None = None,
    offline: bool | None = None,
) -> Result:
    """Set the faults. A missing field stays."""
    for name, chance in {"duplicate": duplicate, "drop": drop, "delay": delay}.items():
        if chance is not None and not 0 <= chance <= 1:
            raise ClerkRefuses(422, "form_param_value_invalid", "A probability must be from 0 to 1", name)
    if delay_seconds is not None and not 0 <= delay_seconds <= LONGEST:
        raise ClerkRefuses(422, "form_param_value_invalid", "The time is negative or too long", "delay_seconds")
    said: dict[str, Any] = {"hold_all": hold_all, "shuffle": shuffle, "offline": offline}
    said |= {"duplicate": duplicate, "drop": drop, "delay": delay, "delay_seconds": delay_seconds}
    box.postman.chaos = replace(box.postman.chaos, **{name: value for name, value in said.items() if value is not None})
    return {}


# Everything


@action
def advance(box: Box, seconds: float) -> Result:
    """Move the clock of Clerk and of the demo application forward, and attempt the events that become due."""
    if not 0 <= seconds <= LONGEST or box.clerk.clock.shift + seconds > LONGEST:
        raise ClerkRefuses(
            422, "form_param_value_invalid", "The clock can only move forward, by at most ten years", "seconds"
        )
    box.clerk.clock.advance(seconds)
    box.postman.wake()
    return {}


@action
async def reset(box: Box) -> Result:
    """Delete everything but the keys."""
    try:
        await box.reset()
    except sqlite3.OperationalError:
        raise ClerkRefuses(503, "database_busy", "Another process is writing to the database. Try again") from None
    return {}


def _message(box: Box, id: str) -> Message:
    message: Message = found(box.clerk.wire.messages, id, "message")
    return message


def _session(box: Box, id: str) -> FakeSession:
    session: FakeSession = found(box.clerk.sessions, id, "session")
    return session
