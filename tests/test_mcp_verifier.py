"""What the SDK is told of a token: your ids, its scopes and its resource; None where it is bad; an outage is raised."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from mcp.server.auth.provider import AccessToken

from clerkmap import ConfigurationError, Resolver
from clerkmap.adapters.mcp import ClerkAccessToken, ClerkTokenVerifier, principal_of_call
from clerkmap.errors import RepositoryUnavailable, TokenMissing
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk
from mcp_servers import OTHER, RESOURCE, Notes, notes_of_a_database_that_is_away


@pytest.fixture(scope="module")
def notes() -> Notes:
    """A server with the notes of nobody."""
    return Notes()


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
    assert "this adapter needs the official MCP SDK, version 2: pip install 'clerkmap[mcp]'" in done.stderr
