"""A suite of somebody who uses the plugin. It is run by pytest inside a test, in a directory of its own.

The application is made by a factory that reads Clerk's environment, as in the example that the plugin is made for.
"""

import os
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from clerkmap import Instance, Reconciler, Resolver, User
from clerkmap.adapters.fastapi import Clerk
from clerkmap.errors import MembershipDeleted, TokenExpired
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock, FakeClerk

seen: list[FakeClerk] = []


def create_app() -> FastAPI:
    app, clerk = FastAPI(), Clerk(Resolver(Instance.from_env(), MemoryRepository()))

    @app.get("/me")
    async def me(user: Annotated[User, Depends(clerk.user)]) -> str | None:
        return user.clerk_id

    @app.get("/invoices", dependencies=[Depends(clerk.require(organization_role="admin"))])
    async def invoices() -> list[str]:
        return []

    return app


@pytest.fixture
def client(clerk: FakeClerk) -> TestClient:
    return TestClient(create_app())


def test_invoices(clerk: FakeClerk, client: TestClient) -> None:
    """Nothing is configured: the factory finds the Clerk of the test, and two roles are two people."""
    assert client.get("/invoices", headers=clerk.auth(role="org:admin")).status_code == 200
    assert client.get("/invoices", headers=clerk.auth(role="org:member")).status_code == 403
    assert client.get("/invoices").status_code == 401


def test_the_environment_is_that_of_the_test(clerk: FakeClerk) -> None:
    """What a developer has in their shell is not there."""
    assert os.environ["CLERK_SECRET_KEY"] == clerk.secret_key
    assert "CLERK_AUTHORIZED_PARTIES" not in os.environ


def test_the_environment_is_left_as_it_was() -> None:
    """A test without `clerk` sees none of it."""
    assert os.environ["CLERK_SECRET_KEY"] == "sk_test_somebodysown"
    assert os.environ["CLERK_AUTHORIZED_PARTIES"] == "https://somebodys.example.com"


@pytest.mark.parametrize("turn", range(2))
def test_each_test_has_people_of_its_own(clerk: FakeClerk, turn: int) -> None:
    """The keys are the same in all tests, and no id is."""
    assert clerk.users == {}
    seen.append(clerk)
    if turn:
        first, second = (each.create_user("ada@example.com").id for each in seen)
        assert first != second
        assert seen[0].instance.publishable_key == seen[1].instance.publishable_key
        assert seen[0].jwks() == seen[1].jwks()


def test_time_stands_still(clerk_clock: Clock, clerk: FakeClerk, clerk_resolver: Resolver) -> None:
    """One clock for the tokens and for who reads them."""
    assert clerk.clock is clerk_clock is clerk_resolver.verifier.clock
    assert clerk_clock() == clerk_clock()
    token = clerk.token(clerk.create_user())
    clerk_clock.advance(64)
    clerk_resolver.resolve(token)
    clerk_clock.advance(1)
    with pytest.raises(TokenExpired):
        clerk_resolver.resolve(token)


def test_time_runs_where_nobody_stops_it(clerk: FakeClerk) -> None:
    """An application that reads the real time must find tokens good, however long a debugger holds the test up."""
    before = clerk.clock()
    while clerk.clock() == before:
        pass


def test_deliveries_reach_the_resolver(
    clerk: FakeClerk, clerk_clock: Clock, clerk_resolver: Resolver, clerk_reconciler: Reconciler
) -> None:
    """Deliveries are signed and read by the same clock, and end in the repository that the resolver asks."""
    clerk_clock.advance(-86_400 * 365)
    ada, acme = clerk.create_user(), clerk.create_organization()
    token = clerk.auth(ada, acme)["Authorization"].removeprefix("Bearer ")
    clerk.remove_member(acme, ada)
    for delivery in clerk.deliveries(shuffle=True, duplicate=0.5):
        clerk_reconciler.receive(delivery.headers, delivery.body)
    with pytest.raises(MembershipDeleted):
        clerk_resolver.resolve(token)


@pytest.mark.clerk_user("ada@example.com", first_name="Ada", organization="Analytical", role="org:admin", plan="o:pro")
class TestMarked:
    """Tests of one caller."""

    def test_who_the_marker_describes_is_calling(self, clerk: FakeClerk, clerk_resolver: Resolver) -> None:
        """A profile, an organization, a role and more of the token, in one line."""
        (ada,) = clerk.users.values()
        principal = clerk_resolver.resolve(clerk.auth()["Authorization"].removeprefix("Bearer "))
        assert (ada.email, ada.first_name, principal.user.clerk_id) == ("ada@example.com", "Ada", ada.id)
        assert principal.organization is not None
        assert principal.organization.slug == "analytical"
        assert principal.claims.has(organization_role="admin", plan="pro")

    def test_a_client_is_theirs(self, clerk: FakeClerk, client: TestClient) -> None:
        """A signed-in client is the same person."""
        clerk.signed_in(client)
        assert client.get("/me").json() == next(iter(clerk.users))
        assert client.get("/invoices").status_code == 200

    @pytest.mark.clerk_user(email="bob@example.com", id="user_ofmine")
    def test_the_nearest_marker_counts(self, clerk: FakeClerk, client: TestClient) -> None:
        """As with every marker of pytest."""
        assert clerk.signed_in(client).get("/me").json() == "user_ofmine"
        assert client.get("/invoices").json()["code"] == "organization_missing"

    def test_who_is_named_comes_before_the_marker(self, clerk: FakeClerk, client: TestClient) -> None:
        """A marker is for where nobody is named."""
        bob = clerk.create_user()
        assert client.get("/me", headers=clerk.auth(bob)).json() == bob.id
