"""A page of members of a large organization, and a search among many users, next to the same SELECT by hand.

The tables are filled by SQL, because a million puts would take minutes. The search terms are those that `put` writes.
"""

import gc
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, LiteralString, cast

import psycopg

from clerkmap import ClerkUser, Organization
from clerkmap.core.records import COLUMNS, FULL, ClerkMembership, ClerkOrganization
from clerkmap.ports import Repository
from clerkmap.repositories import PostgresRepository, SqliteRepository
from clerkmap.repositories.listing import terms_of
from clerkmap.repositories.options import uuid7
from clerkmap.repositories.sql.statements import (
    IDENTITY_COLUMNS,
    STORED_MEMBERSHIP_COLUMNS,
    TERM_COLUMNS,
    membership_row,
    user_row,
)

from .measure import Aim, Row, Side, compare, constant, progress
from .people import INSTANCE, OBSERVED_AT, clerk_id, organization_id
from .postgres import server

Read = Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]]
Fill = Callable[[str, tuple[str, ...], Iterable[tuple[Any, ...]]], None]

PAGE = 50
SEARCHES = 200
MEMBERS_OF = {True: 1_000, False: 100_000}  # by whether the run is short
AIM = Aim("<= 1.5 times", ratio=1.5)
BATCH = 50_000
_SYLLABLES = [c + v for c in "bdfghjklmnprstvz" for v in "aeiou"]
_USER = ", ".join(f"i.{column}" for column in COLUMNS["user"]) + ", u.id, u.role, u.created_at, u.deleted_at"
_MEMBERSHIP = ", ".join(f"m.{column}" for column in COLUMNS["membership"])


