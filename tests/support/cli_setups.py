"""Broken set-ups, each with the check that must name it, and words of the cause. Canaries are in what is secret."""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

from clerkmap.testing import FakeClerk

CANARY = "c4n4ry"
OTHER = FakeClerk(8)
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Setup:
    """What is changed of a set-up that is right; `DB` in a value stands for the folder of the database.

    `sql` is run in the database, `clerk` changes what is at Clerk, some seconds `ago`, and `answer` stands in for
    Clerk's API.
    """

    name: str
    check: str
    said: str
    changes: dict[str, str] = field(default_factory=dict[str, str])
    sql: str = ""
    clerk: Callable[[FakeClerk], object] | None = None
    answer: Callable[..., Awaitable[None]] | None = None
    ago: float = 0


def answering(status: int, body: bytes, date: float | None = None, **headers: str) -> Callable[..., Awaitable[None]]:
    """An application that always gives the same answer."""
    sent = {"date": formatdate(date, usegmt=True), "content-type": "text/html"} | headers

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raw = [(name.encode(), value.encode()) for name, value in sent.items()]
            await send({"type": "http.response.start", "status": status, "headers": raw})
            await send({"type": "http.response.body", "body": body})

    return app


def _key(kind: str, host: str) -> str:
    made = FakeClerk(0, host=host).publishable_key
    return made.replace("_test_", f"_{kind}_")


_OUTBOX = "INSERT INTO clerkmap_outbox SELECT instance, 'user', key, 0, {} FROM clerkmap_identities"


def _late_change(clerk: FakeClerk) -> None:
    clerk.create_user(email="late@example.com")


def _delete_one(clerk: FakeClerk) -> None:
    clerk.delete_user(list(clerk.users.values())[-1])


def _server_errors(clerk: FakeClerk) -> None:
    clerk.faults.server_error = 1


def _too_many(clerk: FakeClerk) -> None:
    clerk.faults.too_many = 1


PUBLISHABLE, SECRET, URL = "CLERK_PUBLISHABLE_KEY", "CLERK_SECRET_KEY", "CLERK_API_URL"
WEBHOOK, PARTIES, JWT, DATABASE = (
    *("CLERK_WEBHOOK_SIGNING_SECRET", "CLERK_AUTHORIZED_PARTIES", "CLERK_JWT_KEY"),
    "CLERKMAP_DATABASE_URL",
)
GOOD_WEBHOOK = "whsec_" + "YzRuNHJ5" * 4

