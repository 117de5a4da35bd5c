"""Tokens that were good are asked about first, also after a restart. Strangers share the rest by their sources."""

import asyncio
import logging
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerkmap import Repository, RepositoryUnavailable, Verifier, threaded
from clerkmap.adapters.authenticator import Authenticator
from clerkmap.auth.resolver import Resolver
from clerkmap.clerk import OpaqueTokens
from clerkmap.clerk.budget import Budget, Shares
from clerkmap.clerk.known_tokens import KEPT, READ_EVERY, WRITE_EVERY, KnownTokens
from clerkmap.core.http import make_wsgi_request
from clerkmap.core.records import key_of
from clerkmap.errors import ApiUnavailable, TokenUnknown
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.testing import Clock, FakeClerk
from forking import run_script
from opaque_world import NOW
from test_clerk_api_budget import most_in_a_window

STRANGER = "203.0.113.9"


class Way(httpx.BaseTransport):
    """The way to Clerk, which notes when each question about a token was asked."""

    def __init__(self, clerk: FakeClerk, monotonic: Clock) -> None:
        self._inner, self._monotonic = clerk.transport(), monotonic
        self.times: list[float] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path != "/v1/jwks":
            self.times.append(self._monotonic())
        return self._inner.handle_request(request)


class World:
    """A Clerk within its real limits, and processes that come and go; all on clocks that a test moves."""

    def __init__(self, limit: int = 100, repository: Repository | None = None) -> None:
        self.clock, self.monotonic = Clock(NOW), Clock(1000)
        self.clerk = FakeClerk(18, clock=self.clock)
        self.clerk.faults.rate_limit, self.clerk.faults.limit = True, limit
        self.ann = self.clerk.create_user("ann@example.com")
        self.limit = limit
        self.way = Way(self.clerk, self.monotonic)
        self.repository = MemoryRepository(clock=self.clock) if repository is None else repository
        self._made_up = 0
        self.restart()

    def restart(self, **options: Any) -> None:
        """A new process, which remembers nothing. An hour has passed."""
        self.advance(3600)
        budget = Budget(self.limit, self.monotonic)
        options = {"repository": self.repository, **options}
        self.opaque = OpaqueTokens(
            self.clerk.instance,
            transport=self.way,
            budget=budget,
            strangers=Budget(self.limit / 2, self.monotonic),
            clock=self.clock,
            monotonic=self.monotonic,
            **options,
        )
        self.verifier = Verifier(
            self.clerk.instance, accept=["session", "api_key"], opaque=self.opaque, clock=self.clock
        )
        self.authenticator = Authenticator(Resolver(self.clerk.instance, self.repository, verifier=self.verifier))

    def advance(self, seconds: float) -> None:
        """Let time pass, by both clocks."""
        self.clock.advance(seconds)
        self.monotonic.advance(seconds)

    def keys(self, number: int) -> list[str]:
        """So many good keys."""
        return [self.clerk.create_api_key(self.ann).secret for _ in range(number)]

    def made_up(self) -> str:
        """A key that nobody has."""
        self._made_up += 1
        return f"ak_{self._made_up:032}"

    def ask(self, token: str, source: str = "") -> str:
        """What a request with the token is answered with: `in`, or the code of the error."""
        environ = {"REQUEST_METHOD": "GET", "HTTP_AUTHORIZATION": f"Bearer {token}", "REMOTE_ADDR": source}
        error = self.authenticator.identify(make_wsgi_request(environ)).error
        return "in" if error is None else error.code

    def flood(self, seconds: int, source: str = STRANGER) -> None:
        """A hundred made-up keys a second."""
        for _ in range(seconds * 100):
            assert self.ask(self.made_up(), source) in ("token_unknown", "api_unavailable")
            self.advance(0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "each_second"), [(100, 3), (1000, 6)])
def test_good_keys_get_in_after_a_restart(limit: int, each_second: int) -> None:
    """Sixty of them, at the first attempt of each, while a hundred made-up keys a second come from everywhere."""
    world = World(limit)
    keys = world.keys(60)
    use(world, keys)
    world.restart()
    world.flood(5)
    answers: list[str] = []
    for number, key in enumerate(keys):
        answers.append(world.ask(key, STRANGER))
        for attempt in range(100 // each_second):
            world.ask(world.made_up(), f"203.0.113.{(number + attempt) % 250}")
            world.advance(0.01)
    assert answers == ["in"] * 60
    assert most_in_a_window(world.way.times) <= limit * 0.9


def test_without_a_repository_they_are_strangers() -> None:
    """A process that has nowhere to keep digests keeps most of them out: the flood has used up what there is."""
    world = World()
    keys = world.keys(60)
    use(world, keys)
    world.restart(repository=None)
    world.flood(5)
    assert [world.ask(key, STRANGER) for key in keys].count("in") < 10


def test_a_new_key_gets_in_beside_a_flood() -> None:
    """A key that was never used before comes from elsewhere than the flood, and finds something left."""
    world = World()
    world.flood(20)
    answers: list[str] = []
    for number, key in enumerate(world.keys(10)):
        answers.append(world.ask(key, f"198.51.100.{number}"))
        world.flood(1)
    assert answers == ["in"] * 10


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("203.0.113.9", "203.0.113.9", True),
        ("203.0.113.9", "203.0.113.10", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:203.0.113.9", "203.0.113.9", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "", True),
        ("not:an:address", "not:an:address", True),
    ],
)
def test_what_counts_as_one_source(one: str, other: str, is_same: bool) -> None:
    """An address, the network of an IPv6 customer, or the form of the token where no address is known."""
    world = World()
    while world.opaque._shares.take("someone else"):
        pass
    world.advance(0.2)
    world.ask(world.made_up(), one)
    before = len(world.opaque._shares._used)
    world.ask(world.made_up(), other)
    assert len(world.opaque._shares._used) == before + (not is_same)


