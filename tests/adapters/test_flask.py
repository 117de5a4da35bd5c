"""The Flask extension: how it is made, who is the current caller and for how long, and whose error handlers count."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, g, request, stream_with_context

from clerkmap import Reconciler, Requirement, Resolver, current_principal, threaded
from clerkmap.adapters.flask import Clerk, current_organization, current_user, webhook
from clerkmap.adapters.wsgi import principal_of
from clerkmap.errors import ConfigurationError, TokenMissing
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk
from flask_world import FlaskWorld


@pytest.fixture
def world() -> FlaskWorld:
    return FlaskWorld()


def nobody_is_current() -> bool:
    """Whether this thread has no caller."""
    try:
        current_principal()
    except TokenMissing:
        return True
    return False


def test_every_way_to_make_it(world: FlaskWorld) -> None:
    """At once, in a factory that has the resolver, in one that gets it later, and for several applications."""
    later = Clerk(origins=iter(["https://admin.example.com"]))
    apps = [Flask("a"), Flask("b"), Flask("c"), Flask("d"), Flask("e")]
    Clerk(apps[0], world.resolver)
    Clerk(app=apps[1], resolver=world.resolver)
    Clerk(resolver=world.resolver).init_app(apps[2])
    later.init_app(apps[3], world.resolver)
    later.init_app(apps[4], resolver=world.resolver)
    for app in apps:
        app.add_url_rule("/me", "me", later.signed_in(world.page))
        assert app.test_client().get("/me", headers=world.bearer()).get_json()["agreed"]
        assert app.test_client().get("/me").status_code == 401


def test_what_cannot_work_is_said_at_the_start(world: FlaskWorld) -> None:
    """No resolver, an application that has its Clerk, a requirement that means nothing."""
    for make in (lambda: Clerk(Flask("a")), lambda: Clerk().init_app(Flask("a")), lambda: Clerk(world.app, None)):
        with pytest.raises(ConfigurationError, match="no resolver"):
            make()
    with pytest.raises(ConfigurationError, match="already has a Clerk extension"):
        Clerk(world.app, world.resolver)
    with pytest.raises(ConfigurationError, match="origins"):
        Clerk(Flask("a"), world.resolver, origins="https://admin.example.com")
    with pytest.raises(ConfigurationError, match="organization_page"):
        world.clerk.require(organization_page="https://evil.example")
    with pytest.raises(ConfigurationError, match="no option rol"):
        world.clerk.require(rol="admin")  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="or its arguments"):
        world.clerk.require(Requirement(), user_role="admin")


def test_a_guard_where_nobody_looks_is_an_error_of_ours(world: FlaskWorld) -> None:
    """Without the extension no view is reached, and the answer is a 500."""
    app = Flask("bare")
    app.add_url_rule("/me", "me", world.clerk.signed_in(world.page))
    app.add_url_rule("/ame", "ame", world.clerk.signed_in(world.apage))
    for path in ("/me", "/ame"):
        assert app.test_client().get(path, headers=world.bearer()).status_code == 500
    app.testing = True
    with pytest.raises(ConfigurationError, match=r"call Clerk\(app, resolver\)"):
        app.test_client().get("/me", headers=world.bearer())
    assert world.reached == 0


def test_the_proxies_are_what_they_stand_for(world: FlaskWorld) -> None:
    """`current_user`, `current_principal()`, `g.clerk` and the environ tell of the same person."""

    @world.app.get("/proxies")
    def proxies() -> str:
        assert current_user == g.clerk.principal.user
        assert current_user.clerk_id == world.ada.id
        assert principal_of(request.environ) is g.clerk.principal
        assert current_principal() is g.clerk.principal
        return "same"

    assert world.app.test_client().get("/proxies", headers=world.bearer()).text == "same"


def test_decorated_views_stay_what_they_are(world: FlaskWorld) -> None:
    """Name, text and colour of a view survive its guard, and its arguments arrive."""

    @world.app.get("/add/<int:a>/<int:b>")
    @world.clerk.require(organization_role="admin")
    async def add(a: int, b: int) -> str:
        """Adds."""
        return str(a + b)

    assert (add.__name__, add.__doc__) == ("add", "Adds.")
    headers = world.bearer(organization=world.acme)
    assert world.app.test_client().get("/add/2/3", headers=headers).text == "5"


def test_nobody_leaks_into_the_next_request(world: FlaskWorld) -> None:
    """Also when a view raises, and when somebody else's function at the end of a request does."""

    @world.app.get("/raises")
    def raises() -> str:
        raise RuntimeError(current_principal().user.id)

    @world.app.get("/ends-badly")
    def ends_badly() -> str:
        return "well"

    @world.app.teardown_request
    def end(error: BaseException | None) -> None:
        if request.path == "/ends-badly":
            raise RuntimeError("the end")

    client = world.app.test_client()
    assert client.get("/me", headers=world.bearer()).status_code == 200
    assert nobody_is_current()
    assert client.get("/raises", headers=world.bearer()).status_code == 500
    assert nobody_is_current()
    with pytest.raises(RuntimeError, match="the end"):
        client.get("/ends-badly", headers=world.bearer())
    assert nobody_is_current()
    assert client.get("/open").json == {"id": None}
    assert client.get("/by-hand").status_code == 401


