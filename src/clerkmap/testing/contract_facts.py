"""The promises of every repository about your own data: roles, links, exports and erasure."""

import json
from itertools import permutations
from typing import Any

import pytest

from ..core.records import (
    FROM_TOKEN,
    AnyRecord,
    ClerkSession,
    ClerkUser,
    key_of,
)
from ..core.times import to_datetime, to_text
from ..errors import ConfigurationError, LinkRefused, UserUnknown
from ..ports import Repository
from .samples import ACME, ANN, BEA, HERE, THERE, MakeRepository, by_key, company, found, member, person


def naming(role: str | None, *, at: int, instance: str = HERE) -> ClerkUser:
    """Return a record with a role in its metadata."""
    return person(at=at, instance=instance, public_metadata=json.dumps({"role": role}))


def first_roles(instance: str) -> list[AnyRecord]:
    """Yield records of a user with the role `author`, in several orders."""
    named = [naming("author", at=2, instance=instance), naming("admin", at=3, instance=instance)]
    return [person(at=1, instance=instance), *named, person(at=4, instance=instance)]


class FactsContract:
    """A part of `DirectoryContract`."""

    def test_the_first_role_comes_from_clerk(self, repository: Repository) -> None:
        """The first role that Clerk names counts, in any order of records, and Clerk never changes it."""
        for number, order in enumerate(permutations(range(5))):
            name = f"order {number}"
            facts = [*first_roles(name), ClerkUser.deleted(name, ANN, observed_at=5)]
            for position in order:
                repository.put([facts[position]])
            assert found(repository, instance=name).role == "author"
        for number, group in enumerate(permutations(range(4), 3)):  # whether they come together or one by one
            name = f"group {number}"
            facts = first_roles(name)
            repository.put(facts[position] for position in group)
            repository.put(facts)
            assert found(repository, instance=name).role == "author"

    def test_a_role_concerns_every_identity(self, repository: Repository) -> None:
        """A watcher of one identity is notified of a role that comes from another identity, or from you."""
        repository.put([person(ANN)])
        id = found(repository).id
        repository.link(HERE, BEA, id, shared=True)
        told: list[Any] = []
        repository.listeners.watch(told.append)

        repository.put([person(BEA, public_metadata='{"role":"author"}')])
        repository.set_role(id, "admin")

        assert [key_of(ANN) in keys for keys in told] == [True, True]

    def test_a_role_once_set_is_yours(self, repository: Repository) -> None:
        """No record changes a role that you have set, None included."""
        repository.put([naming("author", at=2)])
        id = found(repository).id

        assert repository.set_role(id, "admin").role == "admin"
        repository.put([naming("guest", at=1)])
        repository.put([naming("guest", at=3)])
        assert found(repository).role == "admin"

        assert repository.set_role(id, None).role is None
        repository.put([naming("guest", at=4)])
        assert found(repository).role is None

    def test_roles_are_found_as_you_say(self, make_repository: MakeRepository) -> None:
        """`first_role` can read any field of a full record, and None switches it off."""

        def staff(record: ClerkUser) -> str | None:
            return "staff" if record.email_verified else None

        repository = make_repository(ids=by_key, first_role=staff)
        repository.put([person(grade=FROM_TOKEN), naming("author", at=2)])
        assert found(repository).role is None
        repository.put([person(at=3, email="ann@example.com", email_verified=True)])
        assert found(repository).role == "staff"

        without = make_repository(ids=by_key, first_role=None)
        without.put([naming("author", at=2)])
        assert found(without).role is None

    @pytest.mark.parametrize("role", [7, "x" * 300, [], '"', None, "", "a\nb"])
    def test_a_role_that_is_no_word_is_none(self, repository: Repository, role: Any) -> None:
        """An invalid role in the metadata is ignored, without an error."""
        repository.put([person(public_metadata=json.dumps({"role": role, "a": [{"role": "b"}]}))])

        assert found(repository).role == ('"' if role == '"' else None)

    def test_a_link_takes_names_that_are_some(self, repository: Repository) -> None:
        """An empty id, or one that cannot be stored, is refused."""
        for instance, clerk_id in (
            (HERE, ""),
            ("", ANN),
            (HERE, "\ud800"),
            (HERE, "a\x00"),
            ("\n", ANN),
            (HERE, "x" * 256),
        ):
            with pytest.raises(ConfigurationError, match="printable"):
                repository.link(instance, clerk_id, "mine")
        assert repository.user("mine") is None

    def test_unlink_makes_a_new_user_and_relink_takes_it_back(self, make_repository: MakeRepository) -> None:
        """An identity is linked to one user at any time, and can be moved back."""
        repository = make_repository()
        repository.put([person(email="ann@example.com"), company(), member()])
        old = found(repository).id

        new = repository.unlink(HERE, ANN, old)

        assert new.id != old
        assert found(repository) == new == repository.user(new.id)
        assert repository.user(old) is None
        assert new.email == "ann@example.com"
        for id, to in ((old, new.id), ("nobody", old)):
            with pytest.raises(LinkRefused):
                repository.relink(HERE, ANN, id, to=to)
        with pytest.raises(UserUnknown):
            repository.relink(HERE, ANN, new.id, to="nobody")
        with pytest.raises(LinkRefused):
            repository.unlink(THERE, ANN, new.id)

        assert repository.relink(HERE, ANN, new.id, to=old).id == old
        assert found(repository) == repository.user(old)
        assert repository.user(new.id) is None

    def test_where_ids_follow_from_the_person_nobody_is_unlinked(self, make_repository: MakeRepository) -> None:
        """If ids follow from the Clerk id, unlink is refused, and the error says how to go on."""
        repository = make_repository(ids="clerk")
        repository.put([person()])
        with pytest.raises(ConfigurationError, match="relink"):
            repository.unlink(HERE, ANN, ANN)
        assert found(repository).id == ANN

    def test_somebody_who_registered_anew_becomes_who_they_were(self, repository: Repository) -> None:
        """A user with a deleted identity lives again with a new one, and is deleted again without it."""
        repository.put([person(ANN), ClerkUser.deleted(HERE, ANN, observed_at=5), person(BEA, at=6)])
        old, new = found(repository, ANN), found(repository, BEA)
        repository.set_role(old.id, "admin")
        assert (old.deleted_at, new.deleted_at) == (to_datetime(5), None)

        again = repository.relink(HERE, BEA, new.id, to=old.id)

        assert (again.id, again.role, again.deleted_at) == (old.id, "admin", None)
        assert found(repository, ANN).deleted_at is None
        assert repository.relink(HERE, BEA, old.id, to=new.id).deleted_at is None
        assert found(repository, ANN).deleted_at == to_datetime(5)

    def test_export_gives_everything_of_one_person(self, repository: Repository) -> None:
        """An export is ready for JSON: the row, its identities in full, and its memberships, of one user only."""
        repository.put([person(email="ann@example.com", public_metadata='{"plan":2}'), company(), member()])
        repository.put([person(BEA, email="bea@example.com"), member("orgmem_2", user=BEA)])
        user = found(repository)
        repository.link(THERE, ANN, user.id, shared=True)

        told = json.loads(json.dumps(repository.export(user.id)))

        assert told["user"] == {
            "id": user.id,
            "role": None,
            "created_at": user.created_at.isoformat(),
            "deleted_at": None,
        }
        (here, there) = told["identities"]
        assert (here["instance"], here["clerk_id"], here["email"]) == (HERE, ANN, "ann@example.com")
        assert (here["public_metadata"], here["updated_at"], there["instance"]) == ({"plan": 2}, to_text(1), THERE)
        assert [each["clerk_id"] for each in told["memberships"]] == ["orgmem_1"]
        assert "bea@example.com" not in json.dumps(told)

    def test_who_was_erased_stays_erased(self, repository: Repository) -> None:
        """After an erasure no personal data is left, no later record restores it, and the row stays."""
        repository.put([naming("author", at=2), person(at=3, email="ann@example.com"), company(), member()])
        id = found(repository).id

        erased = repository.erase(id).user

        assert (erased.id, erased.role, erased.email, erased.clerk_id) == (id, None, None, None)
        assert erased.deleted_at is not None
        repository.put([naming("author", at=9), person(at=2**40, email="ann@example.com"), member(at=2**40)])
        assert repository.user(id) == erased
        told = json.dumps(repository.export(id))
        assert not any(word in told for word in (ANN, "ann@example.com", "author", "orgmem_1", "org:member"))
        standing = repository.find(HERE, ANN, ACME)
        assert standing is not None
        assert all(each.is_deleted for each in standing.memberships)
        assert repository.erase(id).user.deleted_at == erased.deleted_at

    @pytest.mark.parametrize("id", ["nobody", 7])
    def test_nobody_is_nobody(self, repository: Repository, id: Any) -> None:
        """Operations on an unknown user are refused."""
        with pytest.raises(UserUnknown):
            repository.set_role(id, "admin")
        with pytest.raises(UserUnknown):
            repository.export(id)
        with pytest.raises(UserUnknown):
            repository.erase(id)

    def test_ends_of_sessions_are_remembered_as_long_as_tokens_may_live(self, make_repository: MakeRepository) -> None:
        """Ends of sessions are kept for the lifetime of tokens and two days. The default lifetime is 28 days."""
        assert make_repository().max_token_lifetime == 28 * 86_400
        now, days = [100 * 86_400.0], 86_400_000
        repository = make_repository(ids=by_key, clock=lambda: now[0], max_token_lifetime=3_650 * 86_400)
        assert repository.max_token_lifetime == 3_650 * 86_400
        repository.put([person(), person(BEA), ClerkUser.deleted(HERE, BEA, observed_at=99 * days)])
        repository.put([ClerkSession.deleted(HERE, "sess_1", observed_at=100 * days)])

        now[0] += 3_651 * 86_400
        repository.put([ClerkSession.deleted(HERE, "sess_2", observed_at=int(now[0]) * 1000)])
        standing = repository.find(HERE, ANN, None, "sess_1")
        assert standing is not None
        assert standing.session_is_over
        with pytest.raises(ConfigurationError, match="3652 days"):
            repository.purge(to_datetime(100 * days))
        now[0] += 2 * 86_400
        standing = repository.find(HERE, ANN, None, "sess_1")
        assert standing is not None
        assert not standing.session_is_over
        assert repository.purge(to_datetime(100 * days)) == 1
