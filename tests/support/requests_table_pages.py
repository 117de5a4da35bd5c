"""The part of the table that is about pages: which of them may act for a person, and what may be asked without a token.

And what is away: keys, database, and the application's own hooks.
"""

from collections.abc import Iterator

from requests_answers import (
    ALGORITHM,
    ANONYMOUS,
    AUTHORIZATION,
    BROKEN,
    CLIENT,
    DATABASE_DOWN,
    EXPIRED,
    HEADER,
    KEYS_DOWN,
    MALFORMED,
    MISSING,
    NO_ORGANIZATION,
    ORIGIN,
    PARTY,
    TEMPLATE,
    Hello,
    Sent,
    Want,
    Who,
)
from requests_row import (
    ADA,
    BOB,
    FOREIGN,
    GUNICORN,
    H11,
    HTML,
    HYPERCORN,
    IS_ADA,
    OLD,
    REFUSED,
    Headers,
    Row,
    bearer,
    cookie,
    session,
)
from requests_world import ACME, ADMIN, APP, CLERK, EVIL, PEOPLE, token


def pages() -> Iterator[Row]:
    """The rows of this file."""
    yield from _origins()
    yield from _listed()
    yield from _methods()
    yield from _sent_elsewhere()
    yield from _keys_down()
    yield from _database_down()


def posted(*more: tuple[str, str]) -> Headers:
    """Ada's cookie, and what else is sent with it."""
    return cookie(session(ADA), *more)


