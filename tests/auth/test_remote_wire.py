"""What goes over the wire, against a real server: small, bounded, and never anywhere else."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from clerkmap import Instance, KeysUnavailable, Verifier
from clerkmap.clerk.jwks import RemoteKeys, fetch_jwks
from clerkmap.errors import UnknownKey
from clerkmap.testing import Clock, FakeClerk
from key_server import NOON, PATIENCE, KeyServer, RealServer, World, answer, settle

COOLDOWN = 10
DISCOVERY = "/.well-known/openid-configuration"


class Local:
    """An instance whose front-end API is a server on this machine."""

    def __init__(self, manner: str = "good", deadline: float = 0.5, **options: Any) -> None:
        self.clerk = FakeClerk(1)
        self.server = RealServer(self.clerk, manner)
        self.clerk.issuer = self.server.url
        self.monotonic = Clock(5_000.0)
        self.instance = Instance(issuer=self.server.url, **options)
        self.keys = RemoteKeys(self.instance, deadline=deadline, monotonic=self.monotonic)
        self.verifier = Verifier(self.instance, keys=self.keys)
        self.user = self.clerk.create_user()

    def sign_in(self) -> str:
        return self.verifier.verify(self.clerk.token(self.user)).subject


def test_what_is_asked_for() -> None:
    """One plain GET: no secret, no cookie, nothing packed."""
    local = Local(deadline=PATIENCE, secret_key="sk_test_" + "canary" * 5)
    with local.server as server:
        assert local.sign_in() == local.user.id
    ((path, headers),) = server.seen
    assert path == "/.well-known/jwks.json"
    assert headers["accept-encoding"] == "identity"
    assert headers.keys().isdisjoint({"authorization", "cookie", "proxy-authorization"})
    assert "canary" not in json.dumps(headers)


def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy and no password from there: neither may decide whose keys are trusted, or see who asks."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login canary password canary\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    local = Local(deadline=PATIENCE)
    with local.server as server:
        assert local.sign_in() == local.user.id
    assert "authorization" not in server.seen[0][1]


@pytest.mark.parametrize("manner", ["long", "endless", "gzip", "redirect", "slow", "late"])
def test_a_bad_answer_is_let_go_and_the_next_is_taken(manner: str) -> None:
    """Too long, too slow, packed or leading elsewhere: 503 in time, and as soon as the far end is well, so are we."""
    local = Local(manner)
    with local.server as server:
        with pytest.raises(KeysUnavailable):
            local.sign_in()
        # On a slow machine the deadline may pass before the question gets there.
        assert [path for path, _ in server.seen] in (["/.well-known/jwks.json"], []), "a redirect is not followed"
        server.manner = "good"
        for _ in range(8):
            local.monotonic.advance(COOLDOWN)
            try:
                assert local.sign_in() == local.user.id
            except KeysUnavailable:
                continue
            break
        else:
            raise AssertionError("the fetch goes on for as long as the far end likes")
    settle()


def test_a_server_that_is_not_there() -> None:
    """A refused connection is an outage like any other."""
    local = Local(deadline=PATIENCE)
    with local.server:
        pass
    with pytest.raises(KeysUnavailable):
        local.sign_in()


def test_a_transport_of_your_own_serves_many_fetches() -> None:
    """It is used again and again: for a proxy, or a certificate authority of your own."""
    local = Local(deadline=PATIENCE)
    transport = httpx.HTTPTransport()
    keys = RemoteKeys(local.instance, transport=transport, monotonic=local.monotonic)
    verifier = Verifier(local.instance, keys=keys)
    with local.server as server:
        for turn in range(1, 4):
            assert verifier.verify(local.clerk.token(local.user)).subject == local.user.id
            assert (len(server.seen), keys.generation) == (turn, turn)
            local.clerk.rotate_key()
            local.monotonic.advance(COOLDOWN)
    transport.close()


def test_a_transport_that_answers_from_memory() -> None:
    """As one does in a test of one's own: the answer is there already when it is asked for."""
    world = World()
    world.server.trouble = lambda request: httpx.Response(200, json=world.clerk.jwks(), request=request)
    assert world.sign_in().subject == world.user.id


def test_nothing_in_a_token_reaches_the_wire() -> None:
    """Its key id may look like an address or a path. There is one address, and it was fixed at construction."""
    world = World()
    for kid in ("https://evil.example/jwks", "../../admin", "?x=y", "#", "a/b", "%2e%2e", "file:///etc/passwd"):
        with pytest.raises(UnknownKey):
            world.verifier.verify(world.clerk.token(world.user, header={"kid": kid}))
        world.advance(COOLDOWN)
    assert set(world.server.urls) == {f"{world.clerk.issuer}/.well-known/jwks.json"}


