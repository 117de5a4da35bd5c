"""The promises of every repository about lists of members: exactly those whom a request would admit."""

from typing import Any

import pytest

from ..core.model import Id, Member, Membership
from ..core.records import ClerkMembership, ClerkOrganization, ClerkUser
from ..errors import ConfigurationError
from ..ports import Repository
from .samples import ACME, ANN, BEA, HERE, THERE, company, found, left, member, person


def organization_id(repository: Repository, clerk_id: str = ACME) -> Id:
    """Return your id of an organization, which must be known."""
    standing = repository.find(HERE, ANN, clerk_id)
    assert standing is not None
    assert standing.organization is not None
    id: Id = standing.organization.id
    return id


def all_members(repository: Repository, organization: Id, limit: int, role: str | None = None) -> list[Member]:
    """Return all members, page by page."""
    page = repository.members(organization, role=role, limit=limit)
    read = list(page.items)
    while page.after is not None:
        assert len(page.items) == limit
        page = repository.members(organization, role=role, after=page.after, limit=limit)
        assert page.items
        read.extend(page.items)
    return read


class MembersContract:
    """A part of `DirectoryContract`."""

    def test_members_are_listed_once(self, repository: Repository) -> None:
        """Each member is listed once, in any size of pages, with user, organization and role."""
        names = [f"user_{number}" for number in range(7)]
        repository.put([company(name="Acme"), person(), *(person(name, first_name=name) for name in names)])
        repository.put(
            [member(f"orgmem_{n}", user=n, role="org:admin" if n < "user_3" else "org:member") for n in names]
        )
        acme = organization_id(repository)

        for limit in (1, 2, 6, 7, 8, 10_000):
            members = all_members(repository, acme, limit)
            assert sorted(str(each.user.clerk_id) for each in members) == names
            assert {each.organization for each in members} == {repository.organization(acme)}
            assert all(each.user == found(repository, str(each.user.clerk_id)) for each in members)
        admins = all_members(repository, acme, 2, role="org:admin")
        assert sorted(str(each.user.clerk_id) for each in admins) == names[:3]
        assert {each.role for each in admins} == {"org:admin"}
        assert [repository.count_members(acme, at_most=most) for most in (1, 7, 10_000)] == [1, 7, 7]
        assert repository.count_members(acme, role="org:admin") == 3
        assert repository.count_members(acme, role="org:owner") == 0
        assert repository.members(acme, role="org:owner").items == ()

    def test_only_members_of_now_are_listed(self, repository: Repository) -> None:
        """Removed, banned and deleted members are not listed. A member that joins again is, with the new role."""
        repository.put([company(), person(), person(BEA), member(), member("orgmem_2", user=BEA)])
        acme, bea = organization_id(repository), found(repository, BEA).id

        def listed() -> list[str]:
            members = all_members(repository, acme, 1)
            assert repository.count_members(acme) == len(members)
            return sorted(each.user.clerk_id or "" for each in members)

        assert listed() == [ANN, BEA]
        repository.put([left("orgmem_1", at=5)])
        assert (listed(), repository.organizations_of(found(repository).id)) == ([BEA], [])
        repository.put([member("orgmem_3", at=6, role="org:admin")])
        assert (listed(), [each.role for each in repository.organizations_of(found(repository).id)]) == (
            [ANN, BEA],
            ["org:admin"],
        )
        repository.put([person(BEA, at=7, banned=True)])
        assert (listed(), repository.organizations_of(bea)) == ([ANN], [])
        repository.put([person(BEA, at=8)])
        assert listed() == [ANN, BEA]
        repository.put([ClerkUser.deleted(HERE, BEA, observed_at=9)])
        assert (listed(), repository.organizations_of(bea)) == ([ANN], [])
        repository.put([ClerkOrganization.deleted(HERE, ACME, observed_at=9)])
        assert (listed(), repository.organizations_of(found(repository).id)) == ([], [])

    def test_a_member_known_from_a_token_is_listed(self, repository: Repository) -> None:
        """A membership that only a token has named counts until a later removal."""
        token = ClerkMembership.from_token(
            HERE, clerk_user_id=ANN, clerk_organization_id=ACME, role="org:member", observed_at=3
        )
        repository.put([company(), person(), token])
        acme = organization_id(repository)
        user, organization = found(repository), repository.organization(acme)
        assert organization is not None
        wanted = Member(user, organization, Membership(token))

        assert repository.members(acme).items == tuple(repository.organizations_of(user.id)) == (wanted,)
        repository.put([left(at=4)])
        assert repository.members(acme).items == ()

    def test_a_membership_of_unknown_ends_is_not_listed(self, repository: Repository) -> None:
        """A membership that comes before its user is listed once the user is known."""
        repository.put([company(), person(), member(user=BEA)])
        acme = organization_id(repository)
        assert (repository.members(acme).items, repository.count_members(acme)) == ((), 0)

        repository.put([person(BEA)])
        (only,) = repository.members(acme).items
        assert only.user == found(repository, BEA)

    def test_organizations_of_all_identities(self, repository: Repository) -> None:
        """A user's organizations are those of each identity."""
        repository.link(HERE, ANN, "mine")
        repository.link(THERE, ANN, "mine", shared=True)
        there = ClerkMembership.full(
            THERE, "orgmem_1", clerk_user_id=ANN, clerk_organization_id=ACME, role="org:admin", observed_at=1
        )
        repository.put([company(), company(instance=THERE), member(), there])

        assert [(each.organization.clerk.instance, each.role) for each in repository.organizations_of("mine")] == [
            (HERE, "org:member"),
            (THERE, "org:admin"),
        ]
        assert repository.organizations_of("nobody") == []

    def test_a_wrong_page_of_members_is_refused(self, repository: Repository) -> None:
        """An invalid limit, place or role is refused, and an unknown organization has no members."""
        repository.put([company(), person(), member()])
        acme = organization_id(repository)
        wrong: list[Any] = [0, -1, 10_001, True, "5", None]
        for limit in wrong:
            with pytest.raises(ConfigurationError, match="from 1 to 10000"):
                repository.members(acme, limit=limit)
            with pytest.raises(ConfigurationError, match="from 1 to 10000"):
                repository.count_members(acme, at_most=limit)
        texts: list[Any] = [7, b"x", "\x00", "\ud800"]
        for text in texts:
            with pytest.raises(ConfigurationError, match="after"):
                repository.members(acme, after=text)
            with pytest.raises(ConfigurationError, match="role"):
                repository.members(acme, role=text)
        page = repository.members("nothing")
        assert (page.items, page.after, repository.count_members("nothing")) == ((), None, 0)
