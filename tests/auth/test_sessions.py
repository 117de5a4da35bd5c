"""Locked out at once: a session that was revoked, ended or removed, in this process and in others."""

import asyncio
import multiprocessing
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clerkmap import (
    AsyncRepository,
    ClerkUser,
    Event,
    Instance,
    LockedOut,
    Reconciler,
    Repository,
    Resolver,
    Verifier,
    parse_event,
    threaded,
)
from clerkmap.core.claims import TokenKind
from clerkmap.core.records import ClerkSession
from clerkmap.errors import ConfigurationError, LifetimeRefused, SessionEnded, TokenExpired, UserDeleted
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.testing import Clock, FakeClerk, FakeSession
from clerkmap.testing.fake.users import SessionEnd

NOW = 1_790_000_000
CLERK = FakeClerk(clock=Clock(NOW))
INSTANCE = CLERK.instance
ANN, BEA = CLERK.create_user(), CLERK.create_user()


def resolver(repository: Repository | AsyncRepository, clock: Any = time.monotonic) -> Resolver:
    return Resolver(INSTANCE, repository, verifier=Verifier(INSTANCE, clock=CLERK.clock), monotonic=clock)


def over(session: FakeSession, what: SessionEnd = "revoked", clerk: FakeClerk = CLERK) -> Event:
    """What Clerk says when a session ends."""
    clerk.end_session(session, what)
    *_, last = clerk.deliveries()
    return parse_event(last.body)


def repository(kind: str, path: Path) -> Any:
    return MemoryRepository(clock=CLERK.clock) if kind == "memory" else SqliteRepository.open(path, clock=CLERK.clock)


DAY = 86_400


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_token_never_outlives_the_end_of_its_session(kind: str, tmp_path: Path) -> None:
    """One of 28 days is refused to its last second; one that lives longer is refused at once, in every way."""
    clerk = FakeClerk(7, clock=Clock(NOW))
    rows = (
        MemoryRepository(clock=clerk.clock)
        if kind == "memory"
        else SqliteRepository.open(tmp_path / "app.db", clock=clerk.clock)
    )
    ours = Resolver(clerk.instance, rows, verifier=clerk.verifier())
    user = clerk.create_user()
    session = clerk.sign_in(user)
    longest = clerk.token(user, session=session, expires_in=28 * DAY)
    too_long = clerk.token(user, session=session, expires_in=28 * DAY + 1)
    ours.resolve(longest)
    with pytest.raises(LifetimeRefused):
        ours.resolve(too_long)
    with pytest.raises(LifetimeRefused):
        ours.resolve_nowait(too_long)
    with pytest.raises(LifetimeRefused):
        asyncio.run(ours.aresolve(too_long))
    Reconciler(clerk.instance, rows, clock=clerk.clock).apply(over(session, clerk=clerk))
    for _ in range(28 * 4):
        with pytest.raises(SessionEnded):
            Resolver(clerk.instance, rows, verifier=clerk.verifier()).resolve(longest)
        clerk.clock.advance(DAY / 4)
        rows.put([ClerkSession.deleted(clerk.instance.name, "sess_other", observed_at=int(clerk.clock() * 1000))])
    clerk.clock.advance(5)
    with pytest.raises(TokenExpired):
        Resolver(clerk.instance, rows, verifier=clerk.verifier()).resolve(longest)
    rows.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_token_of_ten_years_is_accepted_where_that_is_configured(kind: str, tmp_path: Path) -> None:
    """Then the end of its session is remembered for as long."""
    clerk = FakeClerk(8, clock=Clock(NOW))
    options: Any = {"clock": clerk.clock, "max_token_lifetime": 315_360_000}
    rows = MemoryRepository(**options) if kind == "memory" else SqliteRepository.open(tmp_path / "app.db", **options)
    user = clerk.create_user()
    session, other = clerk.sign_in(user), clerk.sign_in(user)
    token, good = (clerk.token(user, session=each, expires_in=315_360_000) for each in (session, other))
    Reconciler(clerk.instance, rows, clock=clerk.clock).apply(over(session, clerk=clerk))
    for days in (31, 365, 9 * 365, 10 * 365):
        clerk.clock.advance(NOW + days * DAY - clerk.clock() - 1)
        ours = Resolver(clerk.instance, rows, verifier=clerk.verifier())
        assert ours.resolve(good).user.clerk_id == user.id
        with pytest.raises(SessionEnded):
            ours.resolve(token)
    rows.close()


