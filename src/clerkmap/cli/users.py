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

# The source of a record, by the grade at the start of its rank.
_SOURCES = {
    "0": "token: only a token or an export has named the object",
    "1": "embedded: Clerk has sent the object inside another one",
    "2": "full: Clerk has sent the complete object",
    "3": "deleted: deleted at Clerk, or erased by you; this is final",
}
_LINKED = "linked: linked by you; Clerk has not sent the user yet"
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MOST = 20  # users that one name may mean
_UNKNOWN = "clerkmap: no stored user matches. `clerkmap sync` copies the users of Clerk."


@click.command("show")
@click.argument("name", metavar="USER")
@database_option
@json_option
@click.pass_context
def show(context: click.Context, name: str, url: str | None, as_json: bool) -> None:
    """Show the stored data of a user, with its source and its dates.

    USER is an email address, your id, a Clerk id, a username or an external id. No request is sent to Clerk: use
    clerkmap diff to compare. The output is personal data.

    Exits with 0 if a user is found, otherwise with 1.
    """
    with repository(url) as records:
        found = [_Shown(records, user) for user in _called(records, name)]
    if as_json:
        say_json([each.data for each in found])
    for each in found if not as_json else ():
        each.say()
    if not found:
        say(_UNKNOWN)
        context.exit(NOT_FINE)


class _Shown:
    """The stored data of one user, read when this is created."""

    def __init__(self, records: "Repository", user: "User") -> None:
        from ..core.model import role_in_metadata

        self.data: dict[str, Any] = records.export(user.id)
        for each in (*self.data["identities"], *self.data["memberships"]):
            each["source"] = _SOURCES[each["rank"][0]] if each["observed_at"] else _LINKED
        for each in self.data["memberships"]:
            organization = records.record("organization", each["instance"], each["organization_key"])
            each["organization"] = {
                "clerk_id": organization and organization.clerk_id,
                "name": getattr(organization, "name", None),
                "is_deleted": organization is not None and organization.is_deleted,
            }
        self.data["user"]["role_source"] = _role_source(user.role, role_in_metadata(user.clerk))
        self.data["user"]["locked_out"] = _locked_out(self.data)

    def say(self) -> None:
        """Print the data for a person."""
        user = self.data["user"]
        click.secho(f"user {plain(user['id'])}", bold=True)
        click.echo(f"  role        {plain(user['role'] or 'none')}: {user['role_source']}")
        click.echo(f"  created     {moment(user['created_at'])}")
        click.echo(f"  locked out  {user['locked_out'] or 'no'}")
        for each in self.data["identities"]:
            click.echo(f"  identity    {plain(each['clerk_id'] or 'erased')} at {plain(each['instance'])}")
            for name in ("email", "first_name", "last_name", "username", "external_id", "public_metadata"):
                if each[name]:
                    note = {True: " (verified)", False: " (not verified)"}[each["email_verified"]] * (name == "email")
                    click.echo(f"    {name:<16}{plain(_text(each[name]))}{note}")
            _say_source(each)
        memberships = self.data["memberships"]
        full = {(each["instance"], each["organization_key"]) for each in memberships if each["rank"][0] in "12"}
        for each in memberships:
            if each["rank"][0] == "0" and (each["instance"], each["organization_key"]) in full:
                continue  # a token showed the membership before Clerk's own record of it
            where = each["organization"]
            name = plain(where["name"] or where["clerk_id"] or "an unknown organization")
            over = ": the organization is deleted" if where["is_deleted"] else ""
            click.echo(f"  member      of {name} as {plain(each['role'] or 'nothing: the membership has ended')}{over}")
            _say_source(each)


def _say_source(record: dict[str, Any]) -> None:
    click.echo(f"    {'source':<16}{record['source']}")
    if record["updated_at"]:
        click.echo(f"    {'changed':<16}{moment(record['updated_at'])}")
    click.echo(f"    {'received':<16}{moment(record['observed_at'])}")


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _role_source(role: str | None, named: str | None) -> str:
    if role is None:
        return "not set by public_metadata.role or your application"
    if role == named:
        return "from public_metadata.role at Clerk"
    return "set by your application or an earlier public_metadata.role; Clerk has another role now"


