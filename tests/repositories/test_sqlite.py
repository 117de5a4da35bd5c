"""What is particular to SQLite: the file, the tables, the locks, and a connection of yours."""

import signal
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest

from clerkmap import Change, ClerkUser, ConfigurationError, HookFailed, RepositoryUnavailable
from clerkmap.repositories import SqliteRepository
from clerkmap.repositories.sql.dialects import SQLITE, Names
from clerkmap.repositories.sql.statements import Statements
from clerkmap.repositories.sqlite.connections import FileConnections
from clerkmap.testing.samples import ANN, HERE, company, found, made_by, member, person


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.fixture
def repository(path: Path) -> Iterator[SqliteRepository]:
    repository = SqliteRepository.open(path)
    yield repository
    repository.close()


@pytest.fixture
def mine() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def test_everything_is_there_after_a_restart(path: Path, repository: SqliteRepository) -> None:
    """A file that is closed and opened again holds the same."""
    repository.put([person(email="ann@example.com"), company(name="Acme"), member()])
    before = repository.find(HERE, ANN, "org_acme")
    repository.close()

    again = SqliteRepository.open(path)
    assert again.find(HERE, ANN, "org_acme") == before is not None
    again.close()


@pytest.mark.parametrize(("durable", "synchronous"), [(True, 2), (False, 1)])
def test_durable_means_durable(path: Path, durable: bool, synchronous: int) -> None:
    """Each connection writes ahead, and syncs at each commit unless told otherwise."""
    connections = FileConnections(path, durable=durable, timeout=1)
    with connections.reading() as one, connections.reading() as other:
        for connection in (one, other):
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert connection.execute("PRAGMA synchronous").fetchone() == (synchronous,)
            assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
    connections.close()


def test_people_can_read_the_tables(path: Path, repository: SqliteRepository) -> None:
    """Honest columns: a name, dates, and a join on your own id."""
    repository.put([person(at=7, first_name="Ann", last_name="Lee", email="ann@example.com", created_at=5)])
    connection = sqlite3.connect(path)
    query = """
        SELECT i.name, i.email, i.created_at, i.updated_at, u.deleted_at
        FROM clerkmap_users u JOIN clerkmap_identities i ON i.user_id = u.id
    """

    assert connection.execute(query).fetchall() == [("Ann Lee", "ann@example.com", 5, 7, None)]
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_look_up_uses_an_index_for_each_of_its_terms(path: Path, repository: SqliteRepository) -> None:
    """However many memberships an instance has, those of one person in one organization are found at once."""
    repository.put([person(), company(), member()])
    connection = sqlite3.connect(path)
    plan = connection.execute(
        "EXPLAIN QUERY PLAN " + Statements(SQLITE, Names("clerkmap_"), None).select_memberships, ("", "", "")
    )

    assert "(instance=? AND user_key=? AND organization_key=?)" in str(plan.fetchall())
    connection.close()


def test_your_tables_can_refer_to_users(mine: sqlite3.Connection) -> None:
    """A foreign key on your user's id holds through the person's deletion."""
    mine.execute("PRAGMA foreign_keys = ON")
    repository = SqliteRepository(mine, ids=int, first_id=1, migrate=True)
    repository.put([person()])
    mine.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES clerkmap_users (id))")
    mine.execute("INSERT INTO orders (user_id) VALUES (?)", (found(repository).id,))

    repository.put([ClerkUser.deleted(HERE, ANN, observed_at=1)])

    assert mine.execute("PRAGMA foreign_key_check").fetchall() == []
    with pytest.raises(sqlite3.IntegrityError):
        mine.execute("INSERT INTO orders (user_id) VALUES (99)")


@pytest.mark.parametrize("isolation_level", [None, "DEFERRED"])
def test_your_transaction_is_yours(isolation_level: Literal["DEFERRED"] | None) -> None:
    """Inside your transaction a put commits nothing; undoing yours undoes it, and nothing remembers it."""
    connection = sqlite3.connect(":memory:", isolation_level=isolation_level)
    repository = SqliteRepository(connection, migrate=True)
    connection.execute("CREATE TABLE orders (id INTEGER)")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO orders VALUES (1)")
    repository.put([person()])

    standing = repository.find(HERE, ANN)
    assert standing is not None
    assert (connection.in_transaction, standing.settled) == (True, False)
    connection.rollback()

    assert repository.find(HERE, ANN) is None
    assert connection.execute("SELECT count(*) FROM orders").fetchone() == (0,)
    repository.put([person()])
    assert connection.in_transaction is (isolation_level is not None), "Python would begin a transaction, or would not"
    connection.close()


