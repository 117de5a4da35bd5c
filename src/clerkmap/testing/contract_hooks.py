"""The promises of every repository about hooks: arguments, order, number of calls, and the effect of errors."""

from itertools import permutations
from typing import Any

import pytest

from ..core.model import Change, Mapped, Membership
from ..core.records import (
    FROM_TOKEN,
    AnyRecord,
    ClerkMembership,
    ClerkOrganization,
    ClerkSession,
    ClerkUser,
    key_of,
)
from ..errors import ConfigurationError, HookFailed
from ..hooks import Hook
from ..ports import CoreRepository
from ..repositories.sql.put import MANY
from .samples import (
    ACME,
    ANN,
    BEA,
    HERE,
    MakeCoreRepository,
    MakeRepository,
    by_key,
    company,
    found,
    left,
    member,
    person,
)


def what(change: Change) -> str:
    """Return a change as two words: the kind and the event."""
    happened = [name for name in ("made", "altered", "deleted", "regained") if getattr(change, name)]
    about = [name for name in ("user", "organization", "membership") if getattr(change, f"is_{name}")]
    assert len(happened) == 1
    return " ".join([*about, *happened]) if about else f"session {happened[0]}"


def membership_is_current(row: Mapped | None) -> bool:
    """Return whether a state of a membership is current."""
    assert isinstance(row, Membership)
    return row.is_current


def noting(changes: list[Change]) -> Hook:
    """Return a hook that appends each change to a list."""
    return lambda change, transaction: changes.append(change)


