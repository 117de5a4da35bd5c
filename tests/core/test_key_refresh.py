"""Rotation, staleness and cool-down, as arithmetic: no socket, no thread, no clock but a number."""

from itertools import pairwise
from random import Random

import pytest

from clerkmap.core.key_refresh import FetchedKeys
from clerkmap.core.keys import KeySet, import_jwks
from clerkmap.errors import ConfigurationError, KeysUnavailable, UnknownKey
from clerkmap.testing import SigningKey

DAY = 86_400
NOW = 1_000.0


def keys(*pairs: str) -> KeySet:
    """Keys written as id and seed: `a1` is a key of id `a`, made from seed 1."""
    jwks = {"keys": [SigningKey(pair[1:], pair[0], "EdDSA").jwk() for pair in pairs]}
    return import_jwks(jwks, ["EdDSA"])


def warm(*pairs: str, now: float = NOW) -> FetchedKeys:
    """A fetched of the usual times that has just been filled."""
    fetched = FetchedKeys()
    fetched.begin_fetch(now)
    fetched.fetch_succeeded(keys(*pairs), now)
    return fetched


@pytest.mark.parametrize(
    ("refresh_after", "keep_for", "cooldown"),
    [
        (300, DAY, 0),
        (300, DAY, -1),
        (300, DAY, 301),
        (300, -1, 10),
        (0, DAY, 0),
        (-1, DAY, 10),
        (float("nan"), DAY, 10),
        (300, float("nan"), 10),
        (300, DAY, float("nan")),
    ],
)
def test_times_that_cannot_work_are_refused(refresh_after: float, keep_for: float, cooldown: float) -> None:
    """A cool-down of nothing is a flood, and one longer than the refresh would hold it up."""
    with pytest.raises(ConfigurationError, match="cooldown"):
        FetchedKeys(refresh_after=refresh_after, keep_for=keep_for, cooldown=cooldown)


@pytest.mark.parametrize(("refresh_after", "keep_for", "cooldown"), [(10, 0, 10), (0.5, 0, 0.1), (300, DAY, 300)])
def test_times_at_the_edge_are_taken(refresh_after: float, keep_for: float, cooldown: float) -> None:
    """The bounds themselves are good."""
    assert FetchedKeys(refresh_after=refresh_after, keep_for=keep_for, cooldown=cooldown).generation == 0


@pytest.mark.parametrize("kid", ["a", None])
def test_an_empty_ring_asks_first(kid: str | None) -> None:
    """Before the first answer nobody is told that a key is unknown."""
    fetched = FetchedKeys()
    assert fetched.find_or_fetch_first(kid, None, NOW) is None
    fetched.begin_fetch(NOW)
    assert fetched.find_or_fetch_first(kid, None, NOW + 1) is None, "whoever comes meanwhile waits for the same answer"
    fetched.fetch_failed()
    with pytest.raises(KeysUnavailable):
        fetched.find_or_fetch_first(kid, None, NOW + 9.99)
    assert fetched.find_or_fetch_first(kid, None, NOW + 10) is None, "allowed again after the cool-down"


def test_a_key_in_hand_is_served_whatever_goes_on() -> None:
    """While asking, after failing, when old: until its replacement is there."""
    fetched = warm("a1")
    key = fetched.find_or_fetch_first("a", None, NOW)
    assert key is not None
    assert fetched.find_or_fetch_first("a", None, NOW + 5_000) is key
    fetched.begin_fetch(NOW + 5_000)
    assert fetched.find_or_fetch_first("a", None, NOW + 5_001) is key
    fetched.fetch_failed()
    assert fetched.find_or_fetch_first("a", None, NOW + 5_002) is key
    assert fetched.find_or_fetch_first(None, None, NOW + 5_002) is key, "a token without a key id means the only key"


def test_an_unknown_id_is_asked_for_once_per_cooldown() -> None:
    """Inside the cool-down it is unknown; after it, somebody may look; once somebody has, it is unknown again."""
    fetched = warm("a1")
    with pytest.raises(UnknownKey):
        fetched.find_or_fetch_first("b", None, NOW + 9.99)
    assert fetched.find_or_fetch_first("b", None, NOW + 10) is None
    fetched.begin_fetch(NOW + 10)
    assert fetched.find_or_fetch_first("b", None, NOW + 10) is None
    fetched.fetch_succeeded(keys("a1"), NOW + 11)
    with pytest.raises(UnknownKey):
        fetched.find_or_fetch_first("b", None, NOW + 19.99)
    assert fetched.find_or_fetch_first("b", None, NOW + 20) is None, "the cool-down runs from the start of the fetch"


def test_an_unknown_id_during_an_outage_is_nobodys_fault() -> None:
    """What could not be looked up is not unknown; after the next good answer it is."""
    fetched = warm("a1")
    fetched.begin_fetch(NOW + 10)
    fetched.fetch_failed()
    with pytest.raises(KeysUnavailable):
        fetched.find_or_fetch_first("b", None, NOW + 11)
    fetched.begin_fetch(NOW + 20)
    fetched.fetch_succeeded(keys("a1"), NOW + 20)
    with pytest.raises(UnknownKey):
        fetched.find_or_fetch_first("b", None, NOW + 21)


def test_several_keys_leave_a_token_without_id_unknown() -> None:
    """Only where there is one key can a token do without naming it."""
    fetched = warm("a1", "b2")
    with pytest.raises(UnknownKey):
        fetched.find_or_fetch_first(None, None, NOW + 1)