def test_a_failed_put_leaves_your_transaction_as_it_was(mine: sqlite3.Connection) -> None:
    """What you did before in the same transaction is still there, and can be committed."""
    repository = SqliteRepository(mine, ids=lambda record: "same", migrate=True)
    repository.put([person("user_first")])
    mine.execute("CREATE TABLE orders (id INTEGER)")
    mine.execute("BEGIN")
    mine.execute("INSERT INTO orders VALUES (1)")

    with pytest.raises(ConfigurationError):
        repository.put([person(), company()])
    mine.execute("COMMIT")

    assert mine.execute("SELECT count(*) FROM orders").fetchone() == (1,)
    assert repository.find(HERE, ANN) is None


def test_two_prefixes_are_two_repositories(mine: sqlite3.Connection) -> None:
    """Tables of another prefix are another world."""
    one, other = (SqliteRepository(mine, prefix=prefix, migrate=True) for prefix in ("one_", "other_"))
    one.put([person()])

    assert other.find(HERE, ANN) is None


@pytest.mark.parametrize("prefix", ["", "Clerk", "1a", "a b", 'a"; DROP TABLE x; --', "a" * 41, "é"])
def test_a_prefix_is_a_plain_word(mine: sqlite3.Connection, prefix: str) -> None:
    """What is put into a statement is checked first."""
    with pytest.raises(ConfigurationError, match="prefix"):
        SqliteRepository(mine, prefix=prefix, migrate=True)


def test_a_newer_schema_is_refused(path: Path, repository: SqliteRepository) -> None:
    """Tables made by a later version are left alone, and the text says what to do."""
    connection = sqlite3.connect(path)
    connection.execute("UPDATE clerkmap_schema SET version = 99")
    connection.commit()
    connection.close()

    with pytest.raises(ConfigurationError, match="upgrade"):
        SqliteRepository.open(path)


def test_ids_of_another_type_are_refused(path: Path, repository: SqliteRepository) -> None:
    """A file whose ids are text is not opened for integers."""
    with pytest.raises(ConfigurationError, match="TEXT"):
        SqliteRepository.open(path, ids=int, first_id=1)


@pytest.mark.parametrize("id", [7, "", "a\x00b", "x" * 256, True, None, 1.5])
def test_an_id_must_fit_its_column(repository: SqliteRepository, id: Any) -> None:
    """A value that the column would store as another, or not at all, is refused."""
    with pytest.raises(ConfigurationError):
        repository.link(HERE, ANN, id)

    assert repository.find(HERE, ANN) is None


