"""The made-up Clerk on a real server: the same answers as without one, and nothing for a stranger's web page."""

import asyncio
import json
import logging
from collections.abc import Iterator

import httpx
import pytest

from clerkmap import Verifier
from clerkmap.clerk.jwks import RemoteKeys
from clerkmap.testing import FakeClerk
from clerkmap.testing.fake.api.asgi import ClerkApp, Receive, Scope, Send
from clerkmap.testing.fake.api.backend_api import MAX_BODY
from fake_api_world import client_of, refusal
from uvicorn_server import serving


@pytest.fixture
def clerk() -> FakeClerk:
    """A Clerk with somebody in it."""
    clerk = FakeClerk()
    clerk.create_organization("Acme", created_by=clerk.create_user("ada@example.com"))
    return clerk


class Site:
    """What is behind a server: the Clerk of the test that is running."""

    def __init__(self) -> None:
        self.app: ClerkApp = FakeClerk().app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="module", params=["h11", "httptools"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[Site, str]]:
    """Each of uvicorn's two servers, with its address."""
    site = Site()
    with serving(site, http=request.param) as (host, port):
        yield site, f"http://{host}:{port}"


@pytest.fixture
def client(server: tuple[Site, str], clerk: FakeClerk) -> Iterator[httpx.Client]:
    """A client of that Clerk."""
    site, url = server
    site.app = clerk.app
    headers = {"Authorization": f"Bearer {clerk.secret_key}"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=120) as client:
        yield client


def test_a_request_that_is_cut_off_does_nothing(clerk: FakeClerk) -> None:
    """Its body never came: it is not done as if it had none."""
    said = len(clerk.wire.messages)
    (user,) = clerk.users

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(_message: object) -> None:
        pass

    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {clerk.secret_key}".encode())]
    scope = {"type": "http", "method": "PATCH", "path": f"/v1/users/{user}", "query_string": b"", "headers": headers}
    asyncio.run(clerk.app(scope, receive, send))
    assert len(clerk.wire.messages) == said


def test_answers_are_the_same_with_and_without_a_server(clerk: FakeClerk, client: httpx.Client) -> None:
    """To the byte: what is listed, what is refused, what is not there."""
    with client_of(clerk) as near:
        for path in ("/users?limit=500", "/organizations/acme", "/organization_memberships", "/jwks", "/users?limit=0"):
            far, here = client.get(f"/v1{path}"), near.get(path)
            assert far.status_code == here.status_code
            assert far.headers["content-type"] == here.headers["content-type"]
            if here.status_code == 200:
                assert far.content == here.content
        made = client.post("/v1/users", json={"username": "zoë", "public_metadata": {"a": "ü"}}).json()
        assert near.get(f"/users/{made['id']}").json() == made
    assert client.get("/.well-known/jwks.json").json() == clerk.jwks()


def test_keys_are_fetched_from_the_server(clerk: FakeClerk, client: httpx.Client) -> None:
    """A verifier that is told the address verifies tokens by the keys that are there."""
    instance = clerk.make_instance(jwks=None, jwks_url=f"{client.base_url}/.well-known/jwks.json")
    verifier = Verifier(instance, keys=RemoteKeys(instance), clock=clerk.clock)
    ada = clerk.somebody()
    assert verifier.verify(clerk.token(ada)).subject == ada.id


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({"Host": "evil.example.com"}, (403, "host_invalid")),
        ({"Host": "evil.example.com:80"}, (403, "host_invalid")),
        ({"Host": "localhost.evil.example"}, (403, "host_invalid")),
        ({"Host": ""}, (403, "host_invalid")),
        ({"Origin": "https://evil.example.com"}, (403, "origin_invalid")),
        ({"Origin": "null"}, (403, "origin_invalid")),
    ],
)
def test_a_page_of_a_stranger_gets_nothing(
    clerk: FakeClerk, client: httpx.Client, headers: dict[str, str], refused: tuple[int, str]
) -> None:
    """Neither by a name of theirs that leads to this machine, nor straight from a browser. The API is never asked."""
    for method, path in (
        ("GET", "/v1/users"),
        ("POST", "/v1/users"),
        ("GET", "/.well-known/jwks.json"),
        ("OPTIONS", "/"),
    ):
        answer = client.request(method, path, headers=headers)
        assert refusal(answer) == refused
        assert "access-control-allow-origin" not in answer.headers
    assert not clerk.api.requests


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8000", "api.clerk.com"])
def test_the_names_of_this_machine_and_of_clerk_are_served(client: httpx.Client, host: str) -> None:
    """With any port."""
    assert client.get("/v1/users/count", headers={"Host": host}).json()["total_count"] == 1


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
def test_a_body_is_json_and_says_so(clerk: FakeClerk, client: httpx.Client, kind: str) -> None:
    """Forms, which any page can send anywhere, are not read."""
    answer = client.post("/v1/users", content=b'{"username": "x"}', headers={"Content-Type": kind})
    assert refusal(answer) == (415, "unsupported_content_type")
    said = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert client.post("/v1/users", content=b'{"username": "x"}', headers=said).status_code == 200
    assert client.post(f"/v1/users/{clerk.somebody().id}/ban").status_code == 200


def test_a_body_has_an_end(clerk: FakeClerk, client: httpx.Client) -> None:
    """One that is longer is refused, announced or not, and never read to its end."""

    def endless() -> Iterator[bytes]:
        for _ in range(3):
            yield b" " * (MAX_BODY // 2)

    headers = {"Content-Type": "application/json"}
    for content in (b" " * (MAX_BODY + 1), endless()):
        assert refusal(client.post("/v1/users", content=content, headers=headers))[0] == 413
    assert len(clerk.users) == 1
    body = json.dumps({"username": "x", "public_metadata": {"long": "x" * (MAX_BODY - 100)}}).encode()
    assert client.post("/v1/users", content=body, headers=headers).status_code == 200


@pytest.mark.parametrize(("fault", "done"), [("cut_before", 0), ("cut_within", 1), ("cut_after", 1)])
def test_connections_are_cut(
    clerk: FakeClerk, client: httpx.Client, caplog: pytest.LogCaptureFixture, fault: str, done: int
) -> None:
    """Over HTTP, the head of an answer comes before the end. The next connection is as good as ever."""
    caplog.set_level(logging.CRITICAL, "uvicorn.error")  # the server says that it was left without the rest
    setattr(clerk.faults, fault, 1)
    with pytest.raises(httpx.RemoteProtocolError):
        client.post("/v1/users", json={"username": "x"})
    assert len(clerk.users) == 1 + done
    setattr(clerk.faults, fault, 0)
    assert client.get("/v1/users/count").status_code == 200


def test_it_can_stand_under_a_prefix(clerk: FakeClerk) -> None:
    """As part of another application, which says where it stands."""
    headers = {"Authorization": f"Bearer {clerk.secret_key}"}
    transport = httpx.ASGITransport(clerk.app, root_path="/clerk")

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            return await client.get("/clerk/v1/users/count")

    assert asyncio.run(ask()).json()["total_count"] == 1


def test_a_websocket_is_closed(clerk: FakeClerk) -> None:
    """There is none here."""
    sent: list[object] = []

    async def send(message: object) -> None:
        sent.append(message)

    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    asyncio.run(clerk.app({"type": "websocket"}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
