"""An application with clerkmap on localhost: `python examples/quickstart.py --help`.

It needs no Clerk account and no network: FakeClerk is a Clerk in this process, with its own signing key. For the real
Clerk, change one line of `main`: `instance = Instance(publishable_key="pk_live_...")`.
"""

import argparse
import json
import sqlite3
import sys
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from clerkmap import ClerkmapError, ClerkUser, LockedOut, Refused, Resolver, TokenError
from clerkmap.repositories import SqliteRepository
from clerkmap.testing import FakeClerk

HOURS = 3600
TABLES = ("clerkmap_users", "clerkmap_identities")


class Server(ThreadingHTTPServer):
    """Answers each request in its own thread. All threads share one resolver."""

    def __init__(self, port: int, resolver: Resolver, database: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.resolver = resolver
        self.database = database


class Handler(BaseHTTPRequestHandler):
    """Two pages, and the responses to clerkmap's errors."""

    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]  # as socketserver means it

    def do_GET(self) -> None:
        try:
            pages = {"/me": self.me, "/users": self.users}
            page = pages.get(self.path)
            status, body = (200, page()) if page else (404, {"error": "not_found", "message": "try /me or /users"})
        except ClerkmapError as error:
            # The class of the error gives the status: a fault of the caller, or of a service we depend on.
            status = 403 if isinstance(error, LockedOut) else 401 if isinstance(error, Refused) else 503
            body = {"error": error.code, "message": str(error)}
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body, indent=2).encode() + b"\n")

    def me(self) -> dict[str, Any]:
        """Return the caller. A request needs only this call of clerkmap."""
        principal = self.server.resolver.resolve(self.token())
        organization, membership = principal.organization, principal.membership
        return {
            "user": principal.user.id,  # your id, for your own foreign keys
            "clerk_id": principal.user.clerk_id,
            "organization": {"id": organization.id, "slug": organization.slug} if organization else None,
            "role": membership.role if membership else None,
            "kind": principal.claims.kind,
        }

    def users(self) -> dict[str, Any]:
        """Return the rows of the tables, read with plain SQL. Do not publish such a page in your application."""
        with closing(sqlite3.connect(self.server.database)) as connection:
            connection.row_factory = sqlite3.Row
            return {table: [dict(row) for row in connection.execute(f"SELECT * FROM {table}")] for table in TABLES}

    def token(self) -> str:
        """Return the token in the Authorization header."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise TokenError("the request has no token")
        return token.strip()


def main() -> None:
    """Create users and rows, print requests to try, and serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="An example application on localhost. Needs no Clerk account.")
    parser.add_argument("--port", type=int, default=8000, help="where to listen; 0 for any free port (default: 8000)")
    parser.add_argument("--db", default="clerkmap-dev.db", help="the SQLite file (default: clerkmap-dev.db)")
    options = parser.parse_args()

    clerk = FakeClerk(seed=1)  # a fixed seed creates the same users each time, so they keep their rows
    instance = clerk.instance
    with closing(SqliteRepository.open(options.db)) as repository:
        try:
            server = Server(options.port, Resolver(instance, repository), options.db)
        except OSError as error:
            sys.exit(f"cannot listen on port {options.port} ({error.strerror}): choose another one with --port")

        ada, grace, zoe = (clerk.create_user() for _ in range(3))
        acme = clerk.create_organization("Acme", created_by=ada)
        long = 12 * HOURS  # Clerk's session tokens live for a minute, and its front end renews them
        clerk.clock.advance(-24 * HOURS)
        yesterday = clerk.token(ada, acme, expires_in=long)
        clerk.clock.advance(24 * HOURS)
        repository.put([ClerkUser.deleted(instance.name, zoe.id, observed_at=1_700_000_000_000)])

        address = f"http://127.0.0.1:{server.server_port}"
        say("An application with clerkmap: an SQLite file, three users and a fake Clerk.")
        say("Paste these lines into another terminal. Press Ctrl-C to stop.")
        show("no token: 401", f"{address}/me")
        show("Ada, in the organization Acme: 200", f"{address}/me", clerk.token(ada, acme, expires_in=long))
        show("Grace, in no organization: 200", f"{address}/me", clerk.token(grace, expires_in=long))
        show("Ada, with yesterday's token: 401", f"{address}/me", yesterday)
        template = clerk.template_token(ada, expires_in=long)
        show("Ada, with a token made from a JWT template: 401", f"{address}/me", template)
        show("Zoe, a deleted user: 403", f"{address}/me", clerk.token(zoe, expires_in=long))
        show("the rows in the database: 200", f"{address}/users")
        with server:
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                say(f"\nStopped. The rows are in {options.db}.")


def show(title: str, url: str, token: str = "") -> None:
    """Print one request to try."""
    header = f" -H 'Authorization: Bearer {token}'" if token else ""
    say(f"\n# {title}\ncurl -i {url}{header}")


def say(text: str) -> None:
    """Print without buffering, also into a pipe."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