def test_a_rejected_key_is_asked_for_anew() -> None:
    """A bad signature asks for the key again, once per cool-down; otherwise the same key comes back."""
    fetched = warm("a1")
    key = fetched.find_or_fetch_first("a", None, NOW)
    assert fetched.find_or_fetch_first("a", key, NOW + 9.99) is key
    assert fetched.find_or_fetch_first("a", key, NOW + 10) is None
    fetched.begin_fetch(NOW + 10)
    assert fetched.find_or_fetch_first("a", key, NOW + 10) is None, "a fetch is under way and may tell"
    fetched.fetch_succeeded(keys("a1"), NOW + 11)
    assert fetched.find_or_fetch_first("a", key, NOW + 11) is key, "the same key again: the signature is bad"
    fetched.begin_fetch(NOW + 20)
    fetched.fetch_succeeded(keys("a2"), NOW + 20)
    newer = fetched.find_or_fetch_first("a", key, NOW + 20)
    assert newer is not None
    assert newer is not key
    assert fetched.find_or_fetch_first("a", newer, NOW + 20) is newer


def test_a_rejected_key_during_an_outage_comes_back() -> None:
    """The key that is known has spoken: a bad signature stays bad while the far end is away."""
    fetched = warm("a1")
    key = fetched.find_or_fetch_first("a", None, NOW)
    fetched.begin_fetch(NOW + 10)
    fetched.fetch_failed()
    assert fetched.find_or_fetch_first("a", key, NOW + 11) is key


@pytest.mark.parametrize(
    ("expected", "age"), [(False, 0), (False, 299.99), (True, 300), (True, 86_400), (True, 1_000_000)]
)
def test_a_refresh_is_due_by_age(expected: bool, age: float) -> None:
    """Keys are asked for again once they are as old as `refresh_after`."""
    assert warm("a1").is_refresh_due(NOW + age) is expected


def test_a_refresh_is_due_once() -> None:
    """Not while one is under way, and after a failed one not before the cool-down is over."""
    fetched = warm("a1")
    fetched.begin_fetch(NOW + 300)
    assert not fetched.is_refresh_due(NOW + 300)
    assert not fetched.is_refresh_due(NOW + 900), "still under way"
    fetched.fetch_failed()
    assert not fetched.is_refresh_due(NOW + 309.99)
    assert fetched.is_refresh_due(NOW + 310)
    fetched.begin_fetch(NOW + 310)
    fetched.fetch_succeeded(keys("a1"), NOW + 311)
    assert not fetched.is_refresh_due(NOW + 610.99), "age counts from the answer"
    assert fetched.is_refresh_due(NOW + 611)


def test_a_key_out_of_date_for_too_long_is_no_longer_served() -> None:
    """A day beyond its refresh the key still serves; after that nobody knows, until the far end is back."""
    fetched = warm("a1")
    last = NOW + 300 + DAY
    fetched.begin_fetch(last - 1)
    fetched.fetch_failed()
    key = fetched.find_or_fetch_first("a", None, last)
    assert key is not None
    with pytest.raises(KeysUnavailable):
        fetched.find_or_fetch_first("a", None, last + 1)
    with pytest.raises(KeysUnavailable):
        fetched.find_or_fetch_first("a", key, last + 1)
    assert fetched.find_or_fetch_first("a", None, last + 9) is None, "one may ask"
    fetched.begin_fetch(last + 9)
    fetched.fetch_succeeded(keys("a1"), last + 9)
    assert fetched.find_or_fetch_first("a", None, last + 9) is key


@pytest.mark.parametrize(
    ("expected", "second"),
    [(1, ("a1", "b2")), (1, ("b2", "a1")), (2, ("a1",)), (2, ("a2", "b2")), (2, ("a1", "b2", "c3")), (2, ("b1", "a2"))],
)
def test_the_generation_grows_with_each_change(expected: int, second: tuple[str, ...]) -> None:
    """The same keys in another order are the same keys: nothing that was verified is verified again."""
    fetched = warm("a1", "b2")
    fetched.begin_fetch(NOW + 10)
    fetched.fetch_succeeded(keys(*second), NOW + 10)
    assert fetched.generation == expected


@pytest.mark.parametrize("seed", range(8))
def test_no_history_asks_more_often_than_once_per_cooldown(seed: int) -> None:
    """Whatever is asked for in whatever order, a good key is served, and questions are a cool-down apart."""
    random = Random(seed)
    fetched, now, asked, asking = warm("a1"), NOW, [NOW], False
    good = fetched.find_or_fetch_first("a", None, now)
    for _ in range(3_000):
        now += random.choice([0, 0, 0.1, 1, 7, 400])
        rejected = good if random.random() < 0.3 else None
        try:
            answer = fetched.find_or_fetch_first(random.choice(["a", "b", None]), rejected, now)
        except (UnknownKey, KeysUnavailable):
            continue
        if answer is None and not asking:
            fetched.begin_fetch(now)
            asked.append(now)
            asking = True
        elif asking and random.random() < 0.5:
            asking = False
            if random.random() < 0.5:
                fetched.fetch_succeeded(keys("a1"), now)
            else:
                fetched.fetch_failed()
        assert fetched.find_or_fetch_first("a", None, now) is good
    assert min(later - earlier for earlier, later in pairwise(asked)) >= 10
    assert len(asked) > 10


def test_a_lost_question_may_be_asked_again_at_once() -> None:
    """What a child process inherits of a fetch in the air is forgotten, its cool-down too."""
    fetched = FetchedKeys()
    fetched.begin_fetch(0)

    fetched.forget_fetch()

    assert fetched.find_or_fetch_first("a", None, 1) is None
    fetched.begin_fetch(1)
    assert not fetched.is_refresh_due(1)


def test_a_ring_is_empty_until_keys_were_in_hand() -> None:
    """It is what tells a service that may begin from one that may not."""
    assert FetchedKeys().is_empty
    assert not warm("k1=1").is_empty
