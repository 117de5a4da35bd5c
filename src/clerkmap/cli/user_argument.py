"""Whom a command is about: exactly one user of yours, by whatever they are called."""

import re
from typing import TYPE_CHECKING

import click

from .codes import NOT_FINE
from .formatting import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..core.model import Id, User
    from ..ports import Repository

_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def one_of(records: "Repository", who: str) -> "User":
    """The user of yours who is called that. Where there is nobody, or there are several, the command ends."""
    from .formatting import plain

    users = records.search(who)
    if len(users) == 1:
        return users[0]
    if not users:
        say("clerkmap: no stored user matches. `clerkmap sync` copies the users of Clerk.")
    else:
        say("clerkmap: several are called that, and nothing was done. Say which by the id:")
        for user in users:
            say(f"  {plain(described(user))}")
    raise click.exceptions.Exit(NOT_FINE)


def described(user: "User") -> str:
    """What to call a user before a person who is to decide."""
    return " ".join(str(each) for each in (user.id, user.name, user.email, user.clerk_id) if each)


def known_id(records: "Repository", text: str) -> "Id | None":
    """The id of your user that is spelled like this, as the repository keeps it; None where no identity leads there."""
    return next((user.id for user in records.search(text) if str(user.id) == text), None)


def new_id(records: "Repository", text: str, instance: str) -> "Id":
    """An id for a new user of yours, of the same kind as the ids of the users that are stored."""
    for example in _examples(records, instance):
        if isinstance(example, int):
            if not _NUMBER.fullmatch(text):
                raise _wrong_id("your ids are numbers, and this is none")
            return int(text)
        if _UUID.fullmatch(example) and not _UUID.fullmatch(text):
            raise _wrong_id("your ids are UUIDs, and this is none")
        return text
    return text


def _examples(records: "Repository", instance: str) -> "Iterator[Id]":
    for record in records.records("user", instance, limit=20):
        known = records.find(instance, record.clerk_id) if record.clerk_id else None
        if known is not None:
            yield known.user.id


def _wrong_id(told: str) -> click.BadParameter:
    return click.BadParameter(f"{told}. Nothing was written.", param_hint="YOUR_ID")
