"""A PostgreSQL that fails at a statement of our choice.

Whatever psycopg sends goes through a generator. There a fault is made: the back end is terminated before the statement
reaches it; or it is terminated when it has done all it had to, and its answer is lost; or the server refuses, and the
connection lives on. The faults are the server's own: nothing is made up but the moment.
"""

import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, TypeVar

import psycopg
from psycopg.pq import ExecStatus
from psycopg.rows import TupleRow
from sqlalchemy import Connection

from clerkmap import Change
from clerkmap.core.records import AnyRecord
from clerkmap.errors import RepositoryUnavailable
from clerkmap.repositories import PostgresRepository

T = TypeVar("T")
How = Literal["terminated before", "terminated after", "refused"]
Dump = dict[str, Any]
# In which order they are filled.
TABLES = (
    *("users", "identities", "organizations", "memberships", "sessions", "search_terms"),
    *("checkpoints", "outbox", "deliveries"),
)
VIEWS = ("current_members", "current_organizations", "current_users")
OTHERS = ("clerkmap_heard", "orders")  # what a hook has written, and what you have


class Faults:
    """Notes the statements that are sent while it is on, and makes one of them fail."""

    def __init__(self, at: int = 0, how: How = "refused") -> None:
        self.statements: list[str] = []
        self._at = at
        self._how = how

    @contextmanager
    def active(self) -> Generator[None, None, None]:
        _Faulty.faults = self
        try:
            yield
        finally:
            _Faulty.faults = None

    @property
    def struck(self) -> bool:
        return len(self.statements) >= self._at

    def meet(self, connection: Any, statement: str, sending: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        self.statements.append(statement)
        strikes = len(self.statements) == self._at
        if strikes and self._how == "refused":
            self._refuse(connection, is_commit=statement == "COMMIT")
        if strikes and self._how == "terminated before":
            _terminate(connection)
        result = yield from sending
        if strikes:
            _terminate(connection)
            connection.pgconn.finish()
            raise psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly")
        return result

    def _refuse(self, connection: Any, *, is_commit: bool) -> None:
        """An error of the server's own, with what follows from it: a transaction that has failed, or has ended."""
        refused = connection.pgconn.exec_(b"DO $$ BEGIN RAISE SQLSTATE '57014'; END $$")
        assert refused.status == ExecStatus.FATAL_ERROR
        if is_commit:
            connection.pgconn.exec_(b"ROLLBACK")
        raise psycopg.errors.QueryCanceled("canceling statement due to user request")


def _terminate(connection: Any) -> None:
    """End the back end, and wait until it has undone what it was at."""
    pid = connection.info.backend_pid
    _Faulty.killer.execute("SELECT pg_terminate_backend(%s)", (pid,))
    while _Faulty.killer.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone() is not None:
        time.sleep(0.0005)


class _Faulty:
    """What is the same in both colours."""

    faults: ClassVar[Faults | None] = None
    killer: ClassVar[psycopg.Connection[Any]]  # whose statements do not fail

    def _sent(self, gen: Any) -> Any:
        """What a cursor sends."""
        if self.faults is None or "Cursor." not in gen.__qualname__:
            return gen
        return self.faults.meet(self, str(gen.gi_frame.f_locals.get("query")), gen)

    def _exec_command(self, command: Any, *args: Any) -> Generator[Any, Any, Any]:
        """What psycopg sends by itself: BEGIN, COMMIT and the like."""
        sending: Any = super()._exec_command(command, *args)  # type: ignore[misc]  # a connection has it
        return sending if self.faults is None else self.faults.meet(self, command.decode(), sending)


class FaultyConnection(_Faulty, psycopg.Connection[TupleRow]):
    """A connection whose statements may fail."""

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        return super().wait(self._sent(gen), *args, **kwargs)


class FaultyAsyncConnection(_Faulty, psycopg.AsyncConnection[TupleRow]):
    """The same for async code."""

    async def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        return await super().wait(self._sent(gen), *args, **kwargs)


class Server:
    """A schema on a server, and a connection to it that never fails."""

    def __init__(self, uri: str) -> None:
        self.uri = f"{uri}%20-csynchronous_commit%3Doff"  # a power cut is no matter here, and thousands of commits are
        self.sound = psycopg.connect(self.uri, autocommit=True)
        self.sound.execute("CREATE TABLE clerkmap_heard (made boolean, keys text); CREATE TABLE orders (id int)")
        self._reset = ""
        _Faulty.killer = self.sound

    def prepare(self, given: Iterable[AnyRecord] | None, noted: Iterable[str] = (), **options: Any) -> None:
        """Make what `reset` goes back to. Without anything given, there are no tables."""
        others = "; ".join(f"DELETE FROM {name}" for name in OTHERS)
        if given is None:
            names = ", ".join(f"clerkmap_{name}" for name in ("schema", *TABLES))
            views = ", ".join(f"clerkmap_{name}" for name in VIEWS)
            self._reset = f"{others}; DROP VIEW IF EXISTS {views}; DROP TABLE IF EXISTS {names}"
            return
        repository = PostgresRepository(self.sound, durable=False, migrate=True, **options)
        emptied = "; ".join(f"DELETE FROM clerkmap_{name}" for name in reversed(TABLES))
        self._run(f"{others}; {emptied}")
        if options.get("ids") is int:
            for name in ("users", "organizations"):
                self._run(f"ALTER SEQUENCE clerkmap_{name}_id_seq RESTART")
        # All tests share the locks of keys, and nobody else repeats what met a deadlock on a connection of yours.
        for last in (*[False] * 9, True):
            try:
                repository.put(given)
                break
            except RepositoryUnavailable:
                if last:
                    raise
        for name in noted:
            repository.set_checkpoint(name, "as it was")
        self._run("; ".join(f"DROP TABLE IF EXISTS saved_{name}" for name in TABLES))
        self._run("; ".join(f"CREATE TEMP TABLE saved_{name} AS TABLE clerkmap_{name}" for name in TABLES))
        self._reset = f"{others}; {emptied}; {'; '.join(map(self._filled, TABLES))}"

    def _filled(self, name: str) -> str:
        found = self.sound.execute(
            "SELECT string_agg(attname, ', ') FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 AND attgenerated = ''", (f"clerkmap_{name}",)
        ).fetchone()  # fmt: skip
        assert found is not None
        return f"INSERT INTO clerkmap_{name} ({found[0]}) SELECT {found[0]} FROM saved_{name}"

    def reset(self) -> None:
        self._run(self._reset)

    def _run(self, statements: str) -> None:
        self.sound.execute(statements.encode())

    def close(self) -> None:
        self.sound.close()


def dump(connection: psycopg.Connection[Any]) -> Dump:
    """All that is in the tables of clerkmap, and which tables there are."""
    cursor = psycopg.Cursor(connection)
    cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename LIKE 'clerkmap%'")
    names = sorted(name for (name,) in cursor.fetchall())
    rows = ", ".join(f"(SELECT coalesce(json_agg(t ORDER BY t::text), '[]') FROM {name} t)" for name in names)
    found = cursor.execute(f"SELECT {rows}".encode()).fetchone()
    assert found is not None
    return dict(zip(names, found, strict=True))


def hear(change: Change, tx: psycopg.Connection[Any] | Connection) -> Any:
    """A hook that writes to a table of its own, in the very transaction. In async code, what it gives is awaited."""
    execute: Any = tx.exec_driver_sql if isinstance(tx, Connection) else tx.execute
    return execute("INSERT INTO clerkmap_heard VALUES (%s, %s)", (change.made, " ".join(change.touches)))
