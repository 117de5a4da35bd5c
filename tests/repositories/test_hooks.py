"""Hooks with real tables: in the very transaction, whichever way in the change came, and undone with it."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from clerkmap import Change, Reconciler, Resolver, Verifier
from clerkmap.errors import ConfigurationError, HookFailed
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.testing import Clock, FakeClerk
from clerkmap.testing.samples import ACME, ANN, HERE, by_key, company, member, person

HOTELS = "CREATE TABLE IF NOT EXISTS hotels (id TEXT PRIMARY KEY, name TEXT)"
DEPARTMENTS = "CREATE TABLE IF NOT EXISTS departments (hotel TEXT REFERENCES hotels (id), name TEXT)"
CLERK = FakeClerk(clock=Clock(1_790_000_000))
INSTANCE = CLERK.instance
ORGANIZATION = CLERK.create_organization("Grand Hotel")
(DELIVERY,) = CLERK.deliveries()


def open_hotel(change: Change, tx: sqlite3.Connection) -> None:
    """A row of the application for each new organization, with what belongs to it."""
    if change.made and change.is_organization:
        assert change.organization is not None
        tx.execute("INSERT INTO hotels (id, name) VALUES (?, ?)", (change.organization.id, change.organization.name))
        rows = [(change.organization.id, name) for name in ("reception", "kitchen")]
        tx.executemany("INSERT INTO departments VALUES (?, ?)", rows)


class Hotels:
    """A repository, and a look at the application's tables beside it."""

    def __init__(self, kind: str, path: Path) -> None:
        self.kind = kind
        self.repository: Any
        if kind == "memory":
            self.repository = MemoryRepository(ids=by_key)
            self.database = self.repository.database
        else:
            self.repository = SqliteRepository.open(path, ids=by_key)
            self.database = sqlite3.connect(path, isolation_level=None)
        self.database.execute(HOTELS)
        self.database.execute(DEPARTMENTS)

    def rows(self) -> list[tuple[str | None, int]]:
        query = "SELECT name, (SELECT count(*) FROM departments WHERE hotel = h.id) FROM hotels h"
        found: list[tuple[str | None, int]] = self.database.execute(query).fetchall()
        return found


@pytest.fixture(params=["memory", "sqlite"])
def hotels(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hotels]:
    made = Hotels(request.param, tmp_path / "app.db")
    yield made
    made.database.close()
    made.repository.close()


def test_a_webhook_opens_a_hotel_once(hotels: Hotels) -> None:
    """The same hook on either repository; a redelivery calls nobody."""
    ours = Reconciler(INSTANCE, hotels.repository, hooks=[open_hotel], clock=CLERK.clock)

    assert ours.receive(DELIVERY.headers, DELIVERY.body).kind == "applied"
    assert ours.receive(DELIVERY.headers, DELIVERY.body).kind == "nothing_new"
    assert hotels.rows() == [("Grand Hotel", 2)]


def test_a_token_opens_a_hotel_too(hotels: Hotels) -> None:
    """First sight by token calls the same hooks: the name follows when Clerk tells it, and makes no second hotel."""
    ours = Reconciler(INSTANCE, hotels.repository, hooks=[open_hotel], clock=CLERK.clock)
    ann = CLERK.create_user()
    resolver = Resolver(INSTANCE, hotels.repository, verifier=Verifier(INSTANCE, clock=CLERK.clock))

    principal = resolver.resolve(CLERK.token(ann, ORGANIZATION))
    assert principal.organization is not None
    assert hotels.rows() == [(None, 2)]
    ours.receive(DELIVERY.headers, DELIVERY.body)
    assert hotels.rows() == [(None, 2)]


def test_what_a_hook_wrote_is_undone_with_the_rest(hotels: Hotels) -> None:
    """A hook that raises at its end, or in its SQL, leaves neither your rows nor clerkmap's; the next delivery does."""
    broken = [True]

    def fail(change: Change, tx: sqlite3.Connection) -> None:
        if broken[0]:
            tx.execute("INSERT INTO nothing VALUES (1)")

    ours = Reconciler(INSTANCE, hotels.repository, hooks=[open_hotel, fail], clock=CLERK.clock)
    with pytest.raises(HookFailed) as failed:
        ours.receive(DELIVERY.headers, DELIVERY.body)

    assert isinstance(failed.value.__cause__, sqlite3.OperationalError)
    assert hotels.rows() == []
    assert ours.counts()["events"] == []
    broken[0] = False
    assert ours.receive(DELIVERY.headers, DELIVERY.body).kind == "applied"
    assert hotels.rows() == [("Grand Hotel", 2)]


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_hook_must_not_end_the_transaction(hotels: Hotels, end: str) -> None:
    """It cannot: everything is undone, and nothing is stuck."""
    hotels.repository.listeners.hook(open_hotel)
    hotels.repository.listeners.hook(lambda change, tx: tx.execute(end))

    with pytest.raises(HookFailed):
        hotels.repository.put([company()])

    assert hotels.rows() == []
    assert hotels.repository.put([]) == []
    assert hotels.repository.organization(by_key(company())) is None


