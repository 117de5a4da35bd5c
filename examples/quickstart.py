"""An application with clerkmap in it, on localhost: `make dev`, or `python examples/quickstart.py --help`.

It needs neither an account at Clerk nor a network: FakeClerk is a Clerk in this process, with a signing key of its own.
For the real one, `main` changes in one line: `instance = Instance(publishable_key="pk_live_...")`.
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
    """Answers each request in a thread of its own. One resolver serves them all."""

    def __init__(self, port: int, resolver: Resolver, database: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.resolver = resolver
        self.database = database


class Handler(BaseHTTPRequestHandler):
    """Two pages, and what to answer when clerkmap says no."""

    server: Server

    def do_GET(self) -> None:
        try:
            pages = {"/me": self.me, "/users": self.users}
            page = pages.get(self.path)
            status, body = (200, page()) if page else (404, {"error": "not_found", "message": "try /me or /users"})
        except ClerkmapError as error:
            # Whose fault it is tells the status: the caller's, or that of something we depend on.
            status = 403 if isinstance(error, LockedOut) else 401 if isinstance(error, Refused) else 503
            body = {"error": error.code, "message": str(error)}
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body, indent=2).encode() + b"\n")

    def me(self) -> dict[str, Any]:
        """Who is calling. This is all of clerkmap that a request needs."""
        principal = self.server.resolver.resolve(self.token())
        organization, membership = principal.organization, principal.membership
        return {
            "user": principal.user.id,  # yours: what your own tables refer to
            "clerk_id": principal.user.clerk_id,
            "organization": {"id": organization.id, "slug": organization.slug} if organization else None,
            "role": membership.role if membership else None,
            "kind": principal.claims.kind,
        }

    def users(self) -> dict[str, Any]:
        """What is in the tables, read with plain SQL. Open to everybody, for you to look at: yours would not be."""
        with closing(sqlite3.connect(self.server.database)) as connection:
            connection.row_factory = sqlite3.Row
            return {table: [dict(row) for row in connection.execute(f"SELECT * FROM {table}")] for table in TABLES}

    def token(self) -> str:
        """The token in the Authorization header."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise TokenError("the request carries none")
        return token.strip()


def main() -> None:
    """Set the stage, say what there is to see, and serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="An example application on localhost. Needs no Clerk account.")
    parser.add_argument("--port", type=int, default=8000, help="where to listen; 0 for any free port (default: 8000)")
    parser.add_argument("--db", default="clerkmap-dev.db", help="the SQLite file (default: clerkmap-dev.db)")
    options = parser.parse_args()

    clerk = FakeClerk(seed=1)  # a fixed seed makes the same people each time, so they find their rows again
    instance = clerk.instance
    with closing(SqliteRepository.open(options.db)) as repository:
        try:
            server = Server(options.port, Resolver(instance, repository), options.db)
        except OSError as error:
            sys.exit(f"cannot listen on port {options.port} ({error.strerror}): choose another one with --port")

        ada, grace, zoe = (clerk.create_user() for _ in range(3))
        acme = clerk.create_organization("Acme", created_by=ada)
        long = 12 * HOURS  # Clerk's own session tokens live for a minute, and its front end keeps renewing them
        clerk.clock.advance(-24 * HOURS)
        yesterday = clerk.token(ada, acme, expires_in=long)
        clerk.clock.advance(24 * HOURS)
        repository.put([ClerkUser.deleted(instance.name, zoe.id, observed_at=1_700_000_000_000)])

        address = f"http://127.0.0.1:{server.server_port}"
        say("An application with clerkmap in it: an SQLite file, three people, and a Clerk that is made up.")
        say("Paste these lines into another terminal. Ctrl-C ends it.")
        show("no token: 401", f"{address}/me")
        show("Ada, in the organization Acme: 200", f"{address}/me", clerk.token(ada, acme, expires_in=long))
        show("Grace, in no organization: 200", f"{address}/me", clerk.token(grace, expires_in=long))
        show("Ada, with a token of yesterday: 401", f"{address}/me", yesterday)
        template = clerk.template_token(ada, expires_in=long)
        show("Ada, with a token made from a JWT template: 401", f"{address}/me", template)
        show("Zoe, who has been deleted: 403", f"{address}/me", clerk.token(zoe, expires_in=long))
        show("the rows that are there now: 200", f"{address}/users")
        with server:
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                say(f"\nEnded. The rows are in {options.db}.")


def show(title: str, url: str, token: str = "") -> None:
    """Print one request to try."""
    header = f" -H 'Authorization: Bearer {token}'" if token else ""
    say(f"\n# {title}\ncurl -i {url}{header}")


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
