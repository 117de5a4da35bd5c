"""On PostgreSQL, however many processes see somebody first at the same moment: one row, one id, one hook call."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import psycopg
import pytest

from clerkmap.core.records import key_of
from postgres_racers import PROCESSES, Ids, Race, crew, race, world
from postgres_server import url_of_a_new_schema

KINDS = ("user", "organization", "membership")
SOAK = bool(os.environ.get("CLERKMAP_SOAK"))
THREADS, REQUESTS = 5, 10_000 if SOAK else 2_000
ROUNDS = 400 if SOAK else 30

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    with crew(THREADS) as pool:
        yield pool


def run(processes: ProcessPoolExecutor, orders: Race) -> list[set[Ids]]:
    """Have every process race, and tell what ids all of them were told in each round."""
    began = time.perf_counter()
    futures = [processes.submit(race, orders) for _ in range(PROCESSES)]
    if errors := [error for each in futures if (error := each.exception()) is not None]:
        # Rather one that explains why the others have waited in vain.
        raise min(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError))
    told = [each.result() for each in futures]
    seen = [set[Ids]().union(*each) for each in zip(*told, strict=True)]
    requests = orders.rounds * orders.requests * orders.threads * PROCESSES
    print(f"{requests:,} requests in {orders.rounds} rounds, {time.perf_counter() - began:.1f} seconds")
    return seen


def rows(uri: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(uri, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description is not None else []


def counted(uri: str) -> list[int]:
    """How many rows there are of users, of identities and of organizations."""
    tables = ("users", "identities", "organizations")
    return [rows(uri, f"SELECT count(*) FROM clerkmap_{table}")[0][0] for table in tables]


def test_thousands_of_first_requests(processes: ProcessPoolExecutor, postgres_schema: str) -> None:
    """Eight processes that start at once where there are no tables yet: no error, one row in each table, one id."""
    uri = url_of_a_new_schema(postgres_schema)
    (seen,) = run(processes, Race(uri, "uuid7", THREADS, 1, REQUESTS // PROCESSES // THREADS, False, False))

    assert len(seen) == 1
    assert counted(uri) == [1, 1, 1]
    assert rows(uri, "SELECT count(*) FROM clerkmap_memberships") == [(1,)]


@pytest.mark.parametrize("ids", ["uuid7", int, "clerk"])
def test_webhooks_race_first_requests(processes: ProcessPoolExecutor, postgres_schema: str, ids: Any) -> None:
    """Person by person, first requests and full statements at once: one row, one id, and every hook hears it once."""
    uri = url_of_a_new_schema(postgres_schema)
    rows(uri, "CREATE TABLE calls (kind text, key text)")
    seen = run(processes, Race(uri, ids, THREADS, ROUNDS, 1, webhooks=True, hooked=True))

    assert [len(each) for each in seen] == [1] * ROUNDS
    assert len(set[Ids]().union(*seen)) == ROUNDS, "two people are one"
    assert counted(uri) == [ROUNDS] * 3
    _, facts = world(ROUNDS)
    users = sorted(key_of(fact.user.id) for fact in facts)
    calls = {kind: sorted(key for each, key in rows(uri, "TABLE calls") if each == kind) for kind in KINDS}
    organizations = sorted(key_of(fact.organization.id) for fact in facts)
    assert calls == {"user": users, "membership": users, "organization": organizations}
    assert rows(uri, "SELECT DISTINCT first_name FROM clerkmap_identities") == [("Ann",)]
    assert rows(uri, "SELECT DISTINCT name FROM clerkmap_organizations") == [("Acme",)]
    # A membership that is stated has a row beside the one that was seen in tokens.
    assert rows(uri, "SELECT count(*) FROM clerkmap_memberships WHERE rank >= '2'") == [(ROUNDS,)]
