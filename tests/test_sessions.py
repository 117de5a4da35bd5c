"""Locked out at once: a session that was revoked, ended or removed, in this process and in others."""

import asyncio
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from clerkmap import AsyncRepository, LockedOut, Reconciler, Repository, Resolver, Verifier, parse_event, threaded
from clerkmap.errors import SessionEnded
from clerkmap.repositories import MemoryRepository, SqliteRepository
from delivery_base import CLERK, INSTANCE, NOW, event

ANN, BEA = CLERK.create_user(), CLERK.create_user()
PHONE, LAPTOP = "sess_phone", "sess_laptop"


def resolver(repository: Repository | AsyncRepository, clock: Any = time.monotonic) -> Resolver:
    return Resolver(INSTANCE, repository, verifier=Verifier(INSTANCE, clock=CLERK.clock), monotonic=clock)


def over(session: str, what: str = "revoked", **said: Any) -> Any:
    return parse_event(event(type=f"session.{what}", data={"id": session, "user_id": ANN.id, **said}))


def repository(kind: str, path: Path) -> Any:
    return MemoryRepository(clock=CLERK.clock) if kind == "memory" else SqliteRepository.open(path, clock=CLERK.clock)


@pytest.mark.parametrize("what", ["revoked", "ended", "removed"])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_its_tokens_are_refused_from_then_on(kind: str, what: str, tmp_path: Path) -> None:
    """Tokens seen before and tokens made later; and nobody else's, nor those of the person's other sessions."""
    rows = repository(kind, tmp_path / "app.db")
    ours, mine = resolver(rows), Reconciler(INSTANCE, rows)
    seen, other, bea = CLERK.token(ANN, session=PHONE), CLERK.token(ANN, session=LAPTOP), CLERK.token(BEA)
    for token in (seen, other, bea):
        ours.resolve(token)

    assert [repr(change.after) for change in mine.apply(over(PHONE, what))] == ["Session()"]

    for token in (seen, CLERK.token(ANN, session=PHONE, claims={"n": 2})):
        with pytest.raises(SessionEnded) as refused:
            ours.resolve(token)
        assert (refused.value.code, isinstance(refused.value, LockedOut)) == ("session_ended", True)
        with pytest.raises(SessionEnded):
            ours.resolve_nowait(token)
        with pytest.raises(SessionEnded):
            asyncio.run(resolver(threaded(rows)).aresolve(token))
    assert ours.resolve(other).user == ours.resolve(CLERK.token(ANN, session=LAPTOP, claims={"n": 2})).user
    assert ours.resolve(bea).user.clerk_id == BEA.id
    rows.close()


def test_it_may_be_over_before_anybody_was_seen() -> None:
    """The end comes first: the token that comes after it lets nobody in."""
    rows = MemoryRepository(clock=CLERK.clock)
    Reconciler(INSTANCE, rows).apply(over(PHONE))

    with pytest.raises(SessionEnded):
        resolver(rows).resolve(CLERK.token(ANN, session=PHONE))


def test_it_tells_of_the_person_too() -> None:
    """Clerk revokes the sessions of whom it bans, and shows the person as banned: either word locks out."""
    rows = MemoryRepository(clock=CLERK.clock)
    changes = Reconciler(INSTANCE, rows).apply(over(PHONE, user={"id": ANN.id, "banned": True}))

    assert len(changes) == 2
    with pytest.raises(LockedOut) as refused:
        resolver(rows).resolve(CLERK.token(ANN, session=LAPTOP))
    assert refused.value.code == "user_banned"


def test_an_end_of_long_ago_is_not_kept() -> None:
    """A replay of last year's events fills no table: those tokens have expired."""
    rows = MemoryRepository(clock=CLERK.clock)
    old = parse_event(event(type="session.ended", data={"id": PHONE}, timestamp=(NOW - 40 * 86_400) * 1000))

    assert Reconciler(INSTANCE, rows).apply(old) == []


def _watch(path: str, token: str, ready: Event, revoked: Any) -> float:
    """Another process, which has seen the token: how long after the commit it still lets the token in."""
    rows = SqliteRepository.open(path, clock=CLERK.clock)
    ours = resolver(rows)
    ours.resolve(token)
    ready.set()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            ours.resolve(token)
        except SessionEnded:
            return time.time() - float(revoked.value)
        time.sleep(0.005)
    return 30.0


def test_another_process_knows_within_a_second(tmp_path: Path) -> None:
    """Nothing but the file tells it."""
    path = tmp_path / "app.db"
    rows = SqliteRepository.open(path, clock=CLERK.clock)
    token = CLERK.token(ANN, session=PHONE)
    resolver(rows).resolve(token)
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(1, mp_context=context) as pool:
        ready, revoked = manager.Event(), manager.Value("d", 0.0)
        watching = pool.submit(_watch, str(path), token, ready, revoked)
        assert ready.wait(30)
        revoked.value = time.time()  # before: the other must not see the end first
        Reconciler(INSTANCE, rows).apply(over(PHONE))
        assert watching.result() < 1.5  # a second, and what a busy machine adds
    rows.close()