def test_g_is_as_it_was_where_it_outlives_the_request(world: FlaskWorld) -> None:
    """An application context that is pushed by hand, or a request inside a request, shares its `g`."""
    bob = world.fake.create_user()

    @world.app.get("/outer")
    @world.clerk.signed_in
    def outer() -> str:
        inner = world.app.test_client().get("/me", headers=world.bearer(world.fake.token(bob)))
        ids = {str(each.id) for each in (current_user, g.clerk.principal.user, current_principal().user)}
        return (
            "ok"
            if ids == {world.id_of(world.fake.token(world.ada))} and inner.get_json()["id"] not in ids
            else "mixed up"
        )

    with world.app.app_context():
        assert world.app.test_client().get("/outer", headers=world.bearer()).text == "ok"
        assert "clerk" not in g


def test_a_request_pushed_by_a_test(world: FlaskWorld) -> None:
    """Flask's way to test without a client: who is calling is known inside, and nobody is after it."""
    with world.app.test_request_context(headers=world.bearer()):
        with pytest.raises(ConfigurationError):
            _ = current_user.id
        world.app.preprocess_request()
        assert current_user.clerk_id == current_principal().user.clerk_id == g.clerk.principal.user.clerk_id
    assert nobody_is_current()


def test_a_client_that_keeps_the_context(world: FlaskWorld) -> None:
    """`with client:` leaves the proxies usable until the next request, and nobody current."""
    with world.app.test_client() as client:
        client.get("/me", headers=world.bearer())
        assert current_user.clerk_id == world.ada.id
        client.get("/open")
        with pytest.raises(TokenMissing):
            _ = current_user.id
        assert nobody_is_current()
    assert nobody_is_current()


@pytest.mark.parametrize("keep", [lambda pieces: pieces, stream_with_context])
def test_a_stream_knows_its_caller_to_the_end(world: FlaskWorld, keep: Any) -> None:
    """Pieces that are made after the view has returned are made for the same caller."""

    @world.app.get("/stream")
    @world.clerk.signed_in
    def stream() -> Response:
        def pieces() -> Iterator[str]:
            for _ in range(3):
                yield f"{current_principal().user.id}\n"

        return Response(keep(pieces()))

    client = world.app.test_client()
    token = world.fake.token(world.ada)
    streams = [client.get("/stream", headers=world.bearer(token), buffered=False) for _ in range(2)]
    assert nobody_is_current()
    texts = [each.text for each in streams]  # one begins before the other has ended
    assert texts == [f"{world.id_of(token)}\n" * 3] * 2
    assert nobody_is_current()


def test_an_asynchronous_repository_cannot_be_used(world: FlaskWorld) -> None:
    """Flask is synchronous: the extension refuses an async repository at the start, however it gets the resolver."""
    resolver = Resolver(world.fake.instance, threaded(MemoryRepository()))
    for start in (
        lambda: Clerk(resolver),
        lambda: Clerk(Flask("async"), resolver),
        lambda: Clerk().init_app(Flask("async"), resolver),
        lambda: webhook(Reconciler(world.fake.instance, threaded(MemoryRepository()))),
    ):
        with pytest.raises(ConfigurationError, match="synchronous repository, such as PostgresRepository"):
            start()


def test_another_argument_than_a_resolver_is_refused(world: FlaskWorld) -> None:
    """The extension names what it takes where it gets an instance or a repository."""
    wrong: Any
    for wrong in (world.fake.instance, world.repository):
        with pytest.raises(ConfigurationError, match=r"takes a resolver, .*; got (Instance|MayBeAway)"):
            Clerk(wrong)


