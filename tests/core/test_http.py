"""Where a token is found, what is refused, and that every way in gives the same answer."""

import contextlib
import gc
import json
import pickle
import re
import secrets
from typing import Any

import pytest

from clerkmap import ClerkmapError, Refused, Verifier
from clerkmap.core.http import (
    MAX_REQUEST_HEADER,
    MAX_TOKEN_FACTS,
    FoundToken,
    Request,
    TokenFinder,
    make_asgi_request,
    make_request,
    make_wsgi_request,
)
from clerkmap.core.responses import error_response, html_response
from clerkmap.errors import (
    ConfigurationError,
    KeysUnavailable,
    OrganizationMissing,
    OriginRefused,
    RequestRefused,
    ReverificationNeeded,
    SchemeRefused,
    TokenExpired,
    TokenMissing,
    WrongKind,
)
from clerkmap.testing import Clock, FakeClerk
from counting import counting_lines
from docs_pages import ERRORS
from hostile_requests import cases
from request_base import (
    APP,
    CLERK,
    FINDERS,
    FOREIGN,
    GOOD,
    INSTANCE,
    NOW,
    OLD,
    SUFFIX,
    USER,
    Case,
    Headers,
    Want,
    cookies,
    session,
)


def asgi(case: Case) -> Request:
    """As an ASGI server hands it over."""
    websocket = case.method == "WEBSOCKET"
    kind = {"type": "websocket"} if websocket else {"type": "http", "method": case.method}
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in case.headers]
    return make_asgi_request({**kind, "http_version": "1.1", "headers": headers})


def environ(method: str, headers: Headers) -> dict[str, Any]:
    """As a WSGI server hands it over: one text for each header, those sent twice joined with a comma."""
    found: dict[str, Any] = {"REQUEST_METHOD": method, "wsgi.url_scheme": "http"}
    for name, value in headers:
        key = f"HTTP_{name.upper().replace('-', '_')}"
        found[key] = f"{found[key]},{value}" if key in found else value
    return found


def wsgi(case: Case) -> Request:
    if case.method == "WEBSOCKET":  # which over HTTP/1.1 is a GET that asks for more
        return make_wsgi_request(environ("GET", [*case.headers, ("Upgrade", "websocket")]))
    return make_wsgi_request(environ(case.method, case.headers))


def pairs(case: Case) -> Request:
    return make_request(case.method, case.headers)


WAYS = {"asgi": asgi, "wsgi": wsgi, "pairs": pairs}


def outcome(finder: TokenFinder, request: Request) -> Want:
    """What the finder makes of a request, in the words of the table."""
    try:
        found = finder.find(request)
    except Refused as error:
        return error.code
    return None if found is None else (found.carrier, found.token)


def test_the_table_is_large_and_names_each_request_once() -> None:
    """Which request failed can be told from its name."""
    names = [case.name for case in cases()]
    assert len(names) >= 700
    assert len(names) == len(set(names))


@pytest.mark.parametrize("way", WAYS)
def test_each_request_has_its_one_answer(way: str) -> None:
    """The same in ASGI's bytes, in WSGI's text, and in pairs of any other framework."""
    found = [(case, outcome(FINDERS[case.finder], WAYS[way](case))) for case in cases()]
    assert [(case.name, case.want, what) for case, what in found if case.want != what] == []


def test_a_refusal_tells_nothing_of_the_request() -> None:
    """No text of an error holds twelve characters of a token or cookie."""
    leaks = []
    for case in cases():
        try:
            FINDERS[case.finder].find(asgi(case))
        except Refused as error:
            told = f"{error} {error!r} {error.args} {vars(error)} {error.__cause__!r}"
            sent = [value[:20_000] for name, value in case.headers if name.lower() in ("authorization", "cookie")]
            windows = [told[place : place + 12] for place in range(len(told) - 11)]
            leaks += [(case.name, told) for window in windows if any(window in value for value in sent)]
    assert leaks == []


