"""A process that has fetched keys may fork at any moment: no child hangs, and each goes on by itself."""

import os

import pytest

from forking import run_script

# Run in a process of its own, which has no threads but those made here.
PRELUDE = """
import os, signal, sys, threading
sys.path.insert(0, sys.argv[1])
from forking import child, ended
from key_server import PATIENCE, World, settle
from clerkmap import KeysUnavailable

COOLDOWN = 10
world = World()

def get_in():
    assert world.sign_in().subject == world.user.id
"""

AFTER_WARM_UP = """
get_in()

def work():
    get_in()
    assert world.server.count == 1, "the keys came along"
    world.clerk.rotate_key()
    world.advance(COOLDOWN)
    get_in()
    assert (world.server.count, world.keys.generation) == (2, 2), "and the child fetches for itself"

assert [ended(pid) for pid in [child(work) for _ in range(4)]] == [0] * 4
get_in()
assert world.server.count == 1
"""

COLD = """
def work():
    get_in()
    assert world.server.count == 1

assert [ended(pid) for pid in [child(work) for _ in range(4)]] == [0] * 4
assert world.server.count == 0
get_in()
"""

# What was in the air stays behind in the parent. The child may ask at once, or say for one cool-down that it cannot.
IN_THE_AIR = """
world.server.gate.clear()
waiting = threading.Thread(target=get_in)
waiting.start()
assert world.server.reached.wait(PATIENCE)

def work():
    world.server.gate.set()
    try:
        get_in()
    except KeysUnavailable:
        world.advance(COOLDOWN)
        get_in()
    assert world.server.count == 2

assert [ended(pid) for pid in [child(work) for _ in range(4)]] == [0] * 4
world.server.gate.set()
waiting.join(PATIENCE)
assert not waiting.is_alive()
assert (world.server.count, world.keys.generation) == (1, 1)
"""

REFRESH_IN_THE_AIR = """
get_in()
world.advance(300)
world.server.gate.clear()
world.server.reached.clear()
world.verifier.verify(world.token())
assert world.server.reached.wait(PATIENCE)

def work():
    world.server.gate.set()
    get_in()
    world.advance(COOLDOWN)
    get_in()
    assert (world.server.count, world.keys.generation) == (3, 1), "the child has refreshed for itself"

assert [ended(pid) for pid in [child(work) for _ in range(4)]] == [0] * 4
world.server.gate.set()
settle()
get_in()
assert world.server.count == 2
"""

UNDER_LOAD = """
get_in()
token = world.token()
over = threading.Event()

def load():
    while not over.is_set():
        world.verifier.verify(token)

threads = [threading.Thread(target=load) for _ in range(4)]
for thread in threads:
    thread.start()
codes = [ended(child(get_in)) for _ in range(20)]
over.set()
for thread in threads:
    thread.join(PATIENCE)
assert codes == [0] * 20, codes
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize(
    "script",
    [AFTER_WARM_UP, COLD, IN_THE_AIR, REFRESH_IN_THE_AIR, UNDER_LOAD],
    ids=["after warm-up", "cold", "fetch in the air", "refresh in the air", "under load"],
)
def test_a_fork(script: str) -> None:
    """Whatever the parent's threads were doing, even holding the lock."""
    ended = run_script(PRELUDE + script)
    assert ended.returncode == 0, ended.stderr
