"""A cached value is dropped when one of its rows changes, here or in another process, and no other value is."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clerkmap import Membership
from clerkmap.core.records import AnyRecord, ClerkOrganization
from clerkmap.errors import ConfigurationError
from clerkmap.repositories import MemoryRepository, PostgresRepository, ReadCache, SqliteRepository, keys_of_rows
from clerkmap.repositories.threaded import threaded
from clerkmap.testing import Clock
from clerkmap.testing.samples import ACME, ANN, BEA, HERE, company, found, member, person
from postgres_server import url_of_a_new_schema

WITHIN = 120.0  # seconds to wait for another process
EVERYTHING: list[AnyRecord] = [person(), person(BEA), company(), member()]


class Reads:
    """Reads a user's name, and counts."""

    def __init__(self, repository: Any, clerk_id: str) -> None:
        self._repository = repository
        self._clerk_id = clerk_id
        self.user = found(repository, clerk_id)
        self.times = 0

    def __call__(self) -> str | None:
        self.times += 1
        return found(self._repository, self._clerk_id).name

    def of(self, cache: ReadCache) -> str | None:
        return cache.get(self._clerk_id, self, rows=lambda _: [self.user])


def test_a_value_is_kept_until_its_row_changes() -> None:
    """Another user's change drops nothing; a list is dropped by every change."""
    repository = MemoryRepository()
    repository.put(EVERYTHING)
    cache, ann, bea = ReadCache(repository), Reads(repository, ANN), Reads(repository, BEA)
    listed: list[int] = []

    def count() -> int:
        listed.append(1)
        return len(repository.users().items)

    for _ in range(3):
        assert (ann.of(cache), bea.of(cache), cache.get("all", count)) == (None, None, 2)
    assert (ann.times, bea.times, len(listed)) == (1, 1, 1)
    repository.put([person(at=2, first_name="Ann")])
    for _ in range(3):
        assert (ann.of(cache), bea.of(cache), cache.get("all", count)) == ("Ann", None, 2)
    assert (ann.times, bea.times, len(listed)) == (2, 1, 2)
    cache.forget(None)
    assert bea.of(cache) is None
    assert bea.times == 2


def test_a_member_has_the_keys_of_both_ends() -> None:
    """So a change of the user, of the membership or of the organization drops the value."""
    repository = MemoryRepository()
    repository.put(EVERYTHING)
    (place,) = repository.organizations_of(found(repository).id)
    assert keys_of_rows(place) == keys_of_rows(place.membership) == {person().key, company().key}
    assert keys_of_rows(place.user, place.organization) == keys_of_rows(Membership(member()))
    assert keys_of_rows() == frozenset()
    cache, times = ReadCache(repository), 0

    def read() -> int:
        nonlocal times
        times += 1
        return times

    changes: list[AnyRecord] = [
        person(at=2, first_name="Ann"),
        member(at=3, role="org:admin"),
        company(at=4, name="Acme"),
        ClerkOrganization.deleted(HERE, ACME, observed_at=5),
    ]
    for number, change in enumerate(changes, 1):
        assert [cache.get("place", read, rows=lambda _: [place]) for _ in range(2)] == [number] * 2
        repository.put([change])
    assert cache.get("place", read, rows=lambda _: [place]) == 5


def test_what_changes_during_a_read_is_not_kept() -> None:
    """The value may show the state before the change."""
    repository = MemoryRepository()
    repository.put(EVERYTHING)
    cache, user = ReadCache(repository), found(repository)

    def read() -> str | None:
        name = found(repository).name
        repository.put([person(at=2, first_name="Ann")])
        return name

    assert cache.get("name", read, rows=lambda _: [user]) is None
    assert cache.get("name", read, rows=lambda _: [user]) == "Ann"


def test_a_full_cache_drops_the_oldest_value() -> None:
    """It never has more values than its limit, nor keys of values that are gone."""
    repository = MemoryRepository()
    repository.put(EVERYTHING)
    cache, user, reads = ReadCache(repository, limit=2), found(repository), list[int]()

    def get(name: int) -> int:
        def read() -> int:
            reads.append(name)
            return name

        return cache.get(name, read, rows=lambda _: [user] if name else [])

    assert [get(name) for name in (0, 1, 2, 2, 1, 0)] == [0, 1, 2, 2, 1, 0]
    assert reads == [0, 1, 2, 0]
    for wrong in (0, True, 1.5):
        with pytest.raises(ConfigurationError, match="limit"):
            ReadCache(repository, limit=wrong)  # type: ignore[arg-type]


def test_in_async_code() -> None:
    """`aget` awaits the function. Each colour has its own method."""
    repository = MemoryRepository()
    repository.put(EVERYTHING)
    cache, times = ReadCache(threaded(repository)), list[int]()

    async def read() -> int:
        times.append(1)
        return len(times)

    async def main() -> None:
        assert [await cache.aget("x", read) for _ in range(3)] == [1, 1, 1]
        repository.put([person(at=2, first_name="Ann")])
        assert await cache.aget("x", read) == 2
        with pytest.raises(ConfigurationError, match="sync"):
            await ReadCache(repository).aget("x", read)

    asyncio.run(main())
    with pytest.raises(ConfigurationError, match="aget"):
        cache.get("x", lambda: 1)


def elsewhere(opening: str) -> None:
    """Rename Ann in another process."""
    code = f"""
from clerkmap.repositories import PostgresRepository, SqliteRepository
from clerkmap.testing.samples import person

with {opening} as repository:
    assert repository.put([person(at=2, first_name="Ann")])
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=WITHIN)


def test_another_process_on_sqlite(tmp_path: Path) -> None:
    """At the next poll, exactly the user that was changed elsewhere is read again."""
    path, clock = tmp_path / "app.db", Clock(0)
    with SqliteRepository.open(path) as repository:
        repository.put(EVERYTHING)
        cache, ann, bea = ReadCache(repository, monotonic=clock), Reads(repository, ANN), Reads(repository, BEA)
        assert (ann.of(cache), bea.of(cache)) == (None, None)
        elsewhere(f"SqliteRepository.open({str(path)!r})")
        assert ann.of(cache) is None  # until the next poll is due
        clock.advance(1)
        assert (ann.of(cache), bea.of(cache)) == ("Ann", None)
        assert (ann.times, bea.times) == (2, 1)


def test_another_process_on_postgresql(postgres_schema: str) -> None:
    """The notification names exactly the user that was changed elsewhere."""
    url = url_of_a_new_schema(postgres_schema)
    with PostgresRepository.open(url) as repository:
        repository.put(EVERYTHING)
        heard: list[Any] = []
        repository.listeners.watch(heard.append)
        cache, ann = ReadCache(repository), Reads(repository, ANN)
        wait_for(lambda: polled(repository) or ann.of(cache) is None)
        elsewhere(f"PostgresRepository.open({url!r})")
        wait_for(lambda: ann.of(cache) == "Ann")
        wait_for(lambda: polled(repository) or {person().key} in [set(keys) for keys in heard if keys])


def polled(repository: PostgresRepository) -> bool:
    repository.poll()
    return False


def wait_for(is_true: Callable[[], bool]) -> None:
    """Wait for another process."""
    end = time.monotonic() + WITHIN
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.02)
