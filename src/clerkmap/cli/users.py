"""The commands about one user: `clerkmap show`, `export`, `erase`, `set-role`, `link` and `unlink`."""

import json
import re
from typing import TYPE_CHECKING, Any

import click

from .failures import NOT_FINE
from .formatting import moment, plain, say
from .options import (
    database_option,
    first_id_option,
    instance_of,
    instance_option,
    json_option,
    printable,
    repository,
    role_text,
    say_json,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..core.model import Id, User
    from ..ports import Repository

# From where a record comes, by the grade that its rank begins with.
_SOURCES = {
    "0": "sighted: nothing but a token or an export has named it",
    "1": "glimpsed: Clerk has told of it inside another object",
    "2": "stated: Clerk has told all of it",
    "3": "deleted: Clerk has said so, or you have erased it, and nothing brings it back",
}
_LINKED = "linked: you have linked it, and Clerk has not told of it yet"
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@click.command("show")
@click.argument("who")
@database_option
@json_option
@click.pass_context
def show(context: click.Context, who: str, url: str | None, as_json: bool) -> None:
    """What is stored of somebody, from where, since when, and why it is what it is.

    WHO is an e-mail address, an id of yours, an id at Clerk, a username or an external id. Clerk is not asked: what it
    says now, clerkmap diff compares. What is shown is personal.

    Ends with 0 where somebody is found, and with 1 where nobody is.
    """
    with repository(url) as records:
        found = [_Shown(records, user) for user in records.search(who)]
    if as_json:
        say_json([each.told for each in found])
    for each in found if not as_json else ():
        each.say()
    if not found:
        say("clerkmap: no stored user matches. `clerkmap sync` copies the users of Clerk.")
        context.exit(NOT_FINE)


class _Shown:
    """One user of yours. Everything is read when it is made."""

    def __init__(self, records: "Repository", user: "User") -> None:
        from ..core.merging import role_in_metadata

        self.told: dict[str, Any] = records.export(user.id)
        for each in (*self.told["identities"], *self.told["memberships"]):
            each["source"] = _SOURCES[each["rank"][0]] if each["observed_at"] else _LINKED
        for each in self.told["memberships"]:
            organization = records.record("organization", each["instance"], each["organization_key"])
            each["organization"] = {
                "clerk_id": organization and organization.clerk_id,
                "name": getattr(organization, "name", None),
                "is_deleted": organization is not None and organization.is_deleted,
            }
        named = {role_in_metadata(user.clerk)} - {None}
        self.told["user"]["role_source"] = _role_source(user.role, named)
        self.told["user"]["locked_out"] = _locked_out(self.told)

    def say(self) -> None:
        """Tell it to a person."""
        user = self.told["user"]
        click.secho(f"user {plain(user['id'])}", bold=True)
        click.echo(f"  role        {plain(user['role'] or 'none')}: {user['role_source']}")
        click.echo(f"  made        {moment(user['created_at'])}")
        click.echo(f"  locked out  {user['locked_out'] or 'no'}")
        for each in self.told["identities"]:
            click.echo(f"  identity    {plain(each['clerk_id'] or 'forgotten')} at {plain(each['instance'])}")
            for name in ("email", "first_name", "last_name", "username", "external_id", "public_metadata"):
                if each[name]:
                    note = {True: " (verified)", False: " (not verified)"}[each["email_verified"]] * (name == "email")
                    click.echo(f"    {name:<16}{plain(_text(each[name]))}{note}")
            _say_source(each)
        for each in self.told["memberships"]:
            where = each["organization"]
            name = plain(where["name"] or where["clerk_id"] or "an organization that is not known")
            over = ": the organization is deleted" if where["is_deleted"] else ""
            click.echo(f"  member      of {name} as {plain(each['role'] or 'nothing any longer')}{over}")
            _say_source(each)


def _say_source(record: dict[str, Any]) -> None:
    click.echo(f"    {'from':<16}{record['source']}")
    if record["updated_at"]:
        click.echo(f"    {'changed there':<16}{moment(record['updated_at'])}")
    click.echo(f"    {'told to us':<16}{moment(record['observed_at'] or None)}")


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _role_source(role: str | None, named: set[str | None]) -> str:
    if role is None:
        return "neither public_metadata.role nor you have named one"
    if role in named:
        return "as public_metadata.role says at Clerk"
    return "yours, or what public_metadata.role said first: at Clerk it does not say so now"


def _locked_out(told: dict[str, Any]) -> str | None:
    if told["user"]["deleted_at"] is not None:
        return "deleted"
    if all(each["banned"] for each in told["identities"] if each["rank"][0] != "3"):
        return "banned at Clerk"
    return None


@click.command("export")
@click.argument("who")
@database_option
def export(who: str, url: str | None) -> None:
    """Everything that is stored of somebody, as JSON: what they are entitled to see.

    WHO is as in clerkmap show, and must be exactly one. What your own tables hold of them is yours to add.

    Ends with 0 where somebody is found, and with 1 where nobody is called that, or several are.
    """
    with repository(url) as records:
        told = records.export(one_of(records, who).id)
    say_json(told)


@click.command("erase")
@click.argument("who")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Change nothing, and tell who would be forgotten.")
@database_option
def erase(who: str, yes: bool, dry_run: bool, url: str | None) -> None:
    """Forget somebody for good: their profile, their role, their memberships. It cannot be undone.

    WHO is as in clerkmap show, and must be exactly one. The row and its id stay, so that what points to them holds. It
    is as if Clerk had deleted them: whatever it still says of them stays out, and their tokens are refused. At Clerk
    they are not deleted: do that too, or they can sign in there, and are refused here.

    Ends with 0 where they are forgotten, and with 1 where nobody is called that, or several are, or the answer was no.
    """
    with repository(url, writes=not dry_run, makes=False) as records:
        user = one_of(records, who)
        told = records.export(user.id)
        say(plain(described(user)))
        say(f"Identities: {len(told['identities'])}. Memberships: {len(told['memberships'])}.")
        if dry_run:
            say("Nothing was changed.")
            return
        if not yes:
            click.confirm("Forget them for good? This cannot be undone.", abort=True, err=True)
        is_pending = records.erase(user.id).is_pending
    say(f"User {plain(user.id)} is forgotten. Delete them at Clerk, too.")
    if is_pending:
        say("Another program is reading the file: it holds the erased data until that ends.")


@click.command("set-role")
@click.argument("who")
@click.argument("role", required=False, callback=role_text)
@click.option("--none", is_flag=True, help="No role at all, in place of ROLE.")
@database_option
def set_role(who: str, role: str | None, none: bool, url: str | None) -> None:
    """Give somebody a ROLE of yours. From then on it is yours: nothing that Clerk says changes it.

    WHO is as in clerkmap show, and must be exactly one. It holds from their next request on.

    Ends with 0 where it is so now, and with 1 where nobody is called that, or several are.
    """
    if (role is None) is not none:
        raise click.UsageError("give either a ROLE or --none")
    with repository(url, writes=True, makes=False) as records:
        before = one_of(records, who)
        after = records.set_role(before.id, role)
    say(plain(f"User {after.id}: {after.role or 'no role'} now, {before.role or 'no role'} before."))


@click.command("link")
@click.argument("clerk_id", callback=printable)
@click.argument("your_id")
@click.option("--create", is_flag=True, help="Make your user of that id, if there is none.")
@click.option("--shared", is_flag=True, help="Both are one person: your user may have another identity already.")
@instance_option
@database_option
def link(clerk_id: str, your_id: str, create: bool, shared: bool, name: str | None, url: str | None) -> None:
    """Tie somebody at Clerk to your user of that id.

    A user is made only with --create, so that a mistyped id makes none. It is refused where they are tied to another
    user: take them from that one first, with clerkmap unlink. And it is refused where your user has another identity,
    unless --shared says that both are one person.

    Ends with 0 where it is so now, and with 1 where it was refused.
    """
    whose = instance_of(clerk_id, name)
    with repository(url, writes=True, makes=False) as records:
        user = _linked(records, whose, clerk_id, your_id, create=create, shared=shared)
        others = len(records.export(user.id)["identities"]) - 1
    say(plain(f"{clerk_id} at {whose} leads to your user {user.id}."))
    say(f"Others who lead there: {others or 'none'}.")


def _linked(records: "Repository", whose: str, clerk_id: str, your_id: str, *, create: bool, shared: bool) -> "User":
    from ..errors import ConfigurationError

    id = known_id(records, your_id)
    if id is None and not create:
        say(
            f"clerkmap: no identity leads to a user of yours with the id {plain(your_id)}, and nothing was written. "
            "Correct the id, or say --create, which makes the user if there is none."
        )
        raise click.exceptions.Exit(NOT_FINE)
    if id is None:
        id = new_id(records, your_id, whose)
    try:
        return records.link(whose, clerk_id, id, shared=shared)
    except ConfigurationError:
        if isinstance(id, int) or not (id.isascii() and id.isdecimal()):
            raise click.BadParameter(
                f"{plain(your_id)} is no id that these tables can hold. Nothing was written.", param_hint="YOUR_ID"
            ) from None
        return records.link(whose, clerk_id, int(id), shared=shared)  # the first of all, where ids are numbers


@click.command("unlink")
@click.argument("clerk_id", callback=printable)
@click.argument("your_id")
@instance_option
@first_id_option
@database_option
def unlink(clerk_id: str, your_id: str, name: str | None, first_id: int | None, url: str | None) -> None:
    """Take somebody at Clerk from your user of that id. They are a new user of yours from then on.

    The new id is printed. Your user of the old id stays, with its role and all that points to it.

    Ends with 0 where it is so now, and with 1 where they were not tied to that user.
    """
    whose = instance_of(clerk_id, name)
    with repository(url, writes=True, first_id=first_id) as records:
        id = known_id(records, your_id)
        if id is None:
            say(f"clerkmap: no identity leads to a user of yours with the id {plain(your_id)}. Nothing was written.")
            raise click.exceptions.Exit(NOT_FINE)
        user = records.unlink(whose, clerk_id, id)
    click.echo(plain(user.id))
    say(plain(f"{clerk_id} at {whose} leads to your user {user.id} now, who is new."))


def one_of(records: "Repository", who: str) -> "User":
    """The user of yours who is called that. Where there is nobody, or there are several, the command ends."""
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
