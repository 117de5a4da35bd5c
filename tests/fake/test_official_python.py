"""Clerk's own client for Python, as it is, against the made-up Clerk on a real server: it reads every answer.

Its `authenticate_request` always fetches keys from Clerk's host, whatever it is told. What it calls for that,
`verify_token`, can be told another one, and is what fetches the keys here.
"""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from clerk_backend_api import Clerk, models
from clerk_backend_api.security import (
    AuthenticateRequestOptions,
    TokenVerificationError,
    VerifyTokenOptions,
    authenticate_request,
    verify_token,
    verify_token_async,
)
from clerk_backend_api.security.types import TokenVerificationErrorReason

from clerkmap.testing import FakeClerk
from uvicorn_server import serving

# The client warns of fields of its own models.
pytestmark = pytest.mark.filterwarnings("ignore:.*DEPRECATED:DeprecationWarning")


class World:
    """A made-up Clerk, its address, and the official client of it."""

    def __init__(self, clerk: FakeClerk, url: str, client: Clerk) -> None:
        self.clerk = clerk
        self.url = url
        self.client = client

    def options(self, **said: Any) -> VerifyTokenOptions:
        """How to verify tokens by what is at that address."""
        return VerifyTokenOptions(secret_key=self.clerk.secret_key, api_url=self.url, **said)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One server for the whole module; each test makes its own people."""
    clerk = FakeClerk(seed=23)
    with serving(clerk.app) as (host, port):
        url = f"http://{host}:{port}"
        with Clerk(bearer_auth=clerk.secret_key, server_url=f"{url}/v1") as client:
            yield World(clerk, url, client)


def test_people_are_made_found_changed_and_deleted(world: World) -> None:
    """Every endpoint of people answers with what the client's models take."""
    users = world.client.users
    ada = users.create(
        email_address=["ada@example.com", "ada@example.org"],
        first_name="Ada",
        external_id="1815",
        public_metadata={"likes": {"engines": True, "poems": True}},
        created_at="2024-02-03T04:05:06Z",
    )
    assert ada is not None
    assert ada.email_addresses[0].id == ada.primary_email_address_id
    assert ada.created_at == 1_706_933_106_000
    assert users.get(user_id=ada.id) == ada
    assert users.list(request={"email_address": ["ADA@example.com"]}) == [ada]
    assert users.list(request={"external_id": ["1815"], "order_by": "+created_at", "limit": 500}) == [ada]
    assert users.list(request={"user_id": [f"-{ada.id}"], "query": "ada@"}) == []
    assert users.count(request={"user_id": [ada.id]}).total_count == 1
    assert users.update(user_id=ada.id, last_name="Lovelace", username="ada").last_name == "Lovelace"
    merged = users.update_metadata(user_id=ada.id, public_metadata={"likes": {"poems": None, "maths": True}})
    assert merged.public_metadata == {"likes": {"engines": True, "maths": True}}
    assert users.replace_metadata(user_id=ada.id, public_metadata={}).public_metadata == {}
    assert users.ban(user_id=ada.id).banned
    assert [each.banned for each in users.bulk_unban(user_ids=[ada.id])] == [False]
    assert [each.banned for each in users.bulk_ban(user_ids=[ada.id])] == [True]
    assert not users.unban(user_id=ada.id).banned
    assert users.lock(user_id=ada.id).locked
    assert not users.unlock(user_id=ada.id).locked
    gone = users.delete(user_id=ada.id)
    assert (gone.object, gone.deleted, gone.id, gone.external_id) == ("user", True, ada.id, "1815")


def test_addresses_come_and_go(world: World) -> None:
    """An address is made, verified, made the primary one, and deleted."""
    user = world.clerk.create_user("first@example.com")
    addresses = world.client.email_addresses
    made = addresses.create(request={"user_id": user.id, "email_address": "second@example.com"})
    assert made is not None
    assert made.id is not None
    assert made.verification is not None
    assert made.verification.status == "unverified"
    assert addresses.update(email_address_id=made.id, verified=True, primary=True).id == user.primary_address_id
    assert addresses.get(email_address_id=made.id).verification.status == "verified"  # type: ignore[union-attr]
    assert addresses.delete(email_address_id=made.id).deleted
    assert user.email == "first@example.com"


