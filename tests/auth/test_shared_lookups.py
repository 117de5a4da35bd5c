"""Many requests of one caller at once: one of them asks the repository, in threads and in event loops."""

import asyncio
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from clerkmap import Change, ConfigurationError, Principal, RepositoryUnavailable, Resolver
from clerkmap._runtime.threads import RepositoryThreads
from clerkmap.auth.shared_lookups import SharedLookUps, Turns
from clerkmap.core.principal import Standing
from clerkmap.core.records import AnyRecord, ClerkUser
from clerkmap.errors import UserBanned
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk

MANY = 50


class Counted(MemoryRepository):
    """Counts what is asked of it, and holds the first question until it is let go."""

    def __init__(self, *, holds: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.finds = self.puts = 0
        self.reached, self.opened = threading.Event(), threading.Event()
        self.errors: list[Exception] = []
        if not holds:
            self.opened.set()

    def find(self, *ids: Any) -> Standing | None:
        self.finds += 1
        self.reached.set()
        self.opened.wait()
        if self.errors:
            raise self.errors.pop()
        return super().find(*ids)

    def put(self, records: Iterable[AnyRecord]) -> list[Change]:
        self.puts += 1
        return super().put(records)


class Counting:
    """The same for an event loop."""

    def __init__(self, **options: Any) -> None:
        self._inner = MemoryRepository(**options)
        self.finds = self.puts = 0
        self.reached, self.opened = asyncio.Event(), asyncio.Event()
        self.errors: list[Exception] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def find(self, *ids: Any) -> Standing | None:
        self.finds += 1
        found = self._inner.find(*ids)
        self.reached.set()
        await self.opened.wait()
        if self.errors:
            raise self.errors.pop()
        return found

    async def put(self, records: Iterable[AnyRecord]) -> list[Change]:
        self.puts += 1
        return self._inner.put(records)

    def ban(self, instance: str, clerk_id: str) -> None:
        self._inner.put([ClerkUser.full(instance, clerk_id, updated_at=1, observed_at=1, banned=True)])


class World:
    def __init__(self) -> None:
        self.clerk = FakeClerk(1)
        self.ann = self.clerk.create_user()

    def resolver(self, repository: Any, **options: Any) -> Resolver:
        return Resolver(self.clerk.instance, repository, **options)

    def token(self) -> str:
        return self.clerk.token(self.ann)


@pytest.fixture
def world() -> World:
    return World()


def waiting(resolver: Resolver, token: str, number: int, within: Any = None) -> "list[asyncio.Task[Principal]]":
    return [asyncio.ensure_future(resolver.aresolve(token, within=within)) for _ in range(number)]


async def turns() -> None:
    """Let every task that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_threads_wait_for_one(world: World) -> None:
    """However many threads see a caller first, one asks, and all are told the same."""
    repository = Counted(holds=True)
    resolver, token = world.resolver(repository), world.token()
    begun = threading.Barrier(MANY + 1)

    def resolve(_: int) -> Any:
        begun.wait()
        return resolver.resolve(token).user.id

    with ThreadPoolExecutor(MANY) as threads:
        ids = [threads.submit(resolve, number) for number in range(MANY)]
        begun.wait()
        repository.reached.wait()
        repository.opened.set()
        assert len({each.result() for each in ids}) == 1
    # One looks, puts and looks again. Whoever began after that has found memory full, or led in the very moment.
    assert repository.puts == 1
    assert repository.finds <= 3


def test_tasks_wait_for_one(world: World) -> None:
    """The same in an event loop."""

    async def run() -> None:
        repository = Counting()
        resolver = world.resolver(repository)
        tasks = waiting(resolver, world.token(), MANY)
        await repository.reached.wait()
        await turns()
        repository.opened.set()
        assert len({principal.user.id for principal in await asyncio.gather(*tasks)}) == 1
        assert (repository.finds, repository.puts) == (2, 1)

    asyncio.run(run())


def test_another_token_of_the_caller(world: World) -> None:
    """A token that tells more than the one that was asked with is told for itself."""

    async def run() -> None:
        repository = Counting()
        resolver = world.resolver(repository)
        acme = world.clerk.create_organization("Acme", created_by=world.ann)
        member = world.clerk.token(world.ann, acme)
        tasks = waiting(resolver, member, 5) + waiting(resolver, world.token(), 5)
        await turns()
        repository.opened.set()
        principals = await asyncio.gather(*tasks)
        assert [principal.organization is not None for principal in principals] == [True] * 5 + [False] * 5
        assert len({principal.user.id for principal in principals}) == 1

    asyncio.run(run())


def test_the_one_that_asks_is_cancelled(world: World) -> None:
    """Whoever hangs up, the one that asks or one that waits, disturbs nobody else."""

    async def run() -> None:
        repository = Counting()
        tasks = waiting(world.resolver(repository), world.token(), MANY)
        await repository.reached.wait()
        await turns()
        assert repository.finds == 1
        for task in tasks[:2]:
            task.cancel()
        repository.opened.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in done] == [asyncio.CancelledError] * 2 + [Principal] * (MANY - 2)
        assert (repository.finds, repository.puts) == (3, 1)

    asyncio.run(run())


def test_an_outage_is_everybodys(world: World) -> None:
    """That the repository is away is told to all who wait, who do not ask again; each has an error of its own."""

    async def run() -> None:
        repository = Counting()
        tasks = waiting(world.resolver(repository), world.token(), MANY)
        await turns()
        repository.errors = [RepositoryUnavailable("as it is")]
        repository.opened.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert {str(each) for each in done} == {"the repository is not available: as it is"}
        assert len({id(each) for each in done}) == MANY
        assert repository.finds == 1

    asyncio.run(run())


def test_another_error_is_its_own(world: World) -> None:
    """Whatever else goes wrong for the one that asks, another asks for itself."""

    async def run() -> None:
        repository = Counting()
        tasks = waiting(world.resolver(repository), world.token(), MANY)
        await turns()
        repository.errors = [ConfigurationError("a linker of yours")]
        repository.opened.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in done] == [ConfigurationError] + [Principal] * (MANY - 1)
        assert repository.finds == 3

    asyncio.run(run())


def test_in_threads_an_outage_is_everybodys(world: World) -> None:
    """The same for threads: none is left waiting."""
    repository = Counted(holds=True)
    repository.errors = [RepositoryUnavailable("as it is")]
    resolver, token = world.resolver(repository), world.token()
    with ThreadPoolExecutor(10) as threads:
        all_of_them = [threads.submit(resolver.resolve, token) for _ in range(10)]
        repository.reached.wait()
        repository.opened.set()
        raised = [each.exception() for each in all_of_them]
    # Who came when it was over has asked anew, and is answered.
    assert {type(each) for each in raised} <= {RepositoryUnavailable, type(None)}
    assert RepositoryUnavailable in {type(each) for each in raised}


def test_a_ban_meanwhile(world: World) -> None:
    """What was read before a ban is told to nobody who comes after it."""

    async def run() -> None:
        repository = Counting()
        resolver, token = world.resolver(repository), world.token()
        repository.opened.set()
        await resolver.aresolve(token)
        resolver = world.resolver(repository)
        repository.opened.clear()
        first = waiting(resolver, token, 1)
        await turns()
        repository.ban(world.clerk.instance.name, world.ann.id)
        others = waiting(resolver, token, 10)
        await turns()
        repository.opened.set()
        done = await asyncio.gather(*first, *others, return_exceptions=True)
        assert [type(each) for each in done[1:]] == [UserBanned] * 10

    asyncio.run(run())


def test_a_transaction_waits_for_nobody(world: World) -> None:
    """What is resolved within a transaction of yours is told in that transaction, whoever else asks."""

    async def run() -> None:
        repository, mine = Counting(), Counting()
        mine.opened.set()
        resolver = world.resolver(repository)
        tasks = waiting(resolver, world.token(), 3, within=mine)
        await turns()
        repository.opened.set()
        await asyncio.gather(*tasks)
        assert (repository.finds, mine.puts, mine.finds) == (3, 3, 3)

    asyncio.run(run())


def test_loops_do_not_wait_for_each_other(world: World) -> None:
    """A loop that stands still in the middle of a look-up holds up no other loop and no thread."""
    repository = Counted(holds=True)
    resolver, token = world.resolver(repository), world.token()
    stopped = asyncio.new_event_loop()
    left = stopped.create_task(resolver.aresolve(token))
    stopped.run_until_complete(asyncio.sleep(0))
    repository.reached.wait()
    repository.opened.set()
    found = asyncio.run(resolver.aresolve(token))
    assert resolver.resolve(token) == found
    assert stopped.run_until_complete(left) == found
    stopped.close()


def test_a_hook_that_asks_who_is_calling(world: World) -> None:
    """Where the one that asks asks once more, it does not wait for itself."""
    seen: list[Principal] = []

    def ask(change: Change, tx: object) -> None:
        if not seen:
            seen.append(resolver.resolve(token))

    resolver, token = world.resolver(Counted(hooks=[ask])), world.token()
    assert resolver.resolve(token) == seen[0]


def test_a_synchronous_repository_is_left_once(world: World) -> None:
    """In an event loop, a look-up of a synchronous repository is one trip to its threads, and so is a first sight,
    though each asks several times."""

    class Trips(RepositoryThreads):
        trips = 0
        poll_every: float | None = 0.0  # each look-up polls first

        def read(self, function: Any, /, *args: Any) -> Any:
            self.trips += 1
            return super().read(function, *args)

        def write(self, function: Any, /, *args: Any) -> Any:
            self.trips += 1
            return super().write(function, *args)

        def read_or_write(self, read: Any, write: Any, then: Any, /) -> Any:
            self.trips += 1
            return super().read_or_write(read, write, then)

    class InThreads(Counted):
        threads = Trips()

    repository = InThreads()
    asyncio.run(world.resolver(repository).aresolve(world.token()))
    assert repository.threads.trips == 1
    asyncio.run(world.resolver(repository).aresolve(world.token()))
    assert repository.threads.trips == 2


def test_remembered_while_others_are_written(world: World) -> None:
    """Changes of other people between a look and its end do not keep a caller from being remembered."""

    async def run() -> None:
        repository = Counting()
        resolver, token = world.resolver(repository), world.token()
        repository.opened.set()
        await resolver.aresolve(token)
        resolver = world.resolver(repository)
        repository.opened.clear()
        task = waiting(resolver, token, 1)[0]
        await turns()
        repository.ban(world.clerk.instance.name, "user_other")
        repository.opened.set()
        principal = await task
        assert resolver.resolve_nowait(token) == principal

    asyncio.run(run())


def test_a_crowd_lets_others_by(world: World) -> None:
    """While hundreds of new tokens are verified, the event loop goes round: another request is answered in between."""

    async def run() -> None:
        repository = Counting()
        repository.opened.set()
        resolver = world.resolver(repository)
        known, tokens = world.token(), [world.token() for _ in range(400)]
        await resolver.aresolve(known)
        crowd = [asyncio.create_task(resolver.aresolve(token)) for token in tokens]
        crowd[3].cancel()
        await asyncio.sleep(0)
        assert (await resolver.aresolve(known)).user is not None
        assert not all(task.done() for task in crowd)
        done = await asyncio.gather(*crowd, return_exceptions=True)
        assert [type(each) for each in done].count(Principal) == 399

    asyncio.run(run())


def test_turns() -> None:
    """So many tasks go on in each iteration, in the order in which they came; those that are cancelled take none."""

    async def run() -> list[int]:
        turns, iteration, went_on = Turns(10), 0, list[int]()

        async def one() -> None:
            await turns.take()
            went_on.append(iteration)

        tasks = [asyncio.create_task(one()) for _ in range(100)]
        for number in range(40, 60):
            asyncio.get_running_loop().call_soon(tasks[number].cancel)
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            iteration += 1
        return went_on

    went_on = asyncio.run(run())
    assert len(went_on) == 80
    assert max(went_on.count(number) for number in went_on) == 10
    assert went_on == sorted(went_on)


def test_a_task_that_a_look_up_begins_does_not_wait_for_it() -> None:
    """Such as a hook that asks for the same caller in a task of its own: each would wait for the other."""
    flights = SharedLookUps()

    async def inner() -> str:
        return "inner"

    async def outer() -> str:
        return await asyncio.create_task(flights.ajoin("ada", lambda: None, inner))

    async def run() -> str:
        async with asyncio.timeout(20):
            return await flights.ajoin("ada", lambda: None, outer)

    assert asyncio.run(run()) == "inner"


def test_two_look_ups_that_ask_for_each_other_end() -> None:
    """Ada's look-up asks for Bea, and Bea's for Ada."""
    flights = SharedLookUps()
    both = threading.Barrier(2)

    def look_up(other: str) -> str:
        both.wait(20)
        return flights.join(other, lambda: None, lambda: f"found {other}")

    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(flights.join, one, lambda: None, partial(look_up, two)) for one, two in ("ab", "ba")]
        assert [each.result(20) for each in asked] == ["found b", "found a"]
