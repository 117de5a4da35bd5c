"""The outcomes of deliveries at each receiver, field by field, for the page."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from ..core.model import Change, Mapped, Membership, Organization, User
from ..core.records import COLUMNS
from ..webhooks import Outcome

MOST_KEPT = 20  # outcomes of one event

Kind = Literal["applied", "nothing_new", "ignored", "refused"]
How = Literal["made", "altered", "deleted", "regained"]
What = Literal["user", "organization", "membership", "session"]
Value = str | int | bool | None


@dataclass
class Field:
    """One field of a row, before and after."""

    name: str
    before: str | None
    after: str | None


@dataclass
class Altered:
    """One row that a delivery has changed."""

    what: What
    id: str
    how: How
    fields: list[Field] = field(default_factory=list[Field])


@dataclass
class Came:
    """The outcome of a delivery at one receiver: `to` is "demo", or the address of another application."""

    to: str
    kind: Kind
    reason: str | None = None
    changes: list[Altered] = field(default_factory=list[Altered])


# Called with the id of an event, and the outcome of one delivery.
Record = Callable[[str, Came], None]


def came_of(to: str, outcome: Outcome) -> Came:
    """Return the outcome of a delivery at a reconciler."""
    return Came(to, outcome.kind, outcome.reason, [_altered(change) for change in outcome.changes])


def _altered(change: Change) -> Altered:
    after = change.after
    before, now = _said(change.before), _said(after)
    fields = [Field(name, before.get(name), now[name]) for name in now if before.get(name) != now[name]]
    how: How = "made"
    if change.altered:
        how = "altered"
    elif change.deleted:
        how = "deleted"
    elif change.regained:
        how = "regained"
    id = str(after.id) if isinstance(after, (User, Organization)) else after.clerk.clerk_id or after.clerk.key
    return Altered(_what(after), id, how, fields)


def _what(row: Mapped) -> What:
    if isinstance(row, User):
        return "user"
    if isinstance(row, Organization):
        return "organization"
    return "membership" if isinstance(row, Membership) else "session"


def _said(row: Mapped | None) -> dict[str, str | None]:
    """Return the readable fields of a row as text, all empty for a deleted row."""
    if row is None:
        return {}
    names = [name for name in COLUMNS[row.clerk.kind] if name not in ("instance", "key", "rank")]
    said = {name: _text(getattr(row.clerk, name)) for name in names}
    if isinstance(row, User):
        said |= {"role": row.role, "deleted_at": None if row.deleted_at is None else row.deleted_at.isoformat()}
    return said


def _text(value: Value) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)