def test_a_principal_is_not_confirmed_when_the_end_of_its_session_may_be_forgotten() -> None:
    """A job that has waited for a month is refused, whether or not its session has ended."""
    clerk = FakeClerk(9, clock=Clock(NOW))
    rows = MemoryRepository(clock=clerk.clock)
    ours = Resolver(clerk.instance, rows, verifier=clerk.verifier())
    principal = ours.resolve(clerk.token(clerk.create_user()))
    clerk.clock.advance(29 * DAY)
    assert ours.confirm(principal).user == principal.user
    clerk.clock.advance(1)
    with pytest.raises(TokenExpired, match="may have forgotten"):
        ours.confirm(principal)
    with pytest.raises(TokenExpired, match="may have forgotten"):
        ours.confirm_nowait(principal)
    with pytest.raises(TokenExpired, match="may have forgotten"):
        asyncio.run(ours.aconfirm(principal))


@pytest.mark.parametrize("wrong", [59, 315_576_001, True, "28 days", None])
def test_a_lifetime_that_is_none(wrong: Any) -> None:
    """Seconds, from a minute to ten years."""
    with pytest.raises(ConfigurationError, match="max_token_lifetime"):
        MemoryRepository(max_token_lifetime=wrong)


def test_every_kind_of_jwt_has_a_longest_life() -> None:
    """Without the tombstone, a token that outlives it would make a deleted person anew."""
    clerk = FakeClerk(10, clock=Clock(NOW))
    user = clerk.create_user()
    oidc = clerk.make_oidc_instance("api")
    kinds: tuple[tuple[Instance, TokenKind, Any], ...] = (
        (clerk.instance, "oauth", lambda claims: clerk.oauth_token(user, claims=claims)),
        (oidc, "oidc", lambda claims: clerk.oidc_token("anybody", "api", claims=claims)),
    )
    for instance, kind, make in kinds:
        ours = Resolver(instance, MemoryRepository(), verifier=Verifier(instance, accept=[kind], clock=clerk.clock))
        assert ours.resolve(make({"exp": NOW + 28 * DAY})).user.role is None
        with pytest.raises(LifetimeRefused):
            ours.resolve(make({"exp": NOW + 28 * DAY + 1}))


@pytest.mark.parametrize("what", ["revoked", "ended", "removed"])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_its_tokens_are_refused_from_then_on(kind: str, what: SessionEnd, tmp_path: Path) -> None:
    """Tokens seen before and tokens made later; and nobody else's, nor those of the person's other sessions."""
    rows = repository(kind, tmp_path / "app.db")
    rows.put([CLERK.record(ANN)])
    ours, mine = resolver(rows), Reconciler(INSTANCE, rows)
    phone, laptop = CLERK.sign_in(ANN), CLERK.sign_in(ANN)
    seen, other, bea = CLERK.token(ANN, session=phone), CLERK.token(ANN, session=laptop), CLERK.token(BEA)
    for token in (seen, other, bea):
        ours.resolve(token)

    assert [repr(change.after) for change in mine.apply(over(phone, what)).changes] == ["Session()"]

    for token in (seen, CLERK.token(ANN, session=phone, claims={"n": 2})):
        with pytest.raises(SessionEnded) as refused:
            ours.resolve(token)
        assert (refused.value.code, isinstance(refused.value, LockedOut)) == ("session_ended", True)
        with pytest.raises(SessionEnded):
            ours.resolve_nowait(token)
        with pytest.raises(SessionEnded):
            asyncio.run(resolver(threaded(rows)).aresolve(token))
    assert ours.resolve(other).user == ours.resolve(CLERK.token(ANN, session=laptop, claims={"n": 2})).user
    assert ours.resolve(bea).user.clerk_id == BEA.id
    rows.close()


