"""On every repository and in both colours: whatever Clerk's API does, and whatever happens meanwhile, the two agree."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from backfill_world import World, everything_said, everything_stored
from clerkmap import Reconciler, Repository, threaded
from clerkmap.repositories import AsyncPostgresRepository, MemoryRepository, PostgresRepository, SqliteRepository
from clerkmap.sync import Drift, Report, abackfill, adiff, backfill, diff
from clerkmap.testing import FakeClerk
from postgres_server import postgres, schemas

pytestmark = pytest.mark.slow

PEOPLE = 700


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Repository, str | None]]:
    """A repository; and the schema that it is in, if it is PostgreSQL's."""
    if request.param == "memory":
        yield MemoryRepository(), None
    elif request.param == "sqlite":
        repository = SqliteRepository.open(tmp_path / "app.db", durable=False)
        yield repository, None
        repository.close()
    else:
        with schemas() as new:
            schema = new()
            postgresql = PostgresRepository.open(postgres(), schema=schema, pool_size=2)
            yield postgresql, schema
            postgresql.close()


@pytest.fixture(params=["sync", "async"])
def runner(request: pytest.FixtureRequest, store: tuple[Repository, str | None]) -> "Runner":
    """Runs what is asked for in one of the colours."""
    return Runner(request.param, *store)


class Runner:
    """Backfill and diff in one colour, on one repository."""

    def __init__(self, colour: str, repository: Repository, schema: str | None) -> None:
        self.colour = colour
        self.repository = repository
        self.schema = schema

    def backfill(self, world: World, **options: Any) -> Report:
        """The report."""
        return (
            backfill(world.api, self.repository, **options)
            if self.colour == "sync"
            else self._run(abackfill, world, options)
        )

    def diff(self, world: World) -> Drift:
        """The drift."""
        return diff(world.api, self.repository) if self.colour == "sync" else self._run(adiff, world, {})

    def _run(self, what: Any, world: World, options: dict[str, Any]) -> Any:
        async def run() -> Any:
            async with world.async_api as api:
                if self.schema is None:
                    return await what(api, threaded(self.repository), **options)
                repository = AsyncPostgresRepository.open(postgres(), schema=self.schema, pool_size=2)
                try:
                    return await what(api, repository, **options)
                finally:
                    await repository.close()

        return asyncio.run(run())


class Life:
    """What goes on at Clerk while it is read: people and organizations come, change and go, and webhooks arrive."""

    def __init__(self, world: World, repository: Repository, seed: int) -> None:
        self.clerk = world.clerk
        self.random = Random(seed)
        self.reconciler = Reconciler(world.clerk.instance, repository)
        self.turns = 0
        self.most = 60

    def __call__(self, request: object) -> None:
        """Between two pages."""
        self.turns += 1
        if self.turns > self.most:
            return  # it has an end
        clerk, random = self.clerk, self.random
        users, organizations = list(clerk.users.values()), list(clerk.organizations.values())
        for user in random.sample(users, 3):
            clerk.delete_user(user)
        users = list(clerk.users.values())
        for user in random.sample(users, 3):
            clerk.update_user(user, first_name=f"Turn {self.turns}")
        clerk.ban(random.choice(users))
        some = random.choice(organizations)
        clerk.add_member(some, clerk.create_user(f"t{self.turns}@example.com"))
        clerk.add_member(some, random.choice(users), role=random.choice(["org:admin", "org:member"]))
        for place in random.sample(list(clerk.memberships.values()), 3):
            clerk.remove_member(clerk.organizations[place.organization_id], clerk.users[place.user_id])
        if self.turns % 8 == 0:
            clerk.delete_organization(random.choice(organizations))
            clerk.add_member(clerk.create_organization(f"New {self.turns}"), random.choice(users))
        self.hear()

    def hear(self) -> None:
        """What was said, in any order, some of it twice and some of it late."""
        for delivery in self.clerk.deliveries(shuffle=True, duplicate=0.3, late=0.3):
            self.reconciler.receive(delivery.headers, delivery.body)


