"""What can be asked of Clerk's API: each question a value, made here, asked by `ClerkApi`.

    api.ask(endpoints.user("user_2abc"))        # one person, as Clerk's JSON
    api.ask(endpoints.users(created_at_after=1_790_000_000_000))

Answers are Clerk's own JSON; `core/events.py` knows what its fields mean.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar, cast
from urllib.parse import quote, urlencode

from ..errors import ConfigurationError

T = TypeVar("T")
Shape = dict[str, Any]
MAX_PAGE = 500
_ID = re.compile(r"[0-9A-Za-z_-]{1,255}")
Query = Mapping[str, str | int | Sequence[str] | None]


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """One request to Clerk's API, and how its answer is read. `read` raises a ValueError for what is none."""

    method: str
    path: str = field(repr=False)  # it names people, as do the query and the body
    read: Callable[[Any], T] = field(repr=False)
    query: Query = field(default_factory=dict[str, Any], repr=False)
    body: Shape | None = field(default=None, repr=False)
    once: bool = False  # whether to ask once at most, as for what is looked at before it is asked again
    before_sending: Callable[[], object] | None = field(default=None, repr=False)  # raises where it is too late
    public_url: str | None = None  # of something that is not on the API, and is asked for without the secret key
    is_unchecked: bool = False  # whether the secret key may still be another instance's

    @property
    def is_repeatable(self) -> bool:
        """Whether asking twice does no more than asking once."""
        return self.method != "POST" and not self.once

    @property
    def target(self) -> str:
        """The path with the query: a key once for each of its values, and none that is empty."""
        values = {name: each if isinstance(each, int) else each or () for name, each in self.query.items()}
        query = urlencode(values, doseq=True, errors="replace", quote_via=quote, safe="")
        return f"{self.path}?{query}" if query else self.path


class Page(NamedTuple):
    """Some rows of a list, and how many there are in all."""

    rows: list[Shape]
    total: int

    def __repr__(self) -> str:
        return f"Page({len(self.rows)} of {self.total})"


# People


def users(
    *,
    limit: int = MAX_PAGE,
    order_by: str = "+created_at",
    starting_after: str | None = None,
    offset: int | None = None,
    created_at_after: int | None = None,
    ids: Sequence[str] = (),
    emails: Sequence[str] = (),
    external_ids: Sequence[str] = (),
) -> Question[list[Shape]]:
    """A page of people. `starting_after` is the id of the last one on the page before, and needs that order."""
    query: Query = {
        "limit": limit,
        "order_by": order_by,
        "starting_after": starting_after,
        "offset": offset,
        "created_at_after": created_at_after,
        "user_id": _exactly(ids),
        "email_address": emails,
        "external_id": _exactly(external_ids),
    }
    return Question("GET", "/users", _objects, query)


def user(id: str) -> Question[Shape]:
    """One person."""
    return Question("GET", f"/users/{_segment(id)}", _object)


def user_count() -> Question[int]:
    """How many people there are."""
    return Question("GET", "/users/count", lambda said: _number(_object(said).get("total_count")))


def update_user(id: str, **said: Any) -> Question[Shape]:
    """Change a person's `external_id`, `first_name`, ... Metadata have a question of their own."""
    return Question("PATCH", f"/users/{_segment(id)}", _object, body=said)


def merge_user_metadata(id: str, **metadata: Shape) -> Question[Shape]:
    """Merge into `public_metadata` or `private_metadata`. What is not named stays; None takes a key away."""
    return Question("PATCH", f"/users/{_segment(id)}/metadata", _object, body=metadata)


# Organizations and memberships


def organizations(
    *, limit: int = MAX_PAGE, offset: int = 0, order_by: str = "+created_at", ids: Sequence[str] = (), user: str = ""
) -> Question[Page]:
    """A page of organizations; of those that a person is a member of, if one is named."""
    query: Query = {"limit": limit, "offset": offset, "order_by": order_by, "organization_id": _exactly(ids)}
    return Question("GET", "/organizations", _page, {**query, "user_id": [user] if user else []})


