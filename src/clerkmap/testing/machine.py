"""A state machine that holds a repository to the one in memory, step by step. Needs hypothesis.

    TestMine = repository_machine(MyRepository.for_tests)

Hypothesis makes histories: records of a few people and organizations in two instances, with few different times, so
that ties, late arrivals and deletions come up all the time. After each step both repositories must show the same.
"""

from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ..core.records import (
    GLIMPSED,
    SIGHTED,
    STATED,
    AnyRecord,
    ClerkMembership,
    ClerkOrganization,
    ClerkUser,
)
from ..errors import LinkRefused
from ..repositories.memory import MemoryRepository
from .samples import MakeRepository, by_key

INSTANCES = ("here", "there")
USERS = ("user_a", "user_b", "user_c")
ORGANIZATIONS = ("org_a", "org_b")

_instances = st.sampled_from(INSTANCES)
_users = st.sampled_from(USERS)
_organizations = st.sampled_from(ORGANIZATIONS)
_times = st.integers(0, 3)
_names = st.sampled_from([None, "x", "y"])
_grades = st.sampled_from([GLIMPSED, STATED])


def records() -> st.SearchStrategy[AnyRecord]:
    """Any record of the small world."""
    user = st.builds(
        ClerkUser.make, _grades, _instances, _users, observed_at=_times, updated_at=_times, first_name=_names,
        banned=st.booleans(),
    )  # fmt: skip
    sighted_user = st.builds(ClerkUser.make, st.just(SIGHTED), _instances, _users, observed_at=_times)
    organization = st.builds(
        ClerkOrganization.make, st.sampled_from([SIGHTED, STATED]), _instances, _organizations, observed_at=_times,
        updated_at=_times, name=_names, slug=_names,
    )  # fmt: skip
    memberships = st.sampled_from(["orgmem_1", "orgmem_2", "orgmem_3"])
    ends = {"clerk_user_id": _users, "clerk_organization_id": _organizations}
    membership = st.builds(
        ClerkMembership.stated, _instances, memberships, **ends, role=_names, observed_at=_times, updated_at=_times
    )
    sighted_membership = st.builds(ClerkMembership.sighted, _instances, **ends, role=_names, observed_at=_times)
    deleted = st.one_of(
        st.builds(ClerkUser.deleted, _instances, _users, observed_at=_times),
        st.builds(ClerkOrganization.deleted, _instances, _organizations, observed_at=_times),
        st.builds(ClerkMembership.deleted, _instances, memberships, **ends, observed_at=_times),
    )
    return st.one_of(user, sighted_user, organization, membership, sighted_membership, deleted)


def repository_machine(make_repository: MakeRepository, **chosen: Any) -> type[Any]:
    """A unittest case for the repository that the factory makes. `chosen` are settings of hypothesis."""

    class RepositoryMachine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            options: dict[str, Any] = {"ids": by_key, "clock": lambda: 1.0}
            self.model = MemoryRepository(**options)
            self.real = make_repository(**options)

        @rule(batch=st.lists(records(), max_size=5))
        def put(self, batch: list[AnyRecord]) -> None:
            assert self.model.put(batch) == self.real.put(batch)

        @rule(instance=_instances, user=_users, mine=st.sampled_from(["mine", "yours"]))
        def link(self, instance: str, user: str, mine: str) -> None:
            answers: list[Any] = []
            for repository in (self.model, self.real):
                try:
                    answers.append(repository.link(instance, user, mine))
                except LinkRefused as refused:
                    answers.append(refused.code)
            assert answers[0] == answers[1]

        @invariant()
        def they_show_the_same(self) -> None:
            for instance in INSTANCES:
                for user in USERS:
                    for organization in ORGANIZATIONS:
                        standing = self.model.find(instance, user, organization)
                        assert standing == self.real.find(instance, user, organization)
                        if standing is not None:
                            assert self.model.user(standing.user.id) == self.real.user(standing.user.id)

        def teardown(self) -> None:
            self.real.close()

    case: type[Any] = cast(Any, RepositoryMachine).TestCase
    case.settings = settings(deadline=None, **chosen)
    return case
