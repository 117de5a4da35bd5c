"""A PostgreSQL database, as a command sees it. Of its connection string, only where it leads is ever told."""

import logging
import re
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from typing import Any, cast

from ..errors import ConfigurationError, RepositoryUnavailable
from ..ports import Repository
from ..repositories.options import IdType
from ..repositories.postgres import PostgresOptions, PostgresRepository, psycopg  # says what to install, if need be
from ..repositories.sql.schema import TABLES
from .database import CommandDatabase, DatabaseState, NewIds, found, ids_type

_TIMEOUT = 5
_HOST = re.compile(r"[^@?#]*")
_PORT = re.compile(r"[0-9,]*")
_EXAMPLE = "SELECT user_id, clerk_id FROM clerkmap_identities WHERE clerk_id IS NOT NULL LIMIT 1"
_REFUSED = """
SELECT name FROM unnest(%s::text[]) name WHERE NOT (
    has_table_privilege(to_regclass(name), 'SELECT') AND has_table_privilege(to_regclass(name), 'INSERT')
    AND has_table_privilege(to_regclass(name), 'UPDATE') AND has_table_privilege(to_regclass(name), 'DELETE'))
"""
# What libpq says where a connection fails, which has no code, and what that means.
_CAUSES = (
    ("password authentication failed", "it does not take this user with this password"),
    ("no password supplied", "it wants a password"),
    ("authentication failed", "it does not let this user in"),
    ("no pg_hba.conf entry", "it lets nobody in from here as this user (pg_hba.conf)"),
    ("role ", "it has no such user"),
    ("database ", "it has no database of that name"),
    ("too many", "it has no connection left"),
    ("starting up", "it is starting up"),
    ("shutting down", "it is shutting down"),
    ("translate host name", "there is no host of that name"),
    ("resolve host", "there is no host of that name"),
    ("refused", "nothing listens there"),
    ("no such file", "nothing listens there"),
    ("timeout", "it does not answer"),
    ("timed out", "it does not answer"),
    ("ssl", "it and this machine do not agree about TLS (sslmode)"),
    ("certificate", "it and this machine do not agree about TLS (sslmode)"),
)


class PostgresDatabase(CommandDatabase):
    """One database on a server."""

    def __init__(self, conninfo: str) -> None:
        from psycopg.conninfo import conninfo_to_dict  # here, not above: what to install, another import says

        self._conninfo = conninfo
        # What the pool has to say of a failure shows more of the URL than is ours to show, and is told here anyway.
        logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())
        said: dict[str, Any] = {}
        with suppress(psycopg.Error, ValueError):  # whose text may be the password
            said = dict(conninfo_to_dict(conninfo))
        name, port = str(said.get("dbname", "")), str(said.get("port", ""))
        # A password that is not written as URLs have it ends up in other parts, and those are shown.
        if not said or not _HOST.fullmatch(str(said.get("host", ""))) or "@" in name or not _PORT.fullmatch(port):
            raise ConfigurationError(
                "the URL of the database cannot be read: it is postgresql://user:password@host/name, where "
                "@, :, / and % in the password are written as %40, %3A, %2F and %25"
            )
        where = said.get("host") or said.get("hostaddr") or "this machine"
        self.shown: str = " ".join(f"the PostgreSQL database {name} at {where}{port and ':'}{port}".split())

    def look(self) -> DatabaseState:
        with self._connected() as connection:
            ((table,),) = connection.execute("SELECT to_regclass('clerkmap_schema')::text").fetchall()
            if table is None:
                return DatabaseState()
            rows = connection.execute("SELECT version, id_type FROM clerkmap_schema").fetchall()
            return found(rows, connection.execute(_EXAMPLE).fetchone())

    def check_writable(self) -> bool:
        with self._connected() as connection:
            ((read_only,),) = connection.execute("SELECT current_setting('transaction_read_only')").fetchall()
            refused = connection.execute(_REFUSED, ([f"clerkmap_{name}" for name in TABLES],)).fetchall()
        if read_only == "on":
            raise ConfigurationError(f"{self.shown} is read-only: a standby, or default_transaction_read_only is on")
        if refused:
            tables = ", ".join(name for (name,) in refused)
            raise ConfigurationError(f"this user may not write to {tables} in {self.shown}: GRANT it what it needs")
        return True

    def open(self, found: DatabaseState, *, writes: bool) -> Repository:
        # Who does not listen does not tell the others either.
        options = _options(found, listen=writes, migrate=False)
        return PostgresRepository.open(self._conninfo, pool_size=2, **options)

    def migrate(self, ids: NewIds | None, found: DatabaseState) -> None:
        PostgresRepository.open(self._conninfo, pool_size=1, **_options(found, ids)).close()

    def ddl(self, since: int, ids: NewIds | None, found: DatabaseState) -> str:
        return PostgresRepository.ddl(since=since, **_options(found, ids))

    @contextmanager
    def trying(self, found: DatabaseState) -> Generator[Repository]:
        with self._connected() as connection, connection.transaction(force_rollback=True):
            repository = PostgresRepository(connection, **_options(found, migrate=False))
            try:
                yield repository
            finally:
                repository.close()

    @contextmanager
    def _connected(self) -> Generator[psycopg.Connection[Any]]:
        try:
            with closing(
                psycopg.connect(self._conninfo, autocommit=True, connect_timeout=_TIMEOUT, client_encoding="utf8")
            ) as connection:
                yield connection
        except psycopg.errors.InsufficientPrivilege:
            raise ConfigurationError(
                f"this user may not use the tables in {self.shown}: GRANT it what it needs"
            ) from None
        except psycopg.Error as error:
            raise RepositoryUnavailable(f"{self.shown}: {_cause(error)}") from None


def ddl(since: int, ids: NewIds | None) -> str:
    """The tables as a script, for a database that is not at hand."""
    return PostgresRepository.ddl(since=since, **_options(DatabaseState(), ids))


def _options(
    found: DatabaseState, ids: NewIds | None = None, *, listen: bool = False, migrate: bool = True
) -> PostgresOptions:
    """How a repository is opened on such tables, or on those that are to be made."""
    id_type = cast(IdType, found.id_type or ids_type(ids))
    made = ids or found.ids
    options: PostgresOptions = {
        "ids": made if made is not None else lambda record: record.key,
        "id_type": id_type,
        "listen": listen,
        "migrate": migrate,
        "timeout": _TIMEOUT,
    }
    if made == "integer":
        options["first_id"] = found.first_id
    return options


def _cause(error: psycopg.Error) -> str:
    """Why, in words of ours: its own text may show what stood in the URL."""
    text = str(error).lower()
    return next((cause for sign, cause in _CAUSES if sign in text), type(error).__name__)
