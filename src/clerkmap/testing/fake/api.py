"""Clerk's Backend API as a function: a request in, an answer out. Who carries the two does not matter here.

The same runs behind `clerk.transport()`, for httpx, and behind `clerk.app`, for a server. Which endpoints there are
stands in the files beside this one, each with its own table.
"""

import re
from collections import deque
from random import Random
from typing import TYPE_CHECKING

from . import api_keys, api_memberships, api_organizations, api_users
from .api_lists import Lists
from .api_requests import ApiAnswer, ApiRequest, Call, Endpoint, Query, Routes, answer_of
from .objects import ClerkRefuses

if TYPE_CHECKING:
    from ..fake_clerk import FakeClerk

VERSIONS = ("2021-02-05", "2024-10-01", "2025-04-10", "2025-11-10", "2026-05-12")
REQUESTS_KEPT = 10_000

_Patterns = list[tuple[str, re.Pattern[str], Endpoint]]


def _patterns(*tables: Routes) -> _Patterns:
    """Words first: `/users/count` is nobody's id."""
    routes = sorted((route for table in tables for route in table), key=lambda route: route[1].count("{}"))
    return [(method, re.compile(re.escape(path).replace(r"\{\}", "([^/]+)")), run) for method, path, run in routes]


_PUBLIC = _patterns(api_keys.PUBLIC)
_PRIVATE = _patterns(api_keys.ROUTES, api_users.ROUTES, api_organizations.ROUTES, api_memberships.ROUTES)


class Api:
    """The API of one made-up Clerk. Call it with a request.

    `requests` are the methods and paths of the last ten thousand requests, in the order in which they came.
    """

    def __init__(self, clerk: "FakeClerk") -> None:
        self.requests: deque[str] = deque(maxlen=REQUESTS_KEPT)
        self._clerk = clerk
        self._lists = Lists(clerk)
        self._traces = Random(f"traces {clerk.seed}")

    def __call__(self, request: ApiRequest) -> ApiAnswer:
        """The answer to a request, which is never an exception."""
        self.requests.append(f"{request.method} {request.path}")
        try:
            with self._clerk.changing:
                return self._answer(request)
        except ClerkRefuses as refused:
            return self._refusal(refused)

    def _answer(self, request: ApiRequest) -> ApiAnswer:
        found = _find(_PUBLIC, request.method, request.path)
        version = VERSIONS[-1]
        if found is None:
            path = request.path.removeprefix("/v1")
            found = _find(_PRIVATE, request.method, path) if path != request.path else None
            if found is None:
                raise ClerkRefuses(404, "resource_not_found", "There is nothing at this address")
            self._check_key(request)
            version = _version_of(request)
        endpoint, ids = found
        return answer_of(endpoint(Call(self._clerk, self._lists, request, version, ids)))

    def _check_key(self, request: ApiRequest) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            said = "The request must have the header Authorization: Bearer <secret key>"
            raise ClerkRefuses(401, "authorization_header_format_invalid", said)
        if key.strip() != self._clerk.secret_key:
            raise ClerkRefuses(401, "clerk_key_invalid", "The provided Clerk Secret Key is invalid")

    def _refusal(self, refused: ClerkRefuses) -> ApiAnswer:
        meta = {} if refused.parameter is None else {"meta": {"param_name": refused.parameter}}
        error = {"message": refused.message, "long_message": refused.message, "code": refused.code, **meta}
        return answer_of({"errors": [error], "clerk_trace_id": self._traces.randbytes(16).hex()}, refused.status)


def _find(patterns: _Patterns, method: str, path: str) -> tuple[Endpoint, tuple[str, ...]] | None:
    for wanted, pattern, endpoint in patterns:
        if wanted == method and (match := pattern.fullmatch(path)):
            return endpoint, match.groups()
    return None


def _version_of(request: ApiRequest) -> str:
    """The version that is asked for, in one of two ways; without any it is the newest."""
    asked = [request.headers.get("clerk-api-version"), Query(request.query).one("__clerk_api_version")]
    given = [each for each in asked if each is not None]
    if len(given) > 1:
        raise ClerkRefuses(400, "api_version_invalid", "The version stands in the header or in the query, not in both")
    if given and given[0] not in VERSIONS:
        raise ClerkRefuses(400, "api_version_invalid", f"There is no such version; the newest is {VERSIONS[-1]}")
    return given[0] if given else VERSIONS[-1]
