"""Pages of everything, which the SQL repositories take in a few statements: the same as one by one, on each."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clerkmap import Change, ClerkOrganization, ClerkUser
from clerkmap.core.records import DELETED, EMBEDDED, FROM_TOKEN, FULL, AnyRecord, ClerkMembership
from clerkmap.errors import ConfigurationError
from clerkmap.repositories import MemoryRepository, PostgresRepository, SqliteRepository
from clerkmap.repositories.sql.put import MANY
from clerkmap.testing.samples import HERE, THERE, always_the_same, by_key, company, found, person
from postgres_server import postgres

Open = Callable[..., Any]


@pytest.fixture(params=["sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Makes a repository, which is closed at the end."""
    made: list[Any] = []

    def make(**options: Any) -> Any:
        if request.param == "sqlite":
            made.append(SqliteRepository.open(tmp_path / "app.db", durable=False, **options))
        else:
            schema: str = request.getfixturevalue("postgres_schema")
            made.append(PostgresRepository.open(postgres(), schema=schema, **options))
        return made[-1]

    yield make
    for repository in made:
        repository.close()


def page(rng: random.Random, size: int) -> list[AnyRecord]:
    """Records of a few dozen people, organizations and memberships: of all grades and ages, in two instances."""
    return [_record(rng, rng.choice([HERE, HERE, THERE])) for _ in range(size)]


def _record(rng: random.Random, instance: str) -> AnyRecord:
    user, organization, at = f"user_{rng.randrange(40)}", f"org_{rng.randrange(40)}", rng.randrange(1, 9)
    grade = rng.choice([FROM_TOKEN, EMBEDDED, FULL, FULL, FULL, DELETED])
    kind = rng.random()
    if kind < 0.3:
        if grade == DELETED:
            return ClerkUser.deleted(instance, user, observed_at=at)
        role = rng.choice(["{}", '{"role":"a"}', '{"role":"b"}'])
        said: dict[str, Any] = {"first_name": rng.choice(["Ann", "Zoë '?' %s", None]), "public_metadata": role}
        return person(user, at=at, grade=grade, instance=instance, **(said if grade == FULL else {}))
    if kind < 0.5:
        if grade == DELETED:
            return ClerkOrganization.deleted(instance, organization, observed_at=at)
        return company(organization, at=at, instance=instance, name=rng.choice(["Acme", 'B"\\', None]))
    ends: dict[str, Any] = {"clerk_user_id": user, "clerk_organization_id": f"org_{rng.randrange(3)}"}
    role = rng.choice(["org:admin", "org:member"])
    if grade == FROM_TOKEN:
        return ClerkMembership.from_token(instance, **ends, role=role, observed_at=at)
    number = rng.randrange(2)  # one who leaves and comes back has another membership
    times: dict[str, Any] = {"observed_at": at, "created_at": number}
    if grade == DELETED:
        return ClerkMembership.deleted(instance, f"orgmem_{number}", **ends, **times)
    return ClerkMembership.full(instance, f"orgmem_{number}", **ends, role=role, updated_at=at, **times)


@pytest.mark.parametrize("seed", range(8))
def test_pages_end_like_single_records(seed: int, opened: Open) -> None:
    """Page by page the same changes and hooks as in memory, and the same said of everybody in the end."""
    rng = random.Random(seed)
    heard: dict[str, list[Change]] = {"model": [], "real": []}
    options: dict[str, Any] = {"ids": by_key, "clock": lambda: 1.0}
    model = MemoryRepository(hooks=[lambda change, tx: heard["model"].append(change)], **options)
    real = opened(hooks=[lambda change, tx: heard["real"].append(change)], **options)
    for _ in range(6):
        records = page(rng, rng.choice([10, 150, 400]))
        assert real.put(records) == model.put(records)
    for user in range(40):
        for organization in range(3):
            for instance in (HERE, THERE):
                ids = (instance, f"user_{user}", f"org_{organization}")
                assert real.find(*ids) == model.find(*ids)
    for instance in (HERE, THERE):
        assert real.counts(instance) == model.counts(instance)
    assert heard["real"] == heard["model"]


@pytest.mark.parametrize("linked", [7, 2**62])
def test_numbers_follow_the_greatest_there_is(opened: Open, linked: int) -> None:
    """Also behind a number of yours that leaves hardly any: nobody gets one that is taken."""
    repository = opened(ids=int, first_id=1)
    repository.link(HERE, "user_linked", linked)
    repository.put([person(f"user_{each}") for each in range(2 * MANY)])
    repository.put([company(f"org_{each}") for each in range(2 * MANY)])
    ids = {found(repository, f"user_{each}").id for each in range(2 * MANY)}
    assert len(ids | {linked}) == 2 * MANY + 1


@pytest.mark.parametrize("make", [person, company])
def test_an_id_that_is_taken_undoes_the_page(opened: Open, make: Callable[[str], AnyRecord]) -> None:
    """Two people never share one, and the error says whose fault it is."""
    repository = opened(ids=always_the_same)
    kind = "user" if make is person else "org"
    with pytest.raises(ConfigurationError, match="the strategy in ids="):
        repository.put([make(f"{kind}_{each}") for each in range(2 * MANY)])
    assert repository.find(HERE, "user_0") is None


def test_a_page_that_comes_again_changes_nothing(opened: Open) -> None:
    """Nor does an older one."""
    repository = opened()
    people = [person(f"user_{each}", at=2) for each in range(2 * MANY)]
    assert len(repository.put(people)) == 2 * MANY
    assert repository.put(people) == []
    assert repository.put([person(f"user_{each}", at=1, first_name="Old") for each in range(2 * MANY)]) == []
