"""What goes wrong, by switches and by chance; and how often one may ask."""

import asyncio
import math
from collections import Counter

import httpx
import pytest

from clerkmap.testing import Clock, FakeClerk
from fake_api_world import BASE, client_of, refusal

START = 1_800_000_000


def outcome(client: httpx.Client) -> str:
    """What becomes of one request that makes a person."""
    try:
        answer = client.post("/users", json={"skip_user_requirement": True})
    except httpx.HTTPError as error:
        return type(error).__name__
    return str(answer.status_code)


def test_nothing_goes_wrong_by_itself() -> None:
    """All switches are off: hundreds of requests are answered, as fast as they come."""
    clerk = FakeClerk(clock=Clock(START))
    with client_of(clerk) as client:
        assert Counter(outcome(client) for _ in range(300)) == {"200": 300}
    assert clerk.clock() == START


@pytest.mark.parametrize(
    ("fault", "outcomes", "done"),
    [
        ("cut_before", {"RemoteProtocolError"}, False),
        ("cut_after", {"RemoteProtocolError"}, True),
        ("cut_within", {"RemoteProtocolError"}, True),
        ("server_error", {"500", "503"}, False),
        ("proxy_error", {"502", "503", "504"}, False),
        ("too_many", {"429"}, False),
    ],
)
def test_a_fault_strikes_by_chance_and_before_or_after_the_deed(fault: str, outcomes: set[str], done: bool) -> None:
    """Whether a request was processed cannot be told from a connection that was cut. The same seed strikes the same."""
    runs = []
    for _ in range(2):
        clerk = FakeClerk()
        setattr(clerk.faults, fault, 0.5)
        with client_of(clerk) as client:
            runs.append([outcome(client) for _ in range(60)])
        assert set(runs[-1]) == {"200", *outcomes}
        assert len(clerk.users) == (60 if done else runs[-1].count("200"))
    assert runs[0] == runs[1]
    clerk = FakeClerk()
    setattr(clerk.faults, fault, 1)
    with client_of(clerk) as client:
        assert outcome(client) in outcomes


def test_the_luck_of_one_fault_does_not_hang_on_another() -> None:
    """Switching a second fault on leaves the requests that the first one strikes."""
    struck = []
    for also in (0, 0.3):
        clerk = FakeClerk()
        clerk.faults.cut_before, clerk.faults.too_many = 0.3, also
        with client_of(clerk) as client:
            found = [outcome(client) for _ in range(50)]
        struck.append([at for at, each in enumerate(found) if each == "RemoteProtocolError"])
    assert struck[0] == struck[1]


def test_a_proxy_answers_with_a_page() -> None:
    """In HTML, of which no JSON can be made; Clerk's own failures are JSON."""
    clerk = FakeClerk()
    with client_of(clerk) as client:
        clerk.faults.proxy_error = 1
        answer = client.get("/users")
        assert answer.headers["content-type"] == "text/html"
        assert answer.text.startswith("<html>")
        clerk.faults.proxy_error, clerk.faults.server_error = 0, 1
        answer = client.get("/users")
        assert refusal(answer) == (answer.status_code, "internal_clerk_error")
        clerk.faults.server_error, clerk.faults.too_many = 0, 1
        assert client.get("/users").headers["retry-after"] == "1"


def test_an_answer_is_cut_in_its_middle() -> None:
    """The head has come, with the length of all of it, and half of the body."""
    clerk = FakeClerk()
    clerk.create_user("ada@example.com")
    clerk.faults.cut_within = 1
    with client_of(clerk) as client, client.stream("GET", "/users") as answer:
        assert answer.status_code == 200
        chunks = answer.iter_bytes()
        assert len(next(chunks)) == int(answer.headers["content-length"]) // 2
        with pytest.raises(httpx.RemoteProtocolError):
            next(chunks)


def test_latency_moves_a_clock_that_stands_still() -> None:
    """So that no test waits for it. A client that has less patience gives up, and the deed is done."""
    clerk = FakeClerk(clock=Clock(START))
    clerk.faults.latency = 30
    with client_of(clerk) as client:
        client.timeout = httpx.Timeout(None)
        assert outcome(client) == "200"
        assert clerk.clock() == START + 30
        client.timeout = httpx.Timeout(4)
        assert outcome(client) == "ReadTimeout"
        assert clerk.clock() == START + 34
    assert len(clerk.users) == 2


