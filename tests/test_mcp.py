"""An MCP server by the official SDK: a client calls a tool over real HTTP, and gets what its user may see."""

import asyncio
import subprocess
import sys
from collections.abc import Generator
from typing import Any

import httpx2
import pytest
from mcp import MCPError
from mcp.server.auth.provider import AccessToken

from clerkmap import ConfigurationError, Resolver, TokenError
from clerkmap.adapters.mcp import ClerkAccessToken, ClerkTokenVerifier, principal_of_call
from clerkmap.errors import RepositoryUnavailable, TokenMissing
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk
from mcp_servers import METADATA, RESOURCE, Bearer, Notes, connected, post, serving, told

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


class Away(MemoryRepository):
    """A database that is away."""

    is_away = False

    def find(self, *args: Any) -> Any:
        """What every request needs."""
        if self.is_away:
            raise RepositoryUnavailable
        return super().find(*args)


def notes_of_a_database_that_is_away() -> tuple[Notes, str]:
    """A server, and a good token of somebody it does not remember."""
    notes = Notes()
    away = Away()
    away.is_away = True
    resolver = Resolver(notes.resolver.verifier.instance, away, verifier=notes.resolver.verifier)
    notes.resolver = notes.verifier._resolver = resolver
    return notes, notes.token(notes.clerk.create_user())


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


def test_an_outage_is_raised() -> None:
    """What the SDK is handed: an error, and not the None of a bad token."""
    notes, token = notes_of_a_database_that_is_away()
    with pytest.raises(RepositoryUnavailable):
        asyncio.run(notes.verifier.verify_token(token))


def verified(notes: Notes, token: str) -> ClerkAccessToken | None:
    return asyncio.run(notes.verifier.verify_token(token))


def test_the_access_token_tells_your_ids() -> None:
    """The subject is your user, the organization is yours too, and the issuer says whose word it is."""
    notes = Notes()
    ann = notes.clerk.create_user()
    acme = notes.clerk.create_organization(created_by=ann)
    token = notes.token(ann, client_id="client_1", org_id=acme.id, org_role="org:admin")
    found = verified(notes, token)
    principal = notes.resolver.resolve(token)
    assert found is not None
    assert principal.organization is not None
    assert (found.token, found.client_id, found.scopes) == (token, "client_1", ["notes:read"])
    assert (found.subject, found.expires_at) == (str(principal.user.id), principal.claims.expires_at)
    assert found.claims == {
        "iss": notes.clerk.issuer,
        "organization_id": principal.organization.id,
        "organization_role": "org:admin",
    }
    assert found.principal == principal
    assert found.resource is None


def test_a_session_passes_where_sessions_are_accepted() -> None:
    """A front end of yours may call the server itself. It is told by the origin its token was made for."""
    notes = Notes(accept=("session", "oauth"))
    ann = notes.clerk.create_user()
    found, nameless = verified(notes, notes.clerk.token(ann)), verified(notes, notes.clerk.token(ann, party=None))
    assert found is not None
    assert nameless is not None
    assert (found.client_id, nameless.client_id) == ("https://app.example.com", "session")
    assert found.claims == {"iss": notes.clerk.issuer, "organization_id": None, "organization_role": None}


OTHER = "https://notes.example.com/other"


@pytest.mark.parametrize(
    ("configured", "audience", "passes"),
    [
        (None, None, True),
        (None, RESOURCE, False),
        (None, OTHER, False),
        (RESOURCE, RESOURCE, True),
        (RESOURCE, [OTHER, RESOURCE], True),
        (RESOURCE, None, False),
        (RESOURCE, OTHER, False),
        ([RESOURCE, OTHER], OTHER, False),
        ([RESOURCE, OTHER, "api"], ["api", OTHER], False),
        ([RESOURCE, "api"], ["api", RESOURCE], True),
        ([RESOURCE + "/"], RESOURCE + "/", True),
        (RESOURCE, [], False),
        (RESOURCE, [RESOURCE, 7], False),
        (RESOURCE, {"a": RESOURCE}, False),
    ],
)
def test_a_token_for_another_resource_is_refused(configured: Any, audience: Any, passes: bool) -> None:
    """Where a token names audiences, this server is one of them; with an audience configured, it must name some."""
    notes = Notes(audience=configured)
    found = verified(notes, notes.token(notes.clerk.create_user(), aud=audience))
    assert (found is not None) == passes
    assert found is None or found.resource == (None if audience is None else RESOURCE)
    settings = notes.verifier.auth_settings()
    assert (settings.validate_token_resource, settings.required_scopes) == (configured is not None, None)


def test_a_token_bound_to_the_resource_passes_the_sdk_too() -> None:
    """With an audience configured, the SDK compares the resource once more, and nobody else passes."""
    notes = Notes(audience=[RESOURCE, OTHER])
    ann = notes.clerk.create_user()
    with serving(notes.app()) as url:
        for audience, status in ((RESOURCE, 200), (OTHER, 401), (None, 401)):
            assert post(url, authorization=f"Bearer {notes.token(ann, aud=audience)}").status_code == status


def test_an_access_token_shows_nothing_and_a_copy_of_it_is_nobody() -> None:
    """Neither the token nor the person is in what is printed. Its fields alone make no principal."""
    notes = Notes()
    found = verified(notes, notes.token(notes.clerk.create_user()))
    assert found is not None
    assert found.token not in f"{found!r}{found}"
    assert str(found.subject) not in f"{found!r}{found}"
    with pytest.raises(TokenMissing):
        _ = ClerkAccessToken.model_validate(found.model_dump()).principal
    assert isinstance(found, AccessToken)


def test_nobody_calls_outside_of_a_call() -> None:
    """Where the SDK knows of no token, there is no principal."""
    with pytest.raises(TokenMissing):
        principal_of_call()


@pytest.mark.parametrize("resource", ["", "notes", "http://notes.example.com", "https://a.example/#x", None], ids=repr)
def test_a_resource_that_is_no_url_is_refused(resource: Any) -> None:
    """RFC 8707 wants an absolute URL; anything else would match nothing."""
    with pytest.raises(ConfigurationError, match="resource"):
        ClerkTokenVerifier(Resolver(FakeClerk().instance, MemoryRepository()), resource=resource)


@pytest.mark.parametrize("token", [None, 7, b"bytes", "\ud800", "a.b.c", "x" * 100_000], ids=lambda each: str(each)[:9])
def test_whatever_comes_is_none_and_never_raises(notes: Notes, token: Any) -> None:
    """A bad token is None, whatever it is."""
    assert verified(notes, token) is None


def test_the_reason_is_logged_and_nothing_else(notes: Notes, caplog: pytest.LogCaptureFixture) -> None:
    """The SDK's answer does not say why, so the log does: by the error's name alone."""
    caplog.set_level("INFO", "clerkmap.adapters")
    assert verified(notes, notes.clerk.token(notes.clerk.create_user())) is None
    assert [record.getMessage() for record in caplog.records] == ["an MCP client was refused: SessionToken"]


def test_without_the_sdk_the_import_says_what_to_install() -> None:
    """A process that has no `mcp` is told how to get it."""
    code = "import sys; sys.modules['mcp'] = None\nimport clerkmap.adapters.mcp"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "pip install 'clerkmap[mcp]'" in done.stderr
    assert issubclass(TokenMissing, Exception)
    assert not issubclass(TokenMissing, TokenError)
