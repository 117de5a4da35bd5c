"""A call of one endpoint: its request, and the parts of the fake Clerk that endpoints read and change."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ....core.strict_json import fields, items, read_object
from ..objects import ClerkRefuses, FakeMembership, FakeOrganization, FakeUser
from ..organizations import OrganizationDirectory
from ..store import Store
from ..tokens import Tokens
from ..users import UserDirectory
from .faults import Faults
from .lists import Lists
from .requests import ApiRequest, BodyParameters, Json, Query, missing


@dataclass(frozen=True)
class Parts:
    """The parts of one fake Clerk."""

    store: Store
    users: UserDirectory
    organizations: OrganizationDirectory
    tokens: Tokens
    faults: Faults
    lists: Lists


class ApiCall:
    """One request at its endpoint. `ids` are the variable segments of the path."""

    def __init__(self, parts: Parts, request: ApiRequest, version: str, ids: tuple[str, ...]) -> None:
        self.store: Store = parts.store
        self.users: UserDirectory = parts.users
        self.organizations: OrganizationDirectory = parts.organizations
        self.tokens: Tokens = parts.tokens
        self.faults: Faults = parts.faults
        self.lists: Lists = parts.lists
        self.version: str = version
        self.ids: tuple[str, ...] = ids
        self.query: Query = Query(request.query)
        self._request = request

    def body(self, *known: str) -> BodyParameters:
        """Return the body, which may hold these parameters only."""
        return BodyParameters(_read_object(self._request.body or b"{}"), set(known))

    def bodies(self, *known: str) -> list[BodyParameters]:
        """Return the objects of a body that is a list."""
        whole = _read_object(b'{"all":' + self._request.body + b"}")
        return [BodyParameters(fields(each), set(known)) for each in items(whole.get("all"))]

    def user(self, id: str | None = None) -> FakeUser:
        """Return the user with this id, or with the id in the path."""
        user = self.store.users.get(self.ids[0] if id is None else id)
        if user is None:
            raise missing("User")
        return user

    def organization(self, id: str | None = None) -> FakeOrganization:
        """Return the organization with this id or slug, or with the one in the path."""
        asked = self.ids[0] if id is None else id
        found = self.store.organizations.get(asked)
        found = found or self.store.organizations.get(self.store.owner("slug", asked) or "")
        if found is None:
            raise missing("Organization")
        return found

    def membership(self) -> FakeMembership:
        """Return the membership of the organization and the user in the path."""
        found = self.store.membership(self.organization(), self.user(self.ids[1]))
        if found is None:
            raise missing("Organization membership")
        return found


class Route(NamedTuple):
    """A method, a path with `{}` for each id in it, and the endpoint.

    `faults.between_pages` runs before a `list`. A `change` counts toward the rate limit of the object in the path.
    """

    method: str
    path: str
    run: Callable[[ApiCall], Json]
    kind: Literal["list", "change", "other"] = "other"


Routes = list[Route]


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        return read_object(body.strip())
    except ValueError:
        raise ClerkRefuses(400, "request_body_invalid", "The request body is invalid") from None
