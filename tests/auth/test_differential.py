"""Thousands of tokens, each shown to clerkmap and to Clerk's own client for JavaScript: where do they differ?

Whatever clerkmap accepts as a session the client accepts too, and reads the same in it; where its grants are malformed,
so that `toAuth()` raises an error, that holds for the same token without them. Where the client accepts and clerkmap
refuses, the table in docs/tokens.md says why; a refusal that is not in it fails here, and so does one in it that never
occurs.

Both are set up alike: with the key in PEM form, the parties and the audience. The client is asked in both ways that an
application has: `verifyToken`, and `authenticateRequest` with the token in a header, of which `toAuth()` is read.

`CLERKMAP_SOAK=1` makes it a hundred thousand tokens. `CLERKMAP_SEED` makes it other ones.
"""

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from clerkmap import Claims, TokenError, Verifier
from clerkmap.testing import FakeClerk
from generated_tokens import Generated, TokenGenerator
from hostile_base import ORIGIN, decode
from node_client import NodeClient, node_client

SOAK = bool(os.environ.get("CLERKMAP_SOAK"))
SEED = os.environ.get("CLERKMAP_SEED", "1")
CHUNK = 500
CHUNKS = 200 if SOAK else 12
LEAST = 5000  # tokens that both were asked about
PAGE = Path(__file__).parents[2] / "docs" / "tokens.md"
# How the two are set up, in the words of each. Chunks take turns.
SETTINGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"authorized_parties": [ORIGIN]}, {"authorizedParties": [ORIGIN]}),
    ({}, {}),
    ({"authorized_parties": [ORIGIN], "audience": ["api"]}, {"authorizedParties": [ORIGIN], "audience": ["api"]}),
]
BOTH_WAYS = {"verifyToken", "authenticateRequest"}

pytestmark = pytest.mark.slow


class Asked(NamedTuple):
    """A token, what clerkmap says of it (claims, or the code of the refusal), and the client's two answers."""

    generated: Generated
    ours: Claims | str
    verified: dict[str, Any]
    request: dict[str, Any]

    @property
    def accepted_by(self) -> set[str]:
        """The ways in which the client accepts it."""
        state = self.request.get("value") or {}
        ways = {"verifyToken": "value" in self.verified, "authenticateRequest": state.get("isAuthenticated")}
        return {way for way, accepted in ways.items() if accepted}

    @property
    def unreadable(self) -> bool:
        """Whether the client says that somebody is signed in, and `toAuth()` raises an error when it is asked who."""
        return "unreadable" in (self.request.get("value") or {})


class Both:
    """The two that are asked, and their Clerk."""

    def __init__(self, clerk: FakeClerk, client: NodeClient, setting: tuple[dict[str, Any], dict[str, Any]]) -> None:
        ours, self._options = setting
        self._verifier = Verifier(clerk.make_instance(jwks=None, jwt_key=clerk.key.pem(), **ours))
        self._client = client
        keys = {"secretKey": clerk.secret_key, "publishableKey": clerk.publishable_key}
        self._known = {**keys, "jwtKey": clerk.key.pem()}

    def ask(self, tokens: list[Generated]) -> Iterator[Asked]:
        """What both say. A token whose time came or went in between is left out: each may have seen another time."""
        before = [self._verdict(each.token) for each in tokens]
        texts = [each.token for each in tokens]
        answers = self._client.ask("tokens", tokens=texts, client=self._known, options=self._options)
        for generated, ours, answer in zip(tokens, before, answers, strict=True):
            if ours == self._verdict(generated.token):
                yield Asked(generated, ours, answer["token"], answer["request"])

    def _verdict(self, token: str) -> Claims | str:
        try:
            return self._verifier.verify(token)
        except TokenError as refused:
            return refused.code


@pytest.fixture(scope="module")
def client() -> Generator[NodeClient]:
    """One process of Node for all tests here."""
    with node_client() as client:
        yield client


