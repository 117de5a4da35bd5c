"""Signed-in test clients: each request that one of them makes carries a header that is made for that request.

Tokens live for a minute, so a header that is set once would be too old in a long test, and after a clock was moved.
No framework is imported here. A client is known by what it offers: `auth`, a function of each request, in httpx,
Starlette and FastAPI; `environ_base` in Flask and `defaults` in Django, which are read anew for each request.
"""

from collections import UserDict
from collections.abc import Callable, Mapping
from inspect import iscoroutinefunction
from typing import Any, TypeVar

Client = TypeVar("Client")
Header = Callable[[], str]


class RenewedEnviron(UserDict[str, Any]):
    """What all requests of a client have in common, with one header that is made anew each time it is read."""

    def __init__(self, environ: Mapping[str, Any], name: str, header: Header) -> None:
        super().__init__({name: "", **environ})
        self._name = name
        self._header = header

    def __getitem__(self, key: str) -> Any:
        return self._header() if key == self._name else super().__getitem__(key)


def renewing(client: Client, header: Header) -> Client:
    """The same client, which asks `header` for the `Authorization` of each request that does not bring its own."""

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
        raise TypeError(f"{type(client).__name__} is no test client that is known here: give headers=clerk.auth()")
    return client
