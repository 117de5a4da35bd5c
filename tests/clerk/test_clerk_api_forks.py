"""A process that asks Clerk's API may fork at any moment: nobody reads another's answer, and no child hangs."""

import os

import pytest

from forking import run_script

# Run in a process of its own, which has no threads but those made here.
SCRIPT = """
import asyncio, os, signal, sys, threading
sys.path.insert(0, sys.argv[1])
from forking import child, ended
from clerkmap.clerk import AsyncClerkApi, ClerkApi, endpoints
from clerkmap.clerk.budget import Budget
from clerkmap.testing import FakeClerk
from uvicorn_server import PATIENCE, serving
import time

clerk = FakeClerk(41)
people = [clerk.create_user().id for _ in range(6)]
with serving(clerk.app) as (host, port):
    instance = clerk.make_instance(api_url=f"http://{host}:{port}")
    api = ClerkApi(instance, budget=Budget(1e6, time.monotonic))
    other = AsyncClerkApi(instance, budget=api.budget)

    def ask_all(order):
        for id in order:
            assert api.send(endpoints.user(id))["id"] == id

    async def ask_one(id):
        return (await other.send(endpoints.user(id)))["id"]

    async def warmed():
        return await ask_one(people[0])

    def in_the_child():
        ask_all(people[::-1])
        assert asyncio.run(ask_one(people[3])) == people[3]

    ask_all(people)  # a connection is open now, and stays so
    assert asyncio.run(warmed()) == people[0]
    children = [child(in_the_child) for _ in range(3)]
    ask_all(people * 3)
    assert [ended(pid) for pid in children] == [0] * 3
    ask_all(people)

    over = threading.Event()

    def load():
        while not over.is_set():
            ask_all(people)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    codes = [ended(child(in_the_child)) for _ in range(3)]
    over.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert codes == [0] * 3, codes

    # The lock of the budget is held by somebody who stays behind.
    with api.budget._lock:
        held = child(in_the_child)
    assert ended(held) == 0
    api.close()
print("good")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork() -> None:
    """With connections open, under load, and with the budget's lock held."""
    ended = run_script(SCRIPT)
    assert (ended.returncode, ended.stdout) == (0, "good\n"), ended.stderr
