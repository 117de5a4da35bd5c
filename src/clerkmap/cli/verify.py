"""`clerkmap verify`: check a token, and show the user that it authenticates."""

import sys
from typing import TYPE_CHECKING

import click

from .failures import NOT_FINE
from .formatting import say
from .options import database_option, instance, json_option, repository_named, say_json

if TYPE_CHECKING:
    from ..auth.explain import Explanation
    from ..auth.verifier import Verifier
    from ..core.instance import Instance


@click.command("verify")
@click.argument("token")
@database_option
@json_option
@click.pass_context
def command(context: click.Context, token: str, url: str | None, as_json: bool) -> None:
    """Check a session token, and show each check and the user that the token authenticates.

    For an API key, or another token that is not a JWT, a request is sent to Clerk; every kind is accepted.

    Give - as the TOKEN to read it from stdin, which keeps it out of the shell's history. Without a database, only the
    token is checked. Nothing is written: a new user is created for the answer and rolled back. In the repository of
    your application even that is left out, since its hooks cannot be undone.

    Exits with 0 if the token is accepted, and with 1 if it is refused.
    """
    if token == "-":  # noqa: S105 - not a token: it means stdin
        if sys.stdin.isatty():
            say("Paste the token, and press Enter:")
        token = sys.stdin.readline().strip()
    explanation, is_new = _explained(instance(), token, url)
    with_database = bool(url) or repository_named() is not None
    if as_json:
        say_json(explanation.to_dict() | {"first_sight": is_new})
    else:
        _say(explanation, is_new=is_new, with_database=with_database)
    if explanation.error is not None:
        context.exit(NOT_FINE)


def _explained(clerk: "Instance", token: str, url: str | None) -> "tuple[Explanation, bool]":
    """Return the explanation of a token, and whether its user is new."""
    from ..auth.explain import explain
    from ..auth.resolver import Resolver
    from ..auth.verifier import Verifier
    from ..clerk import ClerkApi
    from ..core.opaque_tokens import prefix_of

    verifier = Verifier(clerk) if prefix_of(token) is None else _verifier_of_opaque_tokens(clerk)
    alone = explain(verifier, token)  # fetches the keys, so that no transaction waits for them
    if not url and repository_named() is None:
        return alone, False
    from .database import NotWritten
    from .options import database

    place = database(url)
    found = place.check(place.look())
    known = alone.payload if alone.error is None else None
    try:
        with place.trying(found) as records:
            is_new = known is not None and records.find(clerk.name, known["sub"]) is None
            api = ClerkApi(clerk) if records.needs_full_user else None
            explanation = explain(Resolver(clerk, records, verifier=verifier, api=api), token)
    except NotWritten:
        return alone, True
    principal = explanation.principal
    return explanation, is_new and principal is not None and principal.optional_user is not None


def _verifier_of_opaque_tokens(clerk: "Instance") -> "Verifier":
    from ..auth.verifier import Verifier
    from ..clerk import OpaqueTokens
    from ..core.token_rules import CLERK_KINDS

    return Verifier(clerk, accept=CLERK_KINDS, opaque=OpaqueTokens(clerk))


def _say(explanation: "Explanation", *, is_new: bool, with_database: bool) -> None:
    from .formatting import mark, plain

    for check in explanation.checks:
        say(f"{mark(check.passed)} {check.name:<16} {plain(check.told)}", err=False, indent=19)
    click.echo()
    principal = explanation.principal
    if explanation.error is not None:
        click.echo(f"{click.style('Refused', fg='red', bold=True)}: {explanation.error.code}")
    elif principal is None:
        click.echo(f"{click.style('Accepted', fg='green', bold=True)}: the token is valid.")
        if is_new:
            say("The first request creates the user or the membership.")
    else:
        user, organization, membership = principal.optional_user, principal.organization, principal.membership
        shown = "the key of an organization"
        if user is not None:
            shown = plain(" ".join(filter(None, ("your user", str(user.id), user.name, user.email))))
        click.echo(f"{click.style('Accepted', fg='green', bold=True)}: {shown}")
        if organization is not None:
            place = " ".join(filter(None, (str(organization.id), organization.name)))
            role = f" as {membership.role}" if membership is not None else ""
            click.echo(plain(f"in your organization {place}{role}"))
        if is_new:
            say("This user is new: the first request creates it, with another id.")
    if not with_database:
        say("Give --database to see your user, and whether the user is locked out.")
