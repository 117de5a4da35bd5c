"""A year of events, shuffled and with one in ten told twice, ends where it ends in order: in memory and on SQLite.

The events contradict each other more than those of one Clerk would, so they are written here, in the kit's shapes.

`CLERKMAP_SOAK=1` makes it a million events in memory, and 200,000 on SQLite. `CLERKMAP_SEED` makes it other ones.
"""

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from clerkmap import Event, Repository
from clerkmap.core.records import AnyRecord
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.repositories.sql.schema import NOT_COPIED
from histories import METADATA, OPTIONS, ROLES, Row, shown
from sample_bodies import MS, NAME, address, event, membership, organization, user

SOAK = bool(os.environ.get("CLERKMAP_SOAK"))
SEED = os.environ.get("CLERKMAP_SEED", "1")
IN_MEMORY, ON_SQLITE = (1_000_000, 200_000) if SOAK else (60_000, 20_000)
HOT = 20  # people and organizations about whom every tenth event is: they have many events, and ties among them
SPELLS = 4  # how often one may leave and come back: each time the membership has another id

pytestmark = pytest.mark.slow


class Year:
    """Events by their number, which is also their order. Each is made when it is asked for: a million need no room."""

    def __init__(self, events: int) -> None:
        self.events = events
        self.people = [f"user_{number:06}" for number in range(events // 50)]
        self.companies = [f"org_{number:06}" for number in range(events // 500)]

    def pairs(self) -> Iterator[Row]:
        """Everybody with each of the three organizations that they may join."""
        for number, person in enumerate(self.people):
            yield from ((person, self._company(number, which)) for which in range(3))

    def _company(self, person: int, which: int) -> str:
        return self.companies[(person * 7 + which * 11) % len(self.companies)]

    def event(self, number: int) -> Event:
        """The event of that number: seven in one millisecond, and some about what was edited earlier."""
        random = Random(f"{SEED}/{number}")
        told_at = MS + number // 7
        at = told_at - random.choice((0, 0, 0, 1, 1000))
        person = random.randrange(HOT if random.random() < 0.1 else len(self.people))
        kind = random.random()
        if kind < 0.45:
            return self._user(random, self.people[person], at, told_at)
        if kind < 0.55:
            company = self.companies[random.randrange(min(HOT, len(self.companies)))]
            company = company if random.random() < 0.1 else random.choice(self.companies)
            if random.random() < 0.01:
                return event("organization.deleted", {"id": company, "deleted": True}, timestamp=told_at)
            said = {"name": random.choice(("Acme", "Beta")), "slug": f"slug-{random.randrange(len(self.companies))}"}
            return event("organization.updated", organization(company, at=at, **said), timestamp=told_at)
        which, spell = random.randrange(3), number * SPELLS // self.events
        data = membership(
            f"orgmem_{person:06}{which}{spell}", at=at, user_id=self.people[person], role=random.choice(ROLES)
        )
        data["organization"] = organization(self._company(person, which), at=at)
        verb = random.choice(("created", "updated", "deleted"))
        return event(f"organizationMembership.{verb}", data, timestamp=told_at)

    def _user(self, random: Random, clerk_id: str, at: int, told_at: int) -> Event:
        kind = random.random()
        if kind < 0.02:
            return event("user.deleted", {"id": clerk_id, "deleted": True}, timestamp=told_at)
        said: dict[str, Any] = {
            "first_name": random.choice(("Ann", "Bea", None)),
            "email_addresses": [address(email=f"{random.randrange(len(self.people))}@example.com")],
            "banned": random.random() < 0.1,
            "public_metadata": random.choice(METADATA),
        }
        data = user(clerk_id, at=at, **said)
        if kind < 0.2:
            return event("session.created", {"id": f"sess_{clerk_id}", "user": data}, timestamp=told_at)
        return event("user.updated", data, timestamp=told_at)

    def records(self, number: int) -> list[AnyRecord]:
        return self.event(number).records(NAME)

    def shuffled(self) -> list[int]:
        """Every number, one in ten of them twice, in an order that has nothing to do with time."""
        random = Random(f"{SEED}/shuffled")
        numbers = [*range(self.events), *random.sample(range(self.events), self.events // 10)]
        random.shuffle(numbers)
        return numbers

    def end(self, repository: Repository) -> list[Row]:
        """All that a repository shows in the end."""
        return list(shown(repository, NAME, self.people, self.companies, self.pairs()))


def batches(numbers: Sequence[int], seed: str) -> Iterator[Sequence[int]]:
    """The numbers cut into pieces of any length: what is put together differs from run to run."""
    random, at = Random(f"{SEED}/{seed}"), 0
    while at < len(numbers):
        till = at + random.choice((1, 7, 100, random.randrange(1, 1000)))
        yield numbers[at:till]
        at = till


def differences(one: Sequence[Row], other: Sequence[Row]) -> list[tuple[Row, Row]]:
    """The first that differ. Pytest's own comparison of a hundred thousand rows takes longer than the test."""
    return [(mine, theirs) for mine, theirs in zip(one, other, strict=True) if mine != theirs][:3]


def check_that_much_has_happened(rows: Sequence[Row], year: Year) -> None:
    """Nearly everybody is known, some are gone, and memberships have ended and begun: or equality would say little."""
    people = [row[2] for row in rows[: len(year.people)] if row[2] is not None]
    told = [row for row in rows if len(row) == 6]
    assert len(people) > len(year.people) * 0.99
    assert 0.1 < sum(person[3] is not None for person in people) / len(people) < 0.6
    assert sum(len(row[5]) > 1 for row in told) > len(told) / 4


def test_a_year_in_memory() -> None:
    """A million events, put one by one in any order and with duplicates, end as they end in order."""
    year, began, ends = Year(IN_MEMORY), time.perf_counter(), []
    shuffled = year.shuffled()
    for numbers in (range(year.events), shuffled):
        repository = MemoryRepository(**OPTIONS)
        for number in numbers:
            repository.put(year.records(number))
        ends.append(year.end(repository))
    print(f"{year.events:,} events in order, {len(shuffled):,} shuffled; {len(ends[0]):,} rows to compare, "
          f"{time.perf_counter() - began:.0f} seconds")  # fmt: skip

    check_that_much_has_happened(ends[0], year)
    assert differences(*ends) == []


def tables(path: Path) -> dict[str, list[Row]]:
    """Every row of every table, generated columns and all, but for the log of changed keys, which tells of each way."""
    connection = sqlite3.connect(path)
    try:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'clerkmap_%'")
        told = [name for (name,) in names.fetchall() if name.removeprefix("clerkmap_") not in NOT_COPIED]
        tables = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in told}
        return {name: sorted(rows, key=repr) for name, rows in tables.items()}
    finally:
        connection.close()


def test_a_year_on_sqlite(tmp_path: Path) -> None:
    """The same on a file, in batches: every row of every table is the same, and memory shows the same again."""
    year, began, kept, ends = Year(ON_SQLITE), time.perf_counter(), [], []
    shuffled = year.shuffled()
    for name, numbers in {"ordered": range(year.events), "shuffled": shuffled}.items():
        repository = SqliteRepository.open(tmp_path / name, durable=False, **OPTIONS)
        for batch in batches(numbers, name):
            repository.put(record for number in batch for record in year.records(number))
        ends.append(year.end(repository))
        repository.close()
        kept.append(tables(tmp_path / name))
    memory = MemoryRepository(**OPTIONS)
    for number in range(year.events):
        memory.put(year.records(number))
    count = sum(map(len, kept[0].values()))
    print(f"{year.events:,} events in order, {len(shuffled):,} shuffled; {count:,} rows of tables to compare, "
          f"{time.perf_counter() - began:.0f} seconds")  # fmt: skip

    check_that_much_has_happened(ends[0], year)
    assert kept[0].keys() == kept[1].keys()
    assert [(name, found) for name in kept[0] if (found := differences(kept[0][name], kept[1][name]))] == []
    assert differences(ends[1], year.end(memory)) == []
