"""The API of people: who is listed, and in which order."""

import pytest

from clerkmap.testing import Clock, FakeClerk
from fake_api_world import client_of, ids, refusal

START = 1_700_000_000


class Town:
    """Four people, of whom each has something of their own."""

    def __init__(self) -> None:
        self.clerk = clerk = FakeClerk(clock=Clock(START))
        self.ada = clerk.create_user("ada@example.com", first_name="Ada", last_name="Lovelace", external_id="1815")
        clerk.clock.advance(10)
        self.bob = clerk.create_user("BOB@example.org", first_name="Bob", username="bobby")
        clerk.clock.advance(10)
        self.cyd = clerk.create_user(username="cyd", external_id="-7")
        clerk.clock.advance(10)
        self.dan = clerk.create_user("dan@example.com", "second@dan.example", last_name="Adamson")
        self.acme = clerk.create_organization("Acme", created_by=self.ada)
        self.duo = clerk.create_organization("Duo", created_by=self.bob)
        clerk.add_member(self.acme, self.bob)
        clerk.clock.advance(10)
        clerk.sign_in(self.cyd)
        clerk.ban(self.dan)

    def names(self, found: list[str]) -> str:
        """The people with these ids, by their first letters."""
        return "".join(name for id in found for name in ("ada", "bob", "cyd", "dan") if getattr(self, name).id == id)


@pytest.fixture(scope="module")
def town() -> Town:
    """A town in which nothing changes."""
    return Town()


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ([], "adabobcyddan"),
        ([("email_address", "ADA@EXAMPLE.COM")], "ada"),
        ([("email_address", "second@dan.example"), ("email_address", "bob@example.org")], "bobdan"),
        ([("email_address", "nobody@example.com")], ""),
        ([("username", "bobby"), ("username", "cyd")], "bobcyd"),
        ([("external_id", "1815")], "ada"),
        ([("external_id", "+1815"), ("external_id", "-7")], "ada"),
        ([("external_id", "-1815")], "bobcyddan"),
        ([("user_id", "ada"), ("user_id", "+cyd"), ("user_id", "user_nobody")], "adacyd"),
        ([("user_id", "-ada"), ("user_id", "-cyd")], "bobdan"),
        ([("organization_id", "acme")], "adabob"),
        ([("organization_id", "acme"), ("organization_id", "-duo")], "ada"),
        ([("organization_id", "-acme")], "cyddan"),
        ([("organization_id", "org_nothing")], ""),
        ([("organization_id", "acme"), ("email_address", "dan@example.com")], ""),
        ([("query", "ADA")], "adadan"),
        ([("query", "example.org")], "bob"),
        ([("query", "ada love")], "ada"),
        ([("email_address_query", "example.com")], "adadan"),
        ([("username_query", "BB")], "bob"),
        ([("name_query", "adam")], "dan"),
        ([("phone_number", "+15550100")], ""),
        ([("phone_number_query", "555")], ""),
        ([("provider", "oauth_google"), ("provider_user_id", "1")], ""),
        ([("banned", "true")], "dan"),
        ([("banned", "false")], "adabobcyd"),
        ([("created_at_after", f"{START + 5}000")], "bobcyddan"),
        ([("created_at_before", f"{START + 5}000")], "ada"),
        ([("created_at_after", f"{START + 5}000"), ("created_at_before", f"{START + 15}000")], "bob"),
        ([("last_sign_in_at_after", "0")], "cyd"),
        ([("last_sign_in_at_before", f"{START}000")], ""),
        ([("last_active_at_since", "0")], "cyd"),
        ([("last_active_at_before", f"{START + 1000}000")], "cyd"),
        ([("with_organization_memberships", "true")], "adabobcyddan"),
    ],
)
def test_people_are_listed_and_counted_by_what_they_are_like(
    town: Town, asked: list[tuple[str, str]], found: str
) -> None:
    """Each filter of Clerk's; several of them together; and what nobody knows changes nothing."""
    known = {each: getattr(town, each).id for each in ("ada", "bob", "cyd", "dan", "acme", "duo")}
    query = []
    for name, value in asked:
        sign = value[0] if value[0] in "+-" else ""
        query.append(
            (name, sign + known.get(value.removeprefix(sign), value.removeprefix(sign)) if "_id" in name else value)
        )
    with client_of(town.clerk) as client:
        listed = client.get("/users", params=[*query, ("order_by", "+created_at")])
        assert town.names(ids(listed)) == found
        counted = client.get("/users/count", params=query).json()
        assert counted == {"object": "total_count", "total_count": len(ids(listed))}


@pytest.mark.parametrize(
    ("order", "found"),
    [
        (None, "dancydbobada"),
        ("created_at", "adabobcyddan"),
        ("+created_at", "adabobcyddan"),
        ("-created_at", "dancydbobada"),
        ("updated_at", "adabobcyddan"),
        ("-updated_at", "dancydbobada"),
        ("last_sign_in_at", "cyd"),
        ("last_active_at", "cyd"),
        ("username", "bobcyd"),
        ("email_address", "bobadadan"),
        ("first_name", "adabob"),
        ("last_name", "danada"),
        ("phone_number", ""),
        ("web3wallet", ""),
    ],
)
def test_people_are_sorted_by_what_is_asked_for(town: Town, order: str | None, found: str) -> None:
    """Those without such a thing come last, and first when it is turned round."""
    with client_of(town.clerk) as client:
        listed = town.names(ids(client.get("/users", params={} if order is None else {"order_by": order})))
        assert listed.startswith(found)
        assert len(listed) == 12
        if order is not None and order[0] not in "+-":
            backwards = town.names(ids(client.get("/users", params={"order_by": f"-{order}"})))
            assert [backwards[at : at + 3] for at in (9, 6, 3, 0)] == [listed[at : at + 3] for at in (0, 3, 6, 9)]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=501", "limit=ten", "limit=-1", "offset=-1", "offset=1.5", "order_by=age",
        "order_by=+created_at",
        "order_by=%2B-created_at", "banned=maybe", "created_at_after=2024-01-01", "limit=٣",
        "&".join(f"user_id=user_{n}" for n in range(101)),
    ],
)  # fmt: skip
def test_what_cannot_be_listed_is_refused(town: Town, query: str) -> None:
    """Also a plus that was not encoded, which is a space when it arrives."""
    with client_of(town.clerk) as client:
        assert refusal(client.get(f"/users?{query}"))[0] == 422


def test_a_query_has_an_end(town: Town) -> None:
    """Thousands of parameters are not even read."""
    with client_of(town.clerk) as client:
        assert refusal(client.get("/users?" + "a=1&" * 2000))[0] == 400
