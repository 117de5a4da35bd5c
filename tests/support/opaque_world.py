"""One Clerk, whose API is asked about opaque tokens: every question is counted, and each answer may be another one."""

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from clerkmap import Resolver, Verifier
from clerkmap.clerk import OpaqueTokens
from clerkmap.clerk.budget import Budget
from clerkmap.core.claims import TokenKind
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock, FakeClerk, FakeMachineToken

NOW = 1_790_000_000
PATIENCE = 60.0  # seconds: the longest deadline there may be
EVERY_KIND: tuple[TokenKind, ...] = ("session", "oauth", "m2m", "api_key", "organization_api_key")
Shape = dict[str, Any]


class Api(httpx.BaseTransport):
    """The way to the API. What `change` makes of an answer's JSON is what arrives; `gate` keeps everybody waiting.

    The check of the secret key is answered as ever, and is not counted.
    """

    def __init__(self, clerk: FakeClerk) -> None:
        self._way = clerk.transport()
        self._lock = threading.Lock()
        self.paths: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()
        self.change: Callable[[Shape], object] | None = None
        self.trouble: Callable[[httpx.Request], httpx.Response] | None = None

    @property
    def count(self) -> int:
        """How often it was asked."""
        return len(self.paths)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/jwks":
            return self._way.handle_request(request)
        with self._lock:
            self.paths.append(request.url.path)
        self.reached.set()
        assert self.gate.wait(PATIENCE)
        if self.trouble is not None:
            return self.trouble(request)
        response = self._way.handle_request(request)
        if self.change is None or response.status_code != 200:
            return response
        said = self.change(json.loads(response.read()))
        return httpx.Response(200, json=said)


class World:
    """A Clerk, its API, and a resolver that takes every kind of token, all on clocks that a test moves."""

    def __init__(
        self, accept: tuple[TokenKind, ...] = EVERY_KIND, settings: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        self.clock, self.monotonic = Clock(NOW), Clock(1000)
        self.clerk = FakeClerk(17, clock=self.clock)
        self.ann = self.clerk.create_user("ann@example.com")
        self.acme = self.clerk.create_organization("Acme", created_by=self.ann)
        self.api = Api(self.clerk)
        self.instance = self.clerk.make_instance(**(settings or {}))
        often = Budget(1e6, self.monotonic)
        self.opaque = OpaqueTokens(
            self.instance,
            **{"transport": self.api, "budget": often, "strangers": often, "deadline": min(PATIENCE, 60), **options},
            clock=self.clock,
            monotonic=self.monotonic,
        )
        self.verifier = Verifier(self.instance, accept=accept, opaque=self.opaque, clock=self.clock)
        self.repository = MemoryRepository(clock=self.clock)
        self.resolver = Resolver(self.instance, self.repository, verifier=self.verifier)

    def advance(self, seconds: float) -> None:
        """Let time pass, by both clocks."""
        self.clock.advance(seconds)
        self.monotonic.advance(seconds)


# What makes a token of each kind.
MAKERS: dict[TokenKind, Callable[[World], FakeMachineToken]] = {
    "api_key": lambda world: world.clerk.create_api_key(world.ann, scopes=["read"], claims={"tier": 2}),
    "organization_api_key": lambda world: world.clerk.create_api_key(world.acme),
    "m2m": lambda world: world.clerk.create_machine_token(scopes=["mch_b"]),
    "oauth": lambda world: world.clerk.create_oauth_token(world.ann, scopes=["profile", "email"]),
}
