"""How often Clerk is asked: at most nine tenths of its limit in any ten seconds, whoever asks and however they wait."""

import asyncio
import threading
import time
from bisect import bisect_right

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill_world import plenty
from clerk_api_world import NOON, Answer, Far, World, answer
from clerkmap import Instance
from clerkmap.clerk import AsyncClerkApi, ClerkApi, endpoints
from clerkmap.clerk.budget import DEVELOPMENT, PRODUCTION, WINDOW, Budget, shared_budget
from clerkmap.errors import ApiUnavailable
from clerkmap.testing import Clock, FakeClerk

ROUNDING = 1e-6  # of a clock that counts since 1970, and of sums on it
# Seconds that pass: little, or so much that all of the burst is there again.
PASSING = st.one_of(st.floats(0, 0.3), st.floats(0, 25), st.just(WINDOW))
# Somebody asks once, many do, time passes, Clerk says to wait, or somebody who was to wait wakes far too late.
HAPPENING = st.one_of(
    st.tuples(st.just("ask"), st.integers(1, 200)),
    st.tuples(st.just("pass"), PASSING),
    st.tuples(st.just("pause"), st.floats(0, 60)),
    st.tuples(st.just("wait and ask"), st.integers(1, 120)),
)


def most_in_a_window(times: list[float]) -> int:
    """The most of these that lie within ten seconds, both ends included."""
    return max((bisect_right(times, each + WINDOW - ROUNDING) - place for place, each in enumerate(times)), default=0)


@given(st.lists(HAPPENING, max_size=25), st.sampled_from([10, 100, 1000]), st.sampled_from([0.0, 5e4, NOON]))
def test_never_more_than_nine_tenths(story: list[tuple[str, float]], limit: int, start: float) -> None:
    """In any ten seconds, whatever happens in which order; and never during a pause."""
    clock = Clock(start)
    budget = Budget(limit, clock)
    times: list[float] = []
    paused_until = start
    for what, much in story:
        if what == "pass":
            clock.advance(much)
        elif what == "pause":
            budget.pause(much)
            paused_until = max(paused_until, clock() + much)
        else:
            for _ in range(int(much)):
                while wait := budget.take():
                    if what == "ask":
                        break
                    clock.advance(wait)
                else:
                    assert clock() >= paused_until - ROUNDING
                    times.append(clock())
    assert most_in_a_window(times) <= limit * 0.9


@pytest.mark.parametrize("limit", [DEVELOPMENT, PRODUCTION])
def test_it_is_used_up(limit: int) -> None:
    """Whoever has much to ask gets a fifth at once, and seven tenths in every ten seconds."""
    clock = Clock(NOON)
    budget = Budget(limit, clock)
    at_once = 0
    while not budget.take():
        at_once += 1
    assert limit * 0.2 - 1 <= at_once <= limit * 0.2
    granted, ends = 0, clock() + 100
    while clock() < ends:
        wait = budget.take()
        granted += not wait
        clock.advance(wait)
    assert limit * 6.5 <= granted <= limit * 7  # each wait is a thousandth of a second at least


def test_after_a_pause_they_begin_slowly() -> None:
    """Clerk has just said that it was too much: nobody bursts in when the pause is over."""
    clock = Clock(NOON)
    budget = Budget(100, clock)
    clock.advance(100)
    budget.pause(30)
    budget.pause(5)  # a shorter one does not end a longer one
    assert budget.take() == pytest.approx(30)
    clock.advance(30.001)
    assert budget.take() == 0
    assert budget.take() == pytest.approx(WINDOW / 70, abs=0.01)


@pytest.mark.parametrize("limit", [0.5, 1, 2, 5])
def test_a_small_limit(limit: float) -> None:
    """Always one at a time, and never none."""
    clock = Clock(NOON)
    budget = Budget(limit, clock)
    assert budget.take() == 0
    wait = budget.take()
    assert wait == pytest.approx(WINDOW / (limit * 0.7))
    clock.advance(wait + 0.001)
    assert budget.take() == 0


def test_one_instance_has_one_budget() -> None:
    """Shared by both colours and by every copy of an instance; not by another key, another address or another clock."""
    clerk, clock = FakeClerk(21), Clock(NOON)
    apis: list[ClerkApi | AsyncClerkApi] = [
        *(ClerkApi(clerk.instance, transport=clerk.transport(), clock=clock) for _ in range(2)),
        AsyncClerkApi(clerk.make_instance(jwks=None, name="copy"), transport=clerk.transport(), clock=clock),
    ]
    (budget,) = {api.budget for api in apis}
    others = {
        shared_budget(clerk.instance, Clock(NOON)),
        shared_budget(FakeClerk(22).instance, clock),
        shared_budget(clerk.make_instance(api_url="http://127.0.0.1:4400"), clock),
    }
    assert len(others - {budget}) == 3


