"""Django: the same answers as everywhere, in sync and async views, classes and REST framework, and `request.user`."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from asgiref.sync import sync_to_async
from conftest import Listener
from django.conf import settings
from django.db import connections
from django.test import AsyncClient, Client, override_settings
from django.urls import include, path, reverse_lazy
from django.views.decorators.gzip import gzip_page

import django_site
from adapter_world import redirected
from clerkmap import Reconciler, RepositoryUnavailable, Requirement, Resolver, threaded
from clerkmap.adapters.django import awebhook, checks, require, webhook
from clerkmap.adapters.django.rest import requires
from clerkmap.auth.result import current_principal
from clerkmap.core.records import ClerkSession
from clerkmap.core.responses import error_response
from clerkmap.errors import (
    AuthorizationRefused,
    ClerkmapError,
    ConfigurationError,
    ImpersonationRefused,
    KeysUnavailable,
    OrganizationMissing,
    OriginRefused,
    PermissionMissing,
    ReverificationNeeded,
    RoleMissing,
    SchemeRefused,
    SessionEnded,
    TokenExpired,
    TokenMalformed,
    TokenMissing,
    UserBanned,
)
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk
from delivery_base import BODY, INSTANCE, NOW, USER, of_length, signed

clerk = FakeClerk(seed=5)


def token(*who: Any, **said: Any) -> str:
    """A token that lasts as long as the tests do, unless it is said to have expired."""
    return clerk.token(*who, **{"expires_in": 3600, **said})


ada, bob, eve = (clerk.create_user() for _ in range(3))
acme = clerk.create_organization("Acme", created_by=ada)
clerk.add_member(acme, bob)


class Away(MemoryRepository):
    """A database that is away."""

    def find(self, *args: Any) -> Any:
        raise RepositoryUnavailable

    def put(self, records: Any) -> Any:
        raise RepositoryUnavailable


def resolver() -> Resolver:
    """One that knows a person who may not come in."""
    repository = MemoryRepository()
    now = int(clerk.clock() * 1000)
    repository.put(
        [clerk.record(eve, banned=True), ClerkSession.deleted(clerk.instance.name, "sess_over", observed_at=now)]
    )
    return Resolver(clerk.instance, repository)


RESOLVERS: dict[str, Resolver] = {
    "good": resolver(),
    "no database": Resolver(clerk.instance, Away()),
    "no keys": Resolver(clerk.make_instance(jwks=None, jwks_url="http://localhost:9/jwks"), MemoryRepository()),
}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class Case(NamedTuple):
    """A request, what is required of it, and what it must come to; None for the view."""

    name: str
    headers: dict[str, str]
    want: ClerkmapError | None
    required: str = "signed-in"
    method: str = "GET"
    world: str = "good"
    page: str | None = None


admin, member, alone = token(ada, acme), token(bob, acme), token(ada)
cookie = {"Cookie": f"__session={alone}", "Host": "app.example.com"}
HTML = {"Accept": "text/html, */*;q=0.1"}
PREFLIGHT = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
CASES = [
    Case("good", bearer(alone), None),
    Case("a cookie", cookie, None),
    Case("an admin", bearer(admin), None, "admin"),
    Case("an admin, asked of the database", bearer(admin), None, "fresh"),
    Case("posted", bearer(alone), None, method="POST"),
    Case("missing", {}, TokenMissing()),
    Case("missing where a role is required", {}, TokenMissing(), "admin"),
    Case("another scheme", {"Authorization": "Basic YTpi"}, SchemeRefused()),
    Case("two words", {"Authorization": "Bearer a b"}, AuthorizationRefused()),
    Case("no token", bearer("undefined"), TokenMalformed()),
    Case("expired", bearer(token(ada, expires_in=-60)), TokenExpired()),
    Case("banned", bearer(token(eve)), UserBanned()),
    Case("a session that is over", bearer(token(ada, session="sess_over")), SessionEnded()),
    Case("a cookie from nowhere", cookie, OriginRefused(), method="POST"),
    Case("keys down", bearer(alone), KeysUnavailable(), world="no keys"),
    Case("database down", bearer(alone), RepositoryUnavailable(), world="no database"),
    Case("no organization", bearer(alone), OrganizationMissing(), "organization"),
    Case("no organization, in a browser", bearer(alone) | HTML, OrganizationMissing(), "organization", page="/choose"),
    Case("not an admin", bearer(member), RoleMissing(), "admin"),
    Case("not an admin, asked of the database", bearer(member), RoleMissing(), "fresh"),
    Case("not permitted", bearer(admin), PermissionMissing(), "permission"),
    Case("too long ago", bearer(token(ada, factor_ages=(60, -1))), ReverificationNeeded("strict"), "strict"),
    Case("impersonated", bearer(token(ada, actor="user_support")), ImpersonationRefused(), "real"),
    Case("asked before", {}, TokenMissing(), "admin", method="OPTIONS"),
    Case("asked before, as a preflight", PREFLIGHT, TokenMissing(), "admin", method="OPTIONS"),
    Case("asked before, with a bad token", bearer("undefined"), TokenMalformed(), method="OPTIONS"),
]


@pytest.fixture(autouse=True)
def no_connection_is_left() -> Iterator[None]:
    yield
    connections.close_all()


async def _asked(method: str, path: str, headers: dict[str, str], **more: Any) -> Any:
    client = AsyncClient(raise_request_exception=False)
    headers = dict(headers)
    client.cookies.load(headers.pop("Cookie", ""))  # it sends a header for its own in any case
    response = await client.generic(method, path, headers=headers, **more)
    if response.streaming:
        response.pieces = [piece async for piece in response]
    await sync_to_async(connections.close_all)()
    return response


def ask(colour: str, method: str, path: str, headers: dict[str, str], **more: Any) -> Any:
    """Ask the site, as a server of either colour would."""
    django_site.reached.clear()
    if colour == "async":
        return asyncio.run(_asked(method, path, headers, **more))
    return Client(raise_request_exception=False).generic(method, path, headers=headers, **more)


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("way", ["view", "aview", "class", "aclass", "exact", "rest"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_same_answer_everywhere(case: Case, way: str, colour: str) -> None:
    """Status, headers and body are the ones of the table, however the view is written and served; a request that is
    refused reaches none."""
    with override_settings(CLERKMAP={"RESOLVER": RESOLVERS[case.world]}):
        response = ask(colour, case.method, f"/{way}/{case.required}", case.headers)
    if case.want is None:
        assert response.status_code == 200
        assert django_site.reached
        return
    assert django_site.reached == []
    page = None if case.page is None or way == "rest" else f"{case.page}?redirect_url=%2F{way}%2F{case.required}"
    told = error_response(case.want) if page is None else redirected(page)
    assert response.status_code == told.status
    found = {name.lower(): value for name, value in response.headers.items()}
    if way == "rest":  # it has headers of its own, and writes JSON without blanks
        assert json.loads(response.content) == json.loads(told.body)
        assert found.get("www-authenticate") == dict(told.headers).get("www-authenticate")
        assert found.get("retry-after") == dict(told.headers).get("retry-after")
        return
    assert response.content == told.body
    assert {name: found.get(name) for name, _ in told.headers} == dict(told.headers)
    assert set(found) - {name for name, _ in told.headers} <= {"vary", "allow"}


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("way", ["view", "rest"])
def test_an_outage_is_logged_once(way: str, colour: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of twenty requests that are answered 503, the log has one line, with the cause; Django adds none."""
    with override_settings(CLERKMAP={"RESOLVER": Resolver(clerk.instance, Away())}):
        statuses = [ask(colour, "GET", f"/{way}/signed-in", bearer(alone)).status_code for _ in range(20)]
    assert statuses == [503] * 20
    warnings = [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert warnings == ["responded with 503, 1 times since the last line: the repository is not available"]


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("path", ["/hand", "/ahand"])
def test_a_view_that_asks_for_the_principal(path: str, colour: str) -> None:
    """It gets one, or what it raises is answered."""
    with override_settings(CLERKMAP={"RESOLVER": RESOLVERS["good"]}):
        good = ask(colour, "GET", path, bearer(alone)).json()
        refused = ask(colour, "GET", path, {})
    assert good["user"] == good["name"] == RESOLVERS["good"].resolve(alone).user.id
    assert (refused.status_code, refused.content) == (401, error_response(TokenMissing()).body)


def test_optional_is_not_forgiving() -> None:
    """Nobody is anonymous by accident: only who brings no token at all."""
    with override_settings(CLERKMAP={"RESOLVER": RESOLVERS["good"]}):
        assert ask("sync", "GET", "/optional", {}).json() == {"user": None}
        assert ask("sync", "GET", "/optional", bearer("undefined")).status_code == 401


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_what_is_streamed_knows_its_caller(colour: str) -> None:
    """The body is made after the view has returned, and no other request sees its caller."""
    with override_settings(CLERKMAP={"RESOLVER": RESOLVERS["good"]}):
        response = ask(colour, "GET", "/astream" if colour == "async" else "/stream", bearer(alone))
        body = b"".join(response.pieces if colour == "async" else response.streaming_content)
    assert body.decode() == RESOLVERS["good"].resolve(alone).user.id
    with pytest.raises(TokenMissing):
        current_principal()


def test_what_is_not_ours_is_djangos() -> None:
    """A fault of the program is a 500, and so is one of the settings: the view is not reached."""
    with override_settings(CLERKMAP={"RESOLVER": RESOLVERS["good"]}):
        assert ask("sync", "GET", "/broken", bearer(alone)).status_code == 500
    with override_settings(CLERKMAP={"RESOLVER": "nowhere.at.all"}):
        assert ask("sync", "GET", "/hand", bearer(alone)).status_code == 500
    with override_settings(MIDDLEWARE=[]), pytest.raises(ConfigurationError, match="AuthMiddleware"):
        Client().get("/view/signed-in")
    assert django_site.reached == []


def test_who_is_refused_has_written_nothing() -> None:
    """What a view raises undoes its transaction, and is answered all the same."""
    with override_settings(CLERKMAP={"RESOLVER": RESOLVERS["good"]}):
        assert ask("sync", "GET", "/half", {}).status_code == 401
    assert not django_site.User.objects.filter(username="half").exists()


def test_a_token_in_the_header_needs_no_other() -> None:
    """No browser sends it by itself, so Django's protection from forged requests lets it pass; nothing else."""
    with override_settings(CLERKMAP={"RESOLVER": RESOLVERS["good"]}):
        client = Client(enforce_csrf_checks=True)
        assert client.post("/hand", headers=bearer(alone)).status_code == 200
        assert client.post("/hand", headers=bearer("undefined")).status_code == 403
        assert client.post("/hand").status_code == 403


def test_require_takes_what_it_can_mean() -> None:
    """With or without parentheses; a mistake is told when the module is loaded."""

    @require
    def view(request: Any) -> str:
        """A view."""
        return "reached"

    assert view.__doc__ == "A view."
    for mistake in ({"rolle": "admin"}, {"role": ""}):
        with pytest.raises((TypeError, ConfigurationError)):
            require(**mistake)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError):
        require("admin")  # type: ignore[call-overload]
    for takes in (require, requires):
        with pytest.raises(ConfigurationError, match="or its arguments"):  # the second would go unheard
            takes(Requirement(), user_role="admin")


