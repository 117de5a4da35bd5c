"""The API of organizations, memberships and invitations."""

from urllib.parse import urlencode

import pytest

from clerkmap.testing import Clock, FakeClerk
from fake_api_world import client_of, ids, refusal


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ([], "abc"),
        ([("query", "BET")], "b"),
        ([("query", "gamma-slug")], "c"),
        ([("organization_id", "a"), ("organization_id", "+c")], "ac"),
        ([("organization_id", "-a")], "bc"),
        ([("organization_id", "org_nothing")], ""),
        ([("user_id", "ada")], "ab"),
        ([("user_id", "ada"), ("user_id", "-bob")], "a"),
        ([("user_id", "-ada")], "c"),
        ([("order_by", "-name")], "cba"),
        ([("order_by", "members_count")], "cab"),
        ([("order_by", "-created_at"), ("limit", "2")], "cb"),
        ([("offset", "1"), ("limit", "1")], "b"),
    ],
)
def test_organizations_are_listed_by_what_they_are_like(asked: list[tuple[str, str]], found: str) -> None:
    """By id, name, slug and members; with the number of all that would be listed."""
    clerk = FakeClerk()
    ada, bob = clerk.create_user(username="ada"), clerk.create_user(username="bob")
    a, b = clerk.create_organization("Alpha", created_by=ada), clerk.create_organization("Beta", created_by=ada)
    c = clerk.create_organization("Gamma", slug="gamma-slug")
    clerk.add_member(b, bob)
    known = {"a": a.id, "b": b.id, "c": c.id, "ada": ada.id, "bob": bob.id}
    query = [(name, value[: -len(value.lstrip("+-"))] + known.get(value.lstrip("+-"), value.lstrip("+-")))
             if name.endswith("_id") else (name, value) for name, value in asked]  # fmt: skip
    query += [] if any(name == "order_by" for name, _ in asked) else [("order_by", "+created_at")]
    with client_of(clerk) as client:
        answer = client.get(f"/organizations?{urlencode(query)}")
        assert ids(answer) == [known[each] for each in found]
        assert answer.json()["total_count"] == (3 if "limit" in dict(asked) else len(found))
        counted = client.get(f"/organizations?{urlencode(query)}&include_members_count=true").json()["data"]
        assert all(each["members_count"] == len(clerk.members_of(clerk.organizations[each["id"]])) for each in counted)


def test_organizations_are_made_changed_and_deleted() -> None:
    """With somebody as their administrator, or with nobody; found by id and by slug; metadata merged and replaced."""
    clerk = FakeClerk()
    ada = clerk.create_user(username="ada")
    with client_of(clerk) as client:
        made = client.post("/organizations", json={"name": "Acme", "created_by": ada.id, "slug": "acme"}).json()
        assert client.get("/organizations/acme").json() == client.get(f"/organizations/{made['id']}").json() == made
        assert clerk.memberships_of(ada)[0].role == "org:admin"
        bare = client.post("/organizations", json={"name": "Bare", "max_allowed_memberships": 0}).json()
        assert client.get("/organizations/bare?include_members_count=true").json()["members_count"] == 0
        assert refusal(client.post("/organizations", json={"name": "A", "slug": "ACME"}))[1] == "form_identifier_exists"
        assert refusal(client.post("/organizations", json={"name": "A", "created_by": "user_nobody"}))[0] == 404

        path = f"/organizations/{made['id']}"
        changed = client.patch(path, json={"slug": "new", "max_allowed_memberships": 9, "admin_delete_enabled": False})
        assert (changed.json()["slug"], changed.json()["name"]) == ("new", "Acme")
        assert (changed.json()["max_allowed_memberships"], changed.json()["admin_delete_enabled"]) == (9, False)
        assert refusal(client.patch(path, json={"public_metadata": {}})) == (422, "form_param_unknown")
        old = client.patch(path, json={"public_metadata": {"a": {"b": 1}}}, headers={"Clerk-API-Version": "2024-10-01"})
        assert old.json()["public_metadata"] == {"a": {"b": 1}}
        merged = client.patch(f"{path}/metadata", json={"public_metadata": {"a": {"b": None, "c": 1}}}).json()
        assert merged["public_metadata"] == {"a": {"c": 1}}
        assert client.put(f"{path}/metadata", json={"public_metadata": {}}).json()["public_metadata"] == {}

        gone = client.delete(path).json()
        assert gone == {"object": "organization", "id": made["id"], "slug": "new", "deleted": True}
        assert refusal(client.delete(path)) == (404, "resource_not_found")
        assert client.get("/organization_memberships").json() == {"data": [], "total_count": 0}
        assert ids(client.get("/organizations")) == [bare["id"]]


