"""The part of the table of requests that is about cookies: how they are written, and which of them counts."""

from collections.abc import Iterator

from clerkmap.core.http import MAX_REQUEST_HEADER
from request_base import (
    CLERK,
    COOKIE,
    EXPIRED,
    FOREIGN,
    GOOD,
    HEADER,
    NEW,
    NO_ISSUER,
    NOW,
    OLD,
    OTHER_SUFFIX,
    SUFFIX,
    USER,
    Case,
    Want,
    authorization,
    cookies,
    session,
    token,
)


def cookie_cases() -> Iterator[Case]:
    """All of them."""
    yield from _cookie_headers()
    yield from _other_cookies()
    yield from _suffixes()


def _cookie_headers() -> Iterator[Case]:
    found = ("cookie", GOOD)
    good = {
        "alone": f"__session={GOOD}",
        "with its time": session(GOOD),
        "with a time that is none": session(GOOD, "x"),
        "with an empty time": session(GOOD, ""),
        "whose time is 0": session(GOOD, "0"),
        "the time twice": f"__client_uat=1; __session={GOOD}; __client_uat=0",
        "first of three": f"__session={GOOD}; a=b; c=d",
        "last of three": f"a=b; c=d; __session={GOOD}",
        "without blanks": f"a=b;__session={GOOD};c=d",
        "with many blanks": f"  a=b;   __session={GOOD}   ;  c=d  ",
        "with tabs": f"a=b;\t__session={GOOD}\t;\tc=d",
        "with a semicolon behind": f"__session={GOOD};",
        "with many semicolons": f";;; ; __session={GOOD};; ;",
        "behind an empty one": f"__session=; __session={GOOD}",
        "before an empty one": f"__session={GOOD}; __session=",
        "before one without a value": f"__session={GOOD}; __session",
        "behind a nameless one": f"=__session; __session={GOOD}",
        "as large as can be": f"__session={GOOD}; pad=".ljust(MAX_REQUEST_HEADER, "x"),
        "among a thousand": "; ".join(f"c{number}=v" for number in range(1000)) + f"; __session={GOOD}",
    }
    for name, value in good.items():
        yield Case(f"cookie: {name}", cookies(value), found)
    yield Case("cookie: lower case", [("cookie", session(GOOD))], found)
    yield Case("cookie: upper case", [("COOKIE", session(GOOD))], found)
    words = ("x", "a.b.c", "A" * 9000, '"a"', f'"{GOOD}"', "%41", GOOD.replace(".", "%2E"), "a=b", "=", "a\x7f", "\x01")
    for word in words:  # the verifier's to refuse, as with Bearer
        yield Case(f"cookie: one word, {word[:12]!r} of {len(word)}", cookies(session(word)), ("cookie", word))
    none = {
        "no cookie": "",
        "a blank": " ",
        "a semicolon": ";",
        "the name alone": "__session",
        "the name with nothing": "__session=",
        "the name with blanks": "__session=  ",
        "both with nothing": f"__session=; __session_{SUFFIX}=",
        "nothing and a time": "__session=; __client_uat=1",
        "a time alone": "__client_uat=1",
        "nameless": f"={GOOD}",
        "nameless, called a session": f"=__session={GOOD}",
        "a token for a name": f"{GOOD}=__session",
    }
    for name, value in none.items():
        yield Case(f"cookie: {name}", cookies(value), None)
        yield Case(f"cookie, to be posted: {name}", cookies(value), None, "POST")
    for name in (
        *("__Session", "__SESSION", "_session", "session", "__sessions", "__sessionevil", "__session_", "___session"),
        *("__session_evil", f"__session_{OTHER_SUFFIX}", f"__session{SUFFIX}", f"__session-{SUFFIX}", "__session "),
        *(f"__session_{SUFFIX}x", f"__session_{SUFFIX}_", f"__session__{SUFFIX}", "__Host-__session", "%5f_session"),
        *("__Secure-__session", "__session[0]", "__session.0", "__session\xa0", "\xa0__session", '"__session"'),
        *("$__session", "__session\t", "__refresh", f"__refresh_{SUFFIX}", "__clerk_db_jwt", "__clerk_handshake"),
        *("__client", "sessionid", "token"),
    ):
        yield Case(f"a lookalike: {name!r}", cookies(f"{name}={GOOD}"), None)
        yield Case(f"beside a lookalike: {name!r}", cookies(f"{name}={OLD}; __session={GOOD}"), found)
    bad = {
        "a comma": f"__session={GOOD},",
        "a comma before": f"__session=,{GOOD}",
        "a blank inside": f"__session={GOOD} x",
        "a blank before": f"__session= {GOOD}",
        "a tab inside": f"__session={GOOD}\tx",
        "a latin letter": f"__session={GOOD}\xe9",
        "UTF-8": "__session=caf\xc3\xa9",
        "bytes that are no text": "__session=\xff\xfe",
        "twice the same": f"__session={GOOD}; __session={GOOD}",
        "twice": f"__session={GOOD}; __session={OLD}",
        "twice, the first garbage": f"__session=x; __session={GOOD}",
        "twice, the second garbage": f"__session={GOOD}; __session=x",
        "twice, far apart": f"__session={GOOD}; {'a=b; ' * 100}__session={OLD}",
        "three times": "; ".join([f"__session={GOOD}"] * 3),
        "twice, of another instance": f"__session={FOREIGN}; __session={GOOD}",
        "NUL somewhere": f"a=\0; __session={GOOD}",
        "NUL inside": f"__session={GOOD}\0",
        "a line break somewhere": f"a=b\n; __session={GOOD}",
        "a folded line": f"a=b;\r\n __session={GOOD}",
        "a return somewhere": f"a=b\r; __session={GOOD}",
        "behind a comma": f"a=b,__session={GOOD}",
        "behind a comma and a blank": f"a=b, __session={GOOD}",
        "behind a comma and blanks": f"a=b, \t __session={GOOD}",
        "once good, once behind a comma": f"__session={GOOD}; a=b,__session={OLD}",
        "the suffixed behind a comma": f"__session={GOOD}; a=b,__session_{SUFFIX}={OLD}",
        "one character too many": f"__session={GOOD}; pad=".ljust(MAX_REQUEST_HEADER + 1, "x"),
        "a megabyte": f"__session={'x' * 1_000_000}",
        "a megabyte of others": "a=b; " * 200_000 + f"__session={GOOD}",
        "a megabyte of semicolons": ";" * 1_000_000,
        "a megabyte of commas": ", " * 500_000,
    }
    for name, value in bad.items():
        yield Case(f"cookie: {name}", cookies(value), COOKIE)
        yield Case(f"cookie, but Bearer: {name}", [*authorization(f"Bearer {OLD}"), ("Cookie", value)], (HEADER, OLD))
    two: dict[str, tuple[tuple[str, ...], Want]] = {
        "ours in the first": ((session(GOOD), "a=b"), ("cookie", GOOD)),
        "ours alone in the first": ((f"__session={GOOD}", "a=b"), COOKIE),
        "ours in the second": (("a=b", session(GOOD)), COOKIE),
        "in both": ((session(GOOD), session(GOOD)), COOKIE),
        "in neither": (("a=b", "c=d"), None),
        "an empty one first": (("", session(GOOD)), COOKIE),
        "an empty one behind": ((session(GOOD), ""), ("cookie", GOOD)),
    }
    for name, (values, want) in two.items():
        yield Case(f"two Cookie headers: {name}", cookies(*values), want)