def test_it_may_be_over_before_anybody_was_seen() -> None:
    """The end comes first: the token that comes after it lets nobody in."""
    rows, phone = MemoryRepository(clock=CLERK.clock), CLERK.sign_in(ANN)
    Reconciler(INSTANCE, rows).apply(over(phone))

    with pytest.raises(SessionEnded):
        resolver(rows).resolve(CLERK.token(ANN, session=phone))


def test_it_tells_of_the_person_too() -> None:
    """Clerk revokes the sessions of whom it bans, and shows the person as banned: either word locks out."""
    rows, clerk = MemoryRepository(clock=CLERK.clock), FakeClerk(clock=Clock(NOW))
    ann = clerk.create_user()
    phone, laptop = clerk.sign_in(ann), clerk.sign_in(ann)
    clerk.ban(ann)
    revoked, _ = (parse_event(each.body) for each in clerk.deliveries() if each.type == "session.revoked")
    changes = Reconciler(INSTANCE, rows).apply(revoked).changes

    assert (phone.status, len(changes)) == ("revoked", 2)
    with pytest.raises(LockedOut) as refused:
        resolver(rows).resolve(clerk.token(ann, session=laptop))
    assert refused.value.code == "user_banned"


def test_an_end_of_long_ago_is_not_kept() -> None:
    """A replay of last year's events fills no table: those tokens have expired."""
    rows = MemoryRepository(clock=CLERK.clock)
    clerk = FakeClerk(clock=Clock(NOW - 40 * 86_400))
    ann = clerk.create_user()
    rows.put([clerk.record(ann)])

    assert Reconciler(INSTANCE, rows).apply(over(clerk.sign_in(ann), "ended", clerk)).changes == ()


def _watch(path: str, token: str, ready: threading.Event) -> float:
    """Another process, which has seen the token: when the last admitted request began.

    When the refusal comes depends on how busy the machine is; when the last admitted request began does not.
    """
    rows = SqliteRepository.open(path, clock=CLERK.clock)
    ours = resolver(rows)
    ours.resolve(token)
    ready.set()
    last = began = time.time()
    ends = began + 60
    try:
        while began < ends:
            last, began = began, time.time()
            ours.resolve(token)
            time.sleep(0.005)
    except SessionEnded:
        return last
    return float("inf")


def test_another_process_knows_within_a_second(tmp_path: Path) -> None:
    """Nothing but the file tells it."""
    path = tmp_path / "app.db"
    rows = SqliteRepository.open(path, clock=CLERK.clock)
    phone = CLERK.sign_in(ANN)
    token = CLERK.token(ANN, session=phone)
    resolver(rows).resolve(token)
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(1, mp_context=context) as pool:
        ready = manager.Event()
        watching = pool.submit(_watch, str(path), token, ready)
        assert ready.wait(30)
        Reconciler(INSTANCE, rows).apply(over(phone))
        committed = time.time()
        assert watching.result() - committed < 1.0
    rows.close()


def test_the_twin_of_an_ecdsa_signature_gains_nothing() -> None:
    """(r, n - s) verifies wherever (r, s) does: both texts lead to one principal, and to one refusal after a ban."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of the curve P-256
    provider = FakeClerk(seed=41, clock=Clock(NOW), algorithm="ES256")
    keys = provider.jwks()
    instance = Instance.oidc(issuer=provider.issuer, audience="api", name="provider", jwks=keys, algorithms=["ES256"])
    rows = MemoryRepository(clock=provider.clock)
    resolver = Resolver(instance, rows, verifier=Verifier(instance, clock=provider.clock))
    token = provider.oidc_token("auth0|1", "api")
    signed, _, text = token.rpartition(".")
    signature = urlsafe_b64decode(text + "==")
    twin_s = order - int.from_bytes(signature[32:], "big")
    twin = signed + "." + urlsafe_b64encode(signature[:32] + twin_s.to_bytes(32, "big")).decode().rstrip("=")

    assert twin != token
    assert resolver.resolve(twin) == resolver.resolve(token)
    rows.put([ClerkUser.deleted("provider", "auth0|1", observed_at=NOW * 1000)])
    for each in (token, twin):
        with pytest.raises(UserDeleted):
            resolver.resolve(each)
