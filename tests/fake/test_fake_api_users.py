"""The API of people: how they are made, changed and deleted."""

import pytest

from clerkmap.testing import FakeClerk, FakeUser
from fake_api_world import client_of, refusal


def test_a_person_is_made_with_everything_in_one_event() -> None:
    """The first address is the primary one, all of them are verified; what was said of them is in `user.created`."""
    clerk = FakeClerk()
    said = {
        "email_address": ["ada@example.com", "ada@example.org"],
        "first_name": "Ada",
        "username": "ada",
        "external_id": "1815",
        "private_metadata": {"a": [1]},
        "banned": True,
        "locked": True,
        "created_at": "1815-12-10T12:00:00+02:00",
        "skip_password_requirement": True,
    }
    with client_of(clerk) as client:
        made = client.post("/users", json=said).json()
        assert client.get(f"/users/{made['id']}").json() == made
    assert [each["verification"]["status"] for each in made["email_addresses"]] == ["verified", "verified"]
    assert made["primary_email_address_id"] == made["email_addresses"][0]["id"]
    assert (made["banned"], made["locked"], made["private_metadata"]) == (True, True, {"a": [1]})
    assert made["created_at"] == -4_861_692_000_000
    assert [each.type for each in clerk.wire.messages.values()] == ["user.created"]


def test_what_somebody_else_has_is_refused_and_nothing_is_kept_of_it() -> None:
    """An address, a username, an external id. What else was asked for stays free."""
    clerk = FakeClerk()
    clerk.create_user("ada@example.com", username="ada", external_id="1")
    with client_of(clerk) as client:
        for said in (
            {"email_address": ["ADA@example.com"]},
            {"external_id": "1", "username": "new"},
            {"username": "Ada"},
        ):
            whole = {"email_address": ["new@example.com"]} | said
            assert refusal(client.post("/users", json=whole)) == (422, "form_identifier_exists")
        fresh = {"email_address": ["new@example.com"], "username": "new", "external_id": "2"}
        new = client.post("/users", json=fresh).json()["id"]
        assert refusal(client.patch(f"/users/{new}", json={"username": "ada"})) == (422, "form_identifier_exists")
        renamed = client.patch(f"/users/{new}", json={"username": "NEW", "external_id": None}).json()
        assert (renamed["username"], renamed["external_id"]) == ("NEW", None)
        assert refusal(client.post("/users", json={"username": "new"})) == (422, "form_identifier_exists")
        assert client.post("/users", json={"username": "other", "external_id": "2"}).status_code == 200
    assert len(clerk.users) == 3


@pytest.mark.parametrize("said", [{}, {"first_name": "Ada"}, {"email_address": []}])
def test_a_person_has_something_to_sign_in_with(said: dict[str, object]) -> None:
    """Unless it is said that they need not."""
    with client_of(FakeClerk()) as client:
        assert refusal(client.post("/users", json=said)) == (422, "form_data_missing")
        assert client.post("/users", json=said | {"skip_user_requirement": True}).status_code == 200


@pytest.mark.parametrize("email", ["ada", "@example.com", "ada@", "a@b@c", "a b@example.com"])
def test_an_address_looks_like_one(email: str) -> None:
    """What does not is refused, wherever an address is asked for."""
    clerk = FakeClerk()
    acme = clerk.create_organization("Acme")
    with client_of(clerk) as client:
        user = client.post("/users", json={"username": "ada"}).json()["id"]
        for answer in (
            client.post("/users", json={"email_address": [email]}),
            client.post("/email_addresses", json={"user_id": user, "email_address": email}),
            client.post(f"/organizations/{acme.id}/invitations", json={"email_address": email, "role": "org:member"}),
        ):
            assert refusal(answer) == (422, "form_param_format_invalid")


def test_metadata_have_endpoints_of_their_own_since_2026() -> None:
    """They are refused with the rest of a person, where older versions replaced them."""
    clerk = FakeClerk()
    ada = clerk.create_user("ada@example.com", public_metadata={"a": 1, "b": {"c": 1, "d": 2}})
    with client_of(clerk) as client:
        said = {"public_metadata": {"x": 1}, "first_name": "Ada"}
        assert refusal(client.patch(f"/users/{ada.id}", json=said)) == (422, "form_param_unknown")
        assert ada.first_name is None
        client.headers["Clerk-API-Version"] = "2025-11-10"
        clerk.create_user(username="taken")
        assert refusal(client.patch(f"/users/{ada.id}", json=said | {"username": "taken"}))[0] == 422
        assert ada.public_metadata == {"a": 1, "b": {"c": 1, "d": 2}}
        assert client.patch(f"/users/{ada.id}", json=said).json()["public_metadata"] == {"x": 1}


