"""Requests to the fake Clerk's API, its answers, and the parameters in a query or a body."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from ....core.strict_json import items
from ..objects import ClerkRefuses, Metadata

MAX_VALUES = 100  # of one parameter
MAX_PARAMETERS = 1_000

Json = dict[str, Any] | list[Any]


@dataclass(frozen=True)
class ApiRequest:
    """A request, independent of its transport. Header names are in lower case, the path is decoded."""

    method: str
    path: str
    query: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class ApiAnswer:
    """An answer, sent after `delay` seconds.

    With `cut` set, the connection is cut after `cut` bytes of the body; -1 cuts it before the status line.
    """

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    delay: float = 0
    cut: int | None = None


def answer_of(value: Json, status: int = 200, **headers: str) -> ApiAnswer:
    """Return an answer with a JSON body."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return ApiAnswer(status, body, {"content-type": "application/json"} | headers)


def invalid(name: str, why: str = "is invalid") -> ClerkRefuses:
    """Return Clerk's error for a parameter with an invalid value."""
    return ClerkRefuses(422, "form_param_value_invalid", f"{name} {why}", name)


def missing(thing: str) -> ClerkRefuses:
    """Return Clerk's error for a resource that does not exist."""
    return ClerkRefuses(404, "resource_not_found", f"{thing} was not found")


class Query:
    """The query parameters of a request. A list repeats its name; of any other parameter the first value counts."""

    def __init__(self, text: str) -> None:
        self.pairs: list[tuple[str, str]] = []
        try:
            self.pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
        except ValueError:
            raise ClerkRefuses(400, "request_invalid", "there are too many parameters") from None

    def all(self, name: str) -> list[str]:
        """Return the values of a parameter, at most `MAX_VALUES`."""
        values = [value for each, value in self.pairs if each == name and value]
        if len(values) > MAX_VALUES:
            raise ClerkRefuses(422, "form_param_exceeds_allowed_size", f"{name} takes {MAX_VALUES} values", name)
        return values

    def one(self, name: str) -> str | None:
        """Return the first value of a parameter, or None."""
        return next(iter(self.all(name)), None)

    def number(self, name: str, least: int = 0, most: int = 2**63) -> int | None:
        """Return a parameter as an integer from `least` to `most`, or None."""
        text = self.one(name)
        if text is None:
            return None
        if not text.isdecimal() or not text.isascii() or len(text) > 19 or not least <= int(text) <= most:
            raise invalid(name, f"must be a whole number, of at least {least}")
        return int(text)

    def flag(self, name: str) -> bool | None:
        """Return a parameter as a boolean, or None."""
        text = self.one(name)
        if text not in (None, "true", "false"):
            raise invalid(name, "must be true or false")
        return None if text is None else text == "true"


class BodyParameters:
    """The parameters in a JSON body. As at Clerk, an unknown parameter is refused."""

    def __init__(self, values: dict[str, Any], known: set[str]) -> None:
        for name in values:
            if name not in known:
                raise ClerkRefuses(422, "form_param_unknown", f"{name} is not a valid parameter", name)
        self.values: dict[str, Any] = values

    def text(self, name: str) -> str | None:
        """Return a string, or None."""
        value: str | None = self._value(name, str, "must be a text")
        return value

    def required(self, name: str) -> str:
        """Return a string that must be present and not empty."""
        value = self.text(name)
        if not value:
            raise ClerkRefuses(422, "form_param_missing", f"{name} must be included", name)
        return value

    def flag(self, name: str) -> bool | None:
        """Return a boolean, or None."""
        value: bool | None = self._value(name, bool, "must be true or false")
        return value

    def number(self, name: str, least: int = 0, most: int = 2**63) -> int | None:
        """Return an integer from `least` to `most`, or None."""
        value = self._value(name, int, "must be a whole number")
        if value is not None and (isinstance(value, bool) or not least <= value <= most):
            raise invalid(name, f"must be a whole number, of at least {least}")
        return value

    def metadata(self, name: str) -> Metadata | None:
        """Return a JSON object, or None."""
        value: Metadata | None = self._value(name, dict, "must be an object")
        return value

    def texts(self, name: str) -> list[str]:
        """Return a list of strings, empty if it is missing."""
        values = items(self._value(name, list, "must be a list"))
        if not all(isinstance(each, str) for each in values) or len(values) > MAX_VALUES:
            raise invalid(name, "must be a list of texts")
        return values

    def moment(self, name: str) -> int | None:
        """Return an RFC 3339 time in milliseconds, or None."""
        text = self.text(name)
        try:
            when = datetime.fromisoformat(text) if text else None
        except ValueError:
            raise invalid(name, "must be a time as in RFC 3339") from None
        return round(when.replace(tzinfo=when.tzinfo or UTC).timestamp() * 1000) if when else None

    def given(self, *names: str) -> dict[str, Any]:
        """Return those of the parameters that are present, null included."""
        return {name: self.values[name] for name in names if name in self.values}

    def _value(self, name: str, kind: type, why: str) -> Any:
        value = self.values.get(name)
        if value is not None and not isinstance(value, kind):
            raise invalid(name, why)
        return value
