"""An id of yours, once given, stays: also where the strategy would give another one if it were asked again."""

from typing import Any

import pytest

from clerkmap import ClerkOrganization, ClerkUser, Repository
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.testing.samples import ACME, ANN, HERE, MakeRepository, company, made_by, person


def on_sqlite(**options: Any) -> Repository:
    return SqliteRepository.open(":memory:", **options)


def ids_of(repository: Repository) -> tuple[object, object]:
    """The ids under which the person and the organization are found, by Clerk's ids and by yours."""
    standing = repository.find(HERE, ANN, ACME)
    assert standing is not None
    assert standing.organization is not None
    assert repository.user(standing.user.id) == standing.user
    assert repository.organization(standing.organization.id) == standing.organization
    return standing.user.id, standing.organization.id


@pytest.mark.parametrize("ids", ["uuid7", int])
@pytest.mark.parametrize("make", [MemoryRepository, on_sqlite])
def test_an_id_lasts(make: MakeRepository, ids: Any) -> None:
    """Renamed, told late, told again or deleted: the same row under the same id, and the change says so."""
    repository = make(**made_by(ids))
    repository.put([person("user_first"), company("org_first"), person(), company()])
    first = ids_of(repository)

    changed = repository.put([person(at=3, first_name="Anna"), company(at=3, name="New", slug="new")])
    assert {getattr(change.after, "id", None) for change in changed} == set(first)
    repository.put([person(at=2), company(at=2)])
    assert ids_of(repository) == first
    repository.put([ClerkUser.deleted(HERE, ANN, observed_at=4), ClerkOrganization.deleted(HERE, ACME, observed_at=4)])
    assert ids_of(repository) == first
    repository.close()
