"""A course platform: its users are clerkmap's rows, and everything else refers to their ids.

courses = Courses(Instance.from_env(), "courses.db")
courses.caller(token)           # who is calling, and in which role
courses.webhook(headers, body)  # what Clerk sends; gives the status to answer
"""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple

from clerkmap import (
    Change,
    ClerkUser,
    Id,
    Instance,
    Reconciler,
    RepositoryUnavailable,
    Resolver,
    Verifier,
    WebhookError,
    role_in_metadata,
)
from clerkmap.errors import WebhookTooLarge
from clerkmap.repositories import SqliteRepository

ROLES = ("user", "admin")
TABLES = """
CREATE TABLE IF NOT EXISTS enrolments (
    user_id TEXT NOT NULL REFERENCES clerkmap_users (id),
    course TEXT NOT NULL,
    PRIMARY KEY (user_id, course)
) STRICT;
"""
PEOPLE = """
SELECT u.id, i.name, i.email, coalesce(u.role, 'user')
FROM clerkmap_users u JOIN clerkmap_identities i ON i.user_id = u.id
WHERE u.deleted_at IS NULL ORDER BY u.created_at, u.id
"""
COURSES = "SELECT course FROM enrolments WHERE user_id = ? ORDER BY course"

MergeMetadata = Callable[[str, dict[str, Any]], None]


class AuthResult(NamedTuple):
    """What a page needs of who is calling. No row is read for it when the person was seen before."""

    id: Id
    role: str


class NotAllowed(Exception):
    """Only an admin may."""


class Courses:
    """The users of the platform and what they have enrolled in."""

    def __init__(
        self,
        instance: Instance,
        path: str,
        *,
        clock: Callable[[], float] = time.time,
        merge_metadata: MergeMetadata = lambda clerk_id, metadata: None,
    ) -> None:
        self._path = path
        self._merge_metadata = merge_metadata
        self._cache: dict[str, Any] = {}
        self.repository = SqliteRepository.open(path, first_role=first_role, after_commit=[self.tell_clerk])
        # Every write of this process, and within half a second of others, empties what it touches.
        self.repository.listeners.watch(lambda keys: self._cache.clear())
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(TABLES)
        self._resolver = Resolver(instance, self.repository, verifier=Verifier(instance, clock=clock))
        self._reconciler = Reconciler(instance, self.repository, clock=clock)

    def caller(self, token: str) -> AuthResult:
        """Who is calling. The role is that of the database: nobody stays admin until a token has run out."""
        user = self._resolver.resolve(token).user
        return AuthResult(user.id, user.role or "user")

    def webhook(self, headers: dict[str, str], body: bytes) -> int:
        """Take in what Clerk sends, and tell the status to answer, by the class of what failed and not by its text."""
        try:
            self._reconciler.receive(headers, body)
        except WebhookTooLarge:
            return 413
        except WebhookError:
            return 400
        except RepositoryUnavailable:
            return 503
        return 200

    def enrol(self, token: str, course: str) -> None:
        """Everything of a user's refers to the user's own id."""
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute("INSERT OR IGNORE INTO enrolments VALUES (?, ?)", (self.caller(token).id, course))
        self._cache.pop(f"courses of {self.caller(token).id}", None)

    def courses_of(self, id: Id) -> list[str]:
        """What somebody has enrolled in."""
        return [course for (course,) in self._cached(f"courses of {id}", COURSES, id)]

    def people(self, token: str) -> list[Any]:
        """Everybody who is not deleted, for admins."""
        if self.caller(token).role != "admin":
            raise NotAllowed
        return self._cached("people", PEOPLE)

    def promote(self, token: str, id: Id, role: str) -> None:
        """Give somebody another role. It counts from the next request on."""
        if self.caller(token).role != "admin" or role not in ROLES:
            raise NotAllowed
        self.repository.set_role(id, role)

    def tell_clerk(self, change: Change) -> None:
        """Put our id and role into Clerk's metadata, where tokens take them to the front end.

        Only what is not there yet: Clerk answers each writing with `user.updated`, which would be answered in turn.
        """
        user = change.user
        if not change.is_user or user is None or user.clerk_id is None:
            return
        ours = {"user_id": user.id, "role": user.role or "user"}
        if {name: user.public_metadata.get(name) for name in ours} != ours:
            self._merge_metadata(user.clerk_id, ours)

    def close(self) -> None:
        self.repository.close()

    def _cached(self, tag: str, query: str, *values: object) -> list[Any]:
        self.repository.poll()  # whether another process has written; a look at a counter
        if tag not in self._cache:
            with closing(sqlite3.connect(self._path)) as connection:
                self._cache[tag] = connection.execute(query, values).fetchall()
        found: list[Any] = self._cache[tag]
        return found


def first_role(record: ClerkUser) -> str | None:
    """Which role somebody begins with: what the metadata name, if it is one of ours."""
    role = role_in_metadata(record)
    return role if role in ROLES else None
