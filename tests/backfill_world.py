"""A made-up Clerk with people in it, a repository beside it, and whether the two say the same."""

import time
from dataclasses import dataclass, field
from typing import Any

from clerkmap import Repository
from clerkmap.clerk.api import AsyncClerkApi, ClerkApi
from clerkmap.clerk.budget import Budget
from clerkmap.core.records import ClerkMembership, ClerkOrganization, ClerkUser, Kind
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk, FakeOrganization, FakeUser

Facts = dict[tuple[str, ...], Any]
FULL: Any = {"departed": 0, "held_back": 0, "unreadable": 0, "complete": True}


@dataclass
class World:
    """One Clerk, and what is known of it."""

    clerk: FakeClerk
    repository: Repository = field(default_factory=MemoryRepository)

    @classmethod
    def of(cls, seed: int, people: int, organizations: int = 3, repository: Repository | None = None) -> "World":
        """Some people, each a member somewhere. Nobody has been told of any of it."""
        world = cls(FakeClerk(seed), repository or MemoryRepository())
        with world.clerk.silence():
            for number in range(people):
                world.clerk.create_user(f"p{number}@example.com", first_name=f"P{number}")
            for number in range(organizations):
                world.clerk.create_organization(f"Org {number}", created_by=world.person(number))
            for number in range(people):
                world.clerk.add_member(world.company(number % organizations), world.person(number))
        return world

    @property
    def api(self) -> ClerkApi:
        """The API of this Clerk, asked as often as one likes."""
        return ClerkApi(self.clerk.instance, transport=self.clerk.transport(), budget=plenty(), sleep=lambda _: None)

    @property
    def async_api(self) -> AsyncClerkApi:
        """The same for async code."""
        return AsyncClerkApi(self.clerk.instance, transport=self.clerk.transport(), budget=plenty())

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
                    elif isinstance(record, ClerkUser):
                        facts[kind, str(record.clerk_id)] = (record.first_name, record.email, record.banned)
                    elif isinstance(record, ClerkOrganization):
                        facts[kind, str(record.clerk_id)] = record.name
                    elif isinstance(record, ClerkMembership) and not {record.user_key, record.organization_key} & gone:
                        facts[kind, str(record.clerk_id)] = record.role
        return facts


def plenty() -> Budget:
    """A budget that nobody ever waits for."""
    return Budget(10**9, time.monotonic)