def provider(**options: Any) -> tuple[Instance, KeyServer, Verifier, str]:
    """Another OpenID provider: the instance, its server, a verifier and a good token."""
    clerk = FakeClerk(1, clock=Clock(NOON))
    clerk.issuer = options.pop("issuer", clerk.issuer)
    instance = clerk.make_oidc_instance("api", jwks=None, **options)
    server = KeyServer(clerk)
    verifier = Verifier(instance, keys=RemoteKeys(instance, transport=server), clock=clerk.clock)
    return instance, server, verifier, clerk.oidc_token("somebody", "api")


@pytest.mark.parametrize(
    "issuer", ["https://idp.example", "https://idp.example/", "https://idp.example/realms/a", "http://localhost:8080"]
)
@pytest.mark.parametrize("where", ["{}/keys", "https://keys.example/certs?v=3"])
def test_keys_are_discovered(issuer: str, where: str) -> None:
    """By way of the discovery document under the issuer, even where the keys are published on another host."""
    _, server, verifier, token = provider(issuer=issuer)
    base = issuer.rstrip("/")
    uri = where.format(base)
    server.documents[httpx.URL(base).path.rstrip("/") + DISCOVERY] = {"issuer": issuer, "jwks_uri": uri}
    assert verifier.verify(token).subject == "somebody"
    assert server.urls == [f"{base}{DISCOVERY}", uri]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"issuer": "https://idp.example"},
        {"issuer": "https://idp.example", "jwks_uri": None},
        {"issuer": "https://idp.example", "jwks_uri": ["https://idp.example/keys"]},
        {"issuer": "https://idp.example", "jwks_uri": ""},
        {"issuer": "https://idp.example", "jwks_uri": "/keys"},
        {"issuer": "https://idp.example", "jwks_uri": "//idp.example/keys"},
        {"issuer": "https://idp.example", "jwks_uri": "http://idp.example/keys"},
        {"issuer": "https://idp.example", "jwks_uri": "http://evil.example/keys"},
        {"issuer": "https://idp.example", "jwks_uri": "http://127.0.0.1/keys"},
        {"issuer": "https://idp.example", "jwks_uri": "http://localhost/keys"},
        {"issuer": "https://idp.example", "jwks_uri": "ftp://idp.example/keys"},
        {"issuer": "https://idp.example", "jwks_uri": "file:///etc/passwd"},
        {"issuer": "https://idp.example", "jwks_uri": "https://user:password@idp.example/keys"},
        {"issuer": "https://idp.example", "jwks_uri": "https://[::1"},
        {"issuer": "https://idp.example/", "jwks_uri": "https://idp.example/keys"},
        {"issuer": "https://IDP.example", "jwks_uri": "https://idp.example/keys"},
        {"issuer": "https://evil.example", "jwks_uri": "https://idp.example/keys"},
        {"issuer": ["https://idp.example"], "jwks_uri": "https://idp.example/keys"},
        {"issuer": None, "jwks_uri": "https://idp.example/keys"},
        {"jwks_uri": "https://idp.example/keys"},
    ],
    ids=lambda document: json.dumps(document)[-60:],
)
def test_a_discovery_document_that_cannot_be_trusted(document: dict[str, Any]) -> None:
    """Not this issuer's, or leading to where anybody could put keys: no key is fetched."""
    _, server, verifier, token = provider(issuer="https://idp.example")
    server.documents[DISCOVERY] = document
    with pytest.raises(KeysUnavailable):
        verifier.verify(token)
    assert server.urls == [f"https://idp.example{DISCOVERY}"]


def test_a_discovery_document_that_leads_elsewhere_by_redirect() -> None:
    """Neither of the two requests follows a redirect."""
    instance, server, _, _ = provider()
    server.trouble = answer(b"", 301, location="https://evil.example")
    with pytest.raises(ValueError, match="301"):
        fetch_jwks(instance, server, 5)
    assert server.count == 1


def test_a_known_address_needs_no_discovery() -> None:
    """Given jwks_url, the discovery document is not asked for."""
    _, server, verifier, token = provider(jwks_url="https://keys.example/certs")
    assert verifier.verify(token).subject == "somebody"
    assert server.urls == ["https://keys.example/certs"]