def _other_cookies() -> Iterator[Case]:
    """What other programs leave on the domain, which makes Python's own reader lose everything."""
    for other in (
        *('a={"x":1}', "bad[name]=1", "foo=bar baz", "path=/x", "domain=a", "expires=never", "secure", "httponly", "a"),
        *("$Version=1", "a=b=c", "a==", "=", "==", "a=,", "a=b,c=d", 'a="b', 'a="b\\"c"', "a=\xe9", "\xff=\xff"),
        *("a=%3B", "a=%3B%20__session%3Dx", "a=\x7f", "a=\\", "a(b)=c", "a@b=c", "a/b=c", "{}", "a='b'", "a=<b>"),
        *("a:b=c", "a=\x0b", "a=b,_session=c", "a=b,__sessionx=c", "__session_evil=a.b.c", "a=b,__client_uat=0"),
        *('a="__session=x', "a=__session", "a=__session=x", "a" * 4000 + "=" + "b" * 4000, "__client_uat_evil=0"),
        "__clerk_redirect_count=1",
    ):
        yield Case(f"behind {other[:25]!r}", cookies(f"{other}; {session(GOOD)}"), ("cookie", GOOD))
        yield Case(f"before {other[:25]!r}", cookies(f"{session(GOOD)}; {other}"), ("cookie", GOOD))
        yield Case(f"only {other[:25]!r}", cookies(other), None)


