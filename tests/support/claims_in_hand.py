"""Claims read from a payload, without a token around it."""

from typing import Any

from clerkmap import Claims
from clerkmap.core.claims import TokenKind, read_claims

TIMES = {"iss": "https://a.b", "iat": 1_790_000_000, "exp": 1_790_000_060}
SESSION = {**TIMES, "sub": "user_a", "sid": "sess_a"}


def read(kind: TokenKind = "session", **claims: Any) -> Claims:
    """Claims of this kind; a session has its two ids already."""
    base = SESSION if kind == "session" else TIMES
    return read_claims(kind, "a.b", {**base, **claims})


def organized(**claims: Any) -> Claims:
    """A version 2 session in an organization; `per`, `fpm`, `rol` and `slg` are the organization's."""
    inner = {name: claims.pop(name) for name in ("per", "fpm", "rol", "slg") if name in claims}
    return read(v=2, o={"id": "org_a", **inner}, **claims)
