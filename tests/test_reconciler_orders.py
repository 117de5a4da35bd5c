"""Deliveries that come twice, late, or before their time: the same facts end in the same state."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import permutations

import pytest

from clerkmap import Event, Repository, Standing
from clerkmap.core.conclusions import current_membership
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.testing.samples import by_key
from sample_bodies import ACME, ANN, BEA, MS, NAME, address, event, membership, organization, reconciler, sample, user


@contextmanager
def in_memory() -> Iterator[Repository]:
    yield MemoryRepository(ids=by_key, clock=lambda: 1.0)


@contextmanager
def on_sqlite() -> Iterator[Repository]:
    repository = SqliteRepository.open(":memory:", ids=by_key, clock=lambda: 1.0)
    yield repository
    repository.close()


Store = Callable[[], AbstractContextManager[Repository]]
STORES: list[Store] = [in_memory, on_sqlite]


def after(events: Iterable[Event], store: Store = in_memory) -> Standing:
    """The standing that these events end in, taken in one by one."""
    with store() as repository:
        mine = reconciler(repository)
        for each in events:
            mine.apply(each)
        standing = repository.find(NAME, ANN, ACME)
    assert standing is not None
    return standing


def role(standing: Standing) -> str | None:
    """The role that counts now, or None for nobody's."""
    current = current_membership(standing.memberships)
    return None if current is None else current.role


CREATED = event("user.created", user(at=MS, first_name="A."), timestamp=MS)
UPDATED = event("user.updated", user(at=MS + 30, first_name="Ann"), timestamp=MS + 30)
LATE = event("user.updated", user(at=MS + 20, first_name="Anne", banned=True), timestamp=MS + 20)
JOINED = event("organizationMembership.created", membership(at=MS + 10), timestamp=MS + 10)
FOUNDED = event("organization.created", organization(at=MS + 5, name="Acme 1"), timestamp=MS + 5)
RENAMED = event("organization.updated", organization(at=MS + 40, name="Acme 2", slug="acme-2"), timestamp=MS + 40)
DELETED = event("user.deleted", {"id": ANN, "deleted": True}, timestamp=MS + 50)
RESURRECTING = event("user.updated", user(at=MS + 60, first_name="Zombie"), timestamp=MS + 60)


@pytest.mark.parametrize("store", STORES)
def test_every_order_of_a_life(store: Store) -> None:
    """Created, updated, told late, joined before the organization was known: 720 orders, one end (3.1, 3.2, 3.14)."""
    story = [CREATED, UPDATED, LATE, JOINED, FOUNDED, RENAMED]
    expected = after(story)

    assert (expected.user.name, expected.user.clerk.banned, role(expected)) == ("Ann", False, "org:member")
    assert expected.organization is not None
    assert (expected.organization.name, expected.organization.slug) == ("Acme 2", "acme-2")
    assert [order for order in permutations(story) if after(order, store) != expected] == []


@pytest.mark.parametrize("store", STORES)
def test_every_order_of_a_death(store: Store) -> None:
    """Whatever comes before or after it, a deletion is final, and leaves nothing personal (3.3)."""
    story = [CREATED, UPDATED, LATE, JOINED, DELETED, RESURRECTING]
    expected = after(story)

    assert (expected.user.clerk.is_deleted, expected.user.deleted_at) == (True, MS + 50)
    assert (expected.user.clerk_id, expected.user.name, expected.user.email) == (None, None, None)
    assert [order for order in permutations(story) if after(order, store) != expected] == []


@pytest.mark.parametrize(
    "name", ["user.created", "user.deleted", "organization.updated", "organizationMembership.deleted"]
)
@pytest.mark.parametrize("store", STORES)
def test_duplicates_bring_nothing_new(store: Store, name: str) -> None:
    """A delivery that comes again, under the same id or another, is acknowledged and changes nothing (3.12)."""
    given = sample(name)
    with store() as repository:
        mine = reconciler(repository)
        assert mine.receive(given.headers, given.body).kind == "applied"
        assert [mine.receive(given.headers, given.body).kind for _ in range(3)] == ["nothing_new"] * 3
        assert mine.apply(given.event) == []


def test_the_same_state_told_again_changes_nothing() -> None:
    """An update of what is not kept, or of nothing, makes no change: a write-back cannot run in circles (3.8)."""
    mine = reconciler()
    mine.apply(UPDATED)

    again = user(at=MS + 31, first_name="Ann", last_sign_in_at=MS + 31, private_metadata={"mine": 1})
    assert mine.apply(event("user.updated", again, timestamp=MS + 31)) == []


