"""A FakeClerk that can be saved to JSON and restored. Its next ids, tokens and faults stay the same."""

import json
from collections.abc import Callable
from math import inf, isinf
from random import Random
from typing import Any

from ..testing import (
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
from ..testing.fake.store import serialized
from .serialization import from_plain, to_plain

RandomState = list[Any]


class LocalClerk(FakeClerk):
    """A fake Clerk that can be saved, restored, and emptied without losing its keys."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.chance: Random = self.wire.random

    def saved(self) -> dict[str, Any]:
        """Return the whole state as plain JSON."""
        store = self.store
        with store.changing:
            return {
                "seed": self.seed,
                "clock": self.clock.shift,
                "last_moment": store.last_moment,
                "random": [_saved_random(each) for each in self._randoms()],
                "taken": [[kind, value, owner] for (kind, value), owner in store.owners.items()],
                "keys": self._saved_keys(),
                "secrets_made": store.secrets_made,
                "webhook_secret": store.webhook_secret,
                "wire": _saved_wire(self.wire),
                **{name: to_plain(list(table.values())) for name, (_, table, _) in self._tables().items()},
            }

    @serialized
    def restore(self, saved: dict[str, Any]) -> None:
        """Restore a state of `saved`. An invalid state raises a built-in error: ValueError, KeyError …"""
        store = self.store
        self.clock.advance(from_plain(float, saved["clock"], "clock") - self.clock.shift)
        store.last_moment = from_plain(int, saved["last_moment"], "last_moment")
        for random, state in zip(self._randoms(), from_plain(list[RandomState], saved["random"]), strict=True):
            version, numbers, spare = state
            random.setstate((version, tuple(numbers), spare))
        owners = from_plain(list[list[str]], saved["taken"])
        store.owners = {(kind, value): owner for kind, value, owner in owners}
        for name, (kind, table, key) in self._tables().items():
            table.clear()
            rows = [from_plain(kind, each, name) for each in from_plain(list[Any], saved[name], name)]
            table.update((key(row), row) for row in rows)
        store.index_memberships()
        self._restore_keys(from_plain(list[list[Any]], saved["keys"], "keys"))
        store.secrets_made = from_plain(int, saved["secrets_made"], "secrets_made")
        store.webhook_secret = from_plain(str, saved["webhook_secret"], "webhook_secret")
        _restore_wire(self.wire, saved["wire"])

    @serialized
    def clear(self) -> None:
        """Delete all rows and events. Keys and secrets stay, and no id is made again."""
        store = self.store
        for _, table, _ in self._tables().values():
            table.clear()
        store.roles.update((role.key, role) for role in SYSTEM_ROLES)
        store.owners.clear()
        store.index_memberships()
        self.clock.advance(-self.clock.shift)
        store.last_moment = 0
        self.wire.replace([])

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
        return self.store.random, self.store.message_ids, self.chance

    def _saved_keys(self) -> list[list[Any]]:
        """Return the number, the id and the last second of each published key, the signing key first."""
        tokens = self.tokens
        old = [(key.kid, until) for key, until in tokens.old_keys]
        while old and old[-1][1] <= self.clock():
            old.pop()
        numbered = [(tokens.key.kid, None), *old]
        return [[tokens.keys_made - place, kid, until] for place, (kid, until) in enumerate(numbered)]

    def _restore_keys(self, saved: list[list[Any]]) -> None:
        tokens = self.tokens
        made = [
            (SigningKey(f"{self.seed}/{from_plain(int, number)}", from_plain(str | None, kid), tokens.algorithm), until)
            for number, kid, until in saved
        ]
        tokens.keys_made = saved[0][0]
        tokens.key = made[0][0]
        tokens.old_keys = [(key, from_plain(float, until)) for key, until in made[1:]]


def _saved_wire(wire: Wire) -> dict[str, Any]:
    secrets = [[secret, None if isinf(until) else until] for secret, until in wire.signing_secrets]
    return {"secrets": secrets, "messages": to_plain(list(wire.messages.values()))}


def _restore_wire(wire: Wire, saved: dict[str, Any]) -> None:
    wire.signing_secrets = [
        (from_plain(str, secret), inf if until is None else from_plain(float, until))
        for secret, until in saved["secrets"]
    ]
    if not wire.signing_secrets:
        raise ValueError("the secret is missing")
    messages = from_plain(list[Message], saved["messages"], "messages")
    for message in messages:
        json.loads(message.body)  # a ValueError for a body that the page could not show
    wire.replace(messages)


def _id(row: Any) -> str:
    id: str = row.id
    return id


def _saved_random(random: Random) -> RandomState:
    version, numbers, spare = random.getstate()
    return [version, list(numbers), spare]
