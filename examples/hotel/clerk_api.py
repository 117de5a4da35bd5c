"""The little of Clerk's Backend API that this application calls: found an organization, merge metadata, list."""

from collections.abc import Iterator
from typing import Any

import httpx

PAGE = 500  # the most that Clerk gives at once; unless told otherwise it gives 10
VERSION = "2025-11-10"
URL = "https://api.clerk.com/v1"


class ClerkApi:
    """Calls Clerk with the secret key of the instance. A test calls a Clerk of its own, by another `transport`."""

    def __init__(self, secret_key: str, transport: httpx.BaseTransport | None = None) -> None:
        headers = {"Authorization": f"Bearer {secret_key}", "Clerk-API-Version": VERSION}
        self._client = httpx.Client(base_url=URL, headers=headers, timeout=10, transport=transport)

    def found(self, name: str, clerk_user_id: str) -> str:
        """Make an organization for somebody. Its hotel follows by itself, by webhook or by the first token."""
        made = self._call("POST", "/organizations", json={"name": name, "created_by": clerk_user_id})
        return str(made["id"])

    def merge_metadata(self, clerk_id: str, metadata: dict[str, Any]) -> None:
        """Add to what the metadata of an organization hold. (A PUT would replace it all.)"""
        self._call("PATCH", f"/organizations/{clerk_id}/metadata", json={"public_metadata": metadata})

    def users(self) -> Iterator[dict[str, Any]]:
        """Everybody, oldest first, page by page: a page begins after the last person of the one before."""
        after: dict[str, str] = {}
        while True:
            page = self._call("GET", "/users", params={"limit": str(PAGE), "order_by": "+created_at", **after})
            yield from page
            if len(page) < PAGE:
                return
            after = {"starting_after": page[-1]["id"]}

    def listed(self, what: str) -> Iterator[dict[str, Any]]:
        """All `organizations` or `organization_memberships`, oldest first, page by page."""
        offset = 0
        while True:
            params = {"limit": str(PAGE), "offset": str(offset), "order_by": "+created_at"}
            page = self._call("GET", f"/{what}", params=params)["data"]
            yield from page
            if len(page) < PAGE:
                return
            offset += PAGE

    def close(self) -> None:
        self._client.close()

    def _call(self, method: str, path: str, **options: Any) -> Any:
        answer = self._client.request(method, path, **options)
        answer.raise_for_status()
        return answer.json()
