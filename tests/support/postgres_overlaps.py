"""Records about the same few things in random order and in batches of any size, and writers of them: from a seed."""

from collections.abc import Callable, Iterable
from contextlib import closing
from itertools import chain
from random import Random
from typing import Any, NamedTuple

import psycopg

from clerkmap import Repository
from clerkmap.core.merging import winning_records
from clerkmap.core.records import AnyRecord, ClerkMembership, ClerkOrganization, ClerkSession, ClerkUser, key_of
from clerkmap.repositories import PostgresRepository
from histories import METADATA, OPTIONS, ROLES, Row, id_at, shown
from postgres_racers import together

HERE, THERE = "here", "there"
PEOPLE = [f"user_{number}" for number in range(30)]  # more than there must be for the statements that write many
COMPANIES = [f"org_{number}" for number in range(5)]
PAIRS = [(person, company) for person in PEOPLE for company in COMPANIES]
SIZES = (1, 1, 2, 5, 20, 120)


def link_all(repository: Repository) -> list[AnyRecord]:
    """The same person at two instances is one user. Return the records that this makes."""
    identities = [(instance, each) for instance in (HERE, THERE) for each in PEOPLE]
    return [
        repository.link(instance, each, id_at(HERE, key_of(each)), shared=True).clerk for instance, each in identities
    ]


class Orders(NamedTuple):
    """Who writes where, how many batches, and whether people have an identity at each of two instances."""

    uri: str
    seed: str
    writers: tuple[int, ...]
    transactions: int
    linked: bool

    def batches(self, writer: int) -> list[list[AnyRecord]]:
        random = Random(f"{self.seed}/{writer}")
        return [[self._record(random) for _ in range(random.choice(SIZES))] for _ in range(self.transactions)]

    def _record(self, random: Random) -> AnyRecord:
        at, kind, dies = random.randrange(10_000), random.randrange(10), random.random() < 0.03
        instance = random.choice((HERE, THERE)) if self.linked else HERE
        person, company = random.choice(PEOPLE), random.choice(COMPANIES)
        if kind < 5:
            if dies:
                return ClerkUser.deleted(instance, person, observed_at=at)
            metadata = random.choice(METADATA)
            return ClerkUser.full(
                instance, person, observed_at=at, updated_at=at // 10, first_name=str(at), public_metadata=metadata
            )
        if kind < 6:
            if dies:
                return ClerkOrganization.deleted(instance, company, observed_at=at)
            return ClerkOrganization.full(instance, company, observed_at=at, updated_at=at // 10, name=str(at))
        if kind < 9:
            ends: dict[str, Any] = {"clerk_user_id": person, "clerk_organization_id": company, "observed_at": at}
            if random.random() < 0.2:
                return ClerkMembership.from_token(instance, role=random.choice(ROLES), **ends)
            clerk_id = f"orgmem_{person}x{company}x{random.randrange(2)}"
            if dies:
                return ClerkMembership.deleted(instance, clerk_id, **ends)
            return ClerkMembership.full(instance, clerk_id, role=random.choice(ROLES), updated_at=at // 10, **ends)
        return ClerkSession.deleted(instance, f"sess_{random.randrange(8)}", observed_at=at)


def write(orders: Orders) -> int:
    """What one process does: each of its writers is a thread with a repository of its own. How much they have put."""
    counts: list[int] = []

    def run(writer: int) -> None:
        # With a timeout of hours it would not be seen that somebody waited for ever.
        with closing(PostgresRepository.open(orders.uri, pool_size=1, timeout=60, **OPTIONS)) as repository:
            for batch in orders.batches(writer):
                repository.put(batch)
                counts.append(len(batch))

    together(*(_with(run, writer) for writer in orders.writers))
    return sum(counts)


def _with(run: Callable[[int], None], writer: int) -> Callable[[], None]:
    return lambda: run(writer)


def everything(repository: Repository, instances: Iterable[str]) -> list[Row]:
    """All that a repository shows."""
    return list(chain.from_iterable(shown(repository, each, PEOPLE, COMPANIES, PAIRS) for each in instances))


def greatest(records: Iterable[AnyRecord]) -> set[Row]:
    """What the tables must hold: the greatest record of each thing."""
    return {(each.kind, each.instance, each.key, each.rank) for each in winning_records(records)}


def held(uri: str) -> set[Row]:
    """What they do hold."""
    tables = {"user": "identities", "organization": "organizations", "membership": "memberships", "session": "sessions"}
    rows: set[Row] = set()
    with psycopg.connect(uri, autocommit=True) as connection:
        for kind, table in tables.items():
            found = connection.execute(f"SELECT instance, key, rank FROM clerkmap_{table}".encode()).fetchall()
            rows |= {(kind, *row) for row in found}
    return rows


def sessions_over(repository: Repository, instance: str) -> list[bool]:
    """Whether each of the sessions is over, by what a repository tells."""
    standings = [repository.find(instance, PEOPLE[0], None, f"sess_{number}") for number in range(8)]
    return [standing is not None and standing.session_is_over for standing in standings]
