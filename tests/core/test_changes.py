"""What a change says of itself, through the life of a user, an organization and a membership."""

import pytest

from clerkmap import Change
from clerkmap.core.merging import current_membership
from clerkmap.core.model import Count, Membership, exported
from clerkmap.core.records import AnyRecord, ClerkUser
from clerkmap.core.tombstone_retention import ended_before
from clerkmap.repositories import MemoryRepository
from clerkmap.testing.samples import ANN, HERE, company, found, left, member, person

IS = ("made", "altered", "deleted", "regained")
KINDS = ("is_user", "is_organization", "is_membership")


def changes(*history: AnyRecord) -> list[Change]:
    """The changes that these records make, put one by one."""
    repository = MemoryRepository()
    return [change for record in history for change in repository.put([record])]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([person(), person(at=2, first_name="Ann")], ["made", "altered"]),
        ([person(), ClerkUser.deleted(HERE, ANN, observed_at=2)], ["made", "deleted"]),
        ([ClerkUser.deleted(HERE, ANN, observed_at=2)], ["deleted"]),
        ([company(), company(at=2, name="Acme")], ["made", "altered"]),
    ],
)
def test_a_change_is_one_of_four(history: list[AnyRecord], expected: list[str]) -> None:
    """Exactly one of the four words is true of each change, and exactly one kind."""
    assert [[name for name in IS if getattr(change, name)] for change in changes(*history)] == [[e] for e in expected]
    for change in changes(*history):
        assert [getattr(change, kind) for kind in KINDS].count(True) == 1


def test_a_member_leaves_and_joins_again() -> None:
    """The membership is in the change, with both of its ends."""
    history: list[AnyRecord] = [person(), company(), member(), left(), member("orgmem_2", at=3)]
    about = [change for change in changes(*history) if change.is_membership]
    assert [[name for name in IS if getattr(change, name)] for change in about] == [["made"], ["deleted"], ["regained"]]
    for change in about:
        assert change.membership is change.after
        assert change.member is not None
        assert (change.member.user, change.member.organization) == (change.user, change.organization)
        assert change.member.membership is change.membership
    assert changes(person())[0].membership is None
    assert changes(person())[0].member is None
    for end in (Change(None, Membership(member())), Change(None, Membership(member()), user=about[0].user)):
        assert end.member is None  # not yet what a hook gets


def test_a_membership_is_over_once_nothing_shows_it_after_its_end() -> None:
    """A later membership goes on, and an end at the moment itself is not before it."""
    ended = left(at=2)
    assert ended_before([ended], 3)
    assert not ended_before([ended], 2)
    assert not ended_before([member()], 3)
    later = member("orgmem_2", at=3)
    assert current_membership([ended, later]) == later
    assert not ended_before([ended, later], 4)


def test_a_count_of_what_is_alive() -> None:
    """Tombstones are not counted."""
    assert Count(told=2, from_token=3, deleted=5).alive == 5


def test_an_export_has_all_that_is_stored() -> None:
    """The user, the identities with their metadata as JSON, and the memberships."""
    repository = MemoryRepository()
    repository.put([person(email="ann@example.com", public_metadata='{"plan": "pro"}'), company(), member()])
    user = found(repository)
    data = exported([user], [member()])
    assert data["user"]["id"] == user.id
    assert [(each["email"], each["public_metadata"]) for each in data["identities"]] == [
        ("ann@example.com", {"plan": "pro"})
    ]
    assert [each["role"] for each in data["memberships"]] == ["org:member"]


def test_a_member_in_a_list_shows_ids_alone() -> None:
    """A repr ends in logs. The role is that of the membership."""
    repository = MemoryRepository()
    repository.put([person(email="ann@example.com"), company(name="Acme"), member()])
    (one,) = repository.organizations_of(found(repository).id)
    assert repository.members(one.organization.id).items == (one,)
    assert (one.role, repr(one)) == ("org:member", f"Member({one.user.id!r}, {one.organization.id!r})")
