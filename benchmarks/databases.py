"""The cost of a look-up: the first one of a user on SQLite, and one among a growing number of users."""

import asyncio
import gc
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import perf_counter

from clerkmap import ClerkUser, Resolver
from clerkmap.core.records import FROM_TOKEN, key_of
from clerkmap.ports import Repository
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.repositories.options import uuid7
from clerkmap.repositories.sql.statements import IDENTITY_COLUMNS, user_row

from .measure import Aim, Row, Side, compare, constant
from .people import (
    INSTANCE,
    OBSERVED_AT,
    bare_verification,
    clerk_id,
    crowd,
    member,
    organization_id,
    populate,
    signed_and_signature,
)

_INSERT_IDENTITY = (
    f"INSERT INTO clerkmap_identities ({', '.join(IDENTITY_COLUMNS)}) VALUES ({', '.join('?' * len(IDENTITY_COLUMNS))})"
)
SMALLEST_MEMORY = 8  # the fewest tokens and standings that a resolver can keep
ROUND = 0.2  # seconds for one side of a round of look-ups


def sqlite(short: bool) -> Iterator[Row]:
    """Without a cache hit: verify the token, and read the user from the file.

    The resolver keeps eight tokens and eight standings, and resolves hundreds in turn, so each one is evicted before
    its next use. The other side does the necessary minimum: the bare verification, and one SELECT of the user's row by
    its primary key, on one open connection with the same journal and durability.
    """
    rounds, size = (3, 20) if short else (61, 300)
    against = "RSA-2048 verification + one SELECT by primary key"
    for organization, suffix in ((False, ""), (True, ", organization in the token")):
        what = f"resolve on SQLite, nothing cached{suffix}"
        aim = None if organization else Aim("<= 2.5 times", ratio=2.5)
        people = crowd(size, organization=organization)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "app.db"
            repository = SqliteRepository.open(path)
            resolver = Resolver(people.instance, repository, keep=SMALLEST_MEMORY)
            subjects = [resolver.resolve(token).claims.subject for token in people.tokens]
            keys = [(people.instance.name, key_of(subject)) for subject in subjects]
            connection = _plain_connection(path)
            look_up = _bare_look_up(connection, bare_verification(people.clerk))
            bare = list(zip(keys, map(signed_and_signature, people.tokens), strict=True))
            theirs = Side(look_up, constant(bare))
            mine, other, ratio = compare(Side(resolver.resolve, people.fresh()), theirs, rounds, what)
            connection.close()
            repository.close()
        yield Row("sqlite", what, mine, against, other, ratio, aim)


def first(short: bool) -> Iterator[Row]:
    """A new user in async code: verify, look up, write, commit, and look up again.

    The other side verifies, inserts the user and the identity in one commit, and selects the identity, on one open
    connection. It has no threads, records, listeners or event loop.
    """
    rounds, size = (3, 5) if short else (31, 20)
    people = crowd((rounds + 1) * size)
    tokens = [iter(people.tokens), iter(people.tokens)]
    verify = bare_verification(people.clerk)
    with TemporaryDirectory() as folder, asyncio.Runner() as runner:
        repository = SqliteRepository.open(Path(folder) / "ours.db")
        resolver = Resolver(people.instance, repository)
        SqliteRepository.open(Path(folder) / "theirs.db").close()
        connection = _plain_connection(Path(folder) / "theirs.db")

        def ours(token: str) -> None:
            runner.run(resolver.aresolve(token))

        def theirs(made: tuple[tuple[bytes, bytes], ClerkUser]) -> None:
            parts, record = made
            verify(parts)
            id = uuid7()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO clerkmap_users (id, created_at) VALUES (?, 0)", (id,))
            connection.execute(_INSERT_IDENTITY, (*user_row(record), id))
            connection.execute("COMMIT")
            select = "SELECT * FROM clerkmap_identities WHERE instance = ? AND key = ?"
            assert connection.execute(select, (record.instance, record.key)).fetchone() is not None

        def make() -> list[tuple[tuple[bytes, bytes], ClerkUser]]:
            drawn = [next(tokens[1]) for _ in range(size)]
            users = [ClerkUser.make(FROM_TOKEN, INSTANCE, token[-60:], observed_at=OBSERVED_AT) for token in drawn]
            return list(zip(map(signed_and_signature, drawn), users, strict=True))

        mine = Side(ours, lambda: [next(tokens[0]) for _ in range(size)])
        figures = compare(mine, Side(theirs, make), rounds, "first sight on SQLite")
        connection.close()
        repository.close()
    against = "RSA-2048 verification + two INSERTs in one commit + one SELECT"
    yield Row("first", "first sight of a user on SQLite, async", figures[0], against, *figures[1:])


def _plain_connection(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _bare_look_up(
    connection: sqlite3.Connection, verify: Callable[[tuple[bytes, bytes]], None]
) -> Callable[[tuple[tuple[str, str], tuple[bytes, bytes]]], None]:
    select = "SELECT * FROM clerkmap_identities WHERE instance = ? AND key = ?"

    def look_up(asked: tuple[tuple[str, str], tuple[bytes, bytes]]) -> None:
        key, parts = asked
        verify(parts)
        row = connection.execute(select, key).fetchone()
        assert row is not None

    return look_up


def lookup(short: bool) -> Iterator[Row]:
    """Compare a look-up among many users with one among few, with and without an organization.

    Users are chosen at random. A round has more users than SQLite caches pages.
    """
    few, many, rounds = (1_000, 20_000, 3) if short else (1_000, 1_000_000, 21)
    aim = Aim("flat: <= 2 times", ratio=2)
    with TemporaryDirectory() as folder:
        stores: list[tuple[str, Callable[[str], Repository]]] = [
            ("in memory", lambda _: MemoryRepository()),
            ("on SQLite", lambda name: SqliteRepository.open(Path(folder) / name, durable=False)),
        ]
        for where, make in stores:
            small, large = make("small.db"), make("large.db")
            gc.disable()  # it would traverse the growing millions repeatedly
            populate(small, few, member)
            populate(large, many, member)
            gc.enable()
            for organization, whom in ((False, "a user"), (True, "a user and an organization")):
                what = f"find {whom} {where}, {many:,} users"
                mine, other = _among(large, many, organization), _among(small, few, organization)
                ours, theirs, ratio = compare(mine, other, rounds, what)
                yield Row("lookup", what, ours, f"the same, {few:,} users", theirs, ratio, aim)
            small.close()
            large.close()


def _among(repository: Repository, size: int, organization: bool) -> Side:
    random, find = Random(1), repository.find

    def call(ids: tuple[str, str | None]) -> None:
        assert find(INSTANCE, *ids) is not None

    def ask(times: int) -> list[tuple[str, str | None]]:
        numbers = [random.randrange(size) for _ in range(times)]
        return [(clerk_id(number), organization_id(number) if organization else None) for number in numbers]

    begin = perf_counter()
    for ids in ask(10):
        call(ids)
    seconds = (perf_counter() - begin) / 10
    times = max(4, min(10_000, int(ROUND / seconds)))  # bounds the run if look-ups become slow
    return Side(call, lambda: ask(times))