def _origins() -> Iterator[Row]:
    page, own, evil = "/clerk/signed-in", ("Origin", APP), ("Origin", EVIL)
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        yield Row(f"{method}: a cookie and no Origin", page, posted(), ORIGIN, method)
        yield Row(f"{method}: a cookie, its own Origin", page, posted(own), IS_ADA, method)
        yield Row(f"{method}: a cookie, another Origin", page, posted(evil), ORIGIN, method)
        yield Row(f"{method}: Bearer, another Origin", page, bearer(ADA, evil), IS_ADA, method)
        yield Row(f"{method}: no token", page, [own], MISSING, method)
    for value in ("null", "", f"{APP}/", APP.upper(), f"{APP}:8443", f"{APP}.evil.example", f"{APP}, {APP}"):
        yield Row(f"POST: Origin {value!r}", page, posted(("Origin", value)), ORIGIN, "POST")
    yield Row("POST: Origin twice", page, posted(own, own), ORIGIN, "POST")
    yield Row("POST: a Referer is no Origin", page, posted(("Referer", f"{APP}/x")), ORIGIN, "POST")
    sites: dict[str, Want] = {"same-origin": IS_ADA, "same-site": ORIGIN, "cross-site": ORIGIN, "none": ORIGIN}
    for site, want in sites.items():
        yield Row(f"POST: its own Origin, {site}", page, posted(own, ("Sec-Fetch-Site", site)), want, "POST")
    twice = [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")]
    yield Row("POST: Sec-Fetch-Site twice", page, posted(own, *twice), ORIGIN, "POST")
    yield Row("POST: an underscore is no hyphen", page, posted(own, ("Sec_Fetch_Site", "cross-site")), IS_ADA, "POST")
    local = [("Host", "localhost:3000"), ("Origin", "http://localhost:3000")]
    yield Row("POST: a port", page, posted(*local), IS_ADA, "POST")
    yield Row("POST: the Host in upper case", page, posted(("Host", "APP.Example.Com"), own), IS_ADA, "POST")
    yield Row(
        "POST: a forwarded host is none", page, posted(evil, ("X-Forwarded-Host", "evil.example")), ORIGIN, "POST"
    )
    two = posted(own, ("Host", "app.example.com"), ("Host", "evil.example"))
    refusing = dict.fromkeys((H11, HYPERCORN, GUNICORN), REFUSED)
    yield Row("POST: Host twice", page, two, ORIGIN, "POST", refusing)
    yield Row("POST: optional sign-in", "/clerk/open", posted(evil), ORIGIN, "POST")
    yield Row("POST: a public page", "/clerk/blind", posted(evil), Hello(), "POST")
    yield Row("POST: another instance's cookie", page, cookie(session(FOREIGN), evil), MISSING, "POST")
    for upgrade in ("websocket", "WebSocket"):
        sent = posted(("Upgrade", upgrade))
        yield Row(f"Upgrade: {upgrade}, a cookie and no Origin", page, sent, ORIGIN)
        yield Row(f"Upgrade: {upgrade}, its own Origin", page, [*sent, own], IS_ADA)


def _listed() -> Iterator[Row]:
    own, evil = ("Origin", APP), ("Origin", EVIL)
    listed = session(token("ada", party=APP))
    yield Row("parties: listed", "/parties/signed-in", cookie(listed, own), IS_ADA, "POST")
    yield Row("parties: not listed", "/parties/signed-in", cookie(listed, evil), ORIGIN, "POST")
    elsewhere = cookie(listed, own, ("Host", "api.example.org"), ("Sec-Fetch-Site", "cross-site"))
    yield Row("parties: listed, to another host", "/parties/signed-in", elsewhere, IS_ADA, "POST")
    yield Row("parties: a token of no party", "/parties/signed-in", bearer(token("ada", party=None)), PARTY)
    yield Row("parties: another party's token", "/parties/signed-in", bearer(token("ada", party=EVIL)), PARTY)
    yield Row("origins: listed", "/origins/signed-in", posted(("Origin", ADMIN)), IS_ADA, "POST")
    yield Row("origins: its own is not listed", "/origins/signed-in", posted(own), ORIGIN, "POST")
    yield Row("origins: to read, none is needed", "/origins/signed-in", posted(evil), IS_ADA)


def _methods() -> Iterator[Row]:
    for page in ("/clerk/signed-in", "/clerk/everything", "/keys-down/signed-in", "/database-down/fresh"):
        yield Row(f"OPTIONS: {page}", page, [], MISSING, "OPTIONS")
    yield Row("OPTIONS: signed in", "/clerk/signed-in", bearer(ADA), IS_ADA, "OPTIONS")
    yield Row("OPTIONS: another role", "/clerk/role", bearer(BOB), NO_ORGANIZATION, "OPTIONS")
    yield Row("OPTIONS: with a bad token", "/clerk/signed-in", bearer(OLD), EXPIRED, "OPTIONS")
    yield Row("HEAD: signed in", "/clerk/signed-in", bearer(ADA), IS_ADA, "HEAD")
    yield Row("HEAD: with a cookie", "/clerk/signed-in", posted(), IS_ADA, "HEAD")
    yield Row("HEAD: no token", "/clerk/signed-in", [], MISSING, "HEAD")
    yield Row("HEAD: a bad header", "/clerk/signed-in", [("Authorization", "Bearer")], AUTHORIZATION, "HEAD")
    yield Row("HEAD: keys down", "/keys-down/signed-in", bearer(ADA), KEYS_DOWN, "HEAD")


def _sent_elsewhere() -> Iterator[Row]:
    nobody = bearer(ADA)
    there = Sent("/choose?next=%2F&redirect_url=%2Fpage")
    yield Row("page: a browser without an organization", "/clerk/page", [*nobody, *HTML], there)
    yield Row("page: with a cookie", "/clerk/page", [*posted(), *HTML], there)
    yield Row("page: HEAD", "/clerk/page", [*nobody, *HTML], there, "HEAD")
    yield Row("page: upper case", "/clerk/page", [*nobody, ("Accept", "TEXT/HTML")], there)
    yield Row("page: a program", "/clerk/page", [*nobody, ("Accept", "application/json")], NO_ORGANIZATION)
    yield Row("page: no Accept header", "/clerk/page", nobody, NO_ORGANIZATION)
    yield Row("page: a POST form", "/clerk/page", [*nobody, *HTML], NO_ORGANIZATION, "POST")
    yield Row("page: not configured", "/clerk/organization", [*nobody, *HTML], NO_ORGANIZATION)
    yield Row("page: a role", "/clerk/role-page", [*nobody, *HTML], Sent("/choose?redirect_url=%2Frole-page"))
    acme = bearer(token("ada", ACME, role="org:admin"))
    yield Row("page: with an organization", "/clerk/page", [*acme, *HTML], Who("ada", "acme", "org:admin"))
    yield Row("page: no token", "/clerk/page", HTML, MISSING)
    yield Row("page: expired", "/clerk/page", [*bearer(OLD), *HTML], EXPIRED)
    yield Row("page: keys down", "/keys-down/page", [*nobody, *HTML], KEYS_DOWN)
    yield Row("page: database down", "/database-down/page", [*nobody, *HTML], DATABASE_DOWN)


def _keys_down() -> Iterator[Row]:
    page = "/keys-down/signed-in"
    yield Row("keys down: a good token", page, bearer(ADA), KEYS_DOWN)
    yield Row("keys down: in a cookie", page, posted(), KEYS_DOWN)
    yield Row("keys down: optional sign-in", "/keys-down/open", bearer(ADA), KEYS_DOWN)
    yield Row("keys down: a public page", "/keys-down/blind", bearer(ADA), Hello())
    yield Row("keys down: everything", "/keys-down/everything", bearer(ADA), KEYS_DOWN)
    yield Row("keys down: fresh membership", "/keys-down/fresh", bearer(ADA), KEYS_DOWN)
    yield Row("keys down: an expired token", page, bearer(OLD), KEYS_DOWN)
    yield Row("keys down: another instance's token", page, bearer(FOREIGN), KEYS_DOWN)
    yield Row("keys down: no token", page, [], MISSING)
    yield Row("keys down: no token, optional sign-in", "/keys-down/open", [], ANONYMOUS)
    yield Row("keys down: garbage", page, bearer("a.b.c"), MALFORMED)
    yield Row("keys down: another algorithm", page, bearer(token("ada", header={"alg": "HS256"})), ALGORITHM)
    yield Row("keys down: a key in the header", page, bearer(token("ada", header={"jku": "https://a.b"})), HEADER)
    yield Row("keys down: a template's token", page, bearer(CLERK.template_token(PEOPLE["ada"])), TEMPLATE)
    yield Row("keys down: a client's token", page, bearer(CLERK.oauth_token(PEOPLE["ada"])), CLIENT)
    yield Row("keys down: a bad header", page, [("Authorization", "Bearer")], AUTHORIZATION)
    yield Row("keys down: another Origin", page, posted(("Origin", EVIL)), ORIGIN, "POST")


def _database_down() -> Iterator[Row]:
    page = "/database-down/signed-in"
    yield Row("database down: a good token", page, bearer(ADA), DATABASE_DOWN)
    yield Row("database down: in a cookie", page, posted(), DATABASE_DOWN)
    yield Row("database down: a new user", page, bearer(token("nova")), DATABASE_DOWN)
    yield Row("database down: optional sign-in", "/database-down/open", bearer(ADA), DATABASE_DOWN)
    yield Row("database down: a public page", "/database-down/blind", bearer(ADA), Hello())
    yield Row("database down: a role", "/database-down/role", bearer(token("ada", ACME)), DATABASE_DOWN)
    yield Row("database down: no token", page, [], MISSING)
    yield Row("database down: no token, optional sign-in", "/database-down/open", [], ANONYMOUS)
    yield Row("database down: an expired token", page, bearer(OLD), EXPIRED)
    yield Row("database down: garbage", page, bearer("garbage"), MALFORMED)
    yield Row("database down: another Origin", page, posted(("Origin", EVIL)), ORIGIN, "POST")
    yield Row("database lost: a known caller", "/database-lost/signed-in", bearer(ADA), DATABASE_DOWN)
    yield Row("database lost, serve_stale: a known caller", "/served-stale/signed-in", bearer(ADA), IS_ADA)
    yield Row(
        "database lost, serve_stale: a new caller", "/served-stale/signed-in", bearer(token("nova")), DATABASE_DOWN
    )
    yield Row("database lost, serve_stale: fresh membership", "/served-stale/fresh", bearer(ADA), DATABASE_DOWN)
    yield Row("database lost: fresh membership", "/database-lost/fresh", bearer(ADA), DATABASE_DOWN)
    yield Row("database lost: another user", "/database-lost/everything", bearer(BOB), DATABASE_DOWN)
    yield Row("a hook fails: a new user", "/hook-fails/signed-in", bearer(token("nova")), BROKEN)
    yield Row("a hook fails: optional sign-in", "/hook-fails/open", bearer(token("nova")), BROKEN)
    yield Row("a hook fails: no token", "/hook-fails/signed-in", [], MISSING)
