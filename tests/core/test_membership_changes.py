"""Memberships begin and end with their users, organizations and links, in one change for each."""

import pytest

from clerkmap import Change, Membership
from clerkmap.core.membership_changes import MembershipChanges
from clerkmap.core.records import AnyRecord, ClerkOrganization, ClerkSession, ClerkUser
from clerkmap.repositories import MemoryRepository
from clerkmap.testing.contract_hooks import what
from clerkmap.testing.samples import ACME, ANN, BEA, HERE, company, found, left, member, person

GONE, CLOSED = ClerkUser.deleted(HERE, ANN, observed_at=5), ClerkOrganization.deleted(HERE, ACME, observed_at=5)
BANNED, BACK = person(at=3, banned=True), person(at=4)
MADE = ["organization made", "user made", "membership made"]


ALL: list[AnyRecord] = [member(), company(), person()]
HISTORIES: list[tuple[list[list[AnyRecord]], list[str]]] = [
    ([[company(), person()], [member()]], MADE),
    ([[member()], [company()], [person()]], MADE),
    ([ALL, [BANNED]], [*MADE, "membership deleted", "user altered"]),
    ([[member(), company(), BANNED], [BACK]], [*MADE[:2], "user altered", "membership regained"]),
    ([ALL, [GONE]], [*MADE, "membership deleted", "user deleted"]),
    ([ALL, [CLOSED]], [*MADE, "membership deleted", "organization deleted"]),
    ([ALL, [CLOSED, GONE]], [*MADE, "membership deleted", "organization deleted", "user deleted"]),
    ([ALL, [left(), member("orgmem_2", at=3)]], [*MADE, "membership altered"]),
    ([ALL, [left()], [CLOSED]], [*MADE, "membership deleted", "organization deleted"]),
    ([[left()], [company(), person()], [member("orgmem_2", at=3)]], [*MADE[:2], "membership regained"]),
    ([[GONE], [company(), member()]], ["user deleted", "organization made"]),
    ([[ClerkSession.deleted(HERE, "sess_1", observed_at=1)]], ["session deleted"]),
]


@pytest.mark.parametrize(("history", "expected"), HISTORIES)
def test_a_history_makes_these_changes(history: list[list[AnyRecord]], expected: list[str]) -> None:
    """In the order in which rows can refer to each other: memberships end first and begin last."""
    repository = MemoryRepository(clock=lambda: 1)
    assert [what(change) for records in history for change in repository.put(records)] == expected


def test_a_linked_identity_begins_memberships() -> None:
    """Its state before is that of another identity of your user, which is none of its own."""
    repository = MemoryRepository()
    repository.put([company(), member(user=BEA), person()])
    told: list[str] = []
    repository.listeners.hook(lambda change, tx: told.append(what(change)))
    repository.link(HERE, BEA, found(repository).id, shared=True)
    assert told == ["user altered", "membership made"]


def test_a_change_that_follows_from_another_touches_nothing() -> None:
    """The keys of an organization with many members are those of the organization alone."""
    repository = MemoryRepository()
    repository.put([member(), company(), person()])
    ended, closed = repository.put([CLOSED])
    assert ended.follows
    assert not closed.follows
    assert (ended.touches, closed.touches) == ((), (company().key,))


def test_a_membership_moves_with_its_user() -> None:
    """It ends for one user and begins for another. If it was not current before, it only begins."""
    repository = MemoryRepository()
    (made,) = repository.put([company()])
    assert made.organization is not None
    repository.put([person()])
    ann = found(repository)
    bea = repository.unlink(HERE, ANN, ann.id)
    moved = Change(ann, bea, bea)

    def changes(before: Membership | None, after: Membership) -> list[Change]:
        of_write = MembershipChanges([moved, Change(before, after)])
        of_write.add([member()])  # it is among the written ones
        assert of_write.users_to_read == []
        assert of_write.organizations_to_read == [(HERE, company().key)]
        assert made.organization is not None
        return of_write.all({}, {(HERE, company().key): made.organization})

    ended, altered, begun = changes(Membership(member()), Membership(member()))
    assert (ended.deleted, ended.user, begun.made, begun.user) == (True, ann, True, bea)
    assert altered is moved
    assert [change.is_news for change in changes(None, Membership(member()))] == [True, True]
    assert [change.is_news for change in changes(None, Membership(left()))] == [False, True]
