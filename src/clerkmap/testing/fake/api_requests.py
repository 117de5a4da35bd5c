"""A request to the made-up Clerk's API, what is answered, and how endpoints read what was asked."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import parse_qsl

from ...core.strict_json import fields, items, read_object
from .objects import ClerkRefuses, FakeMembership, FakeOrganization, FakeUser, Metadata

if TYPE_CHECKING:
    from ..fake_clerk import FakeClerk
    from .api_lists import Lists

MOST_VALUES = 100  # of one parameter
MOST_PARAMETERS = 1_000

Json = dict[str, Any] | list[Any]


@dataclass(frozen=True)
class ApiRequest:
    """A request, in whichever way it came. Names of headers are in lower case, the path is decoded."""

    method: str
    path: str
    query: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class ApiAnswer:
    """An answer. It comes after `delay` seconds; a connection that is cut lets `cut` bytes of the body through.

    If `cut` is -1, nothing comes back at all.
    """

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    delay: float = 0
    cut: int | None = None


def answer_of(value: Json, status: int = 200, **headers: str) -> ApiAnswer:
    """JSON as Clerk sends it."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return ApiAnswer(status, body, {"content-type": "application/json"} | headers)


def invalid(name: str, why: str = "is invalid") -> ClerkRefuses:
    """What Clerk says of a parameter that it cannot use."""
    return ClerkRefuses(422, "form_param_value_invalid", f"{name} {why}", name)


def missing(what: str) -> ClerkRefuses:
    """What Clerk says of something that is not there."""
    return ClerkRefuses(404, "resource_not_found", f"{what} was not found")


class Query:
    """The parameters after the question mark. A list repeats its name; of anything else the first one counts."""

    def __init__(self, text: str) -> None:
        self.pairs: list[tuple[str, str]] = []
        try:
            self.pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
        except ValueError:
            raise ClerkRefuses(400, "request_invalid", "there are too many parameters") from None

    def all(self, name: str) -> list[str]:
        """Every value of a parameter, of which there may be a hundred."""
        values = [value for each, value in self.pairs if each == name and value]
        if len(values) > MOST_VALUES:
            raise ClerkRefuses(422, "form_param_exceeds_allowed_size", f"{name} takes {MOST_VALUES} values", name)
        return values

    def one(self, name: str) -> str | None:
        """A parameter, or None."""
        return next(iter(self.all(name)), None)

    def number(self, name: str, least: int = 0, most: int = 2**63) -> int | None:
        """A parameter that is a whole number between these two."""
        text = self.one(name)
        if text is None:
            return None
        if not text.isdecimal() or not text.isascii() or len(text) > 19 or not least <= int(text) <= most:
            raise invalid(name, f"must be a whole number, of at least {least}")
        return int(text)

    def flag(self, name: str) -> bool | None:
        """A parameter that is true or false."""
        text = self.one(name)
        if text not in (None, "true", "false"):
            raise invalid(name, "must be true or false")
        return None if text is None else text == "true"


class Said:
    """The parameters in a body. What an endpoint does not know is refused, as it is at Clerk."""

    def __init__(self, values: dict[str, Any], known: set[str]) -> None:
        for name in values:
            if name not in known:
                raise ClerkRefuses(422, "form_param_unknown", f"{name} is not a valid parameter", name)
        self.values: dict[str, Any] = values

    def text(self, name: str) -> str | None:
        """A text, or None."""
        value: str | None = self._of(name, str, "must be a text")
        return value

    def needed(self, name: str) -> str:
        """A text that has to be there."""
        value = self.text(name)
        if not value:
            raise ClerkRefuses(422, "form_param_missing", f"{name} must be included", name)
        return value

    def flag(self, name: str) -> bool | None:
        """True, false, or None."""
        value: bool | None = self._of(name, bool, "must be true or false")
        return value

    def number(self, name: str, least: int = 0, most: int = 2**63) -> int | None:
        """A whole number between these two, or None."""
        value = self._of(name, int, "must be a whole number")
        if value is not None and (isinstance(value, bool) or not least <= value <= most):
            raise invalid(name, f"must be a whole number, of at least {least}")
        return value

    def metadata(self, name: str) -> Metadata | None:
        """A JSON object, or None."""
        value: Metadata | None = self._of(name, dict, "must be an object")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of texts; none if it is not there."""
        values = items(self._of(name, list, "must be a list"))
        if not all(isinstance(each, str) for each in values) or len(values) > MOST_VALUES:
            raise invalid(name, "must be a list of texts")
        return values

    def moment(self, name: str) -> int | None:
        """A time that is written by RFC 3339, in milliseconds; or None."""
        text = self.text(name)
        try:
            when = datetime.fromisoformat(text) if text else None
        except ValueError:
            raise invalid(name, "must be a time as in RFC 3339") from None
        return round(when.replace(tzinfo=when.tzinfo or UTC).timestamp() * 1000) if when else None

    def given(self, *names: str) -> dict[str, Any]:
        """Those of the parameters that were given, null included."""
        return {name: self.values[name] for name in names if name in self.values}

    def _of(self, name: str, kind: type, why: str) -> Any:
        value = self.values.get(name)
        if value is not None and not isinstance(value, kind):
            raise invalid(name, why)
        return value


class Call:
    """A request in the hands of its endpoint. `ids` are the parts of the path that are no words of Clerk's."""

    def __init__(
        self, clerk: "FakeClerk", lists: "Lists", request: ApiRequest, version: str, ids: tuple[str, ...]
    ) -> None:
        self.clerk: FakeClerk = clerk
        self.lists: Lists = lists
        self.version: str = version
        self.ids: tuple[str, ...] = ids
        self.query: Query = Query(request.query)
        self._request = request

    def said(self, *known: str) -> Said:
        """The body, in which only these parameters may be."""
        return Said(self._object(self._request.body or b"{}"), set(known))

    def said_in_list(self, *known: str) -> list[Said]:
        """The same of a body that is a list."""
        whole = self._object(b'{"all":' + self._request.body + b"}")
        return [Said(fields(each), set(known)) for each in items(whole.get("all"))]

    def user(self, id: str | None = None) -> FakeUser:
        """The person of that id, or of the one in the path."""
        user = self.clerk.users.get(self.ids[0] if id is None else id)
        if user is None:
            raise missing("User")
        return user

    def organization(self, id: str | None = None) -> FakeOrganization:
        """The organization of that id or slug, or of the one in the path."""
        asked = self.ids[0] if id is None else id
        found = self.clerk.organizations.get(asked)
        found = found or self.clerk.organizations.get(self.clerk.owner("slug", asked) or "")
        if found is None:
            raise missing("Organization")
        return found

    def membership(self) -> FakeMembership:
        """The membership of the organization and the person in the path."""
        found = self.clerk.membership(self.organization(), self.user(self.ids[1]))
        if found is None:
            raise missing("Organization membership")
        return found

    @staticmethod
    def _object(body: bytes) -> dict[str, Any]:
        try:
            return read_object(body.strip())
        except ValueError:
            raise ClerkRefuses(400, "request_body_invalid", "The request body is invalid") from None


class Route(NamedTuple):
    """A method, a path with `{}` for each id in it, and the endpoint there.

    A `list` is what `faults.between_pages` comes before; of a `change`, the object in the path has a limit of its own.
    """

    method: str
    path: str
    run: Callable[[Call], Json]
    kind: Literal["list", "change", "other"] = "other"


Routes = list[Route]
