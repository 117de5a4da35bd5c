"""The table of requests: how a token can come, how it cannot, and the one answer to each."""

from collections.abc import Iterator

from clerkmap.core.jose import MAX_TOKEN
from hostile_cookies import cookie_cases
from request_base import (
    ADMIN,
    APP,
    AUTHORIZATION,
    COOKIE,
    EVIL,
    FOREIGN,
    GOOD,
    HEADER,
    OLD,
    ORIGIN,
    SCHEME,
    SUFFIX,
    TOO_LARGE,
    Case,
    Headers,
    Want,
    authorization,
    cookies,
    session,
    token,
)


def cases() -> Iterator[Case]:
    """All of them."""
    yield from _bearer()
    yield from _other_schemes()
    yield from cookie_cases()
    yield from _origins()
    yield from _kinds_of_finders()


def _bearer() -> Iterator[Case]:
    good = {
        "as it should be": f"Bearer {GOOD}",
        "lower case": f"bearer {GOOD}",
        "upper case": f"BEARER {GOOD}",
        "mixed case": f"bEaReR {GOOD}",
        "two blanks": f"Bearer  {GOOD}",
        "many blanks": f"Bearer{' ' * 50}{GOOD}",
        "blanks around": f"  Bearer {GOOD}  ",
        "tabs around": f"\tBearer {GOOD}\t",
    }
    for name, value in good.items():
        yield Case(f"bearer: {name}", authorization(value), (HEADER, GOOD))
        yield Case(f"bearer wins over a cookie: {name}", authorization(value, cookie=session(OLD)), (HEADER, GOOD))
    words = (
        "x",
        "undefined",
        "null",
        "a.b.c",
        "A" * MAX_TOKEN,
        "ak_abc/+=",
        "a=b",
        "%41",
        '"a"',
        "a;b",
        "a.b",
        "Bearer",
    )
    for word in words:  # what is no token is the verifier's to refuse: it came as a token should
        yield Case(f"bearer: one word, {word[:12]!r}", authorization(f"Bearer {word}"), (HEADER, word))
    for name in ("authorization", "AUTHORIZATION", "aUTHORIZATION"):
        yield Case(f"bearer: {name}", [(name, f"Bearer {GOOD}")], (HEADER, GOOD))
    for method in ("POST", "PUT", "PATCH", "DELETE", "post", "QUERY", "WEBSOCKET"):
        yield Case(f"bearer: {method} from anywhere", authorization(f"Bearer {GOOD}"), (HEADER, GOOD), method)
        headers = [*authorization(f"Bearer {GOOD}"), ("Origin", EVIL), ("Sec-Fetch-Site", "cross-site")]
        yield Case(f"bearer: {method} from another page", headers, (HEADER, GOOD), method)
    bad = {
        "nothing": "",
        "a blank": " ",
        "a tab": "\t",
        "the scheme alone": "Bearer",
        "the scheme and a blank": "Bearer ",
        "the scheme and blanks": "Bearer      ",
        "the scheme and a tab": "Bearer\t",
        "a tab between": f"Bearer\t{GOOD}",
        "a tab after a blank": f"Bearer \t{GOOD}",
        "a tab before a blank": f"Bearer\t {GOOD}",
        "two words": f"Bearer {GOOD} {GOOD}",
        "twice the scheme": f"Bearer Bearer {GOOD}",
        "a word behind": f"Bearer {GOOD} x",
        "a tab and a word behind": f"Bearer {GOOD}\tx",
        "a comma behind": f"Bearer {GOOD},",
        "a comma before": f"Bearer ,{GOOD}",
        "a comma alone": "Bearer ,",
        "two in a list": f"Bearer {GOOD}, Bearer {OLD}",
        "two in a tight list": f"Bearer {GOOD},Bearer {OLD}",
        "two tokens in a list": f"Bearer {GOOD},{OLD}",
        "a parameter": f'Bearer realm="x", token="{GOOD}"',
        "a list of schemes": f"Bearer {GOOD}, Basic YTpi",
        "a comma before the scheme": f", Bearer {GOOD}",
        "a comma for all": ",",
        "quotes around all": f'"Bearer {GOOD}"',
        "brackets": f"[Bearer {GOOD}]",
        "a header in the header": f"Auth: Bearer {GOOD}",
        "a colon": f"Bearer: {GOOD}",
        "an equals sign": f"Bearer={GOOD}",
        "a slash": f"Bearer/1.0 {GOOD}",
        "an underlined blank": f"Bearer\xa0{GOOD}",
        "a latin letter": f"Bearer {GOOD}\xe9",
        "a latin letter alone": "Bearer \xe9",
        "a latin scheme": f"B\xe9arer {GOOD}",
        "UTF-8": "Bearer caf\xc3\xa9",
        "UTF-8 that is none": "Bearer \xff\xfe",
        "a soft hyphen": f"Bearer\xad {GOOD}",
        "NEL": f"Bearer {GOOD}\x85",
        "a mark of byte order": f"\xef\xbb\xbfBearer {GOOD}",
        "NUL for a blank": f"Bearer\0{GOOD}",
        "a line break for a blank": f"Bearer\n{GOOD}",
        "a folded line": f"Bearer\r\n {GOOD}",
        "vertical tab": f"Bearer\x0b{GOOD}",
        "DEL": f"Bearer\x7f{GOOD}",
        "only NUL": "\0",
    }
    for name, value in bad.items():
        yield Case(f"bearer: {name}", authorization(value), AUTHORIZATION)
        yield Case(f"no cookie makes up for it: {name}", authorization(value, cookie=session(GOOD)), AUTHORIZATION)
    twice = {
        "the same": (f"Bearer {GOOD}", f"Bearer {GOOD}"),
        "others": (f"Bearer {GOOD}", f"Bearer {OLD}"),
        "the second empty": (f"Bearer {GOOD}", ""),
        "the first empty": ("", f"Bearer {GOOD}"),
        "both empty": ("", ""),
        "the second Basic": (f"Bearer {GOOD}", "Basic YTpi"),
        "three": (f"Bearer {GOOD}",) * 3,
        "the second a token": (f"Bearer {GOOD}", GOOD),
        "the second a blank": (f"Bearer {GOOD}", " "),
        "a hundred": (f"Bearer {'x' * 8}",) * 100,
    }
    for name, values in twice.items():
        yield Case(f"Authorization twice: {name}", authorization(*values), AUTHORIZATION)
        yield Case(f"twice, and a cookie: {name}", authorization(*values, cookie=session(GOOD)), AUTHORIZATION)
    two_names = [("authorization", f"Bearer {GOOD}"), ("AUTHORIZATION", f"Bearer {GOOD}")]
    yield Case("Authorization in two spellings", two_names, AUTHORIZATION)
    for name, value in {
        "one character too many": "Bearer " + "x" * (MAX_TOKEN + 1),
        "a megabyte": "Bearer " + "x" * 1_000_000,
        "a megabyte of blanks": f"Bearer {' ' * 1_000_000}{GOOD}",
        "a megabyte of lists": "Bearer " + "x," * 500_000,
        "a lower megabyte": "bearer " + "x" * 1_000_000,
    }.items():
        yield Case(f"bearer: {name}", authorization(value), TOO_LARGE)
        yield Case(f"bearer and a cookie: {name}", authorization(value, cookie=session(GOOD)), TOO_LARGE)
    for name in (
        "Authorization ",
        " Authorization",
        "Authorisation",
        "X-Authorization",
        "Proxy-Authorization",
        "Bearer",
    ):
        yield Case(f"not the header: {name!r}", [(name, f"Bearer {GOOD}")], None)
        yield Case(f"not the header, but a cookie: {name!r}", [(name, "x"), *cookies(session(GOOD))], ("cookie", GOOD))


