"""A database that fails at a statement of our choice, and the ways in which a repository comes to have a connection.

A statement can fail before it does anything, or when it has done all it had to and only the answer is lost: whoever
hears of the failure cannot tell which it was.
"""

import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from sqlalchemy import create_engine, event, text
from sqlalchemy.orm import Session

from clerkmap.repositories import SqlAlchemyRepository, SqliteRepository
from clerkmap.repositories.sqlite.connections import FileConnections

T = TypeVar("T")
Dump = dict[str, list[Any]]


class Faults:
    """Notes the statements that are executed while it is on, and makes one of them fail."""

    def __init__(self, at: int | None = None, *, late: bool = False) -> None:
        self.statements: list[str] = []
        self.committed = False
        self.on = False
        self._at = at
        self._late = late

    @contextmanager
    def active(self) -> Generator[None, None, None]:
        self.on = True
        try:
            yield
        finally:
            self.on = False

    @staticmethod
    def commits(statement: str) -> bool:
        """Whether this statement makes all before it stay."""
        return statement in ("COMMIT", "RELEASE clerkmap")

    @property
    def struck(self) -> bool:
        return len(self.statements) >= (self._at or 0)

    def execute(self, statement: str, take_effect: Callable[[], T]) -> T:
        if not self.on:
            return take_effect()
        if statement.startswith("RELEASE SAVEPOINT"):  # SQLAlchemy's, which SQLite does without any I/O: it cannot fail
            self.committed = True
            return take_effect()
        self.statements.append(statement)
        strikes = len(self.statements) == self._at
        if not strikes or self._late:
            result = take_effect()
            undone = len(self.statements) > 1 and self.statements[-2].startswith("ROLLBACK")
            self.committed |= self.commits(statement) and not undone
            if not strikes:
                return result
        raise sqlite3.OperationalError("disk I/O error")


class FaultyCursor(sqlite3.Cursor):
    """A cursor whose statements may fail."""

    def __init__(self, connection: sqlite3.Connection, faults: Faults) -> None:
        super().__init__(connection)
        self._faults = faults

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        return self._run(sql, lambda: super(FaultyCursor, self).execute(sql, parameters))

    def executemany(self, sql: str, parameters: Any, /) -> Self:
        return self._run(sql, lambda: super(FaultyCursor, self).executemany(sql, parameters))

    def _run(self, statement: str, take_effect: Callable[[], Self]) -> Self:
        try:
            return self._faults.execute(statement, take_effect)
        except sqlite3.OperationalError:
            self.fetchall()  # a statement that has failed is over, and holds no lock
            raise


class FaultyConnection(sqlite3.Connection):
    """A connection whose statements may fail."""

    faults = Faults()

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(lambda connection: FaultyCursor(connection, self.faults))

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        return cast(sqlite3.Cursor, self.cursor().execute(sql, parameters))

    def commit(self) -> None:
        if self.in_transaction:
            self.faults.execute("COMMIT", super().commit)


class Lent:
    """A connection that a pool of files has lent, with faults. As much of it as clerkmap uses."""

    def __init__(self, connection: sqlite3.Connection, faults: Faults) -> None:
        self._connection = connection
        self._faults = faults

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def set_authorizer(self, authorizer: Any) -> None:
        self._connection.set_authorizer(authorizer)

    def cursor(self) -> sqlite3.Cursor:
        return self._connection.cursor(lambda connection: FaultyCursor(connection, self._faults))

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        return self.cursor().execute(sql, parameters)


class FaultyFile(FileConnections):
    """Connections to a file, whose statements may fail once they are lent. Those of opening and polling do not."""

    def __init__(self, path: Path, faults: Faults) -> None:
        self._faults = faults
        super().__init__(path, durable=False, timeout=5)

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        with super().reading() as connection:
            yield cast(sqlite3.Connection, Lent(connection, self._faults))


