"""Fetched keys on a virtual clock: cold start, rotation, outages. Hours pass in milliseconds."""

import logging

import pytest

from clerkmap import ConfigurationError, KeysUnavailable, Resolver, Verifier
from clerkmap.clerk.jwks import RemoteKeys
from clerkmap.core.keys import LocalKeys
from clerkmap.errors import BadSignature, TokenError, UnknownKey
from clerkmap.repositories import MemoryRepository
from key_server import TROUBLES, World, settle

COOLDOWN, REFRESH, KEEP = 10, 300, 86_400


def test_nothing_is_fetched_before_the_first_token() -> None:
    """Making an instance, its keys and a verifier talks to nobody; one fetch then serves many tokens."""
    world = World()
    assert (world.server.count, world.keys.generation) == (0, 0)
    assert world.verifier.verify_nowait(world.token()) is None, "from memory alone nobody can tell"
    assert world.server.count == 0
    for _ in range(100):
        assert world.sign_in().subject == world.user.id
    assert world.server.urls == [f"{world.clerk.issuer}/.well-known/jwks.json"]
    assert world.keys.generation == 1


def test_who_has_no_good_token_costs_no_fetch() -> None:
    """What cannot be read, or is of a kind we refuse, is refused before any key is asked for."""
    world = World()
    user = world.user
    for token in ("", "a.b.c", world.clerk.token(user, header={"alg": "none"}), world.clerk.template_token(user)):
        with pytest.raises(TokenError):
            world.verifier.verify(token)
    assert world.server.count == 0


def test_the_settings_decide_where_keys_come_from() -> None:
    """Keys that were given are never fetched."""
    clerk = World().clerk
    assert isinstance(Verifier(clerk.instance).keys, LocalKeys)
    assert isinstance(Verifier(clerk.make_instance(jwks=None)).keys, RemoteKeys)
    with pytest.raises(ConfigurationError):
        RemoteKeys(clerk.instance, cooldown=0)


@pytest.mark.parametrize("kid", ["ins_another", None], ids=["new kid", "in place"])
@pytest.mark.parametrize("age", [0, 5, 9, 10, 11, 299, 301, 5_000])
def test_a_rotated_key_is_picked_up_within_one_cooldown(age: float, kid: str | None) -> None:
    """Whether the new key has a new id or the old one: its tokens work at most one cool-down after they first come."""
    world = World()
    world.sign_in()
    world.advance(age)
    world.clerk.rotate_key(kid)
    waited = 0
    while True:
        try:
            world.sign_in()
        except (BadSignature, UnknownKey):
            world.advance(1)
            waited += 1
        else:
            break
    assert waited == max(0, COOLDOWN - age)
    assert world.server.count == 2


@pytest.mark.parametrize("kid", ["ins_another", None], ids=["new kid", "in place"])
def test_the_old_key_is_refused_once_it_has_left(kid: str | None) -> None:
    """Until the first token of the new one, or the next refresh; then never again."""
    world = World()
    world.sign_in()
    old = world.clerk.key
    stale = old.sign({"alg": "RS256", "kid": old.kid}, world.verifier.verify(world.token()).payload)
    world.clerk.rotate_key(kid)
    world.advance(COOLDOWN)
    assert world.verifier.verify(stale).subject == world.user.id, "nobody has told us yet"
    world.sign_in()
    for _ in range(3):
        with pytest.raises(UnknownKey if kid else BadSignature):
            world.verifier.verify(stale)
    assert world.keys.generation == 2


