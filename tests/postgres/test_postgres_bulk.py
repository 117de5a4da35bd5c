"""Pages of users, which PostgreSQL takes in a few statements: the same as one by one, also under contention."""

import random
import threading
from typing import Any

import psycopg
import pytest

from clerkmap import Change, ClerkUser, HookFailed
from clerkmap.core.records import DELETED, EMBEDDED, FROM_TOKEN, FULL, AnyRecord
from clerkmap.repositories import MemoryRepository, PostgresRepository
from clerkmap.repositories.sql.put import MANY
from clerkmap.testing.samples import HERE, THERE, by_key, company, found, made_by, member, person
from postgres_server import postgres


def page(rng: random.Random, size: int) -> list[AnyRecord]:
    """Records of some of a hundred people: all grades, some deletions, some roles, now and then a membership."""
    records: list[AnyRecord] = []
    for _ in range(size):
        clerk_id, at = f"user_{rng.randrange(100)}", rng.randrange(1, 9)
        instance = rng.choice([HERE, HERE, THERE])
        grade = rng.choice([FROM_TOKEN, EMBEDDED, FULL, FULL, FULL, DELETED])
        if grade == DELETED:
            records.append(ClerkUser.deleted(instance, clerk_id, observed_at=at))
        elif rng.random() < 0.05:
            records.append(member(f"orgmem_{clerk_id}", at=at, user=clerk_id))
        else:
            role = rng.choice(["{}", "{}", '{"role":"a"}', '{"role":"b"}'])
            name = rng.choice(["Ann", 'Zoë "\\" \u2028 %s ?', None])
            said: dict[str, Any] = {"first_name": name, "public_metadata": role} if grade == FULL else {}
            records.append(person(clerk_id, at=at, grade=grade, instance=instance, **said))
    return [*records, company()]


@pytest.mark.parametrize("seed", range(12))
def test_pages_end_like_single_records(seed: int, postgres_schema: str) -> None:
    """Page by page, the same changes and hooks as in memory, and the same rows in the end."""
    rng = random.Random(seed)
    heard: list[tuple[str, Change]] = []
    options: dict[str, Any] = {"ids": by_key, "clock": lambda: 1.0}
    model = MemoryRepository(hooks=[lambda change, tx: heard.append(("model", change))], **options)
    real = PostgresRepository.open(
        postgres(), schema=postgres_schema, hooks=[lambda change, tx: heard.append(("real", change))], **options
    )
    for _ in range(6):
        records = page(rng, rng.choice([5, 60, 200]))
        assert real.put(records) == model.put(records)
    for number in range(100):
        for instance in (HERE, THERE):
            ids = (instance, f"user_{number}", "org_acme")
            assert real.find(*ids) == model.find(*ids)
    assert [change for who, change in heard if who == "real"] == [change for who, change in heard if who == "model"]
    real.close()


@pytest.mark.parametrize("ids", ["uuid7", int, "clerk"])
def test_pages_at_once(ids: Any, postgres_schema: str) -> None:
    """Eight writers with the same pages make one user of each person, and leave no row without an identity."""
    repository = PostgresRepository.open(postgres(), schema=postgres_schema, **made_by(ids))
    made: list[Change] = []

    def write(number: int) -> None:
        rng = random.Random(number)
        people = [person(f"user_{each}") for each in range(200)]
        for _ in range(4):
            made.extend(change for change in repository.put(rng.sample(people, 150)) if change.made)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == len({change.after.clerk.key for change in made}) == 200
    with psycopg.connect(postgres()) as connection:
        (users,) = (
            connection.execute(f"SELECT count(*) FROM {postgres_schema}.clerkmap_users".encode()).fetchone() or ()
        )
    assert users == 200
    repository.close()


def test_numbers_that_are_taken_are_passed_over(postgres_schema: str) -> None:
    """People whom you have linked to numbers of yours do not get in the way of the numbers that the database makes."""
    repository = PostgresRepository.open(postgres(), schema=postgres_schema, ids=int, first_id=1)
    for number in range(1, 8):
        repository.link(HERE, f"user_linked_{number}", number)

    repository.put([person("user_single")])
    repository.put([person(f"user_{each}") for each in range(2 * MANY)])

    ids = {found(repository, f"user_{each}").id for each in range(2 * MANY)} | {found(repository, "user_single").id}
    assert len(ids) == 2 * MANY + 1
    assert ids.isdisjoint(range(1, 8))
    repository.close()


def test_a_page_is_all_or_nothing(postgres_schema: str) -> None:
    """A hook that raises at the last user of a page undoes the page."""

    def hook(change: Change, tx: object) -> None:
        if change.user is not None and change.user.clerk_id == f"user_{MANY}":
            raise ValueError

    repository = PostgresRepository.open(postgres(), schema=postgres_schema, hooks=[hook])
    with pytest.raises(HookFailed):
        repository.put([person(f"user_{each}") for each in range(2 * MANY)])
    assert repository.find(HERE, "user_0") is None
    repository.close()


def test_a_linker_is_asked_about_each_of_a_page(postgres_schema: str) -> None:
    """Once, and what it says is done."""
    asked: list[str | None] = []

    def linker(record: ClerkUser) -> str | None:
        asked.append(record.clerk_id)
        return "mine" if record.clerk_id == "user_3" else None

    repository = PostgresRepository.open(postgres(), schema=postgres_schema, linker=linker)
    repository.put([person(f"user_{each}") for each in range(2 * MANY)])

    assert sorted(map(str, asked)) == sorted(f"user_{each}" for each in range(2 * MANY))
    assert found(repository, "user_3").id == "mine"
    repository.close()