def test_metadata_are_merged_deep_or_replaced() -> None:
    """Null deletes a key at any level when they are merged; an array is replaced. A PUT replaces what it names."""
    clerk = FakeClerk()
    ada = clerk.create_user(
        username="ada", public_metadata={"a": 1, "b": {"c": 1, "d": [1]}}, private_metadata={"p": 1}
    )
    with client_of(clerk) as client:
        path = f"/users/{ada.id}/metadata"
        merged = client.patch(path, json={"public_metadata": {"a": None, "b": {"c": None, "d": [2], "e": {"f": 1}}}})
        assert merged.json()["public_metadata"] == {"b": {"d": [2], "e": {"f": 1}}}
        assert merged.json()["private_metadata"] == {"p": 1}
        replaced = client.put(path, json={"public_metadata": {"n": None}, "unsafe_metadata": {"u": 1}}).json()
        assert (replaced["public_metadata"], replaced["unsafe_metadata"]) == ({"n": None}, {"u": 1})
        assert replaced["private_metadata"] == {"p": 1}
        assert refusal(client.patch(path, json={"metadata": {}})) == (422, "form_param_unknown")


def test_the_primary_address_is_verified_and_the_persons_own() -> None:
    """Neither somebody else's address nor one that is not verified can be it."""
    clerk = FakeClerk()
    ada, bob = clerk.create_user("ada@example.com"), clerk.create_user("bob@example.com")
    unsure = clerk.add_address(ada, "unsure@example.com", verified=False)
    sure = clerk.add_address(ada, "sure@example.com")
    with client_of(clerk) as client:
        for address in (unsure.id, bob.primary_address_id, "idn_nothing"):
            assert refusal(client.patch(f"/users/{ada.id}", json={"primary_email_address_id": address}))[0] == 422
        changed = client.patch(f"/users/{ada.id}", json={"primary_email_address_id": sure.id}).json()
        assert changed["primary_email_address_id"] == sure.id
        answer = client.patch(f"/email_addresses/{unsure.id}", json={"primary": True})
        assert refusal(answer) == (422, "form_param_value_invalid")


def test_who_is_deleted_is_gone() -> None:
    """A second deletion finds nobody, and what they had is free."""
    clerk = FakeClerk()
    ada = clerk.create_user("ada@example.com", external_id="1")
    with client_of(clerk) as client:
        gone = client.delete(f"/users/{ada.id}").json()
        assert gone == {"object": "user", "id": ada.id, "deleted": True, "external_id": "1"}
        for answer in (client.delete(f"/users/{ada.id}"), client.get(f"/users/{ada.id}")):
            assert refusal(answer) == (404, "resource_not_found")
        assert client.post("/users", json={"email_address": ["ada@example.com"], "external_id": "1"}).status_code == 200


def test_bans_revoke_sessions_one_by_one_and_in_bulk() -> None:
    """If one of many is not there, nobody is banned."""
    clerk = FakeClerk()
    people: list[FakeUser] = [clerk.create_user(username=f"user{n}") for n in range(3)]
    session = clerk.sign_in(people[0])
    with client_of(clerk) as client:
        assert client.post(f"/users/{people[0].id}/ban").json()["banned"]
        assert session.status == "revoked"
        wanted = {"user_ids": [each.id for each in people]}
        assert refusal(client.post("/users/ban", json={"user_ids": [people[1].id, "user_nobody"]}))[0] == 404
        assert not people[1].banned
        assert refusal(client.post("/users/ban", json={"user_ids": [""]}))[0] == 404
        assert [each["banned"] for each in client.post("/users/ban", json=wanted).json()] == [True] * 3
        assert [each["banned"] for each in client.post("/users/unban", json=wanted).json()] == [False] * 3
        assert client.post(f"/users/{people[0].id}/lock").json()["lockout_expires_in_seconds"] == 3600
        assert not client.post(f"/users/{people[0].id}/unlock").json()["locked"]
        assert not client.post(f"/users/{people[0].id}/unban").json()["banned"]


def test_addresses_are_made_changed_and_deleted() -> None:
    """The first one becomes the primary one by itself; another only if it is verified."""
    clerk = FakeClerk()
    ada = clerk.create_user(username="ada")
    with client_of(clerk) as client:
        said = {"user_id": ada.id, "email_address": "ada@example.com"}
        first = client.post("/email_addresses", json=said).json()
        assert (ada.primary_address_id, first["verification"]["status"]) == (first["id"], "unverified")
        second = said | {"email_address": "two@example.com", "primary": True}
        assert refusal(client.post("/email_addresses", json=second))[0] == 422
        made = client.post("/email_addresses", json=second | {"verified": True}).json()
        assert client.get(f"/email_addresses/{made['id']}").json() == made
        assert ada.email == "two@example.com"
        verified = client.patch(f"/email_addresses/{first['id']}", json={"verified": True}).json()
        assert verified["verification"]["status"] == "verified"
        assert client.delete(f"/email_addresses/{made['id']}").json()["object"] == "email_address"
        assert ada.email == "ada@example.com"
        assert refusal(client.get(f"/email_addresses/{made['id']}")) == (404, "resource_not_found")
    assert {each.type for each in clerk.wire.messages.values()} == {"user.created", "user.updated"}
