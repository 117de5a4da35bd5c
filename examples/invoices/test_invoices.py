"""Who may do what with invoices. Every token here is really signed, and really verified."""

import pytest
from fastapi.testclient import TestClient

from clerkmap.testing import FakeClerk


def test_a_stranger_sees_nothing(client: TestClient) -> None:
    """Without a token there are no invoices."""
    assert client.get("/invoices").status_code == 401


def test_a_member_reads(clerk: FakeClerk, client: TestClient) -> None:
    """Whoever is in an organization sees its invoices."""
    assert client.get("/invoices", headers=clerk.auth(role="org:member")).json() == []


@pytest.mark.parametrize(("role", "status"), [("org:accountant", 201), ("org:member", 403), ("org:admin", 403)])
def test_accountants_write(clerk: FakeClerk, client: TestClient, role: str, status: int) -> None:
    """It takes the permission, which only one role has."""
    answer = client.post("/invoices", params={"text": "42"}, headers=clerk.auth(role=role))
    assert answer.status_code == status


@pytest.mark.clerk_user("ada@example.com", organization="Acme", role="org:accountant")
def test_an_invoice_says_who_wrote_it(clerk: FakeClerk, client: TestClient) -> None:
    """The address comes with Clerk's webhooks."""
    client = clerk.signed_in(client)
    for delivery in clerk.deliveries():
        assert client.post("/webhooks/clerk", content=delivery.body, headers=delivery.headers).status_code == 200
    client.post("/invoices", params={"text": "42"})
    assert client.get("/invoices").json() == [{"text": "42", "by": "ada@example.com"}]


def test_organizations_see_their_own(clerk: FakeClerk, client: TestClient) -> None:
    """What one organization writes, another one does not see."""
    ada = clerk.create_user("ada@example.com")
    acme, other = clerk.create_organization("Acme"), clerk.create_organization("Other")
    client.post("/invoices", params={"text": "42"}, headers=clerk.auth(ada, acme, role="org:accountant"))
    assert len(client.get("/invoices", headers=clerk.auth(ada, acme)).json()) == 1
    assert client.get("/invoices", headers=clerk.auth(ada, other)).json() == []
