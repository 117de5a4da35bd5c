"""Access to invoices. All tokens are really signed and verified."""

import pytest
from fastapi.testclient import TestClient

from clerkmap.testing import FakeClerk


def test_a_stranger_sees_nothing(client: TestClient) -> None:
    """A request without a token is refused."""
    assert client.get("/invoices").status_code == 401


def test_a_member_reads(clerk: FakeClerk, client: TestClient) -> None:
    """A member sees the organization's invoices."""
    assert client.get("/invoices", headers=clerk.auth(role="org:member")).json() == []


@pytest.mark.parametrize(("role", "status"), [("org:accountant", 201), ("org:member", 403), ("org:admin", 403)])
def test_accountants_write(clerk: FakeClerk, client: TestClient, role: str, status: int) -> None:
    """Writing requires the permission, which only one role has."""
    response = client.post("/invoices", params={"text": "42"}, headers=clerk.auth(role=role))
    assert response.status_code == status


@pytest.mark.clerk_user("ada@example.com", organization="Acme", role="org:accountant")
def test_an_invoice_says_who_wrote_it(clerk: FakeClerk, client: TestClient) -> None:
    """The author's address comes from Clerk's webhooks."""
    client = clerk.signed_in(client)
    for delivery in clerk.deliveries():
        assert client.post("/webhooks/clerk", content=delivery.body, headers=delivery.headers).status_code == 200
    client.post("/invoices", params={"text": "42"})
    assert client.get("/invoices").json() == [{"text": "42", "by": "ada@example.com"}]


def test_organizations_see_their_own(clerk: FakeClerk, client: TestClient) -> None:
    """An organization does not see invoices of another one."""
    ada = clerk.create_user("ada@example.com")
    acme, other = clerk.create_organization("Acme"), clerk.create_organization("Other")
    client.post("/invoices", params={"text": "42"}, headers=clerk.auth(ada, acme, role="org:accountant"))
    assert len(client.get("/invoices", headers=clerk.auth(ada, acme)).json()) == 1
    assert client.get("/invoices", headers=clerk.auth(ada, other)).json() == []