def test_memberships_are_listed_three_ways() -> None:
    """Of the instance, of an organization, of a person; in the orders and by the filters that Clerk has."""
    clerk = FakeClerk(clock=Clock(1_700_000_000))
    ada = clerk.create_user("ada@example.com", first_name="Zoe")
    bob = clerk.create_user("bob@example.com", first_name="Bob", username="bob")
    acme, duo = clerk.create_organization("Acme", created_by=ada), clerk.create_organization("Duo", created_by=bob)
    clerk.add_member(acme, bob)
    in_acme = {each.user_id: each.id for each in clerk.members_of(acme)}
    (in_duo,) = (each.id for each in clerk.members_of(duo))
    first, last = in_acme[ada.id], in_acme[bob.id]
    with client_of(clerk) as client:
        assert ids(client.get("/organization_memberships?order_by=created_at")) == [first, in_duo, last]
        assert ids(client.get("/organization_memberships")) == [last, in_duo, first]
        assert ids(client.get("/organization_memberships?order_by=-first_name&limit=1")) == [first]
        assert client.get("/organization_memberships?limit=1").json()["total_count"] == 3
        assert refusal(client.get("/organization_memberships?order_by=updated_at"))[0] == 422
        assert sorted(ids(client.get(f"/users/{bob.id}/organization_memberships"))) == sorted([last, in_duo])
        assert refusal(client.get("/users/user_nobody/organization_memberships"))[0] == 404
        members = f"/organizations/{acme.id}/memberships"
        for query, found in (
            ("order_by=email_address", [first, last]),
            (f"user_id={bob.id}", [last]),
            ("email_address=ADA@example.com", [first]),
            ("username=bob&username=zed", [last]),
            ("role=org:admin", [first]),
            ("query=zoe", [first]),
            ("created_at_after=1800000000000", []),
            ("email_address_query=example&order_by=-email_address&limit=1&offset=1", [first]),
        ):
            assert ids(client.get(f"{members}?{query}")) == found
        shape = client.get(f"{members}?role=org:admin").json()["data"][0]
        assert (shape["organization"]["id"], shape["public_user_data"]["user_id"]) == (acme.id, ada.id)


def test_members_come_change_and_go() -> None:
    """Nobody is taken in twice, nor beyond the limit, nor in a role that does not exist. A deletion tells all of it."""
    clerk = FakeClerk()
    ada, bob = clerk.create_user(username="ada"), clerk.create_user(username="bob")
    acme = clerk.create_organization("Acme", created_by=ada, max_allowed_memberships=2)
    with client_of(clerk) as client:
        path = f"/organizations/{acme.id}/memberships"
        said = {"user_id": bob.id, "role": "org:member", "public_metadata": {"a": {"b": 1}}}
        assert refusal(client.post(path, json=said | {"role": "org:king"})) == (404, "resource_not_found")
        assert refusal(client.post(path, json=said | {"user_id": "user_nobody"})) == (404, "resource_not_found")
        made = client.post(path, json=said).json()
        assert refusal(client.post(path, json=said)) == (400, "already_a_member_in_organization")
        third = said | {"user_id": clerk.create_user(username="cyd").id}
        assert refusal(client.post(path, json=third)) == (403, "organization_membership_quota_exceeded")
        updated = client.patch(f"{path}/{bob.id}", json={"role": "org:admin"}).json()
        assert (updated["id"], updated["role"]) == (made["id"], "org:admin")
        merged = client.patch(f"{path}/{bob.id}/metadata", json={"public_metadata": {"a": {"b": None}}}).json()
        assert merged["public_metadata"] == {"a": {}}
        assert client.delete(f"{path}/{bob.id}").json() == merged
        for answer in (client.delete(f"{path}/{bob.id}"), client.patch(f"{path}/{bob.id}", json={"role": "org:admin"})):
            assert refusal(answer) == (404, "resource_not_found")
        assert client.post(path, json=third).status_code == 200


def test_invitations_are_sent_listed_and_taken_back() -> None:
    """One by one or ten at once, all or none; listed by organization, by person, and all together."""
    clerk = FakeClerk()
    ada = clerk.create_user("ada@example.com")
    acme, duo = clerk.create_organization("Acme", created_by=ada), clerk.create_organization("Duo")
    with client_of(clerk) as client:
        path = f"/organizations/{acme.id}/invitations"
        said = {
            "email_address": "bob@example.com",
            "role": "org:member",
            "inviter_user_id": ada.id,
            "expires_in_days": 2,
        }
        made = client.post(path, json=said).json()
        assert made["expires_at"] - made["created_at"] == 2 * 86_400_000
        assert made["public_inviter_data"]["user_id"] == ada.id
        member = said | {"email_address": "ada@example.com"}
        assert refusal(client.post(path, json=member)) == (400, "already_a_member_in_organization")
        many = [{"email_address": f"p{n}@example.com", "role": "org:member"} for n in range(11)]
        assert refusal(client.post(f"{path}/bulk", json=many))[0] == 422
        assert refusal(client.post(f"{path}/bulk", json=[]))[0] == 422
        assert refusal(client.post(f"{path}/bulk", json=[many[0], member]))[0] == 400
        strangers = many[1] | {"inviter_user_id": "user_nobody"}
        assert refusal(client.post(f"{path}/bulk", json=[many[0], strangers]))[0] == 404
        assert len(clerk.invitations) == 1
        assert client.post(f"{path}/bulk", json=many[:10]).json()["total_count"] == 10
        other = client.post(f"/organizations/{duo.id}/invitations", json=many[0]).json()

        assert client.get(path).json()["total_count"] == 11
        assert ids(client.get(f"{path}?email_address=BOB@example.com")) == [made["id"]]
        assert ids(client.get("/organization_invitations?query=p0@&order_by=-created_at"))[0] == other["id"]
        assert ids(client.get("/organization_invitations?order_by=email_address&limit=1")) == [made["id"]]
        bob = clerk.create_user("bob@example.com")
        assert ids(client.get(f"/users/{bob.id}/organization_invitations")) == [made["id"]]
        assert client.get(f"{path}/{made['id']}").json() == made
        assert refusal(client.get(f"/organizations/{duo.id}/invitations/{made['id']}")) == (404, "resource_not_found")
        revoked = client.post(f"{path}/{made['id']}/revoke", json={"requesting_user_id": ada.id}).json()
        assert revoked["status"] == "revoked"
        assert refusal(client.post(f"{path}/{made['id']}/revoke"))[0] == 400
        assert ids(client.get(f"{path}?status=revoked")) == [made["id"]]
        assert client.get("/organization_invitations?status=pending&status=revoked").json()["total_count"] == 12