def _suffixes() -> Iterator[Case]:
    """Clerk's rule for the plain and the suffixed cookie: S and U without, s and u with the suffix."""
    names = {"S": "__session", "U": "__client_uat", "s": f"__session_{SUFFIX}", "u": f"__client_uat_{SUFFIX}"}
    numeric, listed, slash = token(iss=7), token(iss=["x"]), token(iss=CLERK.issuer + "/")
    falsy = [token(iss=value) for value in ("", 0, False)]
    good, old, new = ("cookie", GOOD), ("cookie", OLD), ("cookie", NEW)
    rows: list[tuple[str, dict[str, str], Want]] = [
        ("plain with its time", {"S": GOOD, "U": "1"}, good),
        ("suffixed with its time", {"s": GOOD, "u": "1"}, good),
        ("suffixed alone", {"s": GOOD}, None),
        ("suffixed with the plain time", {"s": GOOD, "U": "1"}, None),
        ("suffixed with the plain time 0", {"s": GOOD, "U": "0"}, None),
        (
            "all, of one time",
            {"S": OLD, "U": "1", "s": token(NOW - 10, x=1), "u": "1"},
            ("cookie", token(NOW - 10, x=1)),
        ),
        ("all, the plain newer", {"S": NEW, "U": "1", "s": OLD, "u": "1"}, new),
        ("all, the plain older", {"S": OLD, "U": "1", "s": NEW, "u": "1"}, new),
        ("the plain newer, no times", {"S": NEW, "s": OLD}, new),
        ("the plain older, no times", {"S": OLD, "s": NEW}, old),
        ("the plain newer, its time 0", {"S": NEW, "U": "0", "s": OLD, "u": "1"}, old),
        ("the plain foreign", {"S": FOREIGN, "U": "1", "s": GOOD, "u": "1"}, good),
        ("the plain foreign, no time", {"S": FOREIGN, "U": "1", "s": GOOD}, good),
        ("the plain foreign, alone", {"S": FOREIGN}, None),
        ("the plain foreign with a time", {"S": FOREIGN, "U": "1"}, None),
        ("the plain foreign, only a suffixed time", {"S": FOREIGN, "u": "1"}, None),
        ("the plain without an issuer", {"S": NO_ISSUER, "U": "1", "s": GOOD, "u": "1"}, ("cookie", NO_ISSUER)),
        ("the plain garbage", {"S": "garbage", "U": "1", "s": GOOD, "u": "1"}, ("cookie", "garbage")),
        ("the plain in three parts of garbage", {"S": "a.b.c", "s": GOOD, "u": "1"}, ("cookie", "a.b.c")),
        ("the plain not one word", {"S": "a b", "U": "1", "s": GOOD, "u": "1"}, COOKIE),
        ("the plain of a numeric issuer", {"S": numeric, "U": "1", "s": GOOD, "u": "1"}, good),
        ("the plain of a list of issuers", {"S": listed, "U": "1", "s": GOOD, "u": "1"}, good),
        ("the plain of an issuer with a slash", {"S": slash, "U": "1", "s": GOOD, "u": "1"}, good),
        ("the suffixed time 0", {"S": GOOD, "U": "1", "s": NEW, "u": "0"}, good),
        ("the suffixed time 0, no plain time", {"S": GOOD, "s": NEW, "u": "0"}, good),
        ("the suffixed time 0, no plain cookie", {"s": GOOD, "u": "0"}, None),
        ("the plain time 0, no plain cookie", {"U": "0", "s": GOOD, "u": "1"}, good),
        ("the plain time 0, the suffixed expired", {"U": "0", "s": EXPIRED, "u": "1"}, ("cookie", EXPIRED)),
        ("the same with a plain cookie", {"S": OLD, "U": "0", "s": EXPIRED, "u": "1"}, ("cookie", EXPIRED)),
        ("both times 0", {"S": GOOD, "U": "0", "s": OLD, "u": "0"}, old),
        ("only a suffixed time", {"S": GOOD, "U": "1", "u": "1"}, good),
        ("only a suffixed time, the plain one 0", {"S": GOOD, "U": "0", "u": "1"}, None),
        ("the suffixed garbage", {"S": GOOD, "U": "1", "s": "garbage", "u": "1"}, good),
        ("the suffixed garbage, the plain time 0", {"S": GOOD, "U": "0", "s": "x", "u": "1"}, ("cookie", "x")),
        ("only the suffixed, garbage", {"s": "garbage", "u": "1"}, ("cookie", "garbage")),
        ("only the suffixed, not one word", {"s": "a b", "u": "1"}, COOKIE),
        ("a made-at that is none", {"S": CLERK.token(USER, claims={"iat": "x"}), "U": "1", "s": GOOD, "u": "1"}, good),
        *(
            (f"issuer {place} of none", {"S": each, "s": GOOD, "u": "1"}, ("cookie", each))
            for place, each in enumerate(falsy)
        ),
    ]
    for name, given, want in rows:
        pieces = [f"{names[letter]}={value}" for letter, value in given.items()]
        yield Case(f"suffix: {name}", cookies("; ".join(pieces)), want)
        yield Case(f"suffix: {name}, backwards", cookies("; ".join(reversed(pieces))), want)
        more = [f"__session_{OTHER_SUFFIX}={FOREIGN}", f"__client_uat_{OTHER_SUFFIX}=9", *pieces]
        yield Case(f"suffix: {name}, with neighbours", cookies("; ".join(more)), want)
    twice = f"__client_uat_{SUFFIX}=1; __session_{SUFFIX}={GOOD}; __session_{SUFFIX}={GOOD}"
    yield Case("suffix: twice", cookies(twice), COOKIE)
    yield Case("suffix: the suffixed time twice", cookies(f"{names['u']}=1; {names['s']}={GOOD}; {names['u']}=0"), good)
