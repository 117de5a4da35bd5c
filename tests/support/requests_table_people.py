"""The part of the table that is about people: whether a token is theirs, and whether they may come in."""

from collections.abc import Iterator

from requests_answers import (
    ALGORITHM,
    AUDIENCE,
    BANNED,
    CLAIM_INVALID,
    CLAIM_MISSING,
    CLIENT,
    DELETED,
    EXPIRED,
    FUTURE,
    HANDSHAKE,
    HEADER,
    ID_TOKEN,
    ISSUER,
    KIND,
    MACHINE,
    MALFORMED,
    NOT_YET,
    ORGANIZATION_DELETED,
    OVER,
    PENDING,
    REMOVED,
    SIGNATURE,
    TEMPLATE,
    UNKNOWN_KEY,
    UNKNOWN_KIND,
    VERSION,
    Hello,
    Sent,
    Want,
    Who,
)
from requests_row import ADA, BOB, FOREIGN, HTML, IS_ADA, OLD, Row, bearer, cookie, session
from requests_world import ACME, APP, CLERK, FRESH, GONE, NOW, PEOPLE, token

AT_ACME = Who("ada", "acme", "org:admin")
MEMBER = Who("bob", "acme", "org:member")


def people() -> Iterator[Row]:
    """The rows of this file."""
    yield from _hostile()
    yield from _times()
    yield from _other_kinds()
    yield from _good()
    yield from _locked_out()


def _hostile() -> Iterator[Row]:
    header, payload, signature = ADA.split(".")
    tokens: dict[str, tuple[str, Want]] = {
        "one word": ("garbage", MALFORMED),
        "undefined": ("undefined", MALFORMED),
        "three parts of garbage": ("a.b.c", MALFORMED),
        "two parts": (f"{header}.{payload}", MALFORMED),
        "four parts": (f"{ADA}.x", MALFORMED),
        "padding": (f"{ADA}=", MALFORMED),
        "another spelling": (f"{header}.{payload}.{signature[:-1]}/", MALFORMED),
        "no signature": (f"{header}.{payload}.", MALFORMED),
        "another user's signature": (f"{header}.{payload}.{BOB.split('.')[2]}", SIGNATURE),
        "another user's claims": (f"{header}.{BOB.split('.')[1]}.{signature}", SIGNATURE),
        "alg none": (token("ada", header={"alg": "none"}), ALGORITHM),
        "alg HS256": (token("ada", header={"alg": "HS256"}), ALGORITHM),
        "a key of its own": (token("ada", header={"jwk": {"kty": "RSA"}}), HEADER),
        "a URL for its key": (token("ada", header={"jku": "https://evil.example/keys"}), HEADER),
        "crit": (token("ada", header={"crit": ["exp"]}), HEADER),
        "an unknown key": (token("ada", header={"kid": "ins_unknown"}), UNKNOWN_KEY),
        "another instance's": (FOREIGN, UNKNOWN_KEY),
        "another issuer": (token("ada", claims={"iss": "https://evil.example"}), ISSUER),
        "an audience": (token("ada", claims={"aud": "https://api.example.com"}), AUDIENCE),
        "no subject": (token("ada", claims={"sub": None}), CLAIM_MISSING),
        "a subject that is no user": (token("ada", claims={"sub": "ada"}), CLAIM_INVALID),
        "an organization that is none": (token("ada", claims={"o": {"id": "acme"}}), CLAIM_INVALID),
        "an actor that is none": (token("ada", claims={"act": "bob"}), CLAIM_INVALID),
        "version 3": (token("ada", claims={"v": 3}), VERSION),
    }
    for name, (sent, want) in tokens.items():
        yield Row(f"hostile: {name}", "/clerk/signed-in", bearer(sent), want)
    for name in ("garbage", "alg none", "another instance's", "no signature"):
        sent, want = tokens.get(name, tokens["one word"])
        yield Row(f"hostile, optional sign-in: {name}", "/clerk/open", bearer(sent), want)
        yield Row(f"hostile, on a public page: {name}", "/clerk/blind", bearer(sent), Hello())
    yield Row(
        "hostile, in a cookie: no signature", "/clerk/signed-in", cookie(f"__session={header}.{payload}."), MALFORMED
    )


def _times() -> Iterator[Row]:
    page = "/clerk/signed-in"
    yield Row("time: expired", page, bearer(OLD), EXPIRED)
    yield Row("time: expired, in a cookie", page, cookie(session(OLD)), EXPIRED)
    yield Row("time: expired, optional sign-in", "/clerk/open", bearer(OLD), EXPIRED)
    yield Row("time: expired, where more is required", "/clerk/everything", bearer(OLD), EXPIRED)
    yield Row("time: expired three seconds ago", page, bearer(token("ada", expires_in=-1)), IS_ADA)
    yield Row("time: not yet valid", page, bearer(token("ada", claims={"nbf": NOW + 30})), NOT_YET)
    yield Row("time: from the future", page, bearer(token("ada", claims={"iat": NOW + 30})), FUTURE)
    yield Row("time: it expires before it was made", page, bearer(token("ada", claims={"exp": NOW - 1})), CLAIM_INVALID)


