"""The token of a request: where it may be, and from which pages a cookie counts. All frameworks share these rules.

Each adapter makes a `Request` from its framework's request. A `TokenFinder` searches it in this order:

    1  Authorization: Bearer    a request with this header is decided by it alone
    2  the session cookie       of this instance; for a write, only from an allowed origin

The result is a token, None, or a refusal: a wrong header never counts as a missing header. The token is not verified
yet. `docs/requests.md` has a table of all results.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from ..errors import (
    AuthorizationRefused,
    ConfigurationError,
    CookieRefused,
    OriginRefused,
    RequestRefused,
    SchemeRefused,
    TokenError,
    TokenMalformed,
    TokenTooLarge,
    WrongKind,
)
from .claims import Claims
from .instance import Instance
from .jose import MAX_TOKEN, read_token
from .opaque_tokens import prefix_of
from .validation import ORIGIN, check_origin, strings

Headers = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]

Values = tuple[dict[str, str], dict[str, list[str]]]


def read_headers(headers: Any, names: Mapping[str, str], most: int) -> Values:
    """Read some headers from a mapping, or from pairs of names and values. See `read_pairs`."""
    try:
        pairs = [(as_text(name), value) for name, value in (headers.items() if hasattr(headers, "items") else headers)]
    except (TypeError, ValueError):
        raise ValueError("headers must be a mapping or (name, value) pairs") from None
    # Some letters beyond ASCII become ASCII in lower case, and two spellings must not be one header.
    return read_pairs([(name, value) for name, value in pairs if name.isascii()], names, most)


def read_pairs(pairs: Iterable[tuple[Any, Any]], names: Mapping[Any, str], most: int) -> Values:
    """Read some headers in one pass over all of them.

    A value is cut, and further values of a repeated header are left out, once there are `most` + 1 characters of that
    header. So a length above `most` means that the header was longer. The rest is never read.

    Args:
        pairs: The headers. All names are of one type: text of ASCII, or bytes.
        names: The wanted names in lower case, as text or bytes, each with the name to return it under.
        most: The limit of characters of one header, its repetitions included.

    Returns:
        The first value of each header, and the further values of each header that was repeated, in their order.
    """
    first: dict[str, str] = {}
    further: dict[str, list[str]] = {}
    room: dict[str, int] = {}
    enough = most + 1
    find = names.get
    for name, value in pairs:
        known = find(name.lower())
        if known is None:
            continue
        if known not in first:
            first[known] = value[:enough].decode("latin-1") if isinstance(value, bytes) else as_text(value, enough)
            continue
        left = room.get(known)
        if left is None:
            left, further[known] = enough - len(first[known]), []
        if left > 0:
            text = as_text(value, left)
            further[known].append(text)
            left -= len(text) + 1  # a repetition without text takes room, too
        room[known] = left
    return first, further


def as_text(value: object, most: int | None = None) -> str:
    """Return the beginning of a text, or of bytes decoded as Latin-1, which decodes every byte."""
    if isinstance(value, bytes):
        return value[:most].decode("latin-1")
    if isinstance(value, str):
        return value[:most]
    raise ValueError("a header must be str or bytes")


MAX_REQUEST_HEADER = 16_384  # of one header with all its repetitions; servers commonly stop reading at 8 or 16 KiB
MAX_TOKEN_FACTS = 512  # cached cookies, each with its unverified issuer and time
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # those that only read, by RFC 9110
OWN = "same-origin"  # the Sec-Fetch-Site of a request from a page to its own host
WEBSOCKET = "WEBSOCKET"  # replaces the method, because a WebSocket can write

SESSION_COOKIE = "__session"
UPDATED_COOKIE = "__client_uat"  # when the browser's sessions last changed; "0" when no user is signed in

_NAMES = (
    *("authorization", "cookie", "origin", "host", "sec-fetch-site", "sec-fetch-mode", "upgrade", "accept"),
    "access-control-request-method",
)
_TEXT_NAMES = {name: name for name in _NAMES}
_ASGI_NAMES = {name.encode(): name for name in _NAMES}
_WSGI_NAMES = tuple((f"HTTP_{name.upper().replace('-', '_')}", name) for name in _NAMES)
_ONLY_SESSIONS = "a cookie can carry only a session token"
_SCHEME = re.compile(r"[0-9A-Za-z!#$%&'*+.^_`|~-]+")  # a token of RFC 9110


class Request(NamedTuple):
    """The parts of a request that identify its caller: the method, and some headers by lower-case name.

    A repeated header is joined with a comma, as WSGI servers do. No accepted value has a comma. A header has at most
    `MAX_REQUEST_HEADER` + 1 characters: a header longer than `MAX_REQUEST_HEADER` was cut.
    """

    method: str
    headers: Mapping[str, str]
    source: str = ""  # the client's address, if known

    def __repr__(self) -> str:
        return f"Request({self.method}, {', '.join(self.headers)})"

    @property
    def is_preflight(self) -> bool:
        """Whether it is a CORS preflight, which a browser sends without a token."""
        asked = self.headers.get("origin") and self.headers.get("access-control-request-method")
        return self.method == "OPTIONS" and bool(asked)

    @property
    def is_for_a_page(self) -> bool:
        """Whether a browser loads a page, and would follow a redirect. A script that fetches HTML gets the error."""
        headers = self.headers
        if self.method not in ("GET", "HEAD") or "text/html" not in headers.get("accept", "").lower():
            return False
        return headers.get("sec-fetch-mode", "navigate") == "navigate"


class FoundToken(NamedTuple):
    """An unverified token, and the part of the request that carried it."""

    token: str
    carrier: Literal["header", "cookie"]

    def __repr__(self) -> str:
        return f"FoundToken({self.carrier})"

    def check(self, claims: Claims) -> None:
        """Refuse verified claims that a cookie must not carry. Call this after verification."""
        if self.carrier == "cookie" and claims.kind != "session":
            raise WrongKind(_ONLY_SESSIONS)


def make_request(method: str, headers: Headers) -> Request:
    """Read a request from a method, and a mapping or pairs of headers."""
    try:
        values = read_headers(headers, _TEXT_NAMES, MAX_REQUEST_HEADER)
    except ValueError as fault:
        raise RequestRefused(str(fault)) from None
    return _request(method, values, ",")


def make_asgi_request(scope: Mapping[str, Any]) -> Request:
    """Read a request from the scope of a request or a WebSocket."""
    values = read_pairs(scope["headers"], _ASGI_NAMES, MAX_REQUEST_HEADER)
    method = WEBSOCKET if scope["type"] == "websocket" else scope["method"]
    client = scope.get("client")
    # From HTTP/2 on, a browser may send a header for each cookie.
    between = "," if scope.get("http_version", "1.1")[:1] == "1" else "; "
    return _request(method, values, between, client[0] if client else "")


def make_wsgi_request(environ: Mapping[str, Any]) -> Request:
    """Read a request from an environ, or from Django's `request.META`."""
    found = {name: environ[key][: MAX_REQUEST_HEADER + 1] for key, name in _WSGI_NAMES if key in environ}
    return _request(environ["REQUEST_METHOD"], (found, {}), ",", environ.get("REMOTE_ADDR", ""))


