"""Applications that say who is calling, a WSGI application called without a server, and how to read an answer."""

import io
import json
from typing import Any

from clerkmap.adapters import asgi, wsgi
from clerkmap.auth.result import current_principal


async def me(scope: Any, receive: Any, send: Any) -> None:
    """Says who is calling, for those who sign in."""
    principal = asgi.optional_principal_of(scope)
    body = b"nobody" if principal is None else str(principal.user.clerk_id).encode()
    assert principal is None or current_principal() is principal is asgi.principal_of(scope)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def wsgi_me(environ: Any, start_response: Any) -> list[bytes]:
    principal = wsgi.optional_principal_of(environ)
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"nobody" if principal is None else str(principal.user.clerk_id).encode()]


def wsgi_plain(environ: Any, start_response: Any) -> list[bytes]:
    start_response("204 No Content", [])
    return []


def code(body: bytes) -> str:
    return str(json.loads(body)["code"])


class Calls:
    """A WSGI application called without a server."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.status = ""

    def __call__(self, token: str | None = None, method: str = "GET", **environ: Any) -> bytes:
        self.status = ""
        told = {"HTTP_AUTHORIZATION": f"Bearer {token}"} if token else {}
        body = self.app({"REQUEST_METHOD": method, "wsgi.input": io.BytesIO(), **told, **environ}, self._start)
        try:
            return b"".join(body)
        finally:
            if hasattr(body, "close"):
                body.close()

    def _start(self, status: str, headers: Any, error: Any = None) -> None:
        assert not self.status or error is not None, "WSGI wants to be told why there is a second answer"
        self.status = status
