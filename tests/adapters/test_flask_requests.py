"""Each request has its one answer in Flask: status, headers and body are those of the table of answers."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from clerkmap import ClerkmapError, ClerkMembership, Verifier
from clerkmap.clerk.jwks import RemoteKeys
from clerkmap.errors import (
    AuthorizationRefused,
    BadSignature,
    CookieRefused,
    ImpersonationRefused,
    KeysUnavailable,
    MembershipDeleted,
    OrganizationMissing,
    OriginRefused,
    PermissionMissing,
    ReverificationNeeded,
    RoleMissing,
    SchemeRefused,
    SessionPending,
    TemplateToken,
    TokenExpired,
    TokenMalformed,
    TokenMissing,
    TokenTooLarge,
    UnknownKey,
    UserBanned,
)
from clerkmap.testing import FakeClerk
from flask_world import AWAY, HOST, FlaskWorld, Headers, ask, told, want
from key_server import KeyServer, failure

OWN, EVIL = f"https://{HOST}", "https://evil.example"
PREFLIGHT = {"Origin": EVIL, "Access-Control-Request-Method": "POST"}
Make = Callable[[FlaskWorld], Headers]


def cookie(world: FlaskWorld, **headers: str) -> dict[str, str]:
    return {"Cookie": f"__session={world.fake.token(world.ada)}; theme=dark", **headers}


def banned(world: FlaskWorld) -> Headers:
    headers = world.bearer()
    assert ask(world, "/me", headers).status_code == 200
    world.repository.put([world.fake.record(world.ada, banned=True)])
    return headers


def removed(world: FlaskWorld) -> Headers:
    headers = world.bearer(organization=world.acme)
    assert ask(world, "/me", headers).status_code == 200
    instance, now = world.fake.instance.name, int(world.fake.clock() * 1000)
    gone = ClerkMembership.deleted(
        instance, "orgmem_1", clerk_user_id=world.ada.id, clerk_organization_id=world.acme.id, observed_at=now
    )
    world.repository.put([gone])
    return headers


def expired(world: FlaskWorld) -> Headers:
    return world.bearer(expires_in=-600)


def twice(world: FlaskWorld) -> Headers:
    return [*world.bearer().items(), *world.bearer().items()]


def forged(world: FlaskWorld) -> Headers:
    token = world.fake.token(world.ada)
    return world.bearer(token[:-20] + ("A" if token[-20] != "A" else "B") + token[-19:])


# What is wrong with a request, wherever it is sent that asks for a principal.
REFUSED: dict[str, tuple[Make, ClerkmapError]] = {
    "no token": (lambda world: {}, TokenMissing()),
    "another's cookies": (lambda world: {"Cookie": "theme=dark; __session_other=1"}, TokenMissing()),
    "a word": (lambda world: world.bearer("undefined"), TokenMalformed()),
    "a long word": (lambda world: world.bearer("a" * 9000), TokenTooLarge()),
    "a forged signature": (forged, BadSignature()),
    "another instance": (lambda world: world.bearer(FakeClerk(3).token(world.ada)), UnknownKey()),
    "expired": (expired, TokenExpired()),
    "pending": (lambda world: world.bearer(pending=True), SessionPending()),
    "a template": (lambda world: world.bearer(world.fake.template_token(world.ada)), TemplateToken()),
    "Basic": (lambda world: {"Authorization": "Basic YTpi"}, SchemeRefused()),
    "Bearer alone": (lambda world: {"Authorization": "Bearer"}, AuthorizationRefused()),
    "Bearer alone, and a good cookie": (lambda world: cookie(world, Authorization="Bearer"), AuthorizationRefused()),
    "two headers": (twice, AuthorizationRefused()),
    "two cookies": (
        lambda world: {"Cookie": f"__session={'a' * 9}; __session={world.fake.token(world.ada)}"},
        CookieRefused(),
    ),
    "two Cookie headers": (lambda world: [*cookie(world).items(), *cookie(world).items()], CookieRefused()),
    "banned": (banned, UserBanned()),
}


@pytest.mark.parametrize("path", ["/me", "/ame", "/by-hand", "/bfresh/page", "/fresh", "/achosen"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_answered_by_the_table(name: str, path: str) -> None:
    """The same from a decorator, an asynchronous one, a blueprint, and code that merely asks who is calling."""
    world = FlaskWorld()
    make, error = REFUSED[name]
    headers = make(world)
    world.reached = 0
    assert told(ask(world, path, headers)) == want(error)
    assert world.reached == 0


@pytest.mark.parametrize("name", REFUSED)
def test_an_open_page_refuses_a_bad_token_and_lets_nobody_be_nobody(name: str) -> None:
    """Who brings no token is nobody; a token that is refused never makes somebody nobody."""
    world = FlaskWorld()
    make, error = REFUSED[name]
    response = ask(world, "/open", make(world))
    if isinstance(error, TokenMissing):
        assert response.json == {"id": None}
    else:
        assert told(response) == want(error)


# Who is let in, and may not do everything: the page, the token, what is answered (None is 200).
REQUIRED: list[tuple[str, dict[str, Any], ClerkmapError | None]] = [
    ("admin", {}, OrganizationMissing()),
    ("admin", {"organization": True}, None),
    ("admin", {"organization": True, "role": "org:member"}, RoleMissing()),
    ("organization", {}, OrganizationMissing()),
    ("organization", {"organization": True}, None),
    ("chosen", {}, OrganizationMissing()),
    ("chosen", {"organization": True}, None),
    ("strict", {"factor_ages": (0, 0)}, None),
    ("strict", {"factor_ages": (30, 30)}, ReverificationNeeded("strict")),
    ("fresh", {}, None),
    ("oneself", {}, None),
    ("oneself", {"actor": "user_support"}, ImpersonationRefused()),
    ("invoices", {"organization": True}, PermissionMissing()),
    ("invoices", {"organization": True, "permissions": ["org:invoices:create"]}, None),
]


@pytest.mark.parametrize("manner", ["/{}", "/a{}", "/b{}/page"])
@pytest.mark.parametrize(("page", "options", "error"), REQUIRED)
def test_requirements(manner: str, page: str, options: dict[str, Any], error: ClerkmapError | None) -> None:
    """Decorated views of both colours, and guarded blueprints, require the same and refuse it the same way."""
    world = FlaskWorld()
    token = world.fake.token(
        world.ada, **(options | ({"organization": world.acme} if "organization" in options else {}))
    )
    response = ask(world, manner.format(page), world.bearer(token))
    if error is None:
        assert response.json == {"id": world.id_of(token), "agreed": True}
    else:
        assert told(response) == want(error)
    assert world.reached == (error is None)


@pytest.mark.parametrize("path", ["/chosen", "/achosen", "/bchosen/page"])
@pytest.mark.parametrize("make", [lambda world: world.bearer(), removed], ids=["none", "removed"])
def test_a_browser_is_sent_to_the_page_for_organizations(path: str, make: Make) -> None:
    """Where a page was named, who wants HTML is sent there; who wants anything else is told why not."""
    world = FlaskWorld()
    error = OrganizationMissing() if make is not removed else MembershipDeleted()
    headers = dict(make(world))
    html = {**headers, "Accept": "text/html,*/*;q=0.8"}
    assert told(ask(world, path, html)) == want(error, f"/choose?redirect_url={quote(path, safe='')}")
    assert told(ask(world, path, html, "POST")) == want(error)
    assert told(ask(world, path, headers)) == want(error)
    assert told(ask(world, "/organization", html)) == want(error)
    assert told(ask(world, path, {"Accept": "text/html"})) == want(TokenMissing())


@pytest.mark.parametrize(
    ("method", "more", "error"),
    [
        ("GET", {}, None),
        ("GET", {"Origin": EVIL}, None),
        ("POST", {"Origin": OWN}, None),
        ("POST", {"Origin": OWN, "Sec-Fetch-Site": "same-origin"}, None),
        ("POST", {"Origin": OWN, "Sec-Fetch-Site": "same-site"}, OriginRefused()),
        ("POST", {}, OriginRefused()),
        ("POST", {"Origin": EVIL}, OriginRefused()),
        ("DELETE", {"Origin": "null"}, OriginRefused()),
        ("GET", {"Upgrade": "websocket"}, OriginRefused()),
    ],
)
def test_cookies(method: str, more: dict[str, str], error: ClerkmapError | None) -> None:
    """A cookie reads for anybody, and does more only for a page that may."""
    world = FlaskWorld()
    response = ask(world, "/me", cookie(world, **more), method)
    assert told(response) == want(error) if error is not None else response.status_code == 200


def test_cookies_can_be_turned_off_and_origins_be_named() -> None:
    """The two options reach the finder."""
    world = FlaskWorld(cookies=False)
    assert told(ask(world, "/me", cookie(world))) == want(TokenMissing())
    world = FlaskWorld(origins=iter([EVIL]))
    assert ask(world, "/me", cookie(world, Origin=EVIL), "POST").status_code == 200
    assert told(ask(world, "/me", cookie(world, Origin=OWN), "POST")) == want(OriginRefused())


@pytest.mark.parametrize("path", ["/me", "/ame", "/bchosen/page"])
@pytest.mark.parametrize("headers", [{}, PREFLIGHT], ids=["plain", "preflight"])
def test_options_is_refused_like_any_method(path: str, headers: dict[str, str]) -> None:
    """Where it is a guard that is asked, it asks for a token. Views get none of it."""
    world = FlaskWorld()
    assert told(ask(world, path, headers, "OPTIONS")) == want(TokenMissing())
    assert ask(world, path, world.bearer() | headers, "OPTIONS").status_code == (401 if "chosen" in path else 200)
    assert world.reached == (0 if "chosen" in path else 1)


def test_flask_itself_answers_options_of_a_view_that_does_not_take_it() -> None:
    """With the methods of the view, and without calling it or its guard: a browser gets its preflight answered."""
    world = FlaskWorld()
    world.app.add_url_rule("/automatic", "automatic", world.clerk.signed_in(world.page), methods=["GET"])
    response = ask(world, "/automatic", PREFLIGHT, "OPTIONS")
    assert (response.status_code, response.data, world.reached) == (200, b"", 0)
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize("path", ["/me", "/ame", "/open", "/bchosen/page", "/by-hand"])
def test_keys_away(path: str) -> None:
    """Nobody is signed out by an outage: 503, and when to ask again. Who brings no token is none the wiser."""
    fake = FakeClerk(61)
    server = KeyServer(fake)
    server.trouble = failure(httpx.ConnectError)
    instance = fake.make_instance(jwks=None)
    world = FlaskWorld(verifier=Verifier(instance, keys=RemoteKeys(instance, transport=server)))
    response = ask(world, path, world.bearer())
    assert told(response) == want(KeysUnavailable())
    assert response.headers["Retry-After"]
    assert ask(world, path, {}).status_code == (200 if path == "/open" else 401)
    assert world.reached == 0


@pytest.mark.parametrize("path", ["/me", "/ame", "/open", "/bfresh/page", "/by-hand", "/fresh"])
def test_database_away(path: str) -> None:
    """At first sight, and where the membership must be fresh: 503, and the page is not reached."""
    world = FlaskWorld()
    world.repository.away = AWAY
    assert told(ask(world, path, world.bearer())) == want(AWAY)
    world.repository.away = None
    headers = world.bearer()
    assert ask(world, "/open", headers).status_code == 200
    world.repository.away = AWAY
    assert ask(world, "/me", headers).status_code == 200, "who is known is let in from memory"
    for fresh in ("/fresh", "/afresh", "/bfresh/page"):
        assert told(ask(world, fresh, headers)) == want(AWAY)
    assert world.reached == 1
