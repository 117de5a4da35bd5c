"""The promises of every repository, as tests, one class for each protocol in `clerkmap.ports`. To test your repository:

    class TestMyRepository(RepositoryContract):
        @pytest.fixture
        def make_repository(self):
            return MyRepository.for_tests          # called with any of `Options`; each call a new, empty one

Begin with `CoreContract`, which calls only the methods of `CoreRepository`, and gives the options `ids`, `clock`,
`hooks` and `after_commit`. `WithinContract` tests `within`. The tests need pytest, and nothing else.
"""

import threading
from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any, Protocol

import pytest

from ..core.merging import current_membership
from ..core.model import User
from ..core.records import (
    DELETED,
    EMBEDDED,
    FROM_TOKEN,
    FULL,
    AnyRecord,
    ClerkMembership,
    ClerkOrganization,
    ClerkSession,
    ClerkUser,
    Grade,
    key_of,
)
from ..core.times import to_datetime
from ..errors import ConfigurationError
from ..ports import CoreRepository, Repository
from .contract_deliveries import DeliveryContract
from .contract_facts import FactsContract
from .contract_hooks import DirectoryHooksContract, HooksContract
from .contract_ids import IdsContract
from .contract_listing import ListingContract
from .contract_members import MembersContract
from .contract_outbox import OutboxContract
from .contract_users import UsersContract
from .samples import (
    ACME,
    ANN,
    BEA,
    HERE,
    THERE,
    MakeCoreRepository,
    MakeRepository,
    by_key,
    company,
    found,
    left,
    member,
    person,
)


def membership(grade: Grade, clerk_id: str, *, role: str, at: int) -> ClerkMembership:
    """A membership that began at a given time, or its end."""
    ends: dict[str, Any] = {"clerk_user_id": ANN, "clerk_organization_id": ACME, "created_at": at, "observed_at": at}
    if grade == DELETED:
        return ClerkMembership.deleted(HERE, clerk_id, **ends)
    return ClerkMembership.full(HERE, clerk_id, role=role, **ends)


class _Fixtures:
    @pytest.fixture
    def repository(self, make_repository: MakeRepository) -> Repository:
        return make_repository(ids=by_key, clock=lambda: 1000.0)


