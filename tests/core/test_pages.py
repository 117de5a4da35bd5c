"""The pages that a browser is redirected to: their addresses, the way back, and the end of redirects."""

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerkmap.core.http import TokenFinder, make_request
from clerkmap.core.pages import MAX_REDIRECTS, MAX_RETURN, SENT_FOR, Page, Pages, Target, redirect, refresh_html
from clerkmap.core.responses import error_response, remedy_of
from clerkmap.errors import (
    ConfigurationError,
    KeysUnavailable,
    OrganizationMissing,
    TokenExpired,
    TokenMissing,
    UserBanned,
)
from clerkmap.testing import FakeClerk

CLERK = FakeClerk(seed=31)
GET = make_request("GET", {"Accept": "text/html"})
HOST = "https://app.example.com"


def location(page: Page, target: Target) -> str:
    """Where a browser is sent."""
    told = redirect(page, GET, target, "")
    assert told is not None
    assert (told.status, told.body) == (303, b"")
    return dict(told.headers)["location"]


def again(cookie: str, page: str = "/refresh", token: str = "", *, renews: bool = True) -> str | None:
    """The cookie after one more redirect of a browser that has this cookie; None at the end of redirects."""
    request = make_request("GET", {"Accept": "text/html", "Cookie": cookie})
    told = redirect(page, request, Target("", "/orders"), token, renews=renews)
    return None if told is None else dict(told.headers)["set-cookie"].partition(";")[0]


# ------------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("mounted", "there"),
    [
        ("", "/choose"),
        ("/", "/choose"),
        ("/crm", "/crm/choose"),
        ("/crm/", "/crm/choose"),
        ("/größe a", "/gr%C3%B6%C3%9Fe%20a/choose"),
        ("//evil.example", "/choose"),
        ("/\\evil.example", "/%5Cevil.example/choose"),
        ("https://evil.example", "/choose"),
        ("/a\r\nSet-Cookie: b=c", "/a%0D%0ASet-Cookie:%20b=c/choose"),
    ],
)
def test_the_page_stands_within_the_mounted_application(mounted: str, there: str) -> None:
    """The place where the server mounted the application is part of the path; one that leads elsewhere is ignored."""
    assert location("/choose", Target(mounted, "")) == there


@pytest.mark.parametrize(
    ("page", "there"),
    [
        ("/choose", "/choose?redirect_url=%2Fa%3Fb%3D1%26c"),
        ("/choose?next=1", "/choose?next=1&redirect_url=%2Fa%3Fb%3D1%26c"),
        ("/app#/choose", "/app?redirect_url=%2Fa%3Fb%3D1%26c#/choose"),
        (lambda: "/crm/choose", "/crm/choose?redirect_url=%2Fa%3Fb%3D1%26c"),
    ],
)
def test_the_page_gets_the_address_to_return_to(page: Page, there: str) -> None:
    """In the parameter that Clerk's components read, beside the parameters of the page itself."""
    assert location(page, Target("", "/a?b=1&c")) == there


@pytest.mark.parametrize("page", ["", "choose", "//evil.example", "/\\evil", "https://evil.example", "/a b", 1, "/ü"])
def test_a_page_is_a_path_of_this_application(page: Any) -> None:
    """Where a browser is sent is written by the application, and stays on its host."""
    for name in ("sign_in_page", "refresh_page", "organization_page"):
        with pytest.raises(ConfigurationError, match=f"{name} must be a path"):
            Pages(**{name: page})
    with pytest.raises(ConfigurationError, match="must return a path of this host"):
        redirect(lambda: page, GET, Target("", "/"), "")


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ({"path": "/orders", "query_string": b"id=3&q=a+b"}, "/orders?id=3&q=a+b"),
        ({"path": "/", "root_path": ""}, "/"),
        ({"path": "/crm/orders", "root_path": "/crm"}, "/crm/orders"),
        ({"path": "/orders", "root_path": "/crm"}, "/crm/orders"),
        ({"path": "/crmx", "root_path": "/crm"}, "/crm/crmx"),
        ({"path": "/crm", "root_path": "/crm"}, "/crm"),
        ({"path": "/größe a?b"}, "/gr%C3%B6%C3%9Fe%20a%3Fb"),
        ({"path": "/a", "query_string": "q=ö%20".encode()}, "/a?q=%C3%B6%20"),
        ({"path": "//evil.example/a"}, ""),
        ({"path": "/.//evil.example/a"}, ""),
        ({"path": "/a/..//evil.example"}, ""),
        ({"path": "/a.b/..c", "query_string": b"q=/../"}, "/a.b/..c?q=/../"),
        ({"path": "/\\evil.example/a"}, "/%5Cevil.example/a"),
        ({"path": "/a\r\nb"}, "/a%0D%0Ab"),
        ({"path": "/\udcff"}, "/?"),
        ({"path": "*"}, ""),
        ({}, ""),
    ],
)
def test_the_address_of_a_request(scope: dict[str, Any], path: str) -> None:
    """ASGI and WSGI give the same address: a path of this host, or none."""
    expected = "/%3F" if path == "/?" else path
    assert Target.of_scope(scope) == (scope.get("root_path", ""), expected)
    whole, root = scope.get("path", ""), scope.get("root_path", "")
    rest = whole.removeprefix(root) if whole == root or whole.startswith(f"{root}/") else whole
    environ = {
        "SCRIPT_NAME": root,
        "PATH_INFO": rest.encode("utf-8", "replace").decode("latin-1"),
        "QUERY_STRING": scope.get("query_string", b"").decode("latin-1"),
    }
    assert Target.of_environ(environ) == (root, expected)


