"""The requests of the page: `POST /do` names an action and its arguments, and returns the result.

An action is a function with typed arguments. Invalid arguments are refused as at Clerk: with a status, a code and a
message.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from ..testing import ClerkRefuses
from .instance import Box
from .serialization import from_plain, hints_of

Result = dict[str, Any]
Action = Callable[..., Result | Awaitable[Result]]

ACTIONS: dict[str, Action] = {}


def action(does: Action) -> Action:
    """Register a function as an action of the page."""
    ACTIONS[getattr(does, "__name__", "")] = does
    return does


async def perform(box: Box, asked: dict[str, Any]) -> Result:
    """Run an action. Raises `ClerkRefuses` if it is refused."""
    given = dict(asked)
    name = given.pop("action", None)
    does = ACTIONS.get(name) if isinstance(name, str) else None
    if does is None:
        raise ClerkRefuses(
            404, "action_unknown", f"This action does not exist. The actions are {', '.join(sorted(ACTIONS))}"
        )
    arguments = _arguments(does, given)
    try:
        result = does(box, **arguments)
        return await result if inspect.isawaitable(result) else result
    finally:
        box.changes.tell()
        box.keep()  # before the answer, so that no answered change is lost


def _arguments(does: Action, given: dict[str, Any]) -> dict[str, Any]:
    hints = {name: hint for name, hint in hints_of(does).items() if name not in ("box", "return")}
    for name in given:
        if name not in hints:
            raise ClerkRefuses(422, "form_param_unknown", f"{name} is not a valid parameter", name)
    for name, parameter in inspect.signature(does).parameters.items():
        if name in hints and name not in given and parameter.default is inspect.Parameter.empty:
            raise ClerkRefuses(422, "form_param_missing", f"{name} must be included", name)
    try:
        return {name: from_plain(hints[name], value, name) for name, value in given.items()}
    except ValueError as error:
        raise ClerkRefuses(422, "form_param_type_invalid", str(error)) from None


def found(table: dict[str, Any], id: str, what: str) -> Any:
    """Return the row with this id, or raise Clerk's error."""
    if id not in table:
        raise ClerkRefuses(404, "resource_not_found", f"No {what} was found with id {id}")
    return table[id]