def dump(connection: sqlite3.Connection) -> Dump:
    """All that is in the tables of clerkmap, and the tables themselves. The log of changed keys grows at each try."""
    master = "SELECT name, type, sql FROM sqlite_master WHERE name GLOB 'clerkmap_*'"
    schema = sorted(connection.execute(master).fetchall(), key=repr)
    tables = [name for name, type_, _ in schema if type_ == "table" and name != "clerkmap_changes"]
    rows = {name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in tables}
    return {"schema": schema, **rows}


class OfAFile:
    """The repository handles its own connections to a file."""

    def __init__(self, path: Path, faults: Faults) -> None:
        self.lent: Any = FaultyFile(path, faults)
        self.path = path

    def repository(self, options: dict[str, Any]) -> Any:
        """A repository, which makes the tables."""
        return SqliteRepository(self.lent, migrate=True, **options)

    def dump(self) -> Dump:
        """All there is; and nothing is left open, so that others can write."""
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")
            return dump(other)

    def commit(self) -> None:
        """What is yours to commit."""

    def close(self) -> None:
        self.lent.close()


class Yours(OfAFile):
    """The repository is given a connection."""

    def __init__(self, path: Path, faults: Faults) -> None:
        connection = sqlite3.connect(path, isolation_level=None, factory=FaultyConnection)
        connection.execute("PRAGMA synchronous = OFF")
        connection.faults = faults
        self.lent = connection
        self.path = path

    def dump(self) -> Dump:
        assert not self.lent.in_transaction, "a transaction was left open"
        return super().dump()


class YoursInATransaction(Yours):
    """The repository is given a connection on which you have begun a transaction, and written."""

    def __init__(self, path: Path, faults: Faults) -> None:
        super().__init__(path, faults)
        self.lent.execute("BEGIN")
        self.lent.execute("CREATE TABLE orders (id INTEGER)")
        self.lent.execute("INSERT INTO orders VALUES (1)")

    def dump(self) -> Dump:
        """What you see inside your transaction, which must still be open and hold what is yours."""
        assert self.lent.in_transaction, "your transaction was ended"
        assert self.lent.execute("SELECT id FROM orders").fetchall() == [(1,)], "what you wrote was undone"
        return dump(self.lent)

    def commit(self) -> None:
        self.lent.execute("COMMIT")


class OnAnEngine(OfAFile):
    """The repository is given an engine of SQLAlchemy."""

    def __init__(self, path: Path, faults: Faults) -> None:
        self.lent = create_engine(f"sqlite:///{path}", connect_args={"factory": FaultyConnection})
        self.path = path

        @event.listens_for(self.lent, "connect")
        def set_up(connection: FaultyConnection, _: object) -> None:
            connection.execute("PRAGMA synchronous = OFF")
            connection.faults = faults

    def repository(self, options: dict[str, Any]) -> Any:
        return SqlAlchemyRepository(self.lent, migrate=True, **options)

    def close(self) -> None:
        self.lent.dispose()


class InASession(OnAnEngine):
    """The repository joins a session in which you have written."""

    def __init__(self, path: Path, faults: Faults) -> None:
        super().__init__(path, faults)
        self._session = Session(self.lent)

    def repository(self, options: dict[str, Any]) -> Any:
        repository = super().repository(options)
        self._session.execute(text("CREATE TABLE orders (id INTEGER)"))
        self._session.execute(text("INSERT INTO orders VALUES (1)"))
        return repository.within(self._session)

    def dump(self) -> Dump:
        """What you see inside your transaction, which must still be open and hold what is yours."""
        connection = self._session.connection().connection.driver_connection
        assert isinstance(connection, FaultyConnection)
        assert connection.in_transaction, "your transaction was ended"
        assert self._session.execute(text("SELECT id FROM orders")).all() == [(1,)], "what you wrote was undone"
        return dump(connection)

    def commit(self) -> None:
        self._session.commit()

    def close(self) -> None:
        self._session.close()
        super().close()


Way = type[OfAFile]