def _locked_out(data: dict[str, Any]) -> str | None:
    if data["user"]["deleted_at"] is not None:
        return "deleted"
    if all(each["banned"] for each in data["identities"] if each["rank"][0] != "3"):
        return "banned at Clerk"
    return None


@click.command("export")
@click.argument("name", metavar="USER")
@database_option
def export(name: str, url: str | None) -> None:
    """Print all stored data of a user as JSON, for a data access request.

    USER is as in clerkmap show, and must match exactly one user. Add the data in your own tables yourself.

    Exits with 0 if one user is found, and with 1 if none or several match.
    """
    with repository(url) as records:
        data = records.export(one_of(records, name).id)
    say_json(data)


@click.command("erase")
@click.argument("name", metavar="USER")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--dry-run", is_flag=True, help="Change nothing, and show the user that would be erased.")
@database_option
def erase(name: str, yes: bool, dry_run: bool, url: str | None) -> None:
    """Erase a user permanently: profile, role and memberships. This cannot be undone.

    USER is as in clerkmap show, and must match exactly one user. The row and its id stay, so that foreign keys stay
    valid. Later data from Clerk about the user is ignored, and its tokens are refused. The user is not deleted at
    Clerk: delete it there as well, otherwise it can still sign in there.

    Exits with 0 if the user is erased, and with 1 if none or several match, or if you do not confirm.
    """
    with repository(url, writes=not dry_run, makes=False) as records:
        user = one_of(records, name)
        data = records.export(user.id)
        say(plain(described(user)))
        say(f"Identities: {len(data['identities'])}. Memberships: {len(data['memberships'])}.")
        if dry_run:
            say("Nothing was changed.")
            return
        if not yes:
            click.confirm("Erase this user permanently? This cannot be undone.", abort=True, err=True)
        is_pending = records.erase(user.id).is_pending
    say(f"User {plain(user.id)} is erased. Delete the user at Clerk as well.")
    if is_pending:
        say("Another program is reading the file. The file holds the erased data until that program ends.")


@click.command("set-role")
@click.argument("name", metavar="USER")
@click.argument("role", required=False, callback=role_text)
@click.option("--none", is_flag=True, help="Remove the role, instead of ROLE.")
@database_option
def set_role(name: str, role: str | None, none: bool, url: str | None) -> None:
    """Set the ROLE of a user. From then on your application owns it: no data from Clerk changes it.

    USER is as in clerkmap show, and must match exactly one user. The role applies from the user's next request on.

    Exits with 0 if the role is set, and with 1 if none or several match.
    """
    if (role is None) is not none:
        raise click.UsageError("give either a ROLE or --none")
    with repository(url, writes=True, makes=False) as records:
        before = one_of(records, name)
        after = records.set_role(before.id, role)
    say(plain(f"User {after.id}: {after.role or 'no role'} now, {before.role or 'no role'} before."))


@click.command("link")
@click.argument("clerk_id", callback=printable)
@click.argument("your_id")
@click.option("--create", is_flag=True, help="Create your user with this id if there is none.")
@click.option("--shared", is_flag=True, help="Allow your user to have other identities: they are the same person.")
@instance_option
@database_option
def link(clerk_id: str, your_id: str, create: bool, shared: bool, name: str | None, url: str | None) -> None:
    """Link a Clerk user to your user with this id.

    A user is created with --create only, so that a mistyped id creates none. A Clerk user that is linked to another
    user is refused: use clerkmap unlink first. Your user is refused if it has another identity, unless --shared is
    given.

    Exits with 0 if the link exists, and with 1 if it was refused.
    """
    instance = instance_of(clerk_id, name)
    with repository(url, writes=True, makes=False) as records:
        user = _linked(records, instance, clerk_id, your_id, create=create, shared=shared)
        others = len(records.export(user.id)["identities"]) - 1
    say(plain(f"{clerk_id} at {instance} is linked to your user {user.id}."))
    say(f"Other identities of this user: {others or 'none'}.")


