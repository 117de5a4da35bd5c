"""Where the token is on a request, and whether it may come that way. The same for every framework.

Each way in makes a `Request` of what its framework hands it; a `TokenFinder` looks there, in this order:

    1  Authorization: Bearer    if the header is there, it decides; nothing else is looked at
    2  the session cookie       of this very instance; to do more than read, only from a page that may act

There is a token, or there is none, or the request is refused: a header that is wrong is never taken for one that is not
there. What is found is not proven; that is the verifier's business. `docs/requests.md` has the table of all answers.
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
    """Read some headers from any form that a framework has them in. See `read_pairs`."""
    try:
        pairs = [(as_text(name), value) for name, value in (headers.items() if hasattr(headers, "items") else headers)]
    except (TypeError, ValueError):
        raise ValueError("headers are a mapping, or pairs of a name and a value") from None
    # Some letters beyond ASCII become ASCII in lower case, and two spellings must not be one header.
    return read_pairs([(name, value) for name, value in pairs if name.isascii()], names, most)


def read_pairs(pairs: Iterable[tuple[Any, Any]], names: Mapping[Any, str], most: int) -> Values:
    """Read some headers in one pass over all of them.

    A value is cut, and further values of a repeated header are left out, once there are `most` + 1 characters of that
    header, so a length above `most` means that there was more. Whatever is behind that is not looked at.

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
    """Return the beginning of a text, or of bytes with one character for each, which no byte can fail."""
    if isinstance(value, bytes):
        return value[:most].decode("latin-1")
    if isinstance(value, str):
        return value[:most]
    raise ValueError("a header is no text")


MAX_HEADER = 16_384  # of one header with all its repetitions; servers commonly stop reading at 8 or 16 KiB
MAX_GLANCES = 512  # cookies of which is remembered which instance's they say they are
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # those that only read, by RFC 9110
OWN = "same-origin"  # what browsers say in Sec-Fetch-Site of a request from a page to its own host
WEBSOCKET = "WEBSOCKET"  # stands in the place of the method: whoever opens one means to act

SESSION_COOKIE = "__session"
UPDATED_COOKIE = "__client_uat"  # when the browser's sessions last changed; "0" when nobody is signed in

_NAMES = (
    *("authorization", "cookie", "origin", "host", "sec-fetch-site", "upgrade", "accept"),
    "access-control-request-method",
)
_TEXT_NAMES = {name: name for name in _NAMES}
_ASGI_NAMES = {name.encode(): name for name in _NAMES}
_WSGI_NAMES = tuple((f"HTTP_{name.upper().replace('-', '_')}", name) for name in _NAMES)
_ONLY_SESSIONS = "a cookie carries a session and nothing else"
_SCHEME = re.compile(r"[0-9A-Za-z!#$%&'*+.^_`|~-]+")  # what RFC 9110 calls a token


class Request(NamedTuple):
    """What of a request tells who sent it: a method, and headers by lower-case name.

    A header that was sent twice is joined with a comma, as WSGI servers do it. No value that is accepted has one. Of
    each header no more is kept than `MAX_HEADER` + 1 characters: one that is longer than `MAX_HEADER` was cut.
    """

    method: str
    headers: Mapping[str, str]
    source: str = ""  # the address it came from, where that is known

    def __repr__(self) -> str:
        return f"Request({self.method}, {', '.join(self.headers)})"

    @property
    def is_preflight(self) -> bool:
        """Whether it is a CORS preflight: what a browser sends, without a token, before a request from another
        origin."""
        asked = self.headers.get("origin") and self.headers.get("access-control-request-method")
        return self.method == "OPTIONS" and bool(asked)

    @property
    def is_for_a_page(self) -> bool:
        """Whether it is a browser that wants to show what it gets, and would follow where it is sent."""
        return self.method in ("GET", "HEAD") and "text/html" in self.headers.get("accept", "").lower()


class FoundToken(NamedTuple):
    """A token as it was found. Nothing in it is proven."""

    token: str
    carrier: Literal["header", "cookie"]

    def __repr__(self) -> str:
        return f"FoundToken({self.carrier})"

    def check(self, claims: Claims) -> None:
        """Refuse what a cookie must not carry. To be called with what the token proved."""
        if self.carrier == "cookie" and claims.kind != "session":
            raise WrongKind(_ONLY_SESSIONS)


