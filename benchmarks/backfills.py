"""The cost of a backfill for each user, from the bytes of a page to its commit."""

import json
import sqlite3
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import httpx
import psycopg

from clerkmap.clerk import ClerkApi, endpoints
from clerkmap.clerk.budget import Budget
from clerkmap.core.events import records_of
from clerkmap.core.records import AnyRecord, ClerkUser
from clerkmap.ports import Repository
from clerkmap.repositories import PostgresRepository, SqliteRepository
from clerkmap.repositories.options import uuid7
from clerkmap.repositories.sql.statements import IDENTITY_COLUMNS, user_row
from clerkmap.testing import FakeClerk

from .measure import Aim, Figure, Row, Side, compare
from .postgres import server

PAGE = 500
NOW = 1_790_000_000_000
_numbers = count()


class Pages(httpx.BaseTransport):
    """Pages of new users in Clerk's format: some 1,300 bytes each, and more with metadata."""

    def __init__(self) -> None:
        self.clerk = FakeClerk(9)
        person = self.clerk.create_user("ada@example.com", first_name="Ada", last_name="Lovelace")
        self._row = json.dumps(self.clerk.shape(person), separators=(",", ":")).replace(person.id, "user_NUMBER")
        self._row = self._row.replace("ada@example.com", "ada.NUMBER@example.com")
        self.body = b""

    def make(self) -> bytes:
        rows = (self._row.replace("NUMBER", f"{next(_numbers):09d}") for _ in range(PAGE))
        return f"[{','.join(rows)}]".encode()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if "jwks" in request.url.path:  # the secret key is checked against the instance before its first use
            return httpx.Response(200, json=self.clerk.jwks())
        return httpx.Response(200, content=self.body, headers={"content-type": "application/json"})


def backfills(short: bool) -> Iterator[Row]:
    """Request, read and store a page of users, durably. The figures are for one user.

    On SQLite, the other side reads the same JSON and inserts prepared rows in one transaction with the same durability.
    It has no HTTP, records, ids or changes. On PostgreSQL, the other side is the backfill into SQLite.
    """
    rounds, pages = (3, 1) if short else (31, 4)
    with TemporaryDirectory() as folder:
        transport = Pages()
        repository = SqliteRepository.open(Path(folder) / "ours.db")
        mine = _ours(transport, repository, pages)
        theirs, connection = _theirs(transport, Path(folder) / "theirs.db", pages)
        ours, other, ratio = compare(mine, theirs, rounds, "backfill on SQLite")
        yield Row(
            "backfill", "one of a page of 500 from Clerk's API, committed on SQLite", _each(ours),
            "json.loads + inserts of ready rows, in one commit", _each(other), ratio,
            Aim("<= 25 us: 40,000 a second", limit=25e-6),
        )  # fmt: skip
        with server() as uri, psycopg.connect(uri, autocommit=True) as postgres:
            far = PostgresRepository(postgres, schema="ours", migrate=True)
            far_side = _ours(transport, far, pages)
            far_ours, near, far_ratio = compare(far_side, mine, rounds, "backfill on PostgreSQL")
        yield Row(
            "backfill", "the same on PostgreSQL", _each(far_ours), "on SQLite", _each(near), far_ratio,
            Aim("<= 40 us: 25,000 a second", limit=40e-6),
        )  # fmt: skip
        connection.close()
        repository.close()


def _ours(transport: Pages, repository: Repository, pages: int) -> Side:
    clerk = transport.clerk
    api = ClerkApi(clerk.instance, transport=transport, budget=Budget(1e9, monotonic))
    question, name = endpoints.users(), clerk.instance.name

    def copy(body: bytes) -> None:
        transport.body = body
        records = list[AnyRecord]()
        for row in api.send(question):
            records += records_of("user", name, row, NOW)
        assert len(repository.put(records)) == PAGE

    return Side(copy, lambda: [transport.make() for _ in range(pages)])


def _theirs(transport: Pages, path: Path, pages: int) -> tuple[Side, sqlite3.Connection]:
    SqliteRepository.open(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    columns = f"({', '.join(IDENTITY_COLUMNS)}) VALUES ({', '.join('?' * len(IDENTITY_COLUMNS))})"
    name = transport.clerk.instance.name

    def copy(page: tuple[bytes, list[tuple[Any, ...]]]) -> None:
        body, rows = page
        assert len(json.loads(body)) == len(rows)
        connection.execute("BEGIN IMMEDIATE")
        ids = [(row[-1],) for row in rows]
        connection.executemany("INSERT INTO clerkmap_users (id, created_at) VALUES (?, 0)", ids)
        connection.executemany(f"INSERT INTO clerkmap_identities {columns}", rows)
        connection.execute("COMMIT")

    def make() -> tuple[bytes, list[tuple[Any, ...]]]:
        body = transport.make()
        records = [records_of("user", name, row, NOW)[0] for row in json.loads(body)]
        return body, [(*user_row(each), uuid7()) for each in records if isinstance(each, ClerkUser)]

    return Side(copy, lambda: [make() for _ in range(pages)]), connection


def _each(page: Figure) -> Figure:
    return Figure(*(value / PAGE for value in page))
