"""A made-up Clerk with people in it, a repository beside it, and whether the two say the same."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx

from clerkmap import Repository
from clerkmap.clerk.api import AsyncClerkApi, ClerkApi
from clerkmap.clerk.budget import Budget
from clerkmap.core.events import records_of
from clerkmap.core.records import ClerkMembership, ClerkOrganization, ClerkUser, Kind
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk, FakeOrganization, FakeUser

DAY = 86_400
Facts = dict[tuple[str, ...], Any]
FULL: Any = {"departed": 0, "held_back": 0, "unreadable": 0, "complete": True}


@dataclass
class World:
    """One Clerk, and what is known of it."""

    clerk: FakeClerk
    repository: Repository = field(default_factory=MemoryRepository)

    @classmethod
    def of(cls, seed: int, people: int, organizations: int = 3, repository: Repository | None = None) -> "World":
        """Some people of yesterday, each a member somewhere. Nobody has been told of any of it."""
        world = cls(FakeClerk(seed), repository or MemoryRepository())
        world.clerk.clock.advance(-DAY)
        with world.clerk.silence():
            for number in range(people):
                world.clerk.create_user(f"p{number}@example.com", first_name=f"P{number}")
            for number in range(organizations):
                world.clerk.create_organization(f"Org {number}", created_by=world.person(number % people))
            companies = list(world.clerk.organizations.values())
            for number, person in enumerate(list(world.clerk.users.values())):
                world.clerk.add_member(companies[number % organizations], person)
        world.clerk.clock.advance(DAY)
        return world

    @property
    def api(self) -> ClerkApi:
        """The API of this Clerk, asked as often as one likes."""
        return ClerkApi(self.clerk.instance, transport=self.clerk.transport(), budget=plenty(), sleep=lambda _: None)

    @property
    def async_api(self) -> AsyncClerkApi:
        """The same for async code."""
        return AsyncClerkApi(self.clerk.instance, transport=self.clerk.transport(), budget=plenty(), sleep=at_once)

    def person(self, number: int) -> FakeUser:
        """One of the people who are there."""
        return list(self.clerk.users.values())[number]

    def company(self, number: int) -> FakeOrganization:
        """One of the organizations that are there."""
        return list(self.clerk.organizations.values())[number]

    def said(self) -> Facts:
        """What is so at Clerk."""
        clerk = self.clerk
        facts: Facts = {("user", each.id): (each.first_name, each.email, each.banned) for each in clerk.users.values()}
        facts |= {("organization", each.id): each.name for each in clerk.organizations.values()}
        return facts | {("membership", each.id): each.role for each in clerk.memberships.values()}

    def stored(self) -> Facts:
        """What is so in the repository. A membership in what is gone does not count."""
        facts: Facts = {}
        gone = set[str]()
        kinds: tuple[Kind, ...] = ("user", "organization", "membership")
        for kind in kinds:
            after = ""
            while page := self.repository.records(kind, self.clerk.instance.name, after=after, limit=100):
                after = page[-1].key
                for record in page:
                    if record.is_deleted:
                        gone.add(record.key)
                    elif record.clerk_id is None:
                        continue  # what a token said of a membership
                    elif isinstance(record, ClerkUser):
                        facts[kind, str(record.clerk_id)] = (record.first_name, record.email, record.banned)
                    elif isinstance(record, ClerkOrganization):
                        facts[kind, str(record.clerk_id)] = record.name
                    elif isinstance(record, ClerkMembership) and not {record.user_key, record.organization_key} & gone:
                        facts[kind, str(record.clerk_id)] = record.role
        return facts


def everything_said(clerk: FakeClerk) -> set[tuple[Any, ...]]:
    """All that Clerk says of everything there is, field by field."""
    name = clerk.instance.name
    users = [records_of("user", name, clerk.shape(each), 0)[-1] for each in clerk.users.values()]
    organizations = [
        records_of("organization", name, clerk.shape(each), 0)[-1] for each in clerk.organizations.values()
    ]
    memberships = [records_of("membership", name, clerk.shape(each), 0)[-1] for each in clerk.memberships.values()]
    return {record.said() for record in (*users, *organizations, *memberships)}


def everything_stored(repository: Repository, instance: str) -> set[tuple[Any, ...]]:
    """All that is stored in full and counts."""
    found, gone = set[tuple[Any, ...]](), set[str]()
    kinds: tuple[Kind, ...] = ("user", "organization", "membership")
    for kind in kinds:
        after = ""
        while page := repository.records(kind, instance, after=after):
            after = page[-1].key
            gone |= {record.key for record in page if record.is_deleted}
            alive = [record for record in page if not record.is_deleted and record.clerk_id]
            found |= {record.said() for record in alive if gone.isdisjoint(_ends(record))}
    return found


def _ends(record: Any) -> set[str]:
    return {record.user_key, record.organization_key} if record.kind == "membership" else set()


async def at_once(seconds: float) -> None:
    """No waiting."""


def plenty() -> Budget:
    """A budget that nobody ever waits for."""
    return Budget(10**9, time.monotonic)


class Doctored(httpx.BaseTransport):
    """Clerk's API, some of whose answers are another."""

    def __init__(self, world: World, change: Callable[[str, Any], Any]) -> None:
        self._inner = world.clerk.transport()
        self._change = change

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._inner.handle_request(request)
        if answer.status_code != 200:
            return answer
        said = self._change(request.url.path.removeprefix("/v1"), json.loads(answer.read()))
        return httpx.Response(200, json=said, request=request)


