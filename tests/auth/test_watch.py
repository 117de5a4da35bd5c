"""One watch for all leases: a change costs work for the connections that it concerns, however many there are."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from asgi_base import PATIENCE, Message, World, bearer, until, websocket_scope
from clerkmap import ClerkmapError, Principal, Repository, Resolver
from clerkmap.adapters.asgi import AuthMiddleware
from clerkmap.auth.lease import Lease
from clerkmap.auth.watch import LOOK_EVERY, Watch
from clerkmap.core.records import ClerkMembership, ClerkOrganization
from clerkmap.errors import MembershipDeleted, OrganizationDeleted, RepositoryUnavailable, TokenExpired, UserBanned
from clerkmap.hooks import Listeners
from clerkmap.repositories import SqliteRepository
from clerkmap.testing import FakeClerk
from socket_base import Outages, with_outages

MANY = 200


class Counting(SqliteRepository):
    """Counts what it is asked."""

    finds = polls = 0

    def find(self, *args: Any, **kwargs: Any) -> Any:
        self.finds += 1
        return super().find(*args, **kwargs)

    def poll(self) -> None:
        self.polls += 1
        super().poll()


class Looks(Resolver):
    """Counts the looks at leases, those that memory answers as well."""

    looks = 0

    def confirm_nowait(self, principal: Principal) -> Principal | None:
        self.looks += 1
        return super().confirm_nowait(principal)


class Ends:
    """Notes how a lease ended."""

    def __init__(self) -> None:
        self.errors: list[ClerkmapError] = []
        self.ended = asyncio.Event()

    async def __call__(self, error: ClerkmapError) -> None:
        self.errors.append(error)
        self.ended.set()

    async def wait(self) -> type[ClerkmapError]:
        async with asyncio.timeout(PATIENCE):
            await self.ended.wait()
        (error,) = self.errors
        return type(error)


async def open_socket(app: AuthMiddleware, token: str, opened: asyncio.Event) -> int:
    """An idle WebSocket without a server: how it was closed."""
    closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    connecting = [{"type": "websocket.connect"}]

    async def receive() -> Message:
        if connecting:
            return connecting.pop()
        await closed
        return {"type": "websocket.disconnect", "code": 1005}

    async def send(message: Message) -> None:
        if message["type"] == "websocket.close":
            closed.set_result(message["code"])
        else:
            opened.set()

    await app(websocket_scope(bearer(token)), receive, send)
    return await closed


async def idle(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


@pytest.mark.parametrize("many", [20, MANY])
def test_a_ban_made_elsewhere_costs_the_same_however_many_sockets_are_open(tmp_path: Path, many: int) -> None:
    """One look-up, for the person concerned. A change of somebody else costs none, and so does an idle second."""
    clerk = FakeClerk()
    here, there = Counting.open(tmp_path / "app.db"), SqliteRepository.open(tmp_path / "app.db")
    assert isinstance(here, Counting)
    resolver = Looks(clerk.instance, here)
    people = [clerk.create_user() for _ in range(many)]
    stranger = clerk.create_user()
    tokens = [clerk.token(person) for person in people]
    elsewhere = Resolver(clerk.instance, there)
    for token in tokens:  # otherwise its own writes would arrive at some time, and be looked at once more
        elsewhere.resolve(token)

    def polled(times: int) -> bool:
        return here.polls >= times

    async def quiet() -> None:
        """Wait until two polls have passed without a look-up."""
        finds = -1
        while finds != here.finds:
            finds = here.finds
            await until(partial(polled, here.polls + 2))

    async def run() -> tuple[int, int, int]:
        app = AuthMiddleware(idle, resolver)
        opened = [asyncio.Event() for _ in people]
        sockets = [
            asyncio.create_task(open_socket(app, token, event)) for token, event in zip(tokens, opened, strict=True)
        ]
        await asyncio.gather(*(event.wait() for event in opened))
        await quiet()
        here.finds = resolver.looks = 0
        tasks = len(asyncio.all_tasks())
        there.put([clerk.record(people[3], banned=True)])
        code = await asyncio.wait_for(sockets[3], PATIENCE)
        there.put([clerk.record(stranger, banned=True)])
        there.set_checkpoint("sync", "page 7")
        await quiet()
        assert not any(task.done() for number, task in enumerate(sockets) if number != 3)
        for task in sockets:
            task.cancel()
        await asyncio.wait(sockets)
        return code, here.finds, tasks - many

    code, finds, other_tasks = asyncio.run(run())
    here.close()
    there.close()
    assert (code, finds) == (4401, 1)
    assert resolver.looks <= 2  # both for the person concerned
    assert other_tasks <= 3  # this test's own, the watch, and a question that is under way


@asynccontextmanager
async def watched(world: World, token: str) -> AsyncGenerator[tuple[Lease, Ends], None]:
    lease, ends = Lease(world.resolver, await world.resolver.aresolve(token)), Ends()
    async with lease.watched(ends):
        yield lease, ends


def test_a_change_before_the_watch_begins_is_not_missed() -> None:
    """Between the look that let somebody in and the first moment of the watch, nobody would hear of it."""

    async def run() -> type[ClerkmapError]:
        world = World()
        lease, ends = Lease(world.resolver, world.resolver.resolve(world.token())), Ends()
        world.rows.put([world.clerk.record(world.user, banned=True)])
        async with lease.watched(ends):
            return await ends.wait()

    assert asyncio.run(run()) is UserBanned


def test_a_renewal_moves_the_watch_to_the_new_organization() -> None:
    """After it, what is heard of the new organization ends the lease, and the old end of the token does not."""

    async def run() -> type[ClerkmapError]:
        world = World()
        other = world.clerk.create_organization(created_by=world.user)
        async with watched(world, world.clerk.token(world.user, expires_in=60)) as (lease, ends):
            await lease.renew(world.clerk.token(world.user, other, expires_in=3600))
            world.clock.advance(600)
            name, now = world.clerk.instance.name, int(world.clock() * 1000)
            world.rows.put([ClerkOrganization.deleted(name, world.organization.id, observed_at=now)])
            await asyncio.sleep(2 * LOOK_EVERY)  # the watch has looked at the clock
            assert ends.errors == []
            world.rows.put([ClerkOrganization.deleted(name, other.id, observed_at=now)])
            return await ends.wait()

    assert asyncio.run(run()) is OrganizationDeleted


def test_the_clock_ends_a_lease() -> None:
    """Nothing else has to happen."""

    async def run() -> type[ClerkmapError]:
        world = World()
        resolver = Looks(world.clerk.instance, world.rows, verifier=world.verifier)
        ends = Ends()
        async with Lease(resolver, resolver.resolve(world.token(expires_in=60))).watched(ends):
            await until(lambda: resolver.looks > 0)
            world.clock.advance(121)
            return await ends.wait()

    assert asyncio.run(run()) is TokenExpired


@pytest.mark.parametrize("error", [RepositoryUnavailable(), RuntimeError("lost")])
def test_a_look_that_fails_is_repeated(error: Exception) -> None:
    """The change was heard of, and the repository is away: it is asked again until it answers."""

    async def run() -> type[ClerkmapError]:
        world, outages = with_outages()
        resolver, ends = Looks(world.clerk.instance, cast(Repository, outages), verifier=world.verifier), Ends()
        async with Lease(resolver, await resolver.aresolve(world.token())).watched(ends):
            await until(lambda: resolver.looks > 0)
            outages.error = error
            outages.rows.put([world.clerk.record(world.user, banned=True)])
            looks = resolver.looks
            await until(lambda: resolver.looks > looks)
            await asyncio.sleep(0.1)  # and has failed
            assert ends.errors == []
            outages.error = None
            return await ends.wait()

    assert asyncio.run(run()) is UserBanned


def test_a_repository_that_hangs_does_not_keep_the_clock_from_being_looked_at() -> None:
    """The question for changes elsewhere goes on beside the watch."""

    class Hanging(Outages):
        def poll(self) -> None:
            if self.asked > 3:
                assert go.wait(PATIENCE)
            super().poll()

    go = threading.Event()

    async def run() -> type[ClerkmapError]:
        world = World()
        rows = Hanging(world.rows)
        world = World(cast(Repository, rows), clock=world.clock)
        async with watched(world, world.token(expires_in=60)) as (_, ends):
            rows.asked = 4
            world.clock.advance(121)
            error = await ends.wait()
            go.set()
            return error

    assert asyncio.run(run()) is TokenExpired


def test_a_change_reaches_every_event_loop(tmp_path: Path) -> None:
    """Two loops in two threads hold a lease each of one person; a third thread bans."""
    world = World()
    principal = world.resolver.resolve(world.token())
    barrier = threading.Barrier(3)
    ended: list[type[ClerkmapError]] = []

    async def hold() -> None:
        ends = Ends()
        async with Lease(world.resolver, principal).watched(ends):
            barrier.wait()
            ended.append(await ends.wait())

    threads = [threading.Thread(target=lambda: asyncio.run(hold())) for _ in range(2)]
    for thread in threads:
        thread.start()
    barrier.wait()
    world.rows.put([world.clerk.record(world.user, banned=True)])
    for thread in threads:
        thread.join()
    assert ended == [UserBanned, UserBanned]


def test_many_leases_of_one_person_end_together() -> None:
    """Every one is ended, and each once."""

    async def run() -> list[type[ClerkmapError]]:
        world = World()
        several = [Ends() for _ in range(MANY)]
        async with AsyncExitStack() as stack:
            for ends in several:
                lease = Lease(world.resolver, await world.resolver.aresolve(world.token(session=f"sess_{id(ends)}")))
                await stack.enter_async_context(lease.watched(ends))
            world.rows.put(
                [
                    ClerkMembership.deleted(
                        world.clerk.instance.name,
                        "orgmem_1",
                        clerk_user_id=world.user.id,
                        clerk_organization_id=world.organization.id,
                        observed_at=int(world.clock() * 1000) + 1,
                    )
                ]
            )
            return [await ends.wait() for ends in several]

    assert asyncio.run(run()) == [MembershipDeleted] * MANY


def test_nothing_is_kept_of_what_has_gone() -> None:
    """No task when the last has left; and a lease that would end in a day is not held until then."""

    async def run() -> None:
        world = World()
        async with watched(world, world.token(expires_in=86_000)):
            gone = []
            for _ in range(MANY):
                async with watched(world, world.token(expires_in=86_000)) as (lease, _):
                    gone.append(weakref.ref(lease))
                del lease
            await asyncio.sleep(0)
            gc.collect()
            assert sum(each() is not None for each in gone) <= 100
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_the_watch_runs_as_nobody() -> None:
    """What is looked up for all is not looked up in the name of whoever came first."""
    whose: ContextVar[str] = ContextVar("whose", default="nobody")
    seen: list[str] = []

    class Noting(Outages):
        def find(self, *args: Any) -> Any:
            seen.append(whose.get())
            return super().find(*args)

    async def run() -> None:
        world = World()
        world = World(cast(Repository, Noting(world.rows)), clock=world.clock)
        token = world.token()
        await world.resolver.aresolve(token)
        whose.set("the first")
        async with watched(world, token) as (_, ends):
            seen.clear()
            world.rows.listeners.keys_changed(None)
            world.resolver._repository.rows.put([world.clerk.record(world.user, banned=True)])  # type: ignore[union-attr]
            await ends.wait()

    asyncio.run(run())
    assert set(seen) == {"nobody"}


class Odd:
    """A connection whose look raises what a test says, once."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.keys = ["a"]
        self.ends_at = 1_000.0
        self.looks = 0
        self._error = error

    async def look(self) -> None:
        self.looks += 1
        error, self._error = self._error, None
        if error is not None:
            raise error


