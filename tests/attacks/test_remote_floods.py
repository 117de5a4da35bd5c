"""A stranger cannot turn tokens into traffic, nor into memory, nor push anybody out."""

import gc
import json
import math
import threading
import tracemalloc
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from random import Random

import pytest

from clerkmap import KeysUnavailable
from clerkmap.errors import TokenError
from key_server import TROUBLES, World

COOLDOWN = 10


def part(value: object) -> str:
    """One part of a token."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def hostile(world: World, seed: int = 0) -> dict[str, Callable[[], str]]:
    """Tokens that nobody signed for us, each call another one."""
    random = Random(seed)
    payload = world.token().split(".")[1]
    expired = [world.clerk.token(world.user, expires_in=1 - 600, claims={"iat": 1, "nbf": 1}) for _ in range(8)]
    good_header = {"alg": "RS256", "kid": world.clerk.key.kid, "typ": "JWT", "cat": "cl_B7d4PD111AAA"}

    def forged(header: Mapping[str, object]) -> str:
        return f"{part(header)}.{payload}.{part(random.randbytes(256))}"

    makers: dict[str, Callable[[], str]] = {
        "unknown kid": lambda: forged(good_header | {"kid": random.randbytes(50).hex()}),
        "missing kid": lambda: forged({"alg": "RS256", "typ": "JWT"}),
        "bad signature": lambda: forged(good_header),
        "expired": lambda: random.choice(expired),
        "malformed": lambda: forged(good_header)[: random.randrange(600)],
        "kid as an address": lambda: forged(good_header | {"kid": f"https://evil.example/{random.random()}"}),
        "another issuer": lambda: f"{part(good_header)}.{part({'iss': 'https://evil.example'})}.{part(b'x' * 256)}",
        "jku": lambda: forged(good_header | {"jku": "https://evil.example/jwks"}),
    }
    return makers | {"mixed": lambda: random.choice(list(makers.values()))()}


KINDS = [
    "unknown kid",
    "missing kid",
    "bad signature",
    "expired",
    "malformed",
    "kid as an address",
    "another issuer",
    "jku",
    "mixed",
]
FLOODS = [*((kind, 600) for kind in KINDS), pytest.param("mixed", 100_000, marks=pytest.mark.slow)]


def flood(world: World, make: Callable[[], str], count: int, seconds: float) -> Iterator[type[Exception]]:
    """So many hostile tokens, evenly over so many seconds."""
    for _ in range(count):
        world.advance(seconds / count)
        try:
            world.verifier.verify(make())
        except (TokenError, KeysUnavailable) as refusal:
            yield type(refusal)
        else:
            raise AssertionError("a hostile token was let in")


@pytest.mark.parametrize("trouble", [None, "500", "no keys"])
@pytest.mark.parametrize(("kind", "count"), FLOODS)
def test_a_flood_is_one_fetch_per_cooldown(kind: str, count: int, trouble: str | None) -> None:
    """With the far end up or down; and the people whose key is known get in throughout."""
    world, seconds = World(), 600
    world.sign_in()
    world.server.trouble = None if trouble is None else TROUBLES[trouble]
    make = hostile(world)[kind]
    for number, _ in enumerate(flood(world, make, count, seconds)):
        if number % 50 == 0:
            assert world.verifier.verify(world.token()).subject == world.user.id
    world.sign_in()
    assert 1 <= world.server.count <= 1 + math.ceil(seconds / COOLDOWN)
    assert set(world.server.urls) == {world.instance.jwks_url}


@pytest.mark.parametrize("kind", KINDS)
def test_a_flood_on_a_cold_start_with_the_far_end_down(kind: str) -> None:
    """Nothing is known and nothing can be had: still one fetch per cool-down, and then the user gets in."""
    world, seconds = World(), 120
    world.server.trouble = TROUBLES["connection refused"]
    list(flood(world, hostile(world)[kind], 500, seconds))
    assert world.server.count <= 1 + math.ceil(seconds / COOLDOWN)
    world.server.trouble = None
    world.advance(COOLDOWN)
    assert world.sign_in().subject == world.user.id


@pytest.mark.parametrize("cooldown", [1, 60, 300])
def test_the_cooldown_is_yours_to_choose(cooldown: float) -> None:
    """One fetch for each, to the second."""
    world = World(cooldown=cooldown)
    world.sign_in()
    list(flood(world, hostile(world)["unknown kid"], 1_200, 600))
    assert world.server.count == 1 + 600 / cooldown


def test_a_flood_from_64_threads_in_one_moment() -> None:
    """No time passes, so there is one fetch, however many ask for however many keys."""
    world = World()
    failures: list[BaseException] = []

    def attack(seed: int) -> None:
        try:
            list(flood(world, makers[seed], 60, 0))
        except BaseException as failure:  # told in the main thread
            failures.append(failure)

    makers = [hostile(world, seed)["mixed"] for seed in range(64)]
    threads = [threading.Thread(target=attack, args=(seed,)) for seed in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert world.server.count == 1
    assert world.sign_in().subject == world.user.id


@pytest.mark.parametrize("kind", ["unknown kid", "bad signature", "mixed"])
def test_a_flood_leaves_nothing_behind(kind: str) -> None:
    """Thousands of strangers' key ids are not remembered anywhere."""
    world = World()
    world.sign_in()
    make = hostile(world)[kind]
    list(flood(world, make, 500, 100))
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        deque(flood(world, make, 2_000, 100), maxlen=0)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 100_000, "less than the ids alone would take"
