"""A course platform: its users are clerkmap's rows, and everything else refers to their ids.

courses = Courses(Instance.from_env(), "courses.db")
courses.caller(token)           # the caller's id and role
courses.webhook(headers, body)  # receives a delivery and returns the status
"""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple

from clerkmap import (
    Change,
    ClerkUser,
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


class Caller(NamedTuple):
    """The caller's id and role. A cached caller needs no database read."""

    id: str
    role: str


class NotAllowed(Exception):
    """The action requires the role admin."""


class Courses:
    """The users of the platform and their courses."""

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
        # Called after each write of this process, and within half a second after a write of another process.
        self.repository.listeners.watch(lambda keys: self._cache.clear())
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(TABLES)
        self._resolver = Resolver(instance, self.repository, verifier=Verifier(instance, clock=clock))
        self._reconciler = Reconciler(instance, self.repository, clock=clock)

    def caller(self, token: str) -> Caller:
        """Return the caller. The role comes from the database, so a change does not wait for the token's expiry."""
        user = self._resolver.resolve(token).user
        return Caller(user.id, user.role or "user")

    def webhook(self, headers: dict[str, str], body: bytes) -> int:
        """Receive a delivery, and return the status for the response."""
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
        """Enrol the caller. The row refers to your user's id, not to the Clerk id."""
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute("INSERT OR IGNORE INTO enrolments VALUES (?, ?)", (self.caller(token).id, course))
        self._cache.pop(f"courses of {self.caller(token).id}", None)

    def courses_of(self, id: str) -> list[str]:
        """Return the courses of a user."""
        return [course for (course,) in self._cached(f"courses of {id}", COURSES, id)]

    def people(self, token: str) -> list[Any]:
        """Return all users that are not deleted. Only for admins."""
        if self.caller(token).role != "admin":
            raise NotAllowed
        return self._cached("people", PEOPLE)

    def promote(self, token: str, id: str, role: str) -> None:
        """Set a user's role. It takes effect on the next request. Only for admins."""
        if self.caller(token).role != "admin" or role not in ROLES:
            raise NotAllowed
        self.repository.set_role(id, role)

    def tell_clerk(self, change: Change) -> None:
        """Write the id and the role into Clerk's metadata, so that tokens carry them to the front end.

        Write only differences: Clerk sends `user.updated` for each write, which would otherwise cause another write.
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
        self.repository.poll()  # reads a counter, to notice writes of other processes
        if tag not in self._cache:
            with closing(sqlite3.connect(self._path)) as connection:
                self._cache[tag] = connection.execute(query, values).fetchall()
        found: list[Any] = self._cache[tag]
        return found


def first_role(record: ClerkUser) -> str | None:
    """Return the first role of a user: the one in the metadata, if the application has it."""
    role = role_in_metadata(record)
    return role if role in ROLES else None