def test_a_busy_file_is_unavailable(path: Path) -> None:
    """Who waits too long for another writer is told so, and can try again."""
    repository = SqliteRepository.open(path, timeout=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(RepositoryUnavailable):
        repository.put([person()])
    assert repository.find(HERE, ANN) is None
    other.execute("ROLLBACK")
    repository.put([person()])

    assert repository.find(HERE, ANN) is not None
    other.close()
    repository.close()


def test_a_closed_repository_answers_nothing(repository: SqliteRepository) -> None:
    """After closing, every call is refused."""
    repository.close()

    with pytest.raises(RepositoryUnavailable):
        repository.find(HERE, ANN)
    with pytest.raises(RepositoryUnavailable):
        repository.put([person()])


def test_only_open_makes_tables(mine: sqlite3.Connection) -> None:
    """The class takes the tables of your connection as they are, unless it may make them."""
    with pytest.raises(ConfigurationError, match=r"open\(path\), pass migrate=True, or run clerkmap migrate"):
        SqliteRepository(mine)
    assert mine.execute("SELECT name FROM sqlite_schema").fetchall() == []

    SqliteRepository(mine, migrate=True).put([person()])
    assert found(SqliteRepository(mine)).clerk == person()


def test_within_makes_no_tables(path: Path, repository: SqliteRepository) -> None:
    """It writes into the tables of the repository, or not at all."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE clerkmap_users")
        with pytest.raises(ConfigurationError, match="no such table"):
            repository.within(connection).put([person()])
        connection.rollback()
        named = connection.execute("SELECT name FROM sqlite_schema WHERE name = 'clerkmap_users'").fetchall()
        assert named == []


@pytest.mark.parametrize("source", ["app.db", None, Path("app.db")])
def test_a_repository_takes_a_connection(source: Any) -> None:
    """A path is for `open`, and the text says so."""
    with pytest.raises(ConfigurationError, match=r"open\(path\)"):
        SqliteRepository(source)


def test_a_wrong_use_is_no_outage(path: Path, repository: SqliteRepository) -> None:
    """What would fail again is not called unavailable: a record that cannot be stored, a thread that may not ask."""
    with pytest.raises(ConfigurationError, match=r"NOT NULL constraint failed: clerkmap_identities\.banned"):
        repository.put([ClerkUser.make("2", HERE, ANN, observed_at=1, banned=None)])
    connection = sqlite3.connect(path)
    bound = SqliteRepository(connection, migrate=True)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ConfigurationError, match="another thread"):
        pool.submit(bound.find, HERE, ANN).result()
    connection.close()


@pytest.mark.parametrize("ids", ["uuid7", int])
def test_an_id_is_found_as_what_it_is(ids: Any) -> None:
    """The user 7 is not found by "7", as it would not be in memory."""
    repository = SqliteRepository.open(":memory:", **made_by(ids))
    repository.put([person(), company()])
    id = found(repository).id
    other = str(id) if isinstance(id, int) else 1

    assert repository.user(id) is not None
    assert (repository.user(other), repository.organization(other)) == (None, None)
    repository.close()


def test_rows_may_be_made_in_your_way(mine: sqlite3.Connection) -> None:
    """A connection that makes dictionaries of its rows serves clerkmap as well."""
    mine.row_factory = lambda cursor, row: {
        column[0]: value for column, value in zip(cursor.description, row, strict=True)
    }
    repository = SqliteRepository(mine, migrate=True)
    repository.put([person(), company(), member()])
    repository.poll()

    assert repository.find(HERE, ANN, "org_acme") is not None


@pytest.mark.parametrize("id", [2**70, -(2**70), "\ud800", "a\x00", True, None, 1.0, {}])
def test_what_is_no_id_leads_to_nobody(repository: SqliteRepository, id: Any) -> None:
    """Whatever a request brings as an id, the answer is nobody, as it is in memory."""
    assert (repository.user(id), repository.organization(id)) == (None, None)
    if isinstance(id, str):
        assert repository.find(HERE, id, id) is None


def test_a_signal_while_waiting_leaves_no_transaction_open(path: Path) -> None:
    """An exception out of a signal handler, raised while BEGIN waits, does not keep the file locked for ever."""

    class TimeIsUpError(Exception):
        pass

    def time_is_up(number: int, frame: object) -> None:
        raise TimeIsUpError

    mine = sqlite3.connect(path, isolation_level=None)
    repository = SqliteRepository(mine, migrate=True)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.6, lambda: other.execute("ROLLBACK"))
    before = signal.signal(signal.SIGALRM, time_is_up)
    release.start()
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises((TimeIsUpError, RepositoryUnavailable)):
            repository.put([person()])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        release.join()

    assert not mine.in_transaction
    repository.put([person()])
    assert other.execute("SELECT count(*) FROM clerkmap_users").fetchone() == (1,)
    mine.close()
    other.close()


def test_a_transaction_that_cannot_be_undone_is_not_taken_for_yours(path: Path) -> None:
    """If our own rollback fails, nothing is written into what is left of it, where nobody would ever commit it."""
    mine = sqlite3.connect(path, isolation_level=None)
    repository = SqliteRepository(mine, migrate=True)
    mine.set_progress_handler(lambda: mine.in_transaction, 1)  # a time limit that is up as soon as it begins
    with pytest.raises(RepositoryUnavailable):
        repository.put([person()])
    mine.set_progress_handler(None, 1)
    assert mine.in_transaction

    with pytest.raises(RepositoryUnavailable, match="roll your connection back"):
        repository.put([person()])
    mine.execute("ROLLBACK")
    assert len(repository.put([person()])) == 1
    mine.close()
    again = SqliteRepository.open(path)
    assert again.find(HERE, ANN) is not None
    again.close()


def test_an_error_that_is_kept_keeps_no_lock(path: Path, repository: SqliteRepository) -> None:
    """Whoever holds on to an error, with a statement in its traceback that was not read to its end, blocks nobody."""

    def hook(change: Change, tx: sqlite3.Connection) -> None:
        rows = tx.execute("SELECT 1 UNION SELECT 2")
        next(rows)
        raise ValueError

    failing = SqliteRepository.open(path, hooks=[hook])
    with pytest.raises(HookFailed) as kept:
        failing.put([person()])

    assert len(repository.put([person()])) == 1
    assert isinstance(kept.value.__cause__, ValueError)
    failing.close()
