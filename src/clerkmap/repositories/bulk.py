"""Many users at once: a page of a backfill in a handful of statements, where each statement is a way there and back.

The rows travel as one JSON text, which needs no table of its own, as `COPY` would; `python -m benchmarks postgres`
says what each costs. Whatever is out of the ordinary is left to be put one by one.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from ..core.conclusions import deleted_at
from ..core.model import Change, Id, User
from ..core.records import ClerkUser, newer
from .choices import FirstRoles
from .reading import Reading, user_of
from .sql import IDENTITY_COLUMNS, NEW_USER_COLUMNS, user_row
from .work import Work

MANY = 20  # below this, one by one is as fast
Place = tuple[str, str]  # an instance and a key


class Bulk(Reading):
    """What is there, and how many users at once come to be there."""

    def _put_many_users(self, records: Sequence[ClerkUser], roles: FirstRoles) -> Work[dict[Place, Change | None]]:
        """What became of each. Those that are missing are to be put one by one."""
        known = yield from self._users_to_write(records)
        done: dict[Place, Change | None] = {}
        better: dict[Place, tuple[User, ClerkUser]] = {}
        for record in records:
            place = _place(record)
            user = known.get(place)
            if user is None or record.is_deleted or place in roles:  # more follows from it than one row
                continue
            if newer(record, user.clerk):
                better[place] = user, record
            else:
                done[place] = None
        new = [record for record in records if _place(record) not in known]
        if new and not self._choices.has_linker:
            yield from self._make_many_users(new, roles, done)
        rows = [(*user_row(record), user.id) for user, record in better.values()]
        for place in (yield from self._write_many(self._sql.upsert_identities, rows)):
            before, record = better[place]
            after = User(before.id, before.role, before.created_at, before.deleted_at, record)
            done[place] = Change(before, after, after)
        return done

    def _make_many_users(
        self, records: Sequence[ClerkUser], roles: FirstRoles, done: dict[Place, Change | None]
    ) -> Work[None]:
        ids: list[Id | None] = [self._choices.make_id(record) for record in records]
        if None in ids:
            ids = [id for (id,) in (yield self._sql.next_ids, (len(records),))]
        now = self._choices.now()
        users: dict[Id, User] = {}
        for record, id in zip(records, ids, strict=True):
            assert id is not None
            users[id] = User(id, roles.get(_place(record), (None,))[0], now, deleted_at([record]), record)
        rows = [
            (user.id, *roles.get(_place(user.clerk), (None, None)), user.created_at, user.deleted_at)
            for user in users.values()
        ]
        made = [users[id] for (id,) in (yield self._sql.insert_users, (_json(NEW_USER_COLUMNS, rows),))]
        tied = yield from self._write_many(
            self._sql.insert_identities, [(*user_row(user.clerk), user.id) for user in made]
        )
        for user in made:
            place = _place(user.clerk)
            if place in tied:
                done[place] = Change(None, user, user)
            else:  # somebody else has just made this person known
                yield self._sql.delete_user, (user.id,)

    def _users_to_write(self, records: Iterable[ClerkUser]) -> Work[dict[Place, User]]:
        found: dict[Place, User] = {}
        for instance, group in groupby(records, key=lambda record: record.instance):
            keys = json.dumps([record.key for record in group])
            for row in (yield self._sql.select_users_to_write, (instance, keys)):
                user = user_of(row)
                found[_place(user.clerk)] = user
        return found

    def _write_many(self, statement: str, rows: list[tuple[Any, ...]]) -> Work[set[Place]]:
        """Which of these identities were written."""
        return set((yield statement, (_json(IDENTITY_COLUMNS, rows),))) if rows else set()


def _place(record: ClerkUser) -> Place:
    return record.instance, record.key


def _json(columns: Sequence[str], rows: list[tuple[Any, ...]]) -> str:
    return json.dumps([dict(zip(columns, row, strict=True)) for row in rows], ensure_ascii=False)
