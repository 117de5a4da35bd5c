"""The API client of Clerk's official client for JavaScript works against the made-up Clerk, unchanged."""

from collections.abc import Generator
from typing import Any

import pytest

from node_client import NodeClient, node_client
from official_javascript import Official, official_client, refused


@pytest.fixture(scope="module")
def node() -> Generator[NodeClient]:
    """One process of Node for all tests here."""
    with node_client() as client:
        yield client


@pytest.fixture
def official(node: NodeClient) -> Generator[Official]:
    """A Clerk of its own for each test, with Ada, who founded Acme."""
    with official_client(node) as official:
        yield official


def ids(listed: dict[str, Any]) -> list[str]:
    """The ids in a page of a list."""
    return [each["id"] for each in listed["data"]]


def error_of(official: Official, path: str, *args: Any) -> tuple[int, str]:
    """The status and Clerk's code of what a function of the API client raises."""
    error = refused(official.api, path, *args)
    return error["status"], error["errors"][0]["code"]


# People


def test_list_users(official: Official) -> None:
    """Ten by default, newest first; pages, orders and filters as at Clerk, and the number of all."""
    crowd = [official.clerk.create_user(f"person{n}@example.com") for n in range(12)]
    newest_first = [each.id for each in reversed([official.user, *crowd])]
    page = official.api("users.getUserList")
    assert (ids(page), page["totalCount"]) == (newest_first[:10], 13)
    assert ids(official.api("users.getUserList", {"limit": 4, "offset": 10})) == newest_first[10:]
    oldest_first = official.api("users.getUserList", {"orderBy": "+created_at", "limit": 100})
    assert ids(oldest_first) == newest_first[::-1]
    found = official.api("users.getUserList", {"emailAddress": ["person3@example.com", "ada@example.com"]})
    assert (set(ids(found)), found["totalCount"]) == ({crowd[3].id, official.user.id}, 2)
    assert ids(official.api("users.getUserList", {"userId": [crowd[5].id]})) == [crowd[5].id]
    assert official.api("users.getCount") == 13


def test_get_a_user(official: Official) -> None:
    """The client finds everything where it expects it."""
    user = official.api("users.getUser", official.user.id)
    assert (user["id"], user["firstName"], user["lastName"]) == (official.user.id, "Ada", "Lovelace")
    assert [each["emailAddress"] for each in user["emailAddresses"]] == ["ada@example.com"]
    assert user["primaryEmailAddressId"] == user["emailAddresses"][0]["id"]
    assert user["emailAddresses"][0]["verification"]["status"] == "verified"
    assert (user["banned"], user["createdAt"]) == (False, official.user.created_at)


def test_create_update_and_delete_a_user(official: Official) -> None:
    """What the client does is done in the made-up Clerk, which says so on the wire."""
    said = {"emailAddress": ["grace@example.com"], "firstName": "Grace", "externalId": "7", "publicMetadata": {"a": 1}}
    id = official.api("users.createUser", said)["id"]
    grace = official.clerk.users[id]
    assert (grace.email, grace.first_name, grace.external_id) == ("grace@example.com", "Grace", "7")
    assert grace.public_metadata == {"a": 1}
    assert official.api("users.updateUser", id, {"firstName": "Amazing"})["firstName"] == "Amazing"
    assert official.api("users.banUser", id)["banned"] is True
    assert official.api("users.unbanUser", id)["banned"] is False
    assert official.api("users.deleteUser", id)["deleted"] is True
    assert id not in official.clerk.users
    types = [each.type for each in official.clerk.wire.messages.values() if id.encode() in each.body]
    assert types == ["user.created", "user.updated", "user.updated", "user.updated", "user.deleted"]


def test_metadata(official: Official) -> None:
    """A merge is deep, and null takes a key away; a replacement replaces."""
    id = official.user.id
    official.api("users.updateUserMetadata", id, {"publicMetadata": {"plan": {"name": "gold", "seats": 3}, "old": 1}})
    patch = {"publicMetadata": {"plan": {"seats": 4}, "old": None}, "privateMetadata": {"camelCase": True}}
    user = official.api("users.updateUserMetadata", id, patch)
    assert user["publicMetadata"] == {"plan": {"name": "gold", "seats": 4}} == official.user.public_metadata
    assert user["privateMetadata"] == {"camelCase": True}
    assert official.api("users.replaceUserMetadata", id, {"publicMetadata": {}})["publicMetadata"] == {}
    acme = official.api("organizations.updateOrganizationMetadata", official.acme.id, {"publicMetadata": {"a": 1}})
    assert acme["publicMetadata"] == {"a": 1}


