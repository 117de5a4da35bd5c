"""Clerk's Backend API as a function: a request in, an answer out. Who carries the two does not matter here.

The same runs behind `clerk.transport()`, for httpx, and behind `clerk.app`, for a server. Which endpoints there are
stands in the files beside this one, each with its own table.
"""

import re
from collections import deque
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from . import (
    api_emails,
    api_invitations,
    api_keys,
    api_machines,
    api_memberships,
    api_organizations,
    api_sessions,
    api_users,
)
from .api_faults import Chance
from .api_limits import Limits, TooMany
from .api_lists import Lists
from .api_requests import ApiAnswer, ApiRequest, Call, Query, Route, Routes, answer_of, missing
from .objects import ClerkRefuses

if TYPE_CHECKING:
    from ..fake_clerk import FakeClerk

VERSIONS = ("2021-02-05", "2024-10-01", "2025-04-10", "2025-11-10", "2026-05-12")
MAX_BODY = 1_048_576
REQUESTS_KEPT = 10_000

_Patterns = list[tuple[re.Pattern[str], Route]]
_Found = tuple[Route, tuple[str, ...]]

_NOTHING = ApiAnswer(200, b"", cut=-1)


def _patterns(*tables: Routes) -> _Patterns:
    """Words first: `/users/count` is nobody's id."""
    routes = sorted((route for table in tables for route in table), key=lambda route: route.path.count("{}"))
    return [(re.compile(re.escape(route.path).replace(r"\{\}", "([^/]+)")), route) for route in routes]


_PUBLIC = _patterns(api_keys.PUBLIC)
_MACHINES = _patterns(api_machines.ROUTES)  # clients ask for these with and without the version in the path
_PRIVATE = _patterns(
    *(api_keys.ROUTES, api_users.ROUTES, api_emails.ROUTES, api_organizations.ROUTES, api_memberships.ROUTES),
    *(api_invitations.ROUTES, api_sessions.ROUTES, api_machines.ROUTES),
)


class Api:
    """The API of one made-up Clerk. Call it with a request.

    `requests` are the methods and paths of the last ten thousand requests, in the order in which they came.
    """

    def __init__(self, clerk: "FakeClerk") -> None:
        self.requests: deque[str] = deque(maxlen=REQUESTS_KEPT)
        self._clerk = clerk
        self._faults = clerk.faults
        self._lists = Lists(clerk)
        self._limits = Limits(clerk.faults, clerk.clock)
        self._chance = Chance(clerk.faults, clerk.seed)
        self._traces = Random(f"traces {clerk.seed}")

    def __call__(self, request: ApiRequest) -> ApiAnswer:
        """The answer to a request, which is never an exception."""
        with self._clerk.changing:
            self.requests.append(f"{request.method} {request.path}")
            fate = self._chance.draw()
            if fate == "cut_before":
                answer = _NOTHING
            elif fate == "server_error" or fate == "proxy_error":
                answer = self._chance.failure(fate)
            elif fate == "too_many":
                answer = self._refusal(TooMany(1))
            else:
                answer = self._answer(request)
        if fate == "cut_after":
            answer = _NOTHING
        if fate == "cut_within":
            answer = replace(answer, cut=len(answer.body) // 2)
        return replace(answer, delay=self._faults.latency)

    def _answer(self, request: ApiRequest) -> ApiAnswer:
        try:
            found = _find(_PUBLIC, request.method, request.path)
            if found is not None:
                return self._run(found, request, VERSIONS[-1])
            found = _find_private(request)
            self._check_key(request)
            version = _version_of(request)
            _check_body(request)
            if found is None:
                raise missing("The address")
            route = found[0]
            if route.path != "/jwks":
                self._limits.count(request.path.removesuffix("/metadata") if route.kind == "change" else None)
            if route.kind == "list" and self._faults.between_pages is not None:
                self._faults.between_pages(request)
            return self._run(found, request, version)
        except ClerkRefuses as refused:
            return self._refusal(refused)

    def _run(self, found: _Found, request: ApiRequest, version: str) -> ApiAnswer:
        route, ids = found
        return answer_of(route.run(Call(self._clerk, self._lists, request, version, ids)))

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
        headers = {"retry-after": str(refused.retry_after)} if isinstance(refused, TooMany) else {}
        body = {"errors": [error], "clerk_trace_id": self._traces.randbytes(16).hex()}
        return answer_of(body, refused.status, **headers)


def _find_private(request: ApiRequest) -> _Found | None:
    path = request.path.removeprefix("/v1")
    return _find(_MACHINES if path == request.path else _PRIVATE, request.method, path)


def _find(patterns: _Patterns, method: str, path: str) -> _Found | None:
    for pattern, route in patterns:
        if route.method == method and (match := pattern.fullmatch(path)):
            return route, match.groups()
    return None


def _check_body(request: ApiRequest) -> None:
    """A body is JSON and says so: a form is what any web page can send anywhere."""
    if len(request.body) > MAX_BODY:
        raise ClerkRefuses(413, "request_body_too_large", f"A body has at most {MAX_BODY} bytes")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.body and kind != "application/json":
        raise ClerkRefuses(415, "unsupported_content_type", "A body must be application/json")


def _version_of(request: ApiRequest) -> str:
    """The version that is asked for, in one of two ways; without any it is the newest."""
    asked = [request.headers.get("clerk-api-version"), Query(request.query).one("__clerk_api_version")]
    given = [each for each in asked if each is not None]
    if len(given) > 1:
        raise ClerkRefuses(400, "api_version_invalid", "The version stands in the header or in the query, not in both")
    if given and given[0] not in VERSIONS:
        raise ClerkRefuses(400, "api_version_invalid", f"There is no such version; the newest is {VERSIONS[-1]}")
    return given[0] if given else VERSIONS[-1]
