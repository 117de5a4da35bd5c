"""What an operator and a long work ask of the tables: everything, page by page; how much there is; who somebody is; and
notes of how far the work has come.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from ..core.counts import Count
from ..core.model import Id, User
from ..core.records import (
    DELETED,
    GLIMPSED,
    SIGHTED,
    STATED,
    AnyRecord,
    ClerkMembership,
    ClerkOrganization,
    Kind,
    key_of,
)
from .arguments import (
    LISTED,
    check_after,
    check_keys,
    check_kind,
    check_limit,
    check_note,
    check_note_name,
    check_text,
    folded,
    is_storable,
)
from .contents import Contents, Reads, Writes
from .reading import Reading, clerk_user_of
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
        return Contents(self._sql, self._choices, read, write)

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
        ids: list[Id] = self._choices.ids_spelled(check_text(text))
        if is_storable(text):
            rows = yield self._sql.search, (key_of(text), text, text, folded(text), limit)
            ids.extend(id for (id,) in rows)
        found: list[User] = []
        for id in dict.fromkeys(ids):
            user = yield from self.user(id)
            if user is not None:
                found.append(user)
        return found[:limit]

    def note(self, name: str) -> Work[str | None]:
        rows = yield self._sql.select_note, (check_note_name(name),)
        return rows[0][0] if rows else None

    def set_note(self, name: str, text: str | None) -> Work[Written[None]]:
        check_note_name(name)
        if check_note(text) is None:
            yield self._sql.delete_note, (name,)
        else:
            yield self._sql.upsert_note, (name, text)
        return [], None

    def swap_note(self, name: str, before: str | None, after: str | None) -> Work[Written[bool]]:
        check_note_name(name)
        if check_note(before) is None and check_note(after) is None:
            rows = [()] if (yield from self.note(name)) is None else []
        elif before is None:
            rows = yield self._sql.insert_note, (name, after)
        elif after is None:
            rows = yield self._sql.delete_this_note, (name, before)
        else:
            check_note(after)
            rows = yield self._sql.update_note, (after, name, before)
        return [], bool(rows)


def _counted(rows: Rows) -> Count:
    """From the rows of the grades: how many are of each, and their newest times."""
    grades = {grade: (number, int(updated), int(observed)) for grade, number, updated, observed in rows}
    none = (0, 0, 0)
    told = [grades.get(grade, none) for grade in (GLIMPSED, STATED)]
    return Count(
        told=sum(number for number, _, _ in told),
        sighted=grades.get(SIGHTED, none)[0],
        deleted=grades.get(DELETED, none)[0],
        updated_at=max(updated for _, updated, _ in told) or None,
        observed_at=max((observed for grade, (_, _, observed) in grades.items() if grade != SIGHTED), default=None),
    )
