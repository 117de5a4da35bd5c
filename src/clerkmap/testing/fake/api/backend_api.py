"""Clerk's Backend API as a function from a request to an answer, without a transport.

`ClerkTransport` carries requests from httpx, `ClerkApp` from an ASGI server.
"""

import re
from collections import deque
from dataclasses import replace
from random import Random

from ..objects import ClerkRefuses
from . import organizations, tokens, users
from .calls import ApiCall, Parts, Route, Routes
from .faults import Chance, Limits, TooMany
from .requests import ApiAnswer, ApiRequest, Query, answer_of, missing

VERSIONS = ("2021-02-05", "2024-10-01", "2025-04-10", "2025-11-10", "2026-05-12")
MAX_BODY = 1_048_576
MAX_REQUESTS = 10_000

_Patterns = list[tuple[re.Pattern[str], Route]]
_Found = tuple[Route, tuple[str, ...]]

_NOTHING = ApiAnswer(200, b"", cut=-1)


def _patterns(*tables: Routes) -> _Patterns:
    """Return the routes by path, fixed segments first: the `count` of `/users/count` is not an id."""
    routes = sorted((route for table in tables for route in table), key=lambda route: route.path.count("{}"))
    return [(re.compile(re.escape(route.path).replace(r"\{\}", "([^/]+)")), route) for route in routes]


_PUBLIC = _patterns(tokens.PUBLIC)
_UNVERSIONED = _patterns(tokens.ROUTES)  # clients request these with and without /v1
_PRIVATE = _patterns(tokens.JWKS, tokens.ROUTES, users.ROUTES, organizations.ROUTES)


class Api:
    """The API of one fake Clerk. Call it with a request.

    `requests` holds the methods and paths of the last ten thousand requests, in order.
    """

    def __init__(self, parts: Parts) -> None:
        self.requests: deque[str] = deque(maxlen=MAX_REQUESTS)
        self._parts = parts
        self._faults = parts.faults
        self._limits = Limits(parts.faults, parts.store.clock)
        self._chance = Chance(parts.faults, parts.store.seed)
        self._traces = Random(f"traces {parts.store.seed}")

    def __call__(self, request: ApiRequest) -> ApiAnswer:
        """Return the answer to a request. Never raises."""
        with self._parts.store.changing:
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
        return answer_of(route.run(ApiCall(self._parts, request, version, ids)))

    def _check_key(self, request: ApiRequest) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            message = "The request must have the header Authorization: Bearer <secret key>"
            raise ClerkRefuses(401, "authorization_header_format_invalid", message)
        if key.strip() != self._parts.tokens.secret_key:
            raise ClerkRefuses(401, "clerk_key_invalid", "The provided Clerk Secret Key is invalid")

    def _refusal(self, refused: ClerkRefuses) -> ApiAnswer:
        meta = {} if refused.parameter is None else {"meta": {"param_name": refused.parameter}}
        error = {"message": refused.message, "long_message": refused.message, "code": refused.code, **meta}
        headers = {"retry-after": str(refused.retry_after)} if isinstance(refused, TooMany) else {}
        body = {"errors": [error], "clerk_trace_id": self._traces.randbytes(16).hex()}
        return answer_of(body, refused.status, **headers)


def _find_private(request: ApiRequest) -> _Found | None:
    path = request.path.removeprefix("/v1")
    return _find(_UNVERSIONED if path == request.path else _PRIVATE, request.method, path)


def _find(patterns: _Patterns, method: str, path: str) -> _Found | None:
    for pattern, route in patterns:
        if route.method == method and (match := pattern.fullmatch(path)):
            return route, match.groups()
    return None


def _check_body(request: ApiRequest) -> None:
    """Refuse a body that is too large or not declared as JSON: any web page can send a form to any host."""
    if len(request.body) > MAX_BODY:
        raise ClerkRefuses(413, "request_body_too_large", f"A body has at most {MAX_BODY} bytes")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.body and kind != "application/json":
        raise ClerkRefuses(415, "unsupported_content_type", "A body must be application/json")


def _version_of(request: ApiRequest) -> str:
    """Return the requested API version, or the newest."""
    asked = [request.headers.get("clerk-api-version"), Query(request.query).one("__clerk_api_version")]
    given = [each for each in asked if each is not None]
    if len(given) > 1:
        raise ClerkRefuses(400, "api_version_invalid", "Give the version in the header or in the query, not in both")
    if given and given[0] not in VERSIONS:
        raise ClerkRefuses(400, "api_version_invalid", f"There is no such version; the newest is {VERSIONS[-1]}")
    return given[0] if given else VERSIONS[-1]
