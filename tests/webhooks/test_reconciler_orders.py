"""Deliveries that come twice, late, or before their time: the same facts end in the same state.

The facts are those of one life at a made-up Clerk. Whole deliveries of Clerk's own stand beside them.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import permutations

import pytest

from clerkmap import Event, Repository, Standing, parse_event
from clerkmap.core.merging import current_membership
from clerkmap.core.times import to_datetime
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.testing import Clock, FakeClerk
from clerkmap.testing.samples import by_key
from sample_bodies import NAME, NOW, reconciler, sample, say


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
        standing = repository.find(NAME, ANN.id, ACME.id)
    assert standing is not None
    return standing


def role(standing: Standing) -> str | None:
    """The role that counts now, or None for nobody's."""
    current = current_membership(standing.memberships)
    return None if current is None else current.role


def told(clerk: FakeClerk) -> Event:
    """The one thing that a Clerk has said since it was last asked."""
    (delivery,) = clerk.deliveries()
    return parse_event(delivery.body)


CLERK = FakeClerk(clock=Clock(NOW), host=NAME)
ANN = CLERK.create_user("ann@example.com", first_name="A.")
CREATED = told(CLERK)
ACME = CLERK.create_organization("Acme 1", slug="acme")
FOUNDED = told(CLERK)
CLERK.add_member(ACME, ANN)
JOINED = told(CLERK)
with CLERK.silence():
    CLERK.sign_in(ANN)
    CLERK.update_user(ANN, first_name="Anne")
CLERK.ban(ANN)
BANNED, REVOKED = (parse_event(delivery.body) for delivery in CLERK.deliveries())
CLERK.unban(ANN)
UNBANNED = told(CLERK)
CLERK.update_user(ANN, first_name="Ann")
UPDATED = told(CLERK)
with CLERK.silence():
    CLERK.sign_in(ANN)
CLERK.merge_metadata(ANN, private_metadata={"mine": 1})
UPDATED_IN_PRIVATE = told(CLERK)
CLERK.update_organization(ACME, name="Acme 2", slug="acme-2")
RENAMED = told(CLERK)
CLERK.remove_member(ACME, ANN)
LEFT = told(CLERK)
CLERK.add_member(ACME, ANN, role="org:admin")
REJOINED = told(CLERK)
CLERK.delete_user(ANN)
DELETED = told(CLERK)
say(CLERK, "user.updated", CLERK.shape(ANN) | {"first_name": "Zombie"})  # which Clerk would not
RESURRECTING = told(CLERK)


@pytest.mark.parametrize("store", STORES)
def test_every_order_of_a_life(store: Store) -> None:
    """Created, updated, told late, joined before the organization was known: 720 orders, one end (3.1, 3.2, 3.14)."""
    story = [CREATED, UPDATED, BANNED, JOINED, FOUNDED, RENAMED]
    expected = after(story)

    assert (expected.user.name, expected.user.clerk.banned, role(expected)) == ("Ann", False, "org:member")
    assert expected.organization is not None
    assert (expected.organization.name, expected.organization.slug) == ("Acme 2", "acme-2")
    assert [order for order in permutations(story) if after(order, store) != expected] == []


@pytest.mark.parametrize("store", STORES)
def test_every_order_of_a_death(store: Store) -> None:
    """Whatever comes before or after it, a deletion is final, and leaves nothing personal (3.3)."""
    story = [CREATED, UPDATED, BANNED, JOINED, DELETED, RESURRECTING]
    expected = after(story)

    assert (expected.user.clerk.is_deleted, expected.user.deleted_at) == (True, to_datetime(DELETED.timestamp))
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
        assert mine.apply(given.event).changes == ()


def test_the_same_state_told_again_changes_nothing() -> None:
    """An update of what is not kept, or of nothing, makes no change: a write-back cannot run in circles (3.8)."""
    mine = reconciler()
    mine.apply(UPDATED)

    assert mine.apply(UPDATED_IN_PRIVATE).changes == ()


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


@pytest.mark.parametrize(
    ("events", "expected"),
    [([BANNED], True), ([BANNED, UNBANNED], False), ([CREATED, BANNED, REVOKED], True), ([REVOKED], True)],
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


@pytest.mark.parametrize("how", ["moved", "came back"])
@pytest.mark.parametrize("store", STORES)
def test_an_address_is_nobodys_identity(store: Store, how: str) -> None:
    """An address that moved to another person, or came back after a deletion, joins nobody together (3.10, 3.11)."""
    clerk = FakeClerk(clock=Clock(NOW), host=NAME)
    if how == "moved":
        bea = clerk.create_user("shared@example.com")
        events = [told(clerk)]
        with clerk.silence():
            clerk.remove_address(bea, bea.addresses[0])
            ann = clerk.create_user()
        clerk.add_address(ann, "shared@example.com", primary=True)
        events.append(told(clerk))
    else:
        ann = clerk.create_user("shared@example.com")
        clerk.delete_user(ann)
        bea = clerk.create_user("shared@example.com")
        events = [parse_event(delivery.body) for delivery in clerk.deliveries()]
    with store() as repository:
        mine = reconciler(repository)
        assert [len(mine.apply(each).changes) for each in events] == [1] * len(events)
        one, other = repository.find(NAME, ann.id), repository.find(NAME, bea.id)
    assert one is not None
    assert other is not None
    assert one.user.id != other.user.id
    assert other.user.email == "shared@example.com"


def test_a_new_name_keeps_the_id() -> None:
    """Name and slug may change; your id stays (3.20)."""
    before, now = after([JOINED]), after([JOINED, RENAMED])

    assert before.organization is not None
    assert now.organization is not None
    assert (before.organization.slug, now.organization.slug) == ("acme", "acme-2")
    assert before.organization.id == now.organization.id
