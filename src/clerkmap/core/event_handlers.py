"""Your handlers of events: which of them take an event, and what they get."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..errors import ConfigurationError

_PATTERN = re.compile(r"\*|\w+(\.\w+)*(\.\*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event of Clerk's webhooks, as your handler gets it.

    `instance` is the name of the instance. `payload` is the event's `data`: a copy for each handler. Its texts have no
    NUL and no halves of characters, so that every database can store them. `delivery_id` is the same in each attempt of
    one delivery; None for an event that was applied without one.
    """

    type: str
    instance: str
    timestamp: datetime
    payload: dict[str, Any] = field(repr=False, hash=False)  # reprs end up in logs
    delivery_id: str | None = None


# Called with an event and the transaction of the repository. An exception rolls both back.
EventHandler = Callable[[ReceivedEvent, Any], object]


class EventHandlers:
    """Your functions by the pattern of the types that they take."""

    def __init__(self, on_event: Mapping[str, EventHandler]) -> None:
        if not isinstance(on_event, Mapping):
            raise ConfigurationError(
                "on_event must be a dictionary of patterns and functions, such as {'subscription.*': handle}"
            )
        for pattern, handler in on_event.items():
            if not isinstance(pattern, str) or not _PATTERN.fullmatch(pattern):
                raise ConfigurationError(
                    "a pattern of on_event must be a type such as 'subscription.created', a prefix such as "
                    f"'subscription.*', or '*'; got {pattern!r}"
                )
            if not callable(handler):
                raise ConfigurationError(f"the handler of {pattern!r} must be a function of an event and a transaction")
        self.by_pattern: dict[str, EventHandler] = dict(on_event)

    def of(self, type: str) -> dict[str, EventHandler]:
        """Return the patterns that match a type, in your order, with their handlers."""
        return {pattern: handler for pattern, handler in self.by_pattern.items() if _matches(pattern, type)}


def _matches(pattern: str, type: str) -> bool:
    return pattern in (type, "*") or (pattern.endswith(".*") and type.startswith(pattern[:-1]))