def test_without_flask_it_says_what_to_install() -> None:
    """The import fails with a text that helps."""
    code = "import sys; sys.modules['flask'] = None; import clerkmap.adapters.flask"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode
    assert "ImportError: this adapter needs Flask: pip install 'clerkmap[flask]'" in done.stderr


def test_a_blueprint_has_its_own_options() -> None:
    """The innermost blueprint decides, wherever and under whichever name it is registered; all others keep theirs."""
    clerk = FakeClerk(seed=35)
    resolver = Resolver(clerk.instance, MemoryRepository())
    token = clerk.token(clerk.create_user())
    app, outer, inner, plain = Flask("app"), *(Blueprint(name, __name__) for name in ("outer", "inner", "plain"))
    guard = Clerk().signed_in
    for blueprint in (outer, inner, plain):
        blueprint.add_url_rule("/", "page", guard(lambda: "in"))
    Clerk(outer, resolver, cookies=False)
    Clerk(inner, resolver, origins=["https://inner.example"], sign_in_page="/inner-sign-in")
    outer.register_blueprint(inner, url_prefix="/inner")
    outer.register_blueprint(plain, url_prefix="/plain")
    app.register_blueprint(outer, url_prefix="/outer")
    app.register_blueprint(inner, url_prefix="/again", name="again")
    app.register_blueprint(plain, url_prefix="/plain")
    Clerk(app, resolver, sign_in_page="/sign-in")

    client = app.test_client(use_cookies=False)
    html, cookie = {"Accept": "text/html"}, {"Cookie": f"__session={token}"}
    statuses = {path: client.get(path, headers=cookie).status_code for path in _PLACES}
    assert statuses == _PLACES
    sent = {path: client.get(path, headers=html).location for path in _PLACES}
    assert sent == {
        "/outer/": None,
        "/outer/plain/": None,
        "/outer/inner/": "/inner-sign-in?redirect_url=%2Fouter%2Finner%2F",
        "/again/": "/inner-sign-in?redirect_url=%2Fagain%2F",
        "/plain/": "/sign-in?redirect_url=%2Fplain%2F",
    }


_PLACES = {"/outer/": 401, "/outer/plain/": 401, "/outer/inner/": 200, "/again/": 200, "/plain/": 200}


def test_a_blueprint_takes_the_resolver_of_each_application() -> None:
    """So it can be a global of a module, and serve the applications of several tests."""
    shared = Blueprint("shared", __name__)
    shared.add_url_rule("/", "page", Clerk().signed_in(lambda: "in"))
    Clerk(shared, cookies=False)
    for seed in (35, 36):
        clerk = FakeClerk(seed=seed)
        token = clerk.token(clerk.create_user())
        app = Flask("app")
        Clerk(app, Resolver(clerk.instance, MemoryRepository()))
        app.register_blueprint(shared)
        client = app.test_client(use_cookies=False)
        assert client.get("/", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert client.get("/", headers={"Cookie": f"__session={token}"}).status_code == 401

    with pytest.raises(ConfigurationError, match="before register_blueprint"):
        Flask("app").register_blueprint(shared)


def test_the_current_organization(world: FlaskWorld) -> None:
    """It is the active organization, and without one the caller is asked to pick it."""
    acme = world.fake.create_organization("Acme", created_by=world.ada)
    world.app.add_url_rule("/active", view_func=lambda: {"slug": current_organization.slug})
    client = world.app.test_client()
    in_acme = {"Authorization": f"Bearer {world.fake.token(world.ada, acme)}"}
    assert client.get("/active", headers=in_acme).get_json() == {"slug": acme.slug}
    assert client.get("/active", headers=world.bearer()).get_json()["remedy"] == "pick_organization"
    assert client.get("/active").get_json()["code"] == "token_missing"


def test_pages_need_cookies() -> None:
    """Only a browser can follow them, and without cookies none is ever signed in."""
    resolver = Resolver(FakeClerk(seed=35).instance, MemoryRepository())
    for page in ("sign_in_page", "refresh_page"):
        with pytest.raises(ConfigurationError, match="need Clerk's session cookie"):
            Clerk(Flask("app"), resolver, cookies=False, **{page: "/page"})
    Clerk(Flask("app"), resolver, cookies=False, organization_page="/choose")