def test_organizations_and_their_members(world: World) -> None:
    """Organizations, memberships in all three lists, and metadata of each."""
    organizations, memberships = world.client.organizations, world.client.organization_memberships
    owner, member = world.clerk.create_user("owner@example.com"), world.clerk.create_user("member@example.com")
    acme = organizations.create(request={"name": "Acme", "created_by": owner.id, "slug": "acme-official"})
    assert acme is not None
    bare = organizations.create(request={"name": "Nobody's"})
    assert bare is not None
    assert bare.created_by is None
    assert organizations.get(organization_id="acme-official", include_members_count=True).members_count == 1
    assert organizations.list(organization_id=[acme.id]).total_count == 1
    assert [each.id for each in organizations.list(query="obody", order_by="+name").data] == [bare.id]
    assert organizations.update(organization_id=acme.id, name="Acme & Sons").name == "Acme & Sons"
    merged = organizations.merge_metadata(organization_id=acme.id, public_metadata={"plan": {"name": "gold"}})
    assert merged.public_metadata == {"plan": {"name": "gold"}}
    assert organizations.replace_metadata(organization_id=acme.id, public_metadata={}).public_metadata == {}

    made = memberships.create(organization_id=acme.id, user_id=member.id, role="org:member")
    assert made.public_user_data is not None
    assert made.public_user_data.user_id == member.id
    updated = memberships.update(organization_id=acme.id, user_id=member.id, role="org:admin")
    assert (updated.id, updated.role) == (made.id, "org:admin")
    kept = memberships.update_metadata(organization_id=acme.id, user_id=member.id, public_metadata={"desk": 4})
    assert kept.public_metadata == {"desk": 4}
    assert memberships.list(organization_id=acme.id, role=["org:admin"]).total_count == 2
    assert world.client.users.get_organization_memberships(user_id=member.id).data == [kept]
    everywhere = world.client.users.get_instance_organization_memberships(order_by="-created_at", limit=1)
    assert everywhere.data == [kept]
    assert memberships.delete(organization_id=acme.id, user_id=member.id) == kept
    gone = organizations.delete(organization_id=acme.id)
    assert (gone.object, gone.id, gone.slug) == ("organization", acme.id, "acme-official")


def test_invitations(world: World) -> None:
    """Invitations are sent one by one and in bulk, listed, and taken back."""
    owner = world.clerk.create_user("host@example.com")
    acme = world.clerk.create_organization("Inviting", created_by=owner)
    invitations = world.client.organization_invitations
    one = invitations.create(
        organization_id=acme.id, email_address="guest@example.com", role="org:member", inviter_user_id=owner.id
    )
    assert one.status == "pending"
    many = invitations.bulk_create(
        organization_id=acme.id,
        request_body=[
            models.CreateOrganizationInvitationBulkRequestBody(email_address=f"guest{n}@example.com", role="org:member")
            for n in range(3)
        ],
    )
    assert many.total_count == 3
    assert invitations.get(organization_id=acme.id, invitation_id=one.id).id == one.id
    assert invitations.revoke(organization_id=acme.id, invitation_id=one.id).status == "revoked"
    listed = invitations.list(
        organization_id=acme.id, status=models.ListOrganizationInvitationsQueryParamStatus.REVOKED
    )
    assert [each.id for each in listed.data] == [one.id]
    assert invitations.get_all(query="guest1").total_count == 1


def test_sessions_and_their_tokens(world: World) -> None:
    """The way to a session token without a browser: a person, a session, a token. It is verified by fetched keys."""
    user = world.clerk.create_user("session@example.com")
    acme = world.clerk.create_organization("Sessions", created_by=user)
    session = world.client.sessions.create(request={"user_id": user.id, "active_organization_id": acme.id})
    assert session is not None
    assert world.client.sessions.get(session_id=session.id) == session
    assert world.client.sessions.list(user_id=user.id) == [session]
    jwt = world.client.sessions.create_token(session_id=session.id, expires_in_seconds=600).jwt
    assert jwt is not None
    payload = verify_token(jwt, world.options())
    assert (payload["sub"], payload["sid"], payload["o"]["id"]) == (user.id, session.id, acme.id)
    assert payload["exp"] - payload["iat"] == 600
    templated = world.client.sessions.create_token_from_template(session_id=session.id, template_name="mine").jwt
    assert templated is not None
    assert verify_token(templated, world.options())["sub"] == user.id
    assert world.client.sessions.revoke(session_id=session.id).status == "revoked"