class CoreContract(_Fixtures, HooksContract):
    """The contract of a `CoreRepository`. Subclass it, and add the fixture `make_repository`."""

    def test_a_stranger_is_unknown(self, repository: CoreRepository) -> None:
        """An empty repository finds nothing."""
        assert repository.find(HERE, ANN) is None
        assert repository.find(HERE, ANN, ACME) is None
        assert repository.row("user", HERE, key_of(ANN)) is None
        assert repository.row("organization", HERE, key_of(ACME)) is None

    def test_put_makes_a_user(self, repository: CoreRepository) -> None:
        """The first record of a Clerk user creates your user, and returns the change."""
        record = person(email="ann@example.com", email_verified=True, first_name="Ann", created_at=5)

        (change,) = repository.put([record])

        assert change.made
        assert change.after == found(repository) == repository.row("user", HERE, record.key)
        assert found(repository) == User(by_key(record), None, to_datetime(1_000_000), None, record)

    def test_put_keeps_every_character(self, repository: CoreRepository) -> None:
        """Text is stored without any change."""
        said = "Zoë 'Ö' \"x\" 名字 🙂 \u202e ﬀ e\u0301 \\ %s ? :a --"
        user = person(first_name=said, last_name=" ", public_metadata='{"n": 9007199254740993}', created_at=2**52)
        organization = company(name=said, slug="a-b")

        repository.put([user, organization])

        standing = repository.find(HERE, ANN, ACME)
        assert standing is not None
        assert standing.organization is not None
        assert standing.user.clerk == user
        assert standing.organization.clerk == organization

    def test_the_same_again_changes_nothing(self, repository: CoreRepository) -> None:
        """A repeated record of any kind makes no change."""
        records: list[AnyRecord] = [person(), company(), member()]
        assert len(repository.put(records)) == 3

        assert repository.put(records) == []
        assert repository.put(reversed(records)) == []

    def test_a_later_confirmation_is_no_change(self, repository: CoreRepository) -> None:
        """The same content, observed later, replaces the record and calls no hook."""
        repository.put([person(at=1, email="a@example.com")])

        assert repository.put([person(at=2, email="a@example.com")]) == []
        assert repository.put([person(at=1, email="old@example.com")]) == []

    def test_order_does_not_matter(self, repository: CoreRepository) -> None:
        """The same records end in the same state in each of 120 orders, each in its own instance."""
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

    def test_grouping_does_not_matter(self, make_repository: MakeCoreRepository) -> None:
        """Records end in the same state together, one by one, and repeated."""
        facts: list[AnyRecord] = [member(), person(at=2), company(), person(at=1), left(), company(at=3, name="New")]
        at_once, one_by_one = (make_repository(ids=by_key, clock=lambda: 0.0) for _ in range(2))

        at_once.put([*facts, *facts])
        for fact in [*facts, *reversed(facts)]:
            one_by_one.put([fact])

        assert at_once.find(HERE, ANN, ACME) == one_by_one.find(HERE, ANN, ACME) is not None

    @pytest.mark.parametrize("first", [True, False])
    def test_deletion_is_final(self, repository: CoreRepository, first: bool) -> None:
        """A deleted user stays deleted, keeps its row and id, and leaves no personal data."""
        full = person(at=9, email="ann@example.com", first_name="Ann", external_id="7")
        deleted = ClerkUser.deleted(HERE, ANN, observed_at=5)

        for record in (deleted, full) if first else (full, deleted):
            repository.put([record])

        user = found(repository)
        assert user.clerk == deleted
        assert (user.clerk_id, user.email, user.name) == (None, None, None)
        assert user.deleted_at == to_datetime(5)
        assert repository.row("user", HERE, key_of(ANN)) == user
        assert repository.put([person(at=99)]) == []

    def test_deletions_do_not_collide(self, repository: CoreRepository) -> None:
        """Any number of users and organizations can be deleted, each several times."""
        for number in range(3):
            repository.put([person(f"user_{number}"), company(f"org_{number}")])
        for number in range(3):
            gone = ClerkOrganization.deleted(HERE, f"org_{number}", observed_at=9)
            repository.put([ClerkUser.deleted(HERE, f"user_{number}", observed_at=9), gone])
            repository.put([ClerkUser.deleted(HERE, f"user_{number}", observed_at=10), gone])

        users = [found(repository, f"user_{number}") for number in range(3)]
        assert {user.deleted_at for user in users} == {to_datetime(10)}
        assert len({user.id for user in users}) == 3

    def test_a_membership_may_come_first(self, repository: CoreRepository) -> None:
        """A membership can be stored before its user and its organization."""
        repository.put([member(role="org:admin")])
        repository.put([company()])
        repository.put([person()])

        standing = repository.find(HERE, ANN, ACME)
        assert standing is not None
        assert standing.organization is not None
        assert standing.memberships == (member(role="org:admin"),)

    def test_every_membership_of_a_pair_is_found(self, repository: CoreRepository) -> None:
        """A user that left and joined again has two memberships, one of them ended."""
        repository.put([person(), company(), member("orgmem_1"), left("orgmem_1"), member("orgmem_2", at=3)])
        repository.put([person(BEA), member("orgmem_3", user=BEA)])

        standing = repository.find(HERE, ANN, ACME)
        assert standing is not None
        assert set(standing.memberships) == {left("orgmem_1"), member("orgmem_2", at=3)}
        assert repository.find(HERE, ANN, "org_other") == repository.find(HERE, ANN)

    def test_instances_are_worlds_apart(self, repository: CoreRepository) -> None:
        """One Clerk id in two instances means two users; deleting one does not affect the other."""
        repository.put([person(instance=HERE, email="here@example.com"), person(instance=THERE)])
        repository.put([ClerkUser.deleted(THERE, ANN, observed_at=9), company(instance=THERE)])

        assert found(repository, instance=HERE).email == "here@example.com"
        assert found(repository, instance=THERE).deleted_at == to_datetime(9)
        assert found(repository, instance=HERE).id != found(repository, instance=THERE).id
        standing = repository.find(HERE, ANN, ACME)
        assert standing is not None
        assert standing.organization is None

    def test_watchers_are_told_after_the_commit(self, repository: CoreRepository) -> None:
        """Watchers are notified of writes after the commit, and never without a write."""
        told: list[Any] = []
        repository.listeners.watch(lambda keys: told.append((keys, repository.find(HERE, ANN))))

        repository.put([person(), member()])
        repository.put([person()])
        repository.put([company()])

        assert [keys for keys, _ in told] == [{key_of(ANN)}, {key_of(ACME)}]
        assert told[0][1] is not None

    def test_many_at_once_make_one(self, make_repository: MakeCoreRepository) -> None:
        """Threads that put the same users in any order create each user once."""
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

    def test_a_tombstone_keeps_what_its_rank_says(self, repository: CoreRepository) -> None:
        """Of two deletions, the later one is kept: it has the time when a membership ended."""
        repository.put([person(), company(), left(at=5)])
        repository.put([left(at=9), left(at=7)])

        standing = repository.find(HERE, ANN, ACME)
        assert standing is not None
        assert [(record.grade, record.observed_at) for record in standing.memberships] == [(DELETED, 9)]

    def test_who_left_has_left_before(self, make_repository: MakeCoreRepository) -> None:
        """A removal ends older memberships of the pair too: the word of their own removal may have been lost."""
        facts: list[AnyRecord] = [
            membership(FULL, "orgmem_1", role="org:admin", at=1),
            membership(FULL, "orgmem_2", role="org:member", at=5),
            membership(DELETED, "orgmem_2", role="", at=5),
        ]
        for order in permutations(facts):
            repository = make_repository(ids=by_key)
            repository.put([person()])
            for fact in order:
                repository.put([fact])

            standing = repository.find(HERE, ANN, ACME)
            assert standing is not None
            assert len(standing.memberships) == 2
            assert current_membership(standing.memberships) is None
            repository.close()

    def test_a_session_that_is_over_is_over(self, make_repository: MakeCoreRepository) -> None:
        """That one, of that instance, and for as long as a token of it could live."""
        now = [1_000_000.0]
        repository = make_repository(ids=by_key, clock=lambda: now[0])
        repository.put([person(), ClerkSession.deleted(HERE, "sess_1", observed_at=1_000_000_000)])

        def is_over(session: str | None, instance: str = HERE) -> bool:
            standing = repository.find(instance, ANN, ACME, session)
            assert standing is not None
            return standing.session_is_over

        repository.put([person(instance=THERE)])
        assert [is_over(each) for each in ("sess_1", "sess_2", None)] == [True, False, False]
        assert not is_over("sess_1", THERE)
        assert repository.put([ClerkSession.deleted(HERE, "sess_1", observed_at=1_000_000_001)]) == []
        now[0] += 29 * 86_400
        repository.put([ClerkSession.deleted(HERE, "sess_3", observed_at=1_000_000_002)])  # late
        assert [is_over(each) for each in ("sess_1", "sess_3")] == [True, True]
        now[0] += 2 * 86_400
        assert [is_over(each) for each in ("sess_1", "sess_3")] == [False, False]
        now[0] += 40 * 86_400
        repository.put([ClerkSession.deleted(HERE, "sess_2", observed_at=int(now[0]) * 1000)])
        assert [is_over(each) for each in ("sess_1", "sess_2")] == [False, True]


