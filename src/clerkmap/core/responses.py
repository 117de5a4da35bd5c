"""What to answer when clerkmap says no: a status, headers and a body for each error, the same in every framework.

The body is JSON for a front end. Its `code` is the error's own, and `remedy` is what the front end can do about it:

    refresh_token       ask Clerk for a new token, and ask here again: once
    sign_in             take the person to the sign-in page, which also shows what a pending session has left to do
    pick_organization   let the person choose an organization
    reverify            let the person prove anew who they are
    ask_again           wait as long as `Retry-After` says
    null                none: nothing that the front end does would help

Nothing in an answer comes from the request or the database: no detail of an error, no token, nobody's name.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from ..errors import (
    ClerkmapError,
    LockedOut,
    MembershipDeleted,
    NotAllowed,
    OrganizationDeleted,
    OrganizationMissing,
    OriginRefused,
    OutOfTime,
    Refused,
    RequestRefused,
    ReverificationNeeded,
    SchemeRefused,
    SessionEnded,
    SessionPending,
    SignatureError,
    TokenError,
    TokenMalformed,
    TokenMissing,
    TokenOutdated,
    TokenTooLarge,
    Unavailable,
    WebhookError,
    WebhookIncomplete,
    WebhookTooLarge,
)
from .validation import OWN_PATH

Remedy = Literal["refresh_token", "sign_in", "pick_organization", "reverify", "ask_again"]

RETRY_AFTER = 10  # seconds: keys are not asked for again any sooner


class RawResponse(NamedTuple):
    """A response, whole. Names of headers are in lower case, as ASGI wants them."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class _Row(NamedTuple):
    """How one branch of the tree is answered. The challenge is the `error` of RFC 6750; an empty one names none."""

    status: int
    challenge: str | None = None
    remedy: Remedy | None = None


# An error is answered by the row of its own class, or of the nearest one above it.
_ROWS: Mapping[type, _Row] = {
    ClerkmapError: _Row(500),
    Unavailable: _Row(503, None, "ask_again"),
    Refused: _Row(401, ""),  # of an application's own making, or a sealed principal's: each other of ours stands below
    # RFC 6750 tells a request that is wrong (400) from a token that is (401), and names no error where no token came.
    RequestRefused: _Row(400, "invalid_request"),
    TokenMissing: _Row(401, "", "sign_in"),
    SchemeRefused: _Row(401, ""),
    OriginRefused: _Row(403),
    TokenError: _Row(401, "invalid_token"),
    TokenMalformed: _Row(401, "invalid_token", "sign_in"),  # such as "undefined", where nobody is signed in
    TokenTooLarge: _Row(401, "invalid_token"),
    SignatureError: _Row(401, "invalid_token", "refresh_token"),  # the keys may have been changed
    OutOfTime: _Row(401, "invalid_token", "refresh_token"),
    SessionPending: _Row(401, "invalid_token", "sign_in"),
    LockedOut: _Row(403),
    SessionEnded: _Row(403, None, "sign_in"),
    OrganizationDeleted: _Row(403, None, "pick_organization"),
    MembershipDeleted: _Row(403, None, "pick_organization"),
    NotAllowed: _Row(403, "insufficient_scope"),
    OrganizationMissing: _Row(401, "invalid_token", "pick_organization"),  # another token is what it takes
    TokenOutdated: _Row(401, "invalid_token", "refresh_token"),
    ReverificationNeeded: _Row(403, "insufficient_scope", "reverify"),
    WebhookError: _Row(400),
    WebhookIncomplete: _Row(408),
    WebhookTooLarge: _Row(413),
}


def error_response(error: ClerkmapError, *, organization_page: str | None = None, mounted_at: str = "") -> RawResponse:
    """Return the answer to a request that ended in this error.

    Args:
        error: The error.
        organization_page: Where to send a browser if the remedy is to pick an organization.
        mounted_at: The path at which the application is mounted: `SCRIPT_NAME` or `root_path`.
    """
    row = next(_ROWS[kind] for kind in type(error).__mro__ if kind in _ROWS)
    if row.remedy == "pick_organization" and organization_page is not None:
        headers_there = (
            ("location", _within(mounted_at, organization_page)),
            ("content-length", "0"),
            ("cache-control", "no-store"),
        )
        return RawResponse(303, headers_there, b"")
    content: dict[str, Any] = {"code": error.code, "remedy": row.remedy, "message": error.text}
    if isinstance(error, ReverificationNeeded):
        content["clerk_error"] = _reverification(error.wanted)
    body = json.dumps(content).encode()
    headers = [
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
    ]
    if row.challenge is not None:
        named = f' error="{row.challenge}", error_description="{error.text}"' if row.challenge else ""
        headers.append(("www-authenticate", f"Bearer{named}"))
    if row.status == 503:
        headers.append(("retry-after", str(RETRY_AFTER)))
    return RawResponse(row.status, tuple(headers), body)


def _within(mounted_at: str, page: str) -> str:
    """Prefix a path with that of the application, unless the result would lead a browser elsewhere."""
    there = quote(mounted_at.rstrip("/"), safe="/") + page
    return there if OWN_PATH.fullmatch(there) else page


def _reverification(wanted: str | tuple[str, int]) -> dict[str, Any]:
    """The words on which Clerk's front end opens its own dialogue."""
    rule = wanted if isinstance(wanted, str) else {"level": wanted[0], "afterMinutes": wanted[1]}
    return {"type": "forbidden", "reason": "reverification-error", "metadata": {"reverification": rule}}