def test_latency_really_passes_by_a_real_clock() -> None:
    """In threads and in tasks; a task's event loop goes on meanwhile."""
    clerk = FakeClerk()
    clerk.faults.latency = 0.02
    headers = {"Authorization": f"Bearer {clerk.secret_key}"}

    async def ask() -> float:
        loop = asyncio.get_running_loop()
        async with httpx.AsyncClient(transport=clerk.transport(), base_url=BASE, headers=headers) as client:
            began = loop.time()
            await asyncio.gather(*(client.get("/users") for _ in range(3)))
            return loop.time() - began

    assert asyncio.run(ask()) >= 0.02
    with client_of(clerk) as client:
        assert client.get("/users").elapsed.total_seconds() >= 0.02


def test_requests_are_limited_as_clerk_limits_them() -> None:
    """A hundred in ten seconds, by the clock; what is refused does not count, and is told when to come again."""
    clerk = FakeClerk(clock=Clock(START))
    clerk.faults.rate_limit = True
    with client_of(clerk) as client:
        for _ in range(99):
            assert client.get("/users").status_code == 200
        clerk.clock.advance(3.5)
        assert client.get("/users").status_code == 200
        for _ in range(50):
            refused = client.get("/users/count")
            assert refusal(refused) == (429, "too_many_requests")
            assert refused.headers["retry-after"] == "7"
        assert client.get("/jwks").status_code == 200
        clerk.clock.advance(7)
        for _ in range(99):
            assert client.get("/users").status_code == 200
        assert refusal(client.get("/users"))[0] == 429


def test_who_has_no_key_uses_nothing_up() -> None:
    """Only requests of the instance count, and not those for its public keys."""
    clerk = FakeClerk(clock=Clock(START))
    clerk.faults.rate_limit, clerk.faults.limit = True, 1
    with client_of(clerk, "sk_test_other") as stranger, client_of(clerk) as client:
        for _ in range(5):
            assert refusal(stranger.get("/users"))[0] == 401
            assert client.get("/jwks").status_code == 200
            assert client.get(f"{clerk.issuer}/.well-known/jwks.json").status_code == 200
        assert client.get("/users").status_code == 200
        assert refusal(client.get("/users"))[0] == 429


def test_changes_of_one_object_are_limited() -> None:
    """Ten in ten seconds, of a person, an organization or a membership; others have a count of their own."""
    clerk = FakeClerk(clock=Clock(START))
    ada, bob = clerk.create_user(username="ada"), clerk.create_user(username="bob")
    acme = clerk.create_organization("Acme", created_by=ada)
    clerk.faults.rate_limit, clerk.faults.limit = True, None
    with client_of(clerk) as client:
        for path in (f"/users/{ada.id}", f"/organizations/{acme.id}", f"/organizations/{acme.id}/memberships/{ada.id}"):
            for n in range(10):
                assert client.patch(f"{path}/metadata", json={"public_metadata": {"n": n}}).status_code == 200
            refused = client.patch(f"{path}/metadata", json={"public_metadata": {}})
            assert (refusal(refused)[0], refused.headers["retry-after"]) == (429, "10")
            assert client.get("/users").status_code == 200
        assert refusal(client.patch(f"/users/{ada.id}", json={"first_name": "Ada"}))[0] == 429
        assert client.patch(f"/users/{bob.id}", json={"first_name": "Bob"}).status_code == 200
        clerk.clock.advance(10)
        assert client.patch(f"/users/{ada.id}", json={"first_name": "Ada"}).status_code == 200
        clerk.faults.limit_each = None
        for _ in range(20):
            assert client.put(f"/users/{ada.id}/metadata", json={"public_metadata": {}}).status_code == 200


def test_a_limit_is_kept_over_any_ten_seconds() -> None:
    """However requests are spread, no window of ten seconds lets more of them through."""
    clerk = FakeClerk(clock=Clock(START))
    clerk.faults.rate_limit, clerk.faults.limit = True, 5
    passed: list[float] = []
    with client_of(clerk) as client:
        for n in range(200):
            clerk.clock.advance(abs(math.sin(n)) * 3)
            if client.get("/users").status_code == 200:
                passed.append(clerk.clock())
    assert all(later - sooner >= 10 for sooner, later in zip(passed, passed[5:], strict=False))
    assert len(passed) > 50
