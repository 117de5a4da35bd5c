"""The laws of pages: what a scan sees, with a cursor and with offsets, while people come and go or stay."""

from collections.abc import Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerkmap.testing import Clock, FakeClerk, FakeUser
from clerkmap.testing.fake.api.requests import ApiRequest
from fake_api_world import client_of, ids, refusal

ORDERS = st.sampled_from(["created_at", "+created_at", "-created_at", "-updated_at", "first_name", "-first_name"])


def crowd(size: int, births: list[int] | None = None) -> tuple[FakeClerk, list[FakeUser]]:
    """People who were made one after the other, or at the given times."""
    clerk = FakeClerk(clock=Clock(1_700_000_000))
    with clerk.silence():
        people = [
            clerk.create_user(username=f"user{n}", first_name="AB"[n % 2], created_at=births[n] if births else None)
            for n in range(size)
        ]
    return clerk, people


def by_offset(client: httpx.Client, order: str, limit: int, path: str = "/users") -> list[str]:
    """Every id that a scan with offsets sees."""
    seen: list[str] = []
    while True:
        page = ids(client.get(path, params={"order_by": order, "limit": limit, "offset": len(seen)}))
        seen += page
        if len(page) < limit:
            return seen


def by_cursor(client: httpx.Client, order: str, limit: int, **filters: str) -> list[str]:
    """Every id that a scan with a cursor sees."""
    seen: list[str] = []
    while True:
        cursor = {"starting_after": seen[-1]} if seen else {}
        page = ids(client.get("/users", params={"order_by": order, "limit": limit, **cursor, **filters}))
        seen += page
        if len(page) < limit:
            return seen


@given(size=st.integers(0, 12), limit=st.integers(1, 5), order=ORDERS)
def test_pages_make_up_the_list(size: int, limit: int, order: str) -> None:
    """Each person once, in the same order whatever the size of the pages; backwards, it is the same backwards."""
    clerk, people = crowd(size)
    with client_of(clerk) as client:
        seen = by_offset(client, order, limit)
        assert seen == by_offset(client, order, 500)
        assert sorted(seen) == sorted(each.id for each in people)
        back = order.removeprefix("-") if order.startswith("-") else f"-{order.removeprefix('+')}"
        assert by_offset(client, back, limit) == seen[::-1]


@given(births=st.lists(st.integers(1, 4), max_size=12), limit=st.integers(1, 5), sign=st.sampled_from("+-"))
def test_a_cursor_sees_what_offsets_see(births: list[int], limit: int, sign: str) -> None:
    """Also where many were made at the same moment."""
    clerk, _ = crowd(len(births), births)
    with client_of(clerk) as client:
        assert by_cursor(client, f"{sign}created_at", limit) == by_offset(client, f"{sign}created_at", 3)


@given(data=st.data(), limit=st.integers(1, 4), sign=st.sampled_from("+-"))
def test_a_cursor_misses_nobody_who_stays(data: st.DataObject, limit: int, sign: str) -> None:
    """Whoever is deleted or made between two pages: who was there all the time is seen, and nobody twice."""
    clerk, people = crowd(12)
    stay = set(data.draw(st.sets(st.sampled_from([each.id for each in people]))))
    doomed = [each for each in people if each.id not in stay]
    last_seen: list[str] = []

    def shift(request: ApiRequest) -> None:
        mortal = [each for each in doomed if each.id in clerk.users and each.id not in last_seen[-1:]]
        if data.draw(st.booleans()) and mortal:
            clerk.delete_user(mortal[data.draw(st.integers(0, len(mortal) - 1))])
        if len(clerk.users) < 30 and data.draw(st.booleans()):
            clerk.create_user(username=f"late{len(clerk.api.requests)}")

    clerk.faults.between_pages = shift
    with client_of(clerk) as client:
        while True:
            cursor = {"starting_after": last_seen[-1]} if last_seen else {}
            page = ids(client.get("/users", params={"order_by": f"{sign}created_at", "limit": limit, **cursor}))
            last_seen += page
            if len(page) < limit:
                break
    assert stay <= set(last_seen)
    assert len(set(last_seen)) == len(last_seen)


