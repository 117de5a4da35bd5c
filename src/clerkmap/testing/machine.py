"""A state machine that compares a repository with the one in memory, step by step. Needs hypothesis.

    TestMine = repository_machine(MyRepository.for_tests)

Hypothesis generates histories of a few users and organizations in two instances, at a few times, so that ties, late
records and deletions are frequent. After each step both repositories must have the same state.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ..core.merging import current_membership
from ..core.model import Change, ResultPage
from ..core.principal import Standing
from ..core.records import (
    EMBEDDED,
    FROM_TOKEN,
    FULL,
    AnyRecord,
    ClerkMembership,
    ClerkOrganization,
    ClerkSession,
    ClerkUser,
    Kind,
    key_of,
)
from ..errors import ConfigurationError, HookFailed, LinkRefused, UserUnknown
from ..ports import Repository
from ..repositories.memory import MemoryRepository
from .samples import MakeRepository, by_key

INSTANCES = ("here", "there")
USERS = ("user_a", "user_b", "user_c")
ORGANIZATIONS = ("org_a", "org_b")
YOURS = ("mine", "yours", "ours")
SESSION = "sess_a"
KINDS: tuple[Kind, ...] = ("user", "organization", "membership")

_instances = st.sampled_from(INSTANCES)
_users = st.sampled_from(USERS)
_organizations = st.sampled_from(ORGANIZATIONS)
_yours = st.sampled_from(YOURS)
_kinds = st.sampled_from(KINDS)
_times = st.integers(0, 3)
_names = st.sampled_from([None, "x", "y"])
_flags = st.sampled_from([None, True, False])
_roles = st.sampled_from([None, None, "a"])
_searches = st.one_of(st.none(), _users, _yours, st.sampled_from(["", "x", "X Y", "id-", "%", "user"]))
_grades = st.sampled_from([EMBEDDED, FULL])


def records() -> st.SearchStrategy[AnyRecord]:
    """Return any record of the small world."""
    user = st.builds(
        ClerkUser.make, _grades, _instances, _users, observed_at=_times, updated_at=_times, first_name=_names,
        last_name=_names, username=_names, external_id=_names, banned=st.booleans(),
        public_metadata=st.sampled_from(["{}", '{"role":"a"}', '{"role":"b"}']),
    )  # fmt: skip
    token_user = st.builds(
        ClerkUser.make, st.just(FROM_TOKEN), _instances, _users, observed_at=_times, email=_names, first_name=_names,
        username=_names,
    )  # fmt: skip
    organization = st.builds(
        ClerkOrganization.make, st.sampled_from([FROM_TOKEN, FULL]), _instances, _organizations, observed_at=_times,
        updated_at=_times, name=_names, slug=_names,
    )  # fmt: skip
    memberships = st.sampled_from(["orgmem_1", "orgmem_2", "orgmem_3"])
    ends = {"clerk_user_id": _users, "clerk_organization_id": _organizations}
    membership = st.builds(
        ClerkMembership.full, _instances, memberships, **ends, role=_names, observed_at=_times, updated_at=_times
    )
    token_membership = st.builds(ClerkMembership.from_token, _instances, **ends, role=_names, observed_at=_times)
    deleted = st.one_of(
        st.builds(ClerkUser.deleted, _instances, _users, observed_at=_times),
        st.builds(ClerkOrganization.deleted, _instances, _organizations, observed_at=_times),
        st.builds(ClerkMembership.deleted, _instances, memberships, **ends, observed_at=_times),
        st.builds(ClerkSession.deleted, _instances, st.just(SESSION), observed_at=_times),
    )
    return st.one_of(user, token_user, organization, membership, token_membership, deleted)


def _all(read: Callable[..., ResultPage[Any]]) -> list[Any]:
    """Return the items of all pages, in the order of their ids: databases may order ids in other ways."""
    page = read()
    items = list(page.items)
    while page.after is not None:
        page = read(after=page.after)
        assert page.items
        items += page.items
    assert len({item.id for item in items}) == len(items)
    return sorted(items, key=lambda item: str(item.id))


def _options(machine: Any) -> dict[str, Any]:
    return {"ids": by_key, "clock": lambda: 1.0, "hooks": [machine.hook], "after_commit": [machine.after]}


def repository_machine(make_repository: MakeRepository, **chosen: Any) -> type[Any]:
    """Return a unittest case for the repository of a factory. `chosen` are settings of hypothesis."""

    class RepositoryMachine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.calls: list[tuple[str, Change]] = []
            self.failing = 0
            self.model = MemoryRepository(**_options(self))
            self.real = make_repository(**_options(self))

        @rule(batch=st.lists(records(), max_size=5))
        def put(self, batch: list[AnyRecord]) -> None:
            self.both(lambda repository: repository.put(batch))

        @rule(batch=st.lists(records(), min_size=1, max_size=5), at=st.integers(1, 3))
        def put_and_fail(self, batch: list[AnyRecord], at: int) -> None:
            """Put with a hook that raises at its first, second or third change: all or nothing."""
            self.failing = at
            self.both(lambda repository: repository.put(batch))
            self.failing = 0

        @rule(instance=_instances, user=_users, mine=_yours, shared=st.booleans())
        def link(self, instance: str, user: str, mine: str, shared: bool) -> None:
            self.both(lambda repository: repository.link(instance, user, mine, shared=shared))

        @rule(instance=_instances, user=_users, mine=_yours, to=_yours)
        def relink(self, instance: str, user: str, mine: str, to: str) -> None:
            self.both(lambda repository: repository.relink(instance, user, mine, to=to))

        @rule(instance=_instances, user=_users, mine=_yours)
        def unlink(self, instance: str, user: str, mine: str) -> None:
            self.both(lambda repository: repository.unlink(instance, user, mine))

        @rule(mine=_yours, role=_names)
        def set_role(self, mine: str, role: str | None) -> None:
            self.both(lambda repository: repository.set_role(mine, role))

        @rule(mine=_yours)
        def erase(self, mine: str) -> None:
            self.both(lambda repository: repository.erase(mine))

        @rule(mine=_yours)
        def export(self, mine: str) -> None:
            self.both(lambda repository: repository.export(mine))

        @rule(name=_yours, text=_names)
        def checkpoint(self, name: str, text: str | None) -> None:
            self.both(lambda repository: repository.checkpoint(name))
            self.both(lambda repository: repository.set_checkpoint(name, text))

        @rule(kind=_kinds, instance=_instances, user=_users, limit=st.integers(1, 3))
        def list_from(self, kind: Kind, instance: str, user: str, limit: int) -> None:
            self.both(lambda repository: repository.records(kind, instance, after=key_of(user), limit=limit))

        @rule(text=_searches, deleted=_flags, banned=_flags, role=_roles, limit=st.integers(1, 3))
        def list_users(
            self, text: str | None, deleted: bool | None, banned: bool | None, role: str | None, limit: int
        ) -> None:
            """Read all pages of a list of users, and count them."""
            filters: dict[str, Any] = {"deleted": deleted, "banned": banned, "role": role}
            self.both(lambda repository: _all(partial(repository.users, text, limit=limit, **filters)))
            self.both(lambda repository: repository.count_users(text, **filters))

        @rule(text=_searches, deleted=_flags, limit=st.integers(1, 3))
        def list_organizations(self, text: str | None, deleted: bool | None, limit: int) -> None:
            """Read all pages of a list of organizations, and count them."""
            self.both(lambda repository: _all(partial(repository.organizations, text, deleted=deleted, limit=limit)))
            self.both(lambda repository: repository.count_organizations(text, deleted=deleted))

        def both(self, do: Callable[[Repository], object]) -> None:
            """Check that both repositories give the same answer or error, and call the hooks with the same changes."""
            answers: list[Any] = []
            for repository in (self.model, self.real):
                self.calls = []
                try:
                    answer = do(repository)
                except (LinkRefused, UserUnknown, HookFailed, ConfigurationError) as refused:
                    answer = refused.code
                answers.append((answer, self.calls))
            assert answers[0] == answers[1]

        def hook(self, change: Change, transaction: object) -> None:
            self.calls.append(("inside", change))
            if len(self.calls) == self.failing:
                raise RuntimeError

        def after(self, change: Change) -> None:
            self.calls.append(("after", change))

        @invariant()
        def they_show_the_same(self) -> None:
            for instance in INSTANCES:
                for user in USERS:
                    for organization in ORGANIZATIONS:
                        standing = self.model.find(instance, user, organization, SESSION)
                        assert standing == self.real.find(instance, user, organization, SESSION)
                        if standing is not None:
                            assert self.model.user(standing.user.id) == self.real.user(standing.user.id)
                            self.they_list_the_same(standing)

        def they_list_the_same(self, standing: Standing) -> None:
            """Compare the lists of members of one organization and of one user, and both with the standing."""
            user, organization = standing.user, standing.organization
            places = self.model.organizations_of(user.id)
            assert places == self.real.organizations_of(user.id)
            if organization is not None:
                members = self.model.members(organization.id)
                assert members == self.real.members(organization.id)
                assert self.model.members(organization.id, search="x") == self.real.members(organization.id, search="x")
                assert (current_membership(standing.memberships) is not None) >= any(
                    each.user == user and each.organization == organization for each in members.items
                )

        def teardown(self) -> None:
            """Compare everything at the end of each history."""
            try:
                for instance in INSTANCES:
                    assert self.model.counts(instance) == self.real.counts(instance)
                    for kind in KINDS:
                        assert self.model.records(kind, instance) == self.real.records(kind, instance)
            finally:
                self.real.close()

    case: type[Any] = cast(Any, RepositoryMachine).TestCase
    case.settings = settings(deadline=None, **chosen)
    return case