def organization(id: str) -> Question[Shape]:
    """One organization, by its id or slug."""
    return Question("GET", f"/organizations/{_segment(id)}", _object)


def create_organization(name: str, **said: Any) -> Question[Shape]:
    """Make an organization, with `created_by`, `slug`, `public_metadata`, `private_metadata`, ..."""
    return Question("POST", "/organizations", _object, body={"name": name, **said})


def merge_organization_metadata(id: str, **metadata: Shape) -> Question[Shape]:
    """Merge into `public_metadata` or `private_metadata`. What is not named stays; None takes a key away."""
    return Question("PATCH", f"/organizations/{_segment(id)}/metadata", _object, body=metadata)


def memberships(*, limit: int = MAX_PAGE, offset: int = 0, order_by: str = "+created_at") -> Question[Page]:
    """A page of all memberships there are, of every organization."""
    query: Query = {"limit": limit, "offset": offset, "order_by": order_by}
    return Question("GET", "/organization_memberships", _page, query)


def members(
    organization_id: str, *, users: Sequence[str] = (), limit: int = MAX_PAGE, offset: int = 0
) -> Question[Page]:
    """A page of the memberships in an organization; of these people, if some are named."""
    path = f"/organizations/{_segment(organization_id)}/memberships"
    return Question("GET", path, _page, {"user_id": _exactly(users), "limit": limit, "offset": offset})


def merge_membership_metadata(organization_id: str, user_id: str, **metadata: Shape) -> Question[Shape]:
    """Merge into the metadata of a membership. With nothing to merge, it tells whether there is one."""
    path = f"/organizations/{_segment(organization_id)}/memberships/{_segment(user_id)}/metadata"
    return Question("PATCH", path, _object, body=metadata)


def memberships_of(user_id: str, *, limit: int = MAX_PAGE, offset: int = 0) -> Question[Page]:
    """A page of a person's memberships."""
    path = f"/users/{_segment(user_id)}/organization_memberships"
    return Question("GET", path, _page, {"limit": limit, "offset": offset})


# Keys and tokens


def jwks() -> Question[Shape]:
    """The signing keys of the instance that the secret key belongs to."""
    return Question("GET", "/jwks", _object, is_unchecked=True)


def published_jwks(url: str) -> Question[Shape]:
    """The signing keys that an instance publishes at an address of its own."""
    return Question("GET", "/jwks", _object, public_url=url, is_unchecked=True)


def verify_api_key(secret: str) -> Question[Shape]:
    """What an API key stands for."""
    return Question("POST", "/api_keys/verify", _object, body={"secret": secret})


def verify_machine_token(token: str) -> Question[Shape]:
    """What an opaque machine token stands for."""
    return Question("POST", "/m2m_tokens/verify", _object, body={"token": token})


def verify_oauth_token(token: str) -> Question[Shape]:
    """What an opaque OAuth access token stands for."""
    return Question("POST", "/oauth_applications/access_tokens/verify", _object, body={"access_token": token})


def _segment(id: str) -> str:
    if not _ID.fullmatch(id):  # two dots, for one, would ask for something else
        raise ConfigurationError("an id of Clerk's has letters, digits, - and _")
    return id


def _exactly(ids: Sequence[str]) -> list[str]:
    """Ids as they are. To Clerk a minus in front means everything but this one, and a plus means the one behind it."""
    return [f"+{id}" if id.startswith(("+", "-")) else id for id in ids]


def _object(said: object) -> Shape:
    if not isinstance(said, dict):
        raise ValueError("it is no object")
    return cast(Shape, said)


def _objects(said: object) -> list[Shape]:
    if not isinstance(said, list):
        raise ValueError("it is no list")
    return [_object(each) for each in cast(list[object], said)]


def _page(said: object) -> Page:
    page = _object(said)
    return Page(_objects(page.get("data")), _number(page.get("total_count")))


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("a count is missing")
    return value
