"""The table: this request, this answer, whatever the framework and the server.

A row is a request as it goes over the wire, to a page of one of the worlds in `requests_world.py`, and the answer to it
as somebody wrote it down in `requests_answers.py`. A path tells the world and the page: `/keys-down/signed-in`. Where a
server refuses or rewrites a request before any application sees it, the row says what that server does, in `instead`.

Here: how a token comes. Which pages may act, and what is away, is in `requests_table_pages.py`; whose a token is,
in `requests_table_people.py`; what they may do, in `requests_table_rights.py`.
"""

from collections.abc import Iterator

from requests_answers import (
    ANONYMOUS,
    AUTHORIZATION,
    COOKIE,
    EXPIRED,
    MALFORMED,
    MISSING,
    SCHEME,
    TOO_LARGE,
    Hello,
    Plain,
    Want,
)
from requests_row import (
    ADA,
    BOB,
    FOREIGN,
    GUNICORN,
    H11,
    HTML,
    HTTPTOOLS,
    HYPERCORN,
    IS_ADA,
    IS_BOB,
    NEWER,
    OLD,
    REFUSED,
    WAITRESS,
    Row,
    bearer,
    cookie,
    session,
    suffixed,
)
from requests_table_machines import machines
from requests_table_pages import pages
from requests_table_people import people
from requests_table_rights import rights
from requests_world import OTHER_SUFFIX, SUFFIX

# What servers do that read more strictly, or less, than an application that is called without one.
ALL_OF_THEM: dict[str, Want] = dict.fromkeys((H11, HTTPTOOLS, HYPERCORN, GUNICORN, WAITRESS), REFUSED)
BUT_H11: dict[str, Want] = dict.fromkeys((HTTPTOOLS, GUNICORN, WAITRESS), REFUSED)
FOLDED: dict[str, Want] = {**ALL_OF_THEM, **dict.fromkeys((H11, HYPERCORN, WAITRESS), IS_ADA)}
# To h11 a line feed alone ends a line, as RFC 9112 lets it: what follows is a header of its own.
ANOTHER_LINE: dict[str, Want] = {**ALL_OF_THEM, **dict.fromkeys((H11, HYPERCORN), IS_ADA)}
TOO_LONG: dict[str, Want] = {GUNICORN: Plain(431)}  # it reads no line of more than 8,190 characters


def rows() -> Iterator[Row]:
    """All of them."""
    yield from _nothing()
    yield from _bearer()
    yield from _cookies()
    yield from _two_cookies()
    yield from pages()
    yield from people()
    yield from machines()
    yield from rights()


def _nothing() -> Iterator[Row]:
    yield Row("no token: a public page", "/clerk/blind", [], Hello())
    yield Row("no token: optional sign-in", "/clerk/open", [], ANONYMOUS)
    yield Row("no token: sign-in required", "/clerk/signed-in", [], MISSING)
    yield Row("no token: role required", "/clerk/role", [], MISSING)
    yield Row("no token: fresh membership", "/clerk/fresh", [], MISSING)
    yield Row("no token: everything", "/clerk/everything", [], MISSING)
    yield Row("no token: a browser is not sent to pick an organization", "/clerk/page", HTML, MISSING)
    for name in ("Proxy-Authorization", "X-Authorization", "Authorisation", "X-Forwarded-Authorization", "Token"):
        yield Row(f"no token: {name}", "/clerk/signed-in", [(name, f"Bearer {ADA}")], MISSING)
    for query in (f"token={ADA}", f"access_token={ADA}", f"__session={ADA}", f"Authorization=Bearer%20{ADA}"):
        yield Row(f"no token: in the query, {query[:12]}", f"/clerk/signed-in?{query}", [], MISSING)
    forged = [("clerkmap.auth_result", ADA), ("clerkmap-caller", ADA), ("Remote-User", "ada"), ("X-Clerk-User", "ada")]
    yield Row("no token: headers that look like ours", "/clerk/signed-in", forged, MISSING)