class DirectoryContract(
    _Fixtures, IdsContract, FactsContract, DirectoryHooksContract, ListingContract, MembersContract, UsersContract
):
    """The contract of a `DirectoryRepository` that is a `CoreRepository` as well, and takes all `Options`."""

    def test_rows_are_found_by_your_ids(self, repository: Repository) -> None:
        """`user` and `organization` take your ids, also of a deleted user. Of other ids they know nothing."""
        repository.put([person(), company()])
        assert repository.user(by_key(person())) == found(repository)
        assert repository.organization(by_key(company())) == repository.row("organization", HERE, key_of(ACME))
        repository.put([ClerkUser.deleted(HERE, ANN, observed_at=5)])
        assert repository.user(by_key(person())) == found(repository)
        assert repository.user("nobody") is None
        assert repository.organization("nothing") is None

    def test_all_or_nothing(self, make_repository: MakeRepository) -> None:
        """A put that fails on one record stores none of the others."""

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


class RepositoryContract(CoreContract, DirectoryContract, OutboxContract, DeliveryContract):
    """The contract of repositories. Subclass it, and add the fixture `make_repository`."""

    @pytest.mark.parametrize("connection", [None, "postgresql://localhost", object()], ids=["none", "text", "object"])
    def test_within_takes_a_connection_of_the_driver(self, repository: Repository, connection: object) -> None:
        """`within` refuses any other object. A repository that cannot join a transaction refuses every object."""
        with pytest.raises(ConfigurationError):
            repository.within(connection)
        repository.put([person()])  # the repository itself is as before


