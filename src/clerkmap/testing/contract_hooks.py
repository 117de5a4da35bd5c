"""The promises of every repository about hooks: arguments, order, number of calls, and the effect of errors."""

from typing import Any

import pytest

from ..core.model import Change
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
from ..ports import CoreRepository
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
            ([person(at=6, banned=True)], ["user altered"]),
            ([ClerkSession.deleted(HERE, "sess_1", observed_at=6)], ["session deleted"]),
            ([ClerkSession.deleted(HERE, "sess_1", observed_at=7)], []),
            ([ClerkUser.deleted(HERE, ANN, observed_at=8)], ["user deleted"]),
            ([ClerkUser.deleted(HERE, ANN, observed_at=9), person(at=99)], []),
            ([ClerkOrganization.deleted(HERE, ACME, observed_at=9)], ["organization deleted"]),
            ([ClerkUser.deleted(HERE, BEA, observed_at=9)], ["user deleted"]),  # and never existed
        ]
        for records, expected in history:
            told.clear()
            returned = repository.put(records)
            assert told == [what(change) for change in returned] == expected

    def test_a_change_names_whom_of_yours_it_is_about(self, make_repository: MakeCoreRepository) -> None:
        """The change of a membership has your user and organization, in any order of records; None if unknown."""
        changes: list[Change] = []

        def hook(change: Change, tx: object) -> None:
            changes.append(change)

        repository = make_repository(ids=by_key, hooks=[hook])

        repository.put([member()])
        assert [(change.user, change.organization) for change in changes] == [(None, None)]
        repository.put([member(at=2, role="org:admin"), company(name="Acme"), person()])

        acme, ann, place = changes[1:]
        assert (acme.organization, acme.user) == (acme.after, None)
        assert (ann.user, ann.organization) == (ann.after, None)
        assert (place.user, place.organization) == (ann.after, acme.after)
        assert place.membership is not None
        assert (place.membership.role, place.before) == ("org:admin", changes[0].after)

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
        repository.put([member(at=2, role="org:admin"), left()])

        assert told[1:] == ["membership deleted"]

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