def test_tokens_are_verified_by_the_keys_that_are_fetched(world: World) -> None:
    """A good token passes; one of another instance, and one that has expired, do not. A rotated key is fetched."""
    clerk = FakeClerk(seed=24)
    user = clerk.create_user()
    with serving(clerk.app) as (host, port):
        options = VerifyTokenOptions(secret_key=clerk.secret_key, api_url=f"http://{host}:{port}")
        assert verify_token(clerk.token(user), options)["sub"] == user.id
        for bad, reason in (
            (world.clerk.token(user), TokenVerificationErrorReason.JWK_KID_MISMATCH),
            (clerk.token(user, expires_in=-60), TokenVerificationErrorReason.TOKEN_EXPIRED),
        ):
            with pytest.raises(TokenVerificationError) as refused:
                verify_token(bad, options)
            assert refused.value.reason is reason
        clerk.rotate_key()
        assert verify_token(clerk.token(user), options)["sub"] == user.id
    assert set(clerk.api.requests) == {"GET /v1/jwks"}


def test_requests_are_authenticated_by_the_keys_that_are_fetched(world: World) -> None:
    """The key that the client has fetched lets the client authenticate a request."""
    user = world.clerk.create_user("request@example.com")
    acme = world.clerk.create_organization("Requests", created_by=user)
    keys = world.client.jwks.get_jwks().keys
    assert keys is not None
    assert [key.kid for key in keys] == [world.clerk.instance_id]
    request = httpx.Request("GET", "https://app.example.com", headers=world.clerk.auth(user, acme))
    state = authenticate_request(request, AuthenticateRequestOptions(jwt_key=world.clerk.key.pem()))
    assert state.is_signed_in
    assert state.payload is not None
    assert (state.payload["sub"], state.payload["org_id"]) == (user.id, acme.id)


def test_machines_are_verified(world: World) -> None:
    """API keys, machine tokens and OAuth tokens, with the version in the path and without it."""
    user = world.clerk.create_user("machines@example.com")
    key = world.clerk.create_api_key(user, scopes=["read"], claims={"a": 1})
    machine, oauth = world.clerk.create_machine_token(scopes=["mch_1"]), world.clerk.create_oauth_token(user)
    verified = world.client.api_keys.verify_api_key(secret=key.secret)
    assert (verified.id, verified.subject, verified.scopes) == (key.id, user.id, ["read"])
    assert world.client.m2m.verify_token(token=machine.secret).subject == machine.subject
    answer = world.client.oauth_access_tokens.verify(access_token=oauth.secret)
    assert isinstance(answer, models.ResponseBody1)
    assert (answer.subject, answer.client_id) == (user.id, oauth.client_id)
    # The synchronous form of this one leaves its connections open.
    assert asyncio.run(verify_token_async(key.secret, world.options()))["subject"] == user.id
    assert asyncio.run(verify_token_async(oauth.secret, world.options()))["subject"] == user.id
    with pytest.raises(TokenVerificationError):  # it says `secret` where Clerk wants `token`
        asyncio.run(verify_token_async(machine.secret, world.options()))
    jwt = world.client.oauth_access_tokens.verify(access_token=world.clerk.oauth_token(user))
    assert isinstance(jwt, models.ResponseBody1)
    world.clerk.revoke_machine_token(key)
    with pytest.raises(models.ClerkBaseError, match="API key not found"):
        world.client.api_keys.verify_api_key(secret=key.secret)


def test_refusals_are_read(world: World) -> None:
    """The client reads the body of a refusal, and tells the code in it."""
    with pytest.raises(models.ClerkErrors) as refused:
        world.client.users.get(user_id="user_nobody")
    assert [error.code for error in refused.value.data.errors] == ["resource_not_found"]
    world.clerk.create_user("taken@example.com")
    with pytest.raises(models.ClerkErrors) as taken:
        world.client.users.create(email_address=["taken@example.com"])
    assert taken.value.data.errors[0].code == "form_identifier_exists"
    stranger = Clerk(bearer_auth="sk_test_wrong", server_url=f"{world.url}/v1")
    with stranger, pytest.raises(models.ClerkErrors) as wrong:
        stranger.users.list(request={})
    assert wrong.value.data.errors[0].code == "clerk_key_invalid"
    assert re.fullmatch("[0-9a-f]{32}", wrong.value.raw_response.json()["clerk_trace_id"])
