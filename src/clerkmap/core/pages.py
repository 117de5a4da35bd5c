"""The pages that a browser is redirected to in place of an error, and the way back from them.

    sign_in_page          no user is signed in
    refresh_page          the session token has expired: Clerk's front end gets a new one there
    organization_page     the user must pick an organization

The page gets the requested address in the query parameter `redirect_url`, which Clerk's components read. It is always a
path of this host, made from the request's own path. A cookie ends redirects that do not help: see `redirect`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from typing import Any, NamedTuple, TypedDict
from urllib.parse import quote

from ..errors import ConfigurationError
from .http import MAX_REQUEST_HEADER, Request
from .instance import Instance
from .responses import RawResponse
from .validation import OWN_PATH, check_page

Page = str | Callable[[], str]

MAX_RETURN = 2_000  # characters of the address to return to: longer ones do not pass every proxy in a Location header
MAX_REDIRECTS = 8  # in a row, so many tabs that are opened again at once are all refreshed
SENT_FOR = 30  # seconds that a redirect is remembered, for a slow browser and for Clerk's front end to load

_SENT = "__clerkmap_sent"
_SENT_COOKIE = re.compile(rf"(?:^|;)[ \t]*{_SENT}=([0-9])-([0-9a-f]{{8}})[ \t]*(?:;|$)")
_SCRIPT_URL = re.compile(r"(https://|http://(localhost|127\.0\.0\.1)[:/]|/(?![/\\]))[!-~]+")
_ASCII = "".join(map(chr, range(0x21, 0x7F)))  # a query is kept as it was sent, but for characters beyond ASCII


class PageOptions(TypedDict, total=False):
    """The keywords of `Pages`, for functions that pass them on: `**pages: Unpack[PageOptions]`."""

    sign_in_page: Page | None
    refresh_page: Page | None
    organization_page: Page | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """The pages of an application. Each is a path within the application, such as `/sign-in`, or a function that
    returns a whole path of this host: `lambda: url_for("sign_in")`.

    Args:
        sign_in_page: The page with Clerk's sign-in.
        refresh_page: The page that gets a new session token from Clerk, see `refresh_html`.
        organization_page: The page on which the user picks an organization.
    """

    sign_in_page: Page | None = None
    refresh_page: Page | None = None
    organization_page: Page | None = None

    def __post_init__(self) -> None:
        for name in ("sign_in_page", "refresh_page", "organization_page"):
            page = getattr(self, name)
            if page is not None and not callable(page):
                check_page(name, page)

    def __bool__(self) -> bool:
        return any((self.sign_in_page, self.refresh_page, self.organization_page))

    def include(self, target: "Target") -> bool:
        """Return whether a request is for one of these pages."""
        pages = (self.sign_in_page, self.refresh_page, self.organization_page)
        return any(_is_at(_path_of(page, target.mounted_at), target) for page in pages if page is not None)


class Target(NamedTuple):
    """The address of a request on this host: where the application is mounted, and the quoted path with the query.

    The path is empty if the browser must not return to it.
    """

    mounted_at: str
    path: str

    @classmethod
    def of_scope(cls, scope: Mapping[str, Any]) -> "Target":
        """Return the target of an ASGI request."""
        path = scope.get("path", "").encode("utf-8", "replace")
        return cls.of_path(scope.get("root_path", ""), _quoted(path, scope.get("query_string", b"")))

    @classmethod
    def of_environ(cls, environ: Mapping[str, Any]) -> "Target":
        """Return the target of a WSGI request, whose texts are bytes decoded as Latin-1."""
        root, path, query = (
            str(environ.get(name, "")).encode("latin-1", "replace")
            for name in ("SCRIPT_NAME", "PATH_INFO", "QUERY_STRING")
        )
        return cls.of_path(root.decode("utf-8", "replace"), _quoted(root + path, query))

    @classmethod
    def of_path(cls, mounted_at: str, path: str) -> "Target":
        """Return the target of a quoted path with its query. Some servers leave the mount out of the path."""
        mount = _quoted(mounted_at.encode("utf-8", "replace")).rstrip("/")
        if path.partition("?")[0] != mount and not path.startswith(f"{mount}/"):
            path = mount + path
        # A browser takes `//a` for another host. It makes `//a` of `/.//a`, too.
        has_dots = not {".", ".."}.isdisjoint(path.partition("?")[0].split("/"))
        return cls(mounted_at, path if OWN_PATH.fullmatch(path) and not has_dots else "")


def redirect(page: Page, request: Request, target: Target, token: str, *, renews: bool = False) -> RawResponse | None:
    """Return the redirect to a page, or None if it would lead nowhere and the error must be shown.

    A cookie counts the redirects in a row, and names the token that the first of them refused. A page never redirects
    to itself. If the page `renews` the token, one round trip is enough: a new token that is refused as well shows that,
    for example, the clock of this server is wrong.

    Args:
        page: The page.
        request: The refused request.
        target: The address of the request.
        token: The refused session token, or an empty string.
        renews: Whether the page gets a new token.
    """
    there = _path_of(page, target.mounted_at)
    if _is_at(there, target):
        return None
    refused = sha256(token.encode("utf-8", "replace")).hexdigest()[:8]
    count, before = _sent(request)
    if count >= MAX_REDIRECTS or (renews and before is not None and before != refused):
        return None
    cookie = f"{_SENT}={count + 1}-{refused}; Path=/; Max-Age={SENT_FOR}; HttpOnly; SameSite=Lax"
    headers = (
        ("location", _with_return(there, target.path)),
        ("content-length", "0"),
        ("cache-control", "no-store"),
        ("set-cookie", cookie),
    )
    return RawResponse(303, headers, b"")


def _sent(request: Request) -> tuple[int, str | None]:
    """Return how often this browser was just redirected, and a fingerprint of the token that was refused then."""
    found = _SENT_COOKIE.search(request.headers.get("cookie", "")[:MAX_REQUEST_HEADER])
    return (0, None) if found is None else (int(found[1]), found[2])


def _path_of(page: Page, mounted_at: str) -> str:
    """Return the whole path of a page. A mount that would lead to another host is ignored."""
    if callable(page):
        there = str(page())
        if not OWN_PATH.fullmatch(there):
            raise ConfigurationError("the function of a page must return a path of this host, such as /sign-in")
        return there
    there = _quoted(mounted_at.encode("utf-8", "replace")).rstrip("/") + page
    return there if OWN_PATH.fullmatch(there) else page


def _is_at(page: str, target: Target) -> bool:
    return page.partition("#")[0].partition("?")[0] == target.path.partition("?")[0]


def _with_return(page: str, path: str) -> str:
    if not path or len(path) > MAX_RETURN:
        return page
    page, mark, fragment = page.partition("#")
    return f"{page}{'&' if '?' in page else '?'}redirect_url={quote(path, safe='')}{mark}{fragment}"


def _quoted(path: bytes, query: bytes = b"") -> str:
    return quote(path, safe="/:@!$&'()*+,;=~") + (f"?{quote(query, safe=_ASCII)}" if query else "")


def refresh_html(
    instance: Instance, *, sign_in_page: str, clerk_js_url: str | None = None, nonce: str | None = None
) -> str:
    """Return the HTML of a refresh page. Clerk's script gets a new session token there, and the browser returns.

    A visitor who is not signed in at Clerk is sent to the sign-in page. The browser returns to a path of this host
    only. It stays, with a message, if it does not keep the new cookie.

    Args:
        instance: The Clerk instance, with its publishable key.
        sign_in_page: The whole path of the sign-in page.
        clerk_js_url: The address of Clerk's script; by default that of your instance.
        nonce: The nonce of your Content-Security-Policy.
    """
    check_page("sign_in_page", sign_in_page)
    if instance.publishable_key is None:
        raise ConfigurationError("a refresh page needs an instance with a publishable_key")
    if clerk_js_url is not None and not _SCRIPT_URL.fullmatch(clerk_js_url):
        raise ConfigurationError("clerk_js_url must be an https:// URL, or a path of this host")
    url = clerk_js_url or f"https://{instance.frontend_api}{_CLERK_JS}"
    script = _REFRESH.replace("SIGN_IN", json.dumps(sign_in_page).replace("<", "\\u003c"))
    attribute = "" if nonce is None else f' nonce="{escape(nonce)}"'
    key = escape(instance.publishable_key)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="robots" content="noindex">\n<link rel="icon" href="data:,">\n'
        "<title>Your session is renewed</title>\n</head>\n<body>\n"
        '<p id="message" role="status">Your session is being renewed.</p>\n'
        "<noscript><p>This page needs JavaScript.</p></noscript>\n"
        f'<script{attribute} crossorigin="anonymous" data-clerk-publishable-key="{key}" src="{escape(url)}"></script>\n'
        f"<script{attribute}>{script}</script>\n</body>\n</html>\n"
    )


# Without its user interface, Clerk's script is much smaller.
_CLERK_JS = "/npm/@clerk/clerk-js@5/dist/clerk.headless.browser.js"

_REFRESH = """
(() => {  // without global names, which Clerk's script could have, too
const say = (text) => { document.getElementById("message").textContent = text; };
const given = new URLSearchParams(location.search).get("redirect_url") ?? "";
let back = new URL("/", location.origin);
try {
  const wanted = new URL(given, location.origin);
  // The path of "/.//evil.example" is "//evil.example", which the sign-in page would take for another host.
  const isOurs = wanted.origin === location.origin && !wanted.pathname.startsWith("//");
  if (given.startsWith("/") && isOurs) back = wanted;
} catch {}
async function refresh() {
  await window.Clerk.load();
  const token = window.Clerk.session ? await window.Clerk.session.getToken({ skipCache: true }) : null;
  if (token === null) {
    const [page, fragment] = SIGN_IN.split("#");
    const query = new URLSearchParams({ redirect_url: back.pathname + back.search + back.hash });
    location.replace(page + (page.includes("?") ? "&" : "?") + query + (fragment ? "#" + fragment : ""));
  } else if (document.cookie.includes(token)) {
    location.replace(back);
  } else {  // a tab in the background may write no cookie
    say("Your browser does not keep the cookie of this site. Allow cookies, then reload this page.");
    window.addEventListener("focus", refresh, { once: true });
  }
}
if (window.Clerk) refresh().catch(() => say("Your session could not be renewed. Reload this page to try again."));
else say("Clerk could not be loaded. Reload this page to try again.");
})();
"""
