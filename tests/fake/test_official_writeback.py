"""What clerkmap writes back, Clerk's own clients see; and the tokens that are minted afterwards carry it.

Everything goes over HTTP: the made-up Clerk on a real server, and clerkmap's own API client.
"""

from collections.abc import Generator
from typing import Any

import pytest
from clerk_backend_api import Clerk
from clerk_backend_api.security import VerifyTokenOptions, verify_token

from clerkmap import Resolver, Verifier, WriteBack
from clerkmap.clerk import ClerkApi
from clerkmap.core.records import ClerkOrganization
from clerkmap.repositories import MemoryRepository
from clerkmap.sync import create_organization, drain
from clerkmap.testing import FakeClerk
from node_client import node_client
from official_javascript import Official
from uvicorn_server import serving

pytestmark = pytest.mark.filterwarnings("ignore:.*DEPRECATED:DeprecationWarning")  # of the client's own models


class Written:
    """A Clerk on a real server, whose one person and organization clerkmap has told of your ids."""

    def __init__(self, url: str, clerk: FakeClerk) -> None:
        self.clerk, self.url = clerk, url
        self.instance = clerk.make_instance(api_url=url)
        back = WriteBack(user_id="userId", role="role", organization_id="orgId", external_id=True)
        self.repository = MemoryRepository(write_back=back, clock=clerk.clock)
        self.bea = clerk.create_user("bea@example.com", public_metadata={"theme": "dark"})
        self.acme = clerk.create_organization("Acme", created_by=self.bea)
        now = clerk.moment()
        acme = ClerkOrganization.full(self.instance.name, self.acme.id, observed_at=now, updated_at=now, name="Acme")
        self.repository.put([clerk.record(self.bea, public_metadata={"theme": "dark"}), acme])
        standing = self.repository.find(self.instance.name, self.bea.id, self.acme.id)
        assert standing is not None
        assert standing.organization is not None
        self.user_id, self.organization_id = standing.user.id, standing.organization.id
        self.repository.set_role(self.user_id, "author")
        clerk.clock.advance(3)
        with ClerkApi(self.instance) as api:
            assert drain(api, self.repository, clock=clerk.clock).written == 2
        clerk.session_claims = {"userId": "{{user.public_metadata.userId}}", "who": "{{user.external_id || user.id}}"}


@pytest.fixture(scope="module")
def written() -> Generator[Written]:
    """One for the module: nothing here changes it."""
    clerk = FakeClerk(seed=71)
    clerk.clock.advance(-300)  # time will be moved on, and Node has a clock of its own
    with serving(clerk.app) as (host, port):
        yield Written(f"http://{host}:{port}", clerk)


@pytest.fixture(scope="module")
def official(written: Written) -> Generator[Official]:
    """The client for JavaScript, in one process of Node for all tests here."""
    with node_client() as node:
        yield Official(written.clerk, node, written.url)


def test_the_python_client_sees_them(written: Written) -> None:
    """In the metadata beside what was there, and as external id, by which it finds the person."""
    with Clerk(bearer_auth=written.clerk.secret_key, server_url=f"{written.url}/v1") as client:
        user = client.users.get(user_id=written.bea.id)
        assert user.public_metadata == {"theme": "dark", "userId": written.user_id, "role": "author"}
        assert user.external_id == written.user_id
        assert [each.id for each in client.users.list(request={"external_id": [str(written.user_id)]})] == [user.id]
        organization = client.organizations.get(organization_id=written.acme.id)
        assert organization.public_metadata == {"orgId": written.organization_id}


def test_a_token_that_is_minted_afterwards_carries_them(written: Written) -> None:
    """The official client reads them there, and so does clerkmap, which trusts them if it is told to."""
    token = written.clerk.token(written.bea, expires_in=3600)
    options = VerifyTokenOptions(secret_key=written.clerk.secret_key, api_url=written.url)
    claims: dict[str, Any] = verify_token(token, options)
    assert (claims["userId"], claims["who"]) == (written.user_id, written.user_id)
    verifier = Verifier(written.instance, own_id="userId", clock=written.clerk.clock)
    resolver = Resolver(written.instance, written.repository, verifier=verifier, trust_own_id=True)
    written.clerk.clock.advance(150)
    principal = resolver.resolve(written.clerk.token(written.bea))
    assert (principal.user.id, principal.user.role, principal.claims.own_id) == (written.user_id, None, written.user_id)


def test_the_javascript_client_sees_them(written: Written, official: Official) -> None:
    """`@clerk/backend` finds them in the person, in the organization, and in the token."""
    user = official.api("users.getUser", written.bea.id)
    assert user["publicMetadata"] == {"theme": "dark", "userId": written.user_id, "role": "author"}
    assert user["externalId"] == written.user_id
    organization = official.api("organizations.getOrganization", {"organizationId": written.acme.id})
    assert organization["publicMetadata"] == {"orgId": written.organization_id}
    assert official.verify(written.clerk.token(written.bea, expires_in=3600))["userId"] == written.user_id


def test_the_javascript_client_sees_an_organization_that_clerkmap_has_made(
    written: Written, official: Official
) -> None:
    """With its first member, and what was said of it."""
    with ClerkApi(written.instance) as api:
        made = create_organization(
            api, written.repository, idempotency_key="form 7", name="Grand", created_by=written.bea.id, slug="grand"
        )
    organization = official.api("organizations.getOrganization", {"slug": "grand"})
    assert (organization["id"], organization["name"]) == (made.clerk_id, "Grand")
    members = official.api("organizations.getOrganizationMembershipList", {"organizationId": made.clerk_id})
    assert [(each["publicUserData"]["userId"], each["role"]) for each in members["data"]] == [
        (written.bea.id, "org:admin")
    ]