class HooksContract:
    """A part of `CoreContract`."""

    def test_hooks_are_told_what_happened(self, make_repository: MakeCoreRepository) -> None:
        """Hooks get each change of a user in an organization once."""
        told: list[str] = []

        def hook(change: Change, tx: object) -> None:
            told.append(what(change))

        repository = make_repository(ids=by_key, clock=lambda: 1.0, hooks=[hook])
        from_token = ClerkMembership.from_token(
            HERE, clerk_user_id=ANN, clerk_organization_id=ACME, role="org:member", observed_at=0
        )
        history: list[tuple[list[AnyRecord], list[str]]] = [
            ([person(grade=FROM_TOKEN), company(), from_token], ["organization made", "user made", "membership made"]),
            ([member(at=1)], ["membership altered"]),  # now its id is known: the same membership in full
            ([member(at=1), person(grade=FROM_TOKEN)], []),
            ([member(at=2, role="org:admin")], ["membership altered"]),
            ([left(at=3)], ["membership deleted"]),
            ([left(at=4), member(at=2)], []),
            ([member("orgmem_2", at=5)], ["membership regained"]),
            ([person(at=6, banned=True)], ["membership deleted", "user altered"]),
            ([person(at=7)], ["user altered", "membership regained"]),
            ([ClerkSession.deleted(HERE, "sess_1", observed_at=6)], ["session deleted"]),
            ([ClerkSession.deleted(HERE, "sess_1", observed_at=7)], []),
            ([ClerkUser.deleted(HERE, ANN, observed_at=8)], ["membership deleted", "user deleted"]),
            ([ClerkUser.deleted(HERE, ANN, observed_at=9), person(at=99)], []),
            ([ClerkOrganization.deleted(HERE, ACME, observed_at=9)], ["organization deleted"]),
            ([ClerkUser.deleted(HERE, BEA, observed_at=9)], ["user deleted"]),  # and never existed
        ]
        for records, expected in history:
            told.clear()
            returned = repository.put(records)
            assert told == [what(change) for change in returned] == expected

    def test_a_membership_begins_with_its_last_part(self, make_repository: MakeCoreRepository) -> None:
        """In any order of records, one change makes the membership, with your user and your organization."""
        records: list[AnyRecord] = [member(), company(name="Acme"), person()]
        for order in permutations(records):
            changes: list[Change] = []
            repository = make_repository(ids=by_key, hooks=[noting(changes)])

            for record in order:
                repository.put([record])

            assert [what(change) for change in changes if change.is_membership] == ["membership made"]
            place = changes[-1]
            assert place.user is not None
            assert place.organization is not None
            assert (place.user.clerk_id, place.organization.name) == (ANN, "Acme")
            assert place.membership is not None
            assert (place.membership.role, place.before) == ("org:member", None)

    @pytest.mark.parametrize("several", [1, 2 * MANY])
    def test_memberships_end_with_their_organization(self, make_repository: MakeCoreRepository, several: int) -> None:
        """Each membership of a deleted organization ends, before the organization, and so does each one of a user."""
        people = [f"user_{number}" for number in range(several)]
        changes: list[Change] = []
        repository = make_repository(hooks=[noting(changes)])
        repository.put([company(), company("org_beta"), *map(person, people)])
        repository.put([member(f"orgmem_{user}", user=user) for user in people])
        ids = {change.user.id for change in changes if change.is_membership and change.user}
        changes.clear()

        returned = repository.put([ClerkOrganization.deleted(HERE, ACME, observed_at=5)])

        assert returned == changes
        assert [what(change) for change in changes] == ["membership deleted"] * several + ["organization deleted"]
        assert {change.user.id for change in changes if change.user} == ids
        assert {change.organization for change in changes} == {changes[-1].after}
        assert {membership_is_current(change.before) for change in changes[:-1]} == {True}
        assert {membership_is_current(change.after) for change in changes[:-1]} == {False}
        changes.clear()
        repository.put([ClerkUser.deleted(HERE, people[0], observed_at=6), member(user=people[0], at=9)])
        assert [what(change) for change in changes] == ["user deleted"]

    def test_one_put_makes_one_change_of_a_membership(self, make_repository: MakeCoreRepository) -> None:
        """If a member leaves and joins again in one put, the membership is altered once."""
        changes: list[Change] = []
        repository = make_repository(hooks=[noting(changes)])
        repository.put([person(), company(), member()])
        changes.clear()

        again = member("orgmem_2", at=3, role="org:admin")
        repository.put([left(at=2), again, person(at=2, first_name="Ann")])
        repository.put([left("orgmem_2", at=4), person(at=5, banned=True)])
        repository.put([person(at=6), member("orgmem_3", at=6)])

        told = [what(change) for change in changes if change.is_membership]
        assert told == ["membership altered", "membership deleted", "membership regained"]
        assert changes[1].before == Membership(member())
        assert changes[1].after == Membership(again)

    @pytest.mark.parametrize("gone", [ClerkUser.deleted, ClerkOrganization.deleted])
    def test_nobody_joins_what_is_gone(self, make_repository: MakeCoreRepository, gone: Any) -> None:
        """A membership of a deleted user or organization never counts, and calls no hook."""
        told: list[str] = []

        def hook(change: Change, tx: object) -> None:
            told.append(what(change))

        repository = make_repository(ids=by_key, hooks=[hook])
        whom = ANN if gone == ClerkUser.deleted else ACME
        repository.put([gone(HERE, whom, observed_at=5)])
        repository.put([member()])
        repository.put([company(), person()])
        repository.put([member(at=2, role="org:admin"), left()])

        assert [each for each in told if each.startswith("membership")] == []

    def test_a_hook_that_raises_undoes_everything(self, make_repository: MakeCoreRepository) -> None:
        """If a hook raises, the put is rolled back without notifications, and the next put does all of it."""
        calls: list[str] = []
        told: list[object] = []

        def hook(change: Change, tx: object) -> None:
            calls.append(what(change))
            if len(calls) == 3:
                raise ValueError("the hotel is full: ann@example.com")

        repository = make_repository(ids=by_key, hooks=[hook], after_commit=[told.append])
        repository.listeners.watch(told.append)
        everything: list[AnyRecord] = [person(), company(), member()]

        with pytest.raises(HookFailed) as failed:
            repository.put(everything)

        assert isinstance(failed.value.__cause__, ValueError)
        assert "ann@example.com" not in str(failed.value)
        assert "hook raised ValueError" in str(failed.value)
        assert repository.find(HERE, ANN, ACME) is None
        assert repository.row("organization", HERE, key_of(ACME)) is None
        assert told == []
        assert [what(change) for change in repository.put(everything)] == calls[:3] == calls[3:]
        assert len(told) == 4

    def test_after_commit_comes_after(self, make_repository: MakeCoreRepository) -> None:
        """An after_commit function sees committed data, once, and its error affects nothing else."""
        seen: list[Any] = []

        def fail(change: Change) -> None:
            raise OSError("no mail today")

        def look(change: Change) -> None:
            seen.append((what(change), repository.find(HERE, ANN) is not None))

        repository = make_repository(ids=by_key, after_commit=[fail, look])
        repository.put([person()])
        repository.put([person()])

        assert seen == [("user made", True)]

    def test_a_hook_must_not_write_through_the_repository(self, make_repository: MakeCoreRepository) -> None:
        """A write from a hook would wait for itself: it is refused at once, and rolled back."""
        repository = make_repository()
        repository.listeners.hook(lambda change, tx: repository.put([company()]))

        with pytest.raises(HookFailed) as failed:
            repository.put([person()])

        assert isinstance(failed.value.__cause__, ConfigurationError)
        assert repository.find(HERE, ANN) is None

    def test_a_hook_is_called_once_however_often_it_is_given(self, make_repository: MakeCoreRepository) -> None:
        """A hook that was added twice is called once."""
        told: list[str] = []

        def hook(change: Change, tx: object) -> None:
            told.append(what(change))

        repository = make_repository(ids=by_key, hooks=[hook, hook])
        repository.listeners.hook(hook)
        repository.put([person()])

        assert told == ["user made"]

    def test_a_hook_is_a_function(self, repository: CoreRepository) -> None:
        """A hook that is not callable is refused when it is added."""
        listeners: Any = repository.listeners
        with pytest.raises(ConfigurationError, match="hook"):
            listeners.hook("open_hotel")
        with pytest.raises(ConfigurationError, match="hook"):
            listeners.after_commit(None)

        async def wait(change: Change, tx: object) -> None: ...

        with pytest.raises(ConfigurationError, match="sync"):
            repository.listeners.hook(wait)
        with pytest.raises(ConfigurationError, match="lists"):
            listeners.add(hooks=what)


