"""What a row of the table of requests is, and what its requests are made of."""

from collections.abc import Mapping
from typing import NamedTuple

from requests_answers import Plain, Want, Who
from requests_world import NEIGHBOUR, NOW, SUFFIX, token

Headers = list[tuple[str, str]]

# The servers that rewrite or refuse something. The rest of the drivers call an application without one.
H11, HTTPTOOLS, HYPERCORN, GUNICORN, WAITRESS = "uvicorn-h11", "uvicorn-httptools", "hypercorn", "gunicorn", "waitress"
REFUSED = Plain(400)  # by the server itself


class Row(NamedTuple):
    """A request and its answer. Without a Host among its headers it is sent to app.example.com."""

    name: str
    path: str
    headers: Headers
    want: Want
    method: str = "GET"
    instead: Mapping[str, Want] = {}


ADA, BOB = token("ada"), token("bob")
NEWER = token("bob", claims={"iat": NOW + 1})
OLD = token("ada", expires_in=-10)
FOREIGN = NEIGHBOUR.token(NEIGHBOUR.create_user())
IS_ADA, IS_BOB = Who("ada"), Who("bob")
HTML: Headers = [("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")]


def bearer(value: str, *more: tuple[str, str]) -> Headers:
    """A token where it belongs."""
    return [("Authorization", f"Bearer {value}"), *more]


def cookie(value: str, *more: tuple[str, str]) -> Headers:
    """A Cookie header, to the letter."""
    return [("Cookie", value), *more]


def session(value: str) -> str:
    """The plain session cookie and its time."""
    return f"__session={value}; __client_uat=1"


def suffixed(value: str) -> str:
    """The session cookie and its time under the suffix of this instance."""
    return f"__session_{SUFFIX}={value}; __client_uat_{SUFFIX}=1"