class TestUser:
    """`request.user`, where the settings ask for it."""

    @pytest.fixture(params=["sync", "async"])
    def who(self, request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
        asked = {"RESOLVER": RESOLVERS["good"], "USER_FIELD": "username"}
        path = "/user" if request.param == "sync" else "/auser"
        with override_settings(CLERKMAP=asked):
            yield lambda headers: ask(request.param, "GET", path, headers)
        django_site.User.objects.all().delete()

    def test_it_is_made_once(self, who: Callable[..., Any]) -> None:
        """By the id, with a password that fits nothing; an address or a name of somebody else's leads nowhere."""
        id = RESOLVERS["good"].resolve(alone).user.id
        first, second = who(bearer(alone)).json(), who(bearer(alone)).json()
        assert first == second
        assert (first["name"], first["signed_in"]) == (id, True)
        assert not django_site.User.objects.get(username=id).has_usable_password()

    def test_without_a_token_it_is_nobody(self, who: Callable[..., Any]) -> None:
        """And never None."""
        assert who({}).json() == {"id": None, "name": "", "signed_in": False}

    def test_a_bad_token_is_not_nobody(self, who: Callable[..., Any]) -> None:
        """It is refused, when the view asks."""
        assert who(bearer("undefined")).status_code == 401

    def test_who_is_inactive_is_nobody(self, who: Callable[..., Any]) -> None:
        """As with Django's own."""
        django_site.User.objects.create(username=RESOLVERS["good"].resolve(alone).user.id, is_active=False)
        assert who(bearer(alone)).json()["signed_in"] is False
        refused = ask(
            "sync", "GET", "/rest/signed-in", bearer(alone)
        )  # nor does the framework's own token authentication
        assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")


def test_a_session_of_djangos_goes_on() -> None:
    """Who brings no token is whoever Django's own session says: its admin site still works. A token counts more."""
    staff = django_site.User.objects.create(username="staff")
    client = Client()
    client.force_login(staff)
    with override_settings(CLERKMAP={"RESOLVER": RESOLVERS["good"], "USER_FIELD": "username"}):
        assert client.get("/user").json()["name"] == "staff"
        id = RESOLVERS["good"].resolve(alone).user.id
        assert client.get("/user", headers=bearer(alone)).json()["name"] == id
    django_site.User.objects.all().delete()


def test_a_function_of_yours_finds_the_user() -> None:
    """It is given the principal; None is nobody."""
    staff = django_site.User.objects.create(username="staff")
    found = {RESOLVERS["good"].resolve(alone).user.id: staff}
    asked = {"RESOLVER": RESOLVERS["good"], "USER_FUNCTION": lambda principal: found.get(principal.user.id)}
    with override_settings(CLERKMAP=asked):
        assert ask("sync", "GET", "/user", bearer(alone)).json()["name"] == "staff"
        assert ask("sync", "GET", "/user", bearer(member)).json()["signed_in"] is False
    staff.delete()


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("path", ["/webhook", "/awebhook"])
class TestWebhook:
    """Where Clerk delivers."""

    @pytest.fixture
    def deliver(self, path: str, colour: str) -> Iterator[Callable[..., Any]]:
        self.repository = MemoryRepository()
        reconciler = Reconciler(INSTANCE, self.repository, clock=lambda: float(NOW))
        with override_settings(CLERKMAP={"RESOLVER": RESOLVERS["good"], "RECONCILER": reconciler}):
            yield lambda method="POST", headers=None, body=BODY: ask(
                colour, method, path, signed(body) if headers is None else headers, data=body
            )

    def test_it_is_taken_in(self, deliver: Callable[..., Any]) -> None:
        """Once; the second time it is nothing new."""
        first, second = deliver(), deliver()
        assert (first.status_code, first.json()["outcome"]) == (200, "applied")
        assert (second.status_code, second.json()["outcome"]) == (200, "nothing_new")

    @pytest.mark.parametrize(
        ("method", "headers", "body", "status"),
        [
            ("GET", None, b"", 405),
            ("POST", {}, BODY, 400),
            ("POST", signed(), BODY + b" ", 400),
            ("POST", {**signed(), "Content-Encoding": "gzip"}, BODY, 400),
            ("POST", signed(), of_length(1_048_577), 413),
            ("POST", signed(), b"x" * 3_000_000, 413),  # more than Django reads of its own accord
        ],
    )
    def test_it_is_refused(
        self, deliver: Callable[..., Any], method: str, headers: Any, body: bytes, status: int, listener: Listener
    ) -> None:
        """As in every other framework, and logged once, whether it was read or not."""
        assert deliver(method, headers, body).status_code == status
        assert len(listener.lines) == (method == "POST")
        assert self.repository.find(INSTANCE.name, USER.id) is None

    def test_our_own_fault_comes_again(self, path: str, colour: str) -> None:
        """No database, or no reconciler: 5xx, after which Clerk delivers again."""
        away = Reconciler(INSTANCE, Away(), clock=lambda: float(NOW))
        worlds: list[tuple[dict[str, Any], int]] = [({"RECONCILER": away}, 503), ({}, 500)]
        for more, status in worlds:
            with override_settings(CLERKMAP={"RESOLVER": RESOLVERS["good"], **more}):
                assert ask(colour, "POST", path, signed(), data=BODY).status_code == status


FINE: dict[str, Any] = {"RESOLVER": RESOLVERS["good"]}
MIDDLEWARE = settings.MIDDLEWARE


@pytest.mark.parametrize(
    ("wrong", "ids"),
    [
        ({"CLERKMAP": FINE}, []),
        ({"CLERKMAP": {"INSTANCE": {"publishable_key": clerk.publishable_key}}}, []),
        ({"CLERKMAP": {**FINE, "RECONCILER": Reconciler(INSTANCE, MemoryRepository())}}, []),
        ({"CLERKMAP": {**FINE, "USER_FIELD": "username"}}, []),
        ({"CLERKMAP": "resolver"}, ["E001"]),
        ({"CLERKMAP": {}}, ["E001"]),
        ({"CLERKMAP": {"RESOLVR": "a.b"}}, ["E001"]),
        ({"CLERKMAP": {"RESOLVER": "shop.nowhere.resolver"}}, ["E001"]),
        ({"CLERKMAP": {"RESOLVER": "django.db.connections"}}, ["E001"]),
        ({"CLERKMAP": {"INSTANCE": {"publishable_key": "pk_test_replace_me"}}}, ["E001"]),
        ({"CLERKMAP": {"INSTANCE": {"publishable_kee": "pk_test_replace_me"}}}, ["E001"]),
        ({"CLERKMAP": {**FINE, "ORIGINS": ["not an origin"]}}, ["E001"]),
        ({"CLERKMAP": {**FINE, "SIGN_IN_PAGE": "https://evil.example"}}, ["E001"]),
        ({"CLERKMAP": {**FINE, "REFRESH_PAGE": "/refresh", "COOKIES": False}}, ["E001"]),
        ({"CLERKMAP": {**FINE, "SIGN_IN_PAGE": reverse_lazy("nowhere")}}, []),  # the URLs are not loaded yet
        ({"CLERKMAP": {**FINE, "RECONCILER": "shop.nowhere.reconciler"}}, ["E002"]),
        ({"CLERKMAP": {**FINE, "RECONCILER": RESOLVERS["good"]}}, ["E002"]),
        ({"CLERKMAP": FINE, "MIDDLEWARE": MIDDLEWARE[:-1]}, ["E003"]),
        ({"CLERKMAP": {**FINE, "USER_FIELD": "username"}, "MIDDLEWARE": MIDDLEWARE[::-1]}, ["E004"]),
        ({"CLERKMAP": {"DATABASE": "nowhere"}}, ["E005"]),
        ({"CLERKMAP": {"ID_TYPE": "uuid"}}, ["E005"]),
        ({"CLERKMAP": {"ID_TYPE": "money", "INSTANCE": {"publishable_key": clerk.publishable_key}}}, ["E001"]),
        ({"CLERKMAP": {**FINE, "USER_FIELD": "email"}}, ["E006"]),
        ({"CLERKMAP": {**FINE, "USER_FIELD": "nothing"}}, ["E006"]),
        ({"CLERKMAP": {**FINE, "USER_FUNCTION": "shop.nowhere.user"}}, ["E006"]),
        ({"CLERKMAP": {**FINE, "USER_FUNCTION": len, "USER_FIELD": "username"}}, ["E006"]),
    ],
)
def test_checks(wrong: dict[str, Any], ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`manage.py check` finds each mistake before the first request does, and nothing where there is none."""
    monkeypatch.delenv("CLERK_PUBLISHABLE_KEY", raising=False)
    with override_settings(**wrong):
        found = checks.check_settings() + (checks.check_middleware() + checks.check_user() if ids != ["E001"] else [])
    assert [each.id for each in found] == [f"clerkmap.{id}" for id in ids]


SYNC, ASYNC = path("sync", webhook), path("async", awebhook)
GOOD_RECONCILER = Reconciler(INSTANCE, MemoryRepository())
NO_SECRET = Reconciler(clerk.make_instance(webhook_secrets=()), MemoryRepository())
ASYNC_ONLY = Reconciler(INSTANCE, threaded(MemoryRepository()))


@pytest.mark.parametrize(
    ("urls", "reconciler", "refusals"),
    [
        ((SYNC, ASYNC), GOOD_RECONCILER, []),
        ((), NO_SECRET, []),
        ((SYNC,), NO_SECRET, ["webhook_secrets"]),
        ((path("a/", include([path("b/", include([ASYNC]))])),), NO_SECRET, ["webhook_secrets"]),
        ((path("wrapped", gzip_page(webhook)),), NO_SECRET, ["webhook_secrets"]),
        ((SYNC, ASYNC), ASYNC_ONLY, ["synchronous repository"]),
        ((SYNC,), None, ["webhooks need both"]),
        ((SYNC,), "shop.nowhere.reconciler", []),  # E002 says it
    ],
)
def test_a_webhook_view_that_would_refuse_every_delivery(urls: Any, reconciler: object, refusals: list[str]) -> None:
    """`manage.py check` and the start of a server say so, and not only Clerk's list of failed deliveries."""
    with override_settings(
        ROOT_URLCONF=urls or (path("", lambda request: None),), CLERKMAP={**FINE, "RECONCILER": reconciler}
    ):
        found = checks.check_webhooks()
    assert [each.id for each in found] == ["clerkmap.E007"] * len(refusals)
    for error, refusal in zip(found, refusals, strict=True):
        assert refusal in error.msg
