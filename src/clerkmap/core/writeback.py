"""What goes back to Clerk: which of your facts, and by which names; and what of it is still to be sent.

What is pending says which thing is to be looked at, never what is to be written: that follows from what is stored at
the moment of sending. So a hundred changes are one write, the last one counts, and an echo has nothing left to say.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import ConfigurationError
from .model import Organization, User

MAX_NAME = 100  # characters of a name in the metadata
WAIT = 2_000  # milliseconds: many changes become one write, and nothing is written as often as Clerk would refuse
OutboxKind = Literal["user", "organization"]


@dataclass(frozen=True, slots=True)
class WriteBack:
    """Which of your facts Clerk is to hold: each by the name it has in the public metadata, or None to keep it here.

        WriteBack(user_id="userId", role="role", organization_id="orgId")

    `external_id` makes your id the person's external id as well. Of the metadata, nothing but these names is touched.
    """

    user_id: str | None = None
    role: str | None = None
    organization_id: str | None = None
    external_id: bool = False

    def __post_init__(self) -> None:
        for name in (self.user_id, self.role, self.organization_id):
            if name is not None and not (isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable()):
                raise ConfigurationError(f"a name in the metadata is printable text of at most {MAX_NAME} characters")
        if self.user_id is not None and self.user_id == self.role:
            raise ConfigurationError("user_id and role must have different names in the metadata")

    def facts(self, row: User | Organization) -> dict[str, Any]:
        """What Clerk is to hold of a row of yours: public metadata, and perhaps the external id."""
        if isinstance(row, Organization):
            return {"public_metadata": {self.organization_id: row.id} if self.organization_id else {}}
        named = {self.user_id: row.id, self.role: row.role}
        facts: dict[str, Any] = {"public_metadata": {name: value for name, value in named.items() if name}}
        return facts | {"external_id": str(row.id)} if self.external_id else facts

    def is_otherwise(self, before: object, user: User) -> bool:
        """Whether Clerk is to hold something else of a user than before."""
        return isinstance(before, User) and self.facts(before) != self.facts(user)

    def missing(self, row: User | Organization) -> dict[str, Any]:
        """What of it Clerk does not hold, as far as it has told. Nothing where somebody is deleted."""
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
    """A person or an organization that is to be looked at, for Clerk may not hold what it should.

    `changes` counts what has been noted about it since, and `tries` how often somebody has begun to send it. Whoever
    sends it puts `due_at` off meanwhile, so that nobody else does. `error` is what went wrong last: a code, no text.
    """

    instance: str
    kind: OutboxKind
    key: str
    since: int
    due_at: int
    changes: int = 1
    tries: int = 0
    error: str | None = None


def outbox_entry_of(row: User | Organization, now: int) -> OutboxEntry:
    """What is noted of a row of which Clerk may not hold what it should."""
    kind: OutboxKind = "user" if isinstance(row, User) else "organization"
    return OutboxEntry(row.clerk.instance, kind, row.clerk.key, since=now, due_at=now + WAIT)


def _is_same(told: object, wanted: object) -> bool:
    return type(told) is type(wanted) and told == wanted
