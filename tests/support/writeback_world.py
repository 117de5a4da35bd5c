"""A made-up Clerk whose webhooks reach a repository that writes back, and a clock that both go by."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from clerkmap import Reconciler, Repository, WriteBack
from clerkmap.clerk.api import AsyncClerkApi, ClerkApi
from clerkmap.clerk.budget import Budget
from clerkmap.repositories import MemoryRepository, PostgresRepository, SqliteRepository
from clerkmap.sync.outbox import Sent, drain
from clerkmap.testing import FakeClerk
from postgres_server import url_of_a_new_schema

BACK = WriteBack(user_id="userId", role="role", organization_id="orgId", external_id=True)


class Counting(httpx.BaseTransport):
    """The API, with a list of what has reached it: the method and the path of each request that changes something."""

    def __init__(self, clerk: FakeClerk) -> None:
        self._inner = clerk.transport()
        self.writes: list[str] = []
        self.all: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v1")
        self.all.append(f"{request.method} {path}")
        if request.method != "GET":
            self.writes.append(f"{request.method} {path}")
        return self._inner.handle_request(request)


@dataclass
class WritingWorld:
    """One Clerk, and one repository that tells it your ids."""

    clerk: FakeClerk
    repository: Repository
    counting: Counting

    @classmethod
    def of(cls, seed: int, place: Path | str | None = None, back: WriteBack | None = BACK) -> "WritingWorld":
        """Nobody is there, in memory, in a file, or where a URL leads. The clock stands still unless it is moved on."""
        clerk = FakeClerk(seed)
        clerk.clock.freeze()
        options: dict[str, Any] = {"write_back": back, "clock": clerk.clock}
        repository: Repository = MemoryRepository(**options)
        if isinstance(place, Path):
            repository = SqliteRepository.open(place, **options)
        elif place is not None:
            repository = PostgresRepository.open(place, **options)
        return cls(clerk, repository, Counting(clerk))

    def hear(self, **weather: Any) -> None:
        """Have the webhooks arrive that are due: shuffled, twice or never, if you say so."""
        reconciler = Reconciler(self.clerk.instance, self.repository, clock=self.clerk.clock)
        for delivery in self.clerk.deliveries(**weather):
            reconciler.receive(delivery.headers, delivery.body)

    @property
    def api(self) -> ClerkApi:
        """The API, asked as often as one likes."""
        sleep: Callable[[float], None] = self.clerk.clock.advance
        return ClerkApi(
            self.clerk.instance, transport=self.counting, budget=self._plenty(), clock=self.clerk.clock, sleep=sleep
        )

    @property
    def async_api(self) -> AsyncClerkApi:
        """The same for async code."""

        async def sleep(seconds: float) -> None:
            self.clerk.clock.advance(seconds)

        transport: Any = self.clerk.transport()
        return AsyncClerkApi(
            self.clerk.instance, transport=transport, budget=self._plenty(), clock=self.clerk.clock, sleep=sleep
        )

    def _plenty(self) -> Budget:
        return Budget(10**9, self.clerk.clock)

    def drain(self, after: float = 2, api: Any = None, repository: Any = None) -> Sent:
        """Send what is due so many seconds later."""
        self.clerk.clock.advance(after)
        return drain(api or self.api, repository or self.repository, clock=self.clerk.clock)

    def wrong(self) -> list[str]:
        """Of whom Clerk does not hold what it should."""
        wrong: list[str] = []
        instance = self.clerk.instance.name
        for person in self.clerk.users.values():
            standing = self.repository.find(instance, person.id)
            if standing is None:
                wrong.append(f"{person.id} is not known")
                continue
            user = standing.user
            told = person.public_metadata or {}
            wanted = {"userId": user.id} | ({"role": user.role} if user.role else {})
            if {name: told[name] for name in ("userId", "role") if name in told} != wanted:
                wrong.append(f"{person.id} has {told}")
            if self.repository.write_back and self.repository.write_back.external_id and person.external_id != user.id:
                wrong.append(f"{person.id} has the external id {person.external_id}")
        return wrong


PLACES = ("memory", "sqlite", "postgres")


def place_of(name: str, folder: Path, schema: str) -> Path | str | None:
    """Where a world is to keep its records. The schema is dropped by whoever has named it."""
    if name == "memory":
        return None
    return folder / "app.db" if name == "sqlite" else url_of_a_new_schema(schema)
