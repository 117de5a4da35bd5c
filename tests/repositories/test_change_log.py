"""On SQLite a change made elsewhere arrives with its keys: only the standings that it touches are forgotten."""

import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, transaction

from clerkmap import ClerkUser, LockedOut, Repository, Resolver, Verifier
from clerkmap.core.records import ClerkSession, key_of
from clerkmap.repositories import SqliteRepository
from clerkmap.repositories.django import DjangoRepository
from clerkmap.repositories.sql.schema import CHANGES_KEPT
from clerkmap.repositories.sqlite.connections import POLL_EVERY
from clerkmap.testing import Clock, FakeClerk
from clerkmap.testing.samples import ACME, ANN, BEA, HERE, company, found, left, member, person
from django_databases import add_database

ANNS, BEAS, ACMES = key_of(ANN), key_of(BEA), key_of(ACME)
Told = list[Collection[str] | None]


def file(path: Path) -> Repository:
    return SqliteRepository.open(path)


def your_connection(path: Path) -> Repository:
    return SqliteRepository(sqlite3.connect(path, isolation_level=None), migrate=True)


def django(path: Path) -> Repository:
    return DjangoRepository(add_database("sqlite", NAME=str(path)))


@pytest.fixture(params=[file, your_connection, django])
def here(request: pytest.FixtureRequest, tmp_path: Path, there: SqliteRepository) -> Iterator[Repository]:
    """A repository that looks, beside the one that writes."""
    repository: Repository = request.param(tmp_path / "app.db")
    repository.poll()
    yield repository
    repository.close()
    connection = getattr(getattr(repository, "_connections", None), "_connection", None)
    if connection is not None:
        connection.close()
    connections.close_all()


@pytest.fixture
def there(tmp_path: Path) -> Iterator[SqliteRepository]:
    repository = SqliteRepository.open(tmp_path / "app.db")
    yield repository
    repository.close()


def told_at_next_look(repository: Repository) -> Told:
    """The keys that the watchers are called with at the next look."""
    told: Told = []
    repository.listeners.watch(told.append)
    repository.poll()
    repository.listeners._watchers.remove(told.append)
    return [None if keys is None else set(keys) for keys in told]


def test_a_change_made_elsewhere_arrives_with_its_keys(here: Repository, there: SqliteRepository) -> None:
    """Each kind of record and each operation: the keys of the changed standings and of nothing else."""
    changes: list[tuple[Callable[[], Any], set[str]]] = [
        (lambda: there.put([person()]), {ANNS}),
        (lambda: there.put([person(at=2, banned=True)]), {ANNS}),
        (lambda: there.put([company()]), {ACMES}),
        (lambda: there.put([company(at=2, name="New")]), {ACMES}),
        (lambda: there.put([member()]), {ANNS}),
        (lambda: there.put([left()]), {ANNS}),
        (lambda: there.put([ClerkSession.deleted(HERE, "sess_1", observed_at=2**42)]), {key_of("sess_1")}),
        (lambda: there.set_role(found(there).id, "admin"), {ANNS}),
        (lambda: there.link(HERE, BEA, found(there).id, shared=True), {ANNS, BEAS}),
        (lambda: there.set_role(found(there).id, "staff"), {ANNS, BEAS}),
        (lambda: there.unlink(HERE, BEA, found(there).id), {ANNS, BEAS}),
        (lambda: there.erase(found(there).id), {ANNS}),
        (lambda: there.put([person(BEA), company("org_other")]), {BEAS, key_of("org_other")}),
    ]
    assert told_at_next_look(here) == []
    for number, (change, keys) in enumerate(changes):
        change()
        assert (number, told_at_next_look(here)) == (number, [keys])
        assert told_at_next_look(here) == []


def test_a_commit_that_touches_no_table_of_clerkmaps_costs_no_forgetting(
    tmp_path: Path, here: Repository, there: SqliteRepository
) -> None:
    """Neither a program's own tables nor clerkmap's notes are a change of a standing."""
    with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as other:
        other.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        other.execute("INSERT INTO orders DEFAULT VALUES")
    there.set_checkpoint("sync", "page 7")
    assert told_at_next_look(here) == []


@pytest.mark.parametrize(
    ("statement", "keys"),
    [
        ("UPDATE clerkmap_identities SET banned = 1", {ANNS}),
        ("UPDATE clerkmap_users SET role = 'admin'", {ANNS}),
        ("UPDATE clerkmap_memberships SET role = 'org:admin'", {ANNS}),
        (f"UPDATE clerkmap_memberships SET user_key = '{BEAS}'", {ANNS, BEAS}),
        ("DELETE FROM clerkmap_memberships", {ANNS}),
        ("UPDATE clerkmap_organizations SET name = 'Other'", {ACMES}),
        ("DELETE FROM clerkmap_organizations", {ACMES}),
        ("DELETE FROM clerkmap_identities", {ANNS}),
        ("DELETE FROM clerkmap_sessions", {key_of("sess_1")}),
        (f"INSERT INTO clerkmap_sessions (instance, key, rank) VALUES ('x', '{BEAS}', '3')", {BEAS}),
    ],
)
def test_direct_sql_of_another_program_is_seen_too(
    tmp_path: Path, here: Repository, there: SqliteRepository, statement: str, keys: set[str]
) -> None:
    """A ban by SQL counts like one by webhook, whatever program runs the statement."""
    there.put([person(), company(), member(), ClerkSession.deleted(HERE, "sess_1", observed_at=2**42)])
    here.poll()
    with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as other:
        other.execute(statement)
    assert told_at_next_look(here) == [keys]