@pytest.mark.slow
def test_in_bad_weather(runner: Runner) -> None:
    """Life goes on, a third of all answers fail, and the state was old to begin with."""
    world = World.of(51, people=PEOPLE, organizations=30, repository=runner.repository)
    clerk, life = world.clerk, Life(world, runner.repository, 51)
    clerk.faults.between_pages = life
    for fault in ("cut_before", "cut_within", "cut_after", "server_error", "proxy_error", "too_many"):
        setattr(clerk.faults, fault, 0.06)
    report = runner.backfill(world, most_departures=1)
    assert life.turns >= 7
    assert report.complete
    clerk.faults.between_pages = None
    life.hear()
    assert everything_stored(runner.repository, clerk.instance.name) == everything_said(clerk)
    assert not runner.diff(world)


def test_a_lost_time_is_mended(runner: Runner) -> None:
    """All that happened in it is found, told by kind, and mended; a second run finds nothing to do."""
    world = World.of(52, people=120, organizations=6, repository=runner.repository)
    runner.backfill(world)
    life = Life(world, runner.repository, 52)
    with world.clerk.silence():
        for _ in range(5):
            life(None)
    drift = runner.diff(world)
    assert set(drift.counts) == {"missing", "extra", "stale"} | ({"role"} & set(drift.counts))
    assert everything_stored(runner.repository, world.clerk.instance.name) != everything_said(world.clerk)
    runner.backfill(world, most_departures=1)
    assert everything_stored(runner.repository, world.clerk.instance.name) == everything_said(world.clerk)
    assert not runner.diff(world)
    again = runner.backfill(world)
    assert (again.departed, sum(again.changed.values())) == (0, 0)


@pytest.mark.parametrize("seed", range(4))
def test_lists_that_shift_are_read_without_gaps(seed: int) -> None:
    """No webhook arrives. Whatever is there from the beginning to the end, and is not changed, is read all the same."""
    world = World.of(60 + seed, people=PEOPLE, organizations=600)
    life = Life(world, world.repository, seed)
    before = set(everything_said(world.clerk))
    world.clerk.faults.between_pages = life
    with world.clerk.silence():
        report = backfill(world.api, world.repository)
    assert report.complete
    assert life.turns < 20  # none was read over and over
    lasting = before & everything_said(world.clerk)
    assert lasting <= everything_stored(world.repository, world.clerk.instance.name)


def test_rows_with_an_old_date_come_in() -> None:
    """Organizations that say they are old, in front of those that were read: the list is read once more."""
    world = World.of(70, people=3, organizations=1_200)
    clerk, made = world.clerk, list[str]()

    def meanwhile(request: Any) -> None:
        if request.path == "/v1/organizations" and len(made) < 3:
            made.append(clerk.create_organization(f"Old {len(made)}", created_at=1_600_000_000_000 + len(made)).id)

    clerk.faults.between_pages = meanwhile
    with clerk.silence():
        report = backfill(world.api, world.repository)
    assert report.complete
    assert len(made) == 3
    assert everything_stored(world.repository, clerk.instance.name) == everything_said(clerk)


def test_many_of_the_same_moment() -> None:
    """People and organizations that were imported at once, more than a page of them; and the cursor's one goes."""
    clerk = FakeClerk(71)
    world = World(clerk)
    with clerk.silence():
        for number in range(1_300):
            clerk.create_user(created_at=1_700_000_000_000)
            clerk.create_organization(f"Org {number}", created_at=1_700_000_000_000)
    asked = list[str]()

    def meanwhile(request: Any) -> None:
        asked.append(request.path)
        if asked.count("/v1/users") == 2:
            ordered = sorted(clerk.users)
            clerk.delete_user(clerk.users[ordered[499]])

    clerk.faults.between_pages = meanwhile
    backfill(world.api, world.repository)
    assert everything_said(clerk) <= everything_stored(world.repository, clerk.instance.name)
