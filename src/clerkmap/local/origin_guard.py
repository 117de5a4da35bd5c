"""Who may talk to a server on localhost. Any page that a browser shows can send requests there, so most are refused.

A page of somebody else's says so in `Origin`. One whose name was made to lead here shows it in `Host`. And what
changes something is JSON, which a page can only send elsewhere if it is welcome there: here, none ever is.
"""

from collections.abc import Iterable

from ..adapters.asgi import Scope

HOSTS = ("127.0.0.1", "localhost", "[::1]")
MOST_ASKED = 65_536  # bytes of a request to do something

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Of everything that is answered here. Nothing of it is for the pages of others, and nothing is as it was a moment ago.
HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", PAGE_POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class Stranger(Exception):
    """A request that is not answered: a status, a code, and what is wrong."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status: int = status
        self.code: str = code


class OriginGuard:
    """Refuses what does not come from this machine's own pages and programs."""

    def __init__(self, port: int) -> None:
        self._hosts: set[str] = {f"{host}:{port}" for host in HOSTS} | set(HOSTS if port == 80 else ())
        self._origins = {f"http://{host}" for host in self._hosts}

    def check(self, scope: Scope) -> None:
        """Let a request through that was sent to this very address, by no page of somebody else's."""
        if len(_values(scope, b"host")) != 1 or _values(scope, b"host")[0].lower() not in self._hosts:
            raise Stranger(403, "host_refused", "This server answers to localhost and 127.0.0.1, with its port")
        if not self._origins.issuperset(_values(scope, b"origin")):
            raise Stranger(403, "origin_refused", "This server answers no page but its own")
        # Of what a page only embeds, a browser tells no origin. It may not read the answer, but that costs us, too.
        if not {"same-origin", "none"}.issuperset(_values(scope, b"sec-fetch-site")) and not _is_visit(scope):
            raise Stranger(403, "origin_refused", "This server answers no page but its own")

    def check_asked(self, scope: Scope) -> None:
        """Let a request through that is to change something: JSON, and not too much of it."""
        kinds = [kind.partition(";")[0].strip().lower() for kind in _values(scope, b"content-type")]
        if kinds != ["application/json"]:
            raise Stranger(415, "content_type_refused", "Send application/json")
        lengths = _values(scope, b"content-length")
        if any(not (length.isascii() and length.isdigit()) or int(length[:20]) > MOST_ASKED for length in lengths):
            raise too_large()


def _is_visit(scope: Scope) -> bool:
    """Whether somebody has followed a link to the page."""
    return scope["path"] == "/" and _values(scope, b"sec-fetch-dest") == ["document"]


def too_large() -> Stranger:
    """What is refused without being read to its end."""
    return Stranger(413, "body_too_large", f"A request has {MOST_ASKED} bytes at most")


def _values(scope: Scope, wanted: bytes) -> list[str]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1") for name, value in headers if name.lower() == wanted]
