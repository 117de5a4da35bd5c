"""`clerkmap verify`: every check that is made of a token, and whom it stands for."""

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
    """Every check that is made of a session token, ticked or crossed, and whom of yours it stands for.

    Of an API key, or another token that is no JWT, Clerk is asked what it stands for; each kind is accepted.

    Give - as the TOKEN to have it read from the standard input, so that it does not stand in the shell's history.
    Without a database, it tells what the token alone proves. Nothing is written: a person seen for the first time is
    made for the answer, and unmade again; in a repository of your own, whose hooks nobody could undo, not even that.

    Ends with 0 where the token is accepted, and with 1 where it is refused.
    """
    if token == "-":  # noqa: S105 - no token: it stands for the standard input
        if sys.stdin.isatty():
            say("The token, and Enter:")
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
    """What is to be told, and whether the person is seen for the first time."""
    from ..auth.explain import explain
    from ..auth.resolver import Resolver
    from ..auth.verifier import Verifier
    from ..clerk import ClerkApi
    from ..core.opaque_tokens import prefix_of

    verifier = Verifier(clerk) if prefix_of(token) is None else _verifier_of_opaque_tokens(clerk)
    alone = explain(verifier, token)  # by which the keys have been fetched: nobody is to wait for them in a transaction
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
    from ..core.verification import CLERK_KINDS

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
        click.echo(f"{click.style('Accepted', fg='green', bold=True)}: it is a good token.")
        if is_new:
            say("The first request makes the person, or their place in the organization.")
    else:
        user, organization, membership = principal.optional_user, principal.organization, principal.membership
        who = "an organization's own key"
        if user is not None:
            who = plain(" ".join(filter(None, ("your user", str(user.id), user.name, user.email))))
        click.echo(f"{click.style('Accepted', fg='green', bold=True)}: {who}")
        if organization is not None:
            place = " ".join(filter(None, (str(organization.id), organization.name)))
            as_what = f" as {membership.role}" if membership is not None else ""
            click.echo(plain(f"in your organization {place}{as_what}"))
        if is_new:
            say("This person is unknown so far: the first request makes a user, with another id.")
    if not with_database:
        say("Whom of yours it stands for, and whether they are locked out, tells --database.")
