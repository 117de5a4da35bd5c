"""The cost of a webhook, from its headers to its durable commit."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from svix.webhooks import Webhook

from clerkmap import Reconciler
from clerkmap.core.records import ClerkUser
from clerkmap.repositories import SqliteRepository
from clerkmap.repositories.sql.dialects import SQLITE, Names
from clerkmap.repositories.sql.statements import Statements, user_row
from clerkmap.testing import Clock, FakeClerk

from .measure import Aim, Row, Side, compare

SECRET = "whsec_" + "c2VjcmV0" * 4
NOW = 1_790_000_000
Delivery = tuple[dict[str, str], bytes]


class Deliveries:
    """Makes `user.updated` events of several users in turn, each newer than the last, so that each is a change."""

    def __init__(self, people: int, name: str) -> None:
        clerk = FakeClerk(seed=8, clock=Clock(NOW))
        self.instance = clerk.make_instance(webhook_secrets=[SECRET])
        self.clock = clerk.clock
        self._ids = [clerk.create_user().id for _ in range(people)]
        self._name = name
        self._signer = Webhook(SECRET)
        self._made = 0

    def make(self, count: int) -> list[Delivery]:
        return [self._make() for _ in range(count)]

    def rows(self, count: int) -> list[tuple[Any, ...]]:
        """Return deliveries as the rows that they would store."""
        return [user_row(self.record(body)) for _, body in self.make(count)]

    def record(self, body: bytes) -> ClerkUser:
        said = json.loads(body)
        data = said["data"]
        (email,) = (each["email_address"] for each in data["email_addresses"])
        names = {name: data[name] for name in ("first_name", "last_name", "image_url", "created_at", "updated_at")}
        return ClerkUser.full(
            self.instance.name, data["id"], observed_at=said["timestamp"], email=email, email_verified=True, **names
        )

    def _make(self) -> Delivery:
        self._made += 1
        number, at = self._made % len(self._ids), NOW * 1000 - 10_000_000 + self._made
        address = {
            "id": "idn_1",
            "email_address": f"{self._name}.{self._made}@example.com",
            "verification": {"status": "verified", "strategy": "email_code"},
        }
        data = {
            "id": self._ids[number],
            "object": "user",
            "first_name": f"{self._name} {self._made}",
            "last_name": "Of The Benchmark",
            "email_addresses": [address],
            "primary_email_address_id": "idn_1",
            "image_url": "https://img.clerk.com/" + "x" * 78,
            "public_metadata": {},
            "private_metadata": {},
            "unsafe_metadata": {},
            "external_accounts": [],
            "banned": False,
            "locked": False,
            "created_at": NOW * 1000 - 20_000_000,
            "updated_at": at,
        }
        body = json.dumps({"data": data, "object": "event", "type": "user.updated", "timestamp": at}).encode()
        id = f"msg_{self._made}"
        signature = self._signer.sign(id, datetime.fromtimestamp(NOW, UTC), body.decode())
        return {"svix-id": id, "svix-timestamp": str(NOW), "svix-signature": signature}, body


def webhook(short: bool) -> Iterator[Row]:
    """Measure a delivery about a known user: headers, signature, body and a durable transaction.

    The other side does the minimum for the database: one conditional upsert of the same prepared row, on one open
    connection with the same durability. It reads no header, checks no signature, parses no body and returns no change.
    """
    rounds, size = (3, 20) if short else (41, 200)
    with TemporaryDirectory() as folder:
        deliveries, others = Deliveries(100, "Ours"), Deliveries(100, "Theirs")
        repository = SqliteRepository.open(Path(folder) / "ours.db")
        reconciler = Reconciler(deliveries.instance, repository, clock=deliveries.clock)
        connection = _plain_file(Path(folder) / "theirs.db")
        upsert = _bare_upsert(connection)

        def receive(delivery: Delivery) -> None:
            assert reconciler.receive(*delivery).kind == "applied"

        for delivery in deliveries.make(100):
            receive(delivery)
        for row in others.rows(100):
            upsert(row)
        mine = Side(receive, lambda: deliveries.make(size))
        theirs = Side(upsert, lambda: others.rows(size))
        ours, other, ratio = compare(mine, theirs, rounds, "webhook to committed on SQLite")
        connection.close()
        repository.close()
    yield Row(
        "webhook",
        "webhook to committed on SQLite",
        ours,
        "one raw upsert of the same row, committed",
        other,
        ratio,
        Aim("<= 1.6 times", ratio=1.6),
    )


def _plain_file(path: Path) -> sqlite3.Connection:
    """Open a separate file with the same table, journal and durability."""
    SqliteRepository.open(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("INSERT INTO clerkmap_users (id, created_at) VALUES ('somebody', 0)")
    return connection


def _bare_upsert(connection: sqlite3.Connection) -> Callable[[tuple[Any, ...]], None]:
    statement = Statements(SQLITE, Names("clerkmap_"), None).upsert_identity

    def upsert(row: tuple[Any, ...]) -> None:
        assert connection.execute(statement, (*row, "somebody")).fetchone() is not None

    return upsert
