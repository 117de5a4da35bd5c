"""The promises of every repository about your ids: how they are made, and how users are linked."""

import threading
from functools import partial

import pytest

from ..core.model import Change
from ..core.records import FROM_TOKEN, ClerkUser, key_of
from ..core.times import to_datetime
from ..errors import ConfigurationError, HookFailed, LinkRefused, UserTaken
from ..ports import Ids, Repository
from ..repositories.linkers import FirstUserTakes
from .samples import ANN, BEA, HERE, THERE, MakeRepository, always_the_same, by_key, company, found, made_by, person


def mine(record: ClerkUser) -> str:
    """Return a linker that gives one user to every Clerk user."""
    return "mine"


class IdsContract:
    """A part of `DirectoryContract`."""

    def test_ids_by_name(self, make_repository: MakeRepository) -> None:
        """Each strategy makes ids of its kind, and never the same id twice."""
        strategies: list[tuple[Ids, type]] = [("uuid7", str), (int, int), ("clerk", str)]
        for ids, kind in strategies:
            repository = make_repository(**made_by(ids))
            repository.put([person(), person(BEA), company(), company("org_b")])
            made = [found(repository).id, found(repository, BEA).id]
            assert [type(each) for each in made] == [kind, kind]
            assert made[0] != made[1]
            assert [repository.user(each) for each in made] == [found(repository), found(repository, BEA)]
            assert (ids == "clerk") is (made == [ANN, BEA])

    def test_an_id_is_given_once(self, make_repository: MakeRepository) -> None:
        """A strategy that gives one id to two users is refused, and neither user is changed."""
        repository = make_repository(ids=always_the_same)
        repository.put([person()])

        with pytest.raises(ConfigurationError):
            repository.put([person(BEA)])

        assert repository.find(HERE, BEA) is None
        assert found(repository).clerk_id == ANN

    def test_link_ties_a_person_to_your_user(self, repository: Repository) -> None:
        """A linked Clerk user leads to your id, before and after its records arrive."""
        assert repository.link(HERE, ANN, "mine").id == "mine"
        repository.put([person(email="ann@example.com")])

        assert found(repository).id == "mine"
        assert found(repository).email == "ann@example.com"
        assert repository.link(HERE, ANN, "mine").email == "ann@example.com"
        with pytest.raises(LinkRefused):
            repository.link(HERE, ANN, "another")
        assert found(repository).id == "mine"

    def test_two_identities_of_one_user(self, repository: Repository) -> None:
        """A user can have many identities, and is deleted with the last of them."""
        repository.link(HERE, ANN, "mine")
        repository.link(THERE, BEA, "mine", shared=True)
        repository.put([person(at=2, first_name="Ann")])

        repository.put([ClerkUser.deleted(HERE, ANN, observed_at=7)])
        assert found(repository, BEA, THERE).deleted_at is None
        user = repository.user("mine")
        assert user is not None
        assert user.clerk.key == key_of(BEA)

        repository.put([ClerkUser.deleted(THERE, BEA, observed_at=6)])
        assert found(repository).deleted_at == found(repository, BEA, THERE).deleted_at == to_datetime(7)

        repository.link(THERE, "user_new", "mine", shared=True)
        assert found(repository, "user_new", THERE).deleted_at is None

    def test_the_linker_is_asked_once(self, make_repository: MakeRepository) -> None:
        """The linker is called at first sight only, and can name your user."""
        asked: list[str | None] = []

        def linker(record: ClerkUser) -> str | None:
            asked.append(record.clerk_id)
            return "mine" if record.email == "ann@example.com" else None

        repository = make_repository(linker=linker)
        repository.put([person(email="ann@example.com")])
        repository.put([person(at=2), person(BEA)])

        assert asked == [ANN, BEA]
        assert found(repository).id == "mine"
        assert found(repository, BEA).id != "mine"

    def test_a_linker_does_not_write(self, make_repository: MakeRepository) -> None:
        """A linker runs inside a write: a write from it is refused at once."""
        made: list[Repository] = []

        def linker(record: ClerkUser) -> None:
            made[0].put([person(BEA)])

        made.append(make_repository(linker=linker))
        with pytest.raises(ConfigurationError):
            made[0].put([person()])
        assert made[0].find(HERE, ANN) is None

    def test_a_link_is_exclusive(self, make_repository: MakeRepository) -> None:
        """A user with an identity gets another one only with `shared`."""
        repository = make_repository()
        repository.link(HERE, ANN, "mine")
        for instance, clerk_id in ((HERE, BEA), (THERE, ANN)):
            with pytest.raises(UserTaken):
                repository.link(instance, clerk_id, "mine")
            assert repository.find(instance, clerk_id) is None
        repository.put([ClerkUser.deleted(HERE, ANN, observed_at=2)])
        with pytest.raises(UserTaken):  # nor after the first identity was deleted
            repository.link(HERE, BEA, "mine")
        assert repository.link(HERE, BEA, "mine", shared=True).deleted_at is None

    def test_a_linker_gives_a_user_once(self, make_repository: MakeRepository) -> None:
        """One user is given to one Clerk user, however often a linker names it. Others become new users."""
        for across in (False, True):
            repository = make_repository(ids=by_key, linker=mine, across_instances=across)
            repository.put([person(ANN)])
            repository.put([person(BEA)])
            repository.put([person(ANN, instance=THERE), person(BEA, instance=THERE)])
            repository.put([ClerkUser.deleted(HERE, ANN, observed_at=2), ClerkUser.deleted(THERE, ANN, observed_at=2)])
            repository.put([person("user_late")])

            assert found(repository, ANN).id == "mine"
            assert found(repository, BEA).id == by_key(person(BEA))
            assert (found(repository, ANN, THERE).id == "mine") is across
            assert found(repository, BEA, THERE).id == by_key(person(BEA, instance=THERE))
            assert found(repository, "user_late").id == by_key(person("user_late"))
            repository.close()

    def test_a_linker_revives_nobody(self, make_repository: MakeRepository) -> None:
        """A deleted user is not given to another Clerk user, also after its tombstone was purged."""
        day = 86_400_000
        repository = make_repository(ids=by_key, linker=mine, across_instances=True, clock=lambda: 100 * day / 1000)
        repository.put([person(ANN)])
        repository.put([ClerkUser.deleted(HERE, ANN, observed_at=2)])
        repository.purge(to_datetime(60 * day))
        assert repository.find(HERE, ANN) is None
        repository.put([person(BEA), person(BEA, instance=THERE)])
        assert {found(repository, BEA).id, found(repository, BEA, THERE).id}.isdisjoint({"mine"})

    def test_a_linker_is_not_asked_about_a_tombstone(self, make_repository: MakeRepository) -> None:
        """A Clerk user that is first seen as deleted takes no user, and no claim, from another."""
        for linker in (mine, FirstUserTakes("mine")):
            repository = make_repository(ids=by_key, linker=linker)
            repository.put([ClerkUser.deleted(HERE, ANN, observed_at=2)])
            repository.put([person(BEA)])
            assert found(repository, BEA).id == "mine"
            assert found(repository, ANN).id == by_key(person(ANN))
            repository.close()

    def test_the_first_user_takes_it_once(self, make_repository: MakeRepository) -> None:
        """Of many concurrent Clerk users one is the first user, and none later."""
        day = 86_400_000
        make = partial(make_repository, ids=by_key, linker=FirstUserTakes("mine"), clock=lambda: 100 * day / 1000)
        names = [f"user_{number}" for number in range(8)]
        for turn in range(3):
            repository = make()
            start = threading.Barrier(len(names))

            def sign_in(name: str, repository: Repository = repository, start: threading.Barrier = start) -> None:
                start.wait(60)
                repository.put([person(name, grade=FROM_TOKEN), person("user_other", instance=THERE)])

            together = [threading.Thread(target=sign_in, args=(name,)) for name in names]
            for thread in together:
                thread.start()
            for thread in together:
                thread.join()
            everybody = [(HERE, name) for name in names] + [(THERE, "user_other")]
            ids = [found(repository, name, instance).id for instance, name in everybody]
            assert sorted(ids).count("mine") == 1
            assert len(set(ids)) == len(everybody)

            instance, first = everybody[ids.index("mine")]
            if turn == 0:
                repository.erase("mine")
            elif turn == 1:
                repository.unlink(instance, first, "mine")
            repository.put([ClerkUser.deleted(instance, first, observed_at=2)])
            repository.purge(to_datetime(60 * day))
            repository.put([person("user_late")])
            assert found(repository, "user_late").id == by_key(person("user_late"))
            repository.close()

    def test_a_claim_is_undone_with_its_transaction(self, make_repository: MakeRepository) -> None:
        """If a hook refuses the first user, the second one is the first."""

        def hook(change: Change, tx: object) -> None:
            if change.after.clerk.clerk_id == ANN:
                raise ValueError("not this one")

        repository = make_repository(ids=by_key, linker=FirstUserTakes("mine"), hooks=[hook])
        with pytest.raises(HookFailed):
            repository.put([person(ANN)])
        repository.put([person(BEA)])
        assert found(repository, BEA).id == "mine"
