"""While the repository is away, `serve_stale` admits callers by what was true a short time ago, and by nothing else."""

import asyncio
from typing import Any

import pytest

from clerkmap import ConfigurationError, RepositoryUnavailable, Resolver
from clerkmap.adapters.authenticator import Authenticator
from clerkmap.core.http import make_wsgi_request
from clerkmap.core.principal import Standing
from clerkmap.core.records import ClerkUser
from clerkmap.errors import UserBanned
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock, FakeClerk

SECONDS = 60


class Leaving(MemoryRepository):
    """A repository that may be away. As on PostgreSQL, a poll is no error then, and makes everybody look again."""

    poll_every: float | None = 0.4
    is_away = False

    def find(self, *ids: Any) -> Standing | None:
        if self.is_away:
            raise RepositoryUnavailable("it is away")
        return super().find(*ids)

    def put(self, records: Any) -> Any:
        if self.is_away:
            raise RepositoryUnavailable("it is away")
        return super().put(records)

    def poll(self) -> None:
        if self.is_away:
            self.listeners.keys_changed(None)


class World:
    """One person who is known, and a repository that goes away."""

    def __init__(self, serve_stale: float = SECONDS) -> None:
        self.clerk = FakeClerk(1)
        self.ann = self.clerk.create_user()
        self.token = self.clerk.token(self.ann, expires_in=3600)
        self.repository = Leaving()
        self.now = Clock(0)
        self.resolver = Resolver(self.clerk.instance, self.repository, monotonic=self.now, serve_stale=serve_stale)
        self.user = self.resolver.resolve(self.token).user

    def leave(self, *, after: float) -> None:
        self.now.advance(after)
        self.repository.is_away = True

    def ban(self) -> None:
        name = self.clerk.instance.name
        self.repository.put([ClerkUser.full(name, self.ann.id, updated_at=1, observed_at=1, banned=True)])


def test_without_it(colour: str) -> None:
    """By default who is remembered is answered as everybody is: the repository is away."""
    world = World(serve_stale=0)
    world.leave(after=1)
    with pytest.raises(RepositoryUnavailable):
        resolve(world, colour)


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def resolve(world: World, colour: str, token: str | None = None) -> Any:
    token = token or world.token
    return world.resolver.resolve(token) if colour == "sync" else asyncio.run(world.resolver.aresolve(token))


@pytest.mark.parametrize("poll", [True, False])
def test_the_age_of_memory_decides(colour: str, poll: bool) -> None:
    """What counts is when memory was last known to be true: when it was read, or when it was last looked after."""
    world = World()
    if poll:
        world.now.advance(500)
        assert resolve(world, colour).user == world.user
    world.leave(after=1)
    for _ in range(3):
        assert resolve(world, colour).user == world.user
    world.now.advance(SECONDS - 2)
    assert resolve(world, colour).user == world.user
    world.now.advance(2)
    with pytest.raises(RepositoryUnavailable):
        resolve(world, colour)


def test_a_ban_that_was_heard_of(colour: str) -> None:
    """Whoever was banned before the repository went away is not admitted, also where nobody has asked since."""
    world = World()
    world.ban()
    world.leave(after=1)
    with pytest.raises(RepositoryUnavailable):
        resolve(world, colour)


def test_a_ban_that_is_remembered(colour: str) -> None:
    """A standing that locks somebody out is served as well."""
    world = World()
    world.ban()
    with pytest.raises(UserBanned):
        resolve(world, colour)
    world.leave(after=1)
    with pytest.raises(UserBanned):
        resolve(world, colour)


def test_a_ban_heard_of_after_all_was_dropped(colour: str) -> None:
    """A change that is heard of while memory may be out of date ends what is served of it."""
    world = World()
    world.repository.listeners.keys_changed(None)
    world.ban()
    world.leave(after=1)
    with pytest.raises(RepositoryUnavailable):
        resolve(world, colour)


def test_others_are_not_admitted(colour: str) -> None:
    """Whoever is not remembered, and whose token tells something new, is answered that the repository is away."""
    world = World()
    acme = world.clerk.create_organization("Acme", created_by=world.ann)
    world.leave(after=1)
    for token in (world.clerk.token(world.clerk.create_user()), world.clerk.token(world.ann, acme)):
        with pytest.raises(RepositoryUnavailable):
            resolve(world, colour, token)


def test_what_must_be_fresh(colour: str) -> None:
    """Where the repository itself is asked, nothing else answers."""
    world = World()
    principal = resolve(world, colour)
    world.leave(after=1)
    with pytest.raises(RepositoryUnavailable):
        world.resolver.confirm(principal) if colour == "sync" else asyncio.run(world.resolver.aconfirm(principal))


def test_what_outlives_a_request() -> None:
    """A lease goes on as a request does."""
    world = World()
    principal = world.resolver.resolve(world.token)
    world.leave(after=1)
    assert asyncio.run(world.resolver.arecall(principal)).user == world.user
    world.now.advance(SECONDS + 1)
    with pytest.raises(RepositoryUnavailable):
        asyncio.run(world.resolver.arecall(principal))


def test_back_again(colour: str) -> None:
    """When the repository is back, it decides again."""
    world = World()
    world.leave(after=1)
    assert resolve(world, colour).user == world.user
    world.repository.is_away = False
    world.ban()
    with pytest.raises(UserBanned):
        resolve(world, colour)


@pytest.mark.parametrize("wrong", [-1, 86_401, True, "60", float("nan")])
def test_a_number_that_cannot_be(wrong: Any) -> None:
    """`serve_stale` is a number of seconds, of a day at most."""
    clerk = FakeClerk(1)
    with pytest.raises(ConfigurationError, match="serve_stale"):
        Resolver(clerk.instance, MemoryRepository(), serve_stale=wrong)


def test_an_outage_is_logged_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    """However many requests are answered 503, the log has one line about them, with the cause."""
    world = World(serve_stale=0)
    world.leave(after=1)
    authenticator = Authenticator(world.resolver)
    request = make_wsgi_request({"REQUEST_METHOD": "GET", "HTTP_AUTHORIZATION": f"Bearer {world.token}"})
    for _ in range(100):
        assert isinstance(authenticator.identify(request).error, RepositoryUnavailable)
    expected = "responded with 503, 1 times since the last line: the repository is not available: it is away"
    assert [record.getMessage() for record in caplog.records] == [expected]