def doctored(world: World, change: Callable[[str, Any], Any]) -> ClerkApi:
    """The API with answers that were changed on their way."""
    return ClerkApi(world.clerk.instance, transport=Doctored(world, change), budget=plenty(), sleep=lambda _: None)


def empty_lists(path: str, said: Any) -> Any:
    """Every list is empty, and nobody is counted."""
    if isinstance(said, list):
        return []
    if "data" in said:
        return {"data": [], "total_count": 0}
    return said | {"total_count": 0} if "total_count" in said else said


def short_lists(path: str, said: Any) -> Any:
    """Every page ends after ten rows, whatever the list counts."""
    return said[:10] if isinstance(said, list) else said | {"data": said["data"][:10]} if "data" in said else said


def no_members(path: str, said: Any) -> Any:
    """The list of all memberships is empty; those of one organization or person are not."""
    return {"data": [], "total_count": 0} if path == "/organization_memberships" else said


def ended_before(world: World, question: int) -> ClerkApi:
    """The API, until it is asked one question too many, counted from nought: then the run is interrupted."""
    left = [question]

    def count(path: str, said: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return said

    return doctored(world, count)


class Ending:
    """Ends a run at one of its steps, counted from nought: instead of doing it, or when it has been done."""

    def __init__(self, step: int, kind: type[BaseException], afterwards: bool) -> None:
        self._left = step
        self._kind = kind
        self._afterwards = afterwards

    def step(self, do: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Do it, unless it is the one."""
        self._left -= 1
        if self._left == -1 and not self._afterwards:
            raise self._kind
        try:
            return do(*args, **kwargs)
        finally:
            if self._left == -1:
                raise self._kind

    def api(self, world: World) -> Any:
        """The API, whose questions are steps."""
        return self.of(world.api, ("send",))

    def repository(self, world: World) -> Any:
        """The repository, whose calls are steps."""
        return self.of(world.repository, ("put", "records", "record", "checkpoint", "set_checkpoint"))

    def of(self, inner: Any, names: tuple[str, ...]) -> Any:
        """Something whose methods of these names are steps."""
        return _Stepping(inner, self, names)


class _Stepping:
    def __init__(self, inner: Any, ending: Ending, names: tuple[str, ...]) -> None:
        self._inner, self._ending, self._names = inner, ending, names

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        return partial(self._ending.step, value) if name in self._names else value