@given(st.text(), st.text(), st.binary())
def test_no_request_leads_a_browser_to_another_host(root: str, path: str, query: bytes) -> None:
    """The page and the way back stay on the host, whatever the request says."""
    there = location("/choose", Target.of_scope({"root_path": root, "path": path, "query_string": query}))
    assert re.fullmatch(r"[!-~]+", there)
    for found in (there, *parse_qs(urlsplit(there).query).get("redirect_url", [])):
        assert "\\" not in found.partition("?")[0]
        assert urljoin(HOST, found).startswith(f"{HOST}/")


def test_a_long_address_is_left_out() -> None:
    """The page then decides where the browser returns to."""
    assert "redirect_url" in location("/choose", Target("", "/" + "a" * (MAX_RETURN - 1)))
    assert location("/choose", Target("", "/" + "a" * MAX_RETURN)) == "/choose"


# ---------------------------------------------------------------------------------------------- the end of redirects


@pytest.mark.parametrize("page", ["/orders", "/orders?a=1", "/orders#a", lambda: "/orders"])
def test_a_page_does_not_redirect_to_itself(page: Page) -> None:
    """As if the sign-in page required a signed-in caller."""
    assert redirect(page, GET, Target("", "/orders?b=2"), "") is None


def test_one_refresh_is_enough() -> None:
    """A new token that is refused as well is not renewed again: the clock of this server is off, for example."""
    sent = again("", token="old")
    assert sent is not None
    assert again(sent, token="new") is None
    assert again(sent, "/choose", token="new", renews=False) is not None


def test_many_tabs_with_one_old_token_are_all_refreshed() -> None:
    """Each is sent once, before the first has come back with a new token. Only so many times in a row."""
    cookie: str | None = ""
    for _ in range(MAX_REDIRECTS):
        assert cookie is not None
        cookie = again(f"theme=dark; {cookie}", token="old")
    assert cookie is not None
    assert again(cookie, token="old") is None
    assert again(cookie, "/choose", token="old", renews=False) is None


@pytest.mark.parametrize("cookie", ["__clerkmap_sent=", "__clerkmap_sent=9999-e3b0c442", "x__clerkmap_sent=9-e3b0c442"])
def test_another_cookie_counts_nothing(cookie: str) -> None:
    """A value that this library has not written starts the count anew."""
    assert again(cookie) == "__clerkmap_sent=1-e3b0c442"


def test_the_cookie_is_short_lived_and_tells_nothing() -> None:
    """It holds a count and eight digits of a digest, for half a minute, and no script reads it."""
    told = redirect("/refresh", GET, Target("", "/"), "a token", renews=True)
    assert told is not None
    name, value = dict(told.headers)["set-cookie"].partition(";")[0].split("=")
    assert re.fullmatch("1-[0-9a-f]{8}", value)
    attributes = f"; Path=/; Max-Age={SENT_FOR}; HttpOnly; SameSite=Lax"
    assert dict(told.headers)["set-cookie"] == f"{name}={value}{attributes}"


# ------------------------------------------------------------------------------------------ which browsers, which page