def test_the_source_of_an_asgi_request() -> None:
    """It is the client of the scope, and is not kept beyond the request."""
    world = World()
    headers = [(b"authorization", f"Bearer {world.made_up()}".encode())]
    for client in (("203.0.113.9", 1234), None):
        scope = {"type": "http", "method": "GET", "headers": headers, "client": client}
        asyncio.run(world.authenticator.aidentify_scope(scope))
        headers = [(b"authorization", f"Bearer {world.made_up()}".encode())]
    assert list(world.opaque._shares._used) == ["203.0.113.9", "ak 35"]


@given(st.lists(st.tuples(st.sampled_from("aaaaab"), st.floats(0, 3)), max_size=200), st.integers(4, 500))
def test_a_newcomer_always_finds_something_left(story: list[tuple[str, float]], limit: int) -> None:
    """Whatever a few sources have asked, and never more than there is for all."""
    clock = Clock(1000)
    shares = Shares(limit, clock)
    times: list[float] = []
    for source, passes in story:
        clock.advance(passes)
        while shares.take(source):
            times.append(clock())
    assert shares.take("c") or limit < 8
    assert most_in_a_window(times) <= 2 * limit


def test_sources_do_not_fill_the_memory() -> None:
    """However many there are."""
    clock = Clock(1000)
    shares = Shares(10, clock, keep=64)
    for number in range(10_000):
        clock.advance(1)
        shares.take(f"source {number}")
    assert len(shares._used) <= 64


def note_of(world: World) -> str:
    """The checkpoint that holds the digests."""
    return world.repository.checkpoint(f"opaque tokens {key_of(world.clerk.instance.name)}") or ""


def use(world: World, keys: list[str]) -> None:
    """Each key calls, and after a while everything is written."""
    for key in keys:
        assert world.ask(key) == "in"
        world.advance(1)
    world.advance(WRITE_EVERY)
    world.ask(world.made_up())


def test_only_digests_are_kept_and_not_of_what_was_revoked() -> None:
    """They are keyed with the secret key; a key that Clerk knows no more is dropped."""
    world = World()
    keys = world.keys(3)
    use(world, keys)
    before = note_of(world)
    assert len(before.split()) == 3
    assert not any(part in before for key in keys for part in (key, key[3:], key[-16:]))
    other = KnownTokens(FakeClerk(19).instance, world.monotonic)
    assert not set(before.split()) & {other._digest(key) for key in keys}
    world.clerk.revoke_machine_token(world.clerk.machine_tokens[keys[0]])
    world.advance(60)
    assert world.ask(keys[0]) == "token_unknown"
    world.advance(WRITE_EVERY)
    world.ask(world.made_up())
    assert len(note_of(world).split()) == 2
    assert "ak_" not in repr(world.opaque._known)


def test_processes_learn_from_each_other() -> None:
    """What several write at once is all kept, and what one has learned the others hear within a minute."""
    world = World(1000)
    first, keys = world.opaque, world.keys(4)
    use(world, keys[:2])
    world.restart()
    use(world, keys[2:])
    assert len(note_of(world).split()) == 4
    assert keys[2] not in first._known
    world.advance(READ_EVERY)
    with pytest.raises(TokenUnknown):
        first.get(world.made_up())
    assert all(key in first._known for key in keys)


def exchange(known: KnownTokens, repository: MemoryRepository) -> None:
    """Exchange the digests with the checkpoint of a repository."""
    steps = known.exchange()
    answer: Any = None
    with suppress(StopIteration):
        while True:
            answer = steps.send(answer)(repository)


def test_a_drop_after_thousands_is_not_lost() -> None:
    """In a process that has dropped many tokens, one more stays dropped, and the number that is kept is bounded."""
    known, repository = KnownTokens(FakeClerk(20).instance, Clock(1000)), MemoryRepository()
    for number in range(KEPT + 500):
        known.add(f"ak_{number:032}")
        known.drop(f"ak_{number:032}")
    known.add("ak_good")
    known.add("ak_bad")
    exchange(known, repository)
    known.drop("ak_bad")
    exchange(known, repository)
    assert ("ak_good" in known, "ak_bad" in known) == (True, False)
    assert (repository.checkpoint(known._checkpoint) or "").split() == [known._digest("ak_good")]
    assert len(known._dropped) == KEPT
    known.add("ak_bad")
    exchange(known, repository)
    assert "ak_bad" in known


