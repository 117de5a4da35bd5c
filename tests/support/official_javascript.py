"""A made-up Clerk over HTTP, and Clerk's official client for JavaScript, which is told where that is."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest

from clerkmap.testing import FakeClerk, FakeOrganization, FakeUser
from hostile_base import ORIGIN
from node_client import NodeClient, NodeRefuses
from uvicorn_server import serving


class Official:
    """A made-up Clerk, and the client, set up with nothing but its keys and its address."""

    def __init__(self, clerk: FakeClerk, node: NodeClient, url: str) -> None:
        self.clerk = clerk
        self.ask = node.ask
        self.fetched = {"secretKey": clerk.secret_key, "apiUrl": url}
        self.known = {"jwtKey": clerk.key.pem()}
        self.options = {"publishableKey": clerk.publishable_key, **self.fetched}
        self.user: FakeUser = clerk.create_user("ada@example.com", first_name="Ada", last_name="Lovelace")
        self.acme: FakeOrganization = clerk.create_organization("Acme", created_by=self.user)

    def verify(self, token: str, **options: Any) -> dict[str, Any]:
        """The claims that `verifyToken` reads; by default with the keys it fetches."""
        claims: dict[str, Any] = self.ask("verifyToken", token=token, options=options or self.fetched)
        return claims

    def authenticate(self, headers: dict[str, str], **options: Any) -> dict[str, Any]:
        """What `authenticateRequest` and its `toAuth()` tell of a request with these headers."""
        known = {"authorizedParties": [ORIGIN], **options}
        state: dict[str, Any] = self.ask(
            "authenticate", client=self.options, options=known, request={"headers": headers}
        )
        return state

    def bearer(self, token: str, **options: Any) -> dict[str, Any]:
        """The same of a request with a token in its header."""
        return self.authenticate({"authorization": f"Bearer {token}"}, **options)

    def api(self, path: str, *args: Any) -> Any:
        """What a function of the API client returns."""
        return self.ask("api", client=self.options, path=path, args=args)


@contextmanager
def official_client(node: NodeClient) -> Generator[Official]:
    """A Clerk of its own on a port of its own, for as long as the block."""
    clerk = FakeClerk(seed=47)
    with serving(clerk.app) as (host, port):
        yield Official(clerk, node, f"http://{host}:{port}")


def refused(call: Callable[..., Any], *args: Any, **options: Any) -> dict[str, Any]:
    """The error that the client raises."""
    with pytest.raises(NodeRefuses) as caught:
        call(*args, **options)
    return caught.value.error
