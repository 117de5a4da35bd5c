"""Statements that write many rows at once.

To a server each statement is a way there and back: there the rows travel as one JSON text, which needs no table of its
own, as `COPY` would, and what was written comes back. To a file there is no way: it is handed the statement once for
each row, in a third of the time, and tells how many were written.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ConfigurationError
from .dialects import Dialect
from .work import Rows, Work

_TYPES = {
    **dict.fromkeys(("email_verified", "banned"), "boolean"),
    **dict.fromkeys(("created_at", "deleted_at", "since", "due_at", "changes", "tries"), "bigint"),
}


class Writing:
    """One such statement. A row has its values in the order of the columns, and begins with what is to come back."""

    def __init__(
        self,
        dialect: Dialect,
        table: str,
        columns: Sequence[str],
        ending: str,
        returned: str,
        id_type: str,
        failed: Callable[[], ConfigurationError],
    ) -> None:
        self._columns = columns
        self._failed = failed
        self._as_json = dialect.rows != ""
        listed = ", ".join(columns)
        if self._as_json:
            types = {"id": id_type, "user_id": id_type} | _TYPES
            rows = dialect.rows.format(", ".join(f"{column} {types.get(column, 'text')}" for column in columns))
            statement = f"INSERT INTO {table} ({listed}) SELECT {listed} FROM {rows} {ending} RETURNING {returned}"
        else:
            statement = f"INSERT INTO {table} ({listed}) VALUES ({', '.join('?' * len(columns))}) {ending}"
        self._statement = statement.replace("?", dialect.value)

    def of(self, rows: list[tuple[Any, ...]]) -> Work[Rows]:
        """Those of the rows that were written, or as much of each as the statement returns."""
        if not rows:
            return []
        if self._as_json:
            named = [dict(zip(self._columns, row, strict=True)) for row in rows]
            return (yield self._statement, (json.dumps(named, ensure_ascii=False),))
        ((written,),) = yield self._statement, rows
        if written != len(rows):  # nobody else writes to the file meanwhile
            raise self._failed()
        return rows
