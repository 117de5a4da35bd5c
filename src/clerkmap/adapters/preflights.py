"""CORS preflights that pass a `require=`, and the headers that they may carry in either direction.

A browser sends a preflight without a token before a request from another origin. The application's CORS middleware may
stand inside the protection, so the preflight must reach it. The application cannot tell a browser from any other client
that sends the same headers. So it gets only the CORS headers of the request, and only the CORS headers of its response
are sent.
"""

import re
from collections.abc import Iterable
from typing import Literal

from ..errors import ConfigurationError

Preflight = Literal["pass", "refuse"]

PREFLIGHT_TIMEOUT = 5.0  # seconds that an ASGI application may run after its response has been sent

# The only request headers that the application gets: others could change its behaviour, for example by overriding the
# method, and the request comes from an unknown client.
REQUEST_HEADERS = (b"origin", b"host", b"access-control-request-")
ENVIRON_HEADERS = ("HTTP_ORIGIN", "HTTP_HOST", "HTTP_ACCESS_CONTROL_REQUEST_")

_RESPONSE_HEADERS = ("vary", "allow")
_RESPONSE_PREFIX = "access-control-"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # some servers accept a line break in a header


def check_preflight(preflight: str) -> bool:
    """Return whether preflights pass. Raise for an unknown value of the option."""
    if preflight not in ("pass", "refuse"):
        raise ConfigurationError("preflight must be 'pass' or 'refuse'")
    return preflight == "pass"


def reduced_headers(status: int, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the CORS headers of a response, and a content-length of 0 if a response with this status may have one."""
    plain = [(name, value) for name, value in headers if not _CONTROL.search(name + value)]
    kept = [
        (name, value)
        for name, value in plain
        if name.lower().startswith(_RESPONSE_PREFIX) or name.lower() in _RESPONSE_HEADERS
    ]
    return kept if status < 200 or status in (204, 304) else [*kept, ("content-length", "0")]