def _linked(records: "Repository", instance: str, clerk_id: str, your_id: str, *, create: bool, shared: bool) -> "User":
    from ..errors import ConfigurationError

    id = known_id(records, your_id)
    if id is None and not create:
        say(
            f"clerkmap: no identity is linked to a user with the id {plain(your_id)}, and nothing was written. "
            "Correct the id, or add --create to create the user."
        )
        raise click.exceptions.Exit(NOT_FINE)
    if id is None:
        id = new_id(records, your_id, instance)
    try:
        return records.link(instance, clerk_id, id, shared=shared)
    except ConfigurationError:
        if isinstance(id, int) or not (id.isascii() and id.isdecimal()):
            raise click.BadParameter(
                f"{plain(your_id)} is not an id that these tables can hold. Nothing was written.",
                param_hint="YOUR_ID",
            ) from None
        return records.link(instance, clerk_id, int(id), shared=shared)  # the first user of tables with numbers


@click.command("unlink")
@click.argument("clerk_id", callback=printable)
@click.argument("your_id")
@instance_option
@first_id_option
@database_option
def unlink(clerk_id: str, your_id: str, name: str | None, first_id: int | None, url: str | None) -> None:
    """Unlink a Clerk user from your user with this id. The Clerk user is linked to a new user.

    The new id is printed. Your old user stays, with its role and the rows that refer to it.

    Exits with 0 if the link is removed, and with 1 if there was no such link.
    """
    instance = instance_of(clerk_id, name)
    with repository(url, writes=True, first_id=first_id) as records:
        id = known_id(records, your_id)
        if id is None:
            say(f"clerkmap: no identity is linked to a user with the id {plain(your_id)}. Nothing was written.")
            raise click.exceptions.Exit(NOT_FINE)
        user = records.unlink(instance, clerk_id, id)
    click.echo(plain(user.id))
    say(plain(f"{clerk_id} at {instance} is linked to your new user {user.id}."))


def one_of(records: "Repository", name: str) -> "User":
    """Return the only user that matches a name, or end the command if none or several match."""
    users = _called(records, name)
    if len(users) == 1:
        return users[0]
    if not users:
        say(_UNKNOWN)
    else:
        say("clerkmap: several users match, and nothing was done. Give the id of one:")
        for user in users:
            say(f"  {plain(described(user))}")
    raise click.exceptions.Exit(NOT_FINE)


def _called(records: "Repository", name: str) -> "list[User]":
    """Return the users with exactly this id, address or username. A beginning of it is not enough here."""
    from ..core.records import key_of

    found: list[User] = []
    for user in records.users(name, deleted=None, limit=_MOST).items:
        texts = {str(user.id)}
        for each in records.export(user.id)["identities"]:
            texts.update(str(each[said]).casefold() for said in ("email", "username") if each[said])
            texts.update(str(each[said]) for said in ("clerk_id", "external_id", "key"))
        if {name, name.casefold(), key_of(name)} & texts:
            found.append(user)
    return found


def described(user: "User") -> str:
    """Return a line that identifies a user to a person."""
    return " ".join(str(each) for each in (user.id, user.name, user.email, user.clerk_id) if each)


def known_id(records: "Repository", text: str) -> "Id | None":
    """Return the id that is written like this, in the type of the repository; None if no identity is linked to it."""
    return next((user.id for user in _called(records, text) if str(user.id) == text), None)


def new_id(records: "Repository", text: str, instance: str) -> "Id":
    """Return an id for a new user, of the same kind as the stored ids."""
    for example in _examples(records, instance):
        if isinstance(example, int):
            if not _NUMBER.fullmatch(text):
                raise _wrong_id("your ids are numbers, and this is not a number")
            return int(text)
        if _UUID.fullmatch(example) and not _UUID.fullmatch(text):
            raise _wrong_id("your ids are UUIDs, and this is not a UUID")
        return text
    return text


def _examples(records: "Repository", instance: str) -> "Iterator[Id]":
    for record in records.records("user", instance, limit=20):
        known = records.find(instance, record.clerk_id) if record.clerk_id else None
        if known is not None:
            yield known.user.id


def _wrong_id(reason: str) -> click.BadParameter:
    return click.BadParameter(f"{reason}. Nothing was written.", param_hint="YOUR_ID")