class Transaction(Protocol):
    """Your connection, outside autocommit mode."""

    def commit(self) -> object: ...
    def rollback(self) -> object: ...
    def close(self) -> object: ...


class WithinContract(_Fixtures):
    """The contract of `within`, for repositories that can join your transaction.

    Subclass it, and add the fixture `make_repository` and the fixture `connect`: a function that returns a new
    connection to the database of a repository, outside autocommit mode.
    """

    @pytest.fixture
    def connection(self, repository: Repository, connect: Callable[[Repository], Transaction]) -> Iterator[Transaction]:
        connection = connect(repository)
        yield connection
        connection.close()

    def test_your_commit_commits(self, repository: Repository, connection: Transaction) -> None:
        """Other connections see the writes after your commit, and not before."""
        part = repository.within(connection)
        (change,) = part.put([person()])
        assert change.made
        assert part.in_transaction()
        assert repository.find(HERE, ANN) is None
        connection.commit()
        assert found(repository) == change.after

    def test_your_rollback_rolls_back(self, repository: Repository, connection: Transaction) -> None:
        """All writes since your last commit are undone. The next write begins a new transaction."""
        part = repository.within(connection)
        part.put([person()])
        part.set_role(by_key(person()), "admin")
        connection.rollback()
        assert repository.find(HERE, ANN) is None
        assert part.find(HERE, ANN) is None
        part.put([person(BEA)])
        connection.commit()
        assert found(repository, BEA).clerk == person(BEA)

    def test_reads_in_your_transaction_are_not_settled(self, repository: Repository, connection: Transaction) -> None:
        """They see the uncommitted writes, and say so: no cache may keep them."""
        part = repository.within(connection)
        part.put([person()])
        standing = part.find(HERE, ANN)
        assert standing is not None
        assert not standing.settled
        connection.commit()

    def test_closing_leaves_your_connection_open(self, repository: Repository, connection: Transaction) -> None:
        """Neither your connection nor the whole repository is closed, and nothing is committed."""
        part = repository.within(connection)
        part.put([person()])
        part.close()
        assert repository.find(HERE, ANN) is None
        repository.within(connection).put([person(BEA)])
        connection.commit()
        assert (found(repository).clerk, found(repository, BEA).clerk) == (person(), person(BEA))