LEFT = event("organizationMembership.deleted", membership(at=MS + 10), timestamp=MS + 70)
REJOINED = event(
    "organizationMembership.created", membership("orgmem_2", at=MS + 80, role="org:admin"), timestamp=MS + 80
)


@pytest.mark.parametrize("order", list(permutations([JOINED, LEFT, REJOINED])))
def test_leaving_and_coming_back(order: tuple[Event, ...]) -> None:
    """A removal ends the membership of its id and no other, even where it is the last to arrive (3.5)."""
    assert role(after([CREATED, *order])) == "org:admin"


@pytest.mark.parametrize("order", list(permutations([JOINED, LEFT])))
def test_leaving(order: tuple[Event, ...]) -> None:
    """A removal is final although its dates are those of the last edit."""
    assert role(after([CREATED, *order])) is None


def test_the_samples_of_leaving_and_coming_back() -> None:
    """Joined, promoted, removed, a promotion told late, and taken in again under another id."""
    story = [
        sample(name).event
        for name in (
            "edge/organizationMembership.created.readded_new_id",
            "organizationMembership.deleted",
            "organizationMembership.created.member",
            "organizationMembership.updated",
            "edge/organizationMembership.updated.arrives_after_delete",
        )
    ]
    data = sample("organizationMembership.deleted").said["data"]
    ends = data["public_user_data"]["user_id"], data["organization"]["id"]
    roles = []
    for events in (story, story[1:], story[::-1]):
        repository = MemoryRepository()
        mine = reconciler(repository)
        for each in events:
            mine.apply(each)
        standing = repository.find(NAME, *ends)
        assert standing is not None
        roles.append(role(standing))

    assert roles == ["org:member", None, "org:member"]


BAN = event("user.updated", user(at=MS + 1, banned=True), timestamp=MS + 1)
UNBAN = event("user.updated", user(at=MS + 2), timestamp=MS + 2)
REVOKED = event("session.revoked", {"id": "sess_1", "user": user(at=MS + 1, banned=True)}, timestamp=MS + 1)


@pytest.mark.parametrize(
    ("events", "expected"), [([BAN], True), ([BAN, UNBAN], False), ([CREATED, BAN, REVOKED], True), ([REVOKED], True)]
)
def test_ban_and_unban(events: list[Event], expected: bool) -> None:
    """The later word counts, in whatever order the words arrive (3.9)."""
    assert {after(order).user.clerk.banned for order in permutations(events)} == {expected}


def test_two_words_of_one_millisecond() -> None:
    """Of two updates with the same times the content decides, the same way in both orders (3.13)."""
    pair = [sample("user.updated").event, sample("edge/user.updated.same_ms_different_content").event]
    clerk_id = sample("user.updated").said["data"]["id"]
    ends = []
    for order in permutations(pair):
        repository = MemoryRepository(ids=by_key, clock=lambda: 1.0)
        mine = reconciler(repository)
        for each in order:
            mine.apply(each)
        ends.append(repository.find(NAME, clerk_id))

    assert ends[0] == ends[1] is not None


@pytest.mark.parametrize("store", STORES)
def test_an_address_is_nobodys_identity(store: Store) -> None:
    """An address that moved to another person, or came back after a deletion, joins nobody together (3.10, 3.11)."""
    mail = {"email_addresses": [address(email="shared@example.com")]}
    first, second = user(ANN, **mail), user(BEA, **mail)
    for events in (
        [event("user.created", second), event("user.updated", first)],
        [event("user.created", first), event("user.deleted", {"id": ANN}), event("user.created", second)],
    ):
        with store() as repository:
            mine = reconciler(repository)
            assert [len(mine.apply(each)) for each in events] == [1] * len(events)
            ann, bea = repository.find(NAME, ANN), repository.find(NAME, BEA)
        assert ann is not None
        assert bea is not None
        assert ann.user.id != bea.user.id
        assert bea.user.email == "shared@example.com"


def test_a_new_name_keeps_the_id() -> None:
    """Name and slug may change; your id stays (3.20)."""
    before, now = after([JOINED]), after([JOINED, RENAMED])

    assert before.organization is not None
    assert now.organization is not None
    assert (before.organization.slug, now.organization.slug) == ("acme", "acme-2")
    assert before.organization.id == now.organization.id
