"""What is remembered of an opaque token, for how long, and what no stranger can do to it."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from conftest import Listener

from clerkmap import LockedOut
from clerkmap._runtime.bounded import Bounded
from clerkmap.adapters.authenticator import Authenticator
from clerkmap.clerk.budget import Budget
from clerkmap.clerk.opaque_tokens import AWAY_FOR, MOST_FLIGHTS, REFUSED_FOR
from clerkmap.core.records import ClerkUser
from clerkmap.errors import ApiUnavailable, TokenUnknown, UserBanned, UserDeleted
from opaque_world import PATIENCE, World


def made_up(number: int) -> str:
    return f"ak_{number:032}"


def test_clerk_is_asked_once_a_minute() -> None:
    """In between, memory answers, and to the second: not a moment longer."""
    world = World()
    secret = world.clerk.create_api_key(world.ann).secret
    assert world.resolver.resolve_nowait(secret) is None
    user = world.resolver.resolve(secret).user
    assert [world.resolver.resolve(secret).user for _ in range(3)] == [user] * 3
    world.advance(59)
    assert world.resolver.resolve(secret).user == user
    assert world.resolver.resolve_nowait(secret) is not None
    assert world.api.count == 1
    world.advance(1)
    assert world.resolver.resolve_nowait(secret) is None
    assert world.resolver.resolve(secret).user == user
    assert world.api.count == 2


def test_a_clock_that_is_set_back_makes_nothing_last_longer() -> None:
    """What is remembered is measured by both clocks."""
    world = World()
    secret = world.clerk.create_api_key(world.ann).secret
    world.verifier.verify(secret)
    world.monotonic.advance(61)
    world.clock.advance(-30)
    assert world.verifier.verify_nowait(secret) is None


def test_a_revoked_one_is_refused_within_the_minute() -> None:
    """As late as the memory is old, and for good."""
    world = World()
    key = world.clerk.create_api_key(world.ann)
    world.resolver.resolve(key.secret)
    world.clerk.revoke_machine_token(key)
    world.resolver.resolve(key.secret)
    world.advance(60)
    for _ in range(2):
        with pytest.raises(TokenUnknown):
            world.resolver.resolve(key.secret)
    with pytest.raises(TokenUnknown):
        world.resolver.resolve_nowait(key.secret)
    assert world.api.count == 2


def test_none_outlives_its_own_end() -> None:
    """Not even by the minute, or by the seconds that clocks may differ."""
    world = World()
    secret = world.clerk.create_api_key(world.ann, expires_in=20).secret
    assert world.resolver.resolve(secret).claims.expires_at == int(world.clock()) + 20
    world.advance(20)
    assert world.resolver.resolve_nowait(secret) is None
    world.advance(1)  # a token is made a few milliseconds later than asked for
    with pytest.raises(TokenUnknown):
        world.resolver.resolve(secret)


def test_a_lock_out_counts_at_once() -> None:
    """Although Clerk's word on the key is still good, and nobody is asked again."""
    for said, error in (({"banned": True}, UserBanned), (None, UserDeleted)):
        world = World()
        secret = world.clerk.create_api_key(world.ann).secret
        world.resolver.resolve(secret)
        name, now = world.instance.name, world.clerk.moment() + 1
        record = (
            ClerkUser.deleted(name, world.ann.id, observed_at=now)
            if said is None
            else world.clerk.record(world.ann, **said)
        )
        world.repository.put([record])
        for resolve in (world.resolver.resolve, world.resolver.resolve_nowait):
            with pytest.raises(LockedOut) as caught:
                resolve(secret)
            assert type(caught.value) is error
        assert world.api.count == 1


def test_a_token_that_clerk_does_not_know_is_asked_about_once_in_a_while() -> None:
    """Whoever repeats it makes no traffic; and made meanwhile, it works soon."""
    world = World()
    key = world.clerk.create_api_key(world.ann)
    del world.clerk.machine_tokens[key.secret]
    for _ in range(20):
        with pytest.raises(TokenUnknown):
            world.resolver.resolve(key.secret)
    assert world.api.count == 1
    world.clerk.machine_tokens[key.secret] = key
    world.advance(REFUSED_FOR)
    assert world.resolver.resolve(key.secret).user.clerk_id == world.ann.id


