"""`LISTEN` with psycopg: a connection of its own for the thread that listens."""

from typing import Any

from psycopg import AsyncConnection, Connection

from ...errors import ConfigurationError
from ..sql.notifications import Connect
from .pools import settings


class PsycopgListener:
    """A connection in autocommit mode that listens."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def listen(self, channel: str) -> object:
        # In one message, which is one transaction: a pooler in between cannot give it to two sessions.
        listening = self._connection.execute(f"LISTEN {channel}; SELECT pg_backend_pid()".encode())
        listening.nextset()
        return listening.fetchall()

    def session(self) -> object:
        return self._connection.execute("SELECT pg_backend_pid()").fetchall()

    def payloads(self, seconds: float) -> list[str]:
        return [notice.payload for notice in self._connection.notifies(timeout=seconds, stop_after=1)]

    def close(self) -> None:
        self._connection.close()


def connects_to_listen(source: Any, listen: bool | str, timeout: float) -> Connect | None:
    """Return a function that connects to listen, by the same connection string or by yours. None for no listener."""
    if isinstance(listen, str):
        as_ours = settings(listen, timeout)
        return lambda: PsycopgListener(Connection.connect(listen, **as_ours))
    if not listen or isinstance(source, (Connection, AsyncConnection)):  # it does not reveal its password
        return None
    conninfo: Any = source.conninfo
    kwargs: Any = source.kwargs
    if callable(conninfo) or callable(kwargs):
        raise ConfigurationError(
            "the pool has a function for its connection string: pass a connection string as listen="
        )
    python_only = ("row_factory", "cursor_factory", "context", "autocommit")
    said: dict[str, Any] = kwargs or {}
    ours = {name: value for name, value in said.items() if name not in python_only}
    return lambda: PsycopgListener(Connection.connect(conninfo, autocommit=True, **ours))
