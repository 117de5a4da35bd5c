"""On PostgreSQL, a task that is cancelled in the middle of a put leaves all of it or nothing, and a pool in order."""

import asyncio
import os
import time
from collections import Counter
from contextlib import suppress
from random import Random

import psycopg
import pytest

from clerkmap.core.records import AnyRecord, ClerkMembership
from clerkmap.repositories import AsyncPostgresRepository
from clerkmap.testing.samples import HERE, company, person
from postgres_server import url_of_a_new_schema

SOAK = bool(os.environ.get("CLERKMAP_SOAK"))
SEED = os.environ.get("CLERKMAP_SEED", "1")
ROUNDS = 5_000 if SOAK else 300
PEOPLE = 22  # in every fourth put: enough for the statements that write many at once

pytestmark = pytest.mark.slow


def batch(number: int) -> list[AnyRecord]:
    """An organization and its members."""
    organization = f"org_{number}"
    people = [f"user_{number}_{each}" for each in range(1 if number % 4 else PEOPLE)]
    members = [
        ClerkMembership.full(
            HERE, f"orgmem_{user}", clerk_user_id=user, clerk_organization_id=organization, role="r", observed_at=1
        )
        for user in people
    ]
    return [company(organization), *members, *map(person, people)]


def rows(uri: str) -> dict[str, Counter[str]]:
    """The keys that are in each table, with those that stand for more rows than one."""
    statements = {
        "organization": "SELECT key FROM clerkmap_organizations",
        "user": "SELECT i.key FROM clerkmap_identities i JOIN clerkmap_users u ON u.id = i.user_id",
        "membership": "SELECT key FROM clerkmap_memberships",
        "orphan": "SELECT id FROM clerkmap_users WHERE id NOT IN (SELECT user_id FROM clerkmap_identities)",
    }
    with psycopg.connect(uri, autocommit=True) as connection:
        return {
            kind: Counter(key for (key,) in connection.execute(statement.encode()).fetchall())
            for kind, statement in statements.items()
        }


def sessions(uri: str) -> int:
    """How many sessions others have in the middle of a transaction."""
    others = (
        "SELECT count(*) FROM pg_stat_activity a WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() "
        "AND EXISTS (SELECT 1 FROM pg_locks l WHERE l.pid = a.pid AND l.relation = 'clerkmap_users'::regclass)"
    )
    with psycopg.connect(uri, autocommit=True) as connection:
        found = connection.execute(others).fetchone()
    assert found is not None
    count: int = found[0]
    return count


@pytest.mark.parametrize("pool_size", [1, 4])
def test_cancelled_puts(postgres_schema: str, pool_size: int) -> None:
    """Whenever it comes, also while a connection is waited for: nothing half-written, and the pool goes on."""
    uri = url_of_a_new_schema(postgres_schema)
    random = Random(f"{SEED}/{pool_size}")
    seen: Counter[str] = Counter()
    outcomes: dict[int, str] = {}

    async def one(repository: AsyncPostgresRepository, number: int, seconds: float) -> None:
        task = asyncio.create_task(repository.put(batch(number)))
        await asyncio.sleep(seconds)
        task.cancel()
        outcomes[number] = "cancelled"
        with suppress(asyncio.CancelledError):
            await task
            outcomes[number] = "acknowledged"

    async def run() -> None:
        repository = AsyncPostgresRepository.open(uri, pool_size=pool_size)
        try:
            began = time.perf_counter()
            for number in range(ROUNDS, ROUNDS + 4):
                await repository.put(batch(number))
            longest = time.perf_counter() - began
            for first in range(0, ROUNDS, 4):
                delays = [random.uniform(0, longest) for _ in range(4)]
                await asyncio.gather(*(one(repository, first + at, each) for at, each in enumerate(delays)))
            assert sessions(uri) == 0, "a transaction was left open"
            again = [repository.put(batch(number)) for number in range(ROUNDS + 4, ROUNDS + 8)]
            assert all(await asyncio.wait_for(asyncio.gather(*again), 30))
        finally:
            await repository.close()

    began = time.perf_counter()
    asyncio.run(run())
    found = rows(uri)
    assert found["orphan"] == Counter()
    assert {count for keys in found.values() for count in keys.values()} == {1}
    for number, outcome in outcomes.items():
        there = [found[record.kind][record.key] for record in batch(number)]
        assert set(there) in ({0}, {1}), f"half-written, CLERKMAP_SEED={SEED}"
        assert outcome == "cancelled" or set(there) == {1}, "something acknowledged is lost"
        seen[f"{outcome}, {'all' if there[0] else 'nothing'} there"] += 1
    print(f"CLERKMAP_SEED={SEED}: {dict(seen)}, {time.perf_counter() - began:.1f} seconds")
    # Cancellations that come before or after all the work would show nothing.
    assert seen["acknowledged, all there"] > ROUNDS // 30
    assert seen["cancelled, nothing there"] > ROUNDS // 30
