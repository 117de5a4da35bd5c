"""Requests to Clerk. Only the modules of this package open sockets.

    from clerkmap.clerk import ClerkApi, endpoints

    api = ClerkApi(instance)
    api.send(endpoints.user("user_2abc"))  # one request

The import of this package is cheap: each name is loaded at its first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import AsyncClerkApi, ClerkApi
    from .budget import Budget
    from .jwks import RemoteKeys
    from .opaque_tokens import OpaqueTokens

_HOMES = {
    "api": ("AsyncClerkApi", "ClerkApi"),
    "budget": ("Budget",),
    "jwks": ("RemoteKeys",),
    "opaque_tokens": ("OpaqueTokens",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["AsyncClerkApi", "Budget", "ClerkApi", "OpaqueTokens", "RemoteKeys"]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return list(__all__)