def make_request(method: str, headers: Headers) -> Request:
    """Read a request from a method, and a mapping or pairs of headers."""
    try:
        values = read_headers(headers, _TEXT_NAMES, MAX_HEADER)
    except ValueError as fault:
        raise RequestRefused(str(fault)) from None
    return _request(method, values, ",")


def make_asgi_request(scope: Mapping[str, Any]) -> Request:
    """Read a request from the scope of a request or a WebSocket."""
    values = read_pairs(scope["headers"], _ASGI_NAMES, MAX_HEADER)
    method = WEBSOCKET if scope["type"] == "websocket" else scope["method"]
    client = scope.get("client")
    # From HTTP/2 on, a browser may send a header for each cookie.
    between = "," if scope.get("http_version", "1.1")[:1] == "1" else "; "
    return _request(method, values, between, client[0] if client else "")


def make_wsgi_request(environ: Mapping[str, Any]) -> Request:
    """Read a request from an environ, or from Django's `request.META`."""
    found = {name: environ[key][: MAX_HEADER + 1] for key, name in _WSGI_NAMES if key in environ}
    return _request(environ["REQUEST_METHOD"], (found, {}), ",", environ.get("REMOTE_ADDR", ""))


def _request(method: str, values: Values, between_cookies: str, source: object = "") -> Request:
    headers, further = values
    for name, more in further.items():
        between = between_cookies if name == "cookie" else ","
        headers[name] = between.join((headers[name], *more))[: MAX_HEADER + 1]
    if "upgrade" in headers:
        upgrade = headers["upgrade"]
        # The word may stand in what was cut off.
        if len(upgrade) > MAX_HEADER or "websocket" in upgrade.lower():
            method = WEBSOCKET
    return Request(method, headers, source if isinstance(source, str) else "")