def _other_schemes() -> Iterator[Case]:
    schemes = ("Basic", "basic", "Digest", "Token", "JWT", "DPoP", "Negotiate", "NTLM", "AWS4-HMAC-SHA256", "ApiKey")
    for scheme in (*schemes, "Bearer1", "Bear", "XBearer", "Bearer-Token", "BearerX", "b", "!", "Bearer.", "~"):
        yield Case(f"scheme: {scheme}", authorization(f"{scheme} YTpi"), SCHEME)
        yield Case(f"scheme alone: {scheme}", authorization(scheme), SCHEME)
        yield Case(f"scheme, and a cookie: {scheme}", authorization(f"{scheme} YTpi", cookie=session(GOOD)), SCHEME)
    yield Case("a bare token", authorization(GOOD), SCHEME)
    yield Case("a bare token and a cookie", authorization(GOOD, cookie=session(GOOD)), SCHEME)
    yield Case("undefined", authorization("undefined"), SCHEME)
    yield Case("Basic, then Bearer", authorization("Basic YTpi", f"Bearer {GOOD}"), SCHEME)
    yield Case("Basic and Bearer in a list", authorization(f"Basic YTpi, Bearer {GOOD}"), SCHEME)
    yield Case("Digest with its commas", authorization('Digest username="a", realm="b", nonce="c"'), SCHEME)
    yield Case("Basic of a megabyte", authorization("Basic " + "x" * 1_000_000), SCHEME)
    yield Case("Basic with a tab", authorization("Basic\tYTpi"), AUTHORIZATION)
    yield Case("Basic of latin letters", authorization("Basic \xe9"), SCHEME)