def test_the_checkpoint_is_bounded() -> None:
    """It fits, however many keys there are, and holds the newest."""
    known = KnownTokens(FakeClerk(20).instance, Clock(1000))
    repository = MemoryRepository()
    for number in range(KEPT + 500):
        known.add(f"ak_{number:032}")
    exchange(known, repository)
    (text,) = (repository.checkpoint(known._checkpoint),)
    assert text is not None
    assert len(text) <= 65_536
    assert (len(text.split()), len(known)) == (KEPT, KEPT)
    assert f"ak_{KEPT + 499:032}" in known
    assert "ak_" + "0" * 32 not in known


@pytest.mark.parametrize("written", ["", "nonsense", "[1, 2]", "x" * 60_000, "ü " * 100])
def test_a_checkpoint_that_somebody_has_written_into(written: str) -> None:
    """Whatever it holds, keys get in, and are written."""
    world = World()
    key = world.keys(1)
    use(world, key)
    world.repository.set_checkpoint(f"opaque tokens {key_of(world.clerk.instance.name)}", written)
    world.restart()
    use(world, key)
    assert world.opaque._known._digest(key[0]) in note_of(world).split()


class Away(MemoryRepository):
    """A repository whose checkpoints cannot be had."""

    def checkpoint(self, name: str) -> str | None:
        raise RepositoryUnavailable


def test_a_database_that_is_away_keeps_nobody_out(caplog: pytest.LogCaptureFixture) -> None:
    """The keys are strangers' then; the log tells why, once in a while."""
    world = World(repository=Away())
    caplog.set_level(logging.WARNING, "clerkmap.opaque")
    for key in world.keys(5):
        assert world.ask(key) == "in"
    assert [record.getMessage() for record in caplog.records] == [
        "looking up the known opaque tokens failed: RepositoryUnavailable"
    ]


def test_in_async_code() -> None:
    """An async repository keeps them as well; simultaneous first requests wait for one look."""
    world = World(1000)
    keys = world.keys(20)
    use(world, keys)
    world.restart(repository=threaded(world.repository))
    for _ in range(200):
        world.opaque._shares.take(STRANGER)
        world.opaque._strangers.take()

    async def all_of_them() -> list[object]:
        return list(await asyncio.gather(*(world.opaque.aget(key) for key in keys), return_exceptions=True))

    assert not [found for found in asyncio.run(all_of_them()) if isinstance(found, Exception)]


def test_nothing_is_written_inside_your_transaction(tmp_path: Path) -> None:
    """Where it would hold up the other processes until you commit."""
    connection = sqlite3.connect(tmp_path / "app.db", isolation_level=None, check_same_thread=False)
    world = World(repository=SqliteRepository(connection, migrate=True))
    connection.execute("BEGIN")
    use(world, world.keys(2))
    assert note_of(world) == ""
    connection.execute("COMMIT")
    world.advance(WRITE_EVERY)
    world.ask(world.made_up())
    assert len(note_of(world).split()) == 2
    connection.close()


def test_known_keys_come_before_strangers_where_the_budget_is_used_up() -> None:
    """While one waits for its turn, no stranger's question is let in."""
    world = World()
    (key,) = world.keys(1)
    assert world.ask(key) == "in"
    world.advance(60)
    while not world.opaque._api.budget.take():
        pass
    world.opaque._known_aloft += 1
    with pytest.raises(ApiUnavailable, match="are looked up first"):
        world.opaque.get(world.made_up())
    world.advance(10)
    with pytest.raises(TokenUnknown):
        world.opaque.get(world.made_up())


@pytest.mark.parametrize("token", ["ak_" + "a" * 15, "ak_" + "a=" * 20, "ak_" + "=" * 32, "ak_a b" + "c" * 20])
def test_what_no_key_looks_like_is_refused_unasked(token: str) -> None:
    """It costs no question, and no share of anybody's."""
    world = World()
    with pytest.raises(Exception, match="cannot be read"):
        world.verifier.verify(token)
    assert world.way.times == []


SCRIPT = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from forking import child, ended
from test_opaque_strangers import World, use

world = World()
keys = world.keys(2)
use(world, keys)
with world.opaque._known._lock:
    def in_the_child():
        assert world.ask(keys[0]) == "in"
        assert keys[1] in world.opaque._known
    assert ended(child(in_the_child)) == 0
print("good")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork() -> None:
    """The child knows what its parent knew, and waits for nothing that stayed behind."""
    ended = run_script(SCRIPT)
    assert (ended.returncode, ended.stdout) == (0, "good\n"), ended.stderr
