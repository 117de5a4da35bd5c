"""One question at a time about each opaque token, shared by threads and tasks; nobody waits beyond the deadline."""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from clerkmap import Principal
from clerkmap.errors import ApiUnavailable
from forking import run_script
from opaque_world import PATIENCE, World


def test_fifty_threads_and_fifty_tasks_share_one_question() -> None:
    """A cold start under load is one request, and everybody gets in."""
    world = World()
    secret = world.clerk.create_api_key(world.ann).secret
    world.api.gate.clear()

    async def tasks() -> list[Principal]:
        return await asyncio.gather(*(world.resolver.aresolve(secret) for _ in range(50)))

    with ThreadPoolExecutor(51) as pool:
        threads = [pool.submit(world.resolver.resolve, secret) for _ in range(50)]
        in_a_loop = pool.submit(asyncio.run, tasks())
        assert world.api.reached.wait(PATIENCE)
        time.sleep(0.1)
        assert not any(each.done() for each in threads)
        assert not in_a_loop.done()
        world.api.gate.set()
        found = [*(each.result(PATIENCE) for each in threads), *in_a_loop.result(PATIENCE)]
    assert len({each.user.id for each in found}) == 1
    assert world.api.count == 1


def test_who_is_cancelled_disturbs_nobody() -> None:
    """The others go on waiting for the same question."""
    world = World()
    secret = world.clerk.create_api_key(world.ann).secret
    world.api.gate.clear()

    async def two() -> Principal:
        one, other = (asyncio.create_task(world.resolver.aresolve(secret)) for _ in range(2))
        await asyncio.to_thread(world.api.reached.wait, PATIENCE)
        one.cancel()
        await asyncio.wait([one])
        world.api.gate.set()
        return await other

    assert asyncio.run(two()).user.clerk_id == world.ann.id
    assert world.api.count == 1


def test_nobody_waits_longer_than_the_deadline() -> None:
    """However long Clerk takes. What it says in the end is remembered all the same."""
    world = World(deadline=0.2)
    secret = world.clerk.create_api_key(world.ann).secret
    world.api.gate.clear()
    began = time.monotonic()
    with pytest.raises(ApiUnavailable):
        world.resolver.resolve(secret)
    with pytest.raises(ApiUnavailable):
        asyncio.run(world.resolver.aresolve(secret))
    world.api.gate.set()
    while world.verifier.verify_nowait(secret) is None:
        assert time.monotonic() - began < 3 * PATIENCE
        time.sleep(0.01)
    assert world.resolver.resolve(secret).user.clerk_id == world.ann.id
    assert world.api.count == 1


SCRIPT = """
import os, signal, sys, threading
sys.path.insert(0, sys.argv[1])
from forking import child, ended
from opaque_world import PATIENCE, World

world = World()
secret = world.clerk.create_api_key(world.ann).secret
world.api.gate.clear()
asking = threading.Thread(target=lambda: world.resolver.resolve(secret))
asking.start()
assert world.api.reached.wait(PATIENCE)

def work():
    world.api.gate = threading.Event()
    world.api.gate.set()
    assert world.resolver.resolve(secret).user.clerk_id == world.ann.id

with world.opaque._lock:
    children = [child(work) for _ in range(3)]
assert [ended(pid) for pid in children] == [0] * 3
world.api.gate.set()
asking.join(PATIENCE)
assert world.resolver.resolve_nowait(secret) is not None
assert [ended(child(work)) for _ in range(2)] == [0] * 2
print("good")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork() -> None:
    """With a question on its way and the lock held, no child waits for an answer that goes to its parent."""
    ended = run_script(SCRIPT)
    assert (ended.returncode, ended.stdout) == (0, "good\n"), ended.stderr