@pytest.mark.parametrize("how", ["with", "executescript", "or rollback", "close"])
def test_nor_in_any_other_way(hotels: Hotels, how: str) -> None:
    """Whatever a hook does to its transaction, none of it stays, and the next put is one like others."""
    broken = [True]

    def hook(change: Change, tx: sqlite3.Connection) -> None:
        if not broken[0] or (how == "close" and hotels.kind == "memory"):
            return
        if how == "with":
            with tx:
                tx.execute("INSERT INTO hotels VALUES ('x', 'x')")
        if how == "executescript":
            tx.executescript("INSERT INTO hotels VALUES ('x', 'x'); BEGIN")
        if how == "or rollback":
            with suppress(sqlite3.IntegrityError):
                tx.execute("INSERT OR ROLLBACK INTO hotels VALUES ('x', 'x'), ('x', 'x')")
        if how == "close":
            tx.close()

    hotels.repository.listeners.hook(hook)
    hotels.repository.listeners.hook(open_hotel)
    if not (how == "close" and hotels.kind == "memory"):
        with pytest.raises((HookFailed, ConfigurationError)):
            hotels.repository.put([company(name="Acme")])
        assert hotels.rows() == []
    broken[0] = False
    assert len(hotels.repository.put([company(name="Acme")])) == 1
    assert hotels.rows() == [("Acme", 2)]


def test_a_cursor_that_a_hook_keeps_holds_nobody_in_the_past(tmp_path: Path) -> None:
    """A ban that another process commits is seen, although a hook has left a statement half read."""
    kept: list[sqlite3.Cursor] = []

    def hook(change: Change, tx: sqlite3.Connection) -> None:
        kept.append(tx.execute("SELECT id FROM clerkmap_users UNION ALL SELECT 'x' UNION ALL SELECT 'y'"))
        kept[-1].fetchone()

    repository, other = (SqliteRepository.open(tmp_path / "app.db", hooks=[each]) for each in (hook, open_hotel))
    repository.put([person()])
    other.put([person(at=2, banned=True)])

    standing = repository.find(HERE, ANN)
    assert standing is not None
    assert standing.user.clerk.banned
    kept.clear()
    repository.close()
    other.close()


def test_an_interrupt_after_the_commit_leaves_nothing_stale(hotels: Hotels) -> None:
    """Ctrl-C between the commit and the telling: everybody is told that it may have been anything."""
    told: list[object] = []

    def interrupt(keys: object) -> None:
        if keys is not None:
            raise KeyboardInterrupt

    hotels.repository.listeners.watch(interrupt)
    hotels.repository.listeners.watch(told.append)
    with pytest.raises(KeyboardInterrupt):
        hotels.repository.put([person()])

    assert told == [None]


def test_an_after_commit_that_fails_is_logged_without_what_it_was_about(
    hotels: Hotels, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says who raised what, and where; not the text, which may hold an address."""

    def send_mail(change: Change) -> None:
        raise OSError("no route to ann@example.com")

    hotels.repository.listeners.after_commit(send_mail)
    with caplog.at_level(logging.ERROR, "clerkmap"):
        hotels.repository.put([person(email="ann@example.com")])

    (record,) = caplog.records
    assert "send_mail failed" in record.getMessage()
    assert "OSError (message withheld)" in record.getMessage()
    assert "ann@example.com" not in record.getMessage()
    assert "test_hooks.py" in record.getMessage()


def test_in_your_transaction_the_commit_is_yours(tmp_path: Path) -> None:
    """Hooks write into your transaction and go with it; after_commit waits for nobody, so it is not called."""
    connection = sqlite3.connect(tmp_path / "app.db", isolation_level=None)
    connection.execute(HOTELS)
    connection.execute(DEPARTMENTS)
    mails: list[Change] = []
    repository = SqliteRepository(connection, ids=by_key, hooks=[open_hotel], after_commit=[mails.append], migrate=True)

    connection.execute("BEGIN")
    repository.put([company(name="Acme")])
    assert connection.execute("SELECT name FROM hotels").fetchall() == [("Acme",)]
    connection.execute("ROLLBACK")

    assert connection.execute("SELECT name FROM hotels").fetchall() == []
    assert repository.organization(by_key(company())) is None
    assert mails == []
    repository.put([company(name="Acme")])
    assert len(mails) == 1
    connection.close()


def test_hooks_run_in_the_order_in_which_things_depend_on_each_other(tmp_path: Path) -> None:
    """Organizations, people, places: a row that refers to another finds it."""
    connection = sqlite3.connect(tmp_path / "app.db", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    repository = SqliteRepository(connection, ids=by_key, migrate=True)
    connection.execute("CREATE TABLE hotels (id TEXT PRIMARY KEY REFERENCES clerkmap_organizations (id))")
    connection.execute("CREATE TABLE staff (hotel TEXT REFERENCES hotels (id), id TEXT REFERENCES clerkmap_users (id))")

    def write(change: Change, tx: sqlite3.Connection) -> None:
        if change.made and change.is_organization and change.organization:
            tx.execute("INSERT INTO hotels VALUES (?)", (change.organization.id,))
        if change.made and change.is_membership and change.organization and change.user:
            tx.execute("INSERT INTO staff VALUES (?, ?)", (change.organization.id, change.user.id))

    repository.listeners.hook(write)
    repository.put([member(), person(), company()])

    assert connection.execute("SELECT hotel, id FROM staff").fetchall() == [(by_key(company()), by_key(person()))]
    assert repository.find(HERE, ANN, ACME) is not None
    connection.close()