def reading(short: bool) -> Iterator[Row]:
    """Measure both on SQLite, and then on PostgreSQL."""
    users, members = (5_000 if short else 1_000_000), MEMBERS_OF[short]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "app.db"
        repository = SqliteRepository.open(path, durable=False)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")

        def insert(table: str, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
            values = ", ".join("?" * len(columns))
            connection.execute("BEGIN")
            connection.executemany(f"INSERT INTO clerkmap_{table} ({', '.join(columns)}) VALUES ({values})", rows)
            connection.execute("COMMIT")

        _fill(insert, repository, users, members)
        ours = repository.within(connection)
        yield from _rows(ours, lambda text, values: connection.execute(text, values).fetchall(), users, short, "SQLite")
        connection.close()
        repository.close()
    with server() as uri, psycopg.connect(uri, autocommit=True) as there:
        there.execute("DROP SCHEMA IF EXISTS reading CASCADE; CREATE SCHEMA reading; SET search_path = reading")
        repository_there = PostgresRepository(there, migrate=True, listen=False)

        def copy(table: str, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
            statement = f"COPY clerkmap_{table} ({', '.join(columns)}) FROM STDIN"
            with there.cursor() as cursor, cursor.copy(cast(LiteralString, statement)) as sink:
                for row in rows:
                    sink.write_row(row)

        _fill(copy, repository_there, users, members)
        there.execute("VACUUM ANALYZE")
        cursor = there.cursor()

        def select(text: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
            return cursor.execute(cast(LiteralString, text.replace("?", "%s")), values).fetchall()

        yield from _rows(repository_there, select, users, short, "PostgreSQL")
        there.execute("DROP SCHEMA reading CASCADE")


def _rows(repository: Repository, select: Read, users: int, short: bool, where: str) -> Iterator[Row]:
    rounds = 3 if short else 31
    against = "the same SELECT by hand, on the same connection"
    (organization,) = repository.organizations().items
    starts = _starts(repository, organization)
    members = (
        f"SELECT {_USER}, {_MEMBERSHIP} FROM clerkmap_memberships m "
        "JOIN clerkmap_identities i ON i.instance = m.instance AND i.key = m.user_key "
        "JOIN clerkmap_users u ON u.id = i.user_id "
        "WHERE m.instance = ? AND m.organization_key = ? AND m.is_current AND i.rank < '3' AND NOT i.banned "
        f"AND u.deleted_at IS NULL AND m.user_key > ? AND i.key > ? ORDER BY m.user_key LIMIT {PAGE}"
    )
    of = organization.clerk.instance, organization.clerk.key
    mine = Side(
        lambda after: repository.members(organization.id, after=after, limit=PAGE), constant([c for c, _ in starts])
    )
    theirs = Side(lambda key: select(members, (*of, key, key)), constant([key for _, key in starts]))
    what = f"a page of {PAGE} of an organization with {MEMBERS_OF[short]:,} members on {where}"
    ours, other, ratio = compare(mine, theirs, rounds, what)
    yield Row("reading", what, ours, against, other, ratio, AIM)

    random = Random(2)
    texts = ["".join(random.choice(_SYLLABLES) for _ in range(2)) for _ in range(SEARCHES // 4 if short else SEARCHES)]
    search = (
        f"SELECT {_USER} FROM clerkmap_search_terms t "
        "JOIN clerkmap_identities i ON i.instance = t.instance AND i.key = t.key "
        "JOIN clerkmap_users u ON u.id = i.user_id "
        "WHERE t.kind = 'user' AND t.term >= ? AND t.term < ? AND t.shared < ? AND u.deleted_at IS NULL "
        "AND NOT EXISTS (SELECT 1 FROM clerkmap_identities other WHERE other.user_id = u.id AND other.rank > i.rank) "
        f"ORDER BY t.term, t.instance, t.key LIMIT {PAGE}"
    )
    mine = Side(lambda text: repository.users(text, limit=PAGE), constant(texts))
    theirs = Side(lambda text: select(search, (text, f"{text}\U0010ffff", len(text))), constant(texts))
    what = f"a page of {PAGE} of a search among {users:,} users on {where}"
    ours, other, ratio = compare(mine, theirs, rounds, what)
    yield Row("reading", what, ours, against, other, ratio, AIM)


def _starts(repository: Repository, organization: Organization) -> list[tuple[str | None, str]]:
    """Return the beginnings of pages: the cursor, and the key that it stands for."""
    starts: list[tuple[str | None, str]] = [(None, "")]
    for _ in range(50):
        page = repository.members(organization.id, after=starts[-1][0], limit=PAGE)
        if page.after is None:
            break
        starts.append((page.after, page.items[-1].membership.clerk.user_key))
    return starts


def _fill(fill: Fill, repository: Repository, users: int, members: int) -> None:
    """Fill the tables with users, of whom some are members of one organization."""
    acme = ClerkOrganization.make(FULL, INSTANCE, organization_id(0), observed_at=OBSERVED_AT, name="Acme")
    repository.put([acme])
    terms: list[tuple[Any, ...]] = []
    random = Random(1)
    gc.disable()
    for start in range(0, users, BATCH):
        progress(f"writing users: {start:,} of {users:,}")
        batch = [_person(number, random) for number in range(start, min(start + BATCH, users))]
        ids = [uuid7() for _ in batch]
        fill("users", ("id", "created_at"), [(id, OBSERVED_AT) for id in ids])
        fill("identities", IDENTITY_COLUMNS, [(*user_row(each), id) for each, id in zip(batch, ids, strict=True)])
        for each in batch:
            terms += [(term.kind, term.text, each.instance, each.key, term.shared) for term in terms_of(each)]
        joined = [_membership(number) for number in range(start, min(start + BATCH, members))]
        fill("memberships", STORED_MEMBERSHIP_COLUMNS, [(*membership_row(each), True) for each in joined])
    gc.enable()
    progress("writing search terms")
    terms.sort()
    fill("search_terms", TERM_COLUMNS, terms)
    progress("")


def _person(number: int, random: Random) -> ClerkUser:
    first, last = ("".join(random.choices(_SYLLABLES, k=3)) for _ in range(2))
    return ClerkUser.make(
        FULL,
        INSTANCE,
        clerk_id(number),
        observed_at=OBSERVED_AT,
        email=f"{first}.{last}{number}@example.com",
        email_verified=True,
        first_name=first.title(),
        last_name=last.title(),
        image_url=f"https://img.clerk.com/{number:078d}",
        created_at=OBSERVED_AT,
    )


def _membership(number: int) -> ClerkMembership:
    return ClerkMembership.full(
        INSTANCE,
        f"orgmem_{number:027d}",
        clerk_user_id=clerk_id(number),
        clerk_organization_id=organization_id(0),
        role="org:member",
        observed_at=OBSERVED_AT,
        created_at=OBSERVED_AT,
    )
