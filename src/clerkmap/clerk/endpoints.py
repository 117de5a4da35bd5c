"""What can be asked of Clerk's API: each question a value, made here, asked by `ClerkApi`.

    api.ask(user("user_2abc"))                       # one person, as Clerk's JSON
    api.ask(users(order_by="+created_at", limit=500))

Answers are Clerk's own JSON; `core/events.py` knows what its fields mean.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar, cast
from urllib.parse import quote

T = TypeVar("T")
Shape = dict[str, Any]
MAX_PAGE = 500
Query = Mapping[str, str | int | Sequence[str] | None]


class UnexpectedAnswer(Exception):
    """An answer of status 200 that is not what the question was."""


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """One request to Clerk's API, and how its answer is read."""

    method: str
    path: str
    read: Callable[[Any], T] = field(repr=False)
    query: Query = field(default_factory=dict[str, Any], repr=False)
    body: Shape | None = field(default=None, repr=False)

    @property
    def is_repeatable(self) -> bool:
        """Whether asking twice does no more than asking once."""
        return self.method != "POST"

    def parameters(self) -> list[tuple[str, str]]:
        """The query, a key once for each of its values."""
        listed = (
            (name, [value] if isinstance(value, (str, int)) else value or ()) for name, value in self.query.items()
        )
        return [(name, str(value)) for name, values in listed for value in values]


class Page(NamedTuple):
    """Some rows of a list, and how many there are in all."""

    rows: list[Shape]
    total: int


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
        "user_id": ids,
        "email_address": emails,
        "external_id": external_ids,
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
    query: Query = {"limit": limit, "offset": offset, "order_by": order_by, "organization_id": ids}
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


def members(organization_id: str, *, users: Sequence[str] = (), limit: int = MAX_PAGE) -> Question[Page]:
    """The memberships in an organization; of these people, if some are named."""
    path = f"/organizations/{_segment(organization_id)}/memberships"
    return Question("GET", path, _page, {"user_id": users, "limit": limit})


def memberships_of(user_id: str, *, limit: int = MAX_PAGE, offset: int = 0) -> Question[Page]:
    """A person's memberships."""
    path = f"/users/{_segment(user_id)}/organization_memberships"
    return Question("GET", path, _page, {"limit": limit, "offset": offset})


# Keys and tokens


def jwks() -> Question[Shape]:
    """The signing keys of the instance that the secret key belongs to."""
    return Question("GET", "/jwks", _object)


def verify_api_key(secret: str) -> Question[Shape]:
    """What an API key stands for. It is asked for again freely: verifying makes nothing."""
    return Question("POST", "/api_keys/verify", _object, body={"secret": secret})


def verify_machine_token(token: str) -> Question[Shape]:
    """What an opaque machine token stands for."""
    return Question("POST", "/m2m_tokens/verify", _object, body={"token": token})


def verify_oauth_token(token: str) -> Question[Shape]:
    """What an opaque OAuth access token stands for."""
    return Question("POST", "/oauth_applications/access_tokens/verify", _object, body={"access_token": token})


def _segment(id: str) -> str:
    return quote(id, safe="")


def _object(said: object) -> Shape:
    if not isinstance(said, dict):
        raise UnexpectedAnswer("it is no object")
    return cast(Shape, said)


def _objects(said: object) -> list[Shape]:
    if not isinstance(said, list):
        raise UnexpectedAnswer("it is no list")
    return [_object(each) for each in cast(list[object], said)]


def _page(said: object) -> Page:
    page = _object(said)
    return Page(_objects(page.get("data")), _number(page.get("total_count")))


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise UnexpectedAnswer("a count is missing")
    return value
