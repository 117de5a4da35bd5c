"""`clerkmap token`: a session token of Clerk on localhost, for curl."""

from typing import TYPE_CHECKING, Any

import click

from .failures import NOT_FINE, UNAVAILABLE
from .formatting import say
from .options import json_option, say_json

if TYPE_CHECKING:
    import httpx

DEADLINE = 10.0  # seconds


@click.command("token")
@click.argument("name", metavar="USER")
@click.option("--organization", metavar="NAME", help="The active organization: its id, slug or name.")
@click.option(
    "--port", default=4400, show_default=True, type=click.IntRange(1, 65_535), help="The port of clerkmap dev."
)
@json_option
def command(name: str, organization: str | None, port: int, as_json: bool) -> None:
    """Print a session token of a user of Clerk on localhost, as served by clerkmap dev. It is valid for a minute.

    USER is an email address or a Clerk id. Only the token is printed:

    curl -H "Authorization: Bearer $(clerkmap token ada@example.com)" http://localhost:8000/me

    Exits with 0 if there is a token, with 1 if the user is unknown, and with 4 if Clerk on localhost does not run.
    """
    import httpx

    # Direct, without the proxies of the environment.
    base = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=base, timeout=DEADLINE, follow_redirects=False, trust_env=False) as client:
        try:
            there = _asked(client, "GET", "/state")["clerk"]
            wanted = {"action": "sign_in", "user": _user(there["users"], name)}
            if organization is not None:
                wanted["organization"] = _organization(there["organizations"], organization)
            given = _asked(client, "POST", "/do", wanted)
            token, session = str(given["token"]), str(given["session"])
        except (httpx.HTTPError, ValueError, LookupError, TypeError):
            line = f"Clerk on localhost does not answer at {base}. Start it with `clerkmap dev`."
            raise _end(line, UNAVAILABLE) from None
    if as_json:
        say_json({"token": token, "session": session})
    else:
        click.echo(token)


def _asked(client: "httpx.Client", method: str, path: str, wanted: object = None) -> dict[str, Any]:
    """Return an answer, or end the command with the message of a refusal, such as that of a banned user."""
    from ..core.strict_json import fields
    from .formatting import plain

    answer = client.request(method, path, json=wanted)
    said = fields(answer.json())
    if answer.is_success:
        return said
    message = fields(said["error"])["message"]
    raise _end(f"refused: {plain(message)}.", NOT_FINE)


def _user(users: list[dict[str, Any]], name: str) -> str:
    for user in users:
        if name == user["id"] or name.lower() == (user["email"] or "").lower():
            return str(user["id"])
    raise _end("no user matches. Sign the user up on the page, or with POST /do.", NOT_FINE)


def _organization(organizations: list[dict[str, Any]], name: str) -> str:
    for each in organizations:
        if name in (each["id"], each["slug"], each["name"]):
            return str(each["id"])
    raise _end("no organization matches.", NOT_FINE)


def _end(line: str, code: int) -> click.exceptions.Exit:
    """Print why there is no token, and return the exit."""
    say(f"clerkmap: {line}")
    return click.exceptions.Exit(code)