SETUPS = [
    Setup("not a publishable key", "publishable key", "is not set", {PUBLISHABLE: ""}),
    Setup("a publishable key that is cut off", "publishable key", "cut off", {PUBLISHABLE: "pk_test_Y2xlcmsu"}),
    Setup("a secret key in its place", "publishable key", "a secret key", {PUBLISHABLE: f"sk_test_{CANARY * 4}"}),
    Setup("another variable's value", "publishable key", "not a publishable key", {PUBLISHABLE: "https://example.com"}),
    Setup("a publishable key in the secret's place", "secret key", "a publishable key", {SECRET: _key("test", "a.b")}),
    Setup("a secret key that is cut off", "secret key", "cut off", {SECRET: "sk_test_c4n4"}),
    Setup("a secret key with dots in the middle", "secret key", "cut off", {SECRET: f"sk_test_{CANARY}•••{CANARY}"}),
    Setup("a live secret key beside a test key", "secret key", "production", {SECRET: f"sk_live_{CANARY * 4}"}),
    Setup("a webhook secret that is cut off", "webhook secret", "cut off", {WEBHOOK: f"whsec_{CANARY}"}),
    Setup("a webhook secret without its beginning", "webhook secret", "not a signing", {WEBHOOK: GOOD_WEBHOOK[6:]}),
    Setup("a bad one of two webhook secrets", "webhook secret", "cut off", {WEBHOOK: f"{GOOD_WEBHOOK},{CANARY}"}),
    Setup("an origin with a slash", "front ends", "invalid origin", {PARTIES: "https://app.example.com/"}),
    Setup("an origin without a scheme", "front ends", "invalid origin", {PARTIES: "https://a.example.com,b.example.com"}),
    Setup("an API without TLS", "API address", "https://", {URL: "http://api.clerk.com"}),
    Setup("an API with a password", "API address", "https://", {URL: f"https://u:{CANARY}@api.clerk.com"}),
    Setup("a JWT key that is none", "JWT key", "neither", {JWT: CANARY}),
    Setup("a JWT key that is cut off", "JWT key", "neither", {JWT: f"-----BEGIN PUBLIC KEY-----\n{CANARY}"}),
    Setup("keys that nobody serves", "keys", "cannot be fetched", {JWT: "", PUBLISHABLE: _key("test", "127.0.0.1:1")}),
    Setup("an API that nobody serves", "API", "did not answer", {URL: "http://127.0.0.1:1"}),
    Setup("an API that only fails", "API", "did not answer", clerk=_server_errors),
    Setup("an API that is asked too often", "API", "rate limit", clerk=_too_many),
    Setup("a page in the API's place", "API", "not Clerk's API", answer=answering(200, b"<h1>Welcome</h1>")),
    Setup("a redirection", "API", "not Clerk's API", answer=answering(302, b"", location="https://example.com")),
    Setup("something else in the API's place", "API", "not Clerk's API", answer=answering(404, b"not found")),
    Setup("a secret key that was revoked", "API", "does not know", {SECRET: f"sk_test_{CANARY * 4}"}),
    Setup("a secret key of another instance", "same instance", "different instances", {SECRET: OTHER.secret_key}),
    Setup("a JWT key of another instance", "same instance", "different instances", {JWT: OTHER.key.pem()}),
    Setup("a clock that is behind", "clock", "behind", answer=answering(401, b"", time.time() + 3600)),
    Setup("a clock that is ahead", "clock", "ahead", answer=answering(401, b"", time.time() - 3600)),
    Setup("a database of another kind", "database", "must be", {DATABASE: f"mysql://u:{CANARY}@h/d"}),
    Setup("a database in memory", "database", "in memory", {DATABASE: "sqlite://"[:9] + "/:memory:"}),
    Setup("a folder that is not there", "database", "there is no folder", {DATABASE: "sqlite:///DB/nowhere/app.db"}),
    Setup("a folder in the file's place", "database", "is not a file", {DATABASE: "DB"}),
    Setup("a file that is no database", "database", "not an SQLite database", {DATABASE: "DB/notes.txt"}),
    Setup("a URL without its beginning", "database", "begins with", {DATABASE: f"u:{CANARY}@h/d"}),
    Setup("a URL that cannot be read", "database", "cannot be read", {DATABASE: f"postgresql://u:{CANARY}@h:x/d"}),
    Setup("a password that splits", "database", "cannot be read", {DATABASE: f"postgresql://u:p@{CANARY}@h/d"}),
    Setup("a server that does not run", "database", "no server listens", {DATABASE: f"postgresql://u:{CANARY}@127.0.0.1:1/d"}),
    Setup("a server that is not there", "database", "host does not exist", {DATABASE: f"postgresql://u:{CANARY}@db.invalid/d"}),
    Setup("no file", "database", "there is no file", {DATABASE: "DB/new.db"}),
    Setup("no tables", "tables", "no tables", {DATABASE: "DB/empty.db"}),
    Setup("tables of a newer version", "tables", "newer clerkmap", sql="UPDATE clerkmap_schema SET version = 99"),
    Setup("nothing ever told", "webhooks", "no data from Clerk", sql="DELETE FROM clerkmap_memberships; "
          "DELETE FROM clerkmap_identities; DELETE FROM clerkmap_organizations"),
    Setup("another instance's rows", "webhooks", "no data from Clerk",
          sql="UPDATE clerkmap_identities SET instance = 'x'; "
          "UPDATE clerkmap_memberships SET instance = 'x'; UPDATE clerkmap_organizations SET instance = 'x'"),
    Setup("webhooks that do not arrive", "webhooks", "not in the database", clerk=_late_change, ago=7200),
    Setup("a write that Clerk refuses", "outbox", "form_identifier_exists",
          sql=_OUTBOX.format("strftime('%s', 'now') * 1000 + 60000, 1, 3, 'form_identifier_exists'")),
    Setup("writes that nobody sends", "outbox", "nothing sends them",
          sql=_OUTBOX.format("strftime('%s', 'now') * 1000 - 3600000, 1, 0, NULL")),
    Setup("a deletion that was never told", "counts", "2 users at Clerk, and 3 here", clerk=_delete_one),
]  # fmt: skip


def prepare(folder: Path) -> None:
    """The files that some of the set-ups name."""
    (folder / "notes.txt").write_text("no database, but something that somebody has written\n" * 100)
    (folder / "empty.db").touch()
