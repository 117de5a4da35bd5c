"""A PostgreSQL database of a command. Texts show only the host and the name from its connection string."""

import logging
import re
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from typing import Any, cast

from ..errors import ConfigurationError, RepositoryUnavailable
from ..ports import Repository
from ..repositories.options import IdType
from ..repositories.postgres import (
    PostgresOptions,
    PostgresRepository,
    psycopg,
)  # its ImportError names the package to install
from ..repositories.sql.dialects import Names
from ..repositories.sql.retries import missing_privilege
from ..repositories.sql.schema import TABLES
from .database import CommandDatabase, DatabaseState, NewIds, found, ids_type

_TIMEOUT = 5
_PRIVILEGES = "SELECT, INSERT, UPDATE and DELETE"
_GRANTED = f"{_PRIVILEGES} on the tables, and USAGE on their schema"
_HOST = re.compile(r"[^@?#]*")
_PORT = re.compile(r"[0-9,]*")
_EXAMPLE = "SELECT user_id, clerk_id FROM clerkmap_identities WHERE clerk_id IS NOT NULL LIMIT 1"
_SEARCHED = """
SELECT current_user::text, current_schema()::text, schemaname::text, has_schema_privilege(schemaname, 'USAGE')
FROM (SELECT 1) AS one LEFT JOIN pg_tables ON tablename = 'clerkmap_schema'
ORDER BY 4 DESC, schemaname LIMIT 1
"""
_REFUSED = """
SELECT name, current_user::text FROM unnest(%s::text[]) name WHERE NOT (
    has_table_privilege(to_regclass(name), 'SELECT') AND has_table_privilege(to_regclass(name), 'INSERT')
    AND has_table_privilege(to_regclass(name), 'UPDATE') AND has_table_privilege(to_regclass(name), 'DELETE'))
"""
# Errors of libpq, which have no code, and their causes.
_CAUSES = (
    ("password authentication failed", "it rejects the password of this user"),
    ("no password supplied", "it requires a password"),
    ("authentication failed", "it rejects this user"),
    ("no pg_hba.conf entry", "it rejects this user from this host (pg_hba.conf)"),
    ("role ", "it has no such user"),
    ("database ", "it has no database of this name"),
    ("too many", "it has no free connection"),
    ("starting up", "it is starting up"),
    ("shutting down", "it is shutting down"),
    ("translate host name", "the host does not exist"),
    ("resolve host", "the host does not exist"),
    ("refused", "no server listens at this address"),
    ("no such file", "no server listens at this address"),
    ("timeout", "it does not respond"),
    ("timed out", "it does not respond"),
    ("ssl", "TLS fails (sslmode)"),
    ("certificate", "TLS fails (sslmode)"),
)


class PostgresDatabase(CommandDatabase):
    """One PostgreSQL database."""

    to_write = "Connect to a server that accepts writes, with the role of your application"

    def __init__(self, conninfo: str) -> None:
        from psycopg.conninfo import conninfo_to_dict  # imported here: the import above names the package to install

        self._conninfo = conninfo
        # The pool logs parts of the URL; the error has the cause.
        logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())
        said: dict[str, Any] = {}
        with suppress(psycopg.Error, ValueError):  # its text may hold the password
            said = dict(conninfo_to_dict(conninfo))
        name, port = str(said.get("dbname", "")), str(said.get("port", ""))
        # A password with unescaped characters would end up in the parts that are shown.
        if not said or not _HOST.fullmatch(str(said.get("host", ""))) or "@" in name or not _PORT.fullmatch(port):
            raise ConfigurationError(
                "the URL of the database cannot be read: write postgresql://user:password@host/name, with "
                "@, :, / and % in the password as %40, %3A, %2F and %25"
            )
        where = said.get("host") or said.get("hostaddr") or "this machine"
        self.shown: str = " ".join(f"the PostgreSQL database {name} at {where}{port and ':'}{port}".split())

    def look(self) -> DatabaseState:
        with self._connected() as connection:
            ((table,),) = connection.execute("SELECT to_regclass('clerkmap_schema')::text").fetchall()
            if table is None:
                ((role, searched, elsewhere, is_usable),) = connection.execute(_SEARCHED).fetchall()
                if searched is None and is_usable is False:
                    raise ConfigurationError(
                        f"the role {role} may not use the tables in {self.shown}: "
                        f"GRANT USAGE on the schema {elsewhere}, and {_PRIVILEGES} on its tables"
                    )
                searched = f"the schema {searched}" if searched else "the search_path"
                return DatabaseState(searched=searched, elsewhere=elsewhere or "")
            rows = connection.execute("SELECT version, id_type FROM clerkmap_schema").fetchall()
            return found(rows, connection.execute(_EXAMPLE).fetchone())

    def check_writable(self) -> bool:
        with self._connected() as connection:
            ((read_only,),) = connection.execute("SELECT current_setting('transaction_read_only')").fetchall()
            refused = connection.execute(_REFUSED, ([f"clerkmap_{name}" for name in TABLES],)).fetchall()
        if read_only == "on":
            raise ConfigurationError(f"{self.shown} is read-only: a standby, or default_transaction_read_only is on")
        if refused:
            tables = ", ".join(name for name, _ in refused)
            raise ConfigurationError(
                f"the role {refused[0][1]} may not write to {tables} in {self.shown}: GRANT {_GRANTED}"
            )
        return True

    def open(self, found: DatabaseState, *, writes: bool) -> Repository:
        # A repository without listen does not notify either.
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
                try:
                    yield connection
                except psycopg.errors.InsufficientPrivilege as error:
                    role, wanted = connection.info.user, missing_privilege(error, Names("clerkmap_"))
                    raise ConfigurationError(
                        f"the role {role} may not use the tables in {self.shown}: GRANT {wanted}"
                    ) from None
        except psycopg.Error as error:
            raise RepositoryUnavailable(f"{self.shown}: {_cause(error)}") from None


def ddl(since: int, ids: NewIds | None, id_type: IdType | None, *, prefix: str, schema: str | None) -> str:
    """Return the tables as a script, without a database."""
    options = _options(DatabaseState(id_type=id_type or "", ids=None), ids)
    options["prefix"], options["schema"] = prefix, schema
    return PostgresRepository.ddl(since=since, **options)


def _options(
    found: DatabaseState, ids: NewIds | None = None, *, listen: bool = False, migrate: bool = True
) -> PostgresOptions:
    """Return the options of a repository on these tables, or on tables to create."""
    id_type = cast(IdType, found.id_type or ids_type(ids))
    made = ids or found.ids
    options: PostgresOptions = {
        "ids": int if made == "integer" else made or (lambda record: record.key),
        "id_type": id_type,
        "listen": listen,
        "migrate": migrate,
        "timeout": _TIMEOUT,
    }
    if made == "integer":
        options["first_id"] = found.first_id
    return options


def _cause(error: psycopg.Error) -> str:
    """Return the cause of an error. The text of psycopg may repeat the URL."""
    text = str(error).lower()
    return next((cause for sign, cause in _CAUSES if sign in text), type(error).__name__)