def _origins() -> Iterator[Case]:
    found: Want = ("cookie", GOOD)

    def sent(*more: tuple[str, str], host: str | None = "app.example.com") -> Headers:
        return [*([("Host", host)] if host is not None else []), *more, ("Cookie", session(GOOD))]

    def origin(value: str) -> tuple[str, str]:
        return "Origin", value

    for method in ("GET", "HEAD", "OPTIONS", "TRACE"):
        for name, each in {
            "none": [],
            "its own": [origin(APP)],
            "another": [origin(EVIL)],
            "null": [origin("null")],
        }.items():
            yield Case(f"{method} reads: Origin {name}", sent(*each), found, method)
    for method in ("POST", "PUT", "PATCH", "DELETE", "CONNECT", "QUERY", "get", "Get", "PROPFIND", "", "WEBSOCKET"):
        yield Case(f"{method!r}: no Origin", sent(), ORIGIN, method)
        yield Case(f"{method!r}: its own Origin", sent(origin(APP)), found, method)
        yield Case(f"{method!r}: another Origin", sent(origin(EVIL)), ORIGIN, method)
        yield Case(f"{method!r}: listed", sent(origin(APP)), found, method, "parties")
        yield Case(f"{method!r}: not listed", sent(origin(EVIL)), ORIGIN, method, "parties")
    own = {
        "a port": ("http://localhost:3000", "localhost:3000"),
        "the usual port, said by the host": ("https://app.example.com", "app.example.com:443"),
        "the other usual port": ("http://app.example.com", "app.example.com:80"),
        "a host in upper case": (APP, "APP.Example.COM"),
        "an address": ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        "an address of version 6": ("http://[::1]:8000", "[::1]:8000"),
        "without TLS": ("http://app.example.com", "app.example.com"),
    }
    for name, (page, host) in own.items():
        yield Case(f"own Origin: {name}", sent(origin(page), host=host), found, "POST")
        headers = sent(origin(page), ("Sec-Fetch-Site", "same-origin"), host=host)
        yield Case(f"own Origin, as the browser says: {name}", headers, found, "POST")
        for site in ("cross-site", "same-site", "none", "", "SAME-ORIGIN", "same-origin,cross-site", "x"):
            headers = sent(origin(page), ("Sec-Fetch-Site", site), host=host)
            yield Case(f"own Origin, but {site!r}: {name}", headers, ORIGIN, "POST")
    other = {
        "nothing": ("", "app.example.com"),
        "null": ("null", "app.example.com"),
        "null and null": ("null", "null"),
        "a host that ends alike": ("https://evilapp.example.com", "app.example.com"),
        "a host that begins alike": ("https://app.example.com.evil.example", "app.example.com"),
        "a sibling": ("https://other.example.com", "app.example.com"),
        "the parent": ("https://example.com", "app.example.com"),
        "another port": ("https://app.example.com:8443", "app.example.com"),
        "the port left out": ("https://app.example.com", "app.example.com:8443"),
        "the port of the other scheme": ("https://app.example.com", "app.example.com:80"),
        "another scheme": ("ftp://app.example.com", "app.example.com"),
        "an extension": ("chrome-extension://app.example.com", "app.example.com"),
        "a file": ("file://", "app.example.com"),
        "a file without a host": ("file://", ""),
        "no scheme": ("app.example.com", "app.example.com"),
        "two slashes": ("//app.example.com", "app.example.com"),
        "a path": ("https://app.example.com/", "app.example.com"),
        "a path on both": ("https://app.example.com/x", "app.example.com/x"),
        "upper case": ("https://APP.example.com", "app.example.com"),
        "an upper scheme": ("HTTPS://app.example.com", "app.example.com"),
        "somebody in front": ("https://a@app.example.com", "a@app.example.com"),
        "a blank": (f" {APP}", "app.example.com"),
        "two in a list": (f"{APP} {EVIL}", "app.example.com"),
        "two with a comma": (f"{APP}, {EVIL}", "app.example.com"),
        "a latin letter": ("https://\xe9.example", "\xe9.example"),
        "a point behind": ("https://app.example.com.", "app.example.com"),
        "a host with a blank": (APP, "app.example.com "),
        "no host": ("https://", ""),
        "a port alone": ("https://:443", ":443"),
    }
    for name, (page, host) in other.items():
        yield Case(f"other Origin: {name}", sent(origin(page), host=host), ORIGIN, "POST")
        headers = sent(origin(page), ("Sec-Fetch-Site", "same-origin"), host=host)
        yield Case(f"other Origin, said to be the same: {name}", headers, ORIGIN, "POST")
    yield Case("own Origin without a Host", sent(origin(APP), host=None), ORIGIN, "POST")
    yield Case("Origin twice", sent(origin(APP), origin(APP)), ORIGIN, "POST")
    yield Case("Origin twice, the second another", sent(origin(APP), origin(EVIL)), ORIGIN, "POST")
    yield Case("Host twice", sent(origin(APP), ("Host", "app.example.com")), ORIGIN, "POST")
    yield Case("Host twice, one the Origin's", sent(origin(EVIL), ("Host", "evil.example")), ORIGIN, "POST")
    sites = (("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site"))
    yield Case("Sec-Fetch-Site twice", sent(origin(APP), *sites), ORIGIN, "POST")
    yield Case("Sec-Fetch-Site without an Origin", sent(("Sec-Fetch-Site", "same-origin")), ORIGIN, "POST")
    yield Case("a Referer is no Origin", sent(("Referer", f"{APP}/x")), ORIGIN, "POST")
    yield Case("a forwarded host is no Host", sent(origin(EVIL), ("X-Forwarded-Host", "evil.example")), ORIGIN, "POST")
    for value in ("websocket", "WebSocket", "h2c, websocket", "websocket/13"):
        upgrade = ("Upgrade", value)
        yield Case(f"Upgrade: {value}, no Origin", sent(upgrade), ORIGIN)
        yield Case(f"Upgrade: {value}, its own Origin", sent(upgrade, origin(APP)), found)
        yield Case(f"Upgrade: {value}, another Origin", sent(upgrade, origin(EVIL)), ORIGIN)
        bearer = [*authorization(f"Bearer {GOOD}"), upgrade, origin(EVIL)]
        yield Case(f"Upgrade: {value}, Bearer", bearer, (HEADER, GOOD))
    yield Case("Upgrade: h2c", sent(("Upgrade", "h2c")), found)
    yield Case("another's cookie to be posted", cookies(f"__session={FOREIGN}"), None, "POST")
    yield Case("what cannot be read, to be posted", cookies("__session=a b"), COOKIE, "POST")


