"""The database commits a write and its answer is lost, and another writer sees the write and acts upon it.

Whatever the repository does then, the end is the one of the two writes in their order: the later one stands.
To put another write to the test, add a line to `CASES`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from clerkmap import CommitUnknown, OutboxEntry, Repository, RepositoryUnavailable, WriteBack
from clerkmap.core.records import AnyRecord, ClerkOrganization, ClerkSession, ClerkUser
from clerkmap.core.times import to_datetime
from clerkmap.repositories import MemoryRepository
from clerkmap.testing.samples import ACME, ANN, BEA, HERE, company, left, member, person
from lost_answers_ways import (
    InYourTransaction,
    OnAsyncpg,
    OnAsyncSqlAlchemy,
    OnDjangosPostgres,
    OnDjangosSqlite,
    OnPostgres,
    OnPostgresAsync,
    OnSqlAlchemy,
    OnSqlAlchemysSqlite,
    OnSqlite,
    OnYourConnection,
    OnYourPool,
    OnYourPoolAsync,
    OnYourSqliteConnection,
    Way,
)
from postgres_cluster import clusters
from tcp_proxy import TcpProxy

DAY = 24 * 60 * 60 * 1000
NOW = 100 * DAY
NEW = "user_new"  # somebody at Clerk of whom nothing is known
WAYS: dict[str, Callable[[ExitStack, dict[str, Any]], Way]] = {
    "PostgreSQL": OnPostgres,
    "PostgreSQL, async": OnPostgresAsync,
    "your pool": OnYourPool,
    "your pool, async": OnYourPoolAsync,
    "your connection": OnYourConnection,
    "your transaction": InYourTransaction,
    "Django on PostgreSQL": OnDjangosPostgres,
    "SQLAlchemy": OnSqlAlchemy,
    "SQLAlchemy, async": OnAsyncSqlAlchemy,
    "SQLAlchemy, asyncpg": OnAsyncpg,
    "SQLite": OnSqlite,
    "your SQLite connection": OnYourSqliteConnection,
    "Django on SQLite": OnDjangosSqlite,
    "SQLAlchemy on SQLite": OnSqlAlchemysSqlite,
}

pytestmark = pytest.mark.slow

Write = Callable[[Repository], object]


@dataclass(frozen=True)
class Case:
    """A write, and what another writer does that has seen it. `repeats`: a repository with a pool repeats the write."""

    write: Write
    other: Write
    given: Write = lambda repository: None
    repeats: bool = False
    options: dict[str, Any] = field(default_factory=dict)


def put(*records: AnyRecord) -> Write:
    return lambda repository: repository.put(records)


def outbox_entry(repository: Repository) -> OutboxEntry | None:
    return repository.outbox_entry(HERE, "user", person().key)


def swap(change: Callable[[OutboxEntry], OutboxEntry | None]) -> Write:
    def swapped(repository: Repository) -> None:
        there = outbox_entry(repository)
        assert there is not None
        assert repository.swap_outbox_entry(there, change(there))

    return swapped


ADDED = OutboxEntry(HERE, "user", person().key, since=to_datetime(1), due_at=to_datetime(2))
GONE = ClerkUser.deleted(HERE, ANN, observed_at=DAY)
ADMIN = '{"role": "admin"}'
WRITES_BACK = {"write_back": WriteBack(role="role")}

# In the beginning Ann is user 1 and Bea is user 2.
CASES = {
    "set_role, changed": Case(lambda r: r.set_role(1, "admin"), lambda r: r.set_role(1, "member")),
    "set_role, taken": Case(lambda r: r.set_role(1, "admin"), lambda r: r.set_role(1, None)),
    "set_role, erased": Case(lambda r: r.set_role(1, "admin"), lambda r: r.erase(1)),
    "set_role, written back": Case(lambda r: r.set_role(1, "admin"), swap(lambda there: None), options=WRITES_BACK),
    "link, unlinked": Case(lambda r: r.link(HERE, NEW, 1, shared=True), lambda r: r.unlink(HERE, NEW, 1)),
    "link, relinked": Case(lambda r: r.link(HERE, NEW, 1, shared=True), lambda r: r.relink(HERE, NEW, 1, to=2)),
    "link of a new user, erased": Case(lambda r: r.link(HERE, NEW, 7), lambda r: r.erase(7)),
    "unlink, relinked": Case(lambda r: r.unlink(HERE, ANN, 1), lambda r: r.relink(HERE, ANN, 3, to=1)),
    "relink, relinked": Case(lambda r: r.relink(HERE, ANN, 1, to=2), lambda r: r.relink(HERE, ANN, 2, to=1)),
    "erase, linked": Case(lambda r: r.erase(1), lambda r: r.link(HERE, NEW, 1, shared=True)),
    "erase, role set": Case(lambda r: r.erase(1), lambda r: r.set_role(1, "owner")),
    "set_checkpoint, changed": Case(lambda r: r.set_checkpoint("n", "mine"), lambda r: r.set_checkpoint("n", "yours")),
    "set_checkpoint, removed": Case(lambda r: r.set_checkpoint("n", "mine"), lambda r: r.set_checkpoint("n", None)),
    "set_checkpoint to nothing, set": Case(
        lambda r: r.set_checkpoint("n", None),
        lambda r: r.set_checkpoint("n", "yours"),
        lambda r: r.set_checkpoint("n", "old"),
    ),
    "swap_checkpoint, removed": Case(
        lambda r: r.swap_checkpoint("n", None, "mine"), lambda r: r.swap_checkpoint("n", "mine", None)
    ),
    "swap_checkpoint, swapped back": Case(
        lambda r: r.swap_checkpoint("n", "old", "mine"),
        lambda r: r.swap_checkpoint("n", "mine", "old"),
        lambda r: r.set_checkpoint("n", "old"),
    ),
    "swap_outbox_entry adds, removed": Case(lambda r: r.swap_outbox_entry(None, ADDED), swap(lambda there: None)),
    "swap_outbox_entry removes, added": Case(
        swap(lambda there: None),
        lambda r: r.swap_outbox_entry(None, ADDED),
        lambda r: r.swap_outbox_entry(None, ADDED),
    ),
    "swap_outbox_entry changes, changed back": Case(
        lambda r: r.swap_outbox_entry(ADDED, replace(ADDED, due_at=to_datetime(9), tries=1)),
        lambda r: r.swap_outbox_entry(replace(ADDED, due_at=to_datetime(9), tries=1), ADDED),
        lambda r: r.swap_outbox_entry(None, ADDED),
    ),
    "purge, put again": Case(lambda r: r.purge(to_datetime(NOW - 40 * DAY)), put(GONE), put(GONE)),
    "put, put": Case(put(person(at=2, first_name="A")), put(person(at=3, first_name="B")), repeats=True),
    "put, erased": Case(put(person(at=2)), lambda r: r.erase(1), repeats=True),
    "put of somebody new, unlinked": Case(put(person(NEW)), lambda r: r.unlink(HERE, NEW, 3), repeats=True),
    "put of somebody new, relinked": Case(put(person(NEW)), lambda r: r.relink(HERE, NEW, 3, to=2), repeats=True),
    "put with a role, role set": Case(
        put(person(NEW, public_metadata=ADMIN)), lambda r: r.set_role(3, "member"), repeats=True
    ),
    "put with a role, role taken": Case(
        put(person(NEW, public_metadata=ADMIN)), lambda r: r.set_role(3, None), repeats=True
    ),
    "put, written back": Case(
        put(person(at=2, public_metadata=ADMIN)),
        swap(lambda there: None),
        lambda r: r.set_role(1, "member"),
        repeats=True,
        options=WRITES_BACK,
    ),
    "put of a membership, left": Case(put(company(), member()), put(left()), repeats=True),
    "put of an organization, deleted": Case(
        put(company()), put(ClerkOrganization.deleted(HERE, ACME, observed_at=9)), repeats=True
    ),
    "put of a session that is over, put again": Case(
        put(ClerkSession.deleted(HERE, "sess_1", observed_at=NOW)),
        put(ClerkSession.deleted(HERE, "sess_1", observed_at=NOW + 1)),
        repeats=True,
    ),
    "put of a tombstone, purged": Case(put(GONE), lambda r: r.purge(to_datetime(NOW - 40 * DAY))),
    "put of many, put": Case(
        put(*(person(f"user_{number}") for number in range(20))),
        put(*(person(f"user_{number}", at=2) for number in range(20))),
        repeats=True,
    ),
}


def state(repository: Repository) -> Any:
    """All that the cases change."""
    ids = (ANN, BEA, NEW, *(f"user_{number}" for number in range(20)))
    standings = [repository.find(HERE, clerk_id, ACME, "sess_1") for clerk_id in ids]
    found = [None if each is None else replace(each, settled=True) for each in standings]
    return found, [repository.user(id) for id in range(8)], repository.checkpoint("n"), repository.outbox(HERE)


def options_of(case: Case) -> dict[str, Any]:
    return {"ids": int, "first_id": 1, "clock": lambda: NOW / 1000, "first_role": _role, **case.options}


def _role(record: ClerkUser) -> str | None:
    return "admin" if "admin" in record.public_metadata else None


def prepare(repository: Repository, case: Case) -> None:
    for clerk_id in (ANN, BEA):
        repository.put([person(clerk_id)])
    case.given(repository)


@pytest.fixture(scope="module")
def network() -> Iterator[None]:
    """A server, and the network before it."""
    with clusters() as new:
        cluster = OnPostgres.cluster = new()
        cluster.make(fsync="off")
        with TcpProxy(cluster.port) as OnPostgres.proxy:
            yield


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_the_later_write_stands(network: None, name: str, way: str) -> None:
    """A write whose answer is lost is not done once more over what another writer has done since."""
    case = CASES[name]
    expected = MemoryRepository(**options_of(case))
    prepare(expected, case)
    before = state(expected)
    case.write(expected)
    written = state(expected)
    assert written != before or "purge" in name
    case.other(expected)
    with ExitStack() as stack:
        mine = WAYS[way](stack, options_of(case))
        prepare(mine.other, case)
        seen: list[Any] = []

        def meanwhile() -> None:
            seen.append(state(mine.other))
            case.other(mine.other)

        mine.lose_answer(meanwhile)
        raised: Exception | None = None
        try:
            case.write(mine.repository)
        except RepositoryUnavailable as error:
            raised = error
        mine.commit()

        assert seen == [written]
        assert state(mine.other) == state(expected)
    if way == "your transaction" or (case.repeats and mine.repeats_puts):
        assert raised is None
    elif "SQLite" in way:
        assert isinstance(raised, RepositoryUnavailable)
    else:
        assert isinstance(raised, CommitUnknown)
