"""One fetch at a time, shared by threads and tasks; nobody waits for longer than the deadline, or without need."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from clerkmap import KeysUnavailable
from clerkmap.core.claims import Claims
from clerkmap.errors import UnknownKey
from key_server import PATIENCE, TROUBLES, World, settle

COOLDOWN, REFRESH = 10, 300


def stalled(seed: int = 1, deadline: float = PATIENCE) -> World:
    """A world whose key server keeps everybody waiting."""
    world = World(seed, deadline=deadline)
    world.server.gate.clear()
    return world


def crowd(pool: ThreadPoolExecutor, size: int, call: Callable[[], Claims]) -> list[Future[Claims]]:
    """So many threads that make the same call at the same moment."""
    start = threading.Barrier(size)

    def come() -> Claims:
        start.wait(PATIENCE)
        return call()

    return [pool.submit(come) for _ in range(size)]


async def reached(world: World) -> None:
    """Until the key server has a request, and all that could follow it have had their chance."""
    assert await asyncio.to_thread(world.server.reached.wait, PATIENCE)
    await asyncio.sleep(0.1)


def test_64_threads_share_one_fetch() -> None:
    """A cold start under load is one request, and everybody gets in."""
    world = stalled()
    token = world.token()
    with ThreadPoolExecutor(64) as pool:
        waiting = crowd(pool, 64, lambda: world.verifier.verify(token))
        assert world.server.reached.wait(PATIENCE)
        time.sleep(0.1)
        assert not any(each.done() for each in waiting)
        world.server.gate.set()
        assert {each.result(PATIENCE).subject for each in waiting} == {world.user.id}
    assert world.server.count == 1


def test_1000_tasks_share_one_fetch() -> None:
    """The same for tasks."""
    world = stalled()
    token = world.token()

    async def main() -> list[Claims]:
        waiting = [asyncio.create_task(world.verifier.averify(token)) for _ in range(1_000)]
        await reached(world)
        assert not any(each.done() for each in waiting)
        world.server.gate.set()
        return await asyncio.gather(*waiting)

    assert [claims.subject for claims in asyncio.run(main())] == [world.user.id] * 1_000
    assert world.server.count == 1


def test_threads_and_tasks_share_one_fetch() -> None:
    """Both colours, two event loops and 16 threads, at once."""
    world = stalled()
    token = world.token()

    async def main() -> list[Claims]:
        return await asyncio.gather(*(world.verifier.averify(token) for _ in range(50)))

    with ThreadPoolExecutor(18) as pool:
        waiting = crowd(pool, 16, lambda: world.verifier.verify(token))
        loops = [pool.submit(asyncio.run, main()) for _ in range(2)]
        assert world.server.reached.wait(PATIENCE)
        time.sleep(0.1)
        world.server.gate.set()
        assert all(each.result(PATIENCE).subject == world.user.id for each in waiting)
        assert [len(each.result(PATIENCE)) for each in loops] == [50, 50]
    assert world.server.count == 1


def test_a_fetch_that_fails_fails_for_all_at_once() -> None:
    """Nobody of the waiting crowd tries again on their own."""
    world = stalled()
    world.server.trouble = TROUBLES["500"]
    token = world.token()
    with ThreadPoolExecutor(32) as pool:
        waiting = crowd(pool, 32, lambda: world.verifier.verify(token))
        assert world.server.reached.wait(PATIENCE)
        world.server.gate.set()
        assert {type(each.exception(PATIENCE)) for each in waiting} == {KeysUnavailable}
    assert world.server.count == 1


def test_a_fetch_that_takes_longer_than_the_cooldown_is_not_tried_twice_for_one_token() -> None:
    """By the time it has failed the next one is due already: that is left to the next token."""
    world = stalled()
    world.server.trouble = TROUBLES["read timeout"]
    token = world.token()
    with ThreadPoolExecutor(1) as pool:
        (waiting,) = crowd(pool, 1, lambda: world.verifier.verify(token))
        assert world.server.reached.wait(PATIENCE)
        world.advance(COOLDOWN)
        world.server.gate.set()
        assert isinstance(waiting.exception(PATIENCE), KeysUnavailable)
    assert world.server.count == 1


def test_a_thousand_strangers_share_one_fetch() -> None:
    """Each with an unknown key id of their own: one request tells that none of them is known."""
    world = stalled()
    tokens = [world.clerk.token(world.user, header={"kid": f"ins_{number}"}) for number in range(20)]

    async def main() -> list[Claims | BaseException]:
        waiting = [asyncio.create_task(world.verifier.averify(tokens[number % 20])) for number in range(1_000)]
        await reached(world)
        world.server.gate.set()
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert {type(each) for each in asyncio.run(main())} == {UnknownKey}
    assert world.server.count == 1


def test_one_event_loop_after_another() -> None:
    """Nothing of a closed loop is left in the source: the next one fetches as if it were the first."""
    world = World()
    for turn in range(1, 4):
        assert asyncio.run(world.verifier.averify(world.token())).subject == world.user.id
        assert world.server.count == turn
        world.clerk.rotate_key()
        world.advance(COOLDOWN)


def test_a_loop_may_close_before_the_answer_comes(caplog: pytest.LogCaptureFixture) -> None:
    """A fetch outlives the loop that began it: it lands without a noise, and the next one is free to go."""
    world = stalled(deadline=0.2)
    with caplog.at_level(logging.DEBUG), pytest.raises(KeysUnavailable):
        asyncio.run(world.verifier.averify(world.token()))
    with caplog.at_level(logging.DEBUG):
        world.server.gate.set()
        settle()
    assert {record.name for record in caplog.records if record.levelno >= logging.WARNING} <= {"clerkmap.keys"}
    world.advance(COOLDOWN)
    assert world.sign_in().subject == world.user.id


def test_who_leaves_disturbs_nobody() -> None:
    """Tasks that are cancelled or time out while they wait take nothing from those that go on waiting."""
    world = stalled()
    token = world.token()

    async def main() -> list[Claims]:
        leaving = [asyncio.create_task(world.verifier.averify(token)) for _ in range(5)]
        staying = [asyncio.create_task(world.verifier.averify(token)) for _ in range(5)]
        await reached(world)
        for task in leaving:
            task.cancel()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(world.verifier.averify(token), 0.05)
        assert {type(left) for left in await asyncio.gather(*leaving, return_exceptions=True)} == {
            asyncio.CancelledError
        }
        assert not any(task.done() for task in staying)
        world.server.gate.set()
        return await asyncio.gather(*staying)

    assert len(asyncio.run(main())) == 5
    assert world.server.count == 1


def test_a_thread_waits_no_longer_than_the_deadline() -> None:
    """Whatever the far end does: 503, and one cool-down later another try."""
    world = stalled(deadline=0.2)
    with pytest.raises(KeysUnavailable):  # the far end answers only once the gate is open
        world.verifier.verify(world.token())
    world.server.gate.set()
    settle()
    world.advance(COOLDOWN)
    assert world.sign_in().subject == world.user.id


def test_a_task_waits_no_longer_than_the_deadline_and_holds_up_nobody() -> None:
    """The loop goes on ticking all the while."""
    world = stalled(deadline=1.0)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    async def main() -> None:
        ticking = asyncio.create_task(tick())
        with pytest.raises(KeysUnavailable):
            await world.verifier.averify(world.token())
        ticking.cancel()

    asyncio.run(main())
    assert ticks >= 10
    world.server.gate.set()
    settle()


@pytest.mark.parametrize(
    "ask",
    [
        lambda world, token: world.verifier.verify(token),
        lambda world, token: world.verifier.verify_nowait(token),
        lambda world, token: asyncio.run(world.verifier.averify(token)),
    ],
    ids=["sync", "from memory", "async"],
)
def test_nobody_waits_for_a_refresh(ask: Callable[[World, str], Claims | None]) -> None:
    """Keys that are due are fetched behind everybody's back: the far end hangs, and everybody gets in at once."""
    world = World(deadline=PATIENCE)
    world.sign_in()
    world.advance(REFRESH)
    world.server.gate.clear()
    world.server.reached.clear()
    for _ in range(20):  # the far end answers none of them: its gate is shut
        assert ask(world, world.token()) is not None
    assert world.server.reached.wait(PATIENCE)
    assert world.server.count == 2, "one refresh for all"
    world.server.gate.set()
    settle()
    assert world.keys.generation == 1


def test_a_machine_without_a_thread_to_spare() -> None:
    """Keys that are known go on serving, those that are not are unavailable, and nothing else comes out."""
    world, cold = World(), World()
    world.sign_in()
    world.advance(REFRESH)
    usual = threading.stack_size(1 << 47)  # as much as there are addresses: no thread can have that
    try:
        with pytest.raises(RuntimeError):
            threading.Thread(target=print).start()
        assert world.sign_in().subject == world.user.id
        with pytest.raises(KeysUnavailable):
            cold.verifier.verify(cold.token())
        with pytest.raises(KeysUnavailable):
            asyncio.run(cold.verifier.averify(cold.token()))
    finally:
        threading.stack_size(usual)
    for each in (world, cold):
        each.advance(COOLDOWN)
        each.sign_in()
    assert (world.server.count, cold.server.count) == (2, 1)
