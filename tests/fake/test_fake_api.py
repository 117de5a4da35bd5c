"""The made-up Clerk's API: who may ask, for which version, at which address; and what is published."""

import asyncio

import httpx
import pytest

from clerkmap import Resolver, Verifier
from clerkmap.clerk.jwks import RemoteKeys
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock, FakeClerk
from clerkmap.testing.fake.api.backend_api import MAX_REQUESTS
from clerkmap.testing.fake.api.requests import ApiRequest
from fake_api_world import BASE, client_of, ids, refusal

PEOPLE = "/users"


def test_a_request_needs_the_secret_key() -> None:
    """Without a key, with another one, or with one in another form, nothing is told."""
    clerk = FakeClerk()
    with httpx.Client(transport=clerk.transport(), base_url=BASE) as client:
        assert refusal(client.get(PEOPLE)) == (401, "authorization_header_format_invalid")
        for header in ("Bearer", "Bearer ", clerk.secret_key, f"Basic {clerk.secret_key}"):
            answer = client.get(PEOPLE, headers={"Authorization": header})
            assert refusal(answer) == (401, "authorization_header_format_invalid")
        answer = client.get(PEOPLE, headers={"Authorization": f"Bearer {FakeClerk(1).secret_key}"})
        assert refusal(answer) == (401, "clerk_key_invalid")
        assert client.get(PEOPLE, headers={"Authorization": f"Bearer {clerk.secret_key}"}).json() == []


@pytest.mark.parametrize(
    "path", ["/", "/user", "/users/", "/users/a/b", "/users//ban", "/organizations/a/b/c/d", "/V1"]
)
def test_nothing_is_at_other_addresses(path: str) -> None:
    """They are answered as Clerk answers, with a trace."""
    with client_of(FakeClerk()) as client:
        answer = client.get(path)
        assert refusal(answer) == (404, "resource_not_found")
        assert len(answer.json()["clerk_trace_id"]) == 32


def test_only_machines_tokens_are_verified_without_the_version_in_the_path() -> None:
    """Clerk's clients leave it out there, and nowhere else."""
    clerk = FakeClerk()
    key = clerk.create_api_key(clerk.create_user())
    with client_of(clerk) as client:
        for base in (BASE, BASE.removesuffix("/v1")):
            assert client.post(f"{base}/api_keys/verify", json={"secret": key.secret}).json()["id"] == key.id
        assert refusal(client.get(f"{BASE.removesuffix('/v1')}/users")) == (404, "resource_not_found")


def test_a_version_is_asked_for_once_and_exists() -> None:
    """In the header or in the query; not in both, and none that Clerk never had. It may be left out."""
    clerk = FakeClerk()
    with client_of(clerk) as client:
        assert refusal(client.get("/users?__clerk_api_version=2026-05-12")) == (400, "api_version_invalid")
        assert refusal(client.get("/users", headers={"Clerk-API-Version": "2026-05-13"})) == (
            400,
            "api_version_invalid",
        )
        del client.headers["Clerk-API-Version"]
        assert client.get("/users?__clerk_api_version=2021-02-05").json() == []
        assert refusal(client.get("/users?__clerk_api_version=v1")) == (400, "api_version_invalid")
        assert client.get("/users").json() == []


def test_keys_are_published_on_both_hosts() -> None:
    """With the secret key on the API's host; for everybody on the front end's, where the discovery leads to them."""
    clerk = FakeClerk()
    with httpx.Client(transport=clerk.transport()) as client:
        discovery = client.get(f"{clerk.issuer}/.well-known/openid-configuration").json()
        assert discovery["issuer"] == clerk.issuer
        assert client.get(discovery["jwks_uri"]).json() == clerk.jwks()
        assert refusal(client.get(f"{BASE}/jwks"))[0] == 401
    with client_of(clerk) as client:
        assert client.get("/jwks").json() == clerk.jwks()
        clerk.rotate_key()
        assert client.get("/jwks").json() == clerk.jwks()


