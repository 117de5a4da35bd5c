"""The guard of a server on localhost. Any web page in a browser can send requests there, so most are refused.

Another page has its own `Origin`. A page whose host name was made to lead here (DNS rebinding) has its own `Host`. A
request that changes something is JSON, which a page can send to another origin only with CORS, and there is none.
"""

from collections.abc import Iterable

from ..adapters.asgi import Scope

HOSTS = ("127.0.0.1", "localhost", "[::1]")
MOST_ASKED = 65_536  # bytes of a request for an action

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# For all answers: other pages must not use them, and caches must not store them.
HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", PAGE_POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class Stranger(Exception):
    """A refused request: status, code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status: int = status
        self.code: str = code


class OriginGuard:
    """Refuses requests that do not come from this server's page or from a program on this machine."""

    def __init__(self, port: int) -> None:
        self._hosts: set[str] = {f"{host}:{port}" for host in HOSTS} | set(HOSTS if port == 80 else ())
        self._origins = {f"http://{host}" for host in self._hosts}

    def check(self, scope: Scope) -> None:
        """Check the host, and the origin if a page has sent the request."""
        if len(_values(scope, b"host")) != 1 or _values(scope, b"host")[0].lower() not in self._hosts:
            raise Stranger(403, "host_refused", "Use localhost or 127.0.0.1, with the port of this server")
        if not self._origins.issuperset(_values(scope, b"origin")):
            raise Stranger(403, "origin_refused", "This server accepts only requests of its own page")
        # An embedded resource has no Origin. The page cannot read the answer, but the answer costs time.
        if not {"same-origin", "none"}.issuperset(_values(scope, b"sec-fetch-site")) and not _is_visit(scope):
            raise Stranger(403, "origin_refused", "This server accepts only requests of its own page")

    def check_asked(self, scope: Scope) -> None:
        """Check a request that changes something: JSON of limited size."""
        kinds = [kind.partition(";")[0].strip().lower() for kind in _values(scope, b"content-type")]
        if kinds != ["application/json"]:
            raise Stranger(415, "content_type_refused", "Send application/json")
        lengths = _values(scope, b"content-length")
        if any(not (length.isascii() and length.isdigit()) or int(length[:20]) > MOST_ASKED for length in lengths):
            raise too_large()


def _is_visit(scope: Scope) -> bool:
    """Return whether a user has followed a link to the page."""
    return scope["path"] == "/" and _values(scope, b"sec-fetch-dest") == ["document"]


def too_large() -> Stranger:
    """Return the error for a body that is too large to read."""
    return Stranger(413, "body_too_large", f"A request must have at most {MOST_ASKED} bytes")


def _values(scope: Scope, wanted: bytes) -> list[str]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1") for name, value in headers if name.lower() == wanted]