class TokenFinder:
    """Finds the tokens of one instance on requests.

    Args:
        instance: Whose tokens.
        cookies: Whether to read the session cookie at all. A provider other than Clerk has none.
        origins: The pages that may do more than read on the strength of a cookie. By default the instance's authorized
            parties; where there are none, the pages of the very host the request was sent to.
    """

    def __init__(self, instance: Instance, *, cookies: bool = True, origins: Iterable[str] | None = None) -> None:
        if type(cookies) is not bool:
            raise ConfigurationError("cookies is True or False")
        listed = tuple(instance.parties) if origins is None else strings("origins", origins)
        for origin in listed:
            check_origin("origins", origin)
        if origins is not None and not listed:
            raise ConfigurationError("origins is empty; leave it out, or turn cookies off")
        self.instance: Instance = instance
        self.cookies: bool = cookies and instance.is_clerk
        self.origins: frozenset[str] = frozenset(listed)
        names = (SESSION_COOKIE, UPDATED_COOKIE)
        suffix = instance.cookie_suffix
        self._suffixed: tuple[str, ...] = () if suffix is None else tuple(f"{name}_{suffix}" for name in names)
        ours = "|".join(map(re.escape, (*names, *self._suffixed)))
        # FoundToken in one pass, however many other cookies a stranger puts between them.
        self._ours = re.compile(rf"(?:^|;)[ \t]*({ours})=([^;]*)")
        self._sessions = frozenset({SESSION_COOKIE, *self._suffixed[:1]})
        # A server that makes one header of two puts a comma between them; what follows would be part of a value.
        self._joined = re.compile(rf",[ \t]*({'|'.join(map(re.escape, self._sessions))})=")
        # A browser sends the same cookie for a minute. By its hash: a token must not stay in memory beyond its time.
        self._glances: dict[int, _Glance] = {}

    def find(self, request: Request) -> FoundToken | None:
        """The token, or None where there is none; a `RequestRefused`, `TokenTooLarge` or `WrongKind` where it is not to
        be read."""
        headers = request.headers
        if "authorization" in headers:
            return FoundToken(_bearer(headers["authorization"]), "header")
        if not self.cookies or "cookie" not in headers:
            return None
        token = self._session(self._read_cookies(headers["cookie"]))
        if token is None:
            return None
        if not _is_one_word(token):
            raise CookieRefused("it is not one word")
        if prefix_of(token) is not None:  # nobody is to be asked what it stands for
            raise WrongKind(_ONLY_SESSIONS)
        if request.method not in SAFE_METHODS:
            self._check_origin(headers)
        return FoundToken(token, "cookie")

    def _read_cookies(self, header: str) -> dict[str, str]:
        """The cookies that have a say, each as it stands there: nothing is unquoted or decoded, all others are let be.

        One that is empty is one that was deleted.
        """
        if len(header) > MAX_HEADER:
            raise CookieRefused(f"more than {MAX_HEADER} characters of cookies")
        if "\r" in header or "\n" in header or "\0" in header:
            raise CookieRefused("a character that no header has")
        found: dict[str, str] = {}
        for name, cut in self._ours.findall(header):
            value = cut.rstrip(" \t")
            if not value:
                continue
            if name in found and name in self._sessions:
                raise CookieRefused("it stands there twice")
            found.setdefault(name, value)  # of the times, the first counts, as it does at Clerk
        if "," in header and self._joined.search(header):
            raise CookieRefused("it stands behind a comma")
        return found

    def _session(self, cookies: Mapping[str, str]) -> str | None:
        """The plain session cookie or the suffixed one, by Clerk's rule for several instances on one domain.

        The texts that decide are not proven: a stranger can pick which of two tokens is verified, and no more.
        """
        plain = cookies.get(SESSION_COOKIE)
        suffixed, suffixed_updated = (cookies.get(name) for name in self._suffixed) if self._suffixed else (None, None)
        is_ours, made_at = self._glance(plain)
        if plain is not None and is_ours is None:
            return plain  # no token at all, which the verifier will say
        if plain is not None and not is_ours:
            return suffixed  # another instance's: it has no say
        if cookies.get(UPDATED_COOKIE) != "0" and (suffixed_updated == "0" or made_at > self._glance(suffixed).made_at):
            return plain  # written later, by a front end too old to know of suffixes
        return suffixed if suffixed_updated is not None else plain

    def _glance(self, token: str | None) -> "_Glance":
        """Look at a token without proving anything of it."""
        if token is None:
            return _NOTHING
        key = hash(token)  # which is needed later anyway; of two tokens with one hash, the wrong cookie may be verified
        glance = self._glances.get(key)
        if glance is None:
            glance = _glance(token, self.instance.issuers)
            if len(self._glances) >= MAX_GLANCES:
                self._glances.clear()
            self._glances[key] = glance
        return glance

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        """Browsers send a cookie along whoever asks for it, so who asked has to be somebody who may."""
        origin = headers.get("origin")
        if origin is None:
            raise OriginRefused("there is no Origin; who is no browser sends the token in Authorization")
        if len(origin) > MAX_HEADER:
            raise OriginRefused("its Origin is too long to be one")
        if self.origins:
            if origin not in self.origins:
                raise OriginRefused("its Origin is none of those allowed")
        # Where the browser itself says whether it is the same origin, it has to say so: it knows the scheme, too.
        elif headers.get("sec-fetch-site", OWN) != OWN or not _is_own(origin, headers.get("host", "")):
            raise OriginRefused("its Origin is not the Host that was asked; list in origins who else may act")


def _bearer(header: str) -> str:
    """RFC 9110 and 6750: the scheme in any case, blanks, one token."""
    was_cut = len(header) > MAX_HEADER  # then its last characters are not the end
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
    """Whether it is plain and all of one piece. The rest of the spelling is the verifier's business."""
    return text.isascii() and not (" " in text or "," in text or "\t" in text)


class _Glance(NamedTuple):
    """What an unproven token says of itself: whether it is of this instance, None if it names no issuer, and when it
    was made, 0 if it does not say."""

    is_ours: bool | None
    made_at: float


_NOTHING = _Glance(None, 0)


def _glance(token: str, issuers: Collection[str]) -> _Glance:
    try:
        payload = read_token(token, {}).payload
    except TokenMalformed:
        return _NOTHING
    issuer, made_at = payload.get("iss"), payload.get("iat")
    is_ours = None if issuer in (None, "", 0) else isinstance(issuer, str) and issuer in issuers
    return _Glance(is_ours, made_at if isinstance(made_at, (int, float)) else 0)


def _is_own(origin: str, host: str) -> bool:
    """Whether a page of this origin came from this host. A proxy may have ended TLS, so the scheme has no say."""
    scheme, _, place = origin.partition("://")
    usual_port = {"https": ":443", "http": ":80"}.get(scheme)
    if usual_port is None or not ORIGIN.fullmatch(origin):
        return False
    return place == host.lower().removesuffix(usual_port)