class BrokenClock:
    """A clock that fails while it is told to."""

    def __init__(self) -> None:
        self.now, self.is_broken, self.failures = 0.0, False, 0

    def __call__(self) -> float:
        if self.is_broken:
            self.failures += 1
            raise OSError("no time")
        return self.now


async def unasked() -> None:
    raise AssertionError("what is fresh is not asked for")


@pytest.mark.parametrize("change", [["a"], None, "its end"])
def test_a_clock_that_fails_loses_no_change(change: list[str] | str | None) -> None:
    """What was heard while the clock failed is looked at when it goes again."""

    async def run() -> None:
        clock, listeners, odd = BrokenClock(), Listeners(), Odd()
        watch = Watch(listeners, unasked, lambda: 100.0, clock)
        watch.add(odd)
        await until(lambda: odd.looks == 1)
        clock.is_broken = True
        if change == "its end":
            clock.now = 2_000.0
        else:
            listeners.keys_changed(cast(list[str] | None, change))
        await until(lambda: clock.failures > 1)
        clock.is_broken = False
        await until(lambda: odd.looks == 2)
        watch.remove(odd)

    asyncio.run(run())


def test_a_look_that_is_cancelled_is_repeated() -> None:
    """A look may meet the end of a task that it waits for. The connection is looked at again, and so are others."""

    async def run() -> None:
        several = [Odd(asyncio.CancelledError()) for _ in range(20)] + [Odd()]
        watch = Watch(Listeners(), unasked, lambda: 100.0, lambda: 0.0)
        for odd in several:
            watch.add(odd)
        await until(lambda: [odd.looks for odd in several] == [2] * 20 + [1])
        for odd in several:
            watch.remove(odd)
        await asyncio.sleep(0)

    asyncio.run(run())


def test_a_look_that_ends_with_its_watch_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The last connection to leave cancels what is under way."""

    class Endless(Odd):
        async def look(self) -> None:
            self.looks += 1
            await asyncio.Event().wait()

    async def run() -> None:
        watch, endless = Watch(Listeners(), unasked, lambda: 100.0, lambda: 0.0), Endless()
        watch.add(endless)
        await until(lambda: endless.looks == 1)
        watch.remove(endless)
        await until(lambda: len(asyncio.all_tasks()) == 1)

    asyncio.run(run())
    assert caplog.records == []