def test_the_old_key_is_refused_after_a_refresh() -> None:
    """Nobody has a token of the new key, and somebody goes on using the old one: a refresh ends it."""
    world = World()
    stale = world.clerk.token(world.user, expires_in=4_000)
    resolver = Resolver(world.instance, MemoryRepository(), verifier=world.verifier, monotonic=world.monotonic)
    assert resolver.resolve(stale).user.clerk_id == world.user.id
    world.clerk.rotate_key("ins_another")
    for _ in range(2 * REFRESH // 10):
        world.advance(10)
        try:
            resolver.resolve(stale)
        except UnknownKey:
            break
        settle()
    with pytest.raises(UnknownKey):
        resolver.resolve(stale)
    with pytest.raises(UnknownKey):
        world.verifier.verify(stale)


def test_a_second_key_next_to_the_first() -> None:
    """While both are published, both work: nobody is signed out by a rotation that is done with care."""
    world = World()
    world.sign_in()
    old = world.clerk.key
    claims = world.verifier.verify(world.token()).payload
    new = world.clerk.rotate_key("ins_next")
    world.server.documents["/.well-known/jwks.json"] = {"keys": [old.jwk(), new.jwk()]}
    world.advance(COOLDOWN)
    world.sign_in()
    for key in (old, new, old, new):
        assert world.verifier.verify(key.sign({"alg": "RS256", "kid": key.kid}, claims)).subject == world.user.id
    assert world.server.count == 2


@pytest.mark.parametrize(
    ("outage", "step"),
    [(1, 0.25), (300, 5), (3_600, 30), (KEEP - 1, 600)],
    ids=["a second", "five minutes", "an hour", "a day but a second"],
)
@pytest.mark.parametrize("into", [0, REFRESH - 1])
def test_an_outage_is_invisible(outage: float, step: float, into: float) -> None:
    """Whose key is known gets in throughout, and after it everything is as before."""
    world = World()
    world.sign_in()
    world.advance(into)
    world.server.trouble = TROUBLES["connect timeout"]
    left = outage
    while left > 0:
        world.advance(min(step, left))
        left -= step
        assert world.sign_in().subject == world.user.id
    assert world.server.count <= 1 + outage / COOLDOWN + 1
    world.server.trouble = None
    world.advance(COOLDOWN)
    world.sign_in()
    assert world.keys.generation == 1, "the same keys came back: nothing is verified again"


def test_a_day_and_a_refresh_later_nobody_can_tell() -> None:
    """Keys out of date for more than a day are trusted no longer. That is our trouble, not the caller's."""
    world = World()
    world.sign_in()
    world.server.trouble = TROUBLES["500"]
    world.advance(REFRESH + KEEP)
    world.sign_in()
    world.advance(1)
    for pause in (0, 1, COOLDOWN, 1):
        world.advance(pause)
        with pytest.raises(KeysUnavailable) as caught:
            world.sign_in()
        assert not isinstance(caught.value, TokenError)
    world.server.trouble = None
    world.advance(COOLDOWN)
    assert world.sign_in().subject == world.user.id


def test_an_unknown_id_during_an_outage_is_no_ones_fault() -> None:
    """It may be the newest key: 503, not 401. Once the far end has answered, it is unknown."""
    world = World()
    stranger = world.clerk.token(world.user, header={"kid": "ins_never"}, expires_in=3_000)
    world.sign_in()
    with pytest.raises(UnknownKey):
        world.verifier.verify(stranger)
    world.server.trouble = TROUBLES["read timeout"]
    world.advance(COOLDOWN)
    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            world.verifier.verify(stranger)
    assert world.server.count == 2
    world.server.trouble = None
    world.advance(COOLDOWN)
    for _ in range(3):
        with pytest.raises(UnknownKey):
            world.verifier.verify(stranger)
    assert world.server.count == 3


@pytest.mark.parametrize("trouble", TROUBLES)
def test_no_kind_of_failure_costs_a_known_key(trouble: str, caplog: pytest.LogCaptureFixture) -> None:
    """The old key goes on serving, and the log tells that something is wrong, but nothing of what came."""
    world = World()
    world.sign_in()
    world.server.trouble = TROUBLES[trouble]
    world.advance(REFRESH)
    with caplog.at_level(logging.WARNING, "clerkmap"):
        for _ in range(3):
            world.sign_in()
    assert (world.server.count, world.keys.generation) == (2, 1)
    (told,) = [record.getMessage() for record in caplog.records if record.name.startswith("clerkmap")]
    assert world.instance.name in told
    world.advance(COOLDOWN)
    world.server.trouble = None
    world.sign_in()
    assert (world.server.count, world.keys.generation) == (3, 1)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_failing_cold_start_recovers_after_one_cooldown(trouble: str) -> None:
    """Without any key nobody gets in and nobody is blamed; one cool-down later everybody does."""
    world = World()
    world.server.trouble = TROUBLES[trouble]
    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            world.sign_in()
    assert world.server.count == 1
    world.server.trouble = None
    world.advance(COOLDOWN - 0.5)
    with pytest.raises(KeysUnavailable):
        world.sign_in()
    world.advance(0.5)
    assert world.sign_in().subject == world.user.id
    assert world.server.count == 2


def test_keys_that_vanish_for_a_second() -> None:
    """An empty document in the middle of a deployment takes no key away."""
    world = World()
    world.sign_in()
    world.advance(REFRESH)
    world.server.trouble = TROUBLES["no keys"]
    world.sign_in()
    world.advance(1)
    world.server.trouble = None
    for _ in range(20):
        world.advance(1)
        world.sign_in()
    assert (world.server.count, world.keys.generation) == (3, 1)


def test_the_wall_clock_has_no_say() -> None:
    """A machine whose clock is set back or forward by a year fetches no sooner and no later."""
    world = World()
    world.sign_in()
    for jump in (-31_536_000, 63_072_000, -31_536_000):
        world.wall.advance(jump)
        world.sign_in()
    assert world.server.count == 1
    world.monotonic.advance(REFRESH)
    world.sign_in()
    assert world.server.count == 2
