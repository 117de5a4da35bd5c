"""The requests for Clerk's API. Each request is a value, made here and sent by `ClerkApi`.

    api.send(endpoints.user("user_2abc"))        # one user, as Clerk's JSON
    api.send(endpoints.users(created_at_after=datetime(2026, 9, 1, tzinfo=UTC)))

Answers are Clerk's own JSON. `core/events.py` knows the meaning of its fields.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar, cast
from urllib.parse import quote, urlencode

from ..core.times import to_milliseconds
from ..errors import ConfigurationError

T = TypeVar("T")
Shape = dict[str, Any]
MAX_PAGE = 500
_ID = re.compile(r"[0-9A-Za-z_-]{1,255}")
Query = Mapping[str, str | int | Sequence[str] | None]


@dataclass(frozen=True, slots=True)
class ClerkRequest(Generic[T]):
    """One request to Clerk's API. `read` converts the answer, or raises a ValueError if the answer is malformed."""

    method: str
    path: str = field(repr=False)  # it holds personal data, like the query and the body
    read: Callable[[Any], T] = field(repr=False)
    query: Query = field(default_factory=dict[str, Any], repr=False)
    body: Shape | None = field(default=None, repr=False)
    once: bool = False  # whether to send it at most once: the caller looks at the outcome before a retry
    before_sending: Callable[[], object] | None = field(default=None, repr=False)  # raises if it is too late
    public_url: str | None = None  # an address outside the API, requested without the secret key
    is_unchecked: bool = False  # whether to send it before the secret key is checked

    @property
    def is_repeatable(self) -> bool:
        """Return whether the request is idempotent, so that a retry does no harm."""
        return self.method != "POST" and not self.once

    @property
    def target(self) -> str:
        """Return the path with the query. Each value has its own key, and empty values are left out."""
        values = {name: each if isinstance(each, int) else each or () for name, each in self.query.items()}
        query = urlencode(values, doseq=True, errors="replace", quote_via=quote, safe="")
        return f"{self.path}?{query}" if query else self.path


class Page(NamedTuple):
    """Some rows of a list, and the number of all rows."""

    rows: list[Shape]
    total: int

    def __repr__(self) -> str:
        return f"Page({len(self.rows)} of {self.total})"


# Users


def users(
    *,
    limit: int = MAX_PAGE,
    order_by: str = "+created_at",
    starting_after: str | None = None,
    offset: int | None = None,
    created_at_after: datetime | None = None,
    ids: Sequence[str] = (),
    emails: Sequence[str] = (),
    external_ids: Sequence[str] = (),
) -> ClerkRequest[list[Shape]]:
    """Request a page of users. `starting_after` is the last id of the page before, and needs the default order."""
    query: Query = {
        "limit": limit,
        "order_by": order_by,
        "starting_after": starting_after,
        "offset": offset,
        "created_at_after": None if created_at_after is None else to_milliseconds(created_at_after, "created_at_after"),
        "user_id": _exactly(ids),
        "email_address": emails,
        "external_id": _exactly(external_ids),
    }
    return ClerkRequest("GET", "/users", _objects, query)


def user(id: str) -> ClerkRequest[Shape]:
    """Request one user."""
    return ClerkRequest("GET", f"/users/{_segment(id)}", _object)


def user_count() -> ClerkRequest[int]:
    """Request the number of users."""
    return ClerkRequest("GET", "/users/count", lambda said: _number(_object(said).get("total_count")))


def update_user(id: str, **said: Any) -> ClerkRequest[Shape]:
    """Change a user's `external_id`, `first_name`, ... For metadata, use `merge_user_metadata`."""
    return ClerkRequest("PATCH", f"/users/{_segment(id)}", _object, body=said)


def merge_user_metadata(id: str, **metadata: Shape) -> ClerkRequest[Shape]:
    """Merge into `public_metadata` or `private_metadata`. Other keys stay; None removes a key."""
    return ClerkRequest("PATCH", f"/users/{_segment(id)}/metadata", _object, body=metadata)


def ban_user(id: str) -> ClerkRequest[Shape]:
    """Ban a user, and end the sessions. `clerkmap.sync.ban_user` also stores the ban."""
    return ClerkRequest("POST", f"/users/{_segment(id)}/ban", _object)


def unban_user(id: str) -> ClerkRequest[Shape]:
    """End the ban of a user."""
    return ClerkRequest("POST", f"/users/{_segment(id)}/unban", _object)


def delete_user(id: str) -> ClerkRequest[Shape]:
    """Delete a user. `clerkmap.sync.delete_user` also stores the deletion."""
    return ClerkRequest("DELETE", f"/users/{_segment(id)}", _object)


# Organizations and memberships


def organizations(
    *, limit: int = MAX_PAGE, offset: int = 0, order_by: str = "+created_at", ids: Sequence[str] = (), user: str = ""
) -> ClerkRequest[Page]:
    """Request a page of organizations: of all, or of those with a certain member."""
    query: Query = {"limit": limit, "offset": offset, "order_by": order_by, "organization_id": _exactly(ids)}
    return ClerkRequest("GET", "/organizations", _page, {**query, "user_id": [user] if user else []})


def organization(id: str) -> ClerkRequest[Shape]:
    """Request one organization, by its id or slug."""
    return ClerkRequest("GET", f"/organizations/{_segment(id)}", _object)


def create_organization(name: str, **said: Any) -> ClerkRequest[Shape]:
    """Create an organization, with `created_by`, `slug`, `public_metadata`, `private_metadata`, ..."""
    return ClerkRequest("POST", "/organizations", _object, body={"name": name, **said})


