"""A Clerk too large to be held in memory: everybody in it follows from their number, and a page is made when asked for.

It answers as Clerk's API does, as far as a backfill asks. Two of the same size are the same, also in two processes.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx

from clerkmap.clerk.api import ClerkApi
from clerkmap.clerk.budget import Budget
from clerkmap.repositories import SqliteRepository
from clerkmap.sync.backfill import backfill
from clerkmap.sync.job import Progress
from clerkmap.testing import FakeClerk

SINCE = 1_700_000_000_000
Shape = dict[str, Any]


@dataclass(frozen=True)
class Crowd:
    """How many there are. Member number m is person m of organization m, each counted round and round."""

    users: int
    organizations: int = 0
    memberships: int = 0

    def user(self, number: int) -> Shape:
        """A person, as Clerk shows them to who asks for people."""
        date = {"created_at": SINCE + number, "updated_at": SINCE + number}
        address = {"id": f"idn_{number}", "email_address": f"p{number}@example.com"}
        return {
            "id": f"user_{number}",
            "first_name": f"Person {number}",
            "email_addresses": [address | {"verification": {"status": "verified"}}],
            "primary_email_address_id": address["id"],
            **date,
        }

    def organization(self, number: int) -> Shape:
        """An organization."""
        return {"id": f"org_{number}", "name": f"Org {number}", "created_at": SINCE + number, "updated_at": SINCE}

    def membership(self, number: int) -> Shape:
        """A membership, with its two ends in it."""
        return {
            "id": f"orgmem_{number}",
            "organization": self.organization(number % self.organizations),
            "public_user_data": {"user_id": f"user_{number % self.users}"},
            "role": "org:admin" if number % 10 == 0 else "org:member",
            "created_at": SINCE + number,
            "updated_at": SINCE + number,
        }


class CrowdTransport(httpx.BaseTransport):
    """Answers for a crowd. `answered` is called before each answer."""

    def __init__(self, crowd: Crowd, clerk: FakeClerk, answered: Callable[[], object] = lambda: None) -> None:
        self._crowd = crowd
        self._jwks = clerk.jwks()
        self._answered = answered
        self.requests = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        self._answered()
        query = {name: values[0] for name, values in parse_qs(request.url.query.decode()).items()}
        body = json.dumps(self._said(request.url.path.removeprefix("/v1"), query)).encode()
        return httpx.Response(200, content=body, headers={"content-type": "application/json"})

    def _said(self, path: str, query: dict[str, str]) -> Any:
        crowd = self._crowd
        if path == "/jwks":
            return self._jwks
        if path == "/users/count":
            return {"total_count": crowd.users}
        if path == "/users":
            first = int(query.get("starting_after", "user_-1").removeprefix("user_")) + 1
            return [crowd.user(number) for number in range(first, min(first + int(query["limit"]), crowd.users))]
        one, total = (
            (crowd.organization, crowd.organizations)
            if path == "/organizations"
            else (crowd.membership, crowd.memberships)
        )
        first = int(query["offset"])
        rows = [one(number) for number in range(first, min(first + int(query["limit"]), total))]
        return {"data": rows, "total_count": total}


def api_of(crowd: Crowd, clerk: FakeClerk) -> ClerkApi:
    """The API of a crowd, asked as often as one likes."""
    return ClerkApi(clerk.instance, transport=CrowdTransport(crowd, clerk), budget=Budget(10**9, time.monotonic))


def work(orders: tuple[Path, Crowd], pipe: Connection) -> None:
    """A process that copies a crowd into a file, and writes a full stop for every page that is committed."""
    path, crowd = orders
    repository, clerk = SqliteRepository.open(path), FakeClerk(81)

    def tell(_: Progress) -> None:
        os.write(pipe.fileno(), b".")

    backfill(api_of(crowd, clerk), repository, progress=tell, clock=hurried)
    os.write(pipe.fileno(), b"!")  # it was to be killed before


def hurried() -> float:
    """A clock that runs a hundred times as fast since last midnight, so that hardly a page goes by without a note."""
    midnight = time.time() // 86_400 * 86_400
    return midnight + (time.time() - midnight) * 100
