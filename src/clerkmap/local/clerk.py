"""A FakeClerk that can be put away and taken out again: people, tokens, events, keys and chance go on where they were.

What is written down is the whole of what it would do next: taken out of the file it makes the same ids, the same tokens
and the same accidents as it would have made without.
"""

import json
from collections.abc import Callable
from math import inf, isinf
from random import Random
from typing import Any

from ..testing import (
    Clock,
    FakeClerk,
    FakeInvitation,
    FakeMachineToken,
    FakeMembership,
    FakeOrganization,
    FakeRole,
    FakeSession,
    FakeUser,
    Message,
    SigningKey,
    Wire,
)
from ..testing.fake.objects import SYSTEM_ROLES
from ..testing.fake.store import one_at_a_time
from .serialization import from_plain, to_plain

RandomState = list[Any]


class KeptClock(Clock):
    """A clock that tells how far it was moved."""

    @property
    def shift(self) -> float:
        """How many seconds it was moved by hand."""
        return self._shift


class KeptWire(Wire):
    """A wire that can be put away."""

    def saved(self) -> dict[str, Any]:
        """All events, and the secrets they are signed with."""
        secrets = [[secret, None if isinf(until) else until] for secret, until in self._secrets]
        return {"secrets": secrets, "messages": to_plain(list(self.messages.values()))}

    def restore(self, saved: dict[str, Any]) -> None:
        """Put back what `saved` gave."""
        self._secrets = [
            (from_plain(str, secret), inf if until is None else from_plain(float, until))
            for secret, until in saved["secrets"]
        ]
        if not self._secrets:
            raise ValueError("there is no secret")
        messages = from_plain(list[Message], saved["messages"], "messages")
        for message in messages:
            json.loads(message.body)  # a ValueError for what the page could not show
        self.put_in_order(messages)

    def put_in_order(self, messages: list[Message]) -> None:
        """Have these events, in this order, and no others."""
        with self._lock:
            self.messages.clear()
            self.messages.update((each.id, each) for each in messages)
        self._changed()


class KeptClerk(FakeClerk):
    """A made-up Clerk that can be put away, and forget everybody without forgetting its keys."""

    def __init__(self, seed: int) -> None:
        self.kept_clock: KeptClock = KeptClock()
        super().__init__(seed, clock=self.kept_clock)
        self.chance: Random = Random(f"wire {seed}")
        self.kept_wire: KeptWire = KeptWire(self.webhook_secret, self.clock, self.chance)
        self.wire: Wire = self.kept_wire

    def saved(self) -> dict[str, Any]:
        """Everything, as plain JSON."""
        with self.changing:
            return {
                "seed": self.seed,
                "clock": self.kept_clock.shift,
                "last_moment": self._last_moment,
                "random": [_saved_random(each) for each in self._randoms()],
                "taken": [[kind, value, owner] for (kind, value), owner in self._taken.items()],
                "keys": self._saved_keys(),
                "secrets_made": self._secrets_made,
                "webhook_secret": self.webhook_secret,
                "wire": self.kept_wire.saved(),
                **{name: to_plain(list(table.values())) for name, (_, table, _) in self._tables().items()},
            }

    @one_at_a_time
    def restore(self, saved: dict[str, Any]) -> None:
        """Put back what `saved` gave, or raise an error of Python's own for what is not that: ValueError, KeyError …"""
        self.clock.advance(from_plain(float, saved["clock"], "clock") - self.kept_clock.shift)
        self._last_moment = from_plain(int, saved["last_moment"], "last_moment")
        for random, state in zip(self._randoms(), from_plain(list[RandomState], saved["random"]), strict=True):
            version, numbers, spare = state
            random.setstate((version, tuple(numbers), spare))
        self._taken = {(kind, value): owner for kind, value, owner in from_plain(list[list[str]], saved["taken"])}
        for name, (kind, table, key) in self._tables().items():
            table.clear()
            rows = [from_plain(kind, each, name) for each in from_plain(list[Any], saved[name], name)]
            table.update((key(row), row) for row in rows)
        self._seat()
        self._restore_keys(from_plain(list[list[Any]], saved["keys"], "keys"))
        self._secrets_made = from_plain(int, saved["secrets_made"], "secrets_made")
        self.webhook_secret: str = from_plain(str, saved["webhook_secret"], "webhook_secret")
        self.kept_wire.restore(saved["wire"])

    @one_at_a_time
    def forget_everybody(self) -> None:
        """Forget people, organizations, sessions and events. Keys and secrets stay, and no id will be made again."""
        for _, table, _ in self._tables().values():
            table.clear()
        self.roles.update((role.key, role) for role in SYSTEM_ROLES)
        self._taken.clear()
        self._seat()
        self.clock.advance(-self.kept_clock.shift)
        self._last_moment = 0
        self.kept_wire.put_in_order([])

    def _tables(self) -> "dict[str, tuple[type, dict[str, Any], Callable[[Any], str]]]":
        return {
            "users": (FakeUser, self.users, _id),
            "organizations": (FakeOrganization, self.organizations, _id),
            "memberships": (FakeMembership, self.memberships, _id),
            "invitations": (FakeInvitation, self.invitations, _id),
            "sessions": (FakeSession, self.sessions, _id),
            "machine_tokens": (FakeMachineToken, self.machine_tokens, lambda token: token.secret),
            "roles": (FakeRole, self.roles, lambda role: role.key),
        }

    def _randoms(self) -> tuple[Random, ...]:
        return self._random, self._message_ids, self.chance

    def _seat(self) -> None:
        """Find everybody's place again from the memberships, each of which must lead from somebody to somewhere."""
        self._members.clear()
        self._places.clear()
        for each in list(self.memberships.values()):
            self.must_be_here(self.users[each.user_id], self.organizations[each.organization_id])
            self._enter(each)
        for session in self.sessions.values():
            self.must_be_here(self.users[session.user_id])
        for invitation in self.invitations.values():
            self.must_be_here(self.organizations[invitation.organization_id])

    def _saved_keys(self) -> list[list[Any]]:
        """The numbers and ids of the keys that are published, and until when; the present one first."""
        old = [(key.kid, until) for key, until in self._old_keys]
        while old and old[-1][1] <= self.clock():
            old.pop()
        numbered = [(self.key.kid, None), *old]
        return [[self._keys_made - place, kid, until] for place, (kid, until) in enumerate(numbered)]

    def _restore_keys(self, saved: list[list[Any]]) -> None:
        made = [
            (SigningKey(f"{self.seed}/{from_plain(int, number)}", from_plain(str | None, kid), self._algorithm), until)
            for number, kid, until in saved
        ]
        self._keys_made = saved[0][0]
        self.key: SigningKey = made[0][0]
        self._old_keys = [(key, from_plain(float, until)) for key, until in made[1:]]


def _id(row: Any) -> str:
    id: str = row.id
    return id


def _saved_random(random: Random) -> RandomState:
    version, numbers, spare = random.getstate()
    return [version, list(numbers), spare]
