"""The promises of every repository about the outbox and about purged tombstones."""

import threading
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from ..core.records import FROM_TOKEN, ClerkMembership, ClerkOrganization, ClerkUser
from ..core.times import to_datetime
from ..core.writeback import WAIT, OutboxEntry, WriteBack
from ..errors import ConfigurationError, HookFailed
from ..ports import Repository
from .samples import ACME, ANN, BEA, HERE, THERE, MakeRepository, by_key, company, found, left, member, person

NOW = 1_000_000  # milliseconds
AT = to_datetime(NOW)
BACK = WriteBack(user_id="userId", role="role", organization_id="orgId")


def told(row: Any) -> dict[str, Any]:
    """Return the metadata of a user that is up to date at Clerk."""
    return {"userId": by_key(row)}


class OutboxContract:
    """A part of `RepositoryContract`."""

    @pytest.fixture
    def writing(self, make_repository: MakeRepository) -> Repository:
        """Return a repository that writes back."""
        return make_repository(ids=by_key, clock=lambda: NOW / 1000, write_back=BACK)

    def test_nothing_is_noted_unless_you_ask_for_it(self, repository: Repository) -> None:
        """Without `write_back` the outbox stays empty."""
        repository.put([person(), company()])
        assert repository.outbox(HERE) == []

    def test_what_clerk_does_not_hold_is_noted(self, writing: Repository) -> None:
        """A user or organization with other data at Clerk gets one entry, due in a second."""
        writing.put([person(), company(), member(), person(BEA, grade=FROM_TOKEN), person(instance=THERE)])

        noted = {(each.kind, each.key) for each in writing.outbox(HERE)}
        assert noted == {("user", person().key), ("user", person(BEA).key), ("organization", company().key)}
        assert {(each.since, each.due_at, each.changes, each.tries, each.error) for each in writing.outbox(HERE)} == {
            (AT, AT + WAIT, 1, 0, None)
        }
        assert [each.instance for each in writing.outbox(THERE)] == [THERE]
        assert writing.outbox(HERE, due=AT + WAIT - timedelta(milliseconds=1)) == []
        assert len(writing.outbox(HERE, due=AT + WAIT, limit=2)) == 2

    def test_an_echo_is_not_noted(self, writing: Repository) -> None:
        """Data that Clerk has already, and old data, add no entry."""
        ann = person(public_metadata=_json(told(person())))
        acme = company(public_metadata='{"orgId":"' + by_key(company()) + '","theirs":1}')
        writing.put([ann, acme])
        writing.put([ann, acme])
        writing.put([person(at=2, public_metadata=ann.public_metadata, first_name="Ann")])
        assert writing.outbox(HERE) == []

    def test_what_somebody_else_has_overwritten_is_noted(self, writing: Repository) -> None:
        """A value of yours that is missing or different at Clerk adds an entry."""
        for at, metadata in enumerate(('{"userId":"another"}', "{}", '{"role":"admin"}'), 2):
            writing.put([person(at=at, public_metadata=metadata)])
            noted = writing.outbox(HERE)
            assert [each.changes for each in noted] == [at - 1]

    def test_a_role_that_you_set_is_noted_for_each_identity(self, writing: Repository) -> None:
        """A role that you set adds an entry for each identity, also if Clerk seems to have the role already."""
        writing.link(HERE, ANN, "mine")
        writing.link(HERE, BEA, "mine", shared=True)
        for each in writing.outbox(HERE):
            assert writing.swap_outbox_entry(each, None)
        assert writing.outbox(HERE) == []

        writing.set_role("mine", "admin")
        assert {each.key for each in writing.outbox(HERE)} == {person().key, person(BEA).key}
        writing.set_role("mine", "admin")
        assert {each.changes for each in writing.outbox(HERE)} == {1}
        writing.set_role("mine", None)
        assert {each.changes for each in writing.outbox(HERE)} == {2}

    def test_who_is_linked_to_another_user_is_noted(self, writing: Repository) -> None:
        """A new link adds an entry, since Clerk has the wrong id."""
        writing.put([person(public_metadata=_json(told(person())))])
        assert writing.outbox(HERE) == []

        writing.put([person(BEA)])
        writing.relink(HERE, ANN, found(writing).id, to=found(writing, BEA).id)
        assert person().key in {each.key for each in writing.outbox(HERE)}

    def test_the_deleted_are_not_noted(self, writing: Repository) -> None:
        """A deleted user adds no entry."""
        writing.put([ClerkUser.deleted(HERE, ANN, observed_at=1), ClerkOrganization.deleted(HERE, ACME, observed_at=1)])
        assert writing.outbox(HERE) == []

    def test_what_is_undone_is_not_noted(self, make_repository: MakeRepository) -> None:
        """An entry is rolled back with the change."""

        def refuse(*_: object) -> None:
            raise RuntimeError

        writing = make_repository(ids=by_key, write_back=BACK, hooks=[refuse])
        with pytest.raises(HookFailed):
            writing.put([person()])
        assert writing.outbox(HERE) == []

    def test_one_of_several_moves_it_on(self, writing: Repository) -> None:
        """An entry that has changed meanwhile is not replaced, removed or added."""
        writing.put([person()])
        (seen,) = writing.outbox(HERE)
        taken = replace(seen, due_at=AT + timedelta(minutes=1), tries=1)
        won: list[bool] = []
        threads = [
            threading.Thread(target=lambda: won.append(writing.swap_outbox_entry(seen, taken))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(won) == [False] * 7 + [True]

        assert writing.outbox_entry(HERE, "user", seen.key) == taken
        assert not writing.swap_outbox_entry(seen, None)
        assert not writing.swap_outbox_entry(None, taken)
        writing.set_role(found(writing).id, "admin")  # meanwhile
        assert not writing.swap_outbox_entry(taken, None)
        now = writing.outbox_entry(HERE, "user", seen.key)
        assert now is not None
        assert now == replace(taken, changes=2)
        failed = replace(now, due_at=AT + timedelta(milliseconds=5), error="api_refused")
        assert writing.swap_outbox_entry(now, failed)
        assert writing.outbox(HERE) == [failed]
        assert writing.swap_outbox_entry(failed, None)
        assert writing.outbox_entry(HERE, "user", seen.key) is None
        assert writing.swap_outbox_entry(None, seen)
        assert writing.outbox(HERE) == [seen]

    def test_the_earliest_is_first(self, repository: Repository) -> None:
        """Entries are sorted by their due time, up to a limit."""
        for number in (3, 1, 2):
            assert repository.swap_outbox_entry(None, OutboxEntry(HERE, "user", f"k{number}", AT, to_datetime(number)))
        assert [each.key for each in repository.outbox(HERE, limit=2)] == ["k1", "k2"]
        assert [each.key for each in repository.outbox(HERE, due=to_datetime(1))] == ["k1"]

    def test_two_states_are_of_one_thing(self, repository: Repository) -> None:
        """Replacing the entry of one user by that of another is an error."""
        one = OutboxEntry(HERE, "user", "a", AT, AT)
        for before, after in ((None, None), (one, replace(one, key="b")), (one, replace(one, kind="organization"))):
            with pytest.raises(ConfigurationError):
                repository.swap_outbox_entry(before, after)

    def test_a_note_is_swapped_by_one(self, repository: Repository) -> None:
        """A checkpoint is replaced only if it has the expected value."""
        assert not repository.swap_checkpoint("lease", "mine", "yours")
        assert repository.swap_checkpoint("lease", None, "mine")
        assert not repository.swap_checkpoint("lease", None, "yours")
        assert not repository.swap_checkpoint("lease", "yours", "theirs")
        assert not repository.swap_checkpoint("lease", None, None)
        assert repository.checkpoint("lease") == "mine"
        assert repository.swap_checkpoint("lease", "mine", "yours")
        assert not repository.swap_checkpoint("lease", "mine", None)
        assert repository.swap_checkpoint("lease", "yours", None)
        assert repository.swap_checkpoint("lease", None, None)
        assert repository.checkpoint("lease") is None
        for name, text in (("", "x"), ("lease", "\x00"), ("lease", "\ud800"), ("lease", "x" * 70_000)):
            with pytest.raises(ConfigurationError):
                repository.swap_checkpoint(name, None, text)

    def test_tombstones_are_forgotten_when_they_are_old(self, make_repository: MakeRepository) -> None:
        """Old tombstones of users and memberships are purged; your rows and live records stay."""
        days, now = 86_400_000, 100 * 86_400_000
        repository = make_repository(ids=by_key, clock=lambda: now / 1000)
        ends = {"clerk_user_id": ANN, "clerk_organization_id": ACME}
        repository.put([person(), member("orgmem_1"), person(BEA), company(), member("orgmem_2", user=BEA)])
        ann, bea = found(repository), found(repository, BEA)
        repository.put([ClerkUser.deleted(HERE, ANN, observed_at=10 * days), left("orgmem_1", at=10 * days)])
        repository.put([ClerkMembership.from_token(HERE, **ends, role="org:member", observed_at=9 * days)])
        repository.put([ClerkOrganization.deleted(HERE, ACME, observed_at=10 * days)])
        repository.put([left("orgmem_2", at=50 * days, user=BEA)])

        for moment in (now, 71 * days, -1):
            with pytest.raises(ConfigurationError, match="30 days"):
                repository.purge(to_datetime(moment))
        for no_time in (10 * days, datetime(2026, 1, 1), None):
            with pytest.raises(ConfigurationError, match="before must be a datetime with a time zone"):
                repository.purge(no_time)  # type: ignore[arg-type]
        assert repository.purge(to_datetime(10 * days)) == 0
        assert (
            repository.purge(to_datetime(11 * days)) == 3
        )  # of the user, of the membership, and of its record from a token
        assert repository.purge(to_datetime(11 * days)) == 0

        assert repository.user(ann.id) is None
        assert repository.find(HERE, ANN) is None
        assert repository.user(bea.id) == bea
        assert [record.key for record in repository.records("user", HERE)] == [person(BEA).key]
        assert [record.is_deleted for record in repository.records("membership", HERE)] == [True]
        assert [record.is_deleted for record in repository.records("organization", HERE)] == [True]

    def test_who_has_come_back_is_not_forgotten_in_part(self, make_repository: MakeRepository) -> None:
        """A tombstone that ends an older membership is kept: without it, that membership would count again."""
        days = 86_400_000
        repository = make_repository(ids=by_key, clock=lambda: 100 * days / 1000)
        repository.put([person(), company(), member("orgmem_1"), left("orgmem_1", at=10), member("orgmem_2", at=20)])
        assert repository.purge(to_datetime(50 * days)) == 0
        assert len(repository.records("membership", HERE)) == 2


def _json(metadata: dict[str, Any]) -> str:
    pairs = ",".join(f'"{name}":"{value}"' for name, value in metadata.items())
    return "{" + pairs + "}"
