"""What every repository promises, as tests. To show that yours keeps it:

    class TestMyRepository(RepositoryContract):
        @pytest.fixture
        def make_repository(self):
            return MyRepository.for_tests          # called with any of `Options`; each call a new, empty one

Only public names are used, so nothing of a repository's insides is prescribed. The tests need pytest, and nothing else.
"""

import threading
from itertools import permutations
from typing import Any

import pytest

from ..core.model import User
from ..core.records import (
    DELETED,
    EMBEDDED,
    FROM_TOKEN,
    FULL,
    AnyRecord,
    ClerkOrganization,
    ClerkUser,
    key_of,
)
from ..ports import Repository
from .contract_facts import FactsContract
from .contract_hooks import HooksContract
from .contract_ids import IdsContract
from .contract_listing import ListingContract
from .contract_outbox import OutboxContract
from .samples import (
    ACME,
    ANN,
    BEA,
    HERE,
    THERE,
    MakeRepository,
    by_key,
    company,
    found,
    left,
    member,
    person,
)


class RepositoryContract(IdsContract, FactsContract, HooksContract, ListingContract, OutboxContract):
    """Subclass it, and give it the fixture `make_repository`."""

    @pytest.fixture
    def repository(self, make_repository: MakeRepository) -> Repository:
        return make_repository(ids=by_key, clock=lambda: 1000.0)

    def test_a_stranger_is_unknown(self, repository: Repository) -> None:
        """Nothing is found where nothing was put."""
        assert repository.find(HERE, ANN) is None
        assert repository.find(HERE, ANN, ACME) is None
        assert repository.user("nobody") is None
        assert repository.organization("nothing") is None

    def test_put_makes_a_user(self, repository: Repository) -> None:
        """The first record of a person makes your user, and says so."""
        record = person(email="ann@example.com", email_verified=True, first_name="Ann", created_at=5)

        (change,) = repository.put([record])

        assert change.made
        assert change.after == found(repository) == repository.user(by_key(record))
        assert found(repository) == User(by_key(record), None, 1_000_000, None, record)

    def test_put_keeps_every_character(self, repository: Repository) -> None:
        """What was said is found again to the letter."""
        said = "Zoë 'Ö' \"x\" 名字 🙂 \u202e ﬀ e\u0301 \\ %s ? :a --"
        user = person(first_name=said, last_name=" ", public_metadata='{"n": 9007199254740993}', created_at=2**52)
        organization = company(name=said, slug="a-b")

        repository.put([user, organization])

        standing = repository.find(HERE, ANN, ACME)
        assert standing is not None
        assert standing.organization is not None
        assert standing.user.clerk == user
        assert standing.organization.clerk == organization

    def test_the_same_again_changes_nothing(self, repository: Repository) -> None:
        """A redelivery makes no change, whatever it is of."""
        records: list[AnyRecord] = [person(), company(), member()]
        assert len(repository.put(records)) == 3

        assert repository.put(records) == []
        assert repository.put(reversed(records)) == []

    def test_a_later_confirmation_is_no_change(self, repository: Repository) -> None:
        """The same content observed later takes the place, and calls nobody."""
        repository.put([person(at=1, email="a@example.com")])

        assert repository.put([person(at=2, email="a@example.com")]) == []
        assert repository.put([person(at=1, email="old@example.com")]) == []

    def test_order_does_not_matter(self, repository: Repository) -> None:
        """The same facts end in the same state in all of their 120 orders, each tried in an instance of its own."""
        for number, order in enumerate(permutations(range(5))):
            facts = [
                person(instance=str(number), at=1, grade=FROM_TOKEN),
                person(instance=str(number), at=9, grade=EMBEDDED, first_name="A."),
                person(instance=str(number), at=2, first_name="Ann", banned=True),
                person(instance=str(number), at=3, first_name="Anna"),
                person(instance=str(number), at=3, first_name="Annie"),  # a tie in every time: the content decides
            ]
            greatest = max(facts, key=lambda fact: fact.rank)

            for position in order:
                repository.put([facts[position]])

            assert (greatest.grade, greatest.updated_at) == (FULL, 3)
            assert found(repository, instance=str(number)).clerk == greatest

    def test_grouping_does_not_matter(self, make_repository: MakeRepository) -> None:
        """All at once, one by one, or with repetitions: the same."""
        facts: list[AnyRecord] = [member(), person(at=2), company(), person(at=1), left(), company(at=3, name="New")]
        at_once, one_by_one = (make_repository(ids=by_key, clock=lambda: 0.0) for _ in range(2))

        at_once.put([*facts, *facts])
        for fact in [*facts, *reversed(facts)]:
            one_by_one.put([fact])

        assert at_once.find(HERE, ANN, ACME) == one_by_one.find(HERE, ANN, ACME) is not None

    @pytest.mark.parametrize("first", [True, False])
    def test_deletion_is_final(self, repository: Repository, first: bool) -> None:
        """A deleted person stays deleted, keeps the row and the id, and leaves nothing personal behind."""
        full = person(at=9, email="ann@example.com", first_name="Ann", external_id="7")
        deleted = ClerkUser.deleted(HERE, ANN, observed_at=5)

        for record in (deleted, full) if first else (full, deleted):
            repository.put([record])

        user = found(repository)
        assert user.clerk == deleted
        assert (user.clerk_id, user.email, user.name) == (None, None, None)
        assert user.deleted_at == 5
        assert repository.user(user.id) == user
        assert repository.put([person(at=99)]) == []

    def test_deletions_do_not_collide(self, repository: Repository) -> None:
        """Any number of people and organizations may be deleted, each once and again."""
        for number in range(3):
            repository.put([person(f"user_{number}"), company(f"org_{number}")])
        for number in range(3):
            gone = ClerkOrganization.deleted(HERE, f"org_{number}", observed_at=9)
            repository.put([ClerkUser.deleted(HERE, f"user_{number}", observed_at=9), gone])
            repository.put([ClerkUser.deleted(HERE, f"user_{number}", observed_at=10), gone])

        users = [found(repository, f"user_{number}") for number in range(3)]
        assert {user.deleted_at for user in users} == {10}
        assert len({user.id for user in users}) == 3

    def test_a_membership_may_come_first(self, repository: Repository) -> None:
        """Nothing waits for a parent row: the ends may follow in any order."""
        repository.put([member(role="org:admin")])
        repository.put([company()])
        repository.put([person()])

        standing = repository.find(HERE, ANN, ACME)
        assert standing is not None
        assert standing.organization is not None
        assert standing.memberships == (member(role="org:admin"),)

    def test_every_membership_of_a_pair_is_found(self, repository: Repository) -> None:
        """Who left and joined again has two memberships, one of them over; nobody else's are among them."""
        repository.put([person(), company(), member("orgmem_1"), left("orgmem_1"), member("orgmem_2", at=3)])
        repository.put([person(BEA), member("orgmem_3", user=BEA)])

        standing = repository.find(HERE, ANN, ACME)
        assert standing is not None
        assert set(standing.memberships) == {left("orgmem_1"), member("orgmem_2", at=3)}
        assert repository.find(HERE, ANN, "org_other") == repository.find(HERE, ANN)

    def test_instances_are_worlds_apart(self, repository: Repository) -> None:
        """The same Clerk id in two instances is two people, and the deletion of one is not the other's."""
        repository.put([person(instance=HERE, email="here@example.com"), person(instance=THERE)])
        repository.put([ClerkUser.deleted(THERE, ANN, observed_at=9), company(instance=THERE)])

        assert found(repository, instance=HERE).email == "here@example.com"
        assert found(repository, instance=THERE).deleted_at == 9
        assert found(repository, instance=HERE).id != found(repository, instance=THERE).id
        standing = repository.find(HERE, ANN, ACME)
        assert standing is not None
        assert standing.organization is None

    def test_all_or_nothing(self, make_repository: MakeRepository) -> None:
        """A put that fails on one record leaves none of the others."""

        def linker(record: ClerkUser) -> None:
            if record.clerk_id == BEA:
                raise RuntimeError("out of order")

        repository = make_repository(linker=linker)
        repository.put([company(name="Acme")])
        everything: list[AnyRecord] = [person(), person("user_c"), person(BEA), company(at=2, name="New"), member()]

        with pytest.raises(RuntimeError, match="out of order"):
            repository.put(everything)

        assert [repository.find(HERE, each) for each in (ANN, BEA, "user_c")] == [None] * 3
        repository.put([person()])
        standing = repository.find(HERE, ANN, ACME)
        assert standing is not None
        assert standing.organization is not None
        assert (standing.organization.name, standing.memberships) == ("Acme", ())

    def test_watchers_are_told_after_the_commit(self, repository: Repository) -> None:
        """Who watches is told what was written, when it can be read; of nothing written, nobody is told."""
        told: list[Any] = []
        repository.listeners.watch(lambda keys: told.append((keys, repository.find(HERE, ANN))))

        repository.put([person(), member()])
        repository.put([person()])
        repository.put([company()])

        assert [keys for keys, _ in told] == [{key_of(ANN)}, {key_of(ACME)}]
        assert told[0][1] is not None

    def test_many_at_once_make_one(self, make_repository: MakeRepository) -> None:
        """However many threads put the same people in whatever order, each person is made once."""
        repository = make_repository()
        names = [f"user_{number}" for number in range(8)]
        start = threading.Barrier(16)
        ids: list[tuple[object, ...]] = []

        def race(turn: int) -> None:
            start.wait()
            for name in names[turn % 8 :] + names[: turn % 8]:
                repository.put([person(name, at=turn), company(), member(f"orgmem_{turn}")])
            ids.append(tuple(found(repository, name).id for name in names))

        threads = [threading.Thread(target=race, args=(turn,)) for turn in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(ids) == 16
        assert len(set(ids)) == 1
        assert len(set(ids[0])) == 8
        assert {found(repository, name).clerk.updated_at for name in names} == {15}

    def test_a_tombstone_keeps_what_its_rank_says(self, repository: Repository) -> None:
        """Of two deletions the later stays: it tells since when a membership is over."""
        repository.put([person(), company(), left(at=5)])
        repository.put([left(at=9), left(at=7)])

        standing = repository.find(HERE, ANN, ACME)
        assert standing is not None
        assert [(record.grade, record.observed_at) for record in standing.memberships] == [(DELETED, 9)]