@pytest.mark.parametrize("disturbed", ["trimmed", "emptied", "restored", "a gap"])
def test_a_reader_that_cannot_follow_forgets_everything(
    tmp_path: Path, here: Repository, there: SqliteRepository, disturbed: str
) -> None:
    """Rows that are missing could have held any key. After that, keys arrive again."""
    there.put([person(), company()])
    here.poll()
    statements = {
        "trimmed": f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {CHANGES_KEPT + 2000}) "
        "INSERT INTO clerkmap_changes (key) SELECT 'x' FROM n",
        "emptied": "DELETE FROM clerkmap_changes",
        "restored": "DELETE FROM clerkmap_changes WHERE id > 1",
        "a gap": "INSERT INTO clerkmap_changes (id, key) VALUES (50, 'x')",
    }
    with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as other:
        other.execute(statements[disturbed])
    assert told_at_next_look(here) == [None]
    there.put([person(BEA)])
    here.poll()
    there.put([person(at=2, banned=True)])
    assert told_at_next_look(here) == [{ANNS}]


def test_the_table_stays_small(tmp_path: Path, there: SqliteRepository) -> None:
    """However much is written, a bounded number of rows is kept."""
    for first in range(0, 3 * CHANGES_KEPT, 2048):
        there.put([person(f"user_{number}") for number in range(first, first + 2048)])
    with closing(sqlite3.connect(tmp_path / "app.db")) as other:
        ((kept, last),) = other.execute("SELECT count(*), max(id) FROM clerkmap_changes").fetchall()
    assert last == 3 * CHANGES_KEPT
    assert CHANGES_KEPT <= kept <= CHANGES_KEPT + 1024


def test_only_the_person_concerned_is_looked_up_again(there: SqliteRepository, tmp_path: Path) -> None:
    """Of a hundred remembered callers, a ban made elsewhere costs one look-up."""
    clerk, monotonic = FakeClerk(clock=Clock(1_790_000_000)), Clock(0)
    here = Counting.open(tmp_path / "app.db")
    assert isinstance(here, Counting)
    resolver = Resolver(clerk.instance, here, verifier=Verifier(clerk.instance, clock=clerk.clock), monotonic=monotonic)
    people = [clerk.create_user() for _ in range(100)]
    tokens = [clerk.token(user) for user in people]
    for token in tokens:
        resolver.resolve(token)
    monotonic.advance(POLL_EVERY)
    for token in tokens:  # what this process has written itself arrives once more
        resolver.resolve(token)
    there.put([ClerkUser.deleted(clerk.instance.name, people[7].id, observed_at=2**42)])
    there.set_checkpoint("sync", "page 7")
    here.finds = 0
    monotonic.advance(POLL_EVERY)

    refused = 0
    for token in tokens:
        try:
            resolver.resolve(token)
        except LockedOut:
            refused += 1
    assert (refused, here.finds) == (1, 1)
    here.close()


class Counting(SqliteRepository):
    """Counts the look-ups of standings."""

    finds = 0

    def find(self, *args: Any, **kwargs: Any) -> Any:
        self.finds += 1
        return super().find(*args, **kwargs)


def test_inside_a_transaction_nothing_is_believed(tmp_path: Path, there: SqliteRepository) -> None:
    """Rows of a transaction that is undone are read again by their ids, which another change has by then."""
    connection = sqlite3.connect(tmp_path / "app.db", isolation_level=None)
    here = SqliteRepository(connection, migrate=True)
    connection.execute("BEGIN")
    here.put([person()])
    assert told_at_next_look(here) == [None]
    connection.execute("ROLLBACK")
    there.put([person(BEA)])
    assert told_at_next_look(here) == [{BEAS}]
    connection.close()


def test_inside_a_transaction_of_djangos_the_past_is_not_believed(tmp_path: Path, there: SqliteRepository) -> None:
    """A thread that still sees an old snapshot does not let other threads believe that nothing was written."""
    here = django(tmp_path / "app.db")
    here.poll()
    alias = here._alias  # type: ignore[attr-defined]
    with transaction.atomic(using=alias):
        assert here.find(HERE, ANN) is None  # the snapshot begins
        there.put([person()])
        assert told_at_next_look(here) == [None]
    assert told_at_next_look(here) == [{ANNS}]
    connections.close_all()


def test_a_watcher_that_fails_is_called_again(tmp_path: Path, there: SqliteRepository) -> None:
    """Keys count as delivered when every watcher has taken them."""
    here = SqliteRepository.open(tmp_path / "app.db")
    told: Told = []

    def fails_once(keys: Collection[str] | None) -> None:
        told.append(keys)
        if len(told) == 1:
            raise ZeroDivisionError

    here.listeners.watch(fails_once)
    there.put([person()])
    with pytest.raises(ZeroDivisionError):
        here.poll()
    here.poll()
    here.poll()
    assert told == [{ANNS}, {ANNS}]
    here.close()


def test_threads_that_look_at_once_miss_nothing(tmp_path: Path, there: SqliteRepository) -> None:
    """When `poll` returns, every watcher has been called with every change committed before it was called."""
    here = SqliteRepository.open(tmp_path / "app.db")
    seen: set[str] = set()
    here.listeners.watch(lambda keys: seen.update(keys or ()))
    missed: list[str] = []
    committed: list[str] = []

    def look() -> None:
        while len(committed) < 200:
            before = list(committed)
            here.poll()
            missed.extend(key for key in before if key not in seen)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(200):
        there.put([person(f"user_{number}")])
        committed.append(key_of(f"user_{number}"))
    for thread in threads:
        thread.join()
    assert missed == []
    here.close()