class EqualClock(Clock):
    """A clock that equals every other one, so that Python gives it no hash."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EqualClock)


def test_a_clock_without_a_hash() -> None:
    """It has a budget of its own, for all who go by it."""
    instance = FakeClerk(23).instance
    one, other = EqualClock(NOON), EqualClock(NOON)
    assert shared_budget(instance, one) is shared_budget(instance, one)
    assert shared_budget(instance, one) is not shared_budget(instance, other)
    assert shared_budget(instance, one.__call__) is shared_budget(instance, one.__call__)


@pytest.mark.parametrize(("kind", "limit"), [("test", 100), ("live", 1000)])
def test_the_limit_is_the_instances(kind: str, limit: int) -> None:
    """A production instance may be asked ten times as often."""
    clock = Clock(NOON)
    instance = Instance(issuer="https://a.example", secret_key=f"sk_{kind}_" + "a" * 20)
    budget = shared_budget(instance, clock)
    taken = 0
    while not budget.take():
        taken += 1
    assert limit * 0.2 - 1 <= taken <= limit * 0.2


def test_clerks_limit_is_never_met() -> None:
    """A thousand questions in a row, at a Clerk that counts: none is refused, and they take as long as they must."""
    world = World()
    world.clerk.faults.rate_limit = True
    world.options["budget"] = Budget(DEVELOPMENT, world.clock)
    for _ in range(1000):
        assert world.send(endpoints.user_count()) == 0
    assert len(world.clerk.api.requests) == 1000
    assert world.clock() - NOON == pytest.approx(980 / 7, rel=0.05)


def test_threads_share_it() -> None:
    """Thirty threads and two apis, in real time: what reaches Clerk stays within nine tenths."""
    clerk = FakeClerk(24)
    times: list[float] = []
    lock = threading.Lock()

    budget = Budget(1000, time.monotonic)
    transport = clerk.transport()

    class Noting(Far):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            with lock:
                times.append(time.monotonic())
            return transport.handle_request(request)

    far = Noting(answer())
    ClerkApi(clerk.instance, transport=far, budget=plenty()).check()
    times.clear()
    apis = [ClerkApi(clerk.instance, transport=far, budget=budget) for _ in range(2)]

    def work(number: int) -> None:
        for _ in range(10):
            apis[number % 2].send(endpoints.user_count())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(times) == 300
    assert most_in_a_window(sorted(times)) <= 900
    # 200 of them at once, and the others one by one.
    assert max(times) - min(times) >= 90 * WINDOW / 700


def test_a_pause_is_a_pause_for_all() -> None:
    """One is told to wait seven seconds; whoever else would ask meanwhile waits as well, in line already or not."""
    world = World()
    budget = Budget(10, world.clock)
    times: list[float] = []

    def checkpoint(status: int) -> Answer:
        def said(request: httpx.Request) -> httpx.Response:
            times.append(world.clock() - NOON)
            return answer(b'{"total_count":0}', status, retry_after="7")(request)

        return said

    far = Far(checkpoint(200), checkpoint(200), checkpoint(429), checkpoint(200))
    far.keys = world.clerk.jwks()
    ClerkApi(world.clerk.instance, transport=far, budget=plenty()).check()
    world.options |= {"budget": budget, "transport": far}
    waiting = budget.take(), budget.take(), budget.take()
    assert waiting[2] > 0  # this one was told to come again before the pause
    world.send(endpoints.user_count())
    world.send(endpoints.user_count())
    before = world.clock() - NOON
    world.send(endpoints.user_count())
    told = times[2]
    assert before <= told
    assert times[3] >= told + 7
    assert budget.take() > 0


def test_many_tasks_all_get_their_turn() -> None:
    """Two hundred tasks on one loop, more than the burst: all are answered, and Clerk refuses none."""
    clerk = FakeClerk(25)
    clerk.faults.rate_limit = True
    clerk.faults.limit = 1000

    async def all_of_them() -> list[int]:
        async with AsyncClerkApi(
            clerk.instance, transport=clerk.transport(), budget=Budget(500, time.monotonic)
        ) as api:
            return list(await asyncio.gather(*(api.send(endpoints.user_count()) for _ in range(150))))

    assert asyncio.run(all_of_them()) == [0] * 150
    assert list(clerk.api.requests).count("GET /v1/users/count") == 150


def test_whoever_gives_up_takes_nothing_along() -> None:
    """A question that would wait longer than its patience is given up at once, unasked, and costs no place."""
    world = World(patience=5)
    budget = Budget(1, world.clock)
    world.options["budget"] = budget
    assert world.send(endpoints.user_count()) == 0
    for _ in range(3):
        with pytest.raises(ApiUnavailable, match="too many requests are waiting"):
            world.send(endpoints.user_count())
    assert len(world.clerk.api.requests) == 1
    assert world.waits == []
    world.clock.advance(WINDOW / 0.7)
    assert budget.take() == 0