class DirectoryHooksContract:
    """A part of `DirectoryContract`."""

    def test_your_own_facts_call_hooks_too(self, make_repository: MakeRepository) -> None:
        """Roles, links and erasures call hooks."""
        told: list[str] = []
        repository = make_repository()
        repository.listeners.hook(lambda change, tx: told.append(what(change)))
        repository.put([person()])
        id = found(repository).id

        repository.set_role(id, "admin")
        repository.set_role(id, "admin")
        repository.link(HERE, BEA, id, shared=True)
        new = repository.unlink(HERE, BEA, id)
        repository.relink(HERE, BEA, new.id, to=id)
        repository.erase(id)

        altered = "user altered"
        # Erasing the first identity deletes no user; erasing the last one does.
        assert told == ["user made", altered, altered, altered, altered, altered, "user deleted"]

    def test_a_link_moves_memberships(self, make_repository: MakeRepository) -> None:
        """A membership of an identity that moves to another user ends for the first user, and begins for the other."""
        changes: list[Change] = []
        repository = make_repository(hooks=[noting(changes)])
        repository.put([company(), member(), person()])
        id = found(repository).id
        changes.clear()

        new = repository.unlink(HERE, ANN, id)
        repository.relink(HERE, ANN, new.id, to=id)

        moved = ["membership deleted", "user altered", "membership made"]
        assert [what(change) for change in changes] == moved * 2
        assert [change.user.id for change in changes if change.user] == [id, new.id, new.id, new.id, id, id]
        changes.clear()
        repository.erase(id)
        assert [what(change) for change in changes] == ["membership deleted", "user deleted"]

    def test_a_linked_identity_brings_its_memberships(self, make_repository: MakeRepository) -> None:
        """A membership that was stored before its user begins with a link."""
        changes: list[Change] = []
        repository = make_repository(hooks=[noting(changes)])
        repository.put([company(), member(user=BEA), person()])
        changes.clear()

        user = repository.link(HERE, BEA, found(repository).id, shared=True)

        assert [what(change) for change in changes] == ["user altered", "membership made"]
        assert changes[-1].user == user

    def test_a_hook_reads_what_is_written(self, make_repository: MakeRepository) -> None:
        """A hook reads the uncommitted writes of its transaction through the repository."""
        seen: list[Any] = []

        def hook(change: Change, tx: object) -> None:
            seen.append(repository.find(HERE, ANN))
            seen.append(repository.user(by_key(person())))
            seen.append(repository.in_transaction())

        repository = make_repository(ids=by_key, hooks=[hook])
        repository.put([person()])

        standing, user, in_transaction = seen
        assert (standing.user, standing.settled, in_transaction) == (user, False, True)
        assert not repository.in_transaction()
        settled = repository.find(HERE, ANN)
        assert settled is not None
        assert settled.settled

    def test_a_user_is_made_once_however_many_identities(self, make_repository: MakeRepository) -> None:
        """A second identity updates its user, and restores a deleted one."""
        told: list[str] = []

        def hook(change: Change, tx: object) -> None:
            told.append(what(change))

        repository = make_repository(ids=by_key, hooks=[hook])
        repository.link(HERE, ANN, "mine")
        repository.link(HERE, BEA, "mine", shared=True)
        repository.put([ClerkUser.deleted(HERE, ANN, observed_at=2), ClerkUser.deleted(HERE, BEA, observed_at=3)])
        repository.link(HERE, "user_c", "mine", shared=True)
        repository.link(HERE, "user_d", "mine", shared=True)
        repository.put([ClerkUser.deleted(HERE, "user_c", observed_at=2)])

        assert told[:2] == ["user made", "user altered"]
        assert sorted(told[2:4]) == ["user altered", "user deleted"]
        assert told[4] == "user regained"
        assert told[5:] == ["user altered", "user altered"]
