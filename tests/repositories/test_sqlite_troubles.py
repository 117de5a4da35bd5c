"""What goes wrong with an SQLite file is an error of clerkmap's that says what is wrong, where, and what to do."""

import os
import sqlite3
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from clerkmap import ClerkmapError, ConfigurationError, RepositoryUnavailable
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.repositories.sqlite.connections import _write_ahead
from clerkmap.testing.samples import ANN, HERE, found, person

Opened = tuple[SqliteRepository, sqlite3.Connection]  # and another connection to the same file


@dataclass(frozen=True)
class Trouble:
    """A thing that goes wrong, and the error that comes of it."""

    happens: Callable[[sqlite3.Connection], object]
    does: Callable[[SqliteRepository], object]
    error: type[ClerkmapError]
    says: str


def put(repository: SqliteRepository) -> object:
    return repository.put([person(email="ann@example.com")])


def sql(*statements: str) -> Callable[[sqlite3.Connection], object]:
    return lambda connection: [connection.execute(each) for each in statements]


TROUBLES = {
    "a unique index": Trouble(
        sql(
            "CREATE UNIQUE INDEX one_address ON clerkmap_identities (lower(email))",
            "INSERT INTO clerkmap_users VALUES ('x', NULL, NULL, 0, NULL)",
            "INSERT INTO clerkmap_identities (instance, key, rank, email, email_verified, banned, public_metadata, "
            "user_id) VALUES ('x', 'x', '1', 'Ann@example.com', 1, 0, '{}', 'x')",
        ),
        put,
        ConfigurationError,
        "refused a row or a value: UNIQUE constraint failed: index 'one_address', in {path}",
    ),
    "a unique column": Trouble(
        sql("CREATE UNIQUE INDEX one_name ON clerkmap_identities (username)"),
        lambda repository: repository.put([person(username="ann"), person("user_other", username="ann")]),
        ConfigurationError,
        "UNIQUE constraint failed: clerkmap_identities.username, in {path}",
    ),
    "a trigger": Trouble(
        sql(
            "CREATE TRIGGER invited BEFORE INSERT ON clerkmap_identities "
            "BEGIN SELECT raise(ABORT, 'ann@example.com is not invited'); END"
        ),
        put,
        ConfigurationError,
        "refused a row or a value: SQLITE_CONSTRAINT_TRIGGER, in {path}",
    ),
    "a foreign key, at the commit": Trouble(
        sql(
            "CREATE TABLE teams (id TEXT PRIMARY KEY)",
            "CREATE TABLE places (team TEXT REFERENCES teams (id) DEFERRABLE INITIALLY DEFERRED)",
            "CREATE TRIGGER placed AFTER INSERT ON clerkmap_users BEGIN INSERT INTO places VALUES ('none'); END",
        ),
        put,
        ConfigurationError,
        "FOREIGN KEY constraint failed, in {path}",
    ),
    "half a character": Trouble(
        sql(),
        lambda repository: repository.find("\ud800", ANN),
        ConfigurationError,
        "refused a row or a value: UnicodeEncodeError, in {path}",
    ),
    "a table that is gone": Trouble(
        sql("DROP TABLE clerkmap_checkpoints"),
        lambda repository: repository.checkpoint("n"),
        ConfigurationError,
        "differ from those that clerkmap makes: no such table: clerkmap_checkpoints",
    ),
    "a lock": Trouble(
        sql("BEGIN IMMEDIATE"),
        put,
        RepositoryUnavailable,
        "another connection held the lock of {path} for too long. If it is your own transaction, write in it",
    ),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_each_trouble_is_told(tmp_path: Path, name: str) -> None:
    """The error is of the right class, names the file and the constraint, and shows nothing of the row."""
    trouble, path = TROUBLES[name], tmp_path / "app.db"
    repository = SqliteRepository.open(path, timeout=0.1)
    with closing(repository), closing(sqlite3.connect(path, isolation_level=None)) as other:
        trouble.happens(other)
        with pytest.raises(trouble.error) as caught:
            trouble.does(repository)
        assert repository.find(HERE, ANN) is None

    assert trouble.says.format(path=path) in str(caught.value)
    printed = traceback.format_exception(caught.value)
    assert not any(line.startswith("sqlite3.") and "ann@example.com" in line.lower() for line in printed)


@pytest.mark.parametrize("name", TROUBLES)
def test_a_connection_of_yours_is_in_the_same_trouble(tmp_path: Path, name: str) -> None:
    """The same errors come from a repository on a connection of the application, in its transaction."""
    trouble, path = TROUBLES[name], tmp_path / "app.db"
    SqliteRepository.open(path).close()
    with (
        closing(sqlite3.connect(path, timeout=0.1)) as mine,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        mine.execute("PRAGMA foreign_keys = ON")
        trouble.happens(other)
        repository = SqliteRepository(mine, migrate=True)
        if "at the commit" in name:  # which is the application's, and so is its error
            trouble.does(repository)
            with pytest.raises(sqlite3.IntegrityError):
                mine.commit()
            return
        with pytest.raises(trouble.error) as caught:
            trouble.does(repository)
        assert not mine.in_transaction, "nothing of it is left open"
    assert trouble.says.format(path=path) in str(caught.value)


OPENED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (lambda path: path / "nowhere" / "app.db", "there is no folder {path}/nowhere: create it"),
    "a folder": (lambda path: path, "{path} is a folder: name a file in it"),
    "another file": (lambda path: _written(path / "letter"), "{path}/letter is not an SQLite database"),
    "a URL": (lambda path: "sqlite:///app.db", "open() takes the path of a file, such as 'app.db', not a URL"),
    "a table of another": (
        lambda path: _with_a_stub(path / "app.db"),
        "the tables in {path}/app.db differ from those that clerkmap makes: table clerkmap_users already exists; "
        "open the repository before your create_all()",
    ),
}


def _written(path: Path) -> Path:
    path.write_text("Dear Ann, this is no database at all. " * 100)
    return path


def _with_a_stub(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE clerkmap_users (id TEXT PRIMARY KEY)")
    return path


@pytest.mark.parametrize("name", OPENED)
def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path, name: str) -> None:
    """A wrong path or a wrong file is an invalid configuration, and the text says which and what to do."""
    make, says = OPENED[name]
    with pytest.raises(ConfigurationError) as caught:
        SqliteRepository.open(make(tmp_path))  # type: ignore[arg-type]  # a path or its text

    assert says.format(path=tmp_path) in str(caught.value)


@pytest.fixture
def mount() -> Iterator[Path]:
    """A folder that other users may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
        Path(name).chmod(0o755)


def test_a_file_that_may_not_be_written_is_told(mount: Path) -> None:
    """A folder or a file without write access, as on a read-only mount, is an invalid configuration."""
    SqliteRepository.open(mount / "there.db").close()
    for path in (mount, mount / "there.db"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    script = """
        import os, sys
        from clerkmap import ConfigurationError
        from clerkmap.repositories import SqliteRepository
        if os.getuid() == 0:
            os.setuid(65534)  # root may write anywhere
        for path in sys.argv[1:]:
            try:
                SqliteRepository.open(path, timeout=3600)  # it is told at once
            except ConfigurationError as error:
                print(error)
        """
    paths = [str(mount / name) for name in ("new.db", "there.db")]
    command = [sys.executable, "-c", dedent(script), *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)

    expected = "invalid configuration: {} cannot be written: this user needs write access to the file and to its folder"
    assert done.stdout.splitlines() == [expected.format(path) for path in paths]


class Reluctant(sqlite3.Connection):
    """A connection that refuses so many times to switch its file over, and counts how often it is asked."""

    code = refusals = asked = 0

    def execute(self, sql: str, *_: object) -> Any:
        self.asked += 1
        if self.asked <= self.refusals:
            error = sqlite3.OperationalError("refused")
            error.sqlite_errorcode = self.code
            raise error
        return super().execute("SELECT 'wal'")


@pytest.mark.parametrize(
    ("code", "stays"),
    [
        (sqlite3.SQLITE_CANTOPEN, True),
        (sqlite3.SQLITE_READONLY, True),
        (sqlite3.SQLITE_READONLY_DIRECTORY, True),
        (sqlite3.SQLITE_NOTADB, True),
        (sqlite3.SQLITE_BUSY, False),
        (sqlite3.SQLITE_BUSY_RECOVERY, False),
    ],
)
def test_only_what_may_pass_is_waited_for(code: int, stays: bool) -> None:
    """A file that another process switches over is asked again; one that cannot be opened or written is not."""
    connection = sqlite3.connect(":memory:", factory=Reluctant)
    connection.code, connection.refusals = code, 2
    with closing(connection), suppress(sqlite3.OperationalError):
        assert _write_ahead(connection, timeout=60) == "wal"
    assert connection.asked == (1 if stays else 3)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """A full disk passes: what has been written stays, and the text names the file."""
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as mine:
        repository = SqliteRepository(mine, migrate=True)
        repository.put([person()])
        (pages,) = mine.execute("PRAGMA page_count").fetchone()
        mine.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(RepositoryUnavailable, match="full: ") as caught:
            repository.set_checkpoint("n", "x" * 60_000)
        assert str(path) in str(caught.value)
        assert found(repository).clerk == person()


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    """A damaged file is named, with the way to mend it."""
    path = tmp_path / "app.db"
    with closing(SqliteRepository.open(path)) as repository:
        repository.put([person(f"user_{number}", first_name="x" * 200) for number in range(200)])
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(os.path.getsize(path) - 4096))

    with (
        pytest.raises(RepositoryUnavailable, match="damaged: restore it from a backup") as caught,
        ExitStack() as stack,
    ):
        stack.enter_context(closing(SqliteRepository.open(path))).put([person()])
    assert str(path) in str(caught.value)


def test_a_closed_connection_is_told(tmp_path: Path) -> None:
    """A connection that the application has closed answers nothing more."""
    connection = sqlite3.connect(tmp_path / "app.db")
    repository = SqliteRepository(connection, migrate=True)
    connection.close()
    for does in (lambda: repository.find(HERE, ANN), lambda: repository.put([person()]), repository.poll):
        with pytest.raises(RepositoryUnavailable, match="is closed"):
            does()


def test_a_constraint_beside_the_repository_in_memory_is_told() -> None:
    """A deferred constraint of a hook's table refuses the commit: nothing is kept, and the constraint is named."""
    repository = MemoryRepository(hooks=[lambda change, tx: tx.execute("INSERT INTO places VALUES ('none')")])
    repository.database.execute("PRAGMA foreign_keys = ON")
    repository.database.execute("CREATE TABLE teams (id TEXT PRIMARY KEY)")
    repository.database.execute("CREATE TABLE places (team REFERENCES teams (id) DEFERRABLE INITIALLY DEFERRED)")

    with pytest.raises(ConfigurationError, match="FOREIGN KEY constraint failed, in a database in memory"):
        repository.put([person()])
    assert repository.find(HERE, ANN) is None


ADDRESS = "secret@example.com"


@pytest.mark.parametrize("whose", ["the repository's", "yours"])
def test_sqlites_text_is_in_no_error(tmp_path: Path, whose: str) -> None:
    """A trigger of the application's may fail with a text that shows the row: its class and code alone are told."""
    with (
        closing(SqliteRepository.open(tmp_path / "app.db")) as repository,
        closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as connection,
    ):
        connection.execute(
            "CREATE TRIGGER t AFTER INSERT ON clerkmap_identities BEGIN SELECT json_extract('{}', NEW.email); END"
        )
        mine = repository if whose == "the repository's" else repository.within(connection)
        with pytest.raises(ConfigurationError, match="OperationalError") as raised:
            mine.put([person(email=ADDRESS)])
    cause = raised.value.__cause__
    assert isinstance(cause, sqlite3.OperationalError)
    assert (cause.sqlite_errorname, cause.sqlite_errorcode) == ("SQLITE_ERROR", 1)
    assert "SQLITE_ERROR" in "".join(traceback.format_exception(raised.value))
    assert "secret" not in "".join(traceback.format_exception(raised.value))