def merge_organization_metadata(id: str, **metadata: Shape) -> ClerkRequest[Shape]:
    """Merge into `public_metadata` or `private_metadata`. Other keys stay; None removes a key."""
    return ClerkRequest("PATCH", f"/organizations/{_segment(id)}/metadata", _object, body=metadata)


def memberships(*, limit: int = MAX_PAGE, offset: int = 0, order_by: str = "+created_at") -> ClerkRequest[Page]:
    """Request a page of all memberships in all organizations."""
    query: Query = {"limit": limit, "offset": offset, "order_by": order_by}
    return ClerkRequest("GET", "/organization_memberships", _page, query)


def members(
    organization_id: str, *, users: Sequence[str] = (), limit: int = MAX_PAGE, offset: int = 0
) -> ClerkRequest[Page]:
    """Request a page of the memberships in an organization: of all, or of some users."""
    path = f"/organizations/{_segment(organization_id)}/memberships"
    return ClerkRequest("GET", path, _page, {"user_id": _exactly(users), "limit": limit, "offset": offset})


def merge_membership_metadata(organization_id: str, user_id: str, **metadata: Shape) -> ClerkRequest[Shape]:
    """Merge into the metadata of a membership. Without metadata, this shows whether the membership exists."""
    path = f"/organizations/{_segment(organization_id)}/memberships/{_segment(user_id)}/metadata"
    return ClerkRequest("PATCH", path, _object, body=metadata)


def memberships_of(user_id: str, *, limit: int = MAX_PAGE, offset: int = 0) -> ClerkRequest[Page]:
    """Request a page of a user's memberships."""
    path = f"/users/{_segment(user_id)}/organization_memberships"
    return ClerkRequest("GET", path, _page, {"limit": limit, "offset": offset})


# Invitations to an organization


def invitations(
    organization_id: str, *, status: Sequence[str] = (), limit: int = MAX_PAGE, offset: int = 0
) -> ClerkRequest[Page]:
    """Request a page of the invitations to an organization: of all, or those that are `pending`, `accepted`, ..."""
    path = f"/organizations/{_segment(organization_id)}/invitations"
    return ClerkRequest("GET", path, _page, {"status": status, "limit": limit, "offset": offset})


def invite(organization_id: str, email: str, role: str = "org:member", **said: Any) -> ClerkRequest[Shape]:
    """Invite an address to an organization, with `inviter_user_id`, `redirect_url`, `public_metadata`, ..."""
    path = f"/organizations/{_segment(organization_id)}/invitations"
    return ClerkRequest("POST", path, _object, body={"email_address": email, "role": role, **said})


def revoke_invitation(organization_id: str, id: str) -> ClerkRequest[Shape]:
    """Revoke a pending invitation to an organization."""
    path = f"/organizations/{_segment(organization_id)}/invitations/{_segment(id)}/revoke"
    return ClerkRequest("POST", path, _object, body={})


# Sessions


def sessions(user_id: str, *, status: str = "active", limit: int = MAX_PAGE, offset: int = 0) -> ClerkRequest[Page]:
    """Request a page of a user's sessions that have a status: `active`, `ended`, `revoked`, ..."""
    query: Query = {"user_id": user_id, "status": status, "limit": limit, "offset": offset, "paginated": "true"}
    return ClerkRequest("GET", "/sessions", _page, query)


def revoke_session(id: str) -> ClerkRequest[Shape]:
    """Revoke a session. Its tokens stay valid for up to a minute, unless the repository has the end of the session."""
    return ClerkRequest("POST", f"/sessions/{_segment(id)}/revoke", _object)


# Keys and tokens


def jwks() -> ClerkRequest[Shape]:
    """Request the signing keys of the instance that the secret key belongs to."""
    return ClerkRequest("GET", "/jwks", _object, is_unchecked=True)


def published_jwks(url: str) -> ClerkRequest[Shape]:
    """Request the signing keys that an instance publishes at its own address."""
    return ClerkRequest("GET", "/jwks", _object, public_url=url, is_unchecked=True)


def verify_api_key(secret: str) -> ClerkRequest[Shape]:
    """Verify an API key, and request its subject and scopes."""
    return ClerkRequest("POST", "/api_keys/verify", _object, body={"secret": secret})


def verify_machine_token(token: str) -> ClerkRequest[Shape]:
    """Verify an opaque machine token, and request its subject and scopes."""
    return ClerkRequest("POST", "/m2m_tokens/verify", _object, body={"token": token})


def verify_oauth_token(token: str) -> ClerkRequest[Shape]:
    """Verify an opaque OAuth access token, and request its subject and scopes."""
    return ClerkRequest("POST", "/oauth_applications/access_tokens/verify", _object, body={"access_token": token})


def _segment(id: str) -> str:
    if not _ID.fullmatch(id):  # two dots, for example, would lead to another path
        raise ConfigurationError("a Clerk id must have only letters, digits, - and _")
    return id


def _exactly(ids: Sequence[str]) -> list[str]:
    """Escape ids. Clerk reads a leading minus as "all but this id", and a leading plus as "this id"."""
    return [f"+{id}" if id.startswith(("+", "-")) else id for id in ids]


def _object(said: object) -> Shape:
    if not isinstance(said, dict):
        raise ValueError("the response must be an object")
    return cast(Shape, said)


def _objects(said: object) -> list[Shape]:
    if not isinstance(said, list):
        raise ValueError("the response must be a list")
    return [_object(each) for each in cast(list[object], said)]


def _page(said: object) -> Page:
    page = _object(said)
    return Page(_objects(page.get("data")), _number(page.get("total_count")))


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("the response has no count")
    return value