def test_a_resolver_fetches_its_keys_through_the_transport() -> None:
    """With the keys left to be fetched, everything between the token and the person is real."""
    clerk = FakeClerk()
    instance = clerk.make_instance(jwks=None)
    keys = RemoteKeys(instance, transport=clerk.transport())
    resolver = Resolver(instance, MemoryRepository(), verifier=Verifier(instance, keys=keys, clock=clerk.clock))
    ada = clerk.create_user()
    assert resolver.resolve(clerk.token(ada)).claims.subject == ada.id
    assert list(clerk.api.requests) == ["GET /.well-known/jwks.json"]


def test_keys_of_another_instance_can_be_published() -> None:
    """As when an application has the secret key of one instance and the publishable key of another."""
    clerk, other = FakeClerk(), FakeClerk(1)
    clerk.faults.keys_of = other
    with client_of(clerk) as client:
        assert client.get("/jwks").json() == other.jwks()
        assert client.get(f"{clerk.issuer}/.well-known/jwks.json").json() == other.jwks()


def test_asynchronous_clients_get_the_same() -> None:
    """One transport serves both kinds of client."""
    clerk = FakeClerk()
    ada = clerk.create_user("ada@example.com")

    async def ask() -> list[str]:
        headers = {"Authorization": f"Bearer {clerk.secret_key}"}
        async with httpx.AsyncClient(transport=clerk.transport(), base_url=BASE, headers=headers) as client:
            made = await client.post("/users", json={"email_address": ["bob@example.com"]})
            return [*ids(await client.get("/users?order_by=%2Bcreated_at")), made.json()["id"]]

    first, second, made = asyncio.run(ask())
    assert (first, second) == (ada.id, made)


def test_requests_are_kept_by_method_and_path() -> None:
    """In their order, refused ones too, and no more than there is room for. What was sought for is not kept."""
    clerk = FakeClerk()
    with client_of(clerk) as client:
        client.get("/users?query=ada%40example.com")
        client.delete("/users/user_nobody")
    assert list(clerk.api.requests) == ["GET /v1/users", "DELETE /v1/users/user_nobody"]
    for _ in range(MAX_REQUESTS):
        clerk.api(ApiRequest("GET", "/"))
    assert list(clerk.api.requests)[-2:] == ["GET /", "GET /"]
    assert len(clerk.api.requests) == MAX_REQUESTS


def test_what_a_request_holds_is_not_shown() -> None:
    """A request can be printed: neither its key nor its body is in what comes out."""
    request = ApiRequest(
        "POST", "/v1/users", "query=ada", {"authorization": "Bearer sk_test_x"}, b'{"username": "ada"}'
    )
    assert repr(request) == "ApiRequest(method='POST', path='/v1/users')"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b'{"name": NaN}', b'{"name": "a", "name": "b"}', b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    """Also one that can be read in two ways. Of an empty body, what is missing is said."""
    with client_of(FakeClerk()) as client:
        answer = client.post("/organizations", content=body, headers={"Content-Type": "application/json"})
        assert refusal(answer) == ((422, "form_param_missing") if not body else (400, "request_body_invalid"))


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"name": 5}, "form_param_value_invalid"),
        ({"name": ""}, "form_param_missing"),
        ({"name": "A" * 257}, "form_param_max_length_exceeded"),
        ({"name": "A", "colour": "red"}, "form_param_unknown"),
        ({"name": "A", "public_metadata": []}, "form_param_value_invalid"),
        ({"name": "A", "max_allowed_memberships": True}, "form_param_value_invalid"),
        ({"name": "A", "max_allowed_memberships": -1}, "form_param_value_invalid"),
        ({"name": "A", "created_at": "yesterday"}, "form_param_value_invalid"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(said: dict[str, object], code: str) -> None:
    """With 422, and the name of it."""
    with client_of(FakeClerk()) as client:
        answer = client.post("/organizations", json=said)
        assert refusal(answer) == (422, code)
        assert answer.json()["errors"][0]["meta"]["param_name"] == list(said)[-1]


def test_two_clerks_of_one_seed_answer_alike() -> None:
    """To the byte, ids and traces included, if their clocks agree."""
    answers = []
    for _ in range(2):
        clerk = FakeClerk(clock=Clock(1_800_000_000))
        with client_of(clerk) as client:
            made = client.post("/users", json={"username": "ada", "created_at": "2024-01-01T00:00:00Z"}).json()
            answers.append((made["id"], client.get("/nowhere").content))
    assert answers[0] == answers[1]