def test_offsets_skip_and_repeat_when_people_come_and_go() -> None:
    """As at Clerk: a deletion before the offset hides somebody, a newcomer before it shows somebody twice."""
    clerk, people = crowd(6)
    first, newcomers = people[0], iter(range(100))

    def delete_once(_: ApiRequest) -> None:
        if first.id in clerk.users and len(clerk.api.requests) == 2:
            clerk.delete_user(first)

    clerk.faults.between_pages = delete_once
    with client_of(clerk) as client:
        assert by_offset(client, "+created_at", 2) == [people[n].id for n in (0, 1, 3, 4, 5)]

    def add_once(_: ApiRequest) -> None:
        if next(newcomers) == 1:
            clerk.create_user(username="newcomer")

    clerk.faults.between_pages = add_once
    with client_of(clerk) as client:
        seen = by_offset(client, "-created_at", 2)
    assert len(seen) == len(set(seen)) + 1


def test_the_hook_comes_before_lists_only() -> None:
    """It is told which list; counting and getting are no lists. What it changes is in the page."""
    clerk, people = crowd(2)
    acme = clerk.create_organization("Acme", created_by=people[0])
    asked: list[str] = []
    clerk.faults.between_pages = lambda request: asked.append(request.path)
    lists = [
        "/users", "/organizations", "/organization_memberships", f"/organizations/{acme.id}/memberships",
        f"/users/{people[0].id}/organization_memberships", f"/sessions?user_id={people[0].id}",
        "/organization_invitations", f"/organizations/{acme.id}/invitations",
    ]  # fmt: skip
    with client_of(clerk) as client:
        for path in (*lists, "/users/count", f"/users/{people[0].id}", "/organizations/acme", "/jwks"):
            assert client.get(path).status_code == 200
        assert asked == [f"/v1{path.partition('?')[0]}" for path in lists]
        clerk.faults.between_pages = lambda _: clerk.create_user(username="newest")
        assert len(ids(client.get("/users"))) == 3


@pytest.mark.parametrize(
    "query",
    ["order_by=updated_at", "order_by=-username", "offset=1", "order_by=created_at&offset=3"],
)
def test_a_cursor_needs_the_order_of_creation_and_no_offset(query: str) -> None:
    """Anything else is 422, and so is a cursor that leads to nobody. An offset of nothing is none."""
    clerk, people = crowd(3)
    with client_of(clerk) as client:
        assert refusal(client.get(f"/users?{query}&starting_after={people[0].id}"))[0] == 422
        assert refusal(client.get("/users?starting_after=user_nobody")) == (422, "form_resource_not_found")
        assert ids(client.get(f"/users?offset=0&starting_after={people[1].id}")) == [people[0].id]


def test_a_cursor_may_lead_to_somebody_who_is_not_listed() -> None:
    """Who no longer fits the filters still marks the place from which on the rest is listed."""
    clerk, people = crowd(5)
    clerk.ban(people[2])
    with client_of(clerk) as client:
        rest = client.get(f"/users?order_by=created_at&banned=false&starting_after={people[2].id}")
        assert ids(rest) == [people[3].id, people[4].id]
        assert by_cursor(client, "-created_at", 2, banned="false") == [people[n].id for n in (4, 3, 1, 0)]


def test_ten_are_listed_unless_more_are_asked_for() -> None:
    """The default that cuts off so many lists."""
    clerk, people = crowd(11)
    for each in people:
        clerk.create_organization(f"Of {each.username}", created_by=each)
    with client_of(clerk) as client:
        assert len(ids(client.get("/users"))) == 10
        for path in ("/organizations", "/organization_memberships"):
            answer = client.get(path)
            assert (len(ids(answer)), answer.json()["total_count"]) == (10, 11)


CHANGES: list[Callable[[FakeClerk, FakeUser], object]] = [
    lambda clerk, user: clerk.delete_user(user),
    lambda clerk, user: clerk.update_user(user, first_name="Zed"),
    lambda clerk, user: clerk.ban(user),
    lambda clerk, user: clerk.create_user(username="new"),
    lambda clerk, user: clerk.remove_member(next(iter(clerk.organizations.values())), user),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_list_that_was_kept_is_not_shown_after_a_change(change: Callable[[FakeClerk, FakeUser], object]) -> None:
    """Lists are kept to be quick; what they show is always what there is, also of changes that nothing is said of."""
    clerk, people = crowd(3)
    clerk.create_organization("Acme", created_by=people[0])
    queries = ["order_by=-first_name", "banned=true", "organization_id=" + next(iter(clerk.organizations))]
    with client_of(clerk) as client:
        before = [ids(client.get(f"/users?{query}")) for query in queries]
        with clerk.silence():
            change(clerk, people[0])
        after = [ids(client.get(f"/users?{query}")) for query in queries]
    assert before != after
