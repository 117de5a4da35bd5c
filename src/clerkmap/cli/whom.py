"""Whom a command is about: exactly one user of yours, by whatever they are called."""

from typing import TYPE_CHECKING

import click

from .codes import NOT_FINE

if TYPE_CHECKING:
    from ..core.model import Id, User
    from ..repository import Repository


def one_of(records: "Repository", who: str) -> "User":
    """The user of yours who is called that. Where there is nobody, or there are several, the command ends."""
    from .showing import plain

    users = records.search(who)
    if len(users) == 1:
        return users[0]
    if not users:
        click.echo("clerkmap: nobody is stored who is called that. `clerkmap sync` brings what Clerk has.", err=True)
    else:
        click.echo("clerkmap: several are called that, and nothing was done. Say which by the id:", err=True)
        for user in users:
            click.echo(f"  {plain(described(user))}", err=True)
    raise click.exceptions.Exit(NOT_FINE)


def described(user: "User") -> str:
    """What to call a user before a person who is to decide."""
    return " ".join(str(each) for each in (user.id, user.name, user.email, user.clerk_id) if each)


def id_of(records: "Repository", text: str, instance: str) -> "Id":
    """An id of yours as the repository keeps it: a number where ids are numbers."""
    for user in records.search(text):
        if str(user.id) == text:
            return user.id
    if not text.isascii() or not text.isdecimal():
        return text
    # Nobody has that id yet. What the ids of others are, this one is to be, too.
    for record in records.records("user", instance):
        known = records.find(instance, record.clerk_id) if record.clerk_id else None
        if known is not None:
            return int(text) if isinstance(known.user.id, int) else text
    return text