def test_what_the_api_refuses(official: Official) -> None:
    """With the status and the code that Clerk answers."""
    taken = {"emailAddress": ["ada@example.com"]}
    assert error_of(official, "users.getUser", "user_nobody") == (404, "resource_not_found")
    assert error_of(official, "users.createUser", taken) == (422, "form_identifier_exists")
    assert error_of(official, "organizations.getOrganization", {"organizationId": "org_none"})[0] == 404
    official.options["secretKey"] = "sk_test_wrong"
    assert error_of(official, "users.getUserList")[0] == 401


# Sessions


def test_sessions_and_their_tokens(official: Official) -> None:
    """A token that the client has minted is one that it verifies, until its session is revoked."""
    session = official.clerk.sign_in(official.user, official.acme)
    assert ids(official.api("sessions.getSessionList", {"userId": official.user.id})) == [session.id]
    token = official.api("sessions.getToken", session.id)["jwt"]
    assert official.bearer(token, authorizedParties=[])["sessionId"] == session.id
    assert official.api("sessions.revokeSession", session.id)["status"] == "revoked"
    assert session.status == "revoked"


# Organizations


def test_organizations(official: Official) -> None:
    """Made, found by id and by slug, listed, renamed and deleted."""
    clerk, user = official.clerk, official.user
    made = official.api("organizations.createOrganization", {"name": "Umbrella", "createdBy": user.id})
    umbrella = clerk.organizations[made["id"]]
    assert (made["name"], made["slug"]) == ("Umbrella", umbrella.slug)
    assert clerk.membership(umbrella, user) is not None
    page = official.api("organizations.getOrganizationList", {"includeMembersCount": True})
    assert (set(ids(page)), page["totalCount"]) == ({official.acme.id, umbrella.id}, 2)
    assert {each["membersCount"] for each in page["data"]} == {1}
    for which in ({"organizationId": umbrella.id}, {"slug": umbrella.slug}):
        assert official.api("organizations.getOrganization", which)["id"] == umbrella.id
    assert official.api("organizations.updateOrganization", umbrella.id, {"name": "U"})["name"] == "U" == umbrella.name
    assert official.api("organizations.deleteOrganization", umbrella.id)["deleted"] is True
    assert umbrella.id not in clerk.organizations


def test_memberships(official: Official) -> None:
    """Given, changed, listed by organization, by person and for the whole instance, and taken away."""
    clerk, acme, grace = official.clerk, official.acme, official.clerk.create_user("grace@example.com")
    place = {"organizationId": acme.id, "userId": grace.id}
    made = official.api("organizations.createOrganizationMembership", {**place, "role": "org:member"})
    assert (made["role"], made["publicUserData"]["userId"]) == ("org:member", grace.id)
    assert made["organization"]["id"] == acme.id
    changed = official.api("organizations.updateOrganizationMembership", {**place, "role": "org:admin"})
    assert (changed["id"], changed["role"]) == (made["id"], "org:admin")
    listed = official.api("organizations.getOrganizationMembershipList", {"organizationId": acme.id})
    assert (listed["totalCount"], made["id"] in ids(listed)) == (2, True)
    assert ids(official.api("users.getOrganizationMembershipList", {"userId": grace.id})) == [made["id"]]
    assert official.api("organizations.getInstanceOrganizationMembershipList", {})["totalCount"] == 2
    assert official.api("organizations.deleteOrganizationMembership", place)["id"] == made["id"]
    assert clerk.membership(acme, grace) is None


def test_invitations(official: Official) -> None:
    """Made, listed, and taken back."""
    acme = official.acme
    said = {"emailAddress": "new@example.com", "role": "org:member", "inviterUserId": official.user.id}
    made = official.api("organizations.createOrganizationInvitation", {"organizationId": acme.id, **said})
    assert (made["emailAddress"], made["status"]) == ("new@example.com", "pending")
    pending = {"organizationId": acme.id, "status": ["pending"]}
    assert ids(official.api("organizations.getOrganizationInvitationList", pending)) == [made["id"]]
    which = {"organizationId": acme.id, "invitationId": made["id"], "requestingUserId": official.user.id}
    assert official.api("organizations.revokeOrganizationInvitation", which)["status"] == "revoked"
    assert official.clerk.invitations[made["id"]].status == "revoked"


# Machines


def test_api_keys(official: Official) -> None:
    """Verified by their secret; one that nobody knows is not there."""
    key = official.clerk.create_api_key(official.user, name="robot", scopes=["a"])
    found = official.api("apiKeys.verify", key.secret)
    assert (found["id"], found["subject"], found["name"]) == (key.id, official.user.id, "robot")
    assert error_of(official, "apiKeys.verify", "ak_unknown")[0] == 404
