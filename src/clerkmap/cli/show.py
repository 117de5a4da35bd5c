"""`clerkmap show`: what is stored of somebody, from where, since when, and why it is what it is."""

from typing import TYPE_CHECKING, Any

import click

from .codes import NOT_FINE
from .formatting import say
from .options import database_option, json_option, repository, say_json

if TYPE_CHECKING:
    from ..core.model import User
    from ..ports import Repository

# From where a record comes, by the grade that its rank begins with.
_SOURCES = {
    "0": "sighted: nothing but a token or an export has named it",
    "1": "glimpsed: Clerk has told of it inside another object",
    "2": "stated: Clerk has told all of it",
    "3": "deleted: Clerk has said so, or you have erased it, and nothing brings it back",
}
_LINKED = "linked: you have linked it, and Clerk has not told of it yet"


@click.command("show")
@click.argument("who")
@database_option
@json_option
@click.pass_context
def command(context: click.Context, who: str, url: str | None, as_json: bool) -> None:
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
        from .formatting import moment, plain

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
    from .formatting import moment

    click.echo(f"    {'from':<16}{record['source']}")
    if record["updated_at"]:
        click.echo(f"    {'changed there':<16}{moment(record['updated_at'])}")
    click.echo(f"    {'told to us':<16}{moment(record['observed_at'] or None)}")


def _text(value: object) -> str:
    import json

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