def test_an_outage_is_no_refusal_and_is_over_when_it_is_over() -> None:
    """503 meanwhile, also for a key that was good a minute ago; a question a second at most for each."""
    world = World()
    secret = world.clerk.create_api_key(world.ann).secret
    world.resolver.resolve(secret)
    world.advance(60)
    world.api.trouble = lambda _: httpx.Response(500, json={"errors": []})
    for _ in range(20):
        with pytest.raises(ApiUnavailable):
            world.resolver.resolve(secret)
    assert world.api.count == 2
    world.api.trouble = None
    world.advance(AWAY_FOR)
    assert world.resolver.resolve(secret).user.clerk_id == world.ann.id


def test_a_flood_of_made_up_tokens_is_a_trickle_of_questions() -> None:
    """Beyond their budget strangers are turned away unasked, and a known key does not notice them."""
    world = World()
    world.opaque._strangers = Budget(50, world.monotonic)
    ours = world.clerk.create_api_key(world.ann).secret
    world.resolver.resolve(ours)
    codes: dict[str, int] = {}
    for second in range(60):
        for number in range(200):
            try:
                world.resolver.resolve(made_up(second * 200 + number))
            except (TokenUnknown, ApiUnavailable) as error:
                codes[error.code] = codes.get(error.code, 0) + 1
        world.advance(1)
        assert world.resolver.resolve(ours).user.clerk_id == world.ann.id
    assert sum(codes.values()) == 12_000
    assert codes["token_unknown"] <= 10 + 3.5 * 60
    assert world.api.count <= codes["token_unknown"] + 3


def test_strangers_do_not_fill_the_memory() -> None:
    """Nor do they push out of it who is known."""
    world = World(keep=64)
    ours = world.clerk.create_api_key(world.ann).secret
    world.resolver.resolve(ours)
    for number in range(500):
        with pytest.raises(TokenUnknown):
            world.resolver.resolve(made_up(number))
    assert len(world.opaque._bad) <= 64
    world.resolver.resolve(ours)
    assert world.api.count == 501


def test_strangers_leave_room_for_questions_about_known_keys() -> None:
    """Where Clerk is slow, they tie up half of the threads at most."""
    world = World()
    ours = world.clerk.create_api_key(world.ann).secret
    world.resolver.resolve(ours)
    world.advance(60)
    world.api.gate.clear()
    with ThreadPoolExecutor(MOST_FLIGHTS) as pool:
        waiting = [pool.submit(world.resolver.resolve, made_up(number)) for number in range(MOST_FLIGHTS // 2)]
        while world.api.count < 1 + MOST_FLIGHTS // 2:
            time.sleep(0.01)
        with pytest.raises(ApiUnavailable):
            world.resolver.resolve(made_up(9999))
        known = pool.submit(world.resolver.resolve, ours)
        world.api.gate.set()
        assert known.result(PATIENCE).user.clerk_id == world.ann.id
        assert all(isinstance(each.exception(PATIENCE), TokenUnknown) for each in waiting)


def test_no_token_is_kept_told_or_logged(listener: Listener) -> None:
    """Only its digest: it may be good for years. Neither in a repr, nor in an error and its causes, nor in memory."""
    world = World()
    key = world.clerk.create_api_key(world.ann)
    secret = key.secret.encode()
    world.resolver.resolve(key.secret)
    scope = {"type": "http", "method": "GET", "headers": [(b"authorization", b"Bearer " + secret)]}
    authenticator = Authenticator(world.resolver)
    assert asyncio.run(authenticator.aidentify_scope(scope)).error is None
    assert authenticator.identify_cached(scope["headers"]) is None  # type: ignore[arg-type]
    world.api.trouble = lambda request: (_ for _ in ()).throw(httpx.ReadError(request.content.decode()))
    world.advance(60)
    with pytest.raises(ApiUnavailable) as caught:
        world.resolver.resolve(key.secret)
    error: BaseException | None = caught.value
    told = [repr(world.opaque), repr(world.opaque._good), *map(repr, world.opaque._good.values()), *listener.lines]
    while error is not None:
        told += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    assert key.secret not in " ".join(told)
    assert world.ann.id not in " ".join(told)
    memories: list[Bounded[Any, Any]] = [
        world.resolver._tokens,
        authenticator._headers,
        world.opaque._good,
        world.opaque._bad,
    ]
    assert [len(each) for each in memories] == [0, 0, 1, 1]
    assert key.secret not in " ".join(str(item) for each in memories for item in each.items())
