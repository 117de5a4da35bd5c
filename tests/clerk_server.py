"""A server that answers like the few endpoints of Clerk's Backend API that the examples call."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

SECRET_KEY = "sk_test_of_a_clerk_that_is_ours"


class ClerkServer(ThreadingHTTPServer):
    """What this Clerk knows, and which requests have come."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.users: list[dict[str, Any]] = []
        self.organizations: list[dict[str, Any]] = []
        self.memberships: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: ClerkServer

    def do_GET(self) -> None:
        path, query = self._asked()
        limit = int(query.get("limit", "10"))
        if path == "/users":
            ids = [each["id"] for each in self.server.users]
            start = ids.index(query["starting_after"]) + 1 if "starting_after" in query else 0
            self._answer(self.server.users[start : start + limit])
        else:
            rows = {"/organizations": self.server.organizations, "/organization_memberships": self.server.memberships}
            offset = int(query.get("offset", "0"))
            self._answer({"data": rows[path][offset : offset + limit], "total_count": len(rows[path])})

    def do_POST(self) -> None:
        self._asked()
        said = self._body()
        self.server.organizations.append({"id": "org_made", "name": said["name"], "public_metadata": {}})
        self._answer(self.server.organizations[-1])

    def do_PATCH(self) -> None:
        """Merge metadata, as Clerk does: what is not named stays."""
        path, _ = self._asked()
        (organization,) = (each for each in self.server.organizations if f"/{each['id']}/metadata" in path)
        organization["public_metadata"] |= self._body()["public_metadata"]
        organization["updated_at"] = organization.get("updated_at", 0) + 1
        self._answer(organization)

    def _asked(self) -> tuple[str, dict[str, str]]:
        assert self.headers["Authorization"] == f"Bearer {SECRET_KEY}"
        assert self.headers["Clerk-API-Version"]
        parts = urlsplit(self.path)
        self.server.requests.append(f"{self.command} {parts.path}")
        return parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}

    def _body(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return said

    def _answer(self, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def clerk_server() -> Generator[ClerkServer, None, None]:
    """A server that runs for as long as the block."""
    with ClerkServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
