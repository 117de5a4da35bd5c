"""Where Clerk's API is: what `api_url` may be, for the secret key is sent there."""

from typing import Any

import pytest

from clerkmap import ConfigurationError
from clerkmap.testing import FakeClerk

CLERK = FakeClerk(1)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("https://api.clerk.com", "https://api.clerk.com"),
        ("https://api.clerk.com/", "https://api.clerk.com"),
        ("https://api.clerk.com/v1", "https://api.clerk.com"),
        ("https://api.clerk.com/v1/", "https://api.clerk.com"),
        ("http://127.0.0.1:4400", "http://127.0.0.1:4400"),
        ("http://localhost:4400/v1", "http://localhost:4400"),
        ("http://[::1]:4400", "http://[::1]:4400"),
    ],
)
def test_where_the_api_is(given: str, taken: str) -> None:
    """At Clerk, unless you say; with or without the version, as Clerk's own clients take it."""
    assert CLERK.make_instance(api_url=given).api_url == taken
    assert CLERK.make_instance().api_url == "https://api.clerk.com"


@pytest.mark.parametrize(
    "url",
    [
        *("", "api.clerk.com", "http://api.clerk.com", "http://127.0.0.1.evil.example", "ftp://localhost", None, 5),
        *("https://canary@evil.example", "https://a:canary@evil.example", "https://api.clerk.com?canary", "https://"),
        *("https://api.clerk.com#canary", "https://api.clerk.com\\@evil.example", "https://api.clerk.com \n", "//a.b"),
        *("https://localhost:port", "http://localhost:99999", "http://0.0.0.0:80", "https://ä.example"),
    ],
)
def test_where_the_api_cannot_be(url: Any) -> None:
    """The secret key is sent there: over https, or on this machine, and nothing is hidden in the address."""
    with pytest.raises(ConfigurationError, match="api_url must be a plain https:// URL") as refused:
        CLERK.make_instance(api_url=url)
    assert "canary" not in str(refused.value)