def _kinds_of_finders() -> Iterator[Case]:
    def posted(origin: str, *, site: str = "same-origin", host: str = "app.example.com") -> Headers:
        return [("Host", host), ("Origin", origin), ("Sec-Fetch-Site", site), ("Cookie", session(GOOD))]

    found: Want = ("cookie", GOOD)
    yield Case(
        "parties: from another site", posted(APP, site="cross-site", host="api.example.org"), found, "POST", "parties"
    )
    yield Case("parties: with a port", posted("http://localhost:3000", host="localhost:8000"), found, "POST", "parties")
    yield Case(
        "parties: another port", posted("http://localhost:8000", host="localhost:8000"), ORIGIN, "POST", "parties"
    )
    yield Case("parties: own, not listed", posted(ADMIN, host="admin.example.com"), ORIGIN, "POST", "parties")
    yield Case("parties: null", posted("null"), ORIGIN, "POST", "parties")
    yield Case("parties: two", posted(f"{APP},{APP}"), ORIGIN, "POST", "parties")
    yield Case("parties: a slash", posted(f"{APP}/"), ORIGIN, "POST", "parties")
    yield Case("parties: upper case", posted(APP.upper()), ORIGIN, "POST", "parties")
    yield Case("origins: listed", posted(ADMIN), found, "POST", "origins")
    yield Case("origins: an extension", posted("chrome-extension://abcdef"), found, "POST", "origins")
    yield Case("origins: instead of the parties", posted(APP), ORIGIN, "POST", "origins")
    both = cookies(f"__session={GOOD}; __session_{SUFFIX}={OLD}; __client_uat_{SUFFIX}=1")
    for finder in ("no cookies", "oidc"):
        yield Case(f"{finder}: a cookie", cookies(session(GOOD)), None, finder=finder)
        yield Case(f"{finder}: one that cannot be read", cookies("__session=a b"), None, finder=finder)
        yield Case(f"{finder}: both cookies", both, None, finder=finder)
        yield Case(f"{finder}: to be posted", posted(EVIL), None, "POST", finder)
        yield Case(f"{finder}: Bearer", authorization(f"Bearer {GOOD}"), (HEADER, GOOD), finder=finder)
        yield Case(f"{finder}: Basic", authorization("Basic YTpi", cookie=session(GOOD)), SCHEME, finder=finder)
    yield Case("no suffix: the plain cookie", cookies(session(GOOD)), found, finder="no suffix")
    yield Case("no suffix: both", both, found, finder="no suffix")
    yield Case("no suffix: the suffixed", cookies(f"__session_{SUFFIX}={GOOD}"), None, finder="no suffix")
    yield Case("no suffix: another's", cookies(session(FOREIGN)), None, finder="no suffix")
    yield Case("no suffix: garbage", cookies(session("garbage")), ("cookie", "garbage"), finder="no suffix")
    yield Case("no suffix: behind a comma", cookies(f"a=b,__session={GOOD}"), COOKIE, finder="no suffix")
    yield Case("no suffix: another's behind a comma", cookies(f"a=b,__session_{SUFFIX}=x"), None, finder="no suffix")
    proxied = token(iss="https://app.example.com/__clerk")
    yield Case("proxy: another issuer of ours", cookies(session(proxied)), ("cookie", proxied), finder="proxy")
    yield Case("proxy: not ours without it", cookies(session(proxied)), None)
