"""Write-back: which of your ids and roles Clerk's metadata holds, and the outbox entries for rows that are stale there.

An outbox entry names a row, and no value. The sender reads the stored row and sends the values that Clerk lacks. So a
hundred changes become one write, the last value wins, and Clerk's own echo causes no write.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from ..errors import ConfigurationError
from .model import Mapped, Organization, User
from .times import to_datetime

MAX_NAME = 100  # characters of a name in the metadata
WAIT = timedelta(seconds=2)  # many changes become one write, which also spares Clerk's rate limit
OutboxKind = Literal["user", "organization"]


@dataclass(frozen=True, slots=True)
class WriteBack:
    """The names of your ids and roles in Clerk's public metadata. None keeps a value out of Clerk.

        WriteBack(user_id="userId", role="role", organization_id="orgId")

    `external_id=True` also writes your id as the Clerk user's external id. Other names in the metadata never change.
    """

    user_id: str | None = None
    role: str | None = None
    organization_id: str | None = None
    external_id: bool = False

    def __post_init__(self) -> None:
        for name in (self.user_id, self.role, self.organization_id):
            if name is not None and not (isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable()):
                raise ConfigurationError(f"a name in the metadata must have at most {MAX_NAME} printable characters")
        if self.user_id is not None and self.user_id == self.role:
            raise ConfigurationError("user_id and role must have different names in the metadata")

    def facts(self, row: User | Organization) -> dict[str, Any]:
        """Return the values of your row that Clerk should hold: public metadata and, for users, the external id."""
        if isinstance(row, Organization):
            return {"public_metadata": {self.organization_id: row.id} if self.organization_id else {}}
        named = {self.user_id: row.id, self.role: row.role}
        facts: dict[str, Any] = {"public_metadata": {name: value for name, value in named.items() if name}}
        return facts | {"external_id": str(row.id)} if self.external_id else facts

    def is_changed(self, before: Mapped | None, user: User) -> bool:
        """Return whether the values of a user that Clerk should hold have changed."""
        return isinstance(before, User) and self.facts(before) != self.facts(user)

    def missing(self, row: User | Organization) -> dict[str, Any]:
        """Return the values that Clerk's record lacks, or nothing for a deleted row."""
        clerk = row.clerk
        if clerk.clerk_id is None:
            return {}
        facts = self.facts(row)
        told: dict[str, Any] = json.loads(clerk.public_metadata)
        wanted = facts.pop("public_metadata")
        missing = {name: value for name, value in facts.items() if getattr(clerk, name) != value}
        metadata = {name: value for name, value in wanted.items() if not _is_same(told.get(name), value)}
        return missing | {"public_metadata": metadata} if metadata else missing


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """A user or an organization with metadata at Clerk that may be stale.

    `changes` counts the changes since the last write, and `tries` the attempts to send it. A sender moves `due_at` into
    the future first, so that no other sender takes the entry. `error` is the code of the last failure.
    """

    instance: str
    kind: OutboxKind
    key: str
    since: datetime
    due_at: datetime
    changes: int = 1
    tries: int = 0
    error: str | None = None


def outbox_entry_of(row: User | Organization, now: int) -> OutboxEntry:
    """Return the outbox entry of a row with metadata at Clerk that may be stale since `now`, in milliseconds."""
    kind: OutboxKind = "user" if isinstance(row, User) else "organization"
    since = to_datetime(now)
    return OutboxEntry(row.clerk.instance, kind, row.clerk.key, since, due_at=since + WAIT)


def _is_same(told: object, wanted: object) -> bool:
    return type(told) is type(wanted) and told == wanted
