"""Whatever headers a stranger sends: a token, none, or a refusal; and the same whichever way they come.

`CLERKMAP_SOAK=1` makes it ten times as many.
"""

import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from clerkmap import Refused
from clerkmap.core.http import Request, make_asgi_request, make_request, make_wsgi_request
from clerkmap.core.jose import MAX_TOKEN
from clerkmap.core.responses import error_response
from request_base import ADMIN, APP, EVIL, FINDERS, FOREIGN, GOOD, OLD, OTHER_SUFFIX, SUFFIX, Headers, Want
from test_http import environ, outcome

EXAMPLES = 100 if os.environ.get("CLERKMAP_SOAK") else 10  # times 5 to 15
NAMES = ("Authorization", "authorization", "Cookie", "COOKIE", "Origin", "Host", "Sec-Fetch-Site", "Upgrade", "X")
TOKENS = (GOOD, OLD, FOREIGN, "x", "a.b.c", "", "a b", "\xe9", "undefined")
COOKIES = tuple(
    f"{name}{end}" for name in ("__session", "__client_uat", "a") for end in ("", f"_{SUFFIX}", f"_{OTHER_SUFFIX}", "x")
)

latin = st.text(st.characters(max_codepoint=255), max_size=40)
pieces = st.sampled_from(
    (
        *TOKENS,
        *COOKIES,
        *'=;,"\\ \t\0',
        "; ",
        "Bearer ",
        "bearer",
        "Basic ",
        "0",
        "1",
        APP,
        ADMIN,
        EVIL,
        "app.example.com",
    )
)
soup = st.lists(pieces | latin, max_size=8).map("".join)
bearers = st.builds(
    "{}{}{}".format, st.sampled_from(("Bearer", "bearer", "Basic", "")), st.sampled_from((" ", "  ", "\t", "")), soup
)
jars = st.lists(st.builds("{}={}".format, st.sampled_from(COOKIES), st.sampled_from((*TOKENS, "0", "1"))), max_size=6)
values = soup | bearers | jars.map("; ".join) | st.sampled_from((APP, ADMIN, EVIL, "null", "same-origin", "websocket"))
requests = st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=5)
methods = st.sampled_from(("GET", "HEAD", "OPTIONS", "POST", "DELETE", "get", ""))
finders = st.sampled_from(sorted(FINDERS))


def ways(method: str, headers: Headers) -> dict[str, Request]:
    """The request as each kind of server hands it over."""
    sent = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    scope = {"type": "http", "method": method, "http_version": "1.1", "headers": sent}
    return {
        "asgi": make_asgi_request(scope),
        "wsgi": make_wsgi_request(environ(method, headers)),
        "pairs": make_request(method, headers),
        "bytes": make_request(method, sent),
    }


def check(what: Want, headers: Headers) -> None:
    """What was found was sent, and is one word; what was refused has a code of ours."""
    if isinstance(what, tuple):
        carrier, token = what
        assert token
        assert token.isascii()
        assert not set(" ,\t;\r\n") & set(token) or carrier == "header"
        assert not set(" ,\t") & set(token)
        assert any(token in value for _name, value in headers)
        assert len(token) <= MAX_TOKEN or carrier == "cookie"
        assert (carrier == "header") == any(name.lower() == "authorization" for name, _value in headers)
    elif what is not None:
        codes = ("authorization_refused", "authorization_scheme_refused", "cookie_refused", "origin_refused")
        assert what in (*codes, "token_too_large")


@settings(max_examples=15 * EXAMPLES)
@given(methods, requests, finders)
def test_any_headers_have_one_outcome(method: str, headers: Headers, finder: str) -> None:
    """The same in bytes and text; nothing but a refusal is raised; a header that is there is never passed over."""
    outcomes = {way: outcome(FINDERS[finder], request) for way, request in ways(method, headers).items()}
    assert len(set(outcomes.values())) == 1, outcomes
    check(outcomes["asgi"], headers)


@settings(max_examples=5 * EXAMPLES)
@given(requests, finders)
def test_a_cookie_alone_never_acts_for_a_page_that_may_not(headers: Headers, finder: str) -> None:
    """Whatever else is sent: from another page, a cookie is refused or not there."""
    sent = [pair for pair in headers if pair[0] not in ("Authorization", "authorization", "Origin")]
    for page in ([], [("Origin", EVIL)], [("Origin", "null")]):
        hosts = [pair for pair in sent if pair[0] != "Host"] + [("Host", "app.example.com")]
        for request in ways("POST", [*hosts, *page]).values():
            assert not isinstance(outcome(FINDERS[finder], request), tuple)


anything: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.binary(max_size=20)
    | st.text(max_size=20)
    | soup
    | st.sampled_from(NAMES),
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=12,
)
unlikely = anything | st.lists(st.tuples(st.sampled_from(NAMES), anything), max_size=3)


@settings(max_examples=10 * EXAMPLES)
@given(unlikely)
def test_what_is_no_header_at_all_is_refused_or_has_no_token(headers: Any) -> None:
    """Frameworks hand over what they like; none of it comes back as another exception, and refusals have answers."""
    try:
        found = FINDERS["plain"].find(make_request("GET", headers))
    except Refused as error:
        status = error_response(error).status
    else:
        status = 200 if found is None or found.token.isascii() else 0
    assert status in (200, 400, 401, 403)


@settings(max_examples=5 * EXAMPLES)
@given(st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=6), st.sampled_from(("1.0", "1.1", "2", "3")))
def test_no_version_of_http_brings_out_anything_else(headers: Headers, version: str) -> None:
    """Nor do WebSockets."""
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    for scope in ({"type": "http", "method": "POST"}, {"type": "websocket"}):
        check(
            outcome(FINDERS["plain"], make_asgi_request({**scope, "http_version": version, "headers": sent})), headers
        )
