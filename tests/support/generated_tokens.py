"""Tokens by the thousand, made from a seed around the present moment: good ones of every kind, most of them spoiled.

The made-up Clerk signs the good ones; what is done to them comes from the tables of hostile tokens and from
`mutations`. A seed makes the same tokens each time, but for their times.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, NamedTuple

from clerkmap.testing import FakeClerk, SigningKey
from generated_tables import CLAIMS, GRANTS, HEADERS
from hostile_base import ABSENT, changed, decode
from hostile_purposes import UNTAGGED_CAT
from mutations import spoiled_and_signed, spoiled_part, spoiled_text

Json = dict[str, Any]

EDGES = (-86_400, -3600, -60, -8, -4, -2, 2, 4, 8, 60, 3600, 86_400)  # seconds from where a verdict changes
LEEWAY = 5


class Generated(NamedTuple):
    """A token, and what was done to it."""

    kind: str
    token: str


class Good(NamedTuple):
    """A good token, taken apart."""

    header: Json
    payload: Json


class TokenGenerator:
    """What makes the tokens of one Clerk."""

    def __init__(self, clerk: FakeClerk, seed: str) -> None:
        self.clerk = clerk
        self.random = Random(seed)
        self.sessions = [_apart(token) for token in self._sessions()]
        self.others = [_apart(token) for token in self._others()]
        self.stranger = SigningKey("a stranger", clerk.key.kid)
        self.recent: list[str] = []
        self.ways: dict[str, tuple[int, Callable[[], str]]] = {
            "good": (10, self._good),
            "other kind": (8, self._other_kind),
            "claims": (30, self._claims),
            "features": (3, self._features),
            "header": (12, self._header),
            "times": (10, self._times),
            "mixed kinds": (8, self._mixed_kinds),
            "spoiled, then signed": (12, self._spoiled_and_signed),
            "spoiled text": (8, self._spoiled_text),
            "spoiled part": (8, self._spoiled_part),
            "stranger's": (2, self._strangers),
        }

    def __iter__(self) -> Iterator[Generated]:
        """Tokens without end."""
        kinds, weights = list(self.ways), [weight for weight, _ in self.ways.values()]
        self.recent = [self._good() for _ in range(20)]
        while True:
            (kind,) = self.random.choices(kinds, weights)
            token = self.ways[kind][1]()
            self.recent[self.random.randrange(len(self.recent))] = token
            yield Generated(kind, token)

    # The good ones

    def _sessions(self) -> Iterator[str]:
        clerk, random = self.clerk, self.random
        people = [clerk.create_user() for _ in range(4)]
        places = [clerk.create_organization(created_by=who) for who in people]
        customs: list[Json] = [{}, {"metadata": {"é": [1, 2.5, None]}}, {"jti": None}, {"sts": None}]
        headers: list[Json] = [{}, {}, {"cat": None}, {"cat": UNTAGGED_CAT}, {"typ": None}, {"oiat": 1}]
        for _ in range(80):
            yield clerk.token(
                random.choice(people),
                random.choice([None, *places]),
                role=random.choice([None, "org:admin", "org:member", "org:billing_clerk"]),
                permissions=random.choice([None, [], ["org:invoices:read", "org:invoices:write", "org:reports:read"]]),
                features=random.choice([(), ("o:invoices",), ("o:reports", "u:themes"), ("u:themes", "o:reports")]),
                plan=random.choice([None, "o:pro", "u:free"]),
                version=random.choice([1, 2]),
                actor=random.choice([None, None, None, "user_support"]),
                factor_ages=random.choice([(0, -1), (5, 3), (-1, -1)]),
                claims=random.choice(customs),
                header=random.choice(headers),
            )

    def _others(self) -> Iterator[str]:
        clerk = self.clerk
        user = clerk.create_user()
        old_machine = {"iss": clerk.issuer, "sub": clerk.new_id("mch"), "iat": 1, "exp": 1}
        yield from (clerk.token(user, pending=True), clerk.token(user, party=None))
        yield from (clerk.token(user, party="https://evil.example"), clerk.token(user, claims={"aud": "api"}))
        yield from (clerk.template_token(user), clerk.template_token(user, claims={"aud": "api", "role": "x"}))
        yield from (clerk.machine_token(), clerk.machine_token(scopes=["mch_a", "mch_b"]), clerk.sign({}, old_machine))
        yield from (clerk.oauth_token(user), clerk.oauth_token(user, scopes=[]))
        yield from (clerk.id_token(user), clerk.handshake_token(), clerk.oidc_token("auth0|1", "api"))

    def _any(self) -> Good:
        return self.random.choice(self.sessions if self.random.random() < 0.85 else self.others)

    def _sign(self, header: Mapping[str, Any], payload: Mapping[str, Any]) -> str:
        return self.clerk.key.sign(changed(header, {}), changed(payload, {}))

    def _now(self, payload: Json) -> Json:
        """The same claims in a token that was made now."""
        now = int(self.clerk.clock())
        times = {"iat": now, "nbf": now - 10, "exp": now + 3600}
        return {**payload, **{name: time for name, time in times.items() if name in payload}}

    def _good(self) -> str:
        header, payload = self.random.choice(self.sessions)
        return self._sign(header, self._now(payload))

    def _other_kind(self) -> str:
        header, payload = self.random.choice(self.others)
        if self.random.random() < 0.5:
            header = {**header, "cat": self.random.choice(HEADERS["cat"])}
        return self._sign(header, self._now(payload))

    # The spoiled ones

    def _claims(self) -> str:
        header, payload = self._any()
        payload = self._now(payload)
        for _ in range(self.random.choice([1, 1, 1, 2, 3])):
            name = self.random.choice(list(CLAIMS))
            value = self.random.choice(CLAIMS[name])
            outer, _, inner = name.rpartition(".")
            if not outer:
                payload[name] = value
            elif isinstance(payload.get(outer), dict):
                payload[outer] = changed(payload[outer], {inner: value})
        return self._sign(header, payload)

    def _features(self) -> str:
        header, payload = self.random.choice(self.sessions)
        return self._sign(header, {**self._now(payload), "fea": self.random.choice(GRANTS)})

    def _header(self) -> str:
        header, payload = self._any()
        header = dict(header)
        for _ in range(self.random.choice([1, 1, 2])):
            name = self.random.choice(list(HEADERS))
            header[name] = self.random.choice(HEADERS[name])
        return self._sign(header, self._now(payload))

    def _times(self) -> str:
        header, payload = self._any()
        now, random = int(self.clerk.clock()), self.random
        moments = {
            "exp": now - LEEWAY + random.choice(EDGES),
            "nbf": now + LEEWAY + random.choice(EDGES),
            "iat": now + LEEWAY + random.choice(EDGES),
        }
        chosen = random.sample(list(moments), random.choice([1, 1, 2, 3]))
        fraction = random.choice([0, 0, 0, 0.25, 0.75])
        moved = {name: moments[name] + fraction for name in chosen}
        if "exp" in moved and "iat" not in moved:
            moved["iat"] = moved["exp"] - random.choice([0, 60])
        return self._sign(header, {**self._now(payload), **moved})

    def _mixed_kinds(self) -> str:
        """The header of one kind over the claims of another, or the claims of both."""
        one, other = self._any(), self.random.choice(self.others)
        payload = self._now({**other.payload, **one.payload} if self.random.random() < 0.5 else other.payload)
        for _ in range(self.random.choice([0, 0, 1, 2])):
            payload[self.random.choice(list(payload))] = ABSENT
        return self._sign(one.header, payload)

    def _spoiled_and_signed(self) -> str:
        header, payload = self._any()
        return spoiled_and_signed(self.random, self.clerk.key, header, self._now(payload))

    def _spoiled_text(self) -> str:
        return spoiled_text(self.random, self.random.choice(self.recent), self.recent)

    def _spoiled_part(self) -> str:
        return spoiled_part(self.random, self.random.choice(self.recent))

    def _strangers(self) -> str:
        header, payload = self._any()
        return self.stranger.sign(header, self._now(payload))


def _apart(token: str) -> Good:
    header, payload, _ = token.split(".")
    return Good(json.loads(decode(header)), json.loads(decode(payload)))
