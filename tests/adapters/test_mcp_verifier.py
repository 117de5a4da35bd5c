"""What the SDK is told of a token: your ids, its scopes and its resource; None where it is bad; an outage is raised."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from mcp.server.auth.provider import AccessToken

from clerkmap import ConfigurationError, Resolver, Verifier
from clerkmap.adapters.mcp import ClerkAccessToken, ClerkTokenVerifier, principal_of_call
from clerkmap.clerk import OpaqueTokens
from clerkmap.errors import AudienceRefused, RepositoryUnavailable, TokenMissing
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
    assert found.resource == RESOURCE


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
    ("audience", "passes"),
    [
        (RESOURCE, True),
        (RESOURCE + "/", True),
        (RESOURCE + "?tenant=a", True),
        (RESOURCE + "/?tenant=a#b", True),
        ([OTHER, RESOURCE], True),
        (OTHER, False),
        (RESOURCE.upper(), False),
        (RESOURCE + "//", False),
        (RESOURCE + "/more", False),
        (RESOURCE.removesuffix("/mcp"), False),
        ("?" + RESOURCE, False),
        ("", False),
        ([], False),
        ([RESOURCE, 7], False),
        ({"a": RESOURCE}, False),
        (7, False),
    ],
    ids=repr,
)
@pytest.mark.parametrize("configured", [None, OTHER, [RESOURCE, "api"]])
@pytest.mark.parametrize("allowed", [False, True])
def test_a_token_for_another_resource_is_refused(configured: Any, allowed: bool, audience: Any, passes: bool) -> None:
    """A token must name this server, to the letter but for a slash at the end and a query."""
    notes = Notes(audience=configured, allow_no_audience=allowed)
    found = verified(notes, notes.token(notes.clerk.create_user(), aud=audience))
    assert (found is not None) == passes
    assert found is None or found.resource == RESOURCE


@pytest.mark.parametrize("form", ["JWT", "opaque"])
@pytest.mark.parametrize("allowed", [False, True])
def test_a_token_that_names_no_resource(allowed: bool, form: str) -> None:
    """It passes only where the setting says so, in either form."""
    notes = Notes(allow_no_audience=allowed)
    clerk = notes.clerk
    opaque = OpaqueTokens(clerk.instance, transport=clerk.transport())
    verifier = Verifier(clerk.instance, accept=["oauth"], opaque=opaque)
    server = ClerkTokenVerifier(
        Resolver(clerk.instance, notes.repository, verifier=verifier), resource=RESOURCE, allow_no_audience=allowed
    )
    ann = clerk.create_user()
    for audience, passes in ((None, allowed), (RESOURCE, True), (OTHER, False)):
        jwt = clerk.oauth_token(ann, claims={"aud": audience})
        token = jwt if form == "JWT" else clerk.create_oauth_token(ann, audience=audience).secret
        assert (asyncio.run(server.verify_token(token)) is not None) == passes


def test_the_same_token_elsewhere() -> None:
    """Resolvers of two resources share users, and neither lets the other's tokens in, remembered or not."""
    notes = Notes(accept=("session", "oauth"))
    other = notes.resolver.for_resource(OTHER)
    ann = notes.clerk.create_user()
    here, there = notes.token(ann), notes.token(ann, aud=OTHER)
    for _ in range(2):
        assert notes.resolver.resolve(here).user == other.resolve(there).user
        for resolver, token in ((notes.resolver, there), (other, here)):
            with pytest.raises(AudienceRefused):
                resolver.resolve(token)
    session = notes.clerk.token(ann)
    assert notes.resolver.resolve(session).user == other.resolve(session).user


def test_an_openid_provider_must_name_the_resource() -> None:
    """Its tokens are bound to the resource as Clerk's are, and can never name none."""
    clerk = FakeClerk(97)
    instance = clerk.make_oidc_instance("https://api.example.com")
    resolver = Resolver(instance, MemoryRepository())
    server = ClerkTokenVerifier(resolver, resource=RESOURCE)
    for audience, passes in ((RESOURCE, True), ("https://api.example.com", False)):
        token = clerk.oidc_token("ann", audience)
        assert (asyncio.run(server.verify_token(token)) is not None) == passes
    with pytest.raises(ConfigurationError, match="allow_no_audience is for Clerk"):
        resolver.for_resource(RESOURCE, allow_no_audience=True)
    odd: Any = "yes"
    with pytest.raises(ConfigurationError, match="True or False"):
        resolver.for_resource(RESOURCE, allow_no_audience=odd)


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
