"""All 5,040 orders of each of 30 histories of seven events, with duplicates, end in one state, to the byte.

`CLERKMAP_SOAK=1` makes it 200 histories. `CLERKMAP_SEED` makes it other ones.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice, permutations
from random import Random

import pytest

from clerkmap import Instance, Reconciler, Repository
from clerkmap.core.records import DELETED, FULL, ClerkMembership, ClerkOrganization, ClerkUser
from clerkmap.repositories import MemoryRepository, SqliteRepository
from histories import INSTANCES, LENGTH, OPTIONS, PAIRS, History, greatest, history, kept, state
from sample_bodies import NAME

SEED = os.environ.get("CLERKMAP_SEED", "1")
HISTORIES = 200 if os.environ.get("CLERKMAP_SOAK") else 30
QUICK = 2  # histories; the rest takes some minutes
SLOW = pytest.mark.slow
INSTANCE = {name: Instance(issuer=f"https://{name}") for name in INSTANCES}


def with_duplicates(order: Sequence[int], number: int) -> list[int]:
    """The order with one event told again, or two. Which ones and where, the number of the order decides."""
    told = list(order)
    told.insert(number // LENGTH % (LENGTH + 1), order[number % LENGTH])
    if number % 2:
        told.insert(number // 3 % (LENGTH + 2), order[number // 5 % LENGTH])
    return told


def put_in_order(told: History, order: Sequence[int]) -> Repository:
    """A new repository in memory that has been told event by event."""
    repository = MemoryRepository(**OPTIONS)
    for position in order:
        repository.put(told.records[position])
    return repository


def worlds(told: History) -> list[str]:
    return sorted(set(told.instances))


@pytest.mark.parametrize("number", [*range(QUICK), *(pytest.param(n, marks=SLOW) for n in range(QUICK, HISTORIES))])
def test_every_order_ends_alike(number: int) -> None:
    """However seven events arrive, and whichever of them come twice or three times: one state, and the right one."""
    told = history(SEED, number)
    first = put_in_order(told, range(LENGTH))
    expected, instances, orders = state(first, worlds(told)), worlds(told), 0

    assert kept(first, instances) == greatest(record for records in told.records for record in records)
    for order in permutations(range(LENGTH)):
        arrived = with_duplicates(order, orders)
        assert state(put_in_order(told, arrived), instances) == expected, f"{told.name}, arrived in order {arrived}"
        orders += 1
    assert orders == 5040


def some_orders(number: int) -> Iterator[list[int]]:
    """Three orders of a history: as it happened, the other way round, and one by chance, with duplicates."""
    yield list(range(LENGTH))
    yield list(reversed(range(LENGTH)))
    random = Random(f"{SEED}/{number}/order")
    yield with_duplicates(random.sample(range(LENGTH), LENGTH), random.randrange(5040))


@pytest.mark.parametrize("part", range(4))
def test_sqlite_ends_where_memory_does(part: int) -> None:
    """The same events through a reconciler, on SQLite and in memory, in other orders: the same bytes."""
    for number in range(part, HISTORIES, 4):
        told = history(SEED, number)
        expected = state(put_in_order(told, range(LENGTH)), worlds(told))
        for order in some_orders(number):
            sqlite = SqliteRepository.open(":memory:", **OPTIONS)
            for repository in (MemoryRepository(**OPTIONS), sqlite):
                mine = {name: Reconciler(INSTANCE[name], repository) for name in worlds(told)}
                for position in order:
                    mine[told.instances[position]].apply(told.events[position])
                assert state(repository, worlds(told)) == expected, f"{told.name}, arrived in order {order}"
            sqlite.close()


def test_all_at_once_ends_alike() -> None:
    """One put of everything, or two, or seven: how it is grouped is as little to the end as how it is ordered."""
    for number in range(HISTORIES):
        told = history(SEED, number)
        expected = state(put_in_order(told, range(LENGTH)), worlds(told))
        random = Random(f"{SEED}/{number}/groups")
        for _ in range(4):
            records = [record for each in random.sample(range(LENGTH), LENGTH) for record in told.records[each]]
            repository, rest = MemoryRepository(**OPTIONS), iter([*records, *records[:3]])
            while group := list(islice(rest, random.choice((1, 3, 30)))):
                repository.put(group)
            assert state(repository, worlds(told)) == expected, told.name


def test_the_histories_have_it_all() -> None:
    """What makes orders matter comes up often: otherwise the tests above would show little."""
    seen: Counter[str] = Counter()
    for number in range(HISTORIES):
        seen.update(_features(history(SEED, number)))

    assert len(seen) == 12
    assert {name: count for name, count in seen.items() if count < HISTORIES // 20} == {}


def _features(told: History) -> set[str]:
    """What comes up in a history."""
    records = [record for each in told.records for record in each]
    users = [record for record in records if isinstance(record, ClerkUser)]
    companies = [record for record in records if isinstance(record, ClerkOrganization) and record.grade == FULL]
    members = [record for record in records if isinstance(record, ClerkMembership)]
    full = [record for record in users if record.grade == FULL]
    standings = [put_in_order(told, range(LENGTH)).find(told.instances[0], *pair) for pair in PAIRS]
    gone = {record.key for record in members if record.is_deleted}
    alive = {record.key for record in members if not record.is_deleted}
    roles = Counter(key for key, _ in {(record.key, record.role) for record in members if record.role})
    features = {
        "a tie": len({record.rank[:33] for record in full}) < len({record.rank for record in full}),
        "a person deleted and told of": bool(_keys(users, deleted=True) & _keys(users, deleted=False)),
        "an organization deleted": any(record.kind == "organization" and record.grade == DELETED for record in records),
        "left": bool(gone & alive),
        "left and rejoined": any(_rejoined(each.memberships) for each in standings if each is not None),
        "a ban and its end": len({record.banned for record in full}) == 2,
        "a promotion": max(roles.values(), default=0) > 1,
        "a slug that moves": _moves([(record.slug, record.key) for record in companies]),
        "an address that moves": _moves([(record.email, record.key) for record in users]),
        "a role in the metadata": any('"role":"' in record.public_metadata for record in users),
        "two instances": len(worlds(told)) == 2,
        "one instance": worlds(told) == [NAME],
    }
    return {name for name, there in features.items() if there}


def _keys(records: Sequence[ClerkUser], *, deleted: bool) -> set[str]:
    return {record.key for record in records if record.is_deleted == deleted}


def _rejoined(memberships: Sequence[ClerkMembership]) -> bool:
    return any(record.is_deleted for record in memberships) and any(record.grade == FULL for record in memberships)


def _moves(owners: Sequence[tuple[str | None, str]]) -> bool:
    """Whether something was first one's and then another's."""
    return any(len({key for held, key in owners if held == each}) > 1 for each, _ in owners if each)