def test_no_request_keeps_the_finder_busy() -> None:
    """However much is in its headers, and however many cookies: it is read in a few steps."""
    many = {
        "cookies": cookies("a=b;" * (MAX_REQUEST_HEADER // 4)),
        "blanks": cookies(";" + " " * (MAX_REQUEST_HEADER - 1)),
        "commas": cookies(", " * (MAX_REQUEST_HEADER // 2)),
        "commas and blanks": cookies(("," + "\t" * 63) * (MAX_REQUEST_HEADER // 64)),
        "semicolons": cookies(";" * MAX_REQUEST_HEADER),
    }
    busy = []
    for name, request in [(case.name, asgi(case)) for case in cases()] + [
        (name, make_request("GET", headers)) for name, headers in many.items()
    ]:
        with counting_lines() as lines:
            outcome(FINDERS["plain"], request)
        if lines.number > 250:
            busy.append((name, lines.number))
    assert busy == []


@pytest.mark.parametrize(
    ("headers", "want"),
    [
        (cookies("a=b", session(GOOD)), ("cookie", GOOD)),
        (cookies(f"__session={GOOD}", "a=b"), ("cookie", GOOD)),
        (cookies("a=b", f"__session={GOOD}", "__client_uat=1"), ("cookie", GOOD)),
        (cookies("a=b", "c=d"), None),
        (cookies(session(GOOD), session(GOOD)), "cookie_refused"),
        ([("Authorization", f"Bearer {GOOD}"), ("Authorization", f"Bearer {GOOD}")], "authorization_refused"),
    ],
)
@pytest.mark.parametrize("version", ["2", "3"])
def test_from_http_2_on_each_cookie_may_have_its_own_header(headers: Headers, want: Want, version: str) -> None:
    """RFC 9113 has them read as one, and so they are; of everything else there is still one."""
    sent = [(name.lower().encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "method": "GET", "http_version": version, "headers": sent}
    assert outcome(FINDERS["plain"], make_asgi_request(scope)) == want


def test_asgi_headers_are_found_in_any_case() -> None:
    """A server that forgets to write them small makes nobody anonymous."""
    scope = {"type": "http", "method": "GET", "headers": [(b"AUTHORIZATION", f"Bearer {GOOD}".encode())]}
    assert outcome(FINDERS["plain"], make_asgi_request(scope)) == ("header", GOOD)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {GOOD}"},
        {"authorization": f"Bearer {GOOD}"},
        {b"authorization": f"Bearer {GOOD}".encode()},
        iter([("Authorization", f"Bearer {GOOD}")]),
        {"authorization": f"Bearer {GOOD}"}.items(),
    ],
)
def test_headers_may_be_a_mapping_or_pairs_of_text_or_bytes(headers: Any) -> None:
    """Whatever a framework has."""
    assert outcome(FINDERS["plain"], make_request("GET", headers)) == ("header", GOOD)


@pytest.mark.parametrize(
    "headers", [None, 5, "authorization", [1], [("a",)], [(1, "x")], {"authorization": 5}, {"cookie": None}]
)
def test_what_is_no_header_is_refused(headers: Any) -> None:
    """Not taken for an absence."""
    with pytest.raises(RequestRefused, match="header"):
        make_request("GET", headers)


def test_a_letter_beyond_ascii_spells_no_header() -> None:
    """The sign for Kelvin is a k in lower case."""
    assert outcome(FINDERS["plain"], make_request("GET", {"Coo\u212aie": session(GOOD)})) is None


@pytest.mark.parametrize(
    "options",
    [{"cookies": 1}, {"cookies": None}, {"origins": []}, {"origins": "https://a.example"}, {"origins": ["a.example"]}]
    + [
        {"origins": [each]}
        for each in ("https://a.example/", "null", "*", "https://A.example", "https://a.example:443")
    ],
)
def test_what_cannot_work_is_told_at_once(options: dict[str, Any]) -> None:
    """A list of origins is spelled as browsers spell them."""
    with pytest.raises(ConfigurationError, match=r"origins|cookies"):
        TokenFinder(INSTANCE, **options)


def test_a_cookie_carries_sessions_only() -> None:
    """A client's token in a cookie is refused after it was verified; in the header it is at home."""
    verifier = Verifier(INSTANCE, accept=["session", "oauth"], clock=Clock(NOW))
    client = CLERK.oauth_token(USER)
    for token, carrier in ((GOOD, "cookie"), (GOOD, "header"), (client, "header")):
        FoundToken(token, carrier).check(verifier.verify(token))  # type: ignore[arg-type]
    with pytest.raises(WrongKind, match="only a session token"):
        FoundToken(client, "cookie").check(verifier.verify(client))


@pytest.mark.parametrize("way", ["asgi", "wsgi", "pairs"])
@pytest.mark.parametrize("pieces", [1, 2, 3, 40_000])
def test_a_header_that_is_too_long_is_cut(way: str, pieces: int) -> None:
    """In one piece or in many: enough is kept to see that it was, and it is refused wherever it decides."""
    long = "x" * (40_000 // pieces)
    origin = WAYS[way](Case("", [("Origin", long), *cookies(session(GOOD)), *[("Origin", long)] * pieces], "", "POST"))
    assert len(origin.headers["origin"]) == MAX_REQUEST_HEADER + 1
    with pytest.raises(OriginRefused, match="long"):
        FINDERS["plain"].find(origin)
    upgrade = WAYS[way](Case("", [*cookies(session(GOOD)), *[("Upgrade", long)] * (pieces + 1)], ""))
    assert upgrade.method == "WEBSOCKET"


@pytest.mark.parametrize("way", WAYS)
def test_a_preflight_is_known_by_two_headers(way: str) -> None:
    """And by its method, to the letter."""
    origin, wanted = ("Origin", APP), ("Access-Control-Request-Method", "PUT")
    assert WAYS[way](Case("", [origin, wanted], None, "OPTIONS")).is_preflight
    for headers in ([], [origin], [wanted], [("Origin", ""), wanted], [origin, (wanted[0], "")]):
        assert not WAYS[way](Case("", headers, None, "OPTIONS")).is_preflight
    assert not WAYS[way](Case("", [origin, wanted], None, "options")).is_preflight


def kept(marker: str) -> list[str | bytes]:
    """Every longer text or bytes with the marker in it that any object of this process holds."""
    gc.unfreeze()  # what was there before the first test may hold it, too
    encoded, found, owners = marker.encode(), [], gc.get_objects()
    while owners:
        owner = owners.pop()
        # By its type: to ask a lazy object what it is would make it. Keys that are texts are no referents.
        keys = list(dict.keys(owner)) if issubclass(type(owner), dict) else []
        for held in [*gc.get_referents(owner), *keys]:
            if issubclass(type(held), (dict, tuple)) and not gc.is_tracked(held):  # those are not among `get_objects`
                owners.append(held)
            elif (type(held) is str and len(held) > 40 and marker in held) or (type(held) is bytes and encoded in held):
                found.append(held)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("plain", ["ak_{}", GOOD.rpartition(".")[0] + ".{}", FOREIGN.rpartition(".")[0] + ".{}"])
def test_no_token_of_a_cookie_stays_in_memory(plain: str) -> None:
    """It may be an API key that is good for years. Only a hash tells whether the same cookie was seen before."""
    marker = secrets.token_hex(20)

    def find() -> None:
        suffixed = f"__session_{SUFFIX}={OLD.rpartition('.')[0]}.{marker}; __client_uat_{SUFFIX}=1"
        headers = dict(cookies(f"{session(plain.format(marker))}; {suffixed}"))
        for _ in range(2):
            with contextlib.suppress(Refused):
                FINDERS["plain"].find(make_request("GET", headers))

    find()
    gc.collect()
    assert kept(marker) == []


def test_cookies_that_were_seen_are_forgotten_again() -> None:
    """A stranger cannot fill the memory of them."""
    finder = TokenFinder(INSTANCE)
    for number in range(MAX_TOKEN_FACTS + 10):
        finder.find(make_request("GET", dict(cookies(session(f"a.{number}.b")))))
    assert 0 < len(finder._known_facts) <= MAX_TOKEN_FACTS


# ------------------------------------------------------------------------------------------------------ the answers


def test_every_error_has_an_answer() -> None:
    """Plain JSON with its own code, headers that are headers, and a remedy that is one."""
    for kind in ERRORS:
        status, headers, body = error_response(kind("d3t41l"))
        content = json.loads(body)
        assert (content["code"], content["message"]) == (kind.code, kind.text)
        assert content["remedy"] in (None, "refresh_token", "sign_in", "pick_organization", "reverify", "ask_again")
        assert status in (400, 401, 403, 408, 413, 500, 503)
        names = dict(headers)
        assert len(names) == len(headers)
        assert names["content-length"] == str(len(body))
        assert names["cache-control"] == "no-store"
        assert ("www-authenticate" in names) >= (status == 401)
        assert ("retry-after" in names) == (status == 503) == (content["remedy"] == "ask_again")
        assert all(re.fullmatch(r"[ -~]+", value) for value in names.values())
        challenge = r'Bearer( error="(invalid_request|invalid_token|insufficient_scope)", error_description="[^"\\]+")?'
        assert re.fullmatch(challenge, names.get("www-authenticate", "Bearer"))
        if kind is not ReverificationNeeded:  # whose argument is for the front end
            assert "d3t41l" not in body.decode() + str(headers)


def told(error: ClerkmapError) -> tuple[int, str | None, str | None]:
    status, headers, body = error_response(error)
    return status, dict(headers).get("www-authenticate"), json.loads(body)["remedy"]


def test_the_answers_are_those_of_rfc_6750() -> None:
    """No token: a bare challenge. A bad one: why. A bad request: 400."""
    assert told(TokenMissing()) == (401, "Bearer", "sign_in")
    assert told(SchemeRefused()) == (401, "Bearer", None)
    expired = 'Bearer error="invalid_token", error_description="the token has expired"'
    assert told(TokenExpired()) == (401, expired, "refresh_token")
    status, challenge, remedy = told(RequestRefused())
    assert (status, remedy) == (400, None)
    assert challenge is not None
    assert challenge.startswith('Bearer error="invalid_request"')
    assert told(OriginRefused()) == (403, None, None)
    assert told(KeysUnavailable("x")) == (503, None, "ask_again")
    assert told(OrganizationMissing())[::2] == (401, "pick_organization")


class Homemade(TokenExpired):
    """An application's own."""

    code = "homemade"
    text = "made at home"


def test_an_error_of_your_own_is_answered_like_the_one_above_it() -> None:
    """With its own code and text."""
    status, _headers, body = error_response(Homemade())
    assert status == 401
    assert json.loads(body) == {"code": "homemade", "remedy": "refresh_token", "message": "made at home"}


@pytest.mark.parametrize(
    ("wanted", "rule"),
    [("strict", "strict"), (("second_factor", 30), {"level": "second_factor", "afterMinutes": 30})],
)
def test_clerks_front_end_understands_what_reverification_is_wanted(wanted: Any, rule: Any) -> None:
    """The body is in Clerk's own shape, literally, so that its dialogue opens."""
    status, _headers, body = error_response(pickle.loads(pickle.dumps(ReverificationNeeded(wanted))))
    assert status == 403
    assert json.loads(body) == {
        "code": "reverification_needed",
        "remedy": "reverify",
        "message": "the user must verify again",
        "clerk_error": {
            "type": "forbidden",
            "reason": "reverification-error",
            "metadata": {"reverification": rule},
        },
    }


def test_no_repr_shows_a_token() -> None:
    """They end up in logs, and in what error trackers show of a frame."""
    clerk = FakeClerk(seed=3)
    token = clerk.token(clerk.create_user())
    request = make_request("GET", {"Authorization": f"Bearer {token}"})
    found = TokenFinder(clerk.instance).find(request)
    assert (repr(request), repr(found)) == ("Request(GET, authorization)", "FoundToken(header)")


def test_a_cookie_holds_no_opaque_token() -> None:
    """Whoever plants one in a browser gets nobody asked what it stands for."""
    request = make_request("GET", dict(cookies(session("ak_" + "x" * 32))))
    with pytest.raises(WrongKind):
        TokenFinder(INSTANCE).find(request)


def test_an_error_as_html() -> None:
    """A browser reads the same text and code, under the same status and challenge."""

    class Odd(Refused):
        code, text = "odd", "a <b> & c"

    for error in (TokenMissing(), KeysUnavailable(), Odd("d3t41l")):
        status, headers, body = html_response(error)
        plain = error_response(error)
        assert status == plain.status
        assert dict(headers)["content-length"] == str(len(body))
        assert dict(headers)["content-type"] == "text/html; charset=utf-8"
        changed = ("content-type", "content-length")
        assert [each for each in headers if each[0] not in changed] == [
            each for each in plain.headers if each[0] not in changed
        ]
        assert f"<code>{error.code}</code>".encode() in body
        assert b"d3t41l" not in body
    assert b"A &lt;b&gt; &amp; c." in html_response(Odd()).body
