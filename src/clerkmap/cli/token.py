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
@click.argument("who")
@click.option("--organization", metavar="WHICH", help="The organization that is active: its id, slug or name.")
@click.option("--port", default=4400, show_default=True, type=click.IntRange(1, 65_535), help="Where clerkmap dev is.")
@json_option
def command(who: str, organization: str | None, port: int, as_json: bool) -> None:
    """A session token of somebody at Clerk on localhost, which clerkmap dev runs. It is good for a minute.

    WHO is an e-mail address or an id there. The token is all that is printed:

    curl -H "Authorization: Bearer $(clerkmap token ada@example.com)" http://localhost:8000/me

    Ends with 0 where there is a token, with 1 where nobody is called that, and with 4 where no Clerk is there.
    """
    import httpx

    # Straight to this machine, whatever the environment says of proxies.
    base = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=base, timeout=DEADLINE, follow_redirects=False, trust_env=False) as client:
        try:
            there = _asked(client, "GET", "/state")["clerk"]
            wanted = {"action": "sign_in", "user": _user(there["users"], who)}
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
    """What is answered. What it refuses, such as the token of somebody who is banned, it says itself."""
    from ..core.strict_json import fields
    from .formatting import plain

    answer = client.request(method, path, json=wanted)
    said = fields(answer.json())
    if answer.is_success:
        return said
    message = fields(said["error"])["message"]
    raise _end(f"it was refused: {plain(message)}.", NOT_FINE)


def _user(users: list[dict[str, Any]], who: str) -> str:
    for user in users:
        if who == user["id"] or who.lower() == (user["email"] or "").lower():
            return str(user["id"])
    raise _end("nobody there is called that. Sign them up on its page, or with POST /do.", NOT_FINE)


def _organization(organizations: list[dict[str, Any]], which: str) -> str:
    for each in organizations:
        if which in (each["id"], each["slug"], each["name"]):
            return str(each["id"])
    raise _end("no organization there is called that.", NOT_FINE)


def _end(line: str, code: int) -> click.exceptions.Exit:
    """Why there is no token."""
    say(f"clerkmap: {line}")
    return click.exceptions.Exit(code)