def _bearer() -> Iterator[Row]:
    page, basic = "/clerk/signed-in", ("Authorization", "Basic YTpi")
    for scheme in ("Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer  ", f"Bearer{' ' * 40}", "  Bearer "):
        yield Row(f"Bearer: written {scheme!r}", page, [("Authorization", f"{scheme}{ADA}")], IS_ADA)
    for name in ("authorization", "AUTHORIZATION", "aUthOrIzAtIoN"):
        yield Row(f"Bearer: the header written {name}", page, [(name, f"Bearer {ADA}")], IS_ADA)
    yield Row("Bearer: tabs around", page, [("Authorization", f"\tBearer {ADA}\t")], IS_ADA)
    yield Row("Bearer: optional sign-in", "/clerk/open", bearer(ADA), IS_ADA)
    yield Row("Bearer: a public page", "/clerk/blind", bearer(ADA), Hello())
    yield Row("Bearer: it wins over a cookie", page, bearer(ADA, ("Cookie", session(BOB))), IS_ADA)
    yield Row("Bearer: beside a refused cookie", page, bearer(ADA, ("Cookie", "__session=a b")), IS_ADA)
    bad = {
        "empty": "",
        "the scheme alone": "Bearer",
        "the scheme and a blank": "Bearer ",
        "a tab for a blank": f"Bearer\t{ADA}",
        "two words": f"Bearer {ADA} {BOB}",
        "twice the scheme": f"Bearer Bearer {ADA}",
        "a comma behind": f"Bearer {ADA},",
        "a list": f"Bearer {ADA}, Bearer {BOB}",
        "a parameter": f'Bearer token="{ADA}", x="y"',
        "a colon": f"Bearer: {ADA}",
        "quotes around all": f'"Bearer {ADA}"',
        "a latin letter": f"Bearer {ADA}\xe9",
        "UTF-8": "Bearer caf\xc3\xa9",
        "a blank beyond ASCII": f"Bearer\xa0{ADA}",
    }
    for name, value in bad.items():
        yield Row(f"Authorization: {name}", page, [("Authorization", value)], AUTHORIZATION)
    sent = [("Authorization", "Bearer"), ("Cookie", session(ADA))]
    yield Row("Authorization: invalid, with a valid cookie", page, sent, AUTHORIZATION)
    yield Row("Authorization: optional sign-in", "/clerk/open", sent, AUTHORIZATION)
    yield Row("Authorization: a public page", "/clerk/blind", sent, Hello())
    for name, value in {"a bell": f"Bearer {ADA}\x07", "DEL": f"Bearer {ADA}\x7f"}.items():
        yield Row(f"Authorization: {name}", page, [("Authorization", value)], MALFORMED, instead=BUT_H11)
    yield Row("Authorization: NUL", page, [("Authorization", f"Bearer {ADA}\0")], MALFORMED, instead=ALL_OF_THEM)
    by_servers: dict[str, tuple[tuple[str, str], Want, dict[str, Want]]] = {
        "a folded line": (("Authorization", f"Bearer\r\n {ADA}"), AUTHORIZATION, FOLDED),
        "a blank after its name": (("Authorization ", f"Bearer {ADA}"), MISSING, ALL_OF_THEM),
        "in another header, after a line feed": (("X", f"y\nAuthorization: Bearer {ADA}"), MISSING, ANOTHER_LINE),
        "in another header, after a carriage return": (("X", f"y\rAuthorization: Bearer {ADA}"), MISSING, ALL_OF_THEM),
    }
    for name, (header, want, instead) in by_servers.items():
        yield Row(f"Authorization: {name}", page, [header], want, instead=instead)
    for scheme in ("Basic YTpi", "Token x", "DPoP x", "Negotiate", "Bearer1 x", 'Digest username="a", realm="b"', ADA):
        yield Row(f"another scheme: {scheme[:8]}", page, [("Authorization", scheme)], SCHEME)
    yield Row("another scheme: with a valid cookie", page, [basic, ("Cookie", session(ADA))], SCHEME)
    yield Row("another scheme: optional sign-in", "/clerk/open", [basic], SCHEME)
    yield Row("Authorization twice: equal", page, [*bearer(ADA), *bearer(ADA)], AUTHORIZATION)
    yield Row("Authorization twice: two people", page, [*bearer(ADA), *bearer(BOB)], AUTHORIZATION)
    yield Row("Authorization twice: the second Basic", page, [*bearer(ADA), basic], AUTHORIZATION)
    yield Row("Authorization twice: the first Basic", page, [basic, *bearer(ADA)], SCHEME)
    yield Row("Authorization twice: the second empty", page, [*bearer(ADA), ("Authorization", "")], AUTHORIZATION)
    yield Row("Authorization twice: the first empty", page, [("Authorization", ""), *bearer(ADA)], AUTHORIZATION)
    yield Row("Authorization three times", page, bearer(ADA) * 3, AUTHORIZATION)
    two_spellings = [("authorization", f"Bearer {ADA}"), ("AUTHORIZATION", f"Bearer {ADA}")]
    yield Row("Authorization twice: in two spellings", page, two_spellings, AUTHORIZATION)
    yield Row("a token that is too large", page, bearer("x" * 8193), TOO_LARGE, instead=TOO_LONG)
    yield Row("a token as large as can be", page, bearer("x" * 8192), MALFORMED, instead=TOO_LONG)