def documented() -> dict[str, set[str]]:
    """The table in docs/tokens.md: the codes of refusals, and by which ways of the client such tokens pass."""
    row = re.compile(r"^\| `(\w+)` \| [^|]+ \| (both|`verifyToken`) \|$", re.MULTILINE)
    rows = row.findall(PAGE.read_text(encoding="utf-8"))
    return {code: BOTH_WAYS if ways == "both" else {"verifyToken"} for code, ways in rows}


def test_where_clerkmap_and_the_official_client_differ(client: NodeClient) -> None:
    """What clerkmap accepts, the client accepts and reads alike; what only the client accepts is on the page."""
    clerk = FakeClerk(seed=41)
    tokens = iter(TokenGenerator(clerk, SEED))
    outcomes: Counter[str] = Counter()
    differences: defaultdict[str, set[str]] = defaultdict(set)
    listed = documented()
    for number in range(CHUNKS):
        both = Both(clerk, client, SETTINGS[number % len(SETTINGS)])
        malformed: list[Generated] = []
        for asked in both.ask(list(islice(tokens, CHUNK))):
            if isinstance(asked.ours, str):
                outcomes[asked.ours] += 1
                differences[asked.ours] |= asked.accepted_by
                assert asked.accepted_by <= listed.get(asked.ours, set()), told(asked)
                continue
            outcomes["accepted"] += 1
            if asked.unreadable:
                assert asked.accepted_by == {"verifyToken"}, told(asked)
                malformed.append(without_grants(clerk, asked.generated))
            else:
                assert agreed(asked), told(asked)
        for asked in both.ask(malformed):
            outcomes["malformed grants"] += 1
            assert agreed(asked), told(asked)
    print(f"{outcomes.total():,} tokens: {dict(outcomes.most_common())}")
    assert outcomes.total() >= LEAST
    assert outcomes["accepted"] >= outcomes.total() * 0.1
    assert outcomes["malformed grants"]
    assert len(outcomes) >= 20  # each check of the verifier has had its say
    assert {code: ways for code, ways in differences.items() if ways} == listed


def agreed(asked: Asked) -> bool:
    """Whether the client accepts in both ways, reads the same, and clerkmap grants no permission that it does not."""
    claims, state = asked.ours, asked.request.get("value") or {}
    if isinstance(claims, str) or asked.accepted_by != BOTH_WAYS:
        return False
    organization = claims.organization
    theirs = (state["userId"], state["sessionId"], state.get("orgId"))
    if theirs != (claims.subject, claims.session_id, organization and organization.id):
        return False
    if organization is None:
        return not claims.permissions  # a role in no organization, which version 1 can spell, is none
    granted = state.get("orgPermissions")
    words = {bare(each) for each in granted if isinstance(each, str)} if isinstance(granted, list) else set()
    same_role = bare(state.get("orgRole") or "") == bare(organization.role or "")
    return same_role and {bare(each) for each in claims.permissions} <= words


def bare(word: str) -> str:
    """A role or permission without `org:` in front, which both take for the same."""
    return re.sub("^(org:)+", "", word)


def without_grants(clerk: FakeClerk, generated: Generated) -> Generated:
    """The same token without features and permissions: what clerkmap makes of one in which they are malformed."""
    header, payload = (json.loads(decode(part)) for part in generated.token.split(".")[:2])
    payload["o"] = {name: value for name, value in payload["o"].items() if name not in ("per", "fpm")}
    return Generated(generated.kind, clerk.key.sign(header, payload | {"fea": None}))


def told(asked: Asked) -> str:
    """All there is to say of a token that fails the test."""
    ours = asked.ours if isinstance(asked.ours, str) else asked.ours.payload
    return f"CLERKMAP_SEED={SEED}: {asked.generated}\nclerkmap: {ours}\nclient: {asked.verified}\n{asked.request}"
