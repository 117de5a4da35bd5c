"""People in two instances, and a third, of whom some must be moved and some must not; with a rule that says who."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from clerkmap import ClerkUser, Repository
from clerkmap.core.model import Id
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.sync import By, apply_relink, plan_relink

DEV, PROD, ELSEWHERE = "dev.example.com", "example.com", "elsewhere.example.com"
WAYS: tuple[By, ...] = ("external_id", "clerk_id", "own_id", "verified_email")


@dataclass(frozen=True)
class Person:
    """Somebody at Clerk. `shared` is your user that somebody else may lead to as well."""

    instance: str
    clerk_id: str
    email: str | None = None
    email_verified: bool = True
    external_id: str | None = None
    deleted: bool = False
    shared: str | None = None

    @property
    def user(self) -> str:
        """Your user that this one leads to at first."""
        return self.shared or f"yours-{self.clerk_id}"

    @property
    def address(self) -> str | None:
        """As it is compared."""
        return self.email and self.email.lower()


# Somebody in each instance who is moved, so that a refusal is seen to be one among others.
FINE = [Person(DEV, "old", "z@example.com", True, "z"), Person(PROD, "new", "Z@EXAMPLE.com", True, "z")]
ADA = Person(DEV, "ada", "ada@example.com", True, "1")
NEW = Person(PROD, "new-ada", "ada@example.com", True, "1")


def by_clerk_id(record: Any) -> str:
    """Ids that are the same in every run."""
    return f"yours-{record.clerk_id}"


def memory() -> Repository:
    """A repository whose ids can be told beforehand."""
    return MemoryRepository(ids=by_clerk_id)


def sqlite() -> Repository:
    """The same in SQLite."""
    return SqliteRepository.open(":memory:", ids=by_clerk_id)


REPOSITORIES: tuple[Callable[[], Repository], ...] = (memory, sqlite)


def told(repository: Repository, people: list[Person]) -> Repository:
    """A repository that knows these people."""
    for each in people:
        tell(repository, each)
    return repository


def tell(repository: Repository, person: Person, at: int = 1) -> None:
    """What a sync or a webhook brings."""
    if person.shared is not None:
        repository.link(person.instance, person.clerk_id, person.shared, shared=True)
    said = {name: getattr(person, name) for name in ("email", "email_verified", "external_id")}
    repository.put([ClerkUser.full(person.instance, person.clerk_id, observed_at=at, **said)])
    if person.deleted:
        repository.put([ClerkUser.deleted(person.instance, person.clerk_id, observed_at=at + 1)])


def whose(repository: Repository, instance: str, clerk_id: str) -> Id | None:
    """Your user that somebody leads to."""
    standing = repository.find(instance, clerk_id)
    return None if standing is None else standing.user.id


def state(repository: Repository, people: list[Person], mapping: Mapping[str, str]) -> dict[tuple[str, str], Id | None]:
    """Whom everybody leads to, and those whom only the mapping names."""
    places = {(each.instance, each.clerk_id) for each in people} | {(PROD, other) for other in mapping.values()}
    return {place: whose(repository, *place) for place in places}


def word(person: Person, by: By, *, is_new: bool) -> str | None:
    """What somebody is recognised by."""
    if by == "verified_email":
        return person.address
    if is_new or by == "external_id":
        return person.external_id
    return person.clerk_id if by == "clerk_id" else person.user


def pairs(people: list[Person], by: By | Mapping[str, str]) -> Iterator[tuple[Person, Person]]:
    """Who is one person with whom beyond doubt, before it is asked whether they may be moved."""
    if isinstance(by, Mapping):
        known = {(each.instance, each.clerk_id): each for each in people}
        for old_id, other in by.items():
            if (DEV, old_id) in known and list(by.values()).count(other) == 1:
                yield known[DEV, old_id], known.get((PROD, other), Person(PROD, other, shared="nobody's"))
        return
    alive = [each for each in people if not each.deleted]
    old = [(word(each, by, is_new=False), each) for each in alive if each.instance == DEV]
    new = [(word(each, by, is_new=True), each) for each in alive if each.instance == PROD]
    for name, one in old:
        others = [each for said, each in new if said == name]
        is_sure = by != "verified_email" or all(each.email_verified for each in (one, *others))
        if name and is_sure and len(others) == 1 and [said for said, _ in old].count(name) == 1:
            yield one, others[0]


def expected(people: list[Person], by: By | Mapping[str, str]) -> dict[str, str]:
    """Who is moved to which of your users, by the id in the new instance: the rule, told another way."""
    moved = dict[str, str]()
    targets = list[str]()
    for one, other in pairs(people, by):
        beside = [each for each in people if each.user == other.user and each != other]
        there = [each for each in people if each.user == one.user and each.instance == PROD]
        if not (one.deleted or other.deleted or beside or there):
            moved[other.clerk_id] = one.user
            targets.append(one.user)
    return {other: user for other, user in moved.items() if targets.count(user) == 1}


def relink(repository: Repository, by: By | Mapping[str, str]) -> None:
    """Plan and apply, as an operator does."""
    apply_relink(repository, plan_relink(repository, from_=DEV, to=PROD, by=by))


class Interrupted(BaseException):
    """The process is killed."""


class Cut:
    """A repository whose process is killed at one of its calls, just before it or just after it."""

    def __init__(self, repository: Repository, at: int, *, after: bool) -> None:
        self._repository = repository
        self._left = at
        self._after = after

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._repository, name)

        def called(*arguments: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left < 0 and not self._after:
                raise Interrupted
            result = function(*arguments, **named)
            if self._left < 0:
                raise Interrupted
            return result

        return called


def worlds() -> st.SearchStrategy[list[Person]]:
    """Any few people of few words, so that they meet."""
    count = st.integers(1, 4)
    return st.tuples(count, count, st.integers(0, 2)).flatmap(
        lambda counts: st.tuples(
            *(
                _person(instance, f"{instance[:4]}-{number}")
                for instance, many in zip((DEV, PROD, ELSEWHERE), counts, strict=True)
                for number in range(many)
            )
        ).map(list)
    )


def _person(instance: str, clerk_id: str) -> st.SearchStrategy[Person]:
    words = [None, "one", "two", "dev.-0", "dev.-1", "yours-dev.-0", "shared-0", "shared-1"]
    return st.builds(
        Person,
        st.just(instance),
        st.just(clerk_id),
        st.sampled_from([None, "a@example.com", "A@Example.com", "b@example.com", "c@example.com"]),
        st.sampled_from([True, True, True, False]),
        st.sampled_from(words),
        st.sampled_from([False] * 5 + [True]),
        st.sampled_from([None] * 3 + ["shared-0", "shared-1"]),
    )


def mappings() -> st.SearchStrategy[dict[str, str]]:
    """From some to some, of whom not everybody is known."""
    one = st.sampled_from([f"dev.-{number}" for number in range(5)])
    other = st.sampled_from([*(f"exam-{number}" for number in range(4)), "new-0", "new-1"])
    return st.dictionaries(one, other, max_size=5)