def _other_kinds() -> Iterator[Row]:
    page, ada = "/clerk/signed-in", PEOPLE["ada"]
    client = CLERK.oauth_token(ada)
    yield Row("kind: a template token", page, bearer(CLERK.template_token(ada)), TEMPLATE)
    yield Row("kind: a machine token", page, bearer(CLERK.machine_token()), MACHINE)
    yield Row("kind: an OAuth token", page, bearer(client), CLIENT)
    yield Row("kind: an ID token", page, bearer(CLERK.id_token(ada)), ID_TOKEN)
    yield Row("kind: a handshake", page, bearer(CLERK.handshake_token()), HANDSHAKE)
    yield Row("kind: unknown", page, bearer(token("ada", header={"cat": "cl_x"})), UNKNOWN_KIND)
    yield Row("kind: a template token in a cookie", page, cookie(session(CLERK.template_token(ada))), TEMPLATE)
    yield Row("kind: an OAuth token, optional sign-in", "/clerk/open", bearer(client), CLIENT)
    yield Row("OAuth accepted: in the header", "/clients/signed-in", bearer(client), IS_ADA)
    yield Row("OAuth accepted: in a cookie", "/clients/signed-in", cookie(session(client)), KIND)
    yield Row("OAuth accepted: in a cookie, optional sign-in", "/clients/open", cookie(session(client)), KIND)
    own = ("Origin", APP)
    yield Row("OAuth accepted: in a cookie, POST", "/clients/signed-in", cookie(session(client), own), KIND, "POST")
    yield Row("OAuth accepted: a session in a cookie", "/clients/signed-in", cookie(session(ADA)), IS_ADA)
    pending = token("ada", pending=True)
    yield Row("pending", page, bearer(pending), PENDING)
    yield Row("pending: in a cookie", page, cookie(session(pending)), PENDING)
    yield Row("pending: optional sign-in", "/clerk/open", bearer(pending), PENDING)
    yield Row("pending: on a public page", "/clerk/blind", bearer(pending), Hello())
    yield Row("pending: where it may be", "/pending/signed-in", bearer(pending), IS_ADA)


def _good() -> Iterator[Row]:
    page = "/clerk/signed-in"
    yield Row("good: a new user", page, bearer(token("nova")), Who("nova"))
    fresh = token("nova", FRESH, role="org:admin")
    yield Row("good: with an organization never seen", page, bearer(fresh), Who("nova", "fresh", "org:admin"))
    yield Row("good: in an organization", page, bearer(token("ada", ACME, role="org:admin")), AT_ACME)
    yield Row("good: the repository knows the role better", page, bearer(token("ada", ACME)), AT_ACME)
    yield Row("good: of version 1", page, bearer(token("bob", ACME, version=1)), MEMBER)
    yield Row("good: with a line of its own", page, bearer(token("ada", claims={"theme": "dark"})), IS_ADA)


def _locked_out() -> Iterator[Row]:
    page = "/clerk/signed-in"
    rows = {
        "deleted at Clerk": (token("dan"), DELETED),
        "deleted by us": (token("erin"), DELETED),
        "banned": (token("eve"), BANNED),
        "banned, in an organization": (token("eve", ACME), BANNED),
        "session over": (token("sid", session="sess_over"), OVER),
        "session over, in an organization": (token("sid", ACME, session="sess_over"), OVER),
        "organization deleted": (token("olga", GONE, role="org:admin"), ORGANIZATION_DELETED),
        "membership removed": (token("rex", ACME, role="org:admin"), REMOVED),
    }
    for name, (sent, want) in rows.items():
        yield Row(f"locked out: {name}", page, bearer(sent), want)
        yield Row(f"locked out, in a cookie: {name}", page, cookie(session(sent)), want)
        yield Row(f"locked out, optional sign-in: {name}", "/clerk/open", bearer(sent), want)
        yield Row(f"locked out, of everything: {name}", "/clerk/everything", bearer(sent), want)
    yield Row("locked out: another session of the user", page, bearer(token("sid")), Who("sid"))
    yield Row("locked out: removed member, no organization active", page, bearer(token("rex")), Who("rex"))
    yield Row("locked out: deleted organization, none active", page, bearer(token("olga")), Who("olga"))
    yield Row("locked out: a public page", "/clerk/blind", bearer(token("eve")), Hello())
    removed = bearer(rows["membership removed"][0])
    yield Row(
        "locked out: a browser is redirected",
        "/clerk/page",
        [*removed, *HTML],
        Sent("/choose?next=%2F&redirect_url=%2Fpage"),
    )
    yield Row("locked out: a program gets the error", "/clerk/page", removed, REMOVED)
    yield Row("locked out: a banned user is not redirected", "/clerk/page", [*bearer(token("eve")), *HTML], BANNED)