@pytest.mark.parametrize(
    ("method", "headers", "loads"),
    [
        ("GET", {"Accept": "text/html,*/*"}, True),
        ("HEAD", {"Accept": "text/html"}, True),
        ("GET", {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}, True),
        ("GET", {"Accept": "text/html", "Sec-Fetch-Mode": "cors"}, False),
        ("GET", {"Accept": "*/*"}, False),
        ("GET", {}, False),
        ("POST", {"Accept": "text/html"}, False),
    ],
)
def test_a_browser_that_loads_a_page(method: str, headers: dict[str, str], loads: bool) -> None:
    """A script that fetches HTML would follow the redirect, and show the sign-in page as a part of its own."""
    assert make_request(method, headers).is_for_a_page is loads


@pytest.mark.parametrize(
    ("cookie", "known"),
    [
        ("", False),
        ("__client_uat=0", False),
        ("__client_uat=1733000000", True),
        ("__client_uat_SUFFIX=1733000000", True),
        ("__client_uat=1733000000; __client_uat_SUFFIX=0", False),
        ("__client_uat_other=1733000000", False),
        ("__session=a; __session=b", False),
    ],
)
def test_a_browser_that_clerk_knows(cookie: str, known: bool) -> None:
    """Clerk's front end keeps the time of the last sign-in in a cookie of the whole domain."""
    finder = TokenFinder(CLERK.instance)
    request = make_request("GET", {"Cookie": cookie.replace("SUFFIX", str(CLERK.instance.cookie_suffix))})
    assert finder.has_clerk_session(request) is known
    assert not TokenFinder(CLERK.instance, cookies=False).has_clerk_session(request)


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({"Cookie": "__session=a.b.c"}, "a.b.c"),
        ({"Cookie": "__session=a.b.c", "Authorization": "Bearer d.e.f"}, ""),
        ({"Cookie": "__session=a.b.c; __session=d.e.f"}, ""),
        ({"Cookie": "__session=ak_" + "x" * 32}, ""),
        ({}, ""),
    ],
)
def test_the_session_cookie_of_a_refused_request(headers: dict[str, str], token: str) -> None:
    """It is read only to tell a new token from the one before."""
    assert TokenFinder(CLERK.instance).session_cookie(make_request("GET", headers)) == token


def test_a_request_for_one_of_the_pages() -> None:
    """With any query, and within the mounted application. A function returns the whole path."""
    pages = Pages(sign_in_page="/sign-in?a=1", organization_page=lambda: "/crm/choose")
    assert pages
    assert not Pages()
    for path, is_page in {"/crm/sign-in?b=2": True, "/crm/choose": True, "/sign-in": False, "/crm/": False}.items():
        assert pages.include(Target("/crm", path)) is is_page


def test_the_remedy_of_an_error() -> None:
    """A redirect follows the same advice that a front end gets as JSON."""
    for error in (TokenMissing(), TokenExpired(), OrganizationMissing(), KeysUnavailable(), UserBanned()):
        assert remedy_of(error) == json.loads(error_response(error).body)["remedy"]


# --------------------------------------------------------------------------------------------------- the refresh page


def test_the_refresh_page_loads_clerks_script() -> None:
    """From the instance's own host, or from another address, with the publishable key and a nonce."""
    html = refresh_html(CLERK.instance, sign_in_page="/sign-in", nonce='a"b')
    src = f"https://{CLERK.frontend_api}/npm/@clerk/clerk-js@5/dist/clerk.headless.browser.js"
    assert f'data-clerk-publishable-key="{CLERK.publishable_key}" src="{src}"' in html
    assert html.count('nonce="a&quot;b"') == html.count("<script")
    assert 'src="/clerk.js"' in refresh_html(CLERK.instance, sign_in_page="/sign-in", clerk_js_url="/clerk.js")


def test_the_sign_in_page_cannot_end_the_script() -> None:
    """Whatever the application calls its page."""
    html = refresh_html(CLERK.instance, sign_in_page='/a</script>"')
    assert html.count("</script>") == 2
    assert json.dumps('/a</script>"').replace("<", "\\u003c") in html


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: refresh_html(CLERK.make_oidc_instance("a"), sign_in_page="/a"), "publishable_key"),
        (lambda: refresh_html(CLERK.instance, sign_in_page="https://evil.example"), "sign_in_page must be a path"),
        (lambda: refresh_html(CLERK.instance, sign_in_page="/a", clerk_js_url="//evil.example/a.js"), "clerk_js_url"),
        (lambda: refresh_html(CLERK.instance, sign_in_page="/a", clerk_js_url="http://evil.example/a"), "clerk_js_url"),
    ],
)
def test_a_refresh_page_that_would_not_work(make: Callable[[], str], message: str) -> None:
    """It is refused where it is made."""
    with pytest.raises(ConfigurationError, match=message):
        make()