def _request(method: str, values: Values, between_cookies: str, source: object = "") -> Request:
    headers, further = values
    for name, more in further.items():
        between = between_cookies if name == "cookie" else ","
        headers[name] = between.join((headers[name], *more))[: MAX_REQUEST_HEADER + 1]
    if "upgrade" in headers:
        upgrade = headers["upgrade"]
        # The word may be in the part that was cut off.
        if len(upgrade) > MAX_REQUEST_HEADER or "websocket" in upgrade.lower():
            method = WEBSOCKET
    return Request(method, headers, source if isinstance(source, str) else "")


class TokenFinder:
    """Finds the tokens of one instance on requests.

    Args:
        instance: The instance of the tokens.
        cookies: Whether to read the session cookie. Providers other than Clerk have none.
        origins: The origins of the pages that may write with a cookie. The default is the instance's authorized parties
            or, without any, the host of the request.
    """

    def __init__(self, instance: Instance, *, cookies: bool = True, origins: Iterable[str] | None = None) -> None:
        if type(cookies) is not bool:
            raise ConfigurationError("cookies must be True or False")
        listed = tuple(instance.parties) if origins is None else strings("origins", origins)
        for origin in listed:
            check_origin("origins", origin)
        if origins is not None and not listed:
            raise ConfigurationError("origins is empty: leave it out, or pass cookies=False")
        self.instance: Instance = instance
        self.cookies: bool = cookies and instance.is_clerk
        self.origins: frozenset[str] = frozenset(listed)
        names = (SESSION_COOKIE, UPDATED_COOKIE)
        suffix = instance.cookie_suffix
        self._suffixed: tuple[str, ...] = () if suffix is None else tuple(f"{name}_{suffix}" for name in names)
        ours = "|".join(map(re.escape, (*names, *self._suffixed)))
        # Found in one pass, however many other cookies a stranger puts between them.
        self._ours = re.compile(rf"(?:^|;)[ \t]*({ours})=([^;]*)")
        self._sessions = frozenset({SESSION_COOKIE, *self._suffixed[:1]})
        # A server joins two headers with a comma. A cookie after the comma would become part of a value.
        self._joined = re.compile(rf",[ \t]*({'|'.join(map(re.escape, self._sessions))})=")
        # A browser sends the same cookie for a minute. The key is a hash, so that no token outlives its time in memory.
        self._known_facts: dict[int, _TokenFacts] = {}

    def find(self, request: Request) -> FoundToken | None:
        """Return the token, or None. Raise `RequestRefused`, `TokenTooLarge` or `WrongKind` if it must not be read."""
        headers = request.headers
        if "authorization" in headers:
            return FoundToken(_bearer(headers["authorization"]), "header")
        if not self.cookies or "cookie" not in headers:
            return None
        token = self._choose_session_cookie(self._read_cookies(headers["cookie"]))
        if token is None:
            return None
        if not _is_one_word(token):
            raise CookieRefused("its value must be a single token")
        if prefix_of(token) is not None:  # an opaque token in a cookie must not cause a request to Clerk
            raise WrongKind(_ONLY_SESSIONS)
        if request.method not in SAFE_METHODS:
            self._check_origin(headers)
        return FoundToken(token, "cookie")

    def session_cookie(self, request: Request) -> str:
        """Return the session cookie, or an empty string without one that can be read."""
        try:
            found = self.find(request)
        except (RequestRefused, TokenError):
            return ""
        return found.token if found is not None and found.carrier == "cookie" else ""

    def has_clerk_session(self, request: Request) -> bool:
        """Return whether Clerk's front end has a session of this browser, also if the session cookie is missing."""
        try:
            cookies = self._read_cookies(request.headers.get("cookie", "")) if self.cookies else {}
        except CookieRefused:
            return False
        updated = next((cookies[name] for name in (*self._suffixed[1:], UPDATED_COOKIE) if name in cookies), "0")
        return updated != "0"

    def _read_cookies(self, header: str) -> dict[str, str]:
        """Return Clerk's cookies by name, neither unquoted nor decoded. An empty cookie counts as deleted."""
        if len(header) > MAX_REQUEST_HEADER:
            raise CookieRefused(f"more than {MAX_REQUEST_HEADER} characters of cookies")
        if "\r" in header or "\n" in header or "\0" in header:
            raise CookieRefused("the header has a control character")
        found: dict[str, str] = {}
        for name, cut in self._ours.findall(header):
            value = cut.rstrip(" \t")
            if not value:
                continue
            if name in found and name in self._sessions:
                raise CookieRefused("the header has two of them")
            found.setdefault(name, value)  # the first of several times counts, as it does at Clerk
        if "," in header and self._joined.search(header):
            raise CookieRefused("a comma precedes it, where only a semicolon may")
        return found

    def _choose_session_cookie(self, cookies: Mapping[str, str]) -> str | None:
        """Return the plain or the suffixed session cookie, by Clerk's rule for several instances on one domain.

        The rule reads unverified tokens: a stranger can only choose which of two tokens is verified.
        """
        plain = cookies.get(SESSION_COOKIE)
        suffixed, suffixed_updated = (cookies.get(name) for name in self._suffixed) if self._suffixed else (None, None)
        is_ours, made_at = self._token_facts(plain)
        if plain is not None and is_ours is None:
            return plain  # not a token: the verifier refuses it
        if plain is not None and not is_ours:
            return suffixed  # a cookie of another instance
        if cookies.get(UPDATED_COOKIE) != "0" and (
            suffixed_updated == "0" or made_at > self._token_facts(suffixed).made_at
        ):
            return plain  # written later, by a front end without suffixes
        return suffixed if suffixed_updated is not None else plain

    def _token_facts(self, token: str | None) -> "_TokenFacts":
        """Return the issuer and time of an unverified token, from the cache if possible."""
        if token is None:
            return _NOTHING
        key = hash(token)  # Python caches it; a collision can only choose the other of two cookies
        facts = self._known_facts.get(key)
        if facts is None:
            facts = _token_facts(token, self.instance.issuers)
            if len(self._known_facts) >= MAX_TOKEN_FACTS:
                self._known_facts.clear()
            self._known_facts[key] = facts
        return facts

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        """Refuse a write from a page that is not an allowed origin: browsers send cookies for every page."""
        origin = headers.get("origin")
        if origin is None:
            raise OriginRefused("the Origin header is missing: send the token in the Authorization header instead")
        if len(origin) > MAX_REQUEST_HEADER:
            raise OriginRefused("its Origin is too long")
        if self.origins:
            if origin not in self.origins:
                raise OriginRefused("its Origin is not in origins or authorized_parties")
        # Sec-Fetch-Site decides where a browser sends it, because the browser compares the scheme, too.
        elif headers.get("sec-fetch-site", OWN) != OWN or not _has_host(origin, headers.get("host", "")):
            raise OriginRefused("its Origin is not the request's Host; list further front ends in origins")


