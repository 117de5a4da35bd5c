"""Random lives of a small world: records in any order, links, erasures and purges, on any repository."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from random import Random
from typing import Any

import psycopg

from clerkmap import Repository
from clerkmap.core.records import (
    DELETED,
    EMBEDDED,
    FROM_TOKEN,
    FULL,
    AnyRecord,
    ClerkMembership,
    ClerkOrganization,
    ClerkUser,
)
from clerkmap.errors import LinkRefused, UserTaken, UserUnknown
from clerkmap.repositories import PostgresRepository, SqliteRepository
from clerkmap.repositories.sql.put import MANY
from clerkmap.testing.samples import ACME, ANN, BEA, HERE, THERE, company, person
from postgres_server import postgres

USERS, ORGANIZATIONS = (ANN, BEA, "user_cid"), (ACME, "org_beta")
NOW = 40 * 86_400  # seconds: a purge may take all that these histories delete
Rows = Callable[[str], list[tuple[Any, ...]]]


@contextmanager
def on_sqlite() -> Iterator[tuple[Repository, Rows]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        repository = SqliteRepository(connection, migrate=True, clock=lambda: NOW)
        yield repository, lambda query: connection.execute(query).fetchall()


@contextmanager
def on_postgres(schema: str) -> Iterator[tuple[Repository, Rows]]:
    path = f"-csearch_path={schema}"
    with psycopg.connect(postgres(), options=path) as connection, connection.transaction(force_rollback=True):
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
        repository = PostgresRepository(connection, migrate=True, listen=False, clock=lambda: NOW)

        def rows(query: str) -> list[tuple[Any, ...]]:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

        yield repository, rows


def record(random: Random) -> AnyRecord:
    """Any record of a small world, in which ties, late records and deletions are frequent."""
    instance, user, organization = random.choice([HERE, HERE, THERE]), random.choice(USERS), random.choice([ACME] * 3)
    grade, at, kind = (
        random.choice([FROM_TOKEN, EMBEDDED, FULL, FULL, DELETED]),
        random.randrange(1, 6),
        random.random(),
    )
    if kind < 0.2:
        return (
            ClerkUser.deleted(instance, user, observed_at=at)
            if grade == DELETED and random.random() < 0.3
            else person(user, at=at, grade=FULL, instance=instance, banned=random.random() < 0.2, first_name=str(at))
        )
    if kind < 0.35:
        organization = random.choice(ORGANIZATIONS)
        if grade == DELETED and random.random() < 0.3:
            return ClerkOrganization.deleted(instance, organization, observed_at=at)
        return company(organization, at=at, instance=instance, name=str(at))
    organization = random.choice(ORGANIZATIONS)
    ends = {"clerk_user_id": user, "clerk_organization_id": organization}
    if grade == FROM_TOKEN:
        return ClerkMembership.from_token(instance, **ends, role=f"org:{at}", observed_at=at)
    clerk_id, joined = f"orgmem_{random.randrange(3)}", random.choice([None, *range(1, 5)])
    if grade == DELETED:
        return ClerkMembership.deleted(instance, clerk_id, **ends, observed_at=at, created_at=joined)
    seen = at + random.randrange(3)
    return ClerkMembership.full(
        instance, clerk_id, **ends, role=f"org:{at}", updated_at=at, observed_at=seen, created_at=joined
    )


def step(random: Random, repository: Repository) -> None:
    """Put some records, one or many at once, or change a link, or forget."""
    kind = random.random()
    if kind < 0.75:
        repository.put([record(random) for _ in range(random.choice([1, 1, 2, 4, 2 * MANY]))])
        return
    instance, user = random.choice([HERE, THERE]), random.choice(USERS)
    mine, other = repository.find(instance, user), repository.find(random.choice([HERE, THERE]), random.choice(USERS))
    try:
        if kind < 0.8 and other is not None:
            repository.link(instance, user, other.user.id, shared=True)
        elif kind < 0.87 and mine is not None and other is not None:
            repository.relink(instance, user, mine.user.id, to=other.user.id)
        elif kind < 0.92 and mine is not None:
            repository.unlink(instance, user, mine.user.id)
        elif kind < 0.95 and mine is not None:
            repository.erase(mine.user.id)
        elif kind > 0.97:
            repository.purge(datetime.fromtimestamp(5, UTC))
    except (LinkRefused, UserTaken, UserUnknown):
        pass
