"""The demo application: the smallest application with clerkmap, on an SQLite file.

`GET /demo/me` returns the caller, `POST /demo/webhooks` receives Clerk's webhooks. The rest of this file shows the page
the work inside the application.
"""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from ..adapters.asgi import App, AuthMiddleware, Receive, Scope, Send, WebhookEndpoint, principal_of, respond
from ..auth.explain import aexplain
from ..auth.resolver import Resolver
from ..auth.verifier import Verifier
from ..core.http import MAX_REQUEST_HEADER, Headers, read_headers
from ..core.keys import KeySet, VerifyingKey, import_jwks
from ..core.responses import RawResponse
from ..errors import ClerkmapError, UnknownKey
from ..repositories import SqliteRepository
from ..testing import FakeClerk, Message
from ..webhooks import Outcome, Reconciler
from .outcomes import Came, Record, came_of

NAME = "demo"
TABLES = ("users", "identities", "organizations", "memberships", "sessions")


async def me(scope: Scope, receive: Receive, send: Send) -> None:
    """Return the caller. A request needs no more of clerkmap than this."""
    principal = principal_of(scope)
    user, organization, membership = principal.user, principal.organization, principal.membership
    await respond(
        as_json(
            200,
            {
                "user": {"id": user.id, "clerk_id": user.clerk_id, "name": user.name, "email": user.email},
                "organization": organization and {"id": organization.id, "name": organization.name},
                "role": membership and membership.role,
            },
        ),
        send,
    )


class Demo:
    """The application, on a file.

    Args:
        clerk: The Clerk that it trusts.
        path: The SQLite file.
        record: Called with the outcome of each delivery.
    """

    def __init__(self, clerk: FakeClerk, path: Path, record: Record) -> None:
        self.path: Path = path
        self._clerk = clerk
        self._record = record
        self.open()

    def open(self) -> None:
        """Create the parts, as your application would at its start."""
        instance = self._clerk.make_instance()
        self.repository: SqliteRepository = SqliteRepository.open(self.path)
        verifier = Verifier(instance, keys=PublishedKeys(self._clerk), clock=self._clerk.clock)
        self.resolver: Resolver = Resolver(instance, self.repository, verifier=verifier)
        reconciler = WatchedReconciler(self._record, instance, self.repository, clock=self._clerk.clock)
        self._pages: dict[str, App] = {
            "/demo/me": AuthMiddleware(me, self.resolver, require=True),
            "/demo/webhooks": WebhookEndpoint(reconciler),
        }
        transport = httpx.ASGITransport(self, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://localhost")

    async def close(self) -> None:
        """Close the file."""
        await self._client.aclose()
        self.repository.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = self._pages.get(scope["path"])
        if page is None:
            said = {"error": {"code": "not_found", "message": "The demo app has /demo/me and /demo/webhooks"}}
            await respond(as_json(404, said), send)
        else:
            await page(scope, receive, send)

    async def take(self, message: Message) -> int | None:
        """Attempt a delivery to this application, as Clerk does over the network."""
        headers = self._clerk.wire.sign(message)
        return (await self._client.post("/demo/webhooks", headers=headers, content=message.body)).status_code

    async def look(self, token: str) -> dict[str, Any]:
        """Run every check on a token, then request `/demo/me`, which creates the row of a new user."""
        explained = (await aexplain(self.resolver, token)).to_dict()
        bearer = b"Bearer " + token.encode("utf-8", "replace")
        answer = await self._client.get("/demo/me", headers={b"authorization": bearer})
        return explained | {"status": answer.status_code, "answer": answer.json()}

    async def forget(self) -> None:
        """Delete the rows of this Clerk. Fails if your own rows refer to them."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("BEGIN IMMEDIATE")
            try:
                _forget(connection, self._clerk.make_instance().name)
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
        await self.close()
        self.open()


def _forget(connection: sqlite3.Connection, instance: str) -> None:
    users = connection.execute("SELECT user_id FROM clerkmap_identities WHERE instance = ?", (instance,)).fetchall()
    for table in ("search_terms", *reversed(TABLES[1:])):
        connection.execute(f"DELETE FROM clerkmap_{table} WHERE instance = ?", (instance,))
    left = "SELECT user_id FROM clerkmap_identities"
    connection.executemany(f"DELETE FROM clerkmap_users WHERE id = ? AND id NOT IN ({left})", users)


def instances_in(path: Path) -> set[str]:
    """Return the names of the instances in a file."""
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'clerkmap_identities'").fetchall()
        rows = connection.execute("SELECT DISTINCT instance FROM clerkmap_identities").fetchall() if tables else []
    return {name for (name,) in rows}


class WatchedReconciler(Reconciler):
    """A reconciler that reports the outcome of each delivery."""

    def __init__(self, record: Record, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._record = record

    async def areceive(self, headers: Headers, body: bytes) -> Outcome:
        ids = read_headers(headers, {"svix-id": "svix-id"}, MAX_REQUEST_HEADER)[0].values()
        try:
            outcome = await super().areceive(headers, body)
        except ClerkmapError as error:
            for id in ids:
                self._record(id, Came(NAME, "refused", str(error)))
            raise
        for id in ids:
            self._record(id, came_of(NAME, outcome))
        return outcome


class PublishedKeys:
    """The keys that a fake Clerk publishes now. Nothing is fetched or cached."""

    def __init__(self, clerk: FakeClerk) -> None:
        self._clerk = clerk
        self._generation = 0
        self._published: Mapping[str, Any] = clerk.jwks()
        self._keys: KeySet = import_jwks(self._published, ("RS256",))

    @property
    def generation(self) -> int:
        """A number that grows with each change of keys."""
        published = self._clerk.jwks()
        if published != self._published:
            self._published, self._keys = published, import_jwks(published, ("RS256",))
            self._generation += 1
        return self._generation

    def peek(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey:
        """Return the key with this id, like `get`."""
        return self.get(kid, rejected)

    def get(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey:
        """Return the present key with this id."""
        _ = self.generation
        key = self._keys.find(kid)
        if key is None:
            raise UnknownKey
        return key

    async def aget(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey:
        """Return the key with this id, like `get`."""
        return self.get(kid, rejected)


def as_json(status: int, said: Mapping[str, Any]) -> RawResponse:
    """Return an answer with a JSON object."""
    body = json.dumps(said).encode()
    return RawResponse(status, (("content-type", "application/json"), ("content-length", str(len(body)))), body)