def _bearer(header: str) -> str:
    """Return the token of an Authorization header, by RFC 9110 and 6750."""
    was_cut = len(header) > MAX_REQUEST_HEADER  # then its last characters are not the end
    scheme, _, rest = (header.lstrip(" \t") if was_cut else header.strip(" \t")).partition(" ")
    if scheme.lower() != "bearer":
        raise SchemeRefused if _SCHEME.fullmatch(scheme) else AuthorizationRefused
    if len(rest) > MAX_TOKEN:
        raise TokenTooLarge(f"more than {MAX_TOKEN} characters")
    token = rest.lstrip(" ")
    if not token or not _is_one_word(token):
        raise AuthorizationRefused
    return token


def _is_one_word(text: str) -> bool:
    """Return whether a text is ASCII without blanks and commas. The verifier checks the rest of the spelling."""
    return text.isascii() and not (" " in text or "," in text or "\t" in text)


class _TokenFacts(NamedTuple):
    """The unverified facts of a token: whether this instance issued it (None without an issuer), and when (or 0)."""

    is_ours: bool | None
    made_at: float


_NOTHING = _TokenFacts(None, 0)


def _token_facts(token: str, issuers: Collection[str]) -> _TokenFacts:
    try:
        payload = read_token(token, {}).payload
    except TokenMalformed:
        return _NOTHING
    issuer, made_at = payload.get("iss"), payload.get("iat")
    is_ours = None if issuer in (None, "", 0) else isinstance(issuer, str) and issuer in issuers
    return _TokenFacts(is_ours, made_at if isinstance(made_at, (int, float)) else 0)


def _has_host(origin: str, host: str) -> bool:
    """Return whether an origin has this host. The scheme is not compared, because a proxy may end TLS."""
    scheme, _, place = origin.partition("://")
    usual_port = {"https": ":443", "http": ":80"}.get(scheme)
    if usual_port is None or not ORIGIN.fullmatch(origin):
        return False
    return place == host.lower().removesuffix(usual_port)
