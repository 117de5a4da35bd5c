"""The tables of the fake Clerk: its rows by id, the values that are unique, ids, time, and the events of changes.

`UserDirectory`, `OrganizationDirectory` and `Tokens` change the tables. Each change moves `updated_at` and sends
Clerk's event. A change that Clerk would refuse raises `ClerkRefuses` before it has changed anything.
"""

import string
import threading
from base64 import b64encode
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import wraps
from random import Random
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from ..clock import Clock
from .objects import (
    SYSTEM_ROLES,
    ClerkRefuses,
    FakeInvitation,
    FakeMachineToken,
    FakeMembership,
    FakeOrganization,
    FakeRole,
    FakeSession,
    FakeUser,
)
from .shapes import (
    Shape,
    body_of,
    invitation_shape,
    membership_shape,
    organization_shape,
    session_shape,
    user_shape,
)
from .webhook_delivery import Wire

DAY = 86_400
Row = FakeUser | FakeOrganization | FakeMembership | FakeInvitation | FakeSession
P = ParamSpec("P")
T = TypeVar("T")


class Store:
    """The rows of one fake Clerk, each table in the order of creation.

    Args:
        seed: Seeds the ids and the webhook secret.
        clock: Returns the time of changes.
        ids: Seeds the ids as well; the instance id and the secrets depend on `seed` alone.
    """

    def __init__(self, seed: int, clock: Clock, ids: str = "") -> None:
        self.seed: int = seed
        self.clock: Clock = clock
        self.users: dict[str, FakeUser] = {}
        self.organizations: dict[str, FakeOrganization] = {}
        self.memberships: dict[str, FakeMembership] = {}
        self.invitations: dict[str, FakeInvitation] = {}
        self.sessions: dict[str, FakeSession] = {}
        self.machine_tokens: dict[str, FakeMachineToken] = {}
        self.roles: dict[str, FakeRole] = {role.key: role for role in SYSTEM_ROLES}
        self.owners: dict[tuple[str, str], str] = {}  # a unique value, and the id of the row that has it
        self.changing: threading.RLock = threading.RLock()
        self.changes: int = 0  # lists made from the tables are valid until this number changes
        self.random: Random = Random(f"clerkmap {seed}")  # reproducible on purpose
        self.last_moment: int = 0
        self._silences = 0  # a count: several threads may ask for silence, and end it in any order
        self._by_organization: dict[str, dict[str, FakeMembership]] = {}  # by organization id, then user id
        self._by_user: dict[str, dict[str, FakeMembership]] = {}  # by user id, then organization id
        self.instance_id: str = self.new_id("ins")
        if ids:
            self.random = Random(f"clerkmap {seed} {ids}")
        self.message_ids: Random = Random(f"messages {seed} {ids}")  # separate: a silent change shifts no other id
        self.webhook_secret: str = _secret(f"whsec {seed}")
        self.secrets_made: int = 0
        self.wire: Wire = Wire(self.webhook_secret, clock, Random(f"wire {seed}"))

    def new_id(self, prefix: str) -> str:
        """Return a new id in Clerk's format."""
        return _id(prefix, self.random)

    def new_token_id(self, prefix: str) -> str:
        """Return a new id of an opaque token in Clerk's format: 32 hexadecimal digits."""
        return f"{prefix}_{self.random.randbytes(16).hex()}"

    def moment(self) -> int:
        """Return the time in milliseconds, later than the result of every earlier call."""
        self.last_moment = max(int(self.clock() * 1000), self.last_moment + 1)
        return self.last_moment

    @contextmanager
    def silence(self) -> Generator[None, None, None]:
        """Send no events for the changes in this block."""
        with self.changing:
            self._silences += 1
        try:
            yield
        finally:
            with self.changing:
                self._silences -= 1

    # Reading

    def members_of(self, organization: FakeOrganization) -> list[FakeMembership]:
        """Return the memberships in an organization."""
        return list(self._by_organization.get(organization.id, {}).values())

    def memberships_of(self, user: FakeUser) -> list[FakeMembership]:
        """Return the memberships of a user."""
        return list(self._by_user.get(user.id, {}).values())

    def membership(self, organization: FakeOrganization, user: FakeUser) -> FakeMembership | None:
        """Return the user's membership in the organization, or None."""
        return self._by_user.get(user.id, {}).get(organization.id)

    def invitations_to(self, organization: FakeOrganization) -> list[FakeInvitation]:
        """Return the invitations to an organization."""
        return [each for each in list(self.invitations.values()) if each.organization_id == organization.id]

    def sessions_of(self, user: FakeUser) -> list[FakeSession]:
        """Return the sessions of a user."""
        return [each for each in list(self.sessions.values()) if each.user_id == user.id]

    def owner(self, kind: str, value: str) -> str | None:
        """Return the id of the row with this `email_address`, `username`, `external_id` or `slug`."""
        return self.owners.get(_key(kind, value))

    def role(self, key: str) -> FakeRole:
        """Return the role with this key. A role that was never created has no permissions."""
        return self.roles.get(key) or FakeRole(key, key.removeprefix("org:").title())

    def require(self, *rows: Row) -> None:
        """Refuse rows that were deleted or belong to another fake Clerk."""
        for row in rows:
            table, kind = self._table_of(row)
            if table.get(row.id) is not row:
                raise ClerkRefuses(404, "resource_not_found", f"No {kind} was found with id {row.id}")

    def _table_of(self, row: Row) -> tuple[Mapping[str, Row], str]:
        if isinstance(row, FakeUser):
            return self.users, "user"
        if isinstance(row, FakeOrganization):
            return self.organizations, "organization"
        if isinstance(row, FakeMembership):
            return self.memberships, "membership"
        if isinstance(row, FakeInvitation):
            return self.invitations, "invitation"
        return self.sessions, "session"

    # JSON and events

    def shape(self, row: Row) -> Shape:
        """Return a row in the JSON of Clerk's API."""
        if isinstance(row, FakeUser):
            return user_shape(row)
        if isinstance(row, FakeOrganization):
            return organization_shape(row)
        if isinstance(row, FakeSession):
            return session_shape(row)
        if isinstance(row, FakeInvitation):
            inviter = self.users.get(row.inviter_id) if row.inviter_id else None
            return invitation_shape(row, inviter, self.role(row.role))
        organization = organization_shape(self.organizations[row.organization_id])
        return membership_shape(row, organization, self.users[row.user_id], self.role(row.role))

    def event_shape(self, membership: FakeMembership) -> Shape:
        """Return a membership in the JSON of Clerk's webhooks, which count the members of its organization."""
        counted = self.counted_shape(self.organizations[membership.organization_id])
        return membership_shape(membership, counted, self.users[membership.user_id], self.role(membership.role))

    def counted_shape(self, organization: FakeOrganization) -> Shape:
        """Return an organization in Clerk's JSON, with the number of its members and pending invitations."""
        pending = sum(each.status == "pending" for each in self.invitations_to(organization))
        return organization_shape(organization, len(self._by_organization.get(organization.id, {})), pending)

    def say(self, type: str, data: Shape) -> None:
        """Send an event, unless events are silenced."""
        if not self._silences:
            body = body_of(type, data, self.instance_id, self.moment())
            self.wire.say(_id("msg", self.message_ids), type, body)

    def rotate_webhook_secret(self, keep_for: float) -> str:
        """Replace the webhook secret. The old secret signs as well for `keep_for` seconds."""
        self.secrets_made += 1
        self.webhook_secret = _secret(f"whsec {self.seed} {self.secrets_made}")
        self.wire.rotate(self.webhook_secret, keep_for)
        return self.webhook_secret

    # Writing

    def claim(self, owner: str, *values: tuple[str, str | None]) -> None:
        """Give unique values to the row with this id: all of them, or none if another row has one."""
        keys = [_key(kind, value) for kind, value in values if value is not None]
        for key in keys:
            if self.owners.get(key, owner) != owner:
                raise ClerkRefuses(422, "form_identifier_exists", "That is taken. Please try another.", key[0])
        self.owners |= dict.fromkeys(keys, owner)

    def release(self, kind: str, value: str | None) -> None:
        """Free a unique value."""
        if value is not None:
            self.owners.pop(_key(kind, value), None)

    def require_new(self, table: Mapping[str, object], id: str | None) -> None:
        """Refuse an id that is in the table."""
        if id in table:
            raise ClerkRefuses(422, "form_identifier_exists", "That id is taken. Please try another.", "id")

    def replace_unique(self, row: FakeUser | FakeOrganization, changes: Mapping[str, Any], *kinds: str) -> None:
        """Claim the changed values of these kinds, and free those that they replace."""
        new = [(kind, changes[kind]) for kind in kinds if kind in changes]
        self.claim(row.id, *new)
        for kind, _ in new:
            self.release(kind, getattr(row, kind))
        self.claim(row.id, *new)  # again: the old value may differ from the new one in upper and lower case only

    def add_membership(self, membership: FakeMembership) -> None:
        """Store a membership."""
        self.memberships[membership.id] = membership
        self._by_organization.setdefault(membership.organization_id, {})[membership.user_id] = membership
        self._by_user.setdefault(membership.user_id, {})[membership.organization_id] = membership

    def remove_membership(self, membership: FakeMembership) -> None:
        """Delete a membership."""
        del self.memberships[membership.id]
        del self._by_organization[membership.organization_id][membership.user_id]
        del self._by_user[membership.user_id][membership.organization_id]

    def index_memberships(self) -> None:
        """Rebuild the indexes from the tables, and refuse rows that refer to a missing row."""
        self._by_organization.clear()
        self._by_user.clear()
        for each in list(self.memberships.values()):
            self.require(self.users[each.user_id], self.organizations[each.organization_id])
            self.add_membership(each)
        for session in self.sessions.values():
            self.require(self.users[session.user_id])
        for invitation in self.invitations.values():
            self.require(self.organizations[invitation.organization_id])


