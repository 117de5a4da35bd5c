"""The part of the contract that is about your ids: how they are made, and how people are tied to them."""

import pytest

from ..core.records import ClerkUser, key_of
from ..errors import ConfigurationError, LinkRefused
from ..repository import Repository
from .samples import ANN, BEA, HERE, THERE, MakeRepository, always_the_same, company, found, person


class IdsContract:
    """Part of `RepositoryContract`."""

    def test_ids_by_name(self, make_repository: MakeRepository) -> None:
        """Each strategy makes ids of its kind, and never the same one twice."""
        for ids, kind in (("uuid7", str), ("integer", int), ("clerk", str)):
            repository = make_repository(ids=ids)
            repository.put([person(), person(BEA), company(), company("org_b")])
            made = [found(repository).id, found(repository, BEA).id]
            assert [type(each) for each in made] == [kind, kind]
            assert made[0] != made[1]
            assert [repository.user(each) for each in made] == [found(repository), found(repository, BEA)]
            assert (ids == "clerk") is (made == [ANN, BEA])

    def test_an_id_is_given_once(self, make_repository: MakeRepository) -> None:
        """A strategy that gives two people one id is refused, and neither of the two is touched."""
        repository = make_repository(ids=always_the_same)
        repository.put([person()])

        with pytest.raises(ConfigurationError):
            repository.put([person(BEA)])

        assert repository.find(HERE, BEA) is None
        assert found(repository).clerk_id == ANN

    def test_link_ties_a_person_to_your_user(self, repository: Repository) -> None:
        """A linked person leads to the id you gave, before and after Clerk says more."""
        assert repository.link(HERE, ANN, "mine").id == "mine"
        repository.put([person(email="ann@example.com")])

        assert found(repository).id == "mine"
        assert found(repository).email == "ann@example.com"
        assert repository.link(HERE, ANN, "mine").email == "ann@example.com"
        with pytest.raises(LinkRefused):
            repository.link(HERE, ANN, "another")
        assert found(repository).id == "mine"

    def test_two_identities_of_one_user(self, repository: Repository) -> None:
        """Many identities may lead to one user, who goes with the last of them."""
        repository.link(HERE, ANN, "mine")
        repository.link(THERE, BEA, "mine")
        repository.put([person(at=2, first_name="Ann")])

        repository.put([ClerkUser.deleted(HERE, ANN, observed_at=7)])
        assert found(repository, BEA, THERE).deleted_at is None
        user = repository.user("mine")
        assert user is not None
        assert user.clerk.key == key_of(BEA)

        repository.put([ClerkUser.deleted(THERE, BEA, observed_at=6)])
        assert found(repository).deleted_at == found(repository, BEA, THERE).deleted_at == 7

        repository.link(THERE, "user_new", "mine")
        assert found(repository, "user_new", THERE).deleted_at is None

    def test_the_linker_is_asked_once(self, make_repository: MakeRepository) -> None:
        """At the first sight of a person, and only then, the linker may name a user of yours."""
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
        """It is asked in the middle of a write: to write through the repository is refused at once."""
        made: list[Repository] = []

        def linker(record: ClerkUser) -> None:
            made[0].put([person(BEA)])

        made.append(make_repository(linker=linker))
        with pytest.raises(ConfigurationError):
            made[0].put([person()])
        assert made[0].find(HERE, ANN) is None
