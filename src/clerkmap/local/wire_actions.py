"""What can be done on the page to tokens and sessions, to the events on the wire, to the clock, and to all of it."""

import sqlite3
from dataclasses import replace
from typing import Any

from ..testing import ClerkRefuses, FakeSession, Message
from .instance import Box
from .requests import Result, action, found

LONGEST = 10 * 366 * 86_400  # seconds that a clock is moved, or an event is late: a token's times have bounds

# Sessions and tokens


@action
def sign_in(box: Box, user: str, organization: str | None = None) -> Result:
    """A session, and a token of it: good for a minute, as Clerk's are."""
    who = found(box.clerk.users, user, "user")
    where = found(box.clerk.organizations, organization, "organization") if organization else None
    if where is not None and box.clerk.membership(where, who) is None:
        raise ClerkRefuses(
            403, "not_a_member_in_organization", "Only members can make an organization their active one"
        )
    session = box.clerk.sign_in(who, where)
    return {"token": box.clerk.token(who, where, session=session, party=box.party), "session": session.id}


@action
async def look(box: Box, token: str) -> Result:
    """Every check of a token, and who it leads to."""
    return await box.demo.look(token)


@action
def end_session(box: Box, session: str) -> Result:
    """Somebody signs out."""
    box.clerk.end_session(_session(box, session))
    return {}


@action
def revoke_session(box: Box, session: str) -> Result:
    """Somebody is signed out by the application."""
    box.clerk.end_session(_session(box, session), "revoked")
    return {}


@action
def rotate_key(box: Box) -> Result:
    """Sign with another key from now on. Tokens that were signed with the old one are refused."""
    box.clerk.rotate_key()
    return {}


# The wire


@action
def hold(box: Box, message: str) -> Result:
    """Keep an event back."""
    box.clerk.wire.hold(_message(box, message))
    return {}


@action
def release(box: Box, message: str) -> Result:
    """Have an event attempted now."""
    box.clerk.wire.release(_message(box, message))
    return {}


@action
def drop(box: Box, message: str) -> Result:
    """Lose an event."""
    box.clerk.wire.drop(_message(box, message))
    return {}


@action
async def duplicate(box: Box, message: str) -> Result:
    """Attempt an event once more at once. One that is held back stays so: only a copy of it goes out."""
    again = _message(box, message)
    was_held = again.state == "held"
    attempt = await box.postman.attempt(again)
    if was_held:
        box.clerk.wire.hold(again)
    return {"status": attempt.status}


@action
def reorder(box: Box, message: str, before: str | None = None) -> Result:
    """Move an event in front of another one, or to the end. What is held back is delivered in this order."""
    moved = _message(box, message)
    if before == message:
        return {}
    others = [each for each in box.clerk.wire.messages.values() if each is not moved]
    place = len(others) if before is None else others.index(_message(box, before))
    box.clerk.wire.replace([*others[:place], moved, *others[place:]])
    return {}


@action
def deliver(box: Box) -> Result:
    """Attempt everything that is held back, in its order."""
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
    """What goes wrong from now on. What is not given stays as it is."""
    for name, chance in {"duplicate": duplicate, "drop": drop, "delay": delay}.items():
        if chance is not None and not 0 <= chance <= 1:
            raise ClerkRefuses(422, "form_param_value_invalid", "A chance is from 0 to 1", name)
    if delay_seconds is not None and not 0 <= delay_seconds <= LONGEST:
        raise ClerkRefuses(422, "form_param_value_invalid", "That is too long, or less than nothing", "delay_seconds")
    said: dict[str, Any] = {"hold_all": hold_all, "shuffle": shuffle, "offline": offline}
    said |= {"duplicate": duplicate, "drop": drop, "delay": delay, "delay_seconds": delay_seconds}
    box.postman.chaos = replace(box.postman.chaos, **{name: value for name, value in said.items() if value is not None})
    return {}


# All of it


@action
def advance(box: Box, seconds: float) -> Result:
    """Move Clerk's clock on, and the demo app's with it. What is due by then is attempted."""
    if not 0 <= seconds <= LONGEST or box.clerk.clock.shift + seconds > LONGEST:
        raise ClerkRefuses(422, "form_param_value_invalid", "The clock moves forward, by ten years at most", "seconds")
    box.clerk.clock.advance(seconds)
    box.postman.wake()
    return {}


@action
async def reset(box: Box) -> Result:
    """Forget everything but the keys."""
    try:
        await box.reset()
    except sqlite3.OperationalError:
        raise ClerkRefuses(503, "database_busy", "Somebody else is writing to the database. Try again") from None
    return {}


def _message(box: Box, id: str) -> Message:
    message: Message = found(box.clerk.wire.messages, id, "message")
    return message


def _session(box: Box, id: str) -> FakeSession:
    session: FakeSession = found(box.clerk.sessions, id, "session")
    return session
