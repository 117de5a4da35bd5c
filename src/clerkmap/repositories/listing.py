"""What an operator and a long work ask of the tables: everything, page by page; how much there is; who somebody is; and
notes of how far the work has come.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from ..core.model import Count, Id, User
from ..core.records import (
    DELETED,
    EMBEDDED,
    FROM_TOKEN,
    FULL,
    AnyRecord,
    ClerkMembership,
    ClerkOrganization,
    Kind,
    key_of,
)
from .arguments import (
    LISTED,
    check_after,
    check_checkpoint,
    check_checkpoint_name,
    check_keys,
    check_kind,
    check_limit,
    check_text,
    folded,
    is_storable,
)
from .reading import Reading, clerk_user_of
from .stored_rows import Contents, Reads, Writes
from .work import Rows, Work, Written


def _membership_of(row: tuple[Any, ...]) -> ClerkMembership:
    return ClerkMembership(*row)


def _organization_of(row: tuple[Any, ...]) -> ClerkOrganization:
    return ClerkOrganization(*row)


_RECORD_OF: dict[Kind, Callable[[tuple[Any, ...]], AnyRecord]] = {
    "user": clerk_user_of,
    "organization": _organization_of,
    "membership": _membership_of,
}


class Listing(Reading):
    """All that is there, and notes."""

    def contents(self, read: Reads, write: Writes) -> Contents:
        """All rows of all tables, as they are stored."""
        return Contents(self._sql, self._configuration, read, write)

    def records(self, kind: Kind, instance: str, after: str, limit: int) -> Work[list[AnyRecord]]:
        place = (instance, check_after(after), check_limit(limit))
        rows = yield self._sql.select_page[check_kind(kind)], place
        return [_RECORD_OF[kind](row) for row in rows if row[0] == instance]  # it is the first column of each

    def record(self, kind: Kind, instance: str, key: str) -> Work[AnyRecord | None]:
        statement = self._sql.select_record[check_kind(kind)]
        rows = (yield statement, (instance, key)) if is_storable(key) else []
        return _RECORD_OF[kind](rows[0]) if rows else None

    def ranks(self, kind: Kind, instance: str, keys: Sequence[str]) -> Work[dict[str, str]]:
        statement = self._sql.select_ranks[check_kind(kind)]
        wanted = [key for key in check_keys(keys) if is_storable(key)]
        return dict((yield statement, (instance, json.dumps(wanted)))) if wanted else {}

    def counts(self, instance: str) -> Work[dict[Kind, Count]]:
        found: dict[Kind, Count] = {}
        for kind in LISTED:
            found[kind] = _counted((yield self._sql.count_records[kind], (instance,)))
        return found

    def search(self, text: str, limit: int) -> Work[list[User]]:
        check_limit(limit)
        ids: list[Id] = self._configuration.ids_spelled(check_text(text))
        if is_storable(text):
            rows = yield self._sql.search, (key_of(text), text, text, folded(text), limit)
            ids.extend(id for (id,) in rows)
        found: list[User] = []
        for id in dict.fromkeys(ids):
            user = yield from self.user(id)
            if user is not None:
                found.append(user)
        return found[:limit]

    def checkpoint(self, name: str) -> Work[str | None]:
        rows = yield self._sql.select_checkpoint, (check_checkpoint_name(name),)
        return rows[0][0] if rows else None

    def set_checkpoint(self, name: str, text: str | None) -> Work[Written[None]]:
        check_checkpoint_name(name)
        if check_checkpoint(text) is None:
            yield self._sql.delete_checkpoint, (name,)
        else:
            yield self._sql.upsert_checkpoint, (name, text)
        return [], None

    def swap_checkpoint(self, name: str, before: str | None, after: str | None) -> Work[Written[bool]]:
        check_checkpoint_name(name)
        if check_checkpoint(before) is None and check_checkpoint(after) is None:
            rows = [()] if (yield from self.checkpoint(name)) is None else []
        elif before is None:
            rows = yield self._sql.insert_checkpoint, (name, after)
        elif after is None:
            rows = yield self._sql.delete_this_checkpoint, (name, before)
        else:
            check_checkpoint(after)
            rows = yield self._sql.update_checkpoint, (after, name, before)
        return [], bool(rows)


def _counted(rows: Rows) -> Count:
    """From the rows of the grades: how many are of each, and their newest times."""
    grades = {grade: (number, int(updated), int(observed)) for grade, number, updated, observed in rows}
    none = (0, 0, 0)
    told = [grades.get(grade, none) for grade in (EMBEDDED, FULL)]
    return Count(
        told=sum(number for number, _, _ in told),
        from_token=grades.get(FROM_TOKEN, none)[0],
        deleted=grades.get(DELETED, none)[0],
        updated_at=max(updated for _, updated, _ in told) or None,
        observed_at=max((observed for grade, (_, _, observed) in grades.items() if grade != FROM_TOKEN), default=None),
    )