class HasStore(Protocol):
    """A part that changes the tables."""

    @property
    def store(self) -> Store:
        """The tables."""
        ...


Part = TypeVar("Part", bound=HasStore)


def serialized(change: Callable[Concatenate[Part, P], T]) -> Callable[Concatenate[Part, P], T]:
    """Run a method as one change: no other change of the same store runs at the same time."""

    @wraps(change)
    def run(self: Part, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self.store.changing:
            try:
                return change(self, *args, **kwargs)
            finally:
                self.store.changes += 1

    return run


def assign(row: object, changes: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    """Set these attributes of a row, and refuse names that are not allowed."""
    check_parameters(changes, allowed)
    for name, value in changes.items():
        setattr(row, name, value)


def check_parameters(names: Iterable[str], allowed: tuple[str, ...]) -> None:
    """Refuse parameters that Clerk does not have."""
    for name in names:
        if name not in allowed:
            raise ClerkRefuses(422, "form_param_unknown", f"{name} is not a valid parameter", name)


def _secret(seed: str) -> str:
    return f"whsec_{b64encode(Random(seed).randbytes(24)).decode()}"


def _key(kind: str, value: str) -> tuple[str, str]:
    return kind, value if kind == "external_id" else value.lower()


def _id(prefix: str, random: Random) -> str:
    return f"{prefix}_{''.join(random.choices(string.ascii_letters + string.digits, k=27))}"