def _cookies() -> Iterator[Row]:
    page = "/clerk/signed-in"
    good = {
        "alone": f"__session={ADA}",
        "with its time": session(ADA),
        "with a time of 0": f"__session={ADA}; __client_uat=0",
        "without blanks": f"a=b;__session={ADA};c=d",
        "with blanks": f" a=b;   __session={ADA}  ;  c=d ",
        "behind an empty one": f"__session=; __session={ADA}",
        "after a JSON cookie": f'theme={{"dark":[1,2]}}; __session={ADA}',
        "behind quotes that do not end": f'a="b; __session={ADA}',
        "behind bytes that are no text": f"a=\xff\xfe; __session={ADA}",
        "behind a broken pair": f"path; =; secure; bad[name]=1; __session={ADA}",
        "among fifty": "; ".join(f"c{number}=v" for number in range(50)) + f"; __session={ADA}",
        "beside lookalikes": f"__Session={BOB}; __session_={BOB}; __session-{SUFFIX}={BOB}; __session={ADA}",
        "beside Clerk's others": f"__clerk_db_jwt=x; __refresh_{SUFFIX}=y; __client=z; __session={ADA}",
        "beside another instance's": f"__session_{OTHER_SUFFIX}={FOREIGN}; __session={ADA}",
        "suffixed": suffixed(ADA),
    }
    for name, value in good.items():
        yield Row(f"cookie: {name}", page, cookie(value), IS_ADA)
    yield Row("cookie: optional sign-in", "/clerk/open", cookie(session(ADA)), IS_ADA)
    none = {
        "nothing": "",
        "others": "a=b; sessionid=1",
        "empty, as after sign-out": "__session=; __client_uat=0",
        "the name alone": "__session",
        "a time alone": "__client_uat=1",
        "another instance's, suffixed": f"__session_{OTHER_SUFFIX}={FOREIGN}; __client_uat_{OTHER_SUFFIX}=1",
        "another instance's, plain": session(FOREIGN),
        "suffixed without its time": f"__session_{SUFFIX}={ADA}",
        "a prefix": f"__Host-__session={ADA}",
        "upper case": f"__SESSION={ADA}",
    }
    for name, value in none.items():
        yield Row(f"cookie ignored: {name}", page, cookie(value), MISSING)
    yield Row("cookie ignored: optional sign-in", "/clerk/open", cookie(session(FOREIGN)), ANONYMOUS)
    bad = {
        "a blank inside": f"__session={ADA} x",
        "a comma behind": f"__session={ADA},",
        "a latin letter": f"__session={ADA}\xe9",
        "twice": f"__session={ADA}; __session={ADA}",
        "twice, two people": f"__session={ADA}; a=b; __session={BOB}",
        "twice, suffixed": f"{suffixed(ADA)}; __session_{SUFFIX}={BOB}",
        "after a comma": f"a=b, __session={ADA}",
        "the suffixed after a comma": f"__session={ADA}; a=b,__session_{SUFFIX}={BOB}",
    }
    for name, value in bad.items():
        yield Row(f"cookie refused: {name}", page, cookie(value), COOKIE)
    yield Row("cookie refused: optional sign-in", "/clerk/open", cookie("__session=a b"), COOKIE)
    yield Row(
        "cookie refused: too many characters", page, cookie("a=b; " * 3300 + session(ADA)), COOKIE, instead=TOO_LONG
    )
    yield Row("cookie refused: NUL", page, cookie(f"a=\0; __session={ADA}"), COOKIE, instead=ALL_OF_THEM)
    for name, value in {"undefined": "undefined", "quoted": f'"{ADA}"', "percent-encoded": "a%2Eb%2Ec"}.items():
        yield Row(f"cookie, no token: {name}", page, cookie(session(value)), MALFORMED)
    yield Row("cookies off: a cookie", "/no-cookies/signed-in", cookie(session(ADA)), MISSING)
    yield Row("cookies off: optional sign-in", "/no-cookies/open", cookie(session(ADA)), ANONYMOUS)
    yield Row("cookies off: one that would be refused", "/no-cookies/signed-in", cookie("__session=a b"), MISSING)
    yield Row("cookies off: Bearer", "/no-cookies/signed-in", bearer(ADA, ("Cookie", session(BOB))), IS_ADA)


def _two_cookies() -> Iterator[Row]:
    page = "/clerk/signed-in"
    chosen: dict[str, tuple[str, Want]] = {
        "the plain newer": (f"{session(NEWER)}; {suffixed(ADA)}", IS_BOB),
        "the plain of the same time": (f"{session(BOB)}; {suffixed(ADA)}", IS_ADA),
        "the plain newer, its time 0": (f"__session={NEWER}; __client_uat=0; {suffixed(ADA)}", IS_ADA),
        "the plain another instance's": (f"{session(FOREIGN)}; {suffixed(ADA)}", IS_ADA),
        "the plain garbage": (f"{session('x')}; {suffixed(ADA)}", MALFORMED),
        "the suffixed garbage": (f"{session(BOB)}; {suffixed('x')}", IS_BOB),
        "the suffixed time 0": (f"{session(BOB)}; __session_{SUFFIX}={ADA}; __client_uat_{SUFFIX}=0", IS_BOB),
        "the suffixed expired": (f"{suffixed(OLD)}; __client_uat=0", EXPIRED),
        "the other way round": (f"{suffixed(ADA)}; {session(NEWER)}", IS_BOB),
    }
    for name, (value, want) in chosen.items():
        yield Row(f"plain and suffixed: {name}", page, cookie(value), want)
    yield Row("Cookie twice: ours in the first", page, cookie(session(ADA), ("Cookie", "a=b")), IS_ADA)
    yield Row("Cookie twice: ours in the second", page, cookie("a=b", ("Cookie", session(ADA))), COOKIE)
    yield Row("Cookie twice: in both", page, cookie(session(ADA), ("Cookie", session(BOB))), COOKIE)
    yield Row("Cookie twice: in neither", page, cookie("a=b", ("Cookie", "c=d")), MISSING)
