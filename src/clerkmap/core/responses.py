"""The response to each error: a status, headers and a body. All frameworks share them.

The body is JSON for a front end. `code` is the code of the error, and `remedy` is the front end's next step:

    refresh_token       get a new token from Clerk, and retry once
    sign_in             open the sign-in page, which also shows the tasks of a pending session
    pick_organization   let the user choose an organization
    reverify            let the user verify again
    ask_again           wait for the time in `Retry-After`, and retry
    null                the front end can do nothing

A response contains nothing from the request or the database: no detail of an error, no token, no personal data.
"""

import json
from collections.abc import Mapping
from html import escape
from typing import Any, Literal, NamedTuple

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

Remedy = Literal["refresh_token", "sign_in", "pick_organization", "reverify", "ask_again"]

RETRY_AFTER = 10  # seconds: keys are not fetched again earlier


class RawResponse(NamedTuple):
    """A complete response. Header names are in lower case, as ASGI requires."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class _Row(NamedTuple):
    """The response to one branch of the exceptions. The challenge is the `error` of RFC 6750, or empty for none."""

    status: int
    challenge: str | None = None
    remedy: Remedy | None = None


# The row of an error's class counts, or else the row of its nearest base class.
_ROWS: Mapping[type, _Row] = {
    ClerkmapError: _Row(500),
    Unavailable: _Row(503, None, "ask_again"),
    Refused: _Row(401, ""),  # your own subclass, or a sealed principal: the rows below have all others
    # By RFC 6750, a wrong request is 400 and a wrong token is 401. A request without a token gets no error name.
    RequestRefused: _Row(400, "invalid_request"),
    TokenMissing: _Row(401, "", "sign_in"),
    SchemeRefused: _Row(401, ""),
    OriginRefused: _Row(403),
    TokenError: _Row(401, "invalid_token"),
    TokenMalformed: _Row(401, "invalid_token", "sign_in"),  # such as "undefined", which front ends send without a user
    TokenTooLarge: _Row(401, "invalid_token"),
    SignatureError: _Row(401, "invalid_token", "refresh_token"),  # the key may have been rotated
    OutOfTime: _Row(401, "invalid_token", "refresh_token"),
    SessionPending: _Row(401, "invalid_token", "sign_in"),
    LockedOut: _Row(403),
    SessionEnded: _Row(403, None, "sign_in"),
    OrganizationDeleted: _Row(403, None, "pick_organization"),
    MembershipDeleted: _Row(403, None, "pick_organization"),
    NotAllowed: _Row(403, "insufficient_scope"),
    OrganizationMissing: _Row(401, "invalid_token", "pick_organization"),  # the front end needs another token
    TokenOutdated: _Row(401, "invalid_token", "refresh_token"),
    ReverificationNeeded: _Row(403, "insufficient_scope", "reverify"),
    WebhookError: _Row(400),
    WebhookIncomplete: _Row(408),
    WebhookTooLarge: _Row(413),
}


def remedy_of(error: ClerkmapError) -> Remedy | None:
    """Return the next step of a front end after this error, or None."""
    return _row_of(error).remedy


def error_response(error: ClerkmapError) -> RawResponse:
    """Return the response to a request that ended in this error."""
    row = _row_of(error)
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


def html_response(error: ClerkmapError) -> RawResponse:
    """Return the same response as a short HTML page, for a browser."""
    status, headers, _ = error_response(error)
    text = escape(f"{error.text[:1].upper()}{error.text[1:]}.")
    body = (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{status}</title>\n'
        f"<p>{text}</p>\n<p><code>{escape(error.code)}</code></p>\n"
    ).encode()
    changed = {"content-type": "text/html; charset=utf-8", "content-length": str(len(body))}
    return RawResponse(status, tuple((dict(headers) | changed).items()), body)


def _row_of(error: ClerkmapError) -> _Row:
    return next(_ROWS[kind] for kind in type(error).__mro__ if kind in _ROWS)


def _reverification(wanted: str | tuple[str, int]) -> dict[str, Any]:
    """Return the JSON that makes Clerk's front end open its reverification dialogue."""
    rule = wanted if isinstance(wanted, str) else {"level": wanted[0], "afterMinutes": wanted[1]}
    return {"type": "forbidden", "reason": "reverification-error", "metadata": {"reverification": rule}}
