"""FastAPI: how the dependencies stand among the rest of an application, and what they cost it."""

from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from adapter_world import ADA, CLERK, PERMISSION, TOKEN, Counted, bearer, make_resolver, shown, wanted
from clerkmap import Organization, Reconciler, Requirement, Resolver, User
from clerkmap.adapters.asgi import AuthMiddleware
from clerkmap.adapters.fastapi import Clerk, webhook
from clerkmap.auth.result import AuthResult
from clerkmap.errors import ConfigurationError, OrganizationMissing, TokenMissing
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk


@pytest.mark.parametrize("wrap", [False, True])
def test_one_request_is_looked_at_once(wrap: bool) -> None:
    """However many dependencies there are, and whether an AuthMiddleware has looked before."""
    resolver = Counted(CLERK.instance, MemoryRepository())
    clerk, app = Clerk(resolver), FastAPI()

    @app.get("/", dependencies=[Depends(clerk.require(permission=PERMISSION)), Depends(clerk.principal)])
    def page(
        user: Annotated[User, Depends(clerk.user)],
        organization: Annotated[Organization, Depends(clerk.organization)],
        caller: Annotated[AuthResult, Depends(clerk.auth_result)],
        again: Annotated[AuthResult, Depends(clerk.auth_result, use_cache=False)],
    ) -> bool:
        return caller is again and caller.principal.user is user

    resolver.resolve(TOKEN)
    resolver.looked = 0
    told = TestClient(AuthMiddleware(app, resolver) if wrap else app).get("/", headers=bearer(TOKEN))
    assert (told.json(), resolver.looked) == (True, 1)


def test_a_middleware_that_asks_something_else_is_not_believed() -> None:
    """Its caller may have come by a cookie that the dependency does not read, or be another instance's."""
    resolver = make_resolver()
    other = FakeClerk(63)
    elsewhere = Resolver(other.instance, MemoryRepository())
    clerk, app = Clerk(resolver, cookies=False), FastAPI()

    @app.get("/")
    def page(user: Annotated[User, Depends(clerk.user)]) -> str | None:
        return user.clerk_id

    cookie = {"cookie": f"__session={TOKEN}"}
    assert TestClient(AuthMiddleware(app, resolver)).get("/", headers=cookie).json()["code"] == "token_missing"
    sent = cookie | {"origin": "https://a.example"}
    wary, generous = Clerk(resolver, origins=["https://b.example"]), ["https://a.example"]
    app.post("/", dependencies=[Depends(wary.user)])(lambda: None)
    told = TestClient(AuthMiddleware(app, resolver, origins=generous)).post("/", headers=sent)
    assert told.json()["code"] == "origin_refused"
    theirs = bearer(other.token(other.create_user()))
    told = TestClient(AuthMiddleware(app, elsewhere, cookies=False)).get("/", headers=theirs)
    assert told.json()["code"] == "token_key_unknown"


def test_two_instances_in_one_application_do_not_mix() -> None:
    """Each dependency knows the people of its own."""
    other = FakeClerk(63)
    mine, theirs, app = Clerk(make_resolver()), Clerk(Resolver(other.instance, MemoryRepository())), FastAPI()

    @app.get("/mine")
    def my_page(user: Annotated[User, Depends(mine.user)]) -> str | None:
        return user.clerk_id

    @app.get("/theirs")
    def their_page(user: Annotated[User, Depends(theirs.user)]) -> str | None:
        return user.clerk_id

    client, somebody = TestClient(app), other.create_user()
    assert client.get("/mine", headers=bearer(TOKEN)).json() == ADA.id
    assert client.get("/theirs", headers=bearer(other.token(somebody))).json() == somebody.id
    assert client.get("/theirs", headers=bearer(TOKEN)).status_code == 401
    assert client.get("/mine", headers=bearer(other.token(somebody))).status_code == 401


