"""An MCP server by the official SDK: a client calls a tool over real HTTP, and gets what its user may see."""

import asyncio
from collections.abc import Generator
from typing import Any

import httpx2
import pytest
from mcp import MCPError

from clerkmap.adapters.mcp import ClerkTokenVerifier
from clerkmap.errors import ConfigurationError
from clerkmap.testing import FakeClerk
from mcp_servers import (
    METADATA,
    OTHER,
    RESOURCE,
    Bearer,
    Notes,
    connected,
    notes_of_a_database_that_is_away,
    post,
    serving,
    told,
)

PLAIN: dict[str, Any] = {}
STATELESS = {"stateless_http": True, "json_response": True}


@pytest.fixture(scope="module")
def notes() -> Notes:
    """A server with the notes of nobody yet."""
    return Notes()


@pytest.fixture(scope="module")
def url(notes: Notes) -> Generator[str]:
    """Where it is served."""
    with serving(notes.app_that_answers_outages()) as url:
        yield url


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("options", [PLAIN, STATELESS], ids=["sessions", "stateless"])
def test_a_tool_shows_everybody_their_own(options: dict[str, Any], mode: str) -> None:
    """Clients of several people, at once and interleaved, in every way the SDK has: each gets their own rows only."""
    notes = Notes(options=options)
    people = {f"the note of {number}": notes.join(f"the note of {number}") for number in range(4)}

    async def use(url: str, note: str) -> None:
        async with connected(url, Bearer(notes.token(people[note])), mode) as client:
            for tool in ["mine", "mine_later", "who_is_current"] * 3:
                assert await told(client, tool) == note
            (read,) = (await client.read_resource("notes://mine")).contents
            assert getattr(read, "text", None) == note

    async def use_at_once(url: str) -> None:
        await asyncio.gather(*(use(url, note) for note in people))

    with serving(notes.app_that_answers_outages()) as url:
        asyncio.run(use_at_once(url))


def refused_tokens(notes: Notes) -> dict[str, str]:
    """Tokens that let nobody in, by what is wrong with each."""
    ann, other, now = notes.join("Ann's"), FakeClerk(seed=96), int(notes.clerk.clock())
    banned = notes.join("Bob's")
    notes.repository.put([notes.clerk.record(banned, banned=True)])
    past = {"iat": now - 100, "nbf": now - 100, "exp": now - 50}
    return {
        "expired": notes.token(ann, **past),
        "of another instance": other.oauth_token(other.create_user(), scopes=["notes:read"]),
        "a session": notes.clerk.token(ann),
        "a machine": notes.clerk.machine_token(),
        "banned": notes.token(banned),
        "for another resource": notes.token(ann, aud="https://mail.example.com/mcp"),
        "with a letter more": notes.token(ann) + "A",
        "two words": f"{notes.token(ann)} {notes.token(ann)}",
        "no token": "undefined",
    }


@pytest.mark.slow
def test_who_brings_no_good_token_is_sent_to_the_metadata(notes: Notes, url: str) -> None:
    """401, and where to read who gives tokens. No tool is reached."""
    asked: list[httpx2.Response] = [post(url), post(url, cookie=f"__session={notes.token(notes.join('Ann'))}")]
    asked += [post(url, authorization=f"Bearer {token}") for token in refused_tokens(notes).values()]
    asked += [post(url, authorization="Basic YTpi")]
    for response in asked:
        assert response.status_code == 401
        assert f'resource_metadata="{METADATA}"' in response.headers["www-authenticate"]


def test_a_client_with_a_bad_token_does_not_connect(notes: Notes, url: str) -> None:
    """The SDK's own client is told so."""

    async def connect() -> None:
        async with connected(url, Bearer("undefined"), "legacy"):
            pass

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(connect())
    assert caught.group_contains(MCPError)


def test_the_metadata_names_clerk(notes: Notes, url: str) -> None:
    """RFC 9728: which resource this is, and that Clerk gives the tokens. The texts are exact: clients compare them."""
    response = httpx2.get(f"{url}/.well-known/oauth-protected-resource/mcp")
    assert response.status_code == 200
    assert response.json() == {
        "resource": RESOURCE,
        "authorization_servers": [notes.clerk.issuer],
        "scopes_supported": ["notes:read"],
        "bearer_methods_supported": ["header"],
    }


def test_a_token_without_the_scope_is_not_enough(notes: Notes, url: str) -> None:
    """403: the person is known, and has not let the client do this."""
    response = post(url, authorization=f"Bearer {notes.token(notes.join('A'), scopes=['profile'])}")
    assert response.status_code == 403
    assert 'error="insufficient_scope"' in response.headers["www-authenticate"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_who_is_locked_out_is_refused_at_once(notes: Notes, url: str, mode: str) -> None:
    """A client that is connected, with a token that is good for a day: the next call is refused."""
    person = notes.join("Ann's")

    async def use() -> None:
        async with connected(url, Bearer(notes.token(person)), mode) as client:
            assert await told(client) == "Ann's"
            notes.repository.put([notes.clerk.record(person, banned=True)])
            with pytest.raises(MCPError):
                await told(client)
            assert post(url, authorization=f"Bearer {notes.token(person)}").status_code == 401

    asyncio.run(use())


def test_nobody_speaks_in_another_persons_session(notes: Notes, url: str) -> None:
    """The SDK ties a session to who began it: to the client, the issuer and your user."""
    ann, bob = notes.join("Ann's"), notes.join("Bob's")
    began = post(url, authorization=f"Bearer {notes.token(ann, client_id='the same')}")
    session = {"mcp-session-id": began.headers["mcp-session-id"]}
    for person, status in ((bob, 404), (ann, 200)):
        bearer = f"Bearer {notes.token(person, client_id='the same')}"
        assert post(url, authorization=bearer, **session).status_code == status


def test_an_outage_is_no_bad_token() -> None:
    """503 and when to ask again, so that no client throws a good token away; the SDK alone makes a 500 of it."""
    notes, token = notes_of_a_database_that_is_away()
    with serving(notes.app_that_answers_outages()) as url:
        response = post(url, authorization=f"Bearer {token}")
        assert (response.status_code, response.json()["code"]) == (503, "repository_unavailable")
        assert response.headers["retry-after"] == "10"
        assert post(url).status_code == 401
    with serving(notes.app()) as url:
        assert post(url, authorization=f"Bearer {token}").status_code == 500


@pytest.mark.parametrize("configured", [None, OTHER])
@pytest.mark.parametrize("allowed", [False, True])
def test_only_tokens_for_this_resource_pass(configured: str | None, allowed: bool) -> None:
    """Whatever the instance's audience is; a token without one passes only where that is allowed."""
    notes = Notes(audience=configured, allow_no_audience=allowed)
    ann = notes.clerk.create_user()
    with serving(notes.app_that_answers_outages()) as url:
        for audience, status in ((RESOURCE, 200), (OTHER, 401), (None, 200 if allowed else 401)):
            assert post(url, authorization=f"Bearer {notes.token(ann, aud=audience)}").status_code == status


def test_something_else_is_no_resolver() -> None:
    """It is refused at the start, with what belongs there."""
    wrong: Any = FakeClerk().instance
    with pytest.raises(ConfigurationError, match=r"takes a resolver, .*; got Instance"):
        ClerkTokenVerifier(wrong, resource=RESOURCE)
