"""Signed-in test clients: each request carries a new `Authorization` header.

A token is valid for a minute, so a fixed header would expire in a long test or after a move of the clock. No framework
is imported here. A client is recognized by its attributes: `auth`, a function of each request, in httpx, Starlette and
FastAPI; `environ_base` in Flask and `defaults` in Django, which are read for each request.
"""

from collections import UserDict
from collections.abc import Callable, Mapping
from inspect import iscoroutinefunction
from typing import Any, TypeVar

Client = TypeVar("Client")
Header = Callable[[], str]


class RenewedEnviron(UserDict[str, Any]):
    """The common values of all requests of a client, with one header that is renewed on each read."""

    def __init__(self, environ: Mapping[str, Any], name: str, header: Header) -> None:
        super().__init__({name: "", **environ})
        self._name = name
        self._header = header

    def __getitem__(self, key: str) -> Any:
        return self._header() if key == self._name else super().__getitem__(key)


def renewing(client: Client, header: Header) -> Client:
    """Return the client, which calls `header` for each request without an `Authorization` of its own."""

    def sign(request: Any) -> Any:
        if "Authorization" not in request.headers:
            request.headers["Authorization"] = header()
        return request

    known: Any = client
    if hasattr(client, "environ_base"):
        known.environ_base = RenewedEnviron(known.environ_base, "HTTP_AUTHORIZATION", header)
    elif hasattr(client, "defaults"):
        name = "AUTHORIZATION" if iscoroutinefunction(known.request) else "HTTP_AUTHORIZATION"
        known.defaults = RenewedEnviron(known.defaults, name, header)
    elif hasattr(client, "auth"):
        known.auth = sign
    else:
        raise TypeError(
            f"{type(client).__name__} is not a known test client: pass headers=clerk.auth() to its requests"
        )
    return client
