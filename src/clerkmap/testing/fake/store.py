"""The tables of the made-up Clerk: who and what there is, by id, and how each change of it is said.

Each change moves `updated_at`, and says what has changed as Clerk says it. What Clerk refuses is refused here
(`ClerkRefuses`), before anything has changed: an address that is taken, what is not there, what is another Clerk's.
What can be done stands in the files beside this one.
"""

import string
import threading
from base64 import b64encode
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import wraps
from random import Random
from typing import Any, Concatenate, ParamSpec, TypeVar

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
Kept = FakeUser | FakeOrganization | FakeMembership | FakeInvitation | FakeSession
P = ParamSpec("P")
T = TypeVar("T")
Some = TypeVar("Some", bound="Ledger")


def one_at_a_time(change: Callable[Concatenate[Some, P], T]) -> Callable[Concatenate[Some, P], T]:
    """A change that no other one of the same ledger runs beside."""

    @wraps(change)
    def alone(self: Some, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self.changing:
            try:
                return change(self, *args, **kwargs)
            finally:
                self.changes += 1

    return alone


class Ledger:
    """Users, organizations, memberships, invitations and sessions, by their ids, in the order in which they came."""

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
        self.changing: threading.RLock = threading.RLock()
        self.changes: int = 0  # how many there were: lists made of the tables are good until there is another
        self._random = Random(f"clerkmap {seed}")  # reproducible on purpose
        self._last_moment = 0
        self._silences = 0  # counted: several threads may ask for one, and end it in any order
        self._members: dict[str, dict[str, FakeMembership]] = {}  # by organization, then user
        self._places: dict[str, dict[str, FakeMembership]] = {}  # by user, then organization
        self._taken: dict[tuple[str, str], str] = {}  # what must be one of a kind, and whose it is
        self.instance_id: str = self.new_id("ins")
        if ids:  # from here on: what comes before is the same in all that have this seed
            self._random = Random(f"clerkmap {seed} {ids}")
        self._message_ids = Random(f"messages {seed} {ids}")  # of their own: to say less changes no other id
        self.webhook_secret: str = _secret(f"whsec {seed}")
        self._secrets_made = 0
        self.wire: Wire = Wire(self.webhook_secret, clock, Random(f"wire {seed}"))

    def new_id(self, prefix: str) -> str:
        """An id as Clerk writes them."""
        return _id(prefix, self._random)

    def new_token_id(self, prefix: str) -> str:
        """An id of an opaque token, as Clerk writes them: 32 hexadecimal digits."""
        return f"{prefix}_{self._random.randbytes(16).hex()}"

    def moment(self) -> int:
        """The time in milliseconds, later than at any call before."""
        self._last_moment = max(int(self.clock() * 1000), self._last_moment + 1)
        return self._last_moment

    @contextmanager
    def silence(self) -> Generator[None, None, None]:
        """No event is made of what happens in this block, as if all of it had been lost. Good for large crowds."""
        with self.changing:
            self._silences += 1
        try:
            yield
        finally:
            with self.changing:
                self._silences -= 1

    # What there is

    def members_of(self, organization: FakeOrganization) -> list[FakeMembership]:
        """The memberships in an organization."""
        return list(self._members.get(organization.id, {}).values())

    def memberships_of(self, user: FakeUser) -> list[FakeMembership]:
        """A person's memberships."""
        return list(self._places.get(user.id, {}).values())

    def membership(self, organization: FakeOrganization, user: FakeUser) -> FakeMembership | None:
        """A person's place in an organization; None for who is not in it."""
        return self._places.get(user.id, {}).get(organization.id)

    def invitations_to(self, organization: FakeOrganization) -> list[FakeInvitation]:
        """The invitations into an organization."""
        return [each for each in list(self.invitations.values()) if each.organization_id == organization.id]

    def sessions_of(self, user: FakeUser) -> list[FakeSession]:
        """A person's sessions."""
        return [each for each in list(self.sessions.values()) if each.user_id == user.id]

    def owner(self, kind: str, value: str) -> str | None:
        """The id of who has it: an `email_address`, `username` or `external_id`; or the `slug` of an organization."""
        return self._taken.get(_key(kind, value))

    def role(self, key: str) -> FakeRole:
        """The role of that key. One that nobody has made permits nothing."""
        return self.roles.get(key) or FakeRole(key, key.removeprefix("org:").title())

    def must_be_here(self, *things: Kept) -> None:
        """Refuse what has been deleted, or is another made-up Clerk's: to this one it is not there."""
        for it in things:
            table, what = self._table_of(it)
            if table.get(it.id) is not it:
                raise ClerkRefuses(404, "resource_not_found", f"No {what} was found with id {it.id}")

    def _table_of(self, it: Kept) -> tuple[Mapping[str, Kept], str]:
        if isinstance(it, FakeUser):
            return self.users, "user"
        if isinstance(it, FakeOrganization):
            return self.organizations, "organization"
        if isinstance(it, FakeMembership):
            return self.memberships, "membership"
        if isinstance(it, FakeInvitation):
            return self.invitations, "invitation"
        return self.sessions, "session"

    # How it is written

    def shape(self, it: Kept) -> Shape:
        """Something in Clerk's JSON, as the API gives it."""
        if isinstance(it, FakeUser):
            return user_shape(it)
        if isinstance(it, FakeOrganization):
            return organization_shape(it)
        if isinstance(it, FakeSession):
            return session_shape(it)
        if isinstance(it, FakeInvitation):
            inviter = self.users.get(it.inviter_id) if it.inviter_id else None
            return invitation_shape(it, inviter, self.role(it.role))
        organization = organization_shape(self.organizations[it.organization_id])
        return membership_shape(it, organization, self.users[it.user_id], self.role(it.role))

    def told_shape(self, membership: FakeMembership) -> Shape:
        """A membership as webhooks give it: the members of its organization are counted."""
        counted = self.counted_shape(self.organizations[membership.organization_id])
        return membership_shape(membership, counted, self.users[membership.user_id], self.role(membership.role))

    def counted_shape(self, organization: FakeOrganization) -> Shape:
        """An organization with its members counted."""
        pending = sum(each.status == "pending" for each in self.invitations_to(organization))
        return organization_shape(organization, len(self._members.get(organization.id, {})), pending)

    def say(self, type: str, data: Shape) -> None:
        """Put an event on the wire, as every change does by itself. For what no change makes, such as `sms.created`."""
        if not self._silences:
            body = body_of(type, data, self.instance_id, self.moment())
            self.wire.say(_id("msg", self._message_ids), type, body)

    def rotate_webhook_secret(self, *, keep_for: float = DAY) -> str:
        """Replace the secret of the webhooks. For a day the old one signs beside it, unless you say for how long."""
        self._secrets_made += 1
        self.webhook_secret = _secret(f"whsec {self.seed} {self._secrets_made}")
        self.wire.rotate(self.webhook_secret, keep_for)
        return self.webhook_secret

    # For those who change it

    def _take(self, owner: str, *wanted: tuple[str, str | None]) -> None:
        """What must be one of a kind now belongs to this one: all of it, or nothing."""
        keys = [_key(kind, value) for kind, value in wanted if value is not None]
        for key in keys:
            if self._taken.get(key, owner) != owner:
                raise ClerkRefuses(422, "form_identifier_exists", "That is taken. Please try another.", key[0])
        self._taken |= dict.fromkeys(keys, owner)

    def _free(self, kind: str, value: str | None) -> None:
        if value is not None:
            self._taken.pop(_key(kind, value), None)

    def _must_be_new(self, table: Mapping[str, object], id: str | None) -> None:
        if id in table:
            raise ClerkRefuses(422, "form_identifier_exists", "That id is taken. Please try another.", "id")

    def _change(self, it: FakeUser | FakeOrganization, said: dict[str, Any], *kinds: str) -> None:
        """Take what is new, and let go of what it replaces."""
        new = [(kind, said[kind]) for kind in kinds if kind in said]
        self._take(it.id, *new)
        for kind, _ in new:
            self._free(kind, getattr(it, kind))
        self._take(it.id, *new)  # once more: the old one may have differed in its capitals only

    def _enter(self, membership: FakeMembership) -> None:
        self.memberships[membership.id] = membership
        self._members.setdefault(membership.organization_id, {})[membership.user_id] = membership
        self._places.setdefault(membership.user_id, {})[membership.organization_id] = membership

    def _leave(self, membership: FakeMembership) -> None:
        del self.memberships[membership.id]
        del self._members[membership.organization_id][membership.user_id]
        del self._places[membership.user_id][membership.organization_id]

    @staticmethod
    def _set(it: object, said: dict[str, Any], allowed: tuple[str, ...]) -> None:
        check_parameters(said, allowed)
        for name, value in said.items():
            setattr(it, name, value)


def check_parameters(said: Iterable[str], allowed: tuple[str, ...]) -> None:
    """Refuse what Clerk knows no parameter of."""
    for name in said:
        if name not in allowed:
            raise ClerkRefuses(422, "form_param_unknown", f"{name} is not a valid parameter", name)


def _secret(seed: str) -> str:
    return f"whsec_{b64encode(Random(seed).randbytes(24)).decode()}"


def _key(kind: str, value: str) -> tuple[str, str]:
    return kind, value if kind == "external_id" else value.lower()


def _id(prefix: str, random: Random) -> str:
    return f"{prefix}_{''.join(random.choices(string.ascii_letters + string.digits, k=27))}"
