"""A client of the made-up Clerk's API, without a socket, and what its refusals say."""

from typing import Any

import httpx

from clerkmap.testing import FakeClerk

BASE = "https://api.clerk.com/v1"
VERSION = "2026-05-12"


def client_of(clerk: FakeClerk, key: str | None = None, **headers: str) -> httpx.Client:
    """A client with the secret key, and the newest version."""
    named = {"Authorization": f"Bearer {key or clerk.secret_key}", "Clerk-API-Version": VERSION} | headers
    return httpx.Client(transport=clerk.transport(), base_url=BASE, headers=named)


def ids(answer: httpx.Response) -> list[str]:
    """The ids in a list, whether it is a bare one or has a total."""
    assert answer.status_code == 200, answer.text
    body: Any = answer.json()
    return [each["id"] for each in (body["data"] if isinstance(body, dict) else body)]


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """The status of a refusal and the code in it. Its body has all that Clerk's have."""
    body: Any = answer.json()
    (error,) = body["errors"]
    assert error["message"]
    assert error["long_message"]
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, error["code"]
