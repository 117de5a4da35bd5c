"""The page docs/answers.md: rows of the table of requests, chosen and put into words. Its tables are made here.

`python tests/support/answers_page.py` writes them anew; a test compares.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from requests_answers import Hello, Plain, Refusal, Sent, Want, Who
from requests_row import GUNICORN, H11, HTTPTOOLS, HYPERCORN, WAITRESS, Row
from requests_table import rows
from requests_world import OTHER_SUFFIX, ROUTES, SUFFIX, Route, words

PAGE = Path(__file__).parents[2] / "docs" / "answers.md"
SERVERS = (H11, HTTPTOOLS, HYPERCORN, GUNICORN, WAITRESS)
TITLE_OF_SERVERS = "Differences between servers"

# By the heading under which they stand, the names of rows.
CHOSEN: dict[str, tuple[str, ...]] = {
    "No token": (
        "no token: a public page",
        "no token: optional sign-in",
        "no token: sign-in required",
        "no token: role required",
        "OPTIONS: /clerk/signed-in",
    ),
    "The Authorization header": (
        "Bearer: written 'bearer '",
        "Bearer: a public page",
        "Bearer: beside a refused cookie",
        "Authorization: empty",
        "Authorization: two words",
        "Authorization: invalid, with a valid cookie",
        "Authorization: optional sign-in",
        "another scheme: with a valid cookie",
        "Authorization twice: equal",
        "hostile: undefined",
    ),
    "The session cookie": (
        "cookie: with its time",
        "cookie: suffixed",
        "cookie: after a JSON cookie",
        "cookie ignored: another instance's, suffixed",
        "cookie ignored: empty, as after sign-out",
        "cookie refused: twice",
        "cookie refused: after a comma",
        "cookies off: a cookie",
        "OAuth accepted: in a cookie",
    ),
    "Writes with a cookie": (
        "POST: a cookie, its own Origin",
        "POST: a cookie, another Origin",
        "POST: a cookie and no Origin",
        "POST: Origin 'null'",
        "POST: its own Origin, cross-site",
        "POST: Bearer, another Origin",
        "Upgrade: websocket, a cookie and no Origin",
    ),
    "Invalid tokens": (
        "hostile: another user's claims",
        "hostile: alg none",
        "hostile: an unknown key",
        "time: expired",
        "time: expired, optional sign-in",
        "time: from the future",
        "kind: a template token",
        "kind: a machine token",
        "parties: another party's token",
        "pending",
    ),
    "Locked-out users": (
        "locked out: deleted at Clerk",
        "locked out: banned",
        "locked out: session over",
        "locked out: membership removed",
        "locked out: organization deleted",
        "locked out, optional sign-in: banned",
        "locked out: removed member, no organization active",
    ),
    "Requirements": (
        "no organization: /organization",
        "page: a browser without an organization",
        "page: a POST form",
        "role: held",
        "role: another",
        "role: in the token, not in the repository",
        "user role: none",
        "user role, any of two: held",
        "scope: a session token has none",
        "opaque, any of two scopes: held",
        "permission: another",
        "permission: the role has changed since",
        "feature: another",
        "plan: none",
        "impersonated: refused by not_impersonated",
        "reverified, strict: ten minutes ago",
        "fresh membership: a member",
        "good: a new user",
    ),
    "Outages": (
        "keys down: a good token",
        "keys down: no token",
        "keys down: garbage",
        "database down: a good token",
        "database lost: a known caller",
        "database lost, serve_stale: a known caller",
        "database lost, serve_stale: a new caller",
        "database lost: fresh membership",
        "a hook fails: a new user",
    ),
}


def written() -> str:
    """The page with its tables as they should be."""
    text = PAGE.read_text(encoding="utf-8")
    for title in (*CHOSEN, TITLE_OF_SERVERS):
        before, heading, after = text.partition(f"## {title}\n")
        prose, found, rest = after.partition("\n|")
        is_there = bool(heading and found) and "\n## " not in prose
        assert is_there, f"there is no table under {title!r}"
        text = f"{before}{heading}{prose}\n{_table(title)}{_behind_the_table(rest)}"
    return text


def _behind_the_table(rest: str) -> str:
    lines = rest.splitlines(keepends=True)[1:]
    while lines and lines[0].startswith("|"):
        lines.pop(0)
    return "".join(lines)


def _table(title: str) -> str:
    """The table that stands under a heading."""
    if title == TITLE_OF_SERVERS:
        differing = [row for row in rows() if row.instead]
        of_each = ([row.name, *(_answer(row.instead.get(each, row.want)) for each in SERVERS)] for row in differing)
        return _as_text(["request", *SERVERS], of_each)
    by_name = {row.name: row for row in rows()}
    chosen = [by_name[name] for name in CHOSEN[title]]
    told = ([row.name, _sent(row), _page(ROUTES[f"/{row.path.split('/')[2]}"]), _answer(row.want)] for row in chosen)
    return _as_text(["request", "sent", "page", "answer"], told)


def _as_text(head: list[str], lines: Iterable[list[str]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ["---"] * len(head), *lines))


def _sent(row: Row) -> str:
    """The headers that are sent, with three points for each token, and the method if it is not GET."""
    method = [] if row.method == "GET" else [row.method]
    lines = [f"{name}: {value.partition(',')[0] if name == 'Accept' else value}" for name, value in row.headers]
    readable = [re.sub(r"ey[\w-]{8,}\.[\w-]+\.[\w-]*", "…", line).strip() for line in lines]
    known = [line.replace(f"_{SUFFIX}", "_SUFFIX").replace(f"_{OTHER_SUFFIX}", "_OTHER") for line in readable]
    if [*method, *known] == ["Authorization: Bearer …"]:
        return "a token"
    return ", ".join(f"`{each}`" for each in (*method, *known)) or "nothing"


def _page(route: Route) -> str:
    if not route.asks:
        return "public"
    if route.required is None:
        return "optional sign-in"
    told = [f"{name}={value!r}" for name, value in words(route.required).items()]
    return f"`{', '.join(told)}`" if told else "sign-in"


def _answer(want: Want) -> str:
    match want:
        case Hello():
            return "200"
        case Plain(status):
            return f"{status}"
        case Sent(to):
            return f"303 to `{to}`"
        case Who(None):
            return "200: anonymous"
        case Who(user, organization, role, actor):
            found = {"in": organization, "as": role, "by": actor}
            return f"200: {user}" + "".join(f", {word} `{value}`" for word, value in found.items() if value)
        case Refusal():
            return f"{want.status} `{want.code}`" + (f", `{want.remedy}`" if want.remedy else "")


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