def test_tests_of_an_application_can_put_somebody_in_the_place_of_each_dependency() -> None:
    """Of one of them, or of the one that all the others ask; a requirement is still looked at then."""
    resolver = make_resolver()
    clerk, app = Clerk(resolver), FastAPI()
    principal = resolver.resolve(CLERK.token(ADA))

    @app.get("/user")
    def user(user: Annotated[User, Depends(clerk.user)]) -> str | None:
        return user.clerk_id

    @app.get("/permission", dependencies=[Depends(clerk.require(permission=PERMISSION))])
    def permission() -> str:
        return "reached"

    client = TestClient(app)
    app.dependency_overrides[clerk.user] = lambda: principal.user
    assert client.get("/user").json() == ADA.id
    app.dependency_overrides = {clerk.principal: lambda: principal}
    assert client.get("/user").json() == ADA.id
    app.dependency_overrides = {clerk.auth_result: lambda: AuthResult(resolver, principal)}
    assert client.get("/user").json() == ADA.id
    told = client.get("/permission")
    assert shown(told.status_code, dict(told.headers), told.content) == wanted(OrganizationMissing())
    app.dependency_overrides = {clerk.auth_result: lambda: AuthResult(resolver, TokenMissing())}
    told = client.get("/user")
    assert shown(told.status_code, dict(told.headers), told.content) == wanted(TokenMissing())
    app.dependency_overrides = {clerk.require(permission=PERMISSION): lambda: principal}
    assert client.get("/permission").json() == "reached"
    app.dependency_overrides = {}
    assert client.get("/user").status_code == client.get("/permission").status_code == 401


def test_require_takes_a_requirement_or_the_words_of_one() -> None:
    """Either gives the same dependency; a mistake is an error at the start."""
    clerk = Clerk(make_resolver())
    assert clerk.require(Requirement(permission=PERMISSION)) is clerk.require(permission=PERMISSION)
    with pytest.raises(ConfigurationError, match="no option clearance"):
        clerk.require(clearance="top")  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="or its arguments"):
        clerk.require(Requirement(), user_role="admin")


@pytest.mark.parametrize("cookies", [True, False])
def test_openapi_tells_how_to_sign_in(cookies: bool) -> None:
    """A bearer token, for which Swagger's page shows its "Authorize"; or the cookie, where it is read."""
    clerk, app = Clerk(make_resolver(), cookies=cookies), FastAPI()

    @app.get("/user")
    def user(user: Annotated[User, Depends(clerk.user)]) -> None: ...

    @app.get("/guarded", dependencies=[Depends(clerk.require(organization_role="admin"))])
    def guarded() -> None: ...

    @app.get("/public")
    def public() -> None: ...

    schema = app.openapi()
    schemes = schema["components"]["securitySchemes"]
    in_header = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A session token"}
    in_cookie = {"ClerkCookie": {"type": "apiKey", "in": "cookie", "name": "__session"}} if cookies else {}
    assert schemes == {"Clerk": in_header, **in_cookie}
    for page in ("/user", "/guarded"):
        operation = schema["paths"][page]["get"]
        assert operation["security"] == [{name: []} for name in schemes]
        assert "parameters" not in operation
    assert "security" not in schema["paths"]["/public"]["get"]


def test_webhooks_are_taken_in_whatever_guards_the_application() -> None:
    """The page is not in OpenAPI, takes POST alone, and needs no slash at its end."""
    fake, repository = FakeClerk(63), MemoryRepository()
    clerk = Clerk(Resolver(fake.instance, repository))
    app = FastAPI(dependencies=[Depends(clerk.principal)])
    app.include_router(webhook(Reconciler(fake.instance, repository)))
    client = TestClient(app, follow_redirects=False)
    fake.create_user()
    (sent,) = fake.deliveries()
    told = client.post("/webhooks/clerk", headers=sent.headers, content=sent.body)
    assert (told.status_code, told.json()["outcome"]) == (200, "applied")
    assert client.post("/webhooks/clerk", headers=sent.headers, content=sent.body + b" ").status_code == 400
    assert client.get("/webhooks/clerk").status_code == 405
    assert app.openapi()["paths"] == {}
